"""The reasoner: what an application embeds to ask questions and to teach from outcomes."""

from __future__ import annotations

import asyncio
import functools
import secrets
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from anyio.from_thread import BlockingPortal, start_blocking_portal

from reverie.agents.past_runs import VERSION, PastRuns, last_of
from reverie.agents.result import Result, T
from reverie.errors import ConfigError
from reverie.settings import BudgetSettings as Budget
from reverie.settings import Settings, load_settings

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from opentelemetry.trace import TracerProvider

    from reverie.agents.output import Output
    from reverie.agents.runs import OpenRuns, Runs, Work
    from reverie.graphs.context import Context
    from reverie.graphs.events import Event
    from reverie.graphs.resources import Resources, Verifier
    from reverie.knowledge.strategies import RecordedRun
    from reverie.models.embedded.checkpoint import Report

_VERIFIER = "verifier"
"""What the reasoner's own verifier is called in contexts."""


class Reasoner(PastRuns):
    """Answers questions with one set of settings.

    Models and stores are loaded at the first question and kept until ``close``. Asynchronous
    methods begin with ``a`` and run in the caller's event loop; the others run in a loop of the
    reasoner's own, in a thread. Usable from several tasks and threads at once.

    Every method raises ReverieError's children: ConfigError, ModelUnavailable, ModelRejected,
    ContextOverflow, BudgetExceeded, KnowledgeUnavailable, OutputInvalid, and, about runs that wait
    or cannot be gone on with, RunWaiting and RunUnavailable.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        report: Report | None = None,
        verifier: Verifier | None = None,
        verifiers: Mapping[str, Verifier] | None = None,
        tools: Iterable[Any] = (),
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        """``settings`` default to those of the environment; ``report`` hears of downloads and of
        whatever else takes more than two seconds, from the threads that do it.

        ``verifier`` judges every answer, and ``verifiers`` are those that a question may name.
        ``tools`` (typed functions, LangChain tools) may be called beside those of the settings.
        Spans go to ``tracer_provider``, else to where the settings say.
        """
        self.settings = settings or load_settings().settings
        self._report = report
        self._verifiers = dict(verifiers or {})
        if verifier is not None:
            self._verifiers[_VERIFIER] = verifier
        self._tools = tuple(tools)
        self._tracer_provider = tracer_provider
        self._resources: Resources | None = None
        self._open_runs: OpenRuns | None = None
        self._starting = threading.Lock()
        self._portal: BlockingPortal | None = None
        self._portal_context: AbstractContextManager[BlockingPortal] | None = None

    # -- asking ----------------------------------------------------------------------------

    async def astream(
        self,
        question: str,
        *,
        strategy: str | None = None,
        sop: str | None = None,
        budget: Budget | None = None,
        seed: int | None = None,
        preview: bool | None = None,
        verifier: str | Verifier | None = None,
        output: Output[T] | None = None,
    ) -> AsyncGenerator[Event | Result[T], None]:
        """The run's events as they happen, then its Result; or, last, the event that it waits for
        a person. Closing the iterator ends the run; ``resume`` goes on with it.
        """
        from reverie.agents.output import form_of
        from reverie.graphs.question import clean_question
        from reverie.graphs.recall import new_run_id

        question = clean_question(question)
        form = form_of(output)
        # In a thread: the first time, strategies and tools are imported.
        context = await asyncio.to_thread(self._context, strategy, budget, seed, preview, verifier)
        if sop is not None:
            context = context.model_copy(update={"sop": sop, "strategy": strategy or "sop"})
        if form is not None:
            context = context.model_copy(update={"output_schema": form.schema})
        context = await asyncio.to_thread(self._priced, context)
        runs = await self._runs()
        work = await runs.begin(new_run_id(), question, context, version=VERSION)
        async with aclosing(self._stream(runs, work)) as items:
            async for item in items:
                yield form.fill(item) if form and isinstance(item, Result) else item

    async def aask(
        self,
        question: str,
        *,
        strategy: str | None = None,
        sop: str | None = None,
        budget: Budget | None = None,
        seed: int | None = None,
        preview: bool | None = None,
        verifier: str | Verifier | None = None,
        output: Output[T] | None = None,
    ) -> Result[T]:
        """Answer a question. ``strategy`` overrides the learned choice for this run, ``sop`` names
        the procedure to follow (NAME or NAME@VERSION), ``budget`` the limits, ``preview`` says
        whether the preview backend is asked first, and ``verifier``, a function or the name of one,
        who judges the answers.

        ``output`` is the form to bring the answer into: a pydantic model, any type that pydantic
        knows, or a JSON schema. The result's ``output`` is an object of that type, or the document.

        Raises RunWaiting, with the form, when a person is asked: ``reply`` goes on.
        """
        return await last_of(
            self.astream(
                question,
                strategy=strategy,
                sop=sop,
                budget=budget,
                seed=seed,
                preview=preview,
                verifier=verifier,
                output=output,
            )
        )

    def ask(
        self,
        question: str,
        *,
        strategy: str | None = None,
        sop: str | None = None,
        budget: Budget | None = None,
        seed: int | None = None,
        preview: bool | None = None,
        verifier: str | Verifier | None = None,
        output: Output[T] | None = None,
    ) -> Result[T]:
        """``aask``, blocking."""
        call = functools.partial(
            self.aask,
            question,
            strategy=strategy,
            sop=sop,
            budget=budget,
            seed=seed,
            preview=preview,
            verifier=verifier,
            output=output,
        )
        return self._loop().call(call)

    # -- learning --------------------------------------------------------------------------

    async def afeedback(self, run_id: str, score: float) -> RecordedRun:
        """Score a run from 0 (wrong) to 1 (right). Scoring again replaces the score.

        Scores are what moves the choice of strategies. An unambiguous beginning of the run's id
        will do. Once there are enough, they calibrate the confidence of the run's model. From 0.9
        on what the answer was dreamed from becomes a fact, and below a hypothesis again.
        """
        from reverie.graphs.feedback import score_run

        return (await score_run(self._loaded(), run_id, score)).run

    def feedback(self, run_id: str, score: float) -> RecordedRun:
        """``afeedback``, blocking."""
        return self._loop().call(self.afeedback, run_id, score)

    # -- lifetime --------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Close the stores; the model goes with its last user. A second call does nothing."""
        runs, self._open_runs = self._open_runs, None
        resources, self._resources = self._resources, None
        if runs is not None:
            await runs.close()
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

    async def _stream(self, runs: Runs, work: Work) -> AsyncGenerator[Event | Result, None]:
        from reverie.agents.recording import recorded

        items = recorded(
            runs.work(work, self._equipped(), version=VERSION),
            self.settings,
            work.run_id,
            version=VERSION,
            provider=self._tracer_provider,
        )
        try:
            async with aclosing(items):
                async for item in items:
                    yield item
        except BaseException as error:
            # What failed before the work began still has the run's lease.
            await runs.abandon(work, error)
            raise

    def _context(
        self,
        strategy: str | None,
        budget: Budget | None,
        seed: int | None,
        preview: bool | None,
        verifier: str | Verifier | None = None,
    ) -> Context:
        from reverie.graphs.context import Context
        from reverie.graphs.strategies import require_strategy

        resources = self._equipped()
        context = Context.of(self.settings, resources=resources.key, seed=self._seed(seed))
        changes: dict[str, Any] = {"preview": preview}
        if self._tools:
            tools = (resources.add_tool(tool) for tool in self._tools)
            changes["tools"] = tuple(dict.fromkeys((*context.tools, *tools)))
        if verifier is None and _VERIFIER in self._verifiers:
            verifier = _VERIFIER
        if verifier is not None:
            changes["verifier"] = self._verifier(verifier, resources)
        if strategy is not None:
            changes["strategy"] = strategy
        if budget is not None:
            changes |= budget.model_dump()
        context = context.model_copy(update=changes)
        for name in (*context.strategies, *({context.strategy} - {"auto"})):
            require_strategy(name)
        return context

    def _priced(self, context: Context) -> Context:
        """``context``, with the price that money is set aside by. Raises ConfigError where money is
        limited and a price is missing.
        """
        prices = self._equipped().prices(context.model, context.preview)
        prices.require(context.money, prices.dearest)
        return context.model_copy(update={"price": prices.dearest or None})

    def _seed(self, seed: int | None) -> int:
        from reverie.graphs.context import MOST_SEED

        if seed is None:
            seed = self.settings.reason.seed
        if seed is None:
            return secrets.randbelow(MOST_SEED + 1)
        if not 0 <= seed <= MOST_SEED:
            raise ConfigError(
                f"a seed is a whole number from 0 to {MOST_SEED}, not {seed}",
                hint="leave it out for a fresh one",
            )
        return seed

    def _verifier(self, verifier: str | Callable[..., Any], resources: Resources) -> str:
        """The name that a run may call the verifier by. Raises ConfigError for an unknown one."""
        if isinstance(verifier, str):
            resources.verifier(verifier)
            return verifier
        name = getattr(verifier, "__qualname__", type(verifier).__qualname__)
        resources.add_verifier(name, verifier)
        return name

    def _equipped(self) -> Resources:
        """The resources, with the verifiers and tools of the reasoner in them."""
        resources = self._loaded()
        for name, verifier in self._verifiers.items():
            resources.add_verifier(name, verifier)
        for tool in self._tools:
            resources.add_tool(tool)
        return resources

    async def _runs(self) -> Runs:
        from reverie.agents.runs import OpenRuns

        with self._starting:
            if self._open_runs is None:
                self._open_runs = OpenRuns(self.settings)
            opening = self._open_runs
        return await opening.get()

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
