"""What this process has learned from the log of outcomes, kept up to date.

The log is in the strategy memory; a process reads what is new there and keeps the sums, so that
choosing does not begin anew at every question. Processes share only the log.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from reverie.graphs.bandit import Bandit, BanditOptions, Drawn
from reverie.graphs.features import new_prior
from reverie.graphs.records import Belief
from reverie.graphs.strategies import known_strategies

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reverie.knowledge.strategies import Outcome, StrategyMemory
    from reverie.settings.schema import LearnSettings


class Beliefs:
    """The bandits of one set of resources, one for every version of the features. Safe to use from
    several threads; its methods compute, and do not touch files, unless they say so.
    """

    def __init__(self, learn: LearnSettings) -> None:
        self._options = BanditOptions(token_price=learn.token_price, memory=float(learn.memory))
        self._lock = threading.Lock()
        self._bandits: dict[str, Bandit] = {}

    async def catch_up(self, memory: StrategyMemory, version: str) -> None:
        """Learn what the log has new, for features of ``version``. Raises KnowledgeUnavailable."""
        import asyncio

        with self._lock:
            after = self._bandit(version).seq
        outcomes = await memory.outcomes(after, version)
        if outcomes:
            # In a thread: the first time there may be many.
            await asyncio.to_thread(self._absorb, outcomes, version)

    def beliefs(
        self, version: str, strategies: Sequence[str], features: Sequence[float]
    ) -> list[Belief]:
        """What is believed of ``strategies`` for a question with ``features`` [F], in order."""
        with self._lock:
            found = self._bandit(version).expected(strategies, _array(features))
        return [{"strategy": e.strategy, "mean": e.mean, "sd": e.sd, "runs": e.runs} for e in found]

    def draw(
        self,
        version: str,
        strategies: Sequence[str],
        features: Sequence[float],
        seed: str,
        *,
        later: Sequence[float],
        follows: Mapping[tuple[str, str], float],
    ) -> Drawn:
        """A sampled ranking of ``strategies``: see ``Bandit.draw``."""
        with self._lock:
            return self._bandit(version).draw(
                strategies, _array(features), seed, later=_array(later), follows=follows
            )

    def _absorb(self, outcomes: Sequence[Outcome], version: str) -> None:
        with self._lock:
            self._bandit(version).absorb(outcomes)

    def _bandit(self, version: str) -> Bandit:
        if version not in self._bandits:
            bandit = Bandit(new_prior(), self._options)
            bandit.declare({s.name: float(s.cost) for s in known_strategies().values()})
            self._bandits[version] = bandit
        return self._bandits[version]


def _array(features: Sequence[float]) -> NDArray[np.float64]:
    import numpy as np

    return np.asarray(features, dtype=np.float64)
