"""The nodes of a procedure's graph by name, and which way leads where."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from reverie.knowledge.sops.sop import Sop, SopStep

PRECONDITIONS: Final = "preconditions"
ANSWER: Final = "answer"
MOST_TRIES: Final = 2
"""How often a step is done: once more when its result was no good."""

_LONGEST_NAME: Final = 32


@dataclass(frozen=True, slots=True)
class SopPlan:
    """Steps count from 1."""

    sop: Sop

    @property
    def last(self) -> int:
        return len(self.sop.steps)

    @property
    def recursion_limit(self) -> int:
        """Supersteps that it takes at most."""
        return len(self.sop.steps) * (2 + 3 * MOST_TRIES) + 4

    def step(self, number: int) -> SopStep:
        return self.sop.steps[number - 1]

    def name(self, number: int) -> str:
        """The node of a step: ``step_2_find_the_line``."""
        parted = unicodedata.normalize("NFKD", self.step(number).action).lower()
        plain = "".join(c for c in parted if not unicodedata.combining(c))
        words = re.findall(r"[a-z0-9]+", plain)  # node names stand in drawings and namespaces
        name = f"step_{number}"
        for word in words:
            if len(name) + 1 + len(word) > _LONGEST_NAME:
                break
            name = f"{name}_{word}"
        return name

    def when(self, number: int) -> str:
        """The node of a step's condition."""
        return f"when_{number}"

    def call(self, number: int) -> str:
        """The node of a step's tool call."""
        return f"call_{number}"

    def check(self, number: int) -> str:
        """The node of a step's checks."""
        return f"check_{number}"

    def entry(self, number: int) -> str:
        """The first node of a step; behind the last step, the answer's."""
        if number > self.last:
            return ANSWER
        return self.when(number) if self.step(number).condition else self.name(number)

    @property
    def first(self) -> str:
        return PRECONDITIONS if self.sop.preconditions else self.entry(1)
