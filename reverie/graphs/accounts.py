"""The accounts of a run's budget, reckoned from the ledger's entries."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reverie.graphs.records import Limits

if TYPE_CHECKING:
    from reverie.graphs.budget import Entry


@dataclass(slots=True)
class Account:
    """A reservation, or the whole budget: what it holds, and what of that is gone."""

    name: str
    tokens: int
    calls: int
    within: str = ""
    released: bool = False
    gone_tokens: int = 0
    """Spent, or held by open reservations within it."""
    gone_calls: int = 0
    money: float = 0.0

    @property
    def left_tokens(self) -> int:
        return max(0, self.tokens - self.gone_tokens)

    @property
    def left_calls(self) -> int:
        return max(0, self.calls - self.gone_calls)

    def charge(self, inner: Account, price: float) -> None:
        """Take what a reservation within this one costs it."""
        if inner.released:
            self.gone_tokens += inner.gone_tokens
            self.gone_calls += inner.gone_calls
            self.money += inner.money
        else:
            # What was overdrawn is gone, too: a server may count more than its tokenizer said.
            self.gone_tokens += max(inner.tokens, inner.gone_tokens)
            self.gone_calls += max(inner.calls, inner.gone_calls)
            self.money += max(inner.tokens * price, inner.money)


@dataclass(frozen=True, slots=True)
class Books:
    """Every account by its reservation's name, the whole budget under the empty one."""

    accounts: Mapping[str, Account]
    within: Mapping[str, Sequence[str]]
    """The reservations directly within each."""
    ids: Collection[str]

    @classmethod
    def of(cls, limits: Limits, entries: Sequence[Entry], price: float) -> Books:
        """In time linear in the entries: it is asked for before and after every call."""
        accounts = {"": Account("", limits["tokens"], limits["calls"])}
        for entry in entries:
            if entry["kind"] == "reserve":
                name = entry["id"]
                accounts[name] = Account(name, entry["tokens"], entry["calls"], entry["scope"])
        for entry in entries:
            # What no reservation pays for, the whole budget does.
            account = accounts.get(entry["scope"], accounts[""])
            if entry["kind"] == "spend":
                usage = entry["usage"]
                account.gone_tokens += usage["tokens_in"] + usage["tokens_out"]
                account.gone_calls += usage["calls"]
                account.money += usage["money"]
            elif entry["kind"] == "release" and account.name:
                account.released = True
        within: dict[str, list[str]] = {}
        for account in accounts.values():
            if account.name:
                outer = account.within if account.within in accounts else ""
                within.setdefault(outer, []).append(account.name)
        books = cls(accounts, within, frozenset(e["id"] for e in entries))
        outer_first = books.inside("")
        books._release_inner(outer_first)
        for name in reversed(outer_first):  # the innermost first
            if name:
                inner = accounts[name]
                accounts.get(inner.within, accounts[""]).charge(inner, price)
        return books

    def inside(self, scope: str) -> list[str]:
        """``scope`` and every reservation within it, outer ones before inner ones."""
        found = [scope]
        seen = {scope}
        for name in found:
            new = [inner for inner in self.within.get(name, ()) if inner not in seen]
            seen.update(new)
            found += new
        return found

    def _release_inner(self, outer_first: Sequence[str]) -> None:
        """What lies within a reservation that was released, was released with it."""
        for name in outer_first:
            account = self.accounts[name]
            outer = self.accounts.get(account.within) if name else None
            if outer is not None and outer.released:
                account.released = True
