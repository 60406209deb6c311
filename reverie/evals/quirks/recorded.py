"""A request as the server got it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request. ``headers`` have lower-case names; ``path`` is without its query."""

    method: str
    path: str
    headers: dict[str, str]
    raw: bytes
    """The body as it came."""
    at: float
    """When it had arrived, by ``time.monotonic``."""

    @property
    def body(self) -> Any:
        """The body read as JSON; None when there is none or it is something else."""
        try:
            return json.loads(self.raw)
        except ValueError:
            return None
