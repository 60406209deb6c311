"""The budget ledger: what a run may spend, has set aside, and has spent.

The ledger is a list of entries in the graph's state, merged by entry id, and every balance is
computed from that list. So it survives resume, does not depend on the order in which parallel
branches finish, and an entry that is merged twice counts once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from typing_extensions import TypedDict

from reverie.errors import BudgetExceeded, ConfigError
from reverie.graphs.records import BackendUse, Cost, Limits, Usage


class Entry(TypedDict):
    """One line of the ledger.

    ``reserve`` sets ``tokens`` and ``calls`` aside under ``id``; ``spend`` charges ``usage``, to
    the reservation ``scope`` if that is not empty; ``release`` gives what is left of it back.
    """

    id: str
    kind: Literal["reserve", "spend", "release"]
    scope: str
    tokens: int
    calls: int
    usage: Usage
    node: str


NO_USAGE: Usage = {
    "tokens_in": 0,
    "tokens_out": 0,
    "calls": 0,
    "seconds": 0.0,
    "estimated": False,
    "backends": [],
}


def merge_entries(left: Sequence[Entry], right: Sequence[Entry]) -> list[Entry]:
    """The reducer: both lists in order of arrival, each id once."""
    entries = {entry["id"]: entry for entry in left}
    for entry in right:
        entries.setdefault(entry["id"], entry)
    return list(entries.values())


def add_usage(usages: Iterable[Usage]) -> Usage:
    """The sum; estimated as soon as one part is."""
    total = NO_USAGE.copy()
    for usage in usages:
        total["tokens_in"] += usage["tokens_in"]
        total["tokens_out"] += usage["tokens_out"]
        total["calls"] += usage["calls"]
        total["seconds"] += usage["seconds"]
        total["estimated"] = total["estimated"] or usage["estimated"]
        total["backends"] = add_uses((*total["backends"], *usage["backends"]))
    return total


def add_uses(uses: Iterable[BackendUse]) -> list[BackendUse]:
    """What each backend did, in the order in which they come first."""
    total: dict[str, BackendUse] = {}
    for use in uses:
        name = use["name"]
        sum_ = total.get(name)
        total[name] = {
            "name": name,
            "calls": use["calls"] + (sum_["calls"] if sum_ else 0),
            "tokens_in": use["tokens_in"] + (sum_["tokens_in"] if sum_ else 0),
            "tokens_out": use["tokens_out"] + (sum_["tokens_out"] if sum_ else 0),
            "passed_over": list(
                dict.fromkeys((*(sum_["passed_over"] if sum_ else ()), *use["passed_over"]))
            ),
        }
    return list(total.values())


def total_tokens(usage: Usage) -> int:
    """Prompt and completion tokens together: what a token limit counts."""
    return usage["tokens_in"] + usage["tokens_out"]


@dataclass(frozen=True, slots=True)
class Ledger:
    """A run's limits and entries. ``started`` is Unix time in seconds.

    ``Ledger`` never changes: ``reserve``, ``spend`` and ``release`` return entries to write to the
    state, and ``plus`` gives the ledger with them.
    """

    limits: Limits
    entries: tuple[Entry, ...]
    started: float

    def plus(self, *entries: Entry) -> Ledger:
        return Ledger(self.limits, tuple(merge_entries(self.entries, entries)), self.started)

    # -- balances --------------------------------------------------------------------------

    @property
    def spent(self) -> Usage:
        return add_usage(e["usage"] for e in self.entries if e["kind"] == "spend")

    @property
    def elapsed(self) -> float:
        """Wall-clock seconds since the run began."""
        return max(0.0, time.time() - self.started)

    def left(self, scope: str = "") -> Limits:
        """What may still be spent: of one reservation, or of the run beside all reservations."""
        seconds = max(0.0, self.limits["seconds"] - self.elapsed)
        if scope:
            tokens, calls = self._left_of(scope)
        else:
            spent = self.spent
            tokens = self.limits["tokens"] - total_tokens(spent)
            calls = self.limits["calls"] - spent["calls"]
            for reservation in self._open():
                held_tokens, held_calls = self._left_of(reservation)
                tokens -= held_tokens
                calls -= held_calls
        return {"tokens": max(0, tokens), "seconds": seconds, "calls": max(0, calls)}

    def cost(self) -> Cost:
        return {
            "spent": self.spent,
            "elapsed": self.elapsed,
            "limits": self.limits,
            "left": self.left(),
        }

    def exhausted(self) -> str:
        """Which limit leaves no room for another call, in words; empty while there is room."""
        left = self.left()
        names: tuple[Literal["tokens", "calls", "seconds"], ...] = ("tokens", "calls", "seconds")
        for name in names:
            if left[name] <= 0:
                # Not :g alone, which writes a million as 1e+06.
                return f"the budget of {self.limits[name]:.10g} {name} is used up"
        return ""

    # -- entries ---------------------------------------------------------------------------

    def reserve(self, scope: str, tokens: int, calls: int, *, node: str) -> Entry:
        """Set tokens and calls aside for one branch. Raises BudgetExceeded if there are too few."""
        if tokens <= 0 or calls <= 0:
            raise ConfigError(f"a reservation of {tokens} tokens and {calls} calls holds nothing")
        left = self.left()
        if tokens > left["tokens"] or calls > left["calls"]:
            raise BudgetExceeded(
                f"{tokens} tokens and {calls} calls cannot be reserved: {left['tokens']} tokens "
                f"and {left['calls']} calls are left",
                hint="raise --budget",
            )
        return _entry(scope, "reserve", node=node, tokens=tokens, calls=calls)

    def spend(self, call_id: str, usage: Usage, *, node: str, scope: str = "") -> Entry:
        """Charge what a call cost; always possible, since it has happened."""
        return _entry(f"spend:{call_id}", "spend", node=node, scope=scope, usage=usage)

    def release(self, scope: str, *, node: str) -> Entry:
        """Refund what is left of a reservation."""
        return _entry(f"release:{scope}", "release", node=node, scope=scope)

    def _open(self) -> list[str]:
        released = {e["scope"] for e in self.entries if e["kind"] == "release"}
        return [e["id"] for e in self.entries if e["kind"] == "reserve" and e["id"] not in released]

    def _left_of(self, scope: str) -> tuple[int, int]:
        tokens = calls = 0
        for entry in self.entries:
            if entry["kind"] == "reserve" and entry["id"] == scope:
                tokens += entry["tokens"]
                calls += entry["calls"]
            elif entry["kind"] == "spend" and entry["scope"] == scope:
                tokens -= total_tokens(entry["usage"])
                calls -= entry["usage"]["calls"]
            elif entry["kind"] == "release" and entry["scope"] == scope:
                return 0, 0
        return max(0, tokens), max(0, calls)


class _Books(TypedDict):
    """The part of every run's state that a ledger is made of."""

    started: float
    ledger: list[Entry]


def ledger_of(state: _Books, limits: Limits) -> Ledger:
    """The ledger in a run's state."""
    return Ledger(limits, tuple(state["ledger"]), state["started"])


def _entry(
    entry_id: str,
    kind: Literal["reserve", "spend", "release"],
    *,
    node: str,
    scope: str = "",
    tokens: int = 0,
    calls: int = 0,
    usage: Usage = NO_USAGE,
) -> Entry:
    return {
        "id": entry_id,
        "kind": kind,
        "scope": scope,
        "tokens": tokens,
        "calls": calls,
        "usage": usage.copy(),
        "node": node,
    }
