"""Files to documents: formats, encodings, and files that cannot be read."""

from __future__ import annotations

import io
import json
import os
import time
from pathlib import Path

import pytest

from reverie.errors import DocumentUnreadable
from reverie.knowledge.read import SourceDocument, path_name, read_file
from reverie.knowledge.read.pdf import read_pdf

MOST = 1_000_000


def read(path: Path, data: bytes | str) -> list[SourceDocument]:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_file(path, most_bytes=MOST)


def only(path: Path, data: bytes | str) -> SourceDocument:
    (document,) = read(path, data)
    return document


def unreadable(path: Path, most_bytes: int = MOST) -> str:
    with pytest.raises(DocumentUnreadable) as raised:
        read_file(path, most_bytes=most_bytes)
    assert raised.value.hint
    return raised.value.message


class TestKinds:
    @pytest.mark.parametrize(
        ("name", "media", "language"),
        [
            ("a.txt", "text", ""),
            ("README", "text", ""),
            ("a.rst", "text", ""),
            ("a.md", "markdown", ""),
            ("a.PY", "code", "python"),
            ("a.tsx", "code", "typescript"),
            ("a.h", "code", "c"),
            ("Makefile", "code", "make"),
            ("a.yaml", "code", "yaml"),
        ],
    )
    def test_the_name_says_what_a_file_is(
        self, tmp_path: Path, name: str, media: str, language: str
    ) -> None:
        document = only(tmp_path / name, "x = 1\n")
        assert (document.media, document.language) == (media, language)
        assert document.path == (tmp_path / name).as_posix()

    def test_a_script_names_its_language(self, tmp_path: Path) -> None:
        assert only(tmp_path / "run", "#!/usr/bin/env python3\nx = 1\n").language == "python"
        assert only(tmp_path / "go", "#!/bin/bash -e\nls\n").language == "shell"
        assert only(tmp_path / "odd", "#!/opt/shrubbery\nls\n").media == "text"

    def test_empty_files_have_no_documents(self, tmp_path: Path) -> None:
        assert read(tmp_path / "a.txt", "") == []
        assert read(tmp_path / "a.md", " \n\t\n") == []
        assert read(tmp_path / "a.txt", b"\xef\xbb\xbf\n") == []
        assert read(tmp_path / "a.pdf", b"") == []

    @pytest.mark.parametrize(
        ("text", "title"),
        [
            ("# Hello *there*\n\ntext", "Hello there"),
            ("---\ntitle: 'Front'\n---\n# Other\n", "Front"),
            ("text\n\nUnder [line](x)\n=====\n", "Under line"),
            ("```\n# no heading\n```\n## `Real` one ##\n", "Real one"),
            ("no heading at all\n", ""),
        ],
    )
    def test_the_title_of_markdown(self, tmp_path: Path, text: str, title: str) -> None:
        assert only(tmp_path / "a.md", text).title == title

    def test_a_name_that_is_no_text(self, tmp_path: Path) -> None:
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt"))
        document = only(path, "hello")
        assert document.path == path_name(path)
        assert document.path.endswith("/caf\\xe9.txt")
        document.path.encode()


class TestEncodings:
    TEXT = "Grüße aus Köln, naïve café.\nÜber 100 €\n"

    @pytest.mark.parametrize(
        "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
    )
    def test_unicode(self, tmp_path: Path, encoding: str) -> None:
        document = only(tmp_path / "a.txt", self.TEXT.encode(encoding))
        assert document.text == self.TEXT
        assert not document.notices

    @pytest.mark.parametrize(
        ("encoding", "text"),
        [
            (
                "cp1252",
                "Der Bär fraß überall süße Äpfel, Öl und Brötchen. Größe zählt immer. " * 4,
            ),
            ("cp1251", "Съешь же ещё этих мягких французских булок, да выпей чаю. " * 4),
            ("shift_jis", "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。" * 4),
            ("gb18030", "学而时习之。有朋自远方来。人不知而不愠。三人行、必有我师焉。" * 4),
        ],
    )
    def test_older_encodings_are_guessed_and_said(
        self, tmp_path: Path, encoding: str, text: str
    ) -> None:
        document = only(tmp_path / "a.txt", text.encode(encoding))
        assert document.text == text
        assert "guess" in document.notices[0]

    @pytest.mark.parametrize(
        "declared", ["rot13", "idna", "undefined", "unicode_escape", "utf-16", "utf-8", "nonsense"]
    )
    def test_a_page_that_declares_what_it_cannot_be_is_guessed(
        self, tmp_path: Path, declared: str
    ) -> None:
        said = "Der Bär fraß süße Äpfel \\u00e4. " * 9
        page = f'<meta charset="{declared}"><p>{said}</p>'
        document = only(tmp_path / "a.html", page.encode("cp1252"))
        assert document.text == said.strip()
        assert "guess" in document.notices[0]

    def test_little_damage_is_marked(self, tmp_path: Path) -> None:
        data = self.TEXT.encode() * 3 + b"\xff" + self.TEXT.encode()
        document = only(tmp_path / "a.txt", data)
        assert document.text.replace("\ufffd", "") == self.TEXT * 4
        assert document.notices[0].startswith("1 characters")

    def test_every_line_ends_in_a_line_feed(self, tmp_path: Path) -> None:
        assert only(tmp_path / "a.txt", "a\r\nb\rc\nd").text == "a\nb\nc\nd"


