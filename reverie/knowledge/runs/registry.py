"""The registry of runs, and the leases under which one process at a time works on a run."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from reverie.errors import RunUnavailable
from reverie.knowledge.database import storable
from reverie.knowledge.run_ids import resolve_run_id
from reverie.knowledge.runs.process import Process, this_process
from reverie.knowledge.runs.run import RunRecord, RunStatus

if TYPE_CHECKING:
    import sqlite3

    from reverie.knowledge.database import Database

LEASE_SECONDS: Final = 30.0
"""After this long without a sign of life a run may be taken over, whoever holds it."""

_PREVIEW: Final = 200
_COLUMNS: Final = (
    "runs.run_id, question, context, status, durability, resumable, version, state_schema, "
    "created, updated, paused, strategy, answer, tokens, calls, error, result, form, parent, "
    "pruned, leases.pid, leases.born, leases.host, leases.expires"
)
_FROM: Final = "FROM runs LEFT JOIN leases ON leases.run_id = runs.run_id "


class RunRegistry:
    """Every run from its start. All methods may raise ``KnowledgeUnavailable``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def start(
        self,
        run_id: str,
        question: str,
        context: Mapping[str, Any],
        *,
        durability: str,
        version: str,
        state_schema: int,
        parent: str = "",
    ) -> str:
        """Note that a run begins, and take its lease. Returns the owner's token."""
        now = time.time()
        row = {
            "run_id": run_id,
            "question": storable(question),
            "context": _json(context),
            "status": "running",
            "durability": durability,
            "resumable": durability == "sync",
            "version": version,
            "state_schema": state_schema,
            "created": now,
            "updated": now,
            "parent": parent,
        }
        return await asyncio.to_thread(self._start, row)

    async def acquire(self, run_id: str) -> tuple[str, RunRecord]:
        """Take the lease of a run to work on. Returns the owner's token, and the run as it stood.

        The time since it was last worked on is added to its pauses. A run that has come to its end
        is left as it is, and the token is empty. Raises ``RunUnavailable`` when
        another living process holds it, and ``ConfigError`` for an unknown run.
        """
        return await asyncio.to_thread(self._acquire, run_id)

    async def beat(self, run_id: str, owner: str) -> bool:
        """Give a sign of life. False: the lease is another's by now."""
        return await asyncio.to_thread(self._beat, run_id, owner)

    async def release(
        self,
        run_id: str,
        owner: str,
        status: RunStatus,
        *,
        strategy: str = "",
        answer: str = "",
        tokens: int = 0,
        calls: int = 0,
        error: Mapping[str, str] | None = None,
        result: Mapping[str, Any] | None = None,
        form: Mapping[str, Any] | None = None,
    ) -> None:
        """Note how the work on a run ended, and give the lease back; nothing, without the lease."""
        values = {
            "status": status,
            "strategy": strategy,
            "answer": storable(answer[:_PREVIEW]),
            "tokens": tokens,
            "calls": calls,
            "error": _json(error),
            "result": _json(result),
            "form": _json(form),
            "updated": time.time(),
        }
        await asyncio.to_thread(self._release, run_id, owner, values)

    async def change(self, run_id: str, owner: str, context: Mapping[str, Any]) -> None:
        """Note other settings for a run that goes on; nothing, without the lease."""
        await asyncio.to_thread(self._change, run_id, owner, context)

    async def restart_clock(self, run_id: str) -> None:
        """Forget the pauses of a run whose clock has not begun yet."""
        await asyncio.to_thread(self._restart_clock, run_id)

    async def find(self, run_id: str) -> RunRecord:
        """A run by its id, or an unambiguous beginning of it of four characters or more. Raises
        ``ConfigError``.
        """
        return await asyncio.to_thread(self._find, run_id)

    async def recent(self, limit: int = 20) -> list[RunRecord]:
        """The latest runs, newest first."""
        return await asyncio.to_thread(self._recent, limit)

    async def prunable(self, keep: int) -> list[str]:
        """The runs beyond the ``keep`` latest ones that still have checkpoints, and that neither
        a process nor a person has to do with any more.
        """
        return await asyncio.to_thread(self._prunable, keep)

    async def pruned(self, run_ids: Sequence[str]) -> None:
        """Note that the checkpoints of these runs are deleted, and forget their calls."""
        await asyncio.to_thread(self._pruned, run_ids)

    # -- in a thread -----------------------------------------------------------------------

    def _start(self, row: Mapping[str, Any]) -> str:
        with self._database.writing() as connection:
            connection.execute(
                f"INSERT INTO runs ({', '.join(row)}) "  # noqa: S608  # our names
                f"VALUES ({', '.join(':' + name for name in row)})",
                row,
            )
            return _lease(connection, row["run_id"], row["created"])

    def _acquire(self, run_id: str) -> tuple[str, RunRecord]:
        now = time.time()
        with self._database.writing() as connection:
            run = _recorded(connection, resolve_run_id(connection, run_id))
            if run.worker:
                raise RunUnavailable(
                    f"the run {run.run_id} is being worked on by {run.worker}",
                    hint="wait for it, or end that process; after a crash, try again in "
                    f"{LEASE_SECONDS:.0f} s",
                )
            if run.status in ("finished", "abstained"):
                return "", run
            connection.execute(
                "UPDATE runs SET status = 'running', paused = paused + max(0, ? - updated), "
                "updated = ?, error = NULL, form = NULL WHERE run_id = ?",
                (now, now, run.run_id),
            )
            owner = _lease(connection, run.run_id, now)
            again = _recorded(connection, run.run_id)
        return owner, replace(run, paused=again.paused)

    def _change(self, run_id: str, owner: str, context: Mapping[str, Any]) -> None:
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE runs SET context = ? WHERE run_id = ? AND EXISTS "
                "(SELECT 1 FROM leases WHERE run_id = runs.run_id AND owner = ?)",
                (_json(context), run_id, owner),
            )

    def _restart_clock(self, run_id: str) -> None:
        with self._database.writing() as connection:
            connection.execute("UPDATE runs SET paused = 0 WHERE run_id = ?", (run_id,))

    def _beat(self, run_id: str, owner: str) -> bool:
        now = time.time()
        with self._database.writing() as connection:
            kept = connection.execute(
                "UPDATE leases SET expires = ? WHERE run_id = ? AND owner = ?",
                (now + LEASE_SECONDS, run_id, owner),
            ).rowcount
            if kept:
                connection.execute("UPDATE runs SET updated = ? WHERE run_id = ?", (now, run_id))
        return bool(kept)

    def _release(self, run_id: str, owner: str, values: Mapping[str, Any]) -> None:
        with self._database.writing() as connection:
            held = connection.execute(
                "DELETE FROM leases WHERE run_id = ? AND owner = ?", (run_id, owner)
            ).rowcount
            if held:
                columns = ", ".join(f"{name} = :{name}" for name in values)
                connection.execute(
                    f"UPDATE runs SET {columns} WHERE run_id = :run_id",  # noqa: S608  # our names
                    {**values, "run_id": run_id},
                )

    def _find(self, run_id: str) -> RunRecord:
        with self._database.reading() as connection:
            return _recorded(connection, resolve_run_id(connection, run_id))

    def _recent(self, limit: int) -> list[RunRecord]:
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} {_FROM} ORDER BY created DESC, runs.rowid DESC LIMIT ?",
                (max(limit, 0),),
            ).fetchall()
        return [_record(row) for row in rows]

    def _prunable(self, keep: int) -> list[str]:
        with self._database.reading() as connection:
            return _first(
                connection,
                "SELECT run_id FROM (SELECT runs.run_id, pruned FROM runs "
                "LEFT JOIN leases ON leases.run_id = runs.run_id "
                "WHERE status != 'waiting' AND coalesce(leases.expires, 0) < ? "
                "ORDER BY updated DESC LIMIT -1 OFFSET ?) WHERE pruned = 0",
                *(time.time(), keep),
            )

    def _pruned(self, run_ids: Sequence[str]) -> None:
        with self._database.writing() as connection:
            rows = [(run_id,) for run_id in run_ids]
            connection.executemany(
                "UPDATE runs SET pruned = 1, resumable = 0 WHERE run_id = ?", rows
            )
            connection.executemany("DELETE FROM calls WHERE run_id = ?", rows)


