"""Which chunks a search may return."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Where:
    """All of it has to agree; what is empty does not matter."""

    path: str = ""
    """A pattern of paths, in which ``*`` stands for anything, ``?`` for a character and ``[...]``
    for one of several; or a file; or a folder, with all below it. What does not begin with / may
    begin anywhere below a folder.
    """
    kinds: Sequence[str] = ()
    """Kinds of chunks: "function", "section"."""

    def __bool__(self) -> bool:
        return bool(self.path or self.kinds)

    def condition(self) -> tuple[str, list[str]]:
        """What follows WHERE in a query over ``chunks c``, and its parameters."""
        parts: list[str] = []
        values: list[str] = []
        if self.kinds:
            parts.append("c.kind IN (SELECT value FROM json_each(?))")
            values.append(json.dumps(list(self.kinds)))
        if self.path:
            # A path that is one character for character counts too: "[id].ts" is a file's name.
            pattern = self.path.rstrip("/") or "/"
            patterns = [pattern, f"{pattern}/*"]
            if not pattern.startswith(("/", "*")) and pattern[1:2] != ":":
                patterns += [f"*/{pattern}", f"*/{pattern}/*"]
            tests = " OR ".join(["f.path = ?", *("f.path GLOB ?" for _ in patterns)])
            parts.append(f"c.file_id IN (SELECT f.id FROM files f WHERE {tests})")  # noqa: S608  # only ?s
            values += [pattern, *patterns]
        return " AND ".join(parts) or "true", values


EVERYWHERE = Where()
