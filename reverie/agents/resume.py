"""Going on with a run: from its last checkpoint, with its own settings and its own books."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import ValidationError

from reverie.agents.result import Result
from reverie.agents.runs import STATE_SCHEMA, Runs, Work, thread
from reverie.errors import ConfigError, RunUnavailable, RunWaiting

if TYPE_CHECKING:
    from langgraph.types import StateSnapshot

    from reverie.graphs.budget import Entry
    from reverie.graphs.context import Context
    from reverie.graphs.resources import Resources
    from reverie.knowledge.runs import RunRecord

NO_REPLY: Any = object()
"""Going on without a person's reply. None would be one."""

_AS_BEFORE: Mapping[str, Any] = {}

_NEEDED = ("question", "run_id", "started", "ledger", "notices", "memories", "attempts")
"""What the state of a run has once it has begun."""


async def resumed(
    runs: Runs,
    run: RunRecord,
    resources: Resources,
    reply: Any = NO_REPLY,
    *,
    limits: Mapping[str, Any] = _AS_BEFORE,
) -> Work:
    """Take the lease of an unfinished run, and say how to go on with it. ``limits``, as a budget
    names them, are the run's from now on.

    Raises RunUnavailable when it cannot be, RunWaiting when it waits for a reply and there is none,
    and ConfigError for a reply to what nobody asked, or that is none, and for a limit on money
    where a price is missing.
    """
    # In a thread: checking a reply reads the definition of JSON schemas.
    await asyncio.to_thread(_require, run, reply)
    if limits:
        await asyncio.to_thread(_require_prices, context_of(run, resources), resources, limits)
    owner, run = await runs.store.registry.acquire(run.run_id)
    durability: Literal["sync", "exit"] = "sync" if run.resumable else "exit"
    context = context_of(run, resources).model_copy(update=dict(limits))
    work = Work(run.run_id, run.question, owner, context, None, durability)
    if not owner:
        return work  # another process has brought it to its end meanwhile
    try:
        if limits:
            await runs.store.registry.change(run.run_id, owner, {**run.context, **limits})
        await _prepare(runs, run, work, reply)
    except BaseException as error:
        if isinstance(error, RunUnavailable | ConfigError | RunWaiting):
            await runs.store.registry.release(
                *(run.run_id, owner, run.status),
                strategy=run.strategy,
                tokens=run.tokens,
                calls=run.calls,
                error=run.error,
                form=run.form,
            )
        else:
            await runs.abandon(work, error)
        raise
    return work


def context_of(run: RunRecord, resources: Resources) -> Context:
    """The settings that a run was begun with. Raises RunUnavailable."""
    from reverie.graphs.context import Context

    try:
        context = Context.model_validate(run.context)
    except ValidationError as error:
        raise _older(run, f"{error.error_count()} of its settings are unknown") from error
    return context.model_copy(update={"resources": resources.key, "paused": run.paused})


def stored_result(run: RunRecord) -> Result:
    """What a finished run came to. Raises RunUnavailable when its form is another version's."""
    try:
        return Result.model_validate(run.result)
    except ValidationError as error:
        raise RunUnavailable(
            f"the result of the run {run.run_id} was written by Reverie {run.version} and cannot "
            f"be read by this one: {error.error_count()} of its fields are unknown or missing",
            hint=f"read it with Reverie {run.version}, or ask the question anew",
        ) from error


def require_schema(run: RunRecord) -> None:
    """Raises RunUnavailable when another version of Reverie wrote the run's checkpoints."""
    if run.state_schema != STATE_SCHEMA:
        raise _older(
            run, f"their schema is number {run.state_schema}, this Reverie has {STATE_SCHEMA}"
        )
    if run.pruned:
        raise RunUnavailable(
            f"the checkpoints of the run {run.run_id} were deleted to make room",
            hint="ask the question anew; runs.keep says how many runs keep theirs",
        )


def _require(run: RunRecord, reply: Any) -> None:
    """Whether the run can be gone on with, by what the registry says."""
    require_schema(run)
    if run.status == "waiting":
        form: Mapping[str, Any] = run.form or {}
        if reply is NO_REPLY:
            raise RunWaiting.of(run.run_id, form)
        _check_reply(reply, form)
        return
    if reply is not NO_REPLY:
        raise ConfigError(
            f"the run {run.run_id} waits for no reply: it is {run.status}",
            hint=f"reverie resume {run.run_id} goes on with it without one",
        )
    if not run.resumable:
        raise RunUnavailable(
            f"the run {run.run_id} was made with runs.durability {run.durability}, which keeps "
            "nothing to resume from",
            hint="ask the question anew; with runs.durability sync a run can be resumed",
        )


def _require_prices(context: Context, resources: Resources, limits: Mapping[str, Any]) -> None:
    prices = resources.prices(context.model, context.preview)
    prices.require(limits.get("money"), prices.dearest)


