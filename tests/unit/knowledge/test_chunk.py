"""What holds for the chunks of any document, and what they are embedded as."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reverie.knowledge.chunk import Chunk, _pieces, chunks_of, count_tokens
from reverie.knowledge.chunk.piece import Lines
from reverie.knowledge.chunk.tokens import reach
from reverie.knowledge.read import SourceDocument

LANGUAGES = ["python", "javascript", "typescript", "go", "rust", "java", "c", "yaml"]


def held(document: SourceDocument, tokens: int) -> list[Chunk]:
    """The chunks, which hold all text in order, say where it stands, and have ids of their own."""
    chunks = chunks_of(document, tokens=tokens)
    lines = Lines(document.text)
    slices = [lines.trimmed(p.start, p.end) for p in _pieces(document, lines, tokens)]
    slices = [(start, end) for start, end in slices if start < end]
    before = reached = 0
    for chunk, (start, end) in zip(chunks, slices, strict=True):
        assert chunk.text == document.text[start:end]
        assert chunk.text.strip()
        assert chunk.embedding_text.endswith(chunk.text)
        assert start >= before
        assert not document.text[reached:start].strip()
        assert chunk.span.first_line == document.text.count("\n", 0, start) + 1
        assert chunk.span.last_line == document.text.count("\n", 0, end) + 1
        before, reached = start, max(reached, end)
    assert not document.text[reached:].strip()
    assert len({chunk.id for chunk in chunks}) == len(chunks)
    return chunks


SNIPPETS = [
    *("def f(x):\n", "    return x\n", "class A:\n", '    """Doc."""\n', "    def m(self):\n"),
    *("        pass\n", "import os\n", "@dec\n", "x = 1\n", "# comment\n", "if x:\n", "try:\n"),
    *("function g() {\n", "}\n", "const h = () => {\n", "export class B {\n", "struct S {\n"),
    *("impl S {\n", "fn f() {\n", "#ifdef X\n", "#endif\n", "int f(void) {\n", "/** doc */\n"),
    *("public void m() {\n", "package p;\n", "func (t *T) M() {\n", "namespace N {\n", "\n", "\t"),
]
PROSE = [
    *(
        "Dr. Who came. ",
        "It fell! ",
        "e.g. this one. ",
        "日本語です。",
        "word " * 9,
        "x" * 300,
        "- a\n",
    ),
    *("\n", "\n\n", "# Heading\n", "### Deep\n", "```\n", "code\n", "| a | b |\n", "|---|---|\n"),
    *("> quote\n", "Title\n===\n", "1. one\n", "<div>\n", "---\n", "\u0301", "\r", "\0", "\u2028"),
]


@given(
    st.one_of(
        st.text(max_size=300),
        st.lists(st.sampled_from(SNIPPETS), max_size=25).map("".join),
        st.lists(st.sampled_from(PROSE), max_size=25).map("".join),
    ),
    st.sampled_from([("text", ""), ("markdown", ""), *(("code", name) for name in LANGUAGES)]),
    st.sampled_from([16, 40, 200]),
)
@settings(max_examples=120, deadline=None)
def test_chunks_hold_any_text(text: str, kind: tuple[Any, str], tokens: int) -> None:
    document = SourceDocument("/a/b.txt", kind[0], text, kind[1])
    for chunk in held(document, tokens):
        whole = 4 if chunk.kind in {"function", "method"} else 1
        # What opens or closes something joins a function: at most 16 tokens on either side.
        assert count_tokens(chunk.text) <= whole * tokens + 33 + tokens * (chunk.kind == "class")


def test_ids_outlive_lines_above() -> None:
    text = "def f():\n    return 1\n\n\ndef f():\n    return 1\n\n\ndef g():\n    return 2\n"
    before = chunks_of(SourceDocument("/a.py", "code", text, "python"), tokens=200)
    after = chunks_of(
        SourceDocument("/a.py", "code", "import os\n\n\n" + text, "python"), tokens=200
    )
    assert [chunk.id for chunk in before] == [chunk.id for chunk in after[1:]]
    assert len({chunk.id for chunk in after}) == 4
    moved = chunks_of(SourceDocument("/b.py", "code", text, "python"), tokens=200)
    assert not {chunk.id for chunk in before} & {chunk.id for chunk in moved}


def test_records_of_one_file_have_chunks_of_their_own() -> None:
    one = SourceDocument("/a.jsonl", "text", "same", lines=(1,))
    two = replace(one, lines=(2,), record="2")
    chunks = chunks_of(one, tokens=50) + chunks_of(two, tokens=50)
    assert len({chunk.id for chunk in chunks}) == 2
    assert [chunk.span.first_line for chunk in chunks] == [1, 2]


def test_spans_are_those_of_the_file() -> None:
    document = SourceDocument("/a.pdf", "text", "One.\nTwo.\n\nThree.", pages=(1, 1, 1, 2))
    (chunk,) = chunks_of(document, tokens=50)
    assert str(chunk.span) == "/a.pdf, page 1"
    document = SourceDocument("/a.html", "markdown", "# A\n\ntext", lines=(10, 10, 15))
    (chunk,) = chunks_of(document, tokens=50)
    assert str(chunk.span) == "/a.html:10-15"


def test_what_code_is_embedded_as() -> None:
    text = (
        'class A:\n    """About."""\n\n' + "    def m(self):\n" + f'        """{"Says. " * 60}"""\n'
    )
    document = SourceDocument(
        "/home/me/src/pkg/mod.py", "code", text + "        return 1\n", "python"
    )
    chunk = chunks_of(document, tokens=60)[1]
    assert chunk.embedding_text.split("\n")[:3] == [
        "method A.m",
        ("Says. " * 60)[:200],
        "src/pkg/mod.py",
    ]
    assert chunk.embedding_text.endswith(chunk.text)


def test_what_prose_is_embedded_as() -> None:
    document = SourceDocument(
        "/a.md", "markdown", "## B\n\ntext\n\n### C\n\nmore", title="The title"
    )
    first, second = chunks_of(document, tokens=50)
    assert first.embedding_text == "The title > B\n## B\n\ntext"
    assert second.embedding_text.startswith("The title > B > C\n### C")
    (chunk,) = chunks_of(SourceDocument("/a.jsonl", "text", "It falls.", title="Ball"), tokens=50)
    assert chunk.embedding_text == "Ball\nIt falls."


def test_the_count_of_tokens_is_near_that_of_a_model() -> None:
    # Counted with the tokenizer of all-MiniLM-L6-v2, without its two special tokens.
    prose = "The quick brown fox jumps over the lazy dog, while 12 unbelievable philosophers argue."
    code = "def personalised_pagerank(starts: NDArray[float64], *, restart: float = 0.15) -> None:"
    assert abs(count_tokens(prose) - 19) <= 3
    assert abs(count_tokens(code) - 34) <= 6
    assert count_tokens(" \n\t") == 0
    assert count_tokens("日本語") == 3


@pytest.mark.parametrize(
    "text",
    [
        *(
            "x" * 100_000,
            "\u0301" * 20_000,
            " " * 500_000 + "x",
            "# a\n" * 3_000,
            "日本語。" * 5_000,
            "# " + "[" * 100_000,
            "# a" + " " * 100_000 + "b",
            "." * 100_000,
        ),
        *("(" * 50_000, "class A {" * 5_000, "fn f() {" * 3_000, "> " * 10_000, "x=1;" * 4_000),
    ],
    ids=[
        "word",
        "accents",
        "space",
        "headings",
        "sentences",
        "brackets",
        "spaces",
        "dots",
        "(",
        "{",
        "fn",
        ">",
        ";",
    ],
)
def test_strange_text_takes_no_longer(text: str) -> None:
    began = time.monotonic()
    for media, language in (("text", ""), ("markdown", ""), ("code", "python"), ("code", "rust")):
        document = SourceDocument("/a", media, text, language)  # type: ignore[arg-type] # one of them
        assert all(count_tokens(chunk.text) <= 200 for chunk in chunks_of(document, tokens=200))
    assert time.monotonic() - began < 10


def test_a_run_of_letters_is_not_looked_through_for_every_chunk() -> None:
    """Such as a genome in one line; a length at which the whole of it a hundred times is slow."""
    text, began = "acgt" * 5_000_000, time.process_time()
    for start in range(0, 40_000, 400):
        assert reach(text, start, len(text), 200) == start + 400
    assert time.process_time() - began < 0.5


def test_a_long_heading_is_not_repeated_whole_in_every_chunk() -> None:
    heading = "word " * 10_000
    text = f"# {heading}\n\n" + "Some sentence stands here. " * 500
    document = SourceDocument("/a.md", "markdown", text, title=heading)
    chunks = chunks_of(document, tokens=200)
    assert sum(len(chunk.embedding_text) for chunk in chunks) < 2 * len(text)


def test_markdown_takes_memory_for_its_outermost_blocks_alone() -> None:
    import tracemalloc

    text = "|a|b|\n|-|-|\n" + "||\n" * 5_000 + "\n" + "- a\n" * 5_000
    document = SourceDocument("/a.md", "markdown", text)
    chunks_of(document, tokens=200)
    tracemalloc.start()
    chunks_of(document, tokens=200)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 300 * len(text)