def _lease(connection: sqlite3.Connection, run_id: str, now: float) -> str:
    owner, me = uuid.uuid4().hex, this_process()
    connection.execute(
        "INSERT OR REPLACE INTO leases (run_id, owner, pid, born, host, expires) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (run_id, owner, me.pid, me.born, me.host, now + LEASE_SECONDS),
    )
    return owner


def _recorded(connection: sqlite3.Connection, run_id: str) -> RunRecord:
    row = connection.execute(f"SELECT {_COLUMNS} {_FROM} WHERE runs.run_id = ?", (run_id,))
    return _record(row.fetchone())


def _record(row: Sequence[Any]) -> RunRecord:
    *head, pid, born, host, expires = row
    worker = ""
    if pid is not None and expires > time.time():
        process = Process(pid, born, host)
        worker = "" if process.gone() else str(process)
    run = RunRecord(*head)
    # A process that ended without a word has left its run standing as running.
    standing = run.status == "running" and not worker
    return replace(
        run,
        context=json.loads(head[2]),
        status="interrupted" if standing else run.status,
        resumable=bool(run.resumable),
        error=_loaded(head[15]),
        result=_loaded(head[16]),
        form=_loaded(head[17]),
        pruned=bool(run.pruned),
        worker=worker,
    )


def _json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else storable(json.dumps(value, ensure_ascii=False))


def _loaded(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _first(connection: sqlite3.Connection, query: str, *values: Any) -> list[str]:
    return [str(row[0]) for row in connection.execute(query, values)]
