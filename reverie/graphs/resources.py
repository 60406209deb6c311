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
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from reverie.errors import ConfigError
from reverie.graphs.meter import Meter
from reverie.graphs.prompt import PACKAGED, PromptBook
from reverie.graphs.templates import TemplateBook
from reverie.knowledge.once import Once
from reverie.models.prices import Prices, prices_of
from reverie.settings import Settings, load_settings

if TYPE_CHECKING:
    import numpy as np
    from langchain_core.tools import BaseTool
    from numpy.typing import NDArray

    from reverie.graphs.beliefs import Beliefs
    from reverie.knowledge.calibration import Calibrations
    from reverie.knowledge.episodes import EpisodicMemory
    from reverie.knowledge.graph import GraphStore
    from reverie.knowledge.library import Library
    from reverie.knowledge.runs import CallJournal, RunRegistry
    from reverie.knowledge.sops import SopBook
    from reverie.knowledge.strategies import StrategyMemory
    from reverie.models.chat_model import ChatModel
    from reverie.models.embedded.checkpoint import Report
    from reverie.models.embedder import Embedder
    from reverie.tools import Tool

Verifier = Callable[[str, str], "float | Awaitable[float | None] | None"]
"""Judges an answer to a question: 0 (wrong) to 1 (right), None when it cannot tell. A plain
function runs in a thread.
"""

_VECTORS = 64
"""Questions whose embedding is remembered: a run needs it at its beginning and at its end."""

_defaulting = threading.Lock()
_registered: WeakValueDictionary[str, Resources] = WeakValueDictionary()


