"""Which of the triplets that a model wrote are worth keeping: those that the text can have said."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from reverie.knowledge.chunk.piece import Lines
from reverie.knowledge.chunk.sentences import sentence_units
from reverie.knowledge.graph.records import thing_id

Reason = Literal["empty", "example", "same", "ungrounded", "negated", "duplicate", "many"]
"""Why a triplet was left out: a part has no words; it repeats an example of the prompt; the thing
is its own result; its words do not stand together in the text; the sentence denies it; it was said
before; there were enough.
"""

MINIMUM_GROUNDED: Final = 0.75
"""Share of a triplet's words that one sentence, with the one before it, must have."""
_MINIMUM_PART = 0.5
"""Of the thing's words, and of the result's."""
_MOST_SENTENCES = 1000

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_NOT = frozenset({"not", "no", "never", "without", "neither", "nor", "cannot", "nothing", "none"})
_JOINING = frozenset(
    """a an and are as at be been being but by can could did do does for from had has have he her
    his if in into is it its of on or she so than that the their them then there these they this
    those to was were which while who will with would""".split()  # noqa: SIM905  # a list of fifty strings is not easier to read
)


@dataclass(frozen=True, slots=True)
class Draft:
    """A triplet as the model wrote it; ``confidence`` from 0 to 1 where that is known."""

    what: str
    action: str
    result: str
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Grounded:
    """A draft and the sentence it was found in, as characters of the text; ``share`` of its words
    stand there.
    """

    draft: Draft
    start: int
    end: int
    share: float


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was kept, in the order written, and how many were left out, and why."""

    kept: Sequence[Grounded]
    dropped: Counter[Reason]


def prune(
    drafts: Sequence[Draft],
    text: str,
    *,
    most: int,
    examples: Collection[str] = (),
    minimum: float = MINIMUM_GROUNDED,
) -> Pruned:
    """The drafts that ``text`` can have said, at most ``most``. Words are compared without case and
    endings. With a ``minimum`` of 0 only empty ones and repetitions go. Whether the words are put
    together rightly is not checked: that takes a reader.
    """
    sentences = _Sentences(text)
    copied = {thing_id(part) for part in examples}
    kept: list[Grounded] = []
    seen: set[tuple[str, ...]] = set()
    dropped: Counter[Reason] = Counter()
    for draft in drafts:
        said = tuple(map(thing_id, (draft.what, draft.action, draft.result)))
        found = sentences.best(draft)
        reason = _reason(draft, said, found, copied, minimum)
        if reason is None and said in seen:
            reason = "duplicate"
        elif reason is None and len(kept) >= most:
            reason = "many"
        if reason is not None:
            dropped[reason] += 1
            continue
        seen.add(said)
        kept.append(Grounded(draft, found.start, found.end, found.share))
    return Pruned(kept, dropped)


@dataclass(frozen=True, slots=True)
class _Found:
    start: int
    end: int
    share: float
    parts: tuple[float, float]
    """Of the thing and of the result."""
    negated: bool


def _reason(
    draft: Draft, said: tuple[str, ...], found: _Found, copied: set[str], minimum: float
) -> Reason | None:
    if not all(_words(part) for part in (draft.what, draft.action, draft.result)):
        return "empty"
    if minimum <= 0:
        return None
    if found.share < 1.0 and sum(part in copied for part in said) >= 2:
        return "example"
    if said[0] == said[2]:
        return "same"
    if found.share < minimum or min(found.parts) < _MINIMUM_PART:
        return "ungrounded"
    return "negated" if found.negated else None


class _Sentences:
    """The sentences of a text, and the words in each."""

    def __init__(self, text: str) -> None:
        lines = Lines(text)
        units = sentence_units(lines, 0, len(lines) - 1, len(text) + 1)[:_MOST_SENTENCES]
        self._places = [(unit.start, unit.end) for unit in units] or [(0, len(text))]
        self._plain = [text[start:end] for start, end in self._places]
        self._words = [{_stem(word) for word in _words(plain)} for plain in self._plain]

    def best(self, draft: Draft) -> _Found:
        """The sentence with most of the draft's words, its own and, at a discount, those of the one
        before it, where "it" may have its name.
        """
        what, action, result = (_content(part) for part in (draft.what, draft.action, draft.result))
        every = {*what, *action, *result}
        best, most = 0, -1.0
        for position, words in enumerate(self._words):
            own = len(every & words)
            share = own + 0.9 * len((every - words) & self._before(position))
            if own and share > most:
                best, most = position, share
        near = self._words[best] | self._before(best)
        start, end = self._places[best]
        return _Found(
            start,
            end,
            _share(every, near),
            (_share(what, near), _share(result, near)),
            negated=bool(_NOT & set(_negations(self._plain[best])))
            and not _NOT & set(_negations(f"{draft.what} {draft.action} {draft.result}")),
        )

    def _before(self, position: int) -> set[str]:
        return self._words[position - 1] if position else set()


def _share(wanted: set[str], there: set[str]) -> float:
    return len(wanted & there) / len(wanted) if wanted else 0.0


def _content(part: str) -> set[str]:
    """The words that say something; all of them where none does."""
    words = _words(part)
    return {_stem(word) for word in words if word not in _JOINING} or set(map(_stem, words))


def _negations(text: str) -> list[str]:
    return ["not" if word.endswith(("n't", "n\u2019t")) else word for word in _words(text)]


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(text)]


def _stem(word: str) -> str:
    """The word without the commonest endings of English: enough to compare forms of one word."""
    word = re.sub(r"['\u2019]s$", "", word)
    for ending in ("ing", "ies", "ied", "ed", "es", "s", "ly", "e", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
