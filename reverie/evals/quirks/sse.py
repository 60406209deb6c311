"""Server-sent events: from the documents of a stream to its bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from reverie.evals.quirks.answer import Ending, Part
from reverie.evals.quirks.behaviour import Fail, Quirks


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its JSON (or ``[DONE]``), its name if it has one, and the tokens it stands for."""

    data: str
    name: str = ""
    tokens: int = 0


def events_to_parts(events: Iterable[Event], quirks: Quirks) -> Iterator[Part]:
    """The bytes of ``events``, each after the time that its tokens take."""
    end = "\r\n" if quirks.crlf else "\n"
    data = "data: " if quirks.space_after_data else "data:"
    comment = f": still here{end}{end}" if quirks.comments else ""
    for event in events:
        if event.tokens and quirks.token_seconds:
            yield event.tokens * quirks.token_seconds
        name = f"event: {event.name}{end}" if event.name else ""
        yield f"{comment}{name}{data}{event.data}{end}{end}".encode("utf-8", "surrogatepass")


def failing(parts: Iterable[Part], fail: Fail, last: bytes) -> Iterator[Part]:
    """``parts``, until ``fail`` ends them; ``last`` is the event that says so, if there is one."""
    left = fail.after or 0
    for part in parts:
        if isinstance(part, bytes):
            if not left:
                break
            left -= 1
        yield part
    if fail.event:
        yield last
    else:
        yield ending(fail)


def ending(fail: Fail) -> Ending:
    """What ``fail`` does to the connection."""
    if fail.reset:
        return Ending.RESET
    return Ending.CLOSE if fail.close else Ending.HANG
