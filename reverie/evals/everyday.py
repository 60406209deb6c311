"""Everyday what-happens questions with keyword rubrics, and how an answer is judged by them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.resources import files

_RESTATED = re.compile(r"^(?:when|if) [^,]*,", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class EverydayQuestion:
    """A question, and the words of which a right answer has one from every group."""

    question: str
    right: tuple[tuple[str, ...], ...]

    def is_right(self, answer: str) -> bool:
        """Whether the answer says one of the words, not counting the question it restates."""
        said = _RESTATED.sub("", answer).lower()
        return all(any(word in said for word in group) for group in self.right)


def everyday_questions() -> list[EverydayQuestion]:
    """The 48 packaged questions. They were written without looking at the packaged facts."""
    lines = files("reverie.evals").joinpath("everyday.jsonl").read_text(encoding="utf-8")
    return [
        EverydayQuestion(record["question"], tuple(tuple(group) for group in record["right"]))
        for record in map(json.loads, lines.splitlines())
    ]
