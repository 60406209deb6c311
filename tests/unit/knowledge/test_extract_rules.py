"""What rules read from documents: structure, links, tables, short forms, and bounds."""

from __future__ import annotations

import time
from collections import Counter
from itertools import pairwise

import pytest

from reverie.knowledge.chunk import chunks_of
from reverie.knowledge.chunk.chunk import Chunk
from reverie.knowledge.extract.acronyms import acronyms
from reverie.knowledge.extract.lines import lines_of
from reverie.knowledge.extract.links import links, resolved
from reverie.knowledge.extract.rules import MOST_MENTIONING, MOST_MENTIONS, rule_batch
from reverie.knowledge.extract.tables import cells
from reverie.knowledge.graph.records import Batch, Span
from reverie.knowledge.read.document import SourceDocument

PATH = "/docs/guide/probe.md"
TEXT = """# Kestrel Probe

The Kestrel Probe was built by the European Space Agency (ESA). See [the plan](../plan.md#aims).

## 2.1 Antenna

It talks to Darmstadt over <https://user:secret@Example.org/dishes/>, see [notes][n].

| Part | Maker | Mass |
|------|-------|-----:|
| Feed horn | Thales Alenia | 12 kg |
| **Mirror** | [Zeiss](z.md) | yes |

```
[not a link](nowhere.md)
```

## Usage

Point it.

[n]: /docs/notes.md
"""


def document(text: str = TEXT, path: str = PATH, **more: object) -> SourceDocument:
    return SourceDocument(path, "markdown", text, title="Kestrel Probe", **more)  # type: ignore[arg-type]  # fields by name


def chunk(text: str, first: int, *headings: str, name: str = "", path: str = PATH) -> Chunk:
    last = first + text.count("\n")
    return Chunk(f"{path}{first}", "section", text, Span(path, first, last), name, headings)


def section(first: int, last: int, *headings: str) -> Chunk:
    return chunk("\n".join(TEXT.split("\n")[first - 1 : last]), first, *headings, name=headings[-1])


CHUNKS = (
    section(1, 3, "Kestrel Probe"),
    section(5, 16, "Kestrel Probe", "2.1 Antenna"),
    section(18, 20, "Kestrel Probe", "Usage"),
)


def said(batch: Batch, relation: str) -> list[tuple[str, str, str, str]]:
    return [
        (e.start, e.end, e.text, str(e.span).rpartition("/")[2])
        for e in batch.edges
        if e.relation == relation
    ]


def test_document_chunks_and_sections_hang_together() -> None:
    batch = rule_batch(document(), CHUNKS)
    top, antenna, usage = (f"chunk:{c.id}" for c in CHUNKS)
    home = f"document:{PATH}"
    assert [(a, b) for a, b, *_ in said(batch, "contains")] == [
        (home, top),
        (home, antenna),
        (top, antenna),
        (home, usage),
        (top, usage),
    ]
    assert [(a, b) for a, b, *_ in said(batch, "follows")] == [(antenna, top), (usage, antenna)]
    # A heading that any document may have names nothing; a number in front is no part of a name.
    assert [(a, b) for a, b, *_ in said(batch, "about")] == [
        (home, "kestrel probe"),
        (top, "kestrel probe"),
        (antenna, "antenna"),
    ]
    nodes = {node.id: node for node in batch.nodes}
    assert nodes[home].label == "Kestrel Probe"
    assert nodes[antenna].text == CHUNKS[1].text
    assert {node.source for node in batch.nodes if node.kind in {"document", "chunk"}} == {PATH, ""}


def test_every_edge_says_where_and_by_whom() -> None:
    batch = rule_batch(document(), CHUNKS)
    ids = {node.id for node in batch.nodes}
    assert len(ids) == len(batch.nodes)
    for edge in batch.edges:
        assert edge.source == PATH
        assert edge.span is not None
        assert edge.span.path == PATH
        assert 1 <= edge.span.first_line <= edge.span.last_line <= TEXT.count("\n") + 1
        assert {edge.start, edge.end} <= ids
    assert batch == rule_batch(document(), CHUNKS)  # the same every time


