"""Prose by sentences, and Markdown by heading."""

from __future__ import annotations

from itertools import pairwise

import pytest

from reverie.knowledge.chunk import Chunk, chunks_of, count_tokens
from reverie.knowledge.chunk.piece import Lines
from reverie.knowledge.chunk.sentences import sentence_units
from reverie.knowledge.read import SourceDocument


def prose(text: str, tokens: int = 30) -> list[Chunk]:
    return chunks_of(SourceDocument("/a.txt", "text", text), tokens=tokens)


def markdown(text: str, tokens: int = 40) -> list[Chunk]:
    return chunks_of(SourceDocument("/a.md", "markdown", text), tokens=tokens)


@pytest.mark.parametrize(
    "sentences",
    [
        ["It fell. ", "It broke! ", "Why? ", "Nobody knows"],
        ["Dr. Who met Mr. J. Doe, e.g. in Fig. 3. ", "Then he left."],
        ["Version 3.11 is out. see below. ", "Pi is 3.14."],
        ['He said "stop." ', "Then (he left.) ", "Gone."],
        ["吾輩は猫である。", "名前は無い。", "「おい。」", "と言った。"],
        ["यह एक है। ", "यह दो है।"],
        ["هل هذا صحيح؟ ", "نعم."],
        ["One line\nwraps here. ", "And\nends.\n\n", "New one"],
        ["Do this:\n", "- one thing\n", "- two. ", "Things\n", "1. three"],
    ],
)
def test_sentences(sentences: list[str]) -> None:
    text = "".join(sentences)
    lines = Lines(text)
    units = sentence_units(lines, 0, len(lines) - 1, 1000)
    assert [text[unit.start : unit.end] for unit in units] == list(map(str.strip, sentences))


def test_a_cut_paragraph_shares_one_sentence() -> None:
    text = " ".join(f"The ball number {n} falls to the floor." for n in range(10))
    found = prose(text, 40)
    assert len(found) > 2
    for before, after in pairwise(found):
        last = before.text.rsplit(". ", 1)[-1]
        assert after.text.startswith(last)
        assert count_tokens(after.text) <= 40


def test_chunks_end_with_paragraphs_where_they_can() -> None:
    paragraphs = [f"Paragraph {n} has one sentence. And it has another one, too." for n in range(9)]
    found = prose("\n\n".join(paragraphs), 40)
    assert all(c.text.startswith("Paragraph") and c.text.endswith("too.") for c in found)
    assert "\n\n".join(c.text for c in found) == "\n\n".join(paragraphs)


def test_long_sentences_are_cut_at_words_and_long_words_anywhere() -> None:
    found = prose("word " * 200, 30)
    assert all(set(c.text.split()) == {"word"} for c in found)
    found = prose("x" * 1000 + " e\u0301" * 3, 30)
    assert "".join(c.text for c in found).count("x") == 1000
    flags = "\U0001f469\u200d\U0001f4bb" * 100
    assert all(c.text[0] == "\U0001f469" for c in prose(flags, 31))


def test_text_without_spaces_keeps_its_sentences() -> None:
    found = prose("吾輩は猫である。" * 40, 30)
    assert all(c.text.endswith("。") and count_tokens(c.text) <= 30 for c in found)


TEXT = """\
---
title: Front
---
Before any heading.

# Guide

## Install

Run this. It takes a minute.

```sh
pip install one

# no heading
pip install two
```

| name | what |
|------|------|
| a    | one  |
| b    | two  |

After the table.

Under *line* `x`
----------------

Deep.

#### Far

[ref]: https://example.org
"""


def test_markdown_by_heading() -> None:
    found = markdown(TEXT)
    assert [(c.kind, c.name, tuple(c.headings)) for c in found] == [
        ("prose", "", ()),
        ("section", "Install", ("Guide", "Install")),
        ("table", "Install", ("Guide", "Install")),
        ("section", "Install", ("Guide", "Install")),
        ("section", "Under line x", ("Guide", "Under line x")),
        ("section", "Far", ("Guide", "Under line x", "Far")),
    ]
    assert found[1].text.startswith("# Guide\n\n## Install\n")
    assert found[1].text.endswith("pip install two\n```")
    assert found[2].text.startswith("| name")
    assert (found[2].span.first_line, found[2].span.last_line) == (19, 22)


def test_a_fence_that_fits_is_not_cut() -> None:
    code = "\n".join(f"line {n}" for n in range(12))
    text = f"# A\n\n{'Some words to fill it up. ' * 4}\n\n```\n{code}\n```\n"
    assert any(f"```\n{code}\n```" in c.text for c in markdown(text, 45))
    parts = [c for c in markdown(text, 20) if "line" in c.text]
    assert len(parts) > 1
    assert all(
        not line or line.startswith(("line", "```")) for c in parts for line in c.text.split("\n")
    )


def test_a_long_table_repeats_its_header_in_what_is_embedded() -> None:
    rows = "".join(f"| row {n} | value {n} |\n" for n in range(30))
    found = markdown(f"# T\n\n| name | value |\n|---|---|\n{rows}", 60)
    tables = [c for c in found if c.kind == "table"]
    assert len(tables) > 3
    for table in tables[1:]:
        assert "| name | value |" not in table.text
        assert "\n| name | value |\n" in table.embedding_text
        assert table.text.startswith("| row")


def test_long_sections_are_cut_at_sentences() -> None:
    found = markdown("# A\n\n" + "This is a sentence of some words. " * 30, 40)
    assert len(found) > 5
    assert all(c.text.endswith("words.") and c.name == "A" for c in found)