class Resources:
    """One set of settings and what is loaded for it."""

    def __init__(self, settings: Settings, *, report: Report | None = None) -> None:
        """``report`` hears of downloads and other things that take long, from any thread."""
        self.settings = settings
        self.key = uuid.uuid4().hex
        self.meter = Meter()
        self._notices: list[str] = []
        self._report = report
        self._models: dict[tuple[str, bool | None], ChatModel] = {}
        self._prices: dict[tuple[str, bool | None], Prices] = {}
        self._loading = threading.Lock()
        self._choosing = threading.Lock()
        self._embedder: Embedder | None = None
        self._vectors: dict[str, NDArray[np.float32]] = {}
        self._beliefs: Beliefs | None = None
        self._facts = Once(self._open_facts)
        self._library = Once(self._open_library)
        self._memory = Once(self._open_memory)
        self._calibrations = Once(self._open_calibrations)
        self._episodes = Once(self._open_episodes)
        self._sops = Once(self._open_sops)
        self._prompts: PromptBook | None = None
        self._templates: TemplateBook | None = None
        self._verifiers: dict[str, Verifier] = {}
        self._tools: dict[str, Tool] = {}
        self.journal: CallJournal | None = None
        """Where model calls are written down before they are made; None: nowhere."""
        self.registry: RunRegistry | None = None
        """Where the results of runs are, once a run was made with these resources."""
        _registered[self.key] = self

    @property
    def prompts(self) -> PromptBook:
        """The prompts, with those of the settings in place of packaged ones. The first time
        files are read, which blocks.
        """
        if self._prompts is None:
            folder = self.settings.reason.prompts
            self._prompts = PACKAGED if folder is None else PromptBook(folder)
        return self._prompts

    @property
    def templates(self) -> TemplateBook:
        """The reasoning templates, with those of the settings in place of packaged ones and beside
        them. The first time files are read, which blocks.
        """
        if self._templates is None:
            folder = self.settings.reason.prompts
            self._templates = TemplateBook(None if folder is None else folder / "templates")
        return self._templates

    def add_verifier(self, name: str, verifier: Verifier) -> None:
        """Let contexts name ``verifier``."""
        self._verifiers[name] = verifier

    def verifier(self, name: str) -> Verifier | None:
        """The verifier called ``name``; None for an empty name. Raises ConfigError."""
        if not name:
            return None
        try:
            return self._verifiers[name]
        except KeyError:
            raise ConfigError(
                f"no verifier is registered as {name!r}",
                hint="hand it to the Reasoner that asks, also to one that resumes a run",
            ) from None

    def add_tool(self, tool: Tool | Callable[..., object] | BaseTool) -> str:
        """Let contexts name a tool of the application's own: a typed function, a LangChain tool, or
        a ``Tool``. Returns its name. Raises ConfigError.
        """
        from reverie.tools import tool_of

        made = tool_of(tool)
        self._tools[made.name] = made
        return made.name

    def tools(self, names: Iterable[str]) -> list[Tool]:
        """The tools called ``names``. Blocks the first time, when tools are imported. Raises
        ConfigError for an unknown one.
        """
        from reverie.tools import find_tool

        return [find_tool(name, self._tools) for name in dict.fromkeys(names)]

    async def model(self, name: str = "", preview: bool | None = None) -> ChatModel:
        """The chat model called ``name``, or that of the settings, with the backends around it;
        ``preview`` says whether the preview backend is one of them. Its profile is known.
        """
        name = name or self.settings.model.name
        if (name, preview) not in self._models:
            await asyncio.to_thread(self._load_model, name, preview)
        model = self._models[name, preview]
        await model.prepare()
        return model

    def has_read(self, name: str, preview: bool | None, *, templates: bool) -> bool:
        """Whether prompts, prices and, if wanted, templates are there, so that nothing blocks."""
        if templates and self._templates is None:
            return False
        priced = (name or self.settings.model.name, preview) in self._prices
        return priced and self._prompts is not None

    def prices(self, name: str = "", preview: bool | None = None) -> Prices:
        """What the tokens of ``model(name, preview)`` cost."""
        name = name or self.settings.model.name
        if (name, preview) not in self._prices:
            self._prices[name, preview] = prices_of(name, self.settings, preview=preview)
        return self._prices[name, preview]

    async def embedder(self) -> Embedder:
        """The sentence embedder, loaded."""
        embedder = await asyncio.to_thread(self._chosen_embedder)
        await embedder.load()
        return embedder

    @property
    def notices(self) -> list[str]:
        """What a person should know of the stores and the embedder by now."""
        return [*self._notices, *(self._embedder.notices if self._embedder else ())]

    async def question_vector(self, question: str) -> NDArray[np.float32]:
        """The embedding [D] of a question; of the latest ones it is remembered."""
        vector = self._vectors.get(question)
        if vector is None:
            vector = (await (await self.embedder()).embed([question]))[0]
            with self._choosing:
                self._vectors[question] = vector
                while len(self._vectors) > _VECTORS:
                    del self._vectors[next(iter(self._vectors))]
        return vector

    @property
    def beliefs(self) -> Beliefs:
        """What outcomes have taught this process. The first time imports numpy, which blocks."""
        from reverie.graphs.beliefs import Beliefs

        with self._choosing:
            if self._beliefs is None:
                self._beliefs = Beliefs(self.settings.learn)
            return self._beliefs

    async def facts(self) -> GraphStore:
        """The graph store, with the packaged facts in it."""
        return await self._facts.get()

    async def library(self) -> Library:
        """The documents that were ingested."""
        return await self._library.get()

    async def memory(self) -> StrategyMemory:
        """The strategy memory."""
        return await self._memory.get()

    async def calibrations(self) -> Calibrations:
        """What confidence was calibrated to."""
        return await self._calibrations.get()

    async def episodes(self) -> EpisodicMemory:
        """What was learnt, and when."""
        return await self._episodes.get()

    async def sops(self) -> SopBook:
        """The procedures, the packaged ones among them."""
        return await self._sops.get()

    async def close(self) -> None:
        """Close the stores, and connections to model servers. Models end with their last user."""
        library = self._library.taken()  # first: it uses the others
        if library is not None:
            await library.close()
        for once in (self._facts, self._memory, self._calibrations, self._episodes, self._sops):
            store = once.taken()
            if store is not None:
                await store.close()
        for model in self._models.values():
            await model.aclose()
        if self._embedder is not None:
            await self._embedder.aclose()
        # In a thread: an engine's last user waits for the step that is running.
        await asyncio.to_thread(self._end_models)

    async def prepare(self, model: str = "", preview: bool | None = None) -> None:
        """Load everything that a run needs, at the same time; a run does it by itself, in turn."""
        await asyncio.gather(self.model(model, preview), self.facts(), self.memory())

    def _chosen_embedder(self) -> Embedder:
        from reverie.models.embeddings import load_embedder

        with self._choosing:
            if self._embedder is None:
                self._embedder = load_embedder(self.settings, self._report)
            return self._embedder

    def _load_model(self, name: str, preview: bool | None) -> None:
        from reverie.models.load import load_chat_model

        with self._loading:
            if (name, preview) not in self._models:
                self._models[name, preview] = load_chat_model(
                    name, self.settings, self._report, preview=preview
                )

    def _end_models(self) -> None:
        for model in self._models.values():
            model.close()
        self._models.clear()

    async def _open_facts(self) -> GraphStore:
        from reverie.knowledge.graph import seed
        from reverie.knowledge.graph.open import open_graph
        from reverie.knowledge.sops import sync_sops

        embedder = await self.embedder()
        store = await open_graph(
            self.settings, embedder=embedder.name, dimension=embedder.dimension
        )
        try:
            await seed(store, embedder)
            await sync_sops(store, await self.sops())
        except BaseException:
            await store.close()
            raise
        self._notices.extend(store.notices)
        return store

    async def _open_library(self) -> Library:
        from reverie.knowledge.library import Library

        library = await Library.open(
            self.settings, embedder=await self.embedder(), graph=await self.facts()
        )
        self._notices.extend(library.notices)
        return library

    async def _open_memory(self) -> StrategyMemory:
        from reverie.knowledge.strategies import StrategyMemory

        embedder = await self.embedder()
        memory = await StrategyMemory.open(
            self.settings.home / "strategies.sqlite",
            embedder=embedder.name,
            dimension=embedder.dimension,
            memory=self.settings.learn.memory,
        )
        self._notices.extend(memory.notices)
        return memory

    async def _open_calibrations(self) -> Calibrations:
        from reverie.knowledge.calibration import Calibrations

        calibrations = await Calibrations.open(self.settings.home / "calibration.sqlite")
        self._notices.extend(calibrations.notices)
        return calibrations

    async def _open_episodes(self) -> EpisodicMemory:
        from reverie.knowledge.episodes import EpisodicMemory

        kept = self.settings.memory
        episodes = await EpisodicMemory.open(
            self.settings.home / "memories.sqlite",
            await self.embedder(),
            half_life_days=kept.half_life_days,
            most=kept.most,
        )
        self._notices.extend(episodes.notices)
        return episodes

    async def _open_sops(self) -> SopBook:
        from reverie.knowledge.sops import SopBook

        book = await SopBook.open(self.settings.home / "sops.sqlite")
        self._notices.extend(book.notices)
        return book


def resources_at_hand(key: str) -> Resources | None:
    """Registered resources, without waiting for anything; None for those that have to be made."""
    return _registered.get(key)


def find_resources(key: str) -> Resources:
    """The resources that a context names. ``default`` are those of the settings in the environment,
    read the first time, which blocks: the first node of a graph asks in a thread.

    Raises ConfigError when the reasoner that registered them is gone.
    """
    if key == "default":
        with _defaulting:
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
