"""Calls that were made and not charged: their process ended, or their strategy broke off.

The call journal (knowledge.runs) has every call of a run, the ledger those whose node came to its
end. What the first has and the second lacks was lost, and is charged all the same: what it cost if
it had finished, else the most that it may have cost, marked estimated.

A node that runs again asks under the same names, so of several calls of one name the latest are
those that the ledger knows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, cast

from reverie.graphs.budget import Entry, Ledger, ledger_of, total_tokens
from reverie.graphs.resources import find_resources

if TYPE_CHECKING:
    from reverie.graphs.context import Context
    from reverie.graphs.records import Usage
    from reverie.graphs.state import ReasonState
    from reverie.knowledge.runs import Call, CallJournal

_SPEND = "spend:"
_REPEATED = re.compile(r"#\d+$")


class Journaled:
    """One call's way through the journal; nothing where there is none."""

    def __init__(
        self, journal: CallJournal | None, run_id: str, name: str, scope: str, node: str
    ) -> None:
        self._journal = journal if journal is not None and journal.knows(run_id) else None
        self._run_id = run_id
        self._name = name
        self._scope = scope
        self._node = node
        self._number: int | None = None

    async def begun(self, most: Usage) -> None:
        """It begins, or is tried again, and may cost ``most``. Durable when this returns."""
        if self._journal is None:
            return
        if self._number is None:
            self._number = await self._journal.begin(
                self._run_id, self._name, scope=self._scope, node=self._node, most=most
            )
        else:
            await self._journal.extend(self._run_id, self._name, self._number, most)

    async def finished(self, usage: Usage) -> None:
        """It has ended, and cost ``usage``."""
        if self._journal is not None and self._number is not None:
            await self._journal.finish(self._run_id, self._name, self._number, usage)


async def uncharged(state: ReasonState, context: Context) -> list[Entry]:
    """The entries that the ledger in ``state`` lacks: for calls of the attempt that has just ended,
    and for those that were granted to it when the run was resumed. Empty without a journal.
    """
    entries = list(context.lost)
    journal = find_resources(context.resources).journal
    if journal is not None and journal.knows(state["run_id"]):
        ledger = ledger_of(state, context)
        paying = state["choice"]["scope"]
        for call in lost_calls(await journal.calls(state["run_id"]), ledger.entries):
            scope = call.scope if ledger.reserved(call.scope) else paying
            entries.append(entry_of(call, scope))
    known = {entry["id"] for entry in state["ledger"]}
    return [entry for entry in entries if entry["id"] not in known]


def lost_calls(calls: Sequence[Call], entries: Sequence[Entry]) -> list[Call]:
    """The ``calls``, which are all of a run in order, that no entry charges."""
    names = {call.name for call in calls}
    known = {entry["id"] for entry in entries}
    # The ledger numbers calls of one name, too; a name may itself end in a number.
    spent = [entry_id.removeprefix(_SPEND) for entry_id in known if entry_id.startswith(_SPEND)]
    charged = Counter(name if name in names else _REPEATED.sub("", name) for name in spent)
    lost: list[Call] = []
    for name, same in groupby(calls, key=lambda call: call.name):
        open_ = [call for call in same if _id(call) not in known]
        lost += open_[: max(0, len(open_) - charged[name])]
    return lost


def grants(calls: Sequence[Call], ledger: Ledger) -> list[Entry]:
    """Entries for lost ``calls``, for a run that is resumed.

    Each is paid for by what the run has left free, or else by what is left free in a reservation
    around its own, so that its own still pays for its repetition. Where too little is free, its own
    pays, and the branch may find that nothing is left for another call: then it fails, and the
    budget holds.
    """
    # What was granted at an earlier resume is spoken for, before anything new is.
    granted = {_id(c): entry_of(c, c.granted) for c in calls if c.granted is not None}
    ledger = ledger.plus(*granted.values())
    for call in calls:
        if call.granted is None:
            entry = granted[_id(call)] = entry_of(call, _paying(call, ledger))
            ledger = ledger.plus(entry)
    return [granted[_id(call)] for call in calls]


def _paying(call: Call, ledger: Ledger) -> str:
    """The outermost reservation with enough left for a lost call, if only its own."""
    usage = cast("Usage", call.usage)
    around = {e["id"]: e["scope"] for e in ledger.entries if e["kind"] == "reserve"}
    outer: list[str] = []
    scope = call.scope
    while scope in around and scope not in outer:
        outer.insert(0, scope)
        scope = around[scope]
    for scope in ("", *outer[:-1]):
        left = ledger.left(scope)
        if (
            total_tokens(usage) <= left["tokens"]
            and usage["calls"] <= left["calls"]
            and (left["money"] is None or usage["money"] <= left["money"])
        ):
            return scope
    return call.scope


def entry_of(call: Call, scope: str) -> Entry:
    """What charges a lost call to ``scope``."""
    usage: dict[str, Any] = dict(call.usage)
    usage["estimated"] = usage["estimated"] or not call.finished
    return {
        "id": _id(call),
        "kind": "spend",
        "scope": scope,
        "tokens": 0,
        "calls": 0,
        "usage": cast("Usage", usage),
        "node": call.node,
    }


def _id(call: Call) -> str:
    return f"lost:{call.name}#{call.number}"
