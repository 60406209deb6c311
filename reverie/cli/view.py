"""What is known of a run so far: its events folded into the state that is shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from reverie.agents.result import Result
    from reverie.graphs.events import Event, ToolCalled
    from reverie.graphs.records import (
        Answer,
        Choice,
        Cost,
        Dream,
        DreamTriplet,
        Fact,
        Form,
        Sample,
        SubAnswer,
        ToolUse,
        Verdict,
    )


@dataclass
class BranchView:
    """One dream or sample, growing until ``outcome`` says how it ended."""

    branch: int
    label: str
    text: str = ""
    outcome: Dream | Sample | None = None

    @property
    def triplets(self) -> list[DreamTriplet]:
        """A dream's steps; a sample has none."""
        return [] if self.outcome is None else cast("Dream", self.outcome).get("triplets", [])

    @property
    def score(self) -> float | None:
        """What a verifier gave a sample; a dream has none."""
        return None if self.outcome is None else cast("Sample", self.outcome).get("score")


@dataclass
class AttemptView:
    """One strategy's attempt."""

    choice: Choice | None = None
    facts: list[Fact] | None = None
    """None: nothing was looked up."""
    note: str = ""
    branches: dict[int, BranchView] = field(default_factory=dict)
    text: str = ""
    """What was written outside a fan-out."""
    tools: list[ToolUse] = field(default_factory=list)
    calling: ToolCalled | None = None
    """The tool call that has not returned yet."""
    parts: list[SubAnswer] = field(default_factory=list)
    """The parts of the question that have an answer."""
    verdict: Verdict | None = None
    form: Form | None = None
    """What a person is asked while the run waits."""
    rejected: str = ""
    """Why the attempt was not accepted; empty otherwise."""

    @property
    def dreams(self) -> bool:
        """Whether its branches are dreams, and not samples of one answer."""
        if self.choice is not None:
            return self.choice["strategy"] == "dream"
        ended = [b.outcome for b in self.branches.values() if b.outcome is not None]
        return all("expert" in outcome for outcome in ended)

    def recall(self, branch: int, label: str, outcome: Dream | Sample) -> None:
        """A branch that was finished before anybody looked."""
        seen = self.branches.setdefault(branch, BranchView(branch, label))
        seen.outcome = seen.outcome or outcome


@dataclass
class RunView:
    """A run from its first event to its result."""

    question: str
    run_id: str = ""
    attempts: list[AttemptView] = field(default_factory=list)
    answer: Answer | None = None
    cost: Cost | None = None
    notices: list[str] = field(default_factory=list)
    result: Result | None = None
    stage: str = "Starting"
    """What is being done, in a few words; empty at the end."""

    def take(self, item: Event | Result) -> None:
        """Fold in the next event, or the result that ends the run."""
        if not isinstance(item, dict):
            self._take_result(item)
        elif item["type"] == "run_started":
            self.run_id, self.question = item["run_id"], item["question"]
            self.stage = "Getting ready"
        elif item["type"] == "answer":
            self.answer = item["answer"]
            self.stage = "Storing the run"
        elif item["type"] == "budget":
            self.cost = item["cost"]
        elif item["type"] == "notice":
            self._notice(item["text"])
        elif item["type"] == "recalled":
            self.stage = "Choosing a strategy"
        elif item["type"] == "strategy":
            self.attempts.append(AttemptView(item["choice"]))
            self.stage = f"Strategy: {item['choice']['strategy']}"
        else:
            self._take_step(item)

    @property
    def attempt(self) -> AttemptView:
        """The attempt that events belong to now."""
        if not self.attempts:  # a strategy's graph run by itself
            self.attempts.append(AttemptView())
        return self.attempts[-1]

    def _take_step(self, item: Event) -> None:
        """Fold in an event of the current attempt."""
        attempt = self.attempt
        if item["type"] == "grounded":
            attempt.facts, attempt.note = item["facts"], item["note"]
        elif item["type"] == "branch_started":
            branch = BranchView(item["branch"], item["label"])
            # A branch that starts again after a retry begins with an empty page.
            attempt.branches[item["branch"]] = branch
        elif item["type"] == "token":
            self._take_token(attempt, item["branch"], item["text"])
        elif item["type"] == "taken_back":
            self._take_back(attempt, item["branch"], item["characters"])
        elif item["type"] == "branch_finished":
            view = attempt.branches.setdefault(
                item["branch"], BranchView(item["branch"], item["label"])
            )
            view.outcome = item["outcome"]
        elif item["type"] == "verdict":
            attempt.verdict = item["verdict"]
        elif item["type"] == "waiting":
            attempt.form = item["form"]
        elif item["type"] == "assessed":
            attempt.rejected = "" if item["accepted"] else item["why"]
        else:
            self._take_means(attempt, item)
        self.stage = self._stage(attempt)

    def _take_means(self, attempt: AttemptView, item: Event) -> None:
        """Fold in what a strategy did on its way to the answer. What was written until then has
        become part of it.
        """
        if item["type"] == "tool_called":
            attempt.calling, attempt.text, attempt.form = item, "", None
        elif item["type"] == "tool_returned":
            attempt.calling, attempt.form = None, None
            attempt.tools.append(item["use"])
        elif item["type"] == "sub_answered":
            attempt.text = ""
            attempt.parts.append(item["sub"])

    def _take_token(self, attempt: AttemptView, branch: int | None, text: str) -> None:
        if branch is None:
            attempt.text += text
        elif branch in attempt.branches:
            attempt.branches[branch].text += text

    def _take_back(self, attempt: AttemptView, branch: int | None, characters: int) -> None:
        written: AttemptView | BranchView | None = attempt
        if branch is not None:
            written = attempt.branches.get(branch)
        if written is not None:
            written.text = written.text[: max(0, len(written.text) - characters)]

    def _take_result(self, result: Result) -> None:
        self.result = result
        self.question = self.question or result.question  # of a run that had finished before
        self.cost = result.cost
        self._recall(result)
        for notice in result.notices:
            self._notice(notice)
        self.stage = ""

    def _recall(self, result: Result) -> None:
        """Fill in what the attempt in which a run was resumed had done before."""
        attempt = self.attempts[0] if self.attempts else None
        if attempt is None or attempt.choice is not None:
            return
        if len(self.attempts) > len(result.attempts):
            return
        tried = result.attempts[-len(self.attempts)]
        if len(self.attempts) == 1:
            attempt.choice = result.choice
        for dream in tried["dreams"]:
            attempt.recall(dream["branch"], dream["expert"], dream)
        for sample in tried["samples"]:
            attempt.recall(sample["branch"], sample["label"], sample)

    def _notice(self, text: str) -> None:
        if text not in self.notices:
            self.notices.append(text)

    def _stage(self, attempt: AttemptView) -> str:
        if attempt.form is not None:
            return "Waiting for a person"
        if attempt.verdict is not None:
            return "Weighing the verdict"
        if attempt.branches:
            return _branching(attempt)
        if attempt.calling is not None:
            return f"Calling {attempt.calling['tool']}"
        if attempt.facts is not None and attempt.dreams:
            return "Preparing the dreams"
        begun = attempt.text or attempt.tools or attempt.parts or attempt.facts
        return "Thinking" if begun else self.stage


def _branching(attempt: AttemptView) -> str:
    finished = sum(b.outcome is not None for b in attempt.branches.values())
    if finished == len(attempt.branches):
        return f"Arbitrating between the {'dreams' if attempt.dreams else 'samples'}"
    doing = "Dreaming" if attempt.dreams else "Sampling"
    return f"{doing}: {finished} of {len(attempt.branches)} finished"
