"""What dreaming is worth on the packaged model: 48 everyday questions, with facts and without.

Every arm answers the same questions with the same model through the whole reason graph. A random
dream and the best dream are the floor and the ceiling of any arbitration of the same dreams.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from reverie.agents.reasoner import Reasoner
from reverie.agents.result import Result
from reverie.errors import ReverieError
from reverie.evals.bench import Progress, Report, Table
from reverie.evals.everyday import EverydayQuestion, everyday_questions
from reverie.settings import Settings, load_settings

_SEED = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One arm: the share of right answers with its standard error, tokens and seconds each."""

    arm: str
    right: float
    error: float
    tokens: float
    seconds: float
    questions: int


@dataclass(frozen=True, slots=True)
class _Judged:
    """One question's result: was the answer right, and how many of its dreams were."""

    right: float
    random_dream: float
    best_dream: float
    tokens: int
    seconds: float


def run(repeats: int, progress: Progress) -> Report:  # noqa: ARG001  # greedy: all runs are alike
    """Every arm on every question, once: nothing is drawn, so only times would differ."""
    questions = everyday_questions()
    rows = [row for arm in _ARMS for row in _arm(arm, questions, progress)]
    table = Table(
        f"{len(questions)} everyday questions, answers judged by keywords",
        ("arm", "right", "standard error", "tokens each", "seconds each"),
        tuple((r.arm, r.right, r.error, round(r.tokens), r.seconds) for r in rows),
    )
    return Report((table,), facts={"seed": _SEED, "model": "smollm2", "threads": "default"})


_ARMS = (("direct", True), ("chain_of_thought", True), ("dream", False), ("dream", True))
"""Strategy, and whether dreams get facts (the others never do)."""


def _arm(
    arm: tuple[str, bool], questions: Sequence[EverydayQuestion], progress: Progress
) -> list[Row]:
    strategy, facts = arm
    label = strategy if strategy != "dream" else f"dream, {'facts' if facts else 'no facts'}"
    progress(f"{label}: {len(questions)} questions")
    judged = _run(questions, strategy, facts=facts)
    rows = [_row(label, [j.right for j in judged], judged)]
    if strategy == "dream":
        rows.append(_row("  a random one of them", [j.random_dream for j in judged], judged))
        rows.append(_row("  the best one of them", [j.best_dream for j in judged], judged))
    return rows


def _run(questions: Sequence[EverydayQuestion], strategy: str, *, facts: bool) -> list[_Judged]:
    # A home of its own: nothing that the user's runs taught must help or hurt.
    with TemporaryDirectory(prefix="reverie-bench-") as home:
        settings = _settings(Path(home), facts=facts)
        with Reasoner(settings) as reasoner:
            reasoner.ask(questions[0].question, strategy=strategy, seed=_SEED)  # warm
            return [_ask(reasoner, q, strategy) for q in questions]


def _ask(reasoner: Reasoner, question: EverydayQuestion, strategy: str) -> _Judged:
    began = time.perf_counter()
    try:
        result = reasoner.ask(question.question, strategy=strategy, seed=_SEED)
    except ReverieError:  # no answer is a wrong answer
        return _Judged(0.0, 0.0, 0.0, 0, time.perf_counter() - began)
    seconds = time.perf_counter() - began
    dreams = [question.is_right(d["answer"]) for d in _dreams(result)]
    spent = result.cost["spent"]
    return _Judged(
        right=float(question.is_right(result.answer)),
        random_dream=sum(dreams) / len(dreams) if dreams else 0.0,
        best_dream=float(any(dreams)),
        tokens=spent["tokens_in"] + spent["tokens_out"],
        seconds=seconds,
    )


def _dreams(result: Result) -> list[dict[str, str]]:
    return [
        {"answer": dream["answer"]}
        for attempt in result.attempts
        for dream in attempt["dreams"]
        if dream["status"] == "ok"
    ]


def _settings(home: Path, *, facts: bool) -> Settings:
    base = load_settings().settings
    ground = base.ground if facts else base.ground.model_copy(update={"max_facts": 0})
    model = base.model.model_copy(update={"cache": base.models_folder})
    return base.model_copy(update={"home": home, "model": model, "ground": ground})


def _row(arm: str, right: Sequence[float], judged: Sequence[_Judged]) -> Row:
    n = len(judged)
    mean = sum(right) / n
    spread = sum((value - mean) ** 2 for value in right) / max(1, n - 1)
    return Row(
        arm=arm,
        right=mean,
        error=math.sqrt(spread / n),
        tokens=sum(j.tokens for j in judged) / n,
        seconds=sum(j.seconds for j in judged) / n,
        questions=n,
    )
