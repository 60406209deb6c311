"""Whether two answers say the same, without asking a model.

Numbers are compared as numbers, options by their letter or what stands behind it, everything else
by its words. How similar the sentences are (embeddings) is asked only where none of that decides.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reverie.graphs.quantity import Quantity, quantities, without_quantities

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reverie.models.embedder import Embedder

SIMILAR = 0.85
"""Cosine similarity from which two sentences that nothing else tells apart say the same. It cannot
tell opposites: to a sentence embedder, hotter is similar to colder.
"""


@dataclass(frozen=True, slots=True)
class Said:
    """What an answer comes to: an option's letter, a number, or words."""

    option: str
    """Its letter, or ``yes`` or ``no``."""
    number: Quantity | None
    numbers: tuple[Quantity, ...]
    words: tuple[str, ...]
    """In lower case, without articles and what leads up to an answer."""
    content: tuple[str, ...]
    """The words that carry meaning and are not in the question, without their endings."""
    denies: bool
    counts: bool
    """Whether the question asks for a number: then it alone decides."""

    @property
    def bare(self) -> bool:
        """Whether nothing was said: no letter or digit."""
        return not (self.option or self.numbers or self.words)


def said(answer: str, question: str = "") -> Said:
    """What ``answer`` comes to, as an answer to ``question``."""
    text = _unwrapped(answer)
    options = _options(question)
    option = _option(text, options)
    numbers = tuple(quantities(text))
    asked = {_stem(word) for word in _words(question)}
    words = _words(text)
    stems = (_stem(w) for w in _words(without_quantities(text)) if w not in _SMALL)
    content = tuple(stem for stem in stems if stem not in asked)
    denies = bool(_DENIES & set(words)) or "n't" in answer.lower().replace("’", "'")  # noqa: RUF001  # as people type it
    return Said(
        option,
        _number(text, numbers, question),
        numbers,
        tuple(words),
        content,
        denies,
        bool(_ASKS_NUMBER.search(question)),
    )


def same(one: Said, other: Said) -> bool:
    """Whether both say the same, by letters, numbers and words alone."""
    if one.option or other.option:
        return one.option == other.option
    if one.number and other.number:
        return one.number.same(other.number) and not _apart(one, other)
    if one.words == other.words:
        return not one.bare
    # "Paris" and "The capital of France is Paris", when asked for the capital of France.
    alike = one.content == other.content and one.denies == other.denies
    return alike and bool(one.content) and _same_numbers(one, other)


def may_be_same(one: Said, other: Said) -> bool:
    """Whether nothing speaks against it: then, and only then, may their similarity decide."""
    if one.option or other.option or one.denies != other.denies:
        return False
    # A word or two is a name: cat and dog are similar, and not the same.
    if min(len(one.words), len(other.words)) < _SENTENCE:
        return False
    # The same words in another order: cats chase mice, and mice chase cats.
    if one.content != other.content and sorted(one.content) == sorted(other.content):
        return False
    return _same_numbers(one, other)


def groups(
    answers: Sequence[str], question: str = "", similar: NDArray[np.float32] | None = None
) -> list[int]:
    """For each answer the number of its group, from 0 in the order of their first members.

    ``similar`` ``[N, N]`` are the cosine similarities of the answers, where they may be asked.
    """
    means = [said(answer, question) for answer in answers]
    numbers: list[int] = []
    firsts: list[int] = []
    for place, mine in enumerate(means):
        found = next((g for g, first in enumerate(firsts) if same(means[first], mine)), None)
        if found is None and similar is not None:
            near = [
                (float(similar[first, place]), -g)
                for g, first in enumerate(firsts)
                if similar[first, place] >= SIMILAR and may_be_same(means[first], mine)
            ]
            found = -max(near)[1] if near else None
        if found is None:
            found = len(firsts)
            firsts.append(place)
        numbers.append(found)
    return numbers


async def grouped(
    answers: Sequence[str], question: str, embedder: Callable[[], Awaitable[Embedder]]
) -> list[int]:
    """``groups``; the embedder is asked only when sentences differ that nothing else tells apart.

    Raises what the embedder raises.
    """
    found = groups(answers, question)
    means = [said(answer, question) for answer in answers]
    firsts = [found.index(g) for g in range(max(found, default=-1) + 1)]
    undecided = any(
        may_be_same(means[a], means[b]) for at, a in enumerate(firsts) for b in firsts[at + 1 :]
    )
    if not undecided:
        return found
    vectors = await (await embedder()).embed(list(answers))
    return groups(answers, question, vectors @ vectors.T)


_SENTENCE = 3

