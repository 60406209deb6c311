"""The settings of one run: the graphs' context schema, and the form that Studio shows."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from reverie.graphs.budget import Entry
from reverie.graphs.records import EXPERTS, Expert, Limits
from reverie.settings import Settings

MOST_SEED = 2**32 - 1


class Context(BaseModel):
    """Everything a run may be asked to do differently. Plain JSON; clients are looked up by
    ``resources`` in the registry of ``graphs.resources``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field("", description="The model's name; empty: the one of the settings")
    preview: bool | None = Field(
        None,
        description="Ask the preview backend first, which is hosted and needs a key of its own; "
        "empty: as the settings say",
    )
    strategy: str = Field(
        "auto", description="A strategy's name, or auto: chosen from what worked before"
    )
    strategies: tuple[str, ...] = Field(
        ("direct", "reflect", "chain_of_thought", "tools", "self_consistency", "dream"),
        min_length=1,
        description="The strategies that auto chooses between",
    )
    tokens: int = Field(8000, gt=0, description="Most tokens, prompts included")
    seconds: float = Field(120.0, gt=0, description="Most wall-clock seconds")
    calls: int = Field(32, gt=0, description="Most model calls")
    money: float | None = Field(
        None, gt=0, description="Most money, in the currency of the models' prices; empty: no limit"
    )
    price: float | None = Field(
        None,
        ge=0,
        description="Highest price of a million tokens of any model that may be asked; with money",
    )
    answer_tokens: int = Field(96, ge=8, description="Most tokens of an answer")
    thought_tokens: int = Field(160, ge=8, description="Most tokens of reasoning before an answer")
    accept_above: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Accept an attempt from this calibrated confidence on; below, try another",
    )
    augment_below: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Ask again with a reasoning template below this confidence of the model's own",
    )
    samples: int = Field(5, ge=2, le=64, description="Most samples of self-consistency")
    best_of: int = Field(4, ge=2, le=64, description="Candidates of best-of-n")
    agents: int = Field(3, ge=2, le=16, description="Agents of a panel")
    consensus: Literal["vote", "discuss"] = Field(
        "vote", description="How a panel decides: by one vote, or after reading each other"
    )
    tools: tuple[str, ...] = Field(
        ("calculator", "facts"), description="What the model may call in the tools strategy"
    )
    tool_rounds: int = Field(
        4, ge=1, le=32, description="Most tool calls in a row; 1: the result is the answer"
    )
    sop: str = Field(
        "",
        description="The procedure that the sop strategy follows, as NAME or NAME@VERSION; "
        "empty: the one that fits the question best",
    )
    ask_before: tuple[Literal["tool", "abstain"], ...] = Field(
        (),
        description="When to ask a person: before a tool with side effects, before abstaining",
    )
    verifier: str = Field("", description="A registered verifier of answers; empty: none")
    output_schema: dict[str, Any] | None = Field(
        None, description="JSON schema of the document that the answer should be; empty: words"
    )
    paused: float = Field(
        0.0, ge=0, description="Seconds since the run began in which it was not running"
    )
    lost: tuple[Entry, ...] = Field(
        (), description="What model calls cost that a process was making when it ended"
    )
    branches: int = Field(4, ge=1, le=64, description="How many dreams")
    experts: Annotated[tuple[Expert, ...], Field(min_length=1)] = Field(
        EXPERTS, description="The lenses that dreams are generated through, in turn"
    )
    dream_tokens: int = Field(96, ge=8, description="Most tokens of one dream")
    dream_seconds: float | None = Field(
        None, gt=0, description="Most seconds of one dream; empty: what the run has left"
    )
    abstain_below: float = Field(
        0.2, ge=0, le=1, description="Abstain when the best dream's total score is lower"
    )
    min_similarity: float = Field(
        0.5, ge=-1, le=1, description="Least cosine similarity of a fact to the question"
    )
    max_facts: int = Field(3, ge=0, le=64, description="Most facts to ground dreams in; 0: none")
    fact_tokens: int = Field(200, gt=0, description="Most tokens of all facts together")
    temperature: float = Field(
        0.7,
        ge=0,
        le=2,
        description="Sampling temperature of dreams that nothing else would tell apart",
    )
    seed: int = Field(0, ge=0, le=MOST_SEED, description="Seed of everything that is drawn")
    remember: bool = Field(True, description="Store the run, so that feedback can teach from it")
    resources: str = Field("default", description="Which registered resources to use")

    @classmethod
    def of(cls, settings: Settings, *, resources: str = "default", seed: int = 0) -> Context:
        """The context that the settings describe."""
        return cls(
            model=settings.model.name,
            strategy=settings.reason.strategy,
            strategies=settings.reason.strategies,
            tokens=settings.budget.tokens,
            seconds=settings.budget.seconds,
            calls=settings.budget.calls,
            money=settings.budget.money,
            answer_tokens=settings.reason.answer_tokens,
            thought_tokens=settings.reason.thought_tokens,
            accept_above=settings.reason.accept_above,
            augment_below=settings.reason.augment_below,
            samples=settings.reason.samples,
            best_of=settings.reason.best_of,
            agents=settings.reason.agents,
            consensus=settings.reason.consensus,
            tools=settings.reason.tools,
            tool_rounds=settings.reason.tool_rounds,
            ask_before=settings.reason.ask_before,
            branches=settings.dream.branches,
            experts=settings.dream.experts,
            dream_tokens=settings.dream.max_tokens,
            dream_seconds=settings.dream.seconds,
            abstain_below=settings.dream.abstain_below,
            min_similarity=settings.ground.min_similarity,
            max_facts=settings.ground.max_facts,
            fact_tokens=settings.ground.tokens,
            temperature=settings.reason.temperature,
            seed=seed,
            resources=resources,
        )

    @property
    def limits(self) -> Limits:
        return {
            "tokens": self.tokens,
            "seconds": self.seconds,
            "calls": self.calls,
            "money": self.money,
        }
