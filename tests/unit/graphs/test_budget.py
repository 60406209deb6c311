"""The ledger: whatever order branches spend, fail and finish in, the limits hold."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.errors import BudgetExceeded, ConfigError
from reverie.graphs.budget import (
    NO_USAGE,
    Entry,
    Ledger,
    add_usage,
    add_uses,
    ledger_of,
    merge_entries,
    total_tokens,
)
from reverie.graphs.context import Context
from reverie.graphs.records import BackendUse, Limits, Usage


def limits(tokens: int = 1000, calls: int = 10, seconds: float = 60.0) -> Limits:
    return {"tokens": tokens, "calls": calls, "seconds": seconds, "money": None}


def new(**kwargs: float) -> Ledger:
    return Ledger(limits(**kwargs), (), time.time())  # type: ignore[arg-type]


def used(tokens: int, calls: int = 1, *, estimated: bool = False) -> Usage:
    return {
        "tokens_in": tokens - tokens // 2,
        "tokens_out": tokens // 2,
        "calls": calls,
        "seconds": 0.5,
        "estimated": estimated,
        "money": 0.0,
        "backends": [
            {
                "name": "a",
                "calls": calls,
                "tokens_in": tokens - tokens // 2,
                "tokens_out": tokens // 2,
                "passed_over": [],
            }
        ],
    }


def balances(ledger: Ledger) -> tuple[int, int, int]:
    return ledger.left()["tokens"], ledger.left()["calls"], total_tokens(ledger.spent)


# What a branch does with its reservation: how much of it the call takes, and how it ends.
BRANCH = st.tuples(
    st.integers(1, 400),
    st.floats(0, 1),
    st.sampled_from(["finishes", "fails after its call", "fails before its call", "vanishes"]),
)


def life(scope: str, tokens: int, share: float, end: str) -> list[Entry]:
    """The entries that a branch writes after its reservation; a vanished one was killed."""
    ledger = new()
    spend = ledger.spend(scope, used(int(tokens * share)), node="dream", scope=scope)
    release = ledger.release(scope, node="dream")
    return {
        "finishes": [spend, release],
        "fails after its call": [spend, release],
        "fails before its call": [release],
        "vanishes": [spend],
    }[end]


@given(st.integers(1, 2000), st.lists(BRANCH, max_size=8), st.data())
def test_branches_that_respect_their_reservation_never_exceed_the_limits(
    tokens: int, wanted: list[tuple[int, float, str]], data: st.DataObject
) -> None:
    ledger = new(tokens=tokens)
    writes: list[Entry] = []
    granted = 0
    for number, (amount, share, end) in enumerate(wanted):
        try:
            entry = ledger.reserve(f"b{number}", amount, 1, node="dream")
        except BudgetExceeded:
            continue
        ledger = ledger.plus(entry)
        granted += amount
        writes += life(f"b{number}", amount, share, end)
        assert granted <= tokens
    # Any order of arrival, and everything may be written twice: a node that is run again does that.
    for entry in data.draw(st.permutations(writes + writes[::2])):
        ledger = ledger.plus(entry)
        assert ledger.left()["tokens"] >= 0
        assert total_tokens(ledger.spent) <= tokens
        assert ledger.left()["tokens"] + total_tokens(ledger.spent) <= tokens
        assert ledger.spent["calls"] + ledger.left()["calls"] <= 10


@given(st.lists(BRANCH, max_size=6), st.data())
def test_the_order_of_arrival_changes_no_balance(
    wanted: list[tuple[int, float, str]], data: st.DataObject
) -> None:
    ledger = new(tokens=400 * 6)
    entries: list[Entry] = []
    for number, (amount, share, end) in enumerate(wanted):
        entries.append(ledger.reserve(f"b{number}", amount, 1, node="dream"))
        entries += life(f"b{number}", amount, share, end)

    shuffled = data.draw(st.permutations(entries))

    assert balances(ledger.plus(*entries)) == balances(ledger.plus(*shuffled))


ENTRIES = st.lists(st.integers(0, 9), max_size=12).map(
    lambda ids: [new().spend(str(i), used(i), node="n") for i in ids]
)


@given(ENTRIES, ENTRIES, ENTRIES)
def test_merging_is_associative_and_counts_nothing_twice(
    a: list[Entry], b: list[Entry], c: list[Entry]
) -> None:
    merged = merge_entries(merge_entries(a, b), c)

    assert merged == merge_entries(a, merge_entries(b, c))
    assert merge_entries(merged, merged) == merged
    assert merge_entries(merged, a) == merged
    assert len({e["id"] for e in merged}) == len(merged)


@given(st.lists(st.integers(0, 5000), max_size=6), st.integers(1, 1000))
def test_what_is_left_is_never_negative(spent: list[int], reserved: int) -> None:
    ledger = new().plus(new().reserve("a", reserved, 1, node="n"))
    for number, tokens in enumerate(spent):
        scope = "a" if number % 2 else ""
        ledger = ledger.plus(ledger.spend(str(number), used(tokens, 3), node="n", scope=scope))

    for scope in ("", "a", "unknown"):
        left = ledger.left(scope)
        assert min(left["tokens"], left["calls"], left["seconds"]) >= 0


@given(st.integers(1, 1000), st.floats(0, 1))
def test_a_release_refunds_exactly_what_was_not_spent(reserved: int, share: float) -> None:
    spent = int(reserved * share)
    ledger = new()
    held = ledger.plus(ledger.reserve("a", reserved, 2, node="n"))
    assert held.left()["tokens"] == 1000 - reserved
    assert held.left("a")["tokens"] == reserved

    after = held.plus(held.spend("a", used(spent), node="n", scope="a"))
    assert after.left()["tokens"] == 1000 - reserved
    assert (after.left("a")["tokens"], after.left("a")["calls"]) == (reserved - spent, 1)

    released = after.plus(after.release("a", node="n"))
    assert released.left()["tokens"] == 1000 - spent
    assert released.left()["calls"] == 9
    assert released.left("a")["tokens"] == 0


def test_a_reservation_can_be_released_after_a_restart() -> None:
    before = new().plus(new().reserve("a", 600, 1, node="n"))
    stored = json.loads(json.dumps({"ledger": before.entries, "started": before.started}))

    resumed = ledger_of(stored, Context(tokens=1000))

    assert resumed.left()["tokens"] == 400
    assert resumed.plus(resumed.release("a", node="n")).left()["tokens"] == 1000


def test_what_cannot_be_reserved_is_an_error_that_says_what_is_left() -> None:
    ledger = new().plus(new().reserve("a", 900, 1, node="n"))

    with pytest.raises(BudgetExceeded, match="100 tokens and 9 calls are left"):
        ledger.reserve("b", 101, 1, node="n")
    with pytest.raises(BudgetExceeded, match="10 calls cannot be reserved"):
        ledger.reserve("b", 1, 10, node="n")
    with pytest.raises(ConfigError):
        ledger.reserve("b", 0, 1, node="n")


def test_one_estimate_makes_the_sum_estimated() -> None:
    assert add_usage([used(1), used(2, estimated=True), used(3)])["estimated"]
    assert not add_usage([used(1), used(2)])["estimated"]
    assert add_usage([]) == NO_USAGE


USES = st.lists(
    st.builds(
        BackendUse,
        name=st.sampled_from(["a", "b", "c"]),
        calls=st.integers(0, 3),
        tokens_in=st.integers(0, 50),
        tokens_out=st.integers(0, 50),
        passed_over=st.lists(st.sampled_from(["refused", "late"]), max_size=3),
    ),
    max_size=6,
)


@given(USES, USES)
def test_uses_of_backends_add_up_and_each_reason_is_told_once(
    a: list[BackendUse], b: list[BackendUse]
) -> None:
    total = add_uses([*a, *b])

    assert total == add_uses([*add_uses(a), *add_uses(b)])
    assert [use["name"] for use in total] == list(dict.fromkeys(use["name"] for use in a + b))
    for key in ("calls", "tokens_in", "tokens_out"):
        assert sum(use[key] for use in total) == sum(use[key] for use in a + b)
    for use in total:
        assert len(set(use["passed_over"])) == len(use["passed_over"])


def test_adding_changes_nothing_that_was_added() -> None:
    one = used(10)

    add_usage([one, used(20)])

    assert one == used(10)
    assert NO_USAGE["backends"] == []


def test_an_overdrawn_reservation_takes_from_the_others() -> None:
    """A server may count more prompt tokens than its tokenizer said: the money is gone."""
    ledger = new().plus(new().reserve("a", 100, 1, node="n"))
    ledger = ledger.plus(ledger.spend("a", used(300), node="n", scope="a"))

    assert ledger.left()["tokens"] == 700
    assert ledger.left("a")["tokens"] == 0


@pytest.mark.parametrize(
    ("left", "said"),
    [
        ({}, ""),
        ({"tokens": 2_000_000}, "the budget of 2000000 tokens is used up"),
        ({"calls": 3}, "the budget of 3 calls is used up"),
        ({"calls": 1}, "the budget of 1 call is used up"),
        ({"seconds": 0.25}, "the budget of 0.25 seconds is used up"),
    ],
)
def test_exhausted_names_the_limit(left: dict[str, float], said: str) -> None:
    wide = limits(tokens=3_000_000, calls=10)
    ledger = Ledger({**wide, **left}, (), time.time() - 5)  # type: ignore[typeddict-item]

    assert ledger.plus(ledger.spend("a", used(2_000_000, 3), node="n")).exhausted() == said


def test_time_runs_and_never_backwards() -> None:
    assert Ledger(limits(), (), time.time() - 20).left()["seconds"] == pytest.approx(40, abs=1)
    assert Ledger(limits(), (), time.time() + 20).elapsed == 0.0
    assert Ledger(limits(), (), 0.0).cost()["left"]["seconds"] == 0.0


# -- nesting, names, money, speed ----------------------------------------------------------


def test_a_branch_within_a_reservation_takes_from_it_and_from_nothing_else() -> None:
    ledger = new()
    ledger = ledger.plus(ledger.reserve("attempt:1", 600, 6, node="n"))
    ledger = ledger.plus(ledger.reserve("attempt:1:a", 200, 1, node="n", within="attempt:1"))

    assert balances(ledger)[:2] == (400, 4)
    assert ledger.left("attempt:1")["tokens"] == 400
    with pytest.raises(BudgetExceeded, match="400 tokens and 5 calls are left"):
        ledger.reserve("attempt:1:b", 401, 1, node="n", within="attempt:1")

    ledger = ledger.plus(ledger.spend("x", used(50), node="n", scope="attempt:1:a"))
    assert total_tokens(ledger.spent_in("attempt:1")) == 50
    ledger = ledger.plus(ledger.release("attempt:1:a", node="n"))
    assert ledger.left("attempt:1")["tokens"] == 550
    ledger = ledger.plus(ledger.release("attempt:1", node="n"))
    assert balances(ledger) == (950, 9, 50)


def test_a_name_is_reserved_once() -> None:
    ledger = new().plus(new().reserve("a", 100, 1, node="n"))

    for taken in (ledger, ledger.plus(ledger.release("a", node="n"))):
        with pytest.raises(ConfigError, match="a reservation called 'a' already"):
            taken.reserve("a", 100, 1, node="n")


def test_two_calls_of_one_name_are_two_calls() -> None:
    ledger = new()
    for _ in range(3):
        ledger = ledger.plus(ledger.spend("ask", used(100), node="n"))

    assert total_tokens(ledger.spent) == 300
    assert [e["id"] for e in ledger.entries] == ["spend:ask", "spend:ask#2", "spend:ask#3"]


def test_what_is_within_nothing_known_is_taken_from_the_whole() -> None:
    inner = new().plus(new().reserve("a", 100, 1, node="n"))
    orphan = inner.reserve("b", 60, 1, node="n", within="a")

    assert new().plus(orphan).left()["tokens"] == 940
    unknown = new().left("a")
    assert (unknown["tokens"], unknown["calls"]) == (0, 0)


def priced(money: float, *, tokens: int = 1000, price: float = 10.0) -> Ledger:
    """A ledger where a million tokens of the dearest kind cost ``price``."""
    held: Limits = {"tokens": tokens, "calls": 10, "seconds": 60.0, "money": money}
    return Ledger(held, (), time.time(), price=price / 1e6)


def paid(tokens: int, money: float) -> Usage:
    return {**used(tokens), "money": money}


def test_money_bounds_the_tokens_and_is_reserved_with_them() -> None:
    ledger = priced(0.005)  # pays for 500 tokens

    assert ledger.left()["tokens"] == 500
    held = ledger.plus(ledger.reserve("a", 300, 1, node="n"))
    assert held.left()["tokens"] == 200
    assert held.left()["money"] == pytest.approx(0.002)
    assert held.left("a")["money"] == pytest.approx(0.003)
    with pytest.raises(BudgetExceeded, match=r"\(more, 0.002 money does not pay for\)") as caught:
        held.reserve("b", 201, 1, node="n")
    assert caught.value.hint == "raise budget.money"

    # Prompt tokens were cheaper than the dearest: the rest is there again.
    spent = held.plus(held.spend("a", paid(300, 0.0006), node="n", scope="a"))
    freed = spent.plus(spent.release("a", node="n"))
    assert freed.left()["money"] == pytest.approx(0.0044)
    assert freed.left()["tokens"] == 440
    assert freed.exhausted() == ""


def test_a_budget_of_money_is_exhausted_when_it_pays_for_no_token() -> None:
    ledger = priced(0.005)
    ledger = ledger.plus(ledger.spend("a", paid(499, 0.004995), node="n"))

    assert ledger.left()["tokens"] == 0
    assert ledger.exhausted() == "the budget of 0.005 money is used up"


def test_without_a_price_money_bounds_nothing_until_it_is_spent() -> None:
    ledger = priced(0.005, price=0.0)

    assert ledger.left()["tokens"] == 1000
    spent = ledger.plus(ledger.spend("a", paid(10, 0.006), node="n"))
    assert spent.left()["money"] == 0.0
    assert spent.exhausted() == "the budget of 0.005 money is used up"


def test_asking_what_is_left_takes_little_time() -> None:
    """With 64 branches and 1,000 entries it is far below a millisecond, the first time too."""
    ledger = new(tokens=10**9, calls=10**6)
    entries = [ledger.reserve(f"b{n}", 1000, 20, node="n") for n in range(64)]
    entries += [
        ledger.spend(f"{n}", used(10), node="n", scope=f"b{n % 64}") for n in range(1000 - 128)
    ]
    entries += [ledger.release(f"b{n}", node="n") for n in range(64)]
    fastest = float("inf")
    for _ in range(5):
        full = Ledger(ledger.limits, tuple(entries), ledger.started)
        began = time.perf_counter()
        full.left("b1")
        fastest = min(fastest, time.perf_counter() - began)

    assert len(entries) == 1000
    assert fastest < 0.005  # what the bench measures is a tenth of that; this machine may be busy