def test_links_lead_to_documents_and_addresses() -> None:
    batch = rule_batch(document(), CHUNKS)
    home = f"document:{PATH}"
    assert said(batch, "links_to") == [
        (home, "document:/docs/plan.md", "the plan", "probe.md:3"),
        (home, "document:/docs/notes.md", "notes", "probe.md:7"),
        (home, "https://example.org/dishes", "", "probe.md:7"),  # without the password
        (home, "document:/docs/guide/z.md", "Zeiss", "probe.md:12"),
    ]


def test_tables_say_what_stands_in_their_rows() -> None:
    batch = rule_batch(document(), CHUNKS)
    assert said(batch, "has") == [
        ("feed horn", "thales alenia", "Maker", "probe.md:11"),
        ("feed horn", "feed horn mass: 12 kg", "Mass", "probe.md:11"),
        ("mirror", "zeiss", "Maker", "probe.md:12"),
        ("mirror", "mirror mass: yes", "Mass", "probe.md:12"),
    ]
    held = f"chunk:{CHUNKS[1].id}"
    assert (held, "mirror", "", "probe.md:12") in said(batch, "mentions")


def test_short_forms_are_the_same_as_what_they_stand_for() -> None:
    batch = rule_batch(document(), CHUNKS)
    assert said(batch, "same_as") == [("esa", "european space agency", "", "probe.md:3")]


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("The World Health Organization (WHO) met.", [("WHO", "World Health Organization")]),
        ("At the Department of Defense (DoD)", [("DoD", "Department of Defense")]),
        ("ESA (European Space Agency)", [("ESA", "European Space Agency")]),
        ("Bob Smith (IBM) spoke. A cat (see ABC) ran (1999).", []),
        ("the Big Dog (BD-2)", []),
    ],
)
def test_acronyms(text: str, pairs: list[tuple[str, str]]) -> None:
    assert [(a.short, a.long) for a in acronyms(text)] == pairs
    assert all(text[a.start :].startswith((a.short, "(")) for a in acronyms(text))


@pytest.mark.parametrize(
    ("target", "path", "leads"),
    [
        ("b.md", "/a/c.md", "/a/b.md"),
        ("../x%20y.md?z#q", "/a/b/c.md", "/a/x y.md"),
        ("#here", "/a/c.md", None),
        ("c.md#here", "/a/c.md", None),
        ("mailto:a@b.c", "/a/c.md", None),
        ("javascript:alert(1)", "/a/c.md", None),
        ("HTTP://Host.org/A?b=1#c", "/a/c.md", "http://host.org/A?b=1"),
        ("next", "https://h.org/a/b", "https://h.org/a/next"),
        ("//h.org/x", "/a/c.md", "https://h.org/x"),
        ("http://[bad", "/a/c.md", None),
        ("x\0y", "/a/c.md", None),
    ],
)
def test_where_links_lead(target: str, path: str, leads: str | None) -> None:
    assert resolved(target, path) == leads


def test_addresses_end_before_the_sentence_does() -> None:
    text = 'See https://a.org/b_(c). Or (https://d.org/e), <a href="f.md">the file</a>!'
    found = links(lines_of(text, markdown=True))
    assert {link.target for link in found} == {"https://a.org/b_(c)", "https://d.org/e", "f.md"}


def test_what_many_chunks_mention_the_document_mentions_once() -> None:
    lines = [f"We met Ada Lovelace and Person{n} Smith." for n in range(MOST_MENTIONING + 1)]
    chunks = [chunk(line, n + 1) for n, line in enumerate(lines)]
    batch = rule_batch(document("\n".join(lines)), chunks)
    ends = [(a, b) for a, b, *_ in said(batch, "mentions")]
    assert [start for start, end in ends if end == "ada lovelace"] == [f"document:{PATH}"]
    assert sum(end.endswith("smith") for _, end in ends) == len(lines)
    names = " and ".join(f"Ada{n} Person{n}" for n in range(3 * MOST_MENTIONS))
    full = rule_batch(document(names), [chunk(names, 1)])
    assert len(said(full, "mentions")) == MOST_MENTIONS


