"""The reasoner: what an application embeds to ask questions and to teach from outcomes."""

from __future__ import annotations

import secrets
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from importlib.metadata import version
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from anyio.from_thread import BlockingPortal, start_blocking_portal

from reverie.agents.checkpoints import open_checkpointer
from reverie.agents.result import Result
from reverie.errors import ConfigError, ReverieError
from reverie.settings import BudgetSettings as Budget
from reverie.settings import Settings, load_settings

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from reverie.graphs.context import Context
    from reverie.graphs.events import Event
    from reverie.graphs.resources import Resources
    from reverie.graphs.state import ReasonState
    from reverie.knowledge.strategies import RecordedRun
    from reverie.models.embedded.checkpoint import Report

_VERSION = version("reverie")  # here, not in a run: it reads files


class Reasoner:
    """Answers questions with one set of settings.

    Models and stores are loaded at the first question and kept until ``close``. Asynchronous
    methods begin with ``a`` and run in the caller's event loop; the others run in a loop of the
    reasoner's own, in a thread. Usable from several tasks and threads at once.

    Every method raises ReverieError's children: ConfigError, ModelUnavailable, ModelRejected,
    ContextOverflow, BudgetExceeded, KnowledgeUnavailable, OutputInvalid.
    """

    def __init__(self, settings: Settings | None = None, *, report: Report | None = None) -> None:
        """``settings`` default to those of the environment; ``report`` hears of downloads and of
        whatever else takes more than two seconds, from the threads that do it.
        """
        self.settings = settings or load_settings().settings
        self._report = report
        self._resources: Resources | None = None
        self._starting = threading.Lock()
        self._portal: BlockingPortal | None = None
        self._portal_context: AbstractContextManager[BlockingPortal] | None = None

    # -- asking ----------------------------------------------------------------------------

    async def astream(
        self,
        question: str,
        *,
        strategy: str | None = None,
        budget: Budget | None = None,
        seed: int | None = None,
        preview: bool | None = None,
    ) -> AsyncGenerator[Event | Result, None]:
        """The run's events as they happen, then its Result. Closing the iterator ends the run."""
        from reverie.graphs.question import clean_question
        from reverie.graphs.reason import RECURSION_LIMIT, build
        from reverie.graphs.recall import new_run_id

        question = clean_question(question)
        context = self._context(strategy, budget, seed, preview)
        resources = self._loaded()
        yield {
            "type": "run_started",
            "run_id": (run_id := new_run_id()),
            "question": question,
            "model": context.model,
        }
        await resources.prepare(context.model, context.preview)
        state: ReasonState | None = None
        async with open_checkpointer(self.settings.home) as saver:
            graph = build().compile(checkpointer=saver, name="reason")
            parts: AsyncIterator[Any] = graph.astream(
                {"question": question, "run_id": run_id},
                {"configurable": {"thread_id": run_id}, "recursion_limit": RECURSION_LIMIT},
                context=context,
                stream_mode=["custom", "values"],
                subgraphs=True,
                durability="sync",
                version="v2",
            )
            # Closed before the checkpointer: a run that is left must not write to it any more.
            async with aclosing(cast("AsyncGenerator[Any]", parts)):
                async for part in parts:
                    if part["type"] == "custom":
                        yield part["data"]
                    elif part["type"] == "values" and not part["ns"]:
                        state = part["data"]
        if state is not None:
            yield self._result(state, context)

    async def aask(
        self,
        question: str,
        *,
        strategy: str | None = None,
        budget: Budget | None = None,
        seed: int | None = None,
        preview: bool | None = None,
    ) -> Result:
        """Answer a question. ``strategy`` overrides the learned choice for this run, ``budget`` the
        limits of the settings, and ``preview`` whether the preview backend is asked first.
        """
        async with aclosing(
            self.astream(question, strategy=strategy, budget=budget, seed=seed, preview=preview)
        ) as items:
            async for item in items:
                if isinstance(item, Result):
                    return item
        raise ReverieError("the run ended without a result", hint="this is a bug in Reverie")

    def ask(
        self,
        question: str,
        *,
        strategy: str | None = None,
        budget: Budget | None = None,
        seed: int | None = None,
        preview: bool | None = None,
    ) -> Result:
        """``aask``, blocking."""

        async def call() -> Result:
            return await self.aask(
                question, strategy=strategy, budget=budget, seed=seed, preview=preview
            )

        return self._loop().call(call)

    # -- learning --------------------------------------------------------------------------

    async def afeedback(self, run_id: str, score: float) -> RecordedRun:
        """Score a run from 0 (wrong) to 1 (right). Scoring again replaces the score.

        Scores are what moves the choice of strategies. An unambiguous beginning of the run's id
        will do.
        """
        return await (await self._loaded().memory()).score(run_id, score)

    def feedback(self, run_id: str, score: float) -> RecordedRun:
        """``afeedback``, blocking."""
        return self._loop().call(self.afeedback, run_id, score)

    # -- lifetime --------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Close the stores; the model goes with its last user. A second call does nothing."""
        resources, self._resources = self._resources, None
        if resources is not None:
            await resources.close()

    def close(self) -> None:
        """``aclose``, blocking; also ends the reasoner's own loop."""
        try:
            self._loop().call(self.aclose)
        finally:
            if self._portal_context is not None:
                self._portal_context.__exit__(None, None, None)
            self._portal = self._portal_context = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # -- inside ----------------------------------------------------------------------------

    def _context(
        self,
        strategy: str | None,
        budget: Budget | None,
        seed: int | None,
        preview: bool | None,
    ) -> Context:
        from reverie.graphs.context import MOST_SEED, Context
        from reverie.graphs.strategies import require_strategy

        if seed is None:
            seed = self.settings.reason.seed
        if seed is not None and not 0 <= seed <= MOST_SEED:
            raise ConfigError(
                f"a seed is a whole number from 0 to {MOST_SEED}, not {seed}",
                hint="leave it out for a fresh one",
            )
        context = Context.of(
            self.settings,
            resources=self._loaded().key,
            seed=secrets.randbelow(2**32) if seed is None else seed,
        )
        context = context.model_copy(update={"preview": preview})
        if strategy is not None:
            context = context.model_copy(update={"strategy": strategy})
        if budget is not None:
            context = context.model_copy(update=budget.model_dump())
        for name in (*context.strategies, *({context.strategy} - {"auto"})):
            require_strategy(name)
        return context

    def _loaded(self) -> Resources:
        from reverie.graphs.resources import Resources

        with self._starting:
            if self._resources is None:
                self._resources = Resources(self.settings, report=self._report)
            return self._resources

    def _loop(self) -> BlockingPortal:
        with self._starting:
            if self._portal is None:
                self._portal_context = start_blocking_portal()
                self._portal = self._portal_context.__enter__()
            return self._portal

    def _result(self, state: ReasonState, context: Context) -> Result:
        from reverie.graphs.budget import ledger_of

        return Result.of(
            state["answer"],
            version=_VERSION,
            run_id=state["run_id"],
            question=state["question"],
            choice=state["choice"],
            attempts=state["attempts"],
            cost=ledger_of(state, context).cost(),
            model=context.model,
            seed=context.seed,
            notices=state["notices"],
        )
