"""Links in a text: Markdown's and HTML's, and bare addresses."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit

from reverie.knowledge.extract.lines import Line

MOST_LINKS: Final = 5000
"""Of one document; a list of addresses is longer than anybody's text."""

_MOST_ADDRESS = 150  # as long as a name may be, see statements.py

_INLINE = re.compile(
    r"(?<!\\)\[(?P<words>[^\[\]\n]{0,300})\]\(\s{0,9}"
    r"(?:<(?P<angled>[^<>\n]{1,500})>|(?P<target>[^\s()<>]{1,500}(?:\([^\s()<>]{0,200}\)"
    r"[^\s()<>]{0,200})?))"
    r"(?:\s{1,9}(?:\"[^\"\n]{0,300}\"|'[^'\n]{0,300}'))?\s{0,9}\)"
)
_REFERENCE = re.compile(r"(?<!\\)\[(?P<words>[^\[\]\n]{1,300})\]\[(?P<name>[^\[\]\n]{0,300})\]")
_DEFINITION = re.compile(
    r"^ {0,3}\[(?P<name>[^\[\]\n]{1,300})\]:\s{0,9}<?(?P<target>[^\s<>]{1,500})"
)
_HTML = re.compile(
    r"<a\s[^<>\n]{0,500}?href\s?=\s?[\"'](?P<target>[^\"'<>\n]{1,500})[\"'][^<>\n]{0,500}>"
    r"(?P<words>[^<\n]{0,300})",
    re.IGNORECASE,
)
_BARE = re.compile(r"https?://[^\s<>\"'`|\\^{}\[\]]{3,500}")
_TRAILING = ".,;:!?*_~'\""


@dataclass(frozen=True, slots=True)
class Link:
    """A link as it stands there: the words, the target, and the line of the text (from 1)."""

    words: str
    target: str
    line: int


def links(lines: list[Line]) -> list[Link]:
    """The links of a text, in order, at most ``MOST_LINKS``. Code blocks have none."""
    named = {
        _key(found["name"]): found["target"]
        for line in lines
        if not line.code and (found := _DEFINITION.match(line.text))
    }
    every: list[Link] = []
    for line in lines:
        if not line.code and ("](" in line.text or "][" in line.text or ":" in line.text):
            every += sorted(_of_line(line, named), key=lambda link: link.words == "")
        elif not line.code and "href" in line.text:
            every += _of_line(line, named)
        if len(every) >= MOST_LINKS:
            break
    return every[:MOST_LINKS]


def resolved(target: str, path: str) -> str | None:
    """Where a link in the document ``path`` leads, without what stands behind #: an address, or the
    path that a document may have. None for a link within the document, for mail, and for what is
    no address.
    """
    target = target.strip()
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]{1,30}:", target)
    try:
        if scheme is not None:
            web = scheme[0].lower() in {"http:", "https:"}
            return _plain(target) if web else None
        if path.startswith(("http://", "https://")):
            plain = _plain(urljoin(path, target))
            return plain if plain != _plain(path) else None
        if target.startswith("//"):
            return _plain(f"https:{target}")
        inside = unquote(urlsplit(target).path)
    except ValueError:  # such as brackets that are no IPv6 address
        return None
    if not inside or "\0" in inside:
        return None
    joined = posixpath.normpath(posixpath.join(posixpath.dirname(path), inside))
    return joined if joined != path else None


def _of_line(line: Line, named: dict[str, str]) -> Iterator[Link]:
    taken: list[tuple[int, int]] = []
    for found in _INLINE.finditer(line.text):
        taken.append(found.span())
        yield Link(_words(found["words"]), found["angled"] or found["target"], line.number)
    for found in _REFERENCE.finditer(line.text):
        if target := named.get(_key(found["name"] or found["words"])):
            yield Link(_words(found["words"]), target, line.number)
    for found in _HTML.finditer(line.text):
        taken.append(found.span())
        yield Link(_words(found["words"]), found["target"], line.number)
    for found in _BARE.finditer(line.text):
        if not any(start <= found.start() < end for start, end in taken[:50]):
            yield Link("", _without_end(found[0]), line.number)


def _plain(address: str) -> str | None:
    parts = urlsplit(address)
    if not parts.hostname or len(address) > _MOST_ADDRESS:
        return None
    query = f"?{parts.query}" if parts.query else ""
    # Never with a user's name or password.
    host = parts.netloc.rpartition("@")[2].lower()
    return f"{parts.scheme.lower()}://{host}{parts.path.rstrip('/')}{query}"


def _without_end(address: str) -> str:
    """A bare address without what ends the sentence that it stands in."""
    address = address.rstrip(_TRAILING)
    while address.endswith(")") and address.count(")") > address.count("("):
        address = address[:-1].rstrip(_TRAILING)
    return address


def _words(text: str) -> str:
    return " ".join(re.sub(r"[*_`]+", "", text).split())


def _key(name: str) -> str:
    return " ".join(name.casefold().split())
