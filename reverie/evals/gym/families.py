"""Families of reasoning-gym, and their questions by seed (reasoning-gym 0.1.25, Apache-2.0).

A question is made by family, seed and number alone, so a record of it needs no copy of the right
answer, and two machines ask the same.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reverie.errors import ConfigError

FAMILIES = (
    "leg_counting",
    "prime_factorization",
    "chain_sum",
    "basic_arithmetic",
    "lcm",
    "products",
    "gcd",
    "spell_backward",
    "number_sorting",
    "letter_counting",
    "calendar_arithmetic",
    "number_sequence",
    "family_relationships",
    "syllogism",
    "knights_knaves",
    "count_bits",
)
"""Those of which the measuring model answers more than one in twenty, asked in the right way."""

MEASURED = 5_000_000
"""Seed of the questions that results are measured on."""
TUNING = 7_000_000
"""Seed of questions for everything that is looked at before."""


@dataclass(frozen=True, slots=True)
class GymQuestion:
    """One question. Equal fields make equal questions."""

    family: str
    seed: int
    """Of the family's questions; number ``n`` is drawn with ``seed + n``."""
    number: int
    text: str

    @property
    def id(self) -> str:
        return f"{self.family}-{self.seed}-{self.number}"


def questions(
    per_family: int, *, seed: int = MEASURED, families: Sequence[str] = FAMILIES
) -> list[GymQuestion]:
    """``per_family`` questions of each family, family by family. Raises ConfigError without
    reasoning-gym, and for a family that it does not have.
    """
    return [
        GymQuestion(family, seed, number, str(entry["question"]))
        for family in families
        for number, entry in enumerate(_entries(family, seed, per_family))
    ]


def in_a_row(asked: Sequence[GymQuestion], *, seed: int) -> list[GymQuestion]:
    """The same questions in an order of their own for every ``seed``."""
    row = list(asked)
    random.Random(seed).shuffle(row)  # noqa: S311  # an order, no secret
    return row


def is_right(question: GymQuestion, answer: str) -> bool:
    """Whether the family's own judge gives ``answer`` its full score. Part of a score is wrong."""
    entry = _entry(question.family, question.seed, question.number)
    try:
        score = _gym().get_score_answer_fn(question.family)(answer=answer, entry=entry)
    except (ValueError, TypeError, IndexError, KeyError):
        return False  # some judges cannot read words where they expect numbers
    return bool(score == 1.0)


def right_answer(question: GymQuestion) -> str:
    """An answer that ``is_right``."""
    return str(_entry(question.family, question.seed, question.number)["answer"])


def _entries(family: str, seed: int, count: int) -> list[dict[str, Any]]:
    return [_entry(family, seed, number) for number in range(count)]


@functools.lru_cache(maxsize=100_000)
def _entry(family: str, seed: int, number: int) -> dict[str, Any]:
    entry: dict[str, Any] = _dataset(family, seed)[number]
    return entry


@functools.cache
def _dataset(family: str, seed: int) -> Any:
    gym = _gym()
    if family not in gym.factory.DATASETS:
        raise ConfigError(
            f"reasoning-gym has no family called {family!r}",
            hint=f"the measured ones are {', '.join(FAMILIES)}",
        )
    # Items are made when they are looked at, so a large size costs nothing.
    return gym.create_dataset(family, size=100_000, seed=seed)


def _gym() -> Any:
    try:
        import reasoning_gym
    except ImportError as error:
        raise ConfigError(
            "the questions come from reasoning-gym, which is not installed",
            hint="pip install 'reverie[eval]' (in a checkout: pip install -e '.[eval]')",
        ) from error
    return reasoning_gym