_LEADS = re.compile(
    r"^(?:(?:so|thus|therefore|hence|then),?\s+)?(?:the\s+)?(?:correct\s+|final\s+|right\s+)?"
    r"(?:answer|result|option|choice)\s*(?:is|:|=)?\s*:?\s+",
    re.IGNORECASE,
)
_BOXED = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}")
_LETTER = re.compile(r"^(?:option\s+|choice\s+)?[(\[]?([A-Ha-h])[)\]]?[.:]?$", re.IGNORECASE)
_LETTERED = re.compile(r"^(?:[(\[]([A-Ha-h])[)\]]|([A-H])[).:])\s+\S")
_OPTIONS = re.compile(
    r"(?:^|[\s(\[])([A-Ha-h])[).:\]]\s*([^\n]+?)(?=\s+[(\[]?[B-Hb-h][).:\]]\s|\n|$)"
)
_ARTICLES = frozenset(("a", "an", "the"))
_DENIES = frozenset(("no", "not", "never", "none", "nothing", "neither", "cannot", "without"))
_SMALL_WORDS = (
    "is are was were be been being it its this that these those there here has have had do does "
    "did will would can could may might of in on at to for from by with as and or so then than "
    "total all altogether about exactly only equal equals result answer number value"
)
_SMALL = frozenset(_SMALL_WORDS.split())
_YES_NO = re.compile(r"^(yes|no)(?=\s*[,.;:!]|$)", re.IGNORECASE)
_ASKS_NUMBER = re.compile(
    r"\bhow (?:many|much|long|old|far|tall|high|fast|heavy|deep|wide|big|large)\b|\bcalculate\b"
    r"|\bcompute\b|\bevaluate\b|\bwhat (?:is|are|does) (?:the (?:sum|product|difference|quotient|"
    r"total|number|value|result|average|percentage|remainder|gcd|lcm|greatest|least)\b|[-(]?\d)",
    re.IGNORECASE,
)


def _unwrapped(answer: str) -> str:
    boxed = _BOXED.findall(answer)
    text = boxed[-1] if boxed else answer
    text = re.sub(r"[*`_]{1,3}(?=\S)|(?<=\S)[*`_]{1,3}(?!\w)|^\$|\$$", "", text.strip())
    return _LEADS.sub("", text).lstrip(" \t\n,;:!?\"'").rstrip(" \t\n.,;:!?\"'")


def _options(question: str) -> dict[str, str]:
    """The options that a question lists, by letter, as words; none unless there are two."""
    found = {m[1].upper(): " ".join(_words(m[2])) for m in _OPTIONS.finditer(question)}
    return found if {"A", "B"} <= found.keys() else {}


def _option(text: str, options: dict[str, str]) -> str:
    if match := _LETTER.match(text):
        alone = match[1]
        # Without options a small "a" is an article that lost its noun, not a choice.
        return alone.upper() if options or alone.isupper() else ""
    if match := _YES_NO.match(text):
        return match[1].lower()
    if match := _LETTERED.match(text):
        letter = (match[1] or match[2]).upper()
        return letter if not options or letter in options else ""
    plain = " ".join(_words(text))
    letters = [letter for letter, words in options.items() if words and words == plain]
    return letters[0] if len(letters) == 1 else ""


def _number(text: str, numbers: Sequence[Quantity], question: str) -> Quantity | None:
    """The number that the answer is; None when it is none, or says several."""
    if not numbers:
        return None
    if "=" in text:
        after = quantities(text.rpartition("=")[2])
        if after:
            return after[0]
    if len(numbers) == 1:
        return numbers[0]
    if not _ASKS_NUMBER.search(question):
        return None
    given = quantities(question)
    fresh = [n for n in numbers if not any(n.same(g) for g in given)]
    return fresh[0] if len(fresh) == 1 else numbers[-1]


def _apart(one: Said, other: Said) -> bool:
    """Whether the words around the same number say different things."""
    if one.denies != other.denies:
        return True
    alone = one.counts or other.counts
    left, right = set(one.content), set(other.content)
    return not alone and bool(left - right and right - left)


def _same_numbers(one: Said, other: Said) -> bool:
    if len(one.numbers) != len(other.numbers):
        return False
    return all(a.same(b) for a, b in zip(one.numbers, other.numbers, strict=True))


def _words(text: str) -> list[str]:
    found = re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.lower())  # noqa: RUF001  # as people type it
    return [word for word in found if word not in _ARTICLES]


def _stem(word: str) -> str:
    """A word without its commonest endings, for comparison only."""
    for ending in ("ing", "es", "ed", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= _STEM:
            return word[: -len(ending)]
    return word


_STEM = 3
