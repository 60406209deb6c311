"""Memories as lines of JSON, to keep elsewhere and to bring back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reverie.errors import ConfigError
from reverie.knowledge.episodes.episode import Episode, Occasion
from reverie.knowledge.episodes.file import Written

_Seconds = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]


class _Occasion(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    at: _Seconds
    source: str = ""


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")] = ""
    text: str
    kind: str = "note"
    importance: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.5
    learned: _Seconds | None = None
    reinforced: _Seconds | None = None
    uses: Annotated[int, Field(ge=0, lt=2**53)] = 0
    occasions: list[_Occasion] = []


def line_of(episode: Episode) -> str:
    """A memory as one line of JSON."""
    return json.dumps(asdict(episode), ensure_ascii=False)


def parsed(lines: Iterable[str]) -> list[Written]:
    """What lines of JSON say; empty lines are left out. A text alone is enough of a memory.

    Raises ConfigError that names the first bad line.
    """
    import time

    now = time.time()
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            one = _Line.model_validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(map(str, first["loc"]))
            raise ConfigError(
                f"line {number} is no memory: {field + ': ' if field else ''}{first['msg']}",
                hint='each line is a JSON object, as in {"text": "...", "importance": 0.5}',
            ) from error
        occasions = [Occasion(o.at, o.source) for o in one.occasions]
        learned = one.learned if one.learned is not None else now
        latest = max((o.at for o in occasions), default=learned)
        found.append(
            Written(
                text=one.text,
                kind=one.kind,
                importance=one.importance,
                occasions=occasions or (Occasion(learned),),
                reinforced=one.reinforced if one.reinforced is not None else latest,
                uses=one.uses,
                id=one.id,
            )
        )
    return found