def _check_reply(reply: Any, form: Mapping[str, Any]) -> None:
    import jsonschema

    try:
        jsonschema.validate(reply, form.get("reply_schema", {}))
    except jsonschema.ValidationError as error:
        where = ".".join(map(str, error.absolute_path)) or "the reply"
        raise ConfigError(
            f"that is no reply to {form.get('name', 'the form')}: {where}: {error.message}",
            hint="reverie runs RUN shows the schema of a reply",
        ) from error


async def _prepare(runs: Runs, run: RunRecord, work: Work, reply: Any) -> None:
    from langgraph.types import Command

    snapshot = await runs.graph.aget_state(cast("Any", thread(run.run_id)), subgraphs=False)
    if not snapshot.values and not snapshot.next:
        # It ended before its first checkpoint: nothing is known but the question.
        work.given = {"question": run.question, "run_id": run.run_id}
    elif reply is not NO_REPLY:
        if not snapshot.interrupts:
            raise RunUnavailable(
                f"the run {run.run_id} asks nothing any more", hint="reverie resume goes on with it"
            )
        work.given = Command(resume={snapshot.interrupts[0].id: reply})
    _require_keys(run, snapshot)
    if run.status == "failed" and snapshot.next == ("answer",):
        # Every attempt has failed. The last one is made again, instead of failing once more.
        snapshot = await _before_selection(runs, run)
        work.checkpoint = snapshot.config["configurable"]["checkpoint_id"]
    if "started" not in snapshot.values:
        await runs.store.registry.restart_clock(run.run_id)
        work.context = work.context.model_copy(update={"paused": 0.0})
    lost = await _lost(runs, run, snapshot, work.context, at_checkpoint=bool(work.checkpoint))
    work.context = work.context.model_copy(update={"lost": tuple(lost)})


async def _before_selection(runs: Runs, run: RunRecord) -> StateSnapshot:
    config = cast("Any", thread(run.run_id))
    async for snapshot in runs.graph.aget_state_history(config):
        if snapshot.next == ("select",):
            return snapshot
    raise RunUnavailable(
        f"the run {run.run_id} has no step to go back to", hint="ask the question anew"
    )


def _require_keys(run: RunRecord, snapshot: StateSnapshot) -> None:
    begun = "started" in snapshot.values or snapshot.next not in ((), ("recall",), ("__start__",))
    missing = [key for key in _NEEDED if begun and key not in snapshot.values]
    if missing:
        raise _older(run, f"they lack {', '.join(missing)}")


def _older(run: RunRecord, why: str) -> RunUnavailable:
    return RunUnavailable(
        f"the checkpoints of the run {run.run_id} were written by Reverie {run.version} and cannot "
        f"be read by this one: {why}",
        hint=f"resume it with Reverie {run.version}, or ask the question anew",
    )


async def _lost(
    runs: Runs,
    run: RunRecord,
    snapshot: StateSnapshot,
    context: Context,
    *,
    at_checkpoint: bool,
) -> list[Entry]:
    """What the calls cost whose nodes did not come to their end, granted once and for all."""
    from reverie.graphs.budget import Ledger, ledger_of, merge_entries
    from reverie.graphs.lost import grants, lost_calls
    from reverie.knowledge.runs import Charge

    calls = await runs.store.journal.calls(run.run_id)
    if not calls:
        return []
    entries: list[Entry] = list(snapshot.values.get("ledger") or ())
    if not at_checkpoint:
        entries = merge_entries(entries, await _committed(runs, run, snapshot))
    lost = lost_calls(calls, entries)
    started = snapshot.values.get("started") or run.created
    ledger: Ledger = ledger_of({"started": started, "ledger": entries}, context)
    granted = grants(lost, ledger)
    charges = [
        Charge(call.name, call.number, entry["scope"])
        for call, entry in zip(lost, granted, strict=True)
        if call.granted is None
    ]
    await runs.store.journal.grant(run.run_id, charges)
    return granted


async def _committed(runs: Runs, run: RunRecord, snapshot: StateSnapshot) -> list[Entry]:
    """The entries of what is finished within a step that is not: branches of a fan-out, and nodes
    of a strategy whose subgraph is on its way.
    """
    at = snapshot.config["configurable"].get("checkpoint_id")
    inside = tuple(f"{task.name}:{task.id}" for task in snapshot.tasks)
    entries: list[Entry] = []
    async for found in runs.checkpoints.saver.alist(cast("Any", thread(run.run_id))):
        where = found.config["configurable"]
        here = where["checkpoint_id"] == at and not where.get("checkpoint_ns")
        if not here and not where.get("checkpoint_ns", "").startswith(inside or ("\0",)):
            continue
        written = [value for _, key, value in found.pending_writes or () if key == "ledger"]
        for value in (found.checkpoint["channel_values"].get("ledger"), *written):
            if isinstance(value, list):
                entries = _merged(entries, value)
    return entries


def _merged(known: list[Entry], more: list[Any]) -> list[Entry]:
    """Both, each once, leaving out what is no entry."""
    from reverie.graphs.budget import merge_entries

    found = [cast("Entry", one) for one in more if isinstance(one, dict) and "id" in one]
    return merge_entries(known, found)
