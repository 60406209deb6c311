"""Which calls the ledger lacks, and who pays for them."""

from __future__ import annotations

from typing import Any

from reverie.graphs.budget import NO_USAGE, Entry, Ledger
from reverie.graphs.lost import entry_of, grants, lost_calls
from reverie.knowledge.runs import Call

LIMITS: Any = {"tokens": 1000, "seconds": 60.0, "calls": 10, "money": None}


def call(name: str, number: int = 0, *, tokens: int = 100, **changed: Any) -> Call:
    usage = {**NO_USAGE, "tokens_in": tokens, "calls": 1}
    values: dict[str, Any] = {"scope": "s", "node": "n", "finished": True, "granted": None}
    return Call(name, number, usage=usage, **{**values, **changed})


def spent(name: str) -> Entry:
    return Ledger(LIMITS, (), 0.0).spend(name, {**NO_USAGE, "calls": 1}, node="n")


def names(calls: list[Call]) -> list[tuple[str, int]]:
    return [(one.name, one.number) for one in calls]


def test_a_call_that_no_entry_charges_is_lost() -> None:
    assert names(lost_calls([call("a"), call("b")], [spent("a")])) == [("b", 0)]


def test_of_calls_of_one_name_the_latest_is_the_one_that_was_charged() -> None:
    calls = [call("a", 0), call("a", 1), call("a", 2)]
    assert names(lost_calls(calls, [spent("a")])) == [("a", 0), ("a", 1)]


def test_what_was_charged_as_lost_is_lost_no_more() -> None:
    calls = [call("a", 0), call("a", 1)]
    assert lost_calls(calls, [entry_of(calls[0], ""), spent("a")]) == []


def test_calls_that_the_ledger_numbered_are_charged() -> None:
    ledger = Ledger(LIMITS, (), 0.0)
    first = ledger.spend("a", NO_USAGE, node="n")
    second = ledger.plus(first).spend("a", NO_USAGE, node="n")
    assert second["id"] == "spend:a#2"
    assert lost_calls([call("a", 0), call("a", 1)], [first, second]) == []


def test_a_name_may_itself_end_in_a_number() -> None:
    calls = [call("a#1"), call("a#2")]
    assert names(lost_calls(calls, [spent("a#2")])) == [("a#1", 0)]


def test_a_call_that_never_finished_is_marked_estimated() -> None:
    assert entry_of(call("a", finished=False), "")["usage"]["estimated"]
    assert not entry_of(call("a"), "")["usage"]["estimated"]


def reserved(*reservations: tuple[str, int, int, str]) -> Ledger:
    ledger = Ledger(LIMITS, (), 0.0)
    for name, tokens, calls, within in reservations:
        ledger = ledger.plus(ledger.reserve(name, tokens, calls, node="n", within=within))
    return ledger


def test_what_the_run_has_left_free_pays_first() -> None:
    [entry] = grants([call("a")], reserved(("s", 500, 2, "")))
    assert entry["scope"] == ""


def test_then_the_reservation_around_its_own() -> None:
    ledger = reserved(("attempt", 1000, 10, ""), ("s", 500, 2, "attempt"))
    [entry] = grants([call("a")], ledger)
    assert entry["scope"] == "attempt"
    assert ledger.plus(entry).left("s")["tokens"] == 500  # the repetition is still paid for


def test_at_last_its_own_and_the_budget_holds() -> None:
    ledger = reserved(("attempt", 1000, 10, ""), ("s", 150, 1, "attempt"), ("t", 850, 9, "attempt"))
    [entry] = grants([call("a")], ledger)
    assert entry["scope"] == "s"
    ledger = ledger.plus(entry)
    assert ledger.left("s")["calls"] == 0
    assert ledger.left()["tokens"] == 0
    assert ledger.spent["tokens_in"] <= LIMITS["tokens"]


def test_what_is_free_is_granted_only_once() -> None:
    ledger = reserved(("s", 450, 4, ""), ("t", 400, 4, ""))
    entries = grants([call("a"), call("b")], ledger)
    assert [entry["scope"] for entry in entries] == ["", "s"]


def test_what_was_granted_before_is_spoken_for_whatever_the_order() -> None:
    ledger = reserved(("s", 850, 2, ""))  # 150 tokens are free: enough for one lost call
    earlier, later = call("b", granted=""), call("a")

    for calls in ([later, earlier], [earlier, later]):
        scopes = {entry["id"]: entry["scope"] for entry in grants(calls, ledger)}
        assert scopes == {"lost:b#0": "", "lost:a#0": "s"}


def test_a_grant_stays_as_it_was_decided() -> None:
    [entry] = grants([call("a", granted="t")], reserved(("s", 100, 1, "")))
    assert entry["scope"] == "t"
