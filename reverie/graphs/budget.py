"""The budget ledger: what a run may spend, has set aside, and has spent.

The ledger is a list of entries in the graph's state, merged by entry id, and every balance is
computed from that list. So it survives resume, does not depend on the order in which parallel
branches finish, and an entry that is merged twice counts once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from typing_extensions import TypedDict

from reverie.errors import BudgetExceeded, ConfigError
from reverie.graphs.records import BackendUse, Cost, Limits, Usage

_Limit = Literal["tokens", "calls", "seconds", "money"]


class Entry(TypedDict):
    """One line of the ledger.

    ``reserve`` sets ``tokens`` and ``calls`` aside under ``id``, out of the reservation ``scope``,
    or out of the whole budget when that is empty; ``spend`` charges ``usage`` to ``scope``;
    ``release`` gives what is left of ``scope`` back to where it came from.
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
    "money": 0.0,
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
        total["money"] += usage["money"]
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
    """A run's limits and entries. ``started`` is Unix time in seconds, ``paused`` how many seconds
    since then nothing ran, because the process had ended or a person was asked.

    ``Ledger`` never changes: ``reserve``, ``spend`` and ``release`` return entries to write to the
    state, and ``plus`` gives the ledger with them.
    """

    limits: Limits
    entries: tuple[Entry, ...]
    started: float
    paused: float = 0.0

    def plus(self, *entries: Entry) -> Ledger:
        return replace(self, entries=tuple(merge_entries(self.entries, entries)))

    # -- balances --------------------------------------------------------------------------

    @property
    def spent(self) -> Usage:
        return add_usage(e["usage"] for e in self.entries if e["kind"] == "spend")

    @property
    def elapsed(self) -> float:
        """Wall-clock seconds since the run began, pauses left out."""
        return max(0.0, time.time() - self.started - self.paused)

    def left(self, scope: str = "") -> Limits:
        """What may still be spent: of one reservation, or of the run beside all reservations."""
        books = self._books()
        held = books.get(scope, _Held(tokens=0, calls=0)) if scope else None
        tokens = held.tokens if held else self.limits["tokens"]
        calls = held.calls if held else self.limits["calls"]
        if held and held.released:
            tokens = calls = 0
        charged_tokens, charged_calls = _charged(books, scope)
        most = self.limits["money"]
        return {
            "tokens": max(0, tokens - charged_tokens),
            "seconds": max(0.0, self.limits["seconds"] - self.elapsed),
            "calls": max(0, calls - charged_calls),
            "money": None if most is None else max(0.0, most - self.spent["money"]),
        }

    def spent_in(self, scope: str) -> Usage:
        """What was charged to a reservation and to those within it."""
        books = self._books()
        inside = {name for name in books if name == scope or _within(books, name, scope)}
        return add_usage(
            e["usage"] for e in self.entries if e["kind"] == "spend" and e["scope"] in inside
        )

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
        names: tuple[_Limit, ...] = ("tokens", "calls", "seconds", "money")
        for name in names:
            amount = left[name]
            if amount is not None and amount <= 0:
                # Not :g alone, which writes a million as 1e+06.
                return f"the budget of {self.limits[name]:.10g} {name} is used up"
        return ""

    # -- entries ---------------------------------------------------------------------------

    def reserve(self, scope: str, tokens: int, calls: int, *, node: str, within: str = "") -> Entry:
        """Set tokens and calls aside under the name ``scope``, out of the reservation ``within`` or
        out of the whole budget. Raises BudgetExceeded if there are too few.
        """
        if tokens <= 0 or calls <= 0:
            raise ConfigError(f"a reservation of {tokens} tokens and {calls} calls holds nothing")
        left = self.left(within)
        if tokens > left["tokens"] or calls > left["calls"]:
            raise BudgetExceeded(
                f"{tokens} tokens and {calls} calls cannot be reserved: {left['tokens']} tokens "
                f"and {left['calls']} calls are left",
                hint="raise --budget",
            )
        return _entry(scope, "reserve", node=node, scope=within, tokens=tokens, calls=calls)

    def spend(self, call_id: str, usage: Usage, *, node: str, scope: str = "") -> Entry:
        """Charge what a call cost; always possible, since it has happened."""
        return _entry(f"spend:{call_id}", "spend", node=node, scope=scope, usage=usage)

    def release(self, scope: str, *, node: str) -> Entry:
        """Refund what is left of a reservation."""
        return _entry(f"release:{scope}", "release", node=node, scope=scope)

    def _books(self) -> dict[str, _Held]:
        """Every reservation by name, the whole budget under the empty one, with what it holds."""
        books = {"": _Held(self.limits["tokens"], self.limits["calls"])}
        for entry in self.entries:
            if entry["kind"] == "reserve":
                held = _Held(entry["tokens"], entry["calls"], within=entry["scope"])
                books[entry["id"]] = held
        for entry in self.entries:
            # What no reservation pays for, the whole budget does.
            held = books.get(entry["scope"], books[""])
            if entry["kind"] == "spend":
                held.spent_tokens += total_tokens(entry["usage"])
                held.spent_calls += entry["usage"]["calls"]
            elif entry["kind"] == "release" and entry["scope"]:
                held.released = True
        return books


@dataclass(slots=True)
class _Held:
    """A reservation: what it set aside, and what was charged to it directly."""

    tokens: int
    calls: int
    within: str = ""
    spent_tokens: int = 0
    spent_calls: int = 0
    released: bool = False


def _charged(books: Mapping[str, _Held], scope: str) -> tuple[int, int]:
    """What a reservation has no longer: spent, or held by open reservations within it."""
    own = books.get(scope)
    tokens, calls = (own.spent_tokens, own.spent_calls) if own else (0, 0)
    for name, inner in books.items():
        if not name or inner.within != scope:
            continue
        spent_tokens, spent_calls = _charged(books, name)
        tokens += spent_tokens if inner.released else max(inner.tokens, spent_tokens)
        calls += spent_calls if inner.released else max(inner.calls, spent_calls)
    return tokens, calls


def _within(books: Mapping[str, _Held], name: str, scope: str) -> bool:
    """Whether a reservation lies, however deep, in another one."""
    while name:
        name = books[name].within if name in books else ""
        if name == scope:
            return True
    return False


class _State(TypedDict):
    """The part of every run's state that a ledger is made of."""

    started: float
    ledger: list[Entry]


class _Limiting(Protocol):
    """The part of a run's context that a ledger is made of."""

    @property
    def limits(self) -> Limits: ...

    @property
    def paused(self) -> float: ...


def ledger_of(state: _State, context: _Limiting) -> Ledger:
    """The ledger in a run's state."""
    return Ledger(context.limits, tuple(state["ledger"]), state["started"], context.paused)


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