def test_lines_of_a_converted_file_are_those_of_the_file() -> None:
    text = "Intro.\n\nAda Lovelace met\nCharles Babbage.\n"
    paged = SourceDocument(
        "/a.pdf", "text", text, lines=[10, 11, 40, 41, 42], pages=[1, 1, 2, 2, 2]
    )
    piece = Chunk("c", "prose", "Ada Lovelace met\nCharles Babbage.", Span("/a.pdf", 40, 41, 2))
    spans = {e.end: e.span for e in rule_batch(paged, [piece]).edges if e.relation == "mentions"}
    assert spans == {
        "ada lovelace": Span("/a.pdf", 40, 40, 2),
        "charles babbage": Span("/a.pdf", 41, 41, 2),
    }
    lost = Chunk("d", "prose", "Ada Lovelace was elsewhere", Span("/a.pdf", 10, 42, 1))
    (edge,) = [e for e in rule_batch(paged, [lost]).edges if e.relation == "mentions"]
    assert edge.span == lost.span


def test_nothing_is_no_error() -> None:
    assert rule_batch(document(""), []).nodes[0].id == f"document:{PATH}"
    empty = SourceDocument("/e.txt", "text", "", lines=[], pages=[])
    assert not rule_batch(empty, []).edges


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[a](" * 30_000,
        "[a][" * 30_000,
        "<a href=" * 30_000,
        "https://x.y/" + "(" * 100_000,
        "|-" * 50_000 + "\n" + "|-|\n" * 20_000,
        "a|b\n-|-\n" + "|" * 100_000,
        "```\n" * 50_000,
        "(" * 50_000 + "A B (AB) " * 10_000,
    ],
    ids=lambda text: text[:8],
)
def test_hostile_text_takes_linear_time(text: str) -> None:
    began = time.process_time()
    rule_batch(document(text), [chunk(text[:2000], 1)])
    assert time.process_time() - began < 2


def test_a_value_of_a_table_stands_for_itself_only_where_it_is_a_name() -> None:
    table = "| a | b |\n|---|---|\n" + "".join(
        f"| row | {value} |\n" for value in ("Tokyo", "1,200", "yes", "N/A", "x y z w v u t s")
    )
    found = cells(lines_of(table, markdown=True))
    assert [cell.names_a_thing for cell in found] == [True, False, False, False, False]
    assert found[1].statement == "row b: 1,200"
    assert all(a.line < b.line for a, b in pairwise(found))


def test_a_rows_number_does_not_name_it() -> None:
    table = "| no | name | born |\n|---|---|---|\n| 1 | Ada | London |\n| 2. | Bob | Paris |\n"
    found = cells(lines_of(table, markdown=True))
    assert [(c.row, c.column, c.value) for c in found] == [
        ("Ada", "born", "London"),
        ("Bob", "born", "Paris"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "| a | b |\n|---|---|\n" + "".join(f"| same | thing x{i}y |\n" for i in range(200)),
        "| a | b |\n|---|---|\n" + "".join(f"| row x{i}y | Windows |\n" for i in range(200)),
        "\n\n".join(f"The Alpha{i} Beta (AB) runs." for i in range(200)),
        "\n\n".join(f"# Zebra\n\nnumber {i}" for i in range(200)),
    ],
    ids=["row", "value", "short form", "heading"],
)
def test_no_document_makes_a_hub(text: str) -> None:
    read = SourceDocument(PATH, "markdown", text)
    batch = rule_batch(read, chunks_of(read, tokens=200))
    degrees = Counter(
        (end, edge.relation)
        for edge in batch.edges
        for end in (edge.start, edge.end)
        if not end.startswith(("document:", "chunk:"))
    )
    assert 0 < max(degrees.values()) <= 64
