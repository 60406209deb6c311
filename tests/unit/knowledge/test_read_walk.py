"""Which files of a folder are read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reverie.errors import ConfigError, DocumentUnreadable
from reverie.knowledge.read import find_files


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")


def found(root: Path, *exclude: str) -> list[str]:
    return [p.relative_to(root).as_posix() for p in find_files([root], exclude=exclude)]


def test_folders_are_read_in_order(tmp_path: Path) -> None:
    make(tmp_path, "b.md", "a/z.py", "a/b/c.txt", "a.txt", "c/d")
    assert found(tmp_path) == ["a.txt", "b.md", "a/z.py", "a/b/c.txt", "c/d"]


def test_what_is_left_out(tmp_path: Path) -> None:
    make(
        tmp_path, ".hidden", ".git/config", "node_modules/a.js", "__pycache__/a.py", "a.png", "a.py"
    )
    make(tmp_path, "env/pyvenv.cfg", "env/lib/a.py", ".venv/a.py", "pkg/data.sqlite")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    assert found(tmp_path) == ["a.py"]


def test_gitignore_in_every_folder(tmp_path: Path) -> None:
    make(tmp_path, "a.log", "keep.log", "build/a.txt", "sub/a.log", "sub/b.tmp", "sub/build/c.txt")
    (tmp_path / ".gitignore").write_text("*.log\n!keep.log\n/build/\n")
    (tmp_path / "sub/.gitignore").write_text("!a.log\n*.tmp\n")
    assert found(tmp_path) == ["keep.log", "sub/a.log", "sub/build/c.txt"]


def test_gitignore_above_the_folder_in_its_repository(tmp_path: Path) -> None:
    make(tmp_path, "repo/docs/a.md", "repo/docs/b.gen.md", "repo/.git/HEAD")
    (tmp_path / "repo/.gitignore").write_text("*.gen.md\n")
    (tmp_path / ".gitignore").write_text("*\n")  # of no repository
    assert found(tmp_path / "repo/docs") == ["a.md"]
    make(tmp_path, "repo/build/out/a.md", "repo/build/out/b.gen.md")
    (tmp_path / "repo/.gitignore").write_text("*.gen.md\n/build/\n")
    assert found(tmp_path / "repo/build/out") == ["a.md", "b.gen.md"]  # it was named


def test_patterns_to_exclude(tmp_path: Path) -> None:
    make(tmp_path, "a.md", "drafts/b.md", "docs/drafts/c.md", "docs/d.md")
    assert found(tmp_path, "drafts/", "a.*") == ["docs/d.md"]
    assert found(tmp_path, "/drafts") == ["a.md", "docs/d.md", "docs/drafts/c.md"]
    with pytest.raises(ConfigError, match=r"ingest\.exclude"):
        found(tmp_path, "!")


def test_what_is_named_is_always_read(tmp_path: Path) -> None:
    make(tmp_path, ".hidden", "a.png", "a.log")
    (tmp_path / ".gitignore").write_text("*.log\n")
    named = [tmp_path / ".hidden", tmp_path / "a.png", tmp_path / "a.log", tmp_path / "gone"]
    assert list(find_files(named, exclude=["*"])) == named


def test_no_file_comes_twice_and_loops_end(tmp_path: Path) -> None:
    make(tmp_path, "a/x.md", "a/b/y.md")
    (tmp_path / "a/b/up").symlink_to(tmp_path / "a")
    (tmp_path / "z").symlink_to(tmp_path / "a")
    (tmp_path / "z.md").symlink_to(tmp_path / "a/x.md")
    os.link(tmp_path / "a/b/y.md", tmp_path / "a/b/z.md")
    names = [p.name for p in find_files([tmp_path, tmp_path / "a", tmp_path / "a/x.md"])]
    assert sorted(names) == ["y.md", "z.md"]  # z.md is found first and is x.md


def test_relative_paths_stay_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "docs/a.md")
    monkeypatch.chdir(tmp_path)
    assert list(find_files([Path("docs")])) == [Path("docs/a.md")]


def test_names_that_are_no_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.md")
    make(tmp_path, name, "a.md")
    assert found(tmp_path) == ["a.md", name]


def test_a_folder_that_cannot_be_listed_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a.md", "secret/b.md")
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if path.name == "secret":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    told: list[DocumentUnreadable] = []
    assert [p.name for p in find_files([tmp_path], report=told.append)] == ["a.md"]
    assert "secret cannot be listed: Permission denied" in told[0].message


def test_deep_folders(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 300)
    make(deep, "a.md")
    assert len(found(tmp_path)) == 1
