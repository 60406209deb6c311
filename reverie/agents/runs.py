"""A reasoner's runs: begun, continued, answered by a person, looked back on, begun anew.

Every run is a thread of the reason graph, checkpointed under its id, and a row of the registry. One
process works on a run at a time, under a lease that it renews while it works.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from reverie.agents.result import Result
from reverie.errors import KnowledgeUnavailable, ReverieError, RunUnavailable

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

    from reverie.agents.checkpoints import Checkpoints
    from reverie.graphs.context import Context
    from reverie.graphs.events import Event
    from reverie.graphs.records import Form
    from reverie.graphs.resources import Resources
    from reverie.graphs.state import ReasonState
    from reverie.knowledge.runs import RunStore
    from reverie.settings import Settings

STATE_SCHEMA: Final = 2
"""The number of the graphs' state schema. Raise it when a checkpoint of the last one would no
longer do: a key was renamed, or means something else.
"""

_BEAT_SECONDS: Final = 2.0
_PRUNED_AT_ONCE: Final = 20


@dataclass(slots=True)
class Work:
    """What this process does on one run, from taking its lease to giving it back."""

    run_id: str
    question: str
    owner: str
    context: Context
    given: Any
    """The graph's input: a question, a person's reply, or None to go on."""
    durability: Literal["sync", "exit"]
    checkpoint: str = ""
    """Go on from this checkpoint; empty: from the last one."""
    taken_over: bool = False
    waiting: Form | None = None
    state: ReasonState | None = field(default=None, repr=False)

    @property
    def config(self) -> dict[str, Any]:
        """What LangGraph wants to know."""
        from reverie.graphs.reason import RECURSION_LIMIT

        return {**thread(self.run_id, self.checkpoint), "recursion_limit": RECURSION_LIMIT}


class Runs:
    """The open stores and the compiled graph of one reasoner. ``close`` it."""

    def __init__(
        self,
        settings: Settings,
        store: RunStore,
        checkpoints: Checkpoints,
        graph: CompiledStateGraph[Any, Context, Any, Any],
    ) -> None:
        self.settings = settings
        self.store = store
        self.checkpoints = checkpoints
        self.graph = graph

    @property
    def notices(self) -> list[str]:
        """What a person should know of opening the stores."""
        return [*self.store.notices, *self.checkpoints.notices]

    async def begin(
        self, run_id: str, question: str, context: Context, *, version: str, parent: str = ""
    ) -> Work:
        """Note a new run, and take its lease."""
        durability = self.settings.runs.durability
        owner = await self.store.registry.start(
            run_id,
            question,
            context.model_dump(mode="json"),
            durability=durability,
            version=version,
            state_schema=STATE_SCHEMA,
            parent=parent,
        )
        given = {"question": question, "run_id": run_id}
        return Work(run_id, question, owner, context, given, durability)

    async def work(
        self, work: Work, resources: Resources, *, version: str
    ) -> AsyncGenerator[Event | Result, None]:
        """The run's events, then its result, or the event that it waits for a person. However it
        ends, the registry says how, and the lease is given back.
        """
        journal = self.store.journal
        journal.work(work.run_id, work.owner)
        resources.journal, resources.registry = journal, self.store.registry
        beating = asyncio.create_task(self._beat(work))
        try:
            yield {
                "type": "run_started",
                "run_id": work.run_id,
                "question": work.question,
                "model": work.context.model,
            }
            for notice in self.notices:
                yield {"type": "notice", "text": notice}
            await resources.prepare(work.context.model, work.context.preview)
            async with aclosing(self._parts(work)) as events:
                async for event in events:
                    yield event
            if work.waiting is not None:
                await self._release(work, "waiting", form=work.waiting)
                return
            result = _result_of(work, version, self.notices)
            await self._finish(work, result)
        except BaseException as error:
            await self.abandon(work, error)
            raise
        finally:
            journal.rest(work.run_id)
            beating.cancel()
        yield result

    async def abandon(self, work: Work, error: BaseException) -> None:
        """Give the lease of a run back that ``error`` ended, if this process still has it."""
        # The error itself is worth more than that it could not be recorded.
        with contextlib.suppress(KnowledgeUnavailable):
            if isinstance(error, Exception):
                await self._fail(work, error)
            else:
                await self._release(work, "interrupted")

    async def close(self) -> None:
        """Close the stores."""
        await asyncio.to_thread(self.checkpoints.close)
        await self.store.close()

    # -- inside ----------------------------------------------------------------------------

    async def _parts(self, work: Work) -> AsyncGenerator[Event, None]:
        parts: AsyncIterator[Any] = self.graph.astream(
            work.given,
            cast("Any", work.config),
            context=work.context,
            stream_mode=["custom", "values"],
            subgraphs=True,
            durability=work.durability,
            version="v2",
        )
        async with aclosing(cast("AsyncGenerator[Any]", parts)):
            async for part in parts:
                if work.taken_over:
                    raise RunUnavailable(
                        f"the run {work.run_id} was taken over by another process",
                        hint="reverie runs shows what became of it",
                    )
                if part["type"] == "custom":
                    if part["data"]["type"] == "waiting":
                        work.waiting = part["data"]["form"]
                    yield part["data"]
                elif not part["ns"]:
                    work.state = part["data"]
        form = await self._asked(work)
        if form is not None and form != work.waiting:
            yield {"type": "waiting", "run_id": work.run_id, "form": form}
        work.waiting = form

    async def _asked(self, work: Work) -> Form | None:
        """What the run asks a person, if that is why it stopped."""
        if work.state is not None and "answer" in work.state:
            return None
        snapshot = await self.graph.aget_state(cast("Any", thread(work.run_id)))
        return snapshot.interrupts[0].value if snapshot.interrupts else None

    async def _beat(self, work: Work) -> None:
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            # A disk that is full for a moment does not end the run; its next step will say so.
            with contextlib.suppress(KnowledgeUnavailable):
                if not await self.store.registry.beat(work.run_id, work.owner):
                    work.taken_over = True
                    return

    async def _finish(self, work: Work, result: Result) -> None:
        status: Literal["finished", "abstained"] = (
            "finished" if result.status == "answered" else "abstained"
        )
        await self._release(
            work,
            status,
            strategy=result.strategy,
            answer=result.answer,
            result=result.model_dump(mode="json"),
        )
        await self._prune()

    async def _fail(self, work: Work, error: Exception) -> None:
        document = (
            error.document()
            if isinstance(error, ReverieError)
            else {"type": type(error).__name__, "message": str(error), "hint": ""}
        )
        await self._release(work, "failed", error=document)
        with contextlib.suppress(ReverieError):
            await _remember_failure(work)

    async def _release(self, work: Work, status: Any, **values: Any) -> None:
        state: Mapping[str, Any] = work.state or {}
        choice: Mapping[str, Any] = state.get("choice") or {}
        await self.store.registry.release(
            work.run_id,
            work.owner,
            status,
            **{"strategy": choice.get("strategy", ""), **_spent(work), **values},
        )

    async def _prune(self) -> None:
        """Delete the checkpoints of runs that are too many to keep."""
        registry = self.store.registry
        too_many = (await registry.prunable(self.settings.runs.keep))[:_PRUNED_AT_ONCE]
        for run_id in too_many:
            await self.checkpoints.saver.adelete_thread(run_id)
        if too_many:
            await registry.pruned(too_many)


class OpenRuns:
    """Opens the runs of a reasoner at their first use, in whichever thread or loop that is."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opening = threading.Lock()
        self._runs: Runs | None = None

    async def get(self) -> Runs:
        """The runs. Raises KnowledgeUnavailable and ConfigError."""
        if self._runs is not None:
            return self._runs
        return await asyncio.to_thread(self._open)

    async def close(self) -> None:
        runs, self._runs = self._runs, None
        if runs is not None:
            await runs.close()

    def _open(self) -> Runs:
        from reverie.agents.checkpoints import open_checkpoints
        from reverie.graphs.reason import NAME, build
        from reverie.knowledge.runs import open_runs

        with self._opening:
            opened = self._runs
            if opened is None:
                checkpoints = open_checkpoints(self._settings)
                try:
                    graph = build().compile(checkpointer=checkpoints.saver, name=NAME)
                    store = open_runs(self._settings.home)
                except BaseException:
                    checkpoints.close()
                    raise
                opened = Runs(self._settings, store, checkpoints, graph)
                self._runs = opened
            return opened


