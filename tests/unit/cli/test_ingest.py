"""``reverie ingest``, ``reverie library``: over real stores, with an embedder that hashes words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reverie.cli.ingest_view import IngestTally, summary
from reverie.cli.run import run
from reverie.cli.wording import ASCII
from reverie.errors import ConfigError
from reverie.knowledge.library import Done, Embedded, Ended, Failed, Found, Skipped
from reverie.models import embeddings, load
from reverie.settings import Settings
from tests.unit.knowledge.library_parts import CountingEmbedder


class Embedder(CountingEmbedder):
    notices = ()

    async def aclose(self) -> None:
        return


@pytest.fixture(autouse=True)
def _hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "load_embedder", lambda *_: Embedder())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "sea.md").write_text("# Sea\n\nThe tide pulls the sea.\n")
    (folder / "odd\x1b[31m.txt").write_text("An odd name.")
    return folder


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    assert run(arguments) == code
    captured = capsys.readouterr()
    return captured.out, captured.err


def document(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    return json.loads(said(capsys, *arguments, "--json", code=code)[0])


def test_files_are_read_skipped_replaced_and_removed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = said(capsys, "ingest", str(folder))
    assert out.startswith("2 files read, 0 replaced, 0 skipped, 0 removed, 0 failed\n2 chunks, 2 ")

    (folder / "sea.md").write_text("# Sea\n\nThe ebb comes.\n")
    (folder / "odd\x1b[31m.txt").unlink()
    (folder / "program").write_bytes(bytes(range(256)) * 20)
    told = document(capsys, "ingest")
    assert {key: told[key] for key in ("read", "replaced", "skipped", "removed")} == {
        "read": 0,
        "replaced": 1,
        "skipped": 0,
        "removed": 1,
    }
    (failed,) = told["failed"]
    assert failed["path"].endswith("program")
    assert failed["reason"]
    assert told["seconds"] > 0


def test_a_dry_run_only_lists(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _ = said(capsys, "ingest", str(folder), "--dry-run", "--exclude", "*.txt")
    assert out == (
        f"read    {folder}/sea.md\n"
        "would read 1 file (0.0 MB), skip 0 unchanged files, remove 0 files\n"
    )
    monkeypatch.chdir(folder.parent)
    out, err = said(capsys, "ingest", "docs", "gone", "--dry-run", "--exclude", "*.txt")
    assert out.startswith("read    docs/sea.md\n")
    assert err == "cannot: gone is not there\n"
    plan = document(capsys, "ingest", str(folder), "--dry-run")
    assert len(plan["read"]) == 2
    assert "nothing is in" in said(capsys, "library")[0]


def test_the_model_of_the_settings_extracts(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load_chat_model(name: str, *_: Any) -> None:
        raise ConfigError(f"asked for {name!r}")

    monkeypatch.setattr(load, "load_chat_model", load_chat_model)
    told = document(capsys, "ingest", str(folder), "--extract", "model", code=2)
    assert told["error"]["message"] == f"asked for {Settings().model.name!r}"


def test_nothing_to_read_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = said(capsys, "ingest", str(tmp_path / "missing"), code=1)
    assert "is not there" in out
    assert out.endswith("nothing could be read\n")
    (tmp_path / "empty").mkdir()
    assert said(capsys, "ingest", str(tmp_path / "empty"), code=1)[0] == "nothing could be read\n"
    _, err = said(capsys, "ingest", "--again", "--config", "", code=2)
    assert "error: " in err


def test_without_anything_named_before_it_is_wrong_use(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, err = said(capsys, "ingest", code=2)
    assert "nothing was ingested before" in err
    assert "hint: Name files or folders" in err


def test_names_of_files_do_not_steer_the_terminal(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bad\x1b[2J").write_bytes(bytes(range(256)) * 20)
    out, err = said(capsys, "ingest", str(folder))
    out += said(capsys, "ingest", str(folder), "--dry-run")[0]
    out += said(capsys, "library")[0]
    assert "failed: " in out
    assert "\x1b" not in out + err


def test_the_library_is_shown_and_documents_removed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "ingest", str(folder))
    out, _ = said(capsys, "library")
    assert "2 files, 2 chunks (1 prose, 1 section)" in " ".join(out.split())
    status = document(capsys, "library")
    assert [folder_["files"] for folder_ in status["folders"]] == [2]

    out, _ = said(capsys, "library", "remove", str(folder / "sea.md"))
    assert out.startswith("removed 1 file from the library\n")
    assert f"`reverie ingest {folder}`" in out
    told = document(capsys, "library", "remove", str(folder))
    assert len(told["removed"]) == 1
    _, err = said(capsys, "library", "remove", str(folder), code=2)
    assert "nothing in the library is" in err


def test_what_an_ingest_came_to_is_summed_up() -> None:
    tally = IngestTally()
    for event in (
        Found(23, 22, 100),
        Skipped("/a"),
        Embedded(256, 2.0, "/b"),
        Done("/b", 300, 256, True, ("some bytes are no text",)),
        *(Failed(f"/{n}", f"/{n} is \x1b[31mno text") for n in range(21)),
        Ended(3.0, {"embed": 2.0}),
    ):
        tally.take(event)
    lines = summary(tally, ASCII).splitlines()

    assert tally.looked_into == 22
    assert lines[0] == "odd: /b: some bytes are no text"
    assert lines[1] == "failed: /0 is  [31mno text"
    assert lines[21:] == [
        "failed: 1 more; --json names all",
        "0 files read, 1 replaced, 1 skipped, 0 removed, 21 failed",
        "300 chunks, 256 embedded (128/s) | 3.0 s",
    ]
