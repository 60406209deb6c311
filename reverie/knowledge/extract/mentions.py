"""The names of things that a text mentions, found by rules; no model, and no list of names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from reverie.knowledge.graph.records import thing_id

MOST_WORDS: Final = 8
"""What is longer is a sentence, no name."""

_MOST_CHARS: Final = 200_000
"""Longer texts are cut: chunks are far shorter."""

_WORD: Final = re.compile(r"[^\W_]+(?:(?!['’]s\b)['’.&-][^\W_]+)*")  # noqa: RUF001  # the apostrophe that texts have
"""A word with what holds it together inside: "O'Brien", "Jean-Luc", "AT&T", "U.S"; not the 's."""

_QUOTED: Final = re.compile(
    r"\"([^\"\n]{2,80})\"|“([^“”\n]{2,80})”|«([^«»\n]{2,80})»|「([^「」\n]{1,80})」|``?([^`\n]{2,80})``?"
)

_CODE: Final = re.compile(
    r"(?<![\w.-])(?:"
    r"--[a-z][a-z0-9]*(?:-[a-z0-9]+)*"  # --an-option
    r"|[A-Za-z_]\w*(?:(?:\.|::)[A-Za-z_]\w*)*\(\)"  # call()
    r"|_*[a-z][a-z0-9]*(?:_[A-Za-z0-9]+)+"  # snake_case
    r"|[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+"  # A_CONSTANT
    r"|[a-z]+(?:[A-Z][a-z0-9]+)+"  # camelCase
    r"|[A-Za-z_]\w*(?:::[A-Za-z_]\w*)+"  # a::path
    r"|[a-z_]\w+(?:\.[A-Za-z_]\w+)+"  # a.dotted.name
    r")(?![\w-])"
)

_QUANTITY: Final = re.compile(
    r"(?<![\w.,])(?:[$€£¥]\s?\d[\d,]*(?:\.\d+)?(?:\s(?:thousand|million|billion|trillion))?"
    r"|\d[\d,]*(?:\.\d+)?\s?(?:%|°[CF]?|(?:[kKMGTmnµμ]?(?:Hz|W|Wh|V|A|F|Pa|J|B|b|bit|byte|m|g|s|N|l|L)"
    r"|km/h|mph|m/s|kg|lb|lbs|oz|ft|in|mi|mm|cm|km|ha|acres|miles|feet|metres|meters|inches|"
    r"kilometres|kilometers|tonnes|tons|litres|liters|degrees|dpi|fps|rpm|px|ms|µs|min|h|"
    r"[KMGT]i?B(?:/s)?|[KMG]?bps|people|inhabitants)\b))"
)

_SENTENCE_END: Final = re.compile(r"[.!?:;]['\")\]”’]*\s+$|\n\s*$|^\s*$|[(\[“\"]$")  # noqa: RUF001  # the apostrophe that texts have

_NAMING: Final = re.compile(
    r"\s*(?:['’]s\b|[(,]|(?:is|was|are|were|has|had|can|does|did|will|became|become|becomes|means"  # noqa: RUF001  # the apostrophe that texts have
    r"|contains|returns|provides|refers)\b)"
)
"""What stands behind the name of a thing at the beginning of a sentence, where every word has a
capital letter."""

_JOINS: Final = frozenset(
    "of for the de la le du des del della di da do dos von van der den zu al el bin ibn ap".split()  # noqa: SIM905  # easier to read than 24 strings
)
"""Words that may stand within a name, but neither begin nor end it. "And" parts two names more
often than it joins one.
"""

_FUNCTION: Final = frozenset(
    """a about above after again against all also although am among an and another any are as at
    be became because been before being below between both but by came can could despite did do
    does doing down due during each either even every few finally first following for from further
    given had has have having he hence her here hers herself him himself his how however i if
    in indeed instead into is it its itself just last later let like many may me meanwhile might
    more moreover most much must my myself near neither nevertheless next no nor not note now of
    off often on once one only onto or other others otherwise our ours out over own perhaps please
    same second see several shall she should since so some soon still such than that the their
    theirs them themselves then there therefore these they third this those though three through
    throughout thus to today together too toward towards two under unless unlike until up upon us
    use used using very via was we were what when whenever where whereas whether which while who
    whom whose why will with within without would yes yet you your yours
    january february march april june july august september october november december
    monday tuesday wednesday thursday friday saturday sunday""".split()  # noqa: SIM905  # a list of two hundred strings is not easier to read
)
"""Words that begin sentences and questions and name nothing."""