def thread(run_id: str, checkpoint: str = "") -> dict[str, Any]:
    """LangGraph's configuration for a run, at one of its checkpoints or at the last."""
    at = {"checkpoint_id": checkpoint} if checkpoint else {}
    return {"configurable": {"thread_id": run_id, **at}}


async def _remember_failure(work: Work) -> None:
    """Let the strategy memory know what was tried in vain."""
    from reverie.graphs.learn import record_run
    from reverie.graphs.resources import find_resources

    if work.context.remember and work.state is not None and work.state.get("attempts"):
        resources = find_resources(work.context.resources)
        await record_run(cast("Any", work.state), resources, work.context, status="failed")


def _spent(work: Work) -> dict[str, int]:
    from reverie.graphs.budget import ledger_of, total_tokens

    if work.state is None or "started" not in work.state:
        return {}
    spent = ledger_of(work.state, work.context).spent
    return {"tokens": total_tokens(spent), "calls": spent["calls"]}


def _result_of(work: Work, version: str, notices: list[str]) -> Result:
    from reverie.graphs.analytics import analytics_of
    from reverie.graphs.budget import ledger_of

    state, context = work.state, work.context
    if state is None or "answer" not in state:
        raise ReverieError("the run ended without a result", hint="this is a bug in Reverie")
    return Result.of(
        state["answer"],
        version=version,
        run_id=state["run_id"],
        question=state["question"],
        choice=state["choice"],
        attempts=state["attempts"],
        cost=ledger_of(state, context).cost(),
        analytics=analytics_of(ledger_of(state, context).entries),
        model=context.model,
        seed=context.seed,
        notices=list(dict.fromkeys((*notices, *state["notices"]))),
    )
