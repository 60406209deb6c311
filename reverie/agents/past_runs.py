"""What a reasoner does with runs that were begun before: going on, looking back, beginning anew."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import aclosing
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from reverie.agents.result import Result, T
from reverie.errors import ConfigError, ReverieError, RunWaiting
from reverie.settings import BudgetSettings as Budget

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

    from reverie.agents.history import RunStep
    from reverie.agents.runs import Runs, Work
    from reverie.graphs.events import Event, Waiting
    from reverie.graphs.resources import Resources
    from reverie.knowledge.runs import RunRecord

VERSION: Final = version("reverie")  # here, not in a run: it reads files


class PastRuns(ABC):
    """The part of the Reasoner that works on runs by their id."""

    # -- going on --------------------------------------------------------------------------

    async def astream_resume(
        self, run_id: str, *, budget: Budget | None = None, **reply: Any
    ) -> AsyncGenerator[Event | Result, None]:
        """Go on with a run from its last checkpoint, under its own settings and budget: its events,
        then its Result. Of a finished one only the Result. ``reply=`` answers one that waits.

        The limits that were given to ``budget`` replace the run's from now on; what was spent by
        then is part of them.

        What has a result is not done again. Calls that were in flight when its process ended are,
        and both are charged. The time in between does not count. A failed run makes its last
        attempt again. An unambiguous beginning of the id will do. Raises RunUnavailable, also when
        another process works on the run.
        """
        from reverie.agents.resume import NO_REPLY, resumed, stored_result

        runs = await self._runs()
        run = await runs.store.registry.find(run_id)
        limits = _given(budget)
        if run.result is None:
            work = await resumed(
                runs, run, self._equipped(), reply.get("reply", NO_REPLY), limits=limits
            )
            if work.owner:
                async with aclosing(self._stream(runs, work)) as items:
                    async for item in items:
                        yield item
                return
            run = await runs.store.registry.find(run.run_id)
        elif "reply" in reply:
            raise ConfigError(f"the run {run.run_id} waits for no reply: it is {run.status}")
        elif limits:
            raise ConfigError(
                f"another budget changes nothing: the run {run.run_id} is {run.status}",
                hint=f"reverie replay {run.run_id} --from select --budget TOKENS begins a new one",
            )
        yield stored_result(run)

    async def aresume(self, run_id: str, *, budget: Budget | None = None) -> Result:
        """``astream_resume`` to its end. Raises RunWaiting when a person is asked."""
        return await last_of(self.astream_resume(run_id, budget=budget))

    def resume(self, run_id: str, *, budget: Budget | None = None) -> Result:
        """``aresume``, blocking."""
        return self._loop().call(functools.partial(self.aresume, run_id, budget=budget))

    async def areply(self, run_id: str, reply: Any) -> Result:
        """Answer what a waiting run asks, and go on with it. ``reply`` is JSON that obeys the
        form's ``reply_schema``; ConfigError otherwise.
        """
        return await last_of(self.astream_resume(run_id, reply=reply))

    def reply(self, run_id: str, reply: Any) -> Result:
        """``areply``, blocking."""
        result: Result = self._loop().call(self.areply, run_id, reply)
        return result

    # -- looking back ----------------------------------------------------------------------

    async def aruns(self, limit: int = 20) -> list[RunRecord]:
        """The latest runs, newest first."""
        return await (await self._runs()).store.registry.recent(limit)

    def runs(self, limit: int = 20) -> list[RunRecord]:
        """``aruns``, blocking."""
        return self._loop().call(self.aruns, limit)

    async def afind(self, run_id: str) -> RunRecord:
        """A run by its id, or an unambiguous beginning of it."""
        return await (await self._runs()).store.registry.find(run_id)

    def find(self, run_id: str) -> RunRecord:
        """``afind``, blocking."""
        return self._loop().call(self.afind, run_id)

    async def ahistory(self, run_id: str) -> list[RunStep]:
        """The checkpoints of a run, oldest first."""
        from reverie.agents.history import history

        runs = await self._runs()
        run = await runs.store.registry.find(run_id)
        return await history(runs, run, self._equipped())

    def history(self, run_id: str) -> list[RunStep]:
        """``ahistory``, blocking."""
        return self._loop().call(self.ahistory, run_id)

    async def astream_replay(
        self,
        run_id: str,
        *,
        from_: str,
        strategy: str | None = None,
        budget: Budget | None = None,
        seed: int | None = None,
    ) -> AsyncGenerator[Event | Result, None]:
        """A new run that goes on from where another was before the node ``from_`` (the first time),
        or at the checkpoint ``from_``, with another strategy, budget or seed if given. Limits that
        were not given to ``budget`` stay the other run's.
        """
        from reverie.agents.history import forked
        from reverie.graphs.recall import new_run_id
        from reverie.graphs.strategies import require_strategy

        changes: dict[str, Any] = _given(budget)
        if strategy is not None:
            changes["strategy"] = strategy
            if strategy != "auto":
                require_strategy(strategy)
        if seed is not None:
            changes["seed"] = self._seed(seed)
        runs = await self._runs()
        run = await runs.store.registry.find(run_id)
        work = await forked(
            *(runs, run, new_run_id(), self._equipped()),
            from_=from_,
            changes=changes,
            version=VERSION,
        )
        async with aclosing(self._stream(runs, work)) as items:
            async for item in items:
                yield item

    async def areplay(
        self,
        run_id: str,
        *,
        from_: str,
        strategy: str | None = None,
        budget: Budget | None = None,
        seed: int | None = None,
    ) -> Result:
        """``astream_replay`` to its end."""
        return await last_of(
            self.astream_replay(run_id, from_=from_, strategy=strategy, budget=budget, seed=seed)
        )

    def replay(
        self,
        run_id: str,
        *,
        from_: str,
        strategy: str | None = None,
        budget: Budget | None = None,
        seed: int | None = None,
    ) -> Result:
        """``areplay``, blocking."""
        call = functools.partial(
            self.areplay, run_id, from_=from_, strategy=strategy, budget=budget, seed=seed
        )
        return self._loop().call(call)

    # -- what the reasoner adds ------------------------------------------------------------

    @abstractmethod
    async def _runs(self) -> Runs: ...

    @abstractmethod
    def _stream(self, runs: Runs, work: Work) -> AsyncGenerator[Event | Result, None]: ...

    @abstractmethod
    def _equipped(self) -> Resources: ...

    @abstractmethod
    def _seed(self, seed: int | None) -> int: ...

    @abstractmethod
    def _loop(self) -> BlockingPortal: ...


def _given(budget: Budget | None) -> dict[str, Any]:
    """The limits that a budget was made with, without those that it has by default."""
    return {} if budget is None else budget.model_dump(exclude_unset=True)


async def last_of(items: AsyncGenerator[Event | Result[T], None]) -> Result[T]:
    """The result that a stream ends with. Raises RunWaiting."""
    waiting: Waiting | None = None
    async with aclosing(items):
        async for item in items:
            if isinstance(item, Result):
                return item
            if item["type"] == "waiting":
                waiting = item
    if waiting is not None:
        raise RunWaiting.of(waiting["run_id"], waiting["form"])
    raise ReverieError("the run ended without a result", hint="this is a bug in Reverie")
