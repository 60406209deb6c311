"""Looking back on a run, and beginning another one from one of its checkpoints."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from reverie.agents.resume import context_of, require_schema
from reverie.agents.runs import Runs, Work, thread
from reverie.errors import ConfigError, RunUnavailable

if TYPE_CHECKING:
    from langgraph.types import StateSnapshot

    from reverie.graphs.context import Context
    from reverie.graphs.resources import Resources
    from reverie.knowledge.runs import RunRecord

_LEAST = 6
"""Characters of a checkpoint's id that name it; ids begin with the time, so the end is compared."""


@dataclass(frozen=True, slots=True)
class RunStep:
    """One checkpoint of a run: what had been done by then, and what came next."""

    checkpoint: str
    at: float
    """Unix time in seconds."""
    done: tuple[str, ...]
    """The nodes that ran since the checkpoint before."""
    next: tuple[str, ...]
    """The nodes that ran then; empty: it was the end."""
    tokens: int
    calls: int
    """Spent by then."""
    left_tokens: int


async def history(runs: Runs, run: RunRecord, resources: Resources) -> list[RunStep]:
    """The checkpoints of a run, oldest first. Raises RunUnavailable."""
    from reverie.graphs.budget import ledger_of, total_tokens

    require_schema(run)
    context = context_of(run, resources)
    steps: list[RunStep] = []
    for snapshot in await _snapshots(runs, run):
        values = snapshot.values
        state: Any = {"started": run.created, "ledger": (), **values}
        ledger = ledger_of(state, context)
        steps.append(
            RunStep(
                checkpoint=snapshot.config["configurable"]["checkpoint_id"],
                at=_at(snapshot),
                done=tuple(dict.fromkeys(steps[-1].next)) if steps else (),
                next=tuple(dict.fromkeys(snapshot.next)),
                tokens=total_tokens(ledger.spent),
                calls=ledger.spent["calls"],
                left_tokens=ledger.left()["tokens"],
            )
        )
    return steps


async def forked(
    runs: Runs,
    run: RunRecord,
    run_id: str,
    resources: Resources,
    *,
    from_: str,
    changes: dict[str, Any],
    version: str,
) -> Work:
    """Begin the run ``run_id`` where ``run`` was before the node ``from_``, the first time, or at
    the checkpoint ``from_`` (its id or the end of it), with the settings that ``changes`` names.

    What was spent by then counts as spent, and as much time has passed. Raises ConfigError and
    RunUnavailable.
    """
    from langgraph.types import Send

    require_schema(run)
    snapshots = await _snapshots(runs, run)
    if not snapshots:
        raise RunUnavailable(
            f"the run {run.run_id} has no checkpoints",
            hint="runs made with runs.durability exit keep only their end",
        )
    snapshot = _named(snapshots, from_, run)
    config = cast("Any", snapshot.config)
    found = await runs.checkpoints.saver.aget_tuple(config)
    assert found is not None, "it was just listed"  # noqa: S101  # a programming error
    checkpoint = copy.deepcopy(found.checkpoint)
    values = checkpoint["channel_values"]
    # What is sent to a node carries the run's id with it, as the state does.
    for sent in values.get("__pregel_tasks", ()):
        if isinstance(sent, Send) and isinstance(sent.arg, dict) and "run_id" in sent.arg:
            sent.arg["run_id"] = run_id
    if "run_id" in values:
        values["run_id"] = run_id
    context = _changed(context_of(run, resources), snapshot, run, changes)
    work = await runs.begin(
        run_id,
        run.question,
        context,
        version=version,
        parent=f"{run.run_id}@{checkpoint['id']}",
    )
    try:
        there = thread(run_id)
        there["configurable"]["checkpoint_ns"] = ""
        await runs.checkpoints.saver.aput(
            cast("Any", there),
            checkpoint,
            {**found.metadata, "source": "fork"},
            checkpoint["channel_versions"],
        )
        if snapshot.next != ("__start__",):
            work.given = None
    except BaseException as error:
        await runs.abandon(work, error)
        raise
    return work


def _changed(
    context: Context, snapshot: StateSnapshot, run: RunRecord, changes: dict[str, Any]
) -> Context:
    """The settings of the new run; its clock stands where that of the old one stood."""
    started = snapshot.values.get("started")
    paused = 0.0
    if started is not None:
        elapsed = max(0.0, _at(snapshot) - started - run.paused)
        paused = max(0.0, time.time() - started - elapsed)
    return context.model_copy(update={**changes, "paused": paused, "lost": ()})


async def _snapshots(runs: Runs, run: RunRecord) -> list[StateSnapshot]:
    config = cast("Any", thread(run.run_id))
    return [found async for found in runs.graph.aget_state_history(config)][::-1]


def _named(snapshots: list[StateSnapshot], from_: str, run: RunRecord) -> StateSnapshot:
    wanted = from_.strip()
    for snapshot in snapshots:
        if wanted and wanted in snapshot.next:
            return snapshot
    ids = [snapshot.config["configurable"]["checkpoint_id"] for snapshot in snapshots]
    matching = [
        snapshot
        for snapshot, checkpoint in zip(snapshots, ids, strict=True)
        if checkpoint == wanted or (len(wanted) >= _LEAST and checkpoint.endswith(wanted))
    ]
    if len(matching) == 1:
        if not matching[0].next:
            raise ConfigError(
                f"nothing comes after the checkpoint {wanted}: it is the end of the run",
                hint="name an earlier one",
            )
        return matching[0]
    nodes = list(dict.fromkeys(node for snapshot in snapshots for node in snapshot.next))
    if not nodes:
        raise RunUnavailable(
            f"the run {run.run_id} has no step to begin from: only its end was stored",
            hint="ask the question anew; with runs.durability sync every step is stored",
        )
    raise ConfigError(
        f"the run {run.run_id} has no node or checkpoint {wanted!r}",
        hint=f"its nodes: {', '.join(nodes)}; reverie runs {run.run_id} shows its checkpoints",
    )


def _at(snapshot: StateSnapshot) -> float:
    return datetime.fromisoformat(snapshot.created_at).timestamp() if snapshot.created_at else 0.0
