"""What a run's tokens, seconds, calls and money went to, reckoned from the ledger's entries."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence

from typing_extensions import TypedDict

from reverie.graphs.budget import Entry
from reverie.graphs.records import Usage

UNANSWERED = "unanswered"
"""The model of calls that nobody finished."""


class Part(TypedDict):
    """What one strategy, node or model took."""

    name: str
    calls: int
    tokens_in: int
    tokens_out: int
    seconds: float
    """Of its model calls, those of parallel ones added up."""
    money: float
    estimated: bool
    """Whether some server did not report its usage."""


class Analytics(TypedDict):
    """Where a run's cost came from: three times the same sum, in the order of the first calls."""

    strategies: list[Part]
    """``shape`` is the call that brings an answer into its form."""
    nodes: list[Part]
    """``strategy.node``."""
    models: list[Part]
    """``unanswered``: calls that nobody finished. Where several models had a part in what was
    charged together, seconds and money are divided by tokens.
    """
    peak_memory: int | None
    """Most bytes of memory that this process has had so far; None where the system does not say."""


def analytics_of(entries: Sequence[Entry]) -> Analytics:
    """The analytics of a ledger's entries."""
    spent = [entry for entry in entries if entry["kind"] == "spend"]
    return {
        "strategies": _sums((e["node"].partition(".")[0], e["usage"]) for e in spent),
        "nodes": _sums((e["node"], e["usage"]) for e in spent),
        "models": _sums(part for e in spent for part in _by_model(e["usage"])),
        "peak_memory": peak_memory(),
    }


def peak_memory() -> int | None:
    """Most resident bytes that this process has had; None on Windows, which does not say."""
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024  # elsewhere it is in KiB


def _sums(parts: Iterable[tuple[str, Usage]]) -> list[Part]:
    sums: dict[str, Part] = {}
    for name, usage in parts:
        part = sums.setdefault(
            name,
            {
                "name": name,
                "calls": 0,
                "tokens_in": 0,
                "tokens_out": 0,
                "seconds": 0.0,
                "money": 0.0,
                "estimated": False,
            },
        )
        part["calls"] += usage["calls"]
        part["tokens_in"] += usage["tokens_in"]
        part["tokens_out"] += usage["tokens_out"]
        part["seconds"] += usage["seconds"]
        part["money"] += usage["money"]
        part["estimated"] = part["estimated"] or usage["estimated"]
    return list(sums.values())


def _by_model(usage: Usage) -> Iterator[tuple[str, Usage]]:
    """A usage, divided between the models that took part; what is nobody's is ``unanswered``."""
    parts = [
        (use["name"], use["calls"], use["tokens_in"], use["tokens_out"])
        for use in usage["backends"]
        if use["calls"]
    ]
    rest = (
        UNANSWERED,
        usage["calls"] - sum(calls for _, calls, _, _ in parts),
        usage["tokens_in"] - sum(tokens for _, _, tokens, _ in parts),
        usage["tokens_out"] - sum(tokens for _, _, _, tokens in parts),
    )
    if any(amount > 0 for amount in rest[1:]) or not parts:
        parts.append(rest)
    whole = sum(tokens_in + tokens_out for _, _, tokens_in, tokens_out in parts)
    for name, calls, tokens_in, tokens_out in parts:
        share = (tokens_in + tokens_out) / whole if whole else 1 / len(parts)
        yield (
            name,
            {
                **usage,
                "calls": calls,
                "tokens_in": tokens_in,
                "tokens_out": tokens_out,
                "seconds": usage["seconds"] * share,
                "money": usage["money"] * share,
            },
        )