class TestUnreadable:
    @pytest.mark.parametrize(
        "data",
        [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"text\0more", bytes(range(1, 32)) * 20],
        ids=["image", "zero", "control"],
    )
    def test_what_is_no_text(self, tmp_path: Path, data: bytes) -> None:
        (tmp_path / "a.txt").write_bytes(data)
        assert "no text" in unreadable(tmp_path / "a.txt")

    def test_a_file_of_200_mb_is_not_read(self, tmp_path: Path) -> None:
        path = tmp_path / "large.txt"
        with path.open("wb") as file:
            file.truncate(200_000_000)
        began = time.monotonic()
        with pytest.raises(DocumentUnreadable, match=r"200\.0 MB") as raised:
            read_file(path, most_bytes=64_000_000)
        assert "ingest.most_megabytes" in raised.value.hint
        assert time.monotonic() - began < 0.5

    def test_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.txt")
        assert "a pipe" in unreadable(tmp_path / "pipe.txt")

    def test_what_is_no_file(self, tmp_path: Path) -> None:
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        assert "a folder" in unreadable(tmp_path)
        assert "a device" in unreadable(Path("/dev/zero"))
        assert "not there" in unreadable(tmp_path / "gone.txt")
        assert "leads to itself" in unreadable(tmp_path / "loop")
        assert unreadable(Path("a\0b"))

    def test_a_file_without_permission(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "secret.txt"
        path.write_text("secret")
        path.chmod(0)
        if os.access(path, os.R_OK):  # root may read everything

            def refuse(*_: object) -> int:
                raise PermissionError(13, "Permission denied")

            monkeypatch.setattr(os, "open", refuse)
        assert "may not be read" in unreadable(path)


class TestRecords:
    def test_one_document_per_record(self, tmp_path: Path) -> None:
        lines = [
            {"id": "q1", "title": "Ball", "text": "It falls.\nIt bounces."},
            {"question": "Why?", "answer": "Gravity."},
            {"name": "x", "color": "red", "tags": ["a", "b"], "n": 3},
            {"messages": [{"role": "user", "content": "hi"}, {"role": "bot", "content": "yo"}]},
            "a plain string",
        ]
        documents = read(tmp_path / "a.jsonl", "\n".join(map(json.dumps, lines)) + "\n")
        assert [d.text for d in documents] == [
            "It falls.\nIt bounces.",
            "Why?\nGravity.",
            "color: red\ntags: a\nb",
            "messages: user: hi\nbot: yo",
            "a plain string",
        ]
        assert (documents[0].title, documents[0].record) == ("Ball", "q1")
        assert str(documents[0].span(1, 2)).endswith("a.jsonl:1")
        assert str(documents[2].span(1, 3)).endswith("a.jsonl:3")

    def test_a_broken_line_is_a_notice(self, tmp_path: Path) -> None:
        deep = "[" * 100_000
        documents = read(
            tmp_path / "a.jsonl", f'{{"text": "one"}}\n{{"te\n{deep}\n{{"text": "two"}}\n'
        )
        assert [d.text for d in documents] == ["one", "two"]
        assert "line 2" in documents[0].notices[0]
        assert "line 3" in documents[0].notices[1]

    def test_a_record_may_nest_as_deep_as_json_is_read(self, tmp_path: Path) -> None:
        for depth in range(900, 1000):
            deep = '{"a": ' * depth + '"deep"' + "}" * depth
            said = [d.text for d in read(tmp_path / "a.jsonl", '{"text": "ok"}\n' + deep)]
            assert said in (["ok", "a: deep"], ["ok"])

    def test_no_record_at_all(self, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl").write_text("hello\nworld\n")
        assert "line 1" in unreadable(tmp_path / "a.jsonl")

    def test_records_with_the_same_text_are_told_apart(self, tmp_path: Path) -> None:
        line = '{"text": "same"}\n'
        assert [d.record for d in read(tmp_path / "a.jsonl", line * 3)] == ["", "2", "3"]

    def test_an_array_has_records_and_their_lines(self, tmp_path: Path) -> None:
        text = '[\n {"text": "one"},\n\n {"text":\n "two"}]\n'
        documents = read(tmp_path / "a.json", text)
        assert [(d.text, d.span(1, 1).first_line) for d in documents] == [("one", 2), ("two", 4)]

    @pytest.mark.parametrize("text", ['{"a": 1}', "[1, 2]", "[", '[{"a": 1}] x', "no json"])
    def test_other_json_is_code(self, tmp_path: Path, text: str) -> None:
        assert only(tmp_path / "a.json", text).language == "json"


class TestNotebooks:
    def test_cells_become_markdown_without_outputs(self, tmp_path: Path) -> None:
        cells = [
            {"cell_type": "markdown", "source": ["# Title\n", "text"]},
            {"cell_type": "code", "source": "print('```')", "outputs": [{"text": "secret"}]},
        ]
        document = only(tmp_path / "a.ipynb", json.dumps({"cells": cells, "metadata": {}}))
        assert document.text == "# Title\ntext\n\n````python\nprint('```')\n````"
        assert document.title == "Title"

    def test_a_fence_is_longer_than_any_in_it(self, tmp_path: Path) -> None:
        """Found at once: longer and longer ones, one by one, would take minutes."""
        cells = [{"cell_type": "code", "source": "`" * 150_000}]
        began = time.process_time()
        document = only(tmp_path / "a.ipynb", json.dumps({"cells": cells}))
        assert document.text.startswith("`" * 150_001 + "python\n")
        assert time.process_time() - began < 3

    @pytest.mark.parametrize("text", ["{}", "[]", "no json", '{"cells": [1]}'])
    def test_what_is_no_notebook(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "a.ipynb").write_text(text)
        assert "no Jupyter notebook" in unreadable(tmp_path / "a.ipynb")


def pdf(*pages: str, password: str | None = None, title: str = "") -> bytes:
    """A PDF with a line of text per line of every page; an empty one has only a rectangle."""
    from pypdf import PdfWriter
    from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

    writer = PdfWriter()
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    for text in pages:
        page = writer.add_blank_page(300, 300)
        said = "".join(f"({line}) Tj 0 -20 Td " for line in text.split("\n"))
        stream = DecodedStreamObject()
        stream.set_data(f"BT /F1 12 Tf 20 250 Td {said} ET".encode() if text else b"1 1 9 9 re f")
        page[NameObject("/Contents")] = writer._add_object(stream)
        fonts = DictionaryObject({NameObject("/F1"): font})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
    if title:
        writer.add_metadata({"/Title": title})
    if password is not None:
        writer.encrypt(password, "owner", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


class TestPdf:
    def test_text_with_its_pages(self, tmp_path: Path) -> None:
        document = only(tmp_path / "a.pdf", pdf("One\ntwo", "", "Three", title="The title"))
        assert document.title == "The title"
        assert document.text.split("\n") == ["One", "two", "", "Three", ""]
        assert document.pages == (1, 1, 1, 3, 3)
        assert str(document.span(4, 4)).endswith("a.pdf, page 3")
        assert document.notices == ["1 of 3 pages hold no text"]

    def test_the_suffix_does_not_matter(self, tmp_path: Path) -> None:
        assert only(tmp_path / "a.txt", pdf("Hello")).text == "Hello\n"

    def test_no_password_is_needed_where_it_is_empty(self, tmp_path: Path) -> None:
        assert only(tmp_path / "a.pdf", pdf("Hello", password="")).text == "Hello\n"

    def test_an_encrypted_one(self, tmp_path: Path) -> None:
        (tmp_path / "a.pdf").write_bytes(pdf("Hello", password="secret"))
        assert "is encrypted" in unreadable(tmp_path / "a.pdf")

    def test_one_of_pictures(self, tmp_path: Path) -> None:
        (tmp_path / "a.pdf").write_bytes(pdf("", ""))
        assert "holds no text" in unreadable(tmp_path / "a.pdf")

    def test_what_only_is_called_one(self, tmp_path: Path) -> None:
        (tmp_path / "a.pdf").write_text("<html>Please log in</html>")
        assert "is no PDF, though it is called one" in unreadable(tmp_path / "a.pdf")

    def test_a_title_of_any_length_is_cut(self, tmp_path: Path) -> None:
        """Every chunk is stored with it."""
        assert len(only(tmp_path / "a.pdf", pdf("Hello", title="T" * 9999)).title) == 300

    def test_no_more_text_than_a_file_may_have(self) -> None:
        pages = pdf(*["long text " * 200] * 5)
        (document,) = read_pdf(pages, "/a.pdf", most_characters=5000)
        assert document.pages is not None
        assert set(document.pages) == {1, 2}
        assert document.notices == ["the pages from 3 to 5 were left out: more text than 0.005 MB"]

    def test_it_is_read_for_so_long_and_no_longer(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A few kilobytes can draw the same long text on thousands of pages."""
        ticks = iter(range(10_000))
        monkeypatch.setattr("time.monotonic", lambda: float(next(ticks)))
        (tmp_path / "a.pdf").write_bytes(pdf("One", "two\n" * 300, "Three"))
        (document,) = read_file(tmp_path / "a.pdf", most_bytes=MOST)
        assert document.text == "One\n"
        assert document.notices == [
            "the pages from 2 to 3 were left out: reading takes more than 300 s"
        ]
        (tmp_path / "a.pdf").write_bytes(pdf("two\n" * 300))
        assert "takes too much: the pages from 1 to 1" in unreadable(tmp_path / "a.pdf")

    def test_a_damaged_one_says_so_or_gives_what_is_left(self, tmp_path: Path) -> None:
        whole = pdf("Hello world")
        path = tmp_path / "a.pdf"
        unread = 0
        for end in range(5, len(whole), 97):
            path.write_bytes(whole[:end])
            try:
                read_file(path, most_bytes=MOST)
            except DocumentUnreadable:
                unread += 1
        assert unread > 3
