"""Which files of a folder are read."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reverie.errors import ConfigError, DocumentUnreadable
from reverie.knowledge.read.language import is_binary

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

_FOLDERS: Final = frozenset({"node_modules", "__pycache__", "site-packages"})
"""Left out in addition to those whose names begin with a dot, and virtual environments."""

Report = Callable[[DocumentUnreadable], None]


def find_files(
    paths: Iterable[Path], *, exclude: Sequence[str] = (), report: Report | None = None
) -> Iterator[Path]:
    """The files to read: those among ``paths``, and those in the folders among them. Blocks.

    In a folder and all below it are left out: hidden files and folders, what a .gitignore names,
    ``exclude`` (patterns as in a .gitignore, from that folder), virtual environments, node_modules
    and __pycache__, and files whose suffix says that they are no text. What ``paths`` names itself
    is always there, also if it does not exist. Names are sorted, and no file or folder comes twice,
    whatever links lead to it. ``report`` hears of folders that cannot be listed.

    Raises ConfigError for a pattern that is none.
    """
    walk = _Walk(exclude, report)
    for path in paths:
        yield from walk.of(path)


class _Walk:
    def __init__(self, exclude: Sequence[str], report: Report | None) -> None:
        self._excluded = _patterns(exclude, "ingest.exclude")
        self._report = report
        self._seen: set[tuple[int, int] | str] = set()

    def of(self, path: Path) -> Iterator[Path]:
        try:
            status = path.stat()
        except (OSError, ValueError):
            yield path  # whoever reads it says what is wrong with it
            return
        if not stat.S_ISDIR(status.st_mode):
            if self._new(path, status):
                yield path
            return
        root = Path(os.path.abspath(path))  # noqa: PTH100 links stay as they are named
        yield from self._folder(path, root, root, _rules_above(root))

    def _folder(
        self, named: Path, folder: Path, root: Path, rules: list[tuple[Path, GitIgnoreSpec]]
    ) -> Iterator[Path]:
        """Depth first, with a stack of its own: folders may lie deeper than Python can call."""
        todo = [(named, folder, rules)]
        while todo:
            named, folder, rules = todo.pop()
            try:
                if not self._new(folder, folder.stat()):
                    continue
                with os.scandir(folder) as listed:
                    entries = sorted(listed, key=lambda entry: os.fsencode(entry.name))
            except OSError as error:
                self._tell(folder, error)
                continue
            if any(entry.name == "pyvenv.cfg" for entry in entries) and folder != root:
                continue
            rules = _with_rules_of(folder, rules)
            folders = []
            for entry in entries:
                path = folder / entry.name
                status = _status(entry)
                if status is None or self._left_out(path, root, rules, status):
                    continue
                if stat.S_ISDIR(status.st_mode):
                    folders.append((named / entry.name, path, rules))
                elif self._new(path, status):
                    yield named / entry.name
            todo += reversed(folders)

    def _left_out(
        self,
        path: Path,
        root: Path,
        rules: list[tuple[Path, GitIgnoreSpec]],
        status: os.stat_result,
    ) -> bool:
        is_folder = stat.S_ISDIR(status.st_mode)
        if path.name.startswith("."):
            return True
        if is_folder and path.name in _FOLDERS:
            return True
        if not is_folder and (not stat.S_ISREG(status.st_mode) or is_binary(path)):
            return True
        if self._excluded and _matches(self._excluded, path, root, is_folder):
            return True
        return _ignored(path, rules, is_folder=is_folder)

    def _new(self, path: Path, status: os.stat_result) -> bool:
        """Whether this file or folder has not come before, by another name perhaps."""
        key = (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(path)
        if key in self._seen:
            return False
        self._seen.add(key)
        return True

    def _tell(self, folder: Path, error: OSError) -> None:
        if self._report is not None:
            self._report(
                DocumentUnreadable(
                    f"{folder} cannot be listed: {error.strerror or error}",
                    hint="Grant yourself permission to read it, or leave it out",
                )
            )


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Of what a link leads to; None for one that leads nowhere, and for what is gone."""
    try:
        return entry.stat()
    except OSError:
        return None


def _ignored(path: Path, rules: list[tuple[Path, GitIgnoreSpec]], *, is_folder: bool) -> bool:
    for base, spec in reversed(rules):  # what is nearest decides
        if path.is_relative_to(base) and path != base:
            match = _matches(spec, path, base, is_folder)
            if match is not None:
                return match
    return False


def _matches(spec: GitIgnoreSpec, path: Path, base: Path, is_folder: bool) -> bool | None:
    """Whether the patterns leave ``path`` out (True), keep it (False) or do not name it (None)."""
    name = path.relative_to(base).as_posix() + ("/" if is_folder else "")
    return spec.check_file(name).include


def _rules_above(root: Path) -> list[tuple[Path, GitIgnoreSpec]]:
    """The patterns of the .gitignore files above ``root`` in the same repository; none where they
    leave out ``root`` itself.
    """
    above: list[Path] = []
    for folder in root.parents:
        above.append(folder)
        if (folder / ".git").exists():
            break
    else:
        return []
    if (root / ".git").exists():
        return []
    rules: list[tuple[Path, GitIgnoreSpec]] = []
    for folder in reversed(above):
        rules = _with_rules_of(folder, rules)
    inside = [root, *above[:-1]]
    # A folder that was named is read, also where git ignores all of it.
    return [] if any(_ignored(folder, rules, is_folder=True) for folder in inside) else rules


def _with_rules_of(
    folder: Path, rules: list[tuple[Path, GitIgnoreSpec]]
) -> list[tuple[Path, GitIgnoreSpec]]:
    file = folder / ".gitignore"
    try:
        if not file.is_file() or file.stat().st_size > 1_000_000:
            return rules
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return rules
    try:
        spec = _patterns(text.splitlines(), str(file))
    except ConfigError:
        return rules  # git leaves out lines that it cannot read, too
    return [*rules, (folder, spec)] if spec is not None else rules


def _patterns(lines: Sequence[str], where: str) -> GitIgnoreSpec | None:
    if not any(line.strip() for line in lines):
        return None
    try:
        from pathspec import GitIgnoreSpec
    except ImportError as error:
        raise ConfigError(
            "leaving files out by pattern needs pathspec", hint="pip install 'reverie[knowledge]'"
        ) from error
    try:
        return GitIgnoreSpec.from_lines(lines)
    except ValueError as error:
        raise ConfigError(
            f"{where} has a pattern that is none: {error}", hint="Write it as in a .gitignore"
        ) from error
