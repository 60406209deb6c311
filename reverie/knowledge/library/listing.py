"""Which files there are under what was named, and what an ingest would do with each. It blocks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reverie.errors import DocumentUnreadable
from reverie.knowledge.library.events import Failed
from reverie.knowledge.library.graphing import needs_graph
from reverie.knowledge.library.reading import recipe
from reverie.knowledge.library.records import Extract, FoundFile, KnownFile
from reverie.knowledge.read import find_files, path_name

Named = Mapping[Path, Sequence[str]]
"""What to list, and patterns of what to leave out below it."""


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """How to ingest."""

    chunk_tokens: int
    most_bytes: int
    home: str
    """Reverie's own files; below a named folder they are left out."""
    extract: Extract = "rules"
    prune: bool = True
    """Whether files that are gone from below the named folders are removed."""
    again: bool = False
    """Whether files that have not changed are read again too."""


@dataclass(slots=True)
class Plan:
    """What an ingest would do, as far as the file system says it; by the files' names."""

    read: dict[str, FoundFile] = field(default_factory=dict)
    """New, or perhaps changed."""
    regraph: list[str] = field(default_factory=list)
    """Unchanged, and not in the graph yet."""
    skipped: list[str] = field(default_factory=list)
    """Unchanged."""
    removed: list[str] = field(default_factory=list)
    """Gone."""
    failed: list[Failed] = field(default_factory=list)
    """Folders that cannot be listed, and names that are nothing."""

    @property
    def files(self) -> int:
        """How many there are."""
        return len(self.read) + len(self.regraph) + len(self.skipped)


def make_plan(named: Named, options: IngestOptions, known: Mapping[str, KnownFile]) -> Plan:
    """Lists what is named and compares it with what is known. Raises ``ConfigError``."""
    plan = Plan()
    found: dict[str, FoundFile] = {}
    for path, exclude in sorted(named.items()):
        listed, is_whole = _list(path, exclude, plan.failed)
        if not is_under(f"{path_name(path)}/", options.home):
            listed = {n: file for n, file in listed.items() if not is_under(n, options.home)}
        found |= listed
        if options.prune and is_whole and path.is_dir():
            plan.removed += _gone(path_name(path), listed, known, plan.failed)
    plan.removed = [name for name in dict.fromkeys(plan.removed) if name not in found]
    for name, file in sorted(found.items()):
        before = known.get(name)
        if options.again or before is None or not _same_file(file, before, options):
            plan.read[name] = file
        elif needs_graph(before, options.extract):
            plan.regraph.append(name)
        else:
            plan.skipped.append(name)
    return plan


def is_under(name: str, folder: str) -> bool:
    """Whether a file is below a folder, by their names."""
    return name.startswith(folder.rstrip("/") + "/")


def _list(
    path: Path, exclude: Sequence[str], failed: list[Failed]
) -> tuple[dict[str, FoundFile], bool]:
    """The files, by name, and whether every folder could be listed."""
    unlisted: list[DocumentUnreadable] = []
    files: dict[str, FoundFile] = {}
    for one in find_files([path], exclude=exclude, report=unlisted.append):
        name = path_name(one)
        try:
            status = os.stat(one)  # noqa: PTH116  # takes names that are no text too
        except (OSError, ValueError) as error:
            failed.append(_absent(name, error))
            unlisted.append(DocumentUnreadable(name))
        else:
            files[name] = FoundFile(one, status.st_size, status.st_mtime_ns)
    failed += [Failed(path_name(path), e.message, e.hint) for e in unlisted if e.hint]
    return files, not unlisted


def _gone(
    folder: str,
    listed: Mapping[str, FoundFile],
    known: Mapping[str, KnownFile],
    failed: list[Failed],
) -> Iterator[str]:
    """Files that were read from below the folder, and are not there any more."""
    before = [name for name in known if is_under(name, folder)]
    if before and not listed:
        # Rather a drive that is not mounted than so many files deleted one by one.
        failed.append(
            Failed(
                folder,
                f"{folder} holds no file to read; what is stored of {len(before):,} from there "
                "stays",
                "If they are gone for good: `reverie library remove`",
            )
        )
        return
    for name in before:
        if name not in listed:
            yield name


def _same_file(found: FoundFile, known: KnownFile, options: IngestOptions) -> bool:
    """By what the file system says of it, without looking into it."""
    return (found.size, found.mtime_ns, recipe(options.chunk_tokens)) == (
        known.size,
        known.mtime_ns,
        known.recipe,
    )


def _absent(name: str, error: Exception) -> Failed:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return Failed(
            name,
            f"{name} is not there",
            "If it is gone for good, `reverie library remove` removes what is stored of it",
        )
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return Failed(name, f"{name} cannot be looked at: {reason or error}", "Check the path")