def mentions(text: str) -> list[str]:
    """The names of things in ``text``, in the order in which they first stand there.

    Names in capital letters ("Bank of England"; at the beginning of a sentence a single word only
    when the text shows elsewhere that it is a name), quotations of up to 8 words, quantities with
    their unit ("4.2 GHz"), and identifiers of code (``snake_case``, ``camelCase``, ``a.b``,
    ``f()``, ``--option``). Names that are the same thing by ``thing_id`` are returned once. Where a
    language capitalises no names, or every noun, it finds less or more. Blocks: about 1 ms for
    2,000 characters.
    """
    text = text[:_MOST_CHARS]
    found = [*_marked(text), *_capitalised(text)]
    names: dict[str, str] = {}
    for _, name in sorted(found, key=lambda place: place[0]):
        if thing := thing_id(name):
            names.setdefault(thing, name)
    return list(names.values())


def _marked(text: str) -> Iterator[tuple[int, str]]:
    """What marks in the text show to be a name, and where it stands."""
    for quoted in _QUOTED.finditer(text):
        name = next(filter(None, quoted.groups())).strip(" .,;:!?")
        if name and len(name.split()) <= MOST_WORDS:
            yield quoted.start(), name
    for identifier in _CODE.finditer(text):
        yield identifier.start(), identifier.group()
    for quantity in _QUANTITY.finditer(text):
        yield quantity.start(), quantity.group()


def _capitalised(text: str) -> Iterator[tuple[int, str]]:
    """Names in capital letters, and where they stand."""
    # Identifiers and quantities are no words; blanks keep every other place where it is.
    for pattern in (_CODE, _QUANTITY):
        text = pattern.sub(lambda found: "\0" * len(found.group()), text)
    words = list(_WORD.finditer(text))
    inside = {  # words that have a capital letter where no sentence begins
        word.group()
        for word in words
        if word.group()[0].isupper() and not _begins_sentence(text, word.start())
    }
    run: list[re.Match[str]] = []
    for word in words:
        if run and not _goes_on(text, run[-1], word):
            yield from _named(text, run, inside)
            run = []
        if _is_capital(word.group()) or (run and _continues(run[-1].group(), word.group())):
            run.append(word)
        elif run:
            yield from _named(text, run, inside)
            run = []
    yield from _named(text, run, inside)


def _goes_on(text: str, last: re.Match[str], word: re.Match[str]) -> bool:
    """Whether nothing but a space, or the point of an initial, stands between two words."""
    between = text[last.end() : word.start()]
    initial = len(last.group()) == 1 and last.group().isupper()
    return between in {" ", "  ", " & "} or (initial and between in {". ", "."})


def _continues(last: str, word: str) -> bool:
    """Whether a word without a capital letter may go on with a name that ``last`` is in."""
    if word == "the":  # "Lord of the", but not "Nolan the"
        return last in _JOINS
    return word in _JOINS or (word.isdigit() and not _is_year(word) and last not in _JOINS)


def _named(text: str, run: list[re.Match[str]], inside: set[str]) -> Iterator[tuple[int, str]]:
    """The name in a run of words, if it is one."""
    first, last = 0, len(run)
    while first < last and not _may_end(run[first].group()):
        first += 1
    while first < last and not _may_end(run[last - 1].group()):
        last -= 1
    if not 0 < last - first <= MOST_WORDS or not any(map(str.isalpha, run[first].group())):
        return
    if last - first > 1 or _is_name(text, run[first], inside):
        yield run[first].start(), text[run[first].start() : run[last - 1].end()]


def _may_end(word: str) -> bool:
    """Whether a name may begin or end with ``word``."""
    return word not in _JOINS and word.casefold() not in _FUNCTION


def _is_name(text: str, word: re.Match[str], inside: set[str]) -> bool:
    """Whether one word in capital letters is a name, and not the beginning of a sentence."""
    plain = word.group()
    if len(plain) < 2:
        return False
    if any(character.isupper() or character.isdigit() for character in plain[1:]):
        return True
    if not _begins_sentence(text, word.start()) or plain in inside:
        return True
    return bool(_NAMING.match(text, word.end()))


def _is_capital(word: str) -> bool:
    if word.islower():  # most words are: without a look at every letter
        return False
    return word[0].isupper() or (word[0].islower() and any(c.isupper() for c in word[1:]))


def _is_year(word: str) -> bool:
    return len(word) == 4 and "1500" <= word <= "2100"


def _begins_sentence(text: str, start: int) -> bool:
    return bool(_SENTENCE_END.search(text[max(0, start - 12) : start])) or start == 0
