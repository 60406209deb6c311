"""The clients that a run works with, looked up by name.

Models and stores cannot travel in a graph's state or context, which are JSON. They live here: the
context names a ``Resources``, and nodes ask it for what they need. Everything is loaded on first
use, once, in a thread.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import WeakValueDictionary

from reverie.errors import ConfigError
from reverie.settings import Settings, load_settings

if TYPE_CHECKING:
    from reverie.knowledge.graph import GraphStore
    from reverie.knowledge.strategies import StrategyMemory
    from reverie.models.chat_model import ChatModel
    from reverie.models.embedded.checkpoint import Report
    from reverie.models.embedder import Embedder, MiniLM

T = TypeVar("T")

_registered: WeakValueDictionary[str, Resources] = WeakValueDictionary()


class Resources:
    """One set of settings and what is loaded for it."""

    def __init__(self, settings: Settings, *, report: Report | None = None) -> None:
        """``report`` hears of downloads and other things that take long, from any thread."""
        self.settings = settings
        self.key = uuid.uuid4().hex
        self.notices: list[str] = []
        self._report = report
        self._models: dict[str, ChatModel] = {}
        self._loading = threading.Lock()
        self._choosing = threading.Lock()
        self._embedder: MiniLM | None = None
        self._facts = _Once(self._open_facts)
        self._memory = _Once(self._open_memory)
        _registered[self.key] = self

    async def model(self, name: str = "") -> ChatModel:
        """The chat model called ``name``, or that of the settings."""
        name = name or self.settings.model.name
        if name not in self._models:
            await asyncio.to_thread(self._load_model, name)
        return self._models[name]

    async def embedder(self) -> Embedder:
        """The sentence embedder, loaded."""
        embedder = self._minilm()
        await embedder.load(progress=self._report)
        return embedder

    async def facts(self) -> GraphStore:
        """The graph store, with the packaged facts in it."""
        return await self._facts.get()

    async def memory(self) -> StrategyMemory:
        """The strategy memory."""
        return await self._memory.get()

    async def close(self) -> None:
        """Close the stores. Models end with their last user."""
        for once in (self._facts, self._memory):
            store = once.taken()
            if store is not None:
                await store.close()
        self._models.clear()

    async def prepare(self, model: str = "") -> None:
        """Load everything that a run needs, at the same time; a run does it by itself, in turn."""
        await asyncio.gather(self.model(model), self.facts(), self.memory())

    def _minilm(self) -> MiniLM:
        from reverie.models.embedder import MiniLM

        with self._choosing:
            if self._embedder is None:
                self._embedder = MiniLM(self.settings.models_folder)
            return self._embedder

    def _load_model(self, name: str) -> None:
        from reverie.models.load import load_chat_model

        with self._loading:
            if name not in self._models:
                self._models[name] = load_chat_model(name, self.settings, self._report)

    async def _open_facts(self) -> GraphStore:
        from reverie.knowledge.graph import SqliteGraph, seed

        embedder = self._minilm()
        store = await SqliteGraph.open(
            self.settings.home / "graph.sqlite",
            embedder=embedder.name,
            dimension=embedder.dimension,
        )
        await seed(store, await self.embedder())
        self.notices.extend(store.notices)
        return store

    async def _open_memory(self) -> StrategyMemory:
        from reverie.knowledge.strategies import StrategyMemory

        embedder = self._minilm()
        memory = await StrategyMemory.open(
            self.settings.home / "strategies.sqlite",
            embedder=embedder.name,
            dimension=embedder.dimension,
        )
        self.notices.extend(memory.notices)
        return memory


class _Once(Generic[T]):
    """Opens something at its first use; tasks that ask meanwhile wait for the same opening."""

    def __init__(self, opener: Callable[[], Awaitable[T]]) -> None:
        self._open = opener
        self._opening: asyncio.Future[T] | None = None
        self._value: T | None = None

    async def get(self) -> T:
        if self._value is None:
            if self._opening is None:
                self._opening = asyncio.ensure_future(self._open())
            opening = self._opening
            try:
                # Shielded: the task that happens to open it may be cancelled, the others wait on.
                self._value = await asyncio.shield(opening)
            finally:
                if opening.done():
                    self._opening = None
        return self._value

    def taken(self) -> T | None:
        """What was opened, if anything, forgetting it."""
        value, self._value = self._value, None
        return value


def find_resources(key: str) -> Resources:
    """The resources that a context names. ``default`` are those of the settings in the environment.

    Raises ConfigError when the reasoner that registered them is gone.
    """
    if key == "default":
        return _default()
    try:
        return _registered[key]
    except KeyError:
        raise ConfigError(
            f"no resources are registered as {key!r}",
            hint="keep the Reasoner that made this context alive, or use 'default'",
        ) from None


@functools.cache
def _default() -> Resources:
    return Resources(load_settings().settings)
