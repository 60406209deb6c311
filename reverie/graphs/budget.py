"""The budget ledger: what a run may spend, has set aside, and has spent.

The ledger is a list of entries in the graph's state, merged by entry id, and every balance is
computed from that list. So it survives resume, does not depend on the order in which parallel
branches finish, and an entry that is merged twice counts once.

Money is set aside with the tokens that it pays for, each at the price of the dearest kind of token,
and what was not spent of it is free again when the reservation is released.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from typing_extensions import TypedDict

from reverie.errors import BudgetExceeded, ConfigError
from reverie.graphs.accounts import Account, Books
from reverie.graphs.records import BackendUse, Cost, Limits, Usage
from reverie.models.prices import PER

_Limit = Literal["tokens", "calls", "seconds", "money"]

_ROUNDING = 1e-6
"""Of a token: what adding prices up may lose."""


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
    uses: list[BackendUse] = []
    for usage in usages:
        total["tokens_in"] += usage["tokens_in"]
        total["tokens_out"] += usage["tokens_out"]
        total["calls"] += usage["calls"]
        total["seconds"] += usage["seconds"]
        total["estimated"] = total["estimated"] or usage["estimated"]
        total["money"] += usage["money"]
        uses += usage["backends"]
    total["backends"] = add_uses(uses)
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
    since then nothing ran, because the process had ended or a person was asked; ``price`` is what
    one token costs at most, 0 where no prices are known.

    ``Ledger`` never changes: ``reserve``, ``spend`` and ``release`` return entries to write to the
    state, and ``plus`` gives the ledger with them.
    """

    limits: Limits
    entries: tuple[Entry, ...]
    started: float
    paused: float = 0.0
    price: float = 0.0
    _kept: list[Books] = field(default_factory=list, init=False, repr=False, compare=False)
    """The books, once they were asked for: entries never change."""

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
        """What may still be spent: of one reservation, or of the run beside all reservations.

        Never more tokens than the money left pays for.
        """
        left = self._balance(scope)
        paid = self._paid_for(left["money"])
        return {**left, "tokens": left["tokens"] if paid is None else min(left["tokens"], paid)}

    def spent_in(self, scope: str) -> Usage:
        """What was charged to a reservation and to those within it."""
        inside = self._books.inside(scope)
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
        left = self._balance("")
        names: tuple[_Limit, ...] = ("tokens", "calls", "seconds", "money")
        for name in names:
            amount = left[name]
            # Money that pays for no token is as good as none.
            paid = self._paid_for(left["money"]) if name == "money" else None
            if (amount is not None and amount <= 0) or paid == 0:
                # Not :g alone, which writes a million as 1e+06.
                limit = self.limits[name]
                what = name.removesuffix("s") if limit == 1 else name
                return f"the budget of {limit:.10g} {what} is used up"
        return ""

    # -- entries ---------------------------------------------------------------------------

    def reserve(self, scope: str, tokens: int, calls: int, *, node: str, within: str = "") -> Entry:
        """Set tokens and calls aside under the name ``scope``, out of the reservation ``within`` or
        out of the whole budget, and the money that they may cost.

        Raises BudgetExceeded if there are too few, and ConfigError for a name that was reserved
        before: two reservations of one name would be one, with twice the spending.
        """
        if tokens <= 0 or calls <= 0:
            raise ConfigError(f"a reservation of {tokens} tokens and {calls} calls holds nothing")
        if not scope or scope in self._books.accounts:
            raise ConfigError(
                f"there is a reservation called {scope!r} already",
                hint="reserve every branch under a name of its own, within the strategy's scope",
            )
        left = self.left(within)
        if tokens > left["tokens"] or calls > left["calls"]:
            poor = left["tokens"] < self._balance(within)["tokens"]
            pays = f" (more, {left['money']:.6g} money does not pay for)" if poor else ""
            raise BudgetExceeded(
                f"{tokens} tokens and {calls} calls cannot be reserved: {left['tokens']} tokens "
                f"and {left['calls']} calls are left{pays}",
                hint="raise budget.money" if poor else "raise --budget",
            )
        return _entry(scope, "reserve", node=node, scope=within, tokens=tokens, calls=calls)

    def spend(self, call_id: str, usage: Usage, *, node: str, scope: str = "") -> Entry:
        """Charge what a call cost; always possible, since it has happened.

        A call whose name was charged before, in these books, is another one.
        """
        entry_id, number = f"spend:{call_id}", 1
        while entry_id in self._books.ids:
            number += 1
            entry_id = f"spend:{call_id}#{number}"
        return _entry(entry_id, "spend", node=node, scope=scope, usage=usage)

    def release(self, scope: str, *, node: str) -> Entry:
        """Refund what is left of a reservation."""
        return _entry(f"release:{scope}", "release", node=node, scope=scope)

    def reserved(self, scope: str) -> bool:
        """Whether ``scope`` is the whole budget or a reservation of these books."""
        return scope in self._books.accounts

    # -- inside ----------------------------------------------------------------------------

    def _balance(self, scope: str) -> Limits:
        """``left``, each limit by itself."""
        account = self._books.accounts.get(scope)
        closed = account is None or account.released
        return {
            "tokens": 0 if closed or account is None else account.left_tokens,
            "seconds": max(0.0, self.limits["seconds"] - self.elapsed),
            "calls": 0 if closed or account is None else account.left_calls,
            "money": self._money(account),
        }

    def _money(self, account: Account | None) -> float | None:
        most = self.limits["money"]
        if most is None:
            return None
        if account is None or account.released:
            return 0.0
        if account.name and self.price:
            return max(0.0, account.tokens * self.price - account.money)
        return max(0.0, most - self._books.accounts[""].money)

    def _paid_for(self, money: float | None) -> int | None:
        """How many tokens of the dearest kind ``money`` pays for; None: as many as you like."""
        if money is None or not self.price:
            return None
        return math.floor(money / self.price + _ROUNDING)

    @property
    def _books(self) -> Books:
        if not self._kept:
            self._kept.append(Books.of(self.limits, self.entries, self.price))
        return self._kept[0]


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

    @property
    def price(self) -> float | None: ...

    @property
    def lost(self) -> Sequence[Entry]: ...


def ledger_of(state: _State, context: _Limiting) -> Ledger:
    """The ledger in a run's state, with what an ended process owed."""
    return Ledger(
        context.limits,
        tuple(merge_entries(state["ledger"], context.lost)),
        state["started"],
        context.paused,
        (context.price or 0.0) / PER,
    )


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
