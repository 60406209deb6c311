"""What rules read from a document into the graph: no model, the same every time.

The graph does not grow hubs from one document: a thing that many of its chunks mention is mentioned
by the document instead, once; a heading that any document could have ("Usage") names nothing; and
a table's numbers and yes or no are named with their row.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from typing import Final

from reverie.knowledge.chunk.chunk import Chunk
from reverie.knowledge.extract.acronyms import acronyms
from reverie.knowledge.extract.code.rules import say_code
from reverie.knowledge.extract.lines import Line, lines_of
from reverie.knowledge.extract.links import links, resolved
from reverie.knowledge.extract.mentions import mentions
from reverie.knowledge.extract.places import Places
from reverie.knowledge.extract.statements import MOST_OF_ONE, Statements
from reverie.knowledge.extract.tables import cells
from reverie.knowledge.graph.records import Batch, thing_id
from reverie.knowledge.read.document import SourceDocument

MOST_MENTIONS: Final = 40
"""Of one chunk, the first ones."""
MOST_MENTIONING: Final = MOST_OF_ONE
"""Chunks of one document that mention the same thing; beyond that the document does."""

_LABEL_WORDS = 10
_LABEL_CHARACTERS = 80

_ANY_HEADING = frozenset(
    """abstract acknowledgements acknowledgments api appendix arguments attributes authors
    background basics build building bugs caveats changelog changes classes conclusion conclusions
    configuration constants contact contents contributing contributors copyright credits data
    definition definitions demo dependencies description design details development discussion
    documentation download example examples exceptions faq features fields footnotes functions
    future work general getting started goals history home index info information install
    installation installing instructions intro introduction issues license licence limitations links
    main methods misc miscellaneous more motivation name news note notes options output overview
    parameters preface properties purpose quick start quickstart readme references related related
    work release notes requirements resources results return returns running see also section setup
    settings source status summary support syntax table of contents testing tests title todo
    troubleshooting tutorial types usage use uses version versions warning what's new""".split()  # noqa: SIM905  # a list of a hundred strings is not easier to read
)
"""Words that headings of any document are made of. One of nothing else names no thing."""

_NUMBERED = re.compile(
    r"^(?:(?:chapter|section|part|appendix)\s+)?[\divxlc]{1,5}(?:\.\d+)*[.):]\s+|^\d+(?:\.\d+)+\s+",
    re.IGNORECASE,
)


def rule_batch(document: SourceDocument, chunks: Sequence[Chunk]) -> Batch:
    """The nodes and edges that rules find in a document and its chunks. Blocks; linear in the
    text. Every edge has the document as its source, and the line where it is said.

    * document ``contains`` chunk; section ``contains`` what stands under it, class ``contains``
      method; chunk ``follows`` the one before it
    * document ``about`` its title, chunk ``about`` its heading
    * chunk (or document) ``mentions`` a thing by name
    * document ``links_to`` document or address, with the link's words
    * a short form is ``same_as`` what the text says it stands for
    * a table's row ``has`` a value, with the column's heading as text; chunk ``mentions`` the row
    * of code: document ``defines`` its module and ``imports`` others, chunk ``defines`` functions
      and classes, which ``defines`` their methods, and one ``calls`` another
    """
    said = Statements(document.path)
    places = Places(document, chunks)
    home = _say_structure(said, places, chunks)
    _say_mentions(said, places, chunks, home)
    if document.media == "code":
        say_code(said, places, chunks, home)
    else:
        _say_text(said, places, chunks, home)
    return said.batch()


def document_id(path: str, record: str = "") -> str:
    """The id of the node of a document, or of one of several records in a file."""
    return f"document:{path}#{record}" if record else f"document:{path}"


def chunk_id(chunk: Chunk) -> str:
    """The id of a chunk's node."""
    return f"chunk:{chunk.id}"


