"""The call journal: what a run's model calls may cost, written before each of them.

A process that is killed takes with it what it knew of the calls in flight. The journal knows that
they were begun and what they could cost at most, so that whoever resumes the run can charge them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reverie.errors import RunUnavailable

if TYPE_CHECKING:
    from reverie.knowledge.database import Database


@dataclass(frozen=True, slots=True)
class Call:
    """One model call that was begun. ``name`` is the same when a node runs again, and ``number``
    then one higher. ``usage`` is what it cost; until it has finished, the most it may cost.
    """

    name: str
    number: int
    scope: str
    node: str
    usage: dict[str, Any]
    finished: bool
    granted: str | None
    """Once it is known to be lost: the reservation that pays for it, empty for the whole budget."""


@dataclass(frozen=True, slots=True)
class Charge:
    """Who pays for a lost call."""

    name: str
    number: int
    scope: str


class CallJournal:
    """The calls of all runs. Every method may raise ``KnowledgeUnavailable``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._owners: dict[str, str] = {}

    def work(self, run_id: str, owner: str) -> None:
        """From now on, calls of this run are begun under the lease of ``owner``."""
        self._owners[run_id] = owner

    def rest(self, run_id: str) -> None:
        """This process works on the run no more; its calls are not written down any more."""
        self._owners.pop(run_id, None)

    def knows(self, run_id: str) -> bool:
        """Whether this process works on the run."""
        return run_id in self._owners

    async def begin(
        self, run_id: str, name: str, *, scope: str, node: str, most: Mapping[str, Any]
    ) -> int:
        """Note, durably, that a call begins that may cost ``most``. Returns its number.

        Raises ``RunUnavailable`` when another process has taken the run over meanwhile.
        """
        return await asyncio.to_thread(self._begin, run_id, name, scope, node, most)

    async def extend(self, run_id: str, name: str, number: int, most: Mapping[str, Any]) -> None:
        """The call may cost more than it said: ``most``."""
        await asyncio.to_thread(self._set, run_id, name, number, most, finished=False)

    async def finish(self, run_id: str, name: str, number: int, usage: Mapping[str, Any]) -> None:
        """Note what the call has cost."""
        await asyncio.to_thread(self._set, run_id, name, number, usage, finished=True)

    async def calls(self, run_id: str) -> list[Call]:
        """Every call of a run, by name and number."""
        return await asyncio.to_thread(self._calls, run_id)

    async def grant(self, run_id: str, charges: Sequence[Charge]) -> None:
        """Note who pays for the calls that were lost."""
        await asyncio.to_thread(self._grant, run_id, charges)

    def _begin(self, run_id: str, name: str, scope: str, node: str, most: Mapping[str, Any]) -> int:
        with self._database.writing() as connection:
            held = connection.execute(
                "SELECT owner FROM leases WHERE run_id = ?", (run_id,)
            ).fetchone()
            if held is None or held[0] != self._owners.get(run_id):
                raise RunUnavailable(
                    f"the run {run_id} was taken over by another process",
                    hint="its result will be found there: reverie runs shows the run",
                )
            (number,) = connection.execute(
                "SELECT coalesce(max(number) + 1, 0) FROM calls WHERE run_id = ? AND name = ?",
                (run_id, name),
            ).fetchone()
            connection.execute(
                "INSERT INTO calls (run_id, name, number, scope, node, usage) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (run_id, name, number, scope, node, json.dumps(most)),
            )
        return int(number)

    def _set(
        self, run_id: str, name: str, number: int, usage: Mapping[str, Any], *, finished: bool
    ) -> None:
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE calls SET usage = ?, finished = ? "
                "WHERE run_id = ? AND name = ? AND number = ?",
                (json.dumps(usage), finished, run_id, name, number),
            )

    def _calls(self, run_id: str) -> list[Call]:
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT name, number, scope, node, usage, finished, granted FROM calls "
                "WHERE run_id = ? ORDER BY name, number",
                (run_id,),
            ).fetchall()
        return [
            Call(name, number, scope, node, json.loads(usage), bool(finished), granted)
            for name, number, scope, node, usage, finished, granted in rows
        ]

    def _grant(self, run_id: str, charges: Sequence[Charge]) -> None:
        if not charges:
            return
        with self._database.writing() as connection:
            connection.executemany(
                "UPDATE calls SET granted = ? WHERE run_id = ? AND name = ? AND number = ?",
                [(one.scope, run_id, one.name, one.number) for one in charges],
            )
