"""The ledger under random lives: nested reservations whose owners see only their own books, that
spend, fail, are cut short or vanish, and whose entries arrive late, twice, and in any order.

Whatever happens, what was really spent stays within the limits.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)

from reverie.errors import BudgetExceeded
from reverie.graphs.budget import Entry, Ledger, add_usage, merge_entries, total_tokens
from reverie.graphs.records import Limits, Usage

IN, OUT = 2.0, 8.0  # prices of a million prompt and written tokens


def usage(tokens_in: int, tokens_out: int, calls: int, *, estimated: bool) -> Usage:
    return {
        "tokens_in": tokens_in,
        "tokens_out": tokens_out,
        "calls": calls,
        "seconds": 0.1,
        "estimated": estimated,
        "money": (tokens_in * IN + tokens_out * OUT) / 1e6,
        "backends": [],
    }


@dataclass(eq=False)
class Owner:
    """A node that works on one reservation, with the books that it can see."""

    scope: str
    parent: Owner | None
    entries: list[Entry] = field(default_factory=list)
    """Its own books: the reservation, and what it and its branches wrote."""
    open_branches: int = 0
    lost: bool = False
    """Whether something within it vanished: then its own process has, and nobody releases it."""
    ended: bool = False


class LedgerMachine(RuleBasedStateMachine):
    owners = Bundle("owners")

    @initialize(
        target=owners,
        tokens=st.integers(20, 3000),
        calls=st.integers(1, 12),
        money=st.sampled_from([None, 0.0005, 0.002, 0.004]),
        seed=st.integers(0, 2**16),
    )
    def begin(self, tokens: int, calls: int, money: float | None, seed: int) -> Owner:
        self.limits: Limits = {"tokens": tokens, "calls": calls, "seconds": 60.0, "money": money}
        self.random = random.Random(seed)  # noqa: S311  # orders of arrival, no secret
        self.root = Owner("", None)
        self.spent: list[Usage] = []
        self.late: list[tuple[Owner, list[Entry]]] = []
        self.number = 0
        self.in_order = True
        return self.root

    def ledger(self, owner: Owner) -> Ledger:
        price = max(IN, OUT) / 1e6
        return Ledger(self.limits, tuple(owner.entries), time.time(), price=price)

    @rule(
        target=owners,
        owner=owners,
        part=st.sampled_from([0.1, 0.3, 0.5, 1.0]),
        calls=st.integers(1, 4),
        branches=st.integers(1, 4),
    )
    def fan_out(self, owner: Owner, part: float, calls: int, branches: int) -> object:
        """Reserve for several branches at once, as many as the books allow."""
        tokens = max(1, int(part * self.ledger(owner).left(owner.scope)["tokens"]))
        started: list[Owner] = []
        for _ in range(branches if not owner.ended else 0):
            self.number += 1
            ledger = self.ledger(owner)
            scope = f"s{self.number}"
            try:
                entry = ledger.reserve(scope, tokens, calls, node="n", within=owner.scope)
            except BudgetExceeded:
                left = ledger.left(owner.scope)
                assert tokens > left["tokens"] or calls > left["calls"]
                break
            owner.entries.append(entry)
            owner.open_branches += 1
            started.append(Owner(scope, owner, [entry]))
        return multiple(*started)

    @rule(
        owner=owners,
        share=st.sampled_from([0.0, 0.4, 1.0, 1.0]),
        written=st.sampled_from([0.0, 0.7, 1.0]),
        estimated=st.booleans(),
    )
    def call(self, owner: Owner, share: float, written: float, estimated: bool) -> None:
        """A model call that takes what it may, at most."""
        ledger = self.ledger(owner)
        left = ledger.left(owner.scope)
        if owner.ended or left["calls"] < 1:
            return
        tokens = int(share * left["tokens"])
        tokens_out = int(written * tokens)
        used = usage(tokens - tokens_out, tokens_out, 1, estimated=estimated)
        self.spent.append(used)
        # Two calls of one name are two calls.
        owner.entries.append(ledger.spend(f"{owner.scope}:call", used, node="n", scope=owner.scope))

    @rule(owner=owners)
    def finish(self, owner: Owner) -> None:
        """Release what is left; the entries arrive some time later."""
        if owner.ended or owner.parent is None or owner.open_branches or owner.lost:
            return
        owner.ended = True
        owner.entries.append(self.ledger(owner).release(owner.scope, node="n"))
        self.late.append((owner.parent, owner.entries))

    @rule(owner=owners)
    def is_cut_short(self, owner: Owner) -> None:
        """An error handler charges what it had spent, and releases nothing."""
        if owner.ended or owner.parent is None or owner.open_branches:
            return
        owner.ended, self.in_order = True, False
        owner.parent.lost |= owner.lost
        self.late.append((owner.parent, owner.entries))

    @rule(owner=owners)
    def vanishes(self, owner: Owner) -> None:
        """Its process was killed: nothing of what it wrote arrives, ever."""
        if owner.ended or owner.parent is None or owner.open_branches:
            return
        owner.ended, self.in_order = True, False
        owner.parent.lost = True
        owner.parent.open_branches -= 1

    @rule(twice=st.booleans())
    def arrive(self, twice: bool) -> None:
        """What some branch wrote reaches its parent's books, perhaps once more than needed."""
        if not self.late:
            return
        parent, entries = self.late.pop(self.random.randrange(len(self.late)))
        shuffled = self.random.sample(entries, len(entries))
        parent.entries = merge_entries(parent.entries, shuffled)
        if twice:
            parent.entries = merge_entries(parent.entries, entries)
        parent.open_branches -= 1

    @invariant()
    def the_limits_hold(self) -> None:
        spent = add_usage(self.spent)
        assert total_tokens(spent) <= self.limits["tokens"]
        assert spent["calls"] <= self.limits["calls"]
        if self.limits["money"] is not None:
            assert spent["money"] <= self.limits["money"] * (1 + 1e-9) + 1e-11

    @invariant()
    def the_books_add_up(self) -> None:
        ledger = self.ledger(self.root)
        left, spent = ledger.left(), ledger.spent
        assert left["tokens"] >= 0
        assert left["calls"] >= 0
        assert left["tokens"] + total_tokens(spent) <= self.limits["tokens"]
        assert left["calls"] + spent["calls"] <= self.limits["calls"]
        assert spent["estimated"] == any(
            e["usage"]["estimated"] for e in ledger.entries if e["kind"] == "spend"
        )
        if left["money"] is not None:
            assert left["money"] >= 0

    @invariant()
    def the_order_of_entries_changes_nothing(self) -> None:
        ledger = self.ledger(self.root)
        shuffled = self.random.sample(ledger.entries, len(ledger.entries))
        other = Ledger(self.limits, tuple(shuffled), ledger.started, price=ledger.price)
        for name in ("", *(e["id"] for e in ledger.entries if e["kind"] == "reserve")):
            one, two = ledger.left(name), other.left(name)
            assert (one["tokens"], one["calls"]) == (two["tokens"], two["calls"])
            assert one["money"] == pytest.approx(two["money"])

    def teardown(self) -> None:
        """Once everything that ended in order has arrived, nothing is held any more."""
        while getattr(self, "late", None):
            self.arrive(twice=False)
        if getattr(self, "in_order", False) and not self.root.open_branches:
            ledger = self.ledger(self.root)
            unspent = self.limits["calls"] - ledger.spent["calls"]
            assert ledger.left()["calls"] == unspent
            if self.limits["money"] is None:
                assert ledger.left()["tokens"] + total_tokens(ledger.spent) == self.limits["tokens"]


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=250, stateful_step_count=50, deadline=None)