def _say_structure(said: Statements, places: Places, chunks: Sequence[Chunk]) -> str:
    document = places.document
    name = document.title or posixpath.basename(document.path) or document.path
    home = said.own(
        document_id(document.path, document.record),
        "document",
        name,
        document.path,
        {"media": document.media, "language": document.language, "chunks": len(chunks)},
    )
    whole = places.line(1)
    if document.media != "code":
        said.say(home, "about", _heading(said, document.title), whole)
    if document.path.startswith(("http://", "https://")) and (at := resolved(document.path, "/")):
        said.say(home, "same_as", said.thing(at), whole)
    before = ""
    holders: dict[tuple[str, ...], str] = {}
    for chunk in chunks:
        node = said.own(chunk_id(chunk), "chunk", _label(chunk), chunk.text, _properties(chunk))
        said.say(home, "contains", node, chunk.span)
        place = (*chunk.headings, *chunk.name.split(".")) if chunk.name else (*chunk.headings,)
        if chunk.headings and chunk.headings[-1] == chunk.name:
            place = (*chunk.headings,)
        for depth in range(len(place) - 1, 0, -1):
            if holder := holders.get(place[:depth]):
                said.say(holder, "contains", node, chunk.span)
                break
        if place:
            holders.setdefault(place, node)
        if before:
            said.say(node, "follows", before, chunk.span)
        before = node
        if document.media != "code" and chunk.headings:
            thing = _heading(said, chunk.headings[-1])
            said.say(node, "about", thing, chunk.span, spare=thing)
    return home


def _say_mentions(said: Statements, places: Places, chunks: Sequence[Chunk], home: str) -> None:
    code = places.document.media == "code"
    named: dict[str, list[tuple[int, str]]] = {}
    for position, chunk in enumerate(chunks):
        # Of code its words for people; what it defines and calls its grammar says better.
        words = chunk.docstring if code else chunk.text
        for name in mentions(words)[:MOST_MENTIONS] if words else ():
            named.setdefault(thing_id(name), []).append((position, name))
    for where in named.values():
        common = len(where) > MOST_MENTIONING
        for position, name in where[:1] if common else where:
            span = places.within(chunks, position, chunks[position].text.find(name))
            start = home if common else chunk_id(chunks[position])
            said.say(start, "mentions", said.thing(name), span, end_label=name)


def _say_text(said: Statements, places: Places, chunks: Sequence[Chunk], home: str) -> None:
    document = places.document
    for position, chunk in enumerate(chunks):
        for short in acronyms(chunk.text):
            span = places.within(chunks, position, short.start)
            form = said.thing(short.short)
            said.say(form, "same_as", said.thing(short.long), span, spare=form)
    lines = lines_of(document.text, markdown=document.media == "markdown")
    for link in links(lines):
        led = resolved(link.target, document.path)
        if led is None:
            continue
        if led.startswith(("http://", "https://")):
            end = said.thing(led)
        else:
            end = said.elsewhere(document_id(led), posixpath.basename(led) or led)
        said.say(home, "links_to", end, places.line(link.line), text=link.words)
    if document.media == "markdown":
        _say_tables(said, places, chunks, home, lines)


def _say_tables(
    said: Statements, places: Places, chunks: Sequence[Chunk], home: str, lines: Sequence[Line]
) -> None:
    for cell in cells(lines):
        row = said.thing(cell.row)
        if said.is_common(row, "has"):  # the same name in so many rows names none of them
            continue
        value = said.thing(cell.value) if cell.names_a_thing else ""
        if not value or said.is_common(value, "has"):
            value = said.thing(cell.statement)
        span = places.line(cell.line)
        said.say(row, "has", value, span, text=cell.column, end_label=cell.value)
        held = places.chunk_at(cell.line)
        start = home if held is None else chunk_id(chunks[held])
        said.say(start, "mentions", row, span, end_label=cell.row, spare=row)


def _heading(said: Statements, heading: str) -> str:
    """The thing that a heading names; empty when any document could have it."""
    plain = _NUMBERED.sub("", re.sub(r"[*_`#]+", "", heading)).strip()
    if all(word in _ANY_HEADING for word in re.findall(r"[^\W_]+(?:'s)?", plain.casefold())):
        return ""
    return said.thing(plain)


def _label(chunk: Chunk) -> str:
    if chunk.name:
        return chunk.name
    words = " ".join(chunk.text[:400].split()[:_LABEL_WORDS])
    return words[:_LABEL_CHARACTERS] or chunk.id


def _properties(chunk: Chunk) -> dict[str, str | int]:
    known: dict[str, str | int] = {
        "kind": chunk.kind,
        "first_line": chunk.span.first_line,
        "last_line": chunk.span.last_line,
    }
    if chunk.span.page is not None:
        known["page"] = chunk.span.page
    return known
