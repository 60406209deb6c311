"""Files into the library: read, cut, embedded, stored, and followed by index and graph.

Reading runs ahead of embedding and storing behind it, so that the embedder, which takes most of the
time, never waits. Every step is kept when it is done: a run that ends anywhere goes on there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from typing import Final

from reverie.errors import ConfigError, DocumentUnreadable, KnowledgeUnavailable, ModelUnavailable
from reverie.knowledge.library.embedding import TextEmbedding, TextRefused
from reverie.knowledge.library.events import (
    Done,
    Ended,
    Failed,
    Found,
    IngestEvent,
    Reading,
    Removed,
    Skipped,
    Warned,
)
from reverie.knowledge.library.graphing import LibraryGraph, Read, needs_graph
from reverie.knowledge.library.index import BATCH, LibraryIndex
from reverie.knowledge.library.listing import IngestOptions, Named, make_plan
from reverie.knowledge.library.reading import cut, read, recipe, same_content, settled
from reverie.knowledge.library.records import FoundFile, KnownFile, ReadFile
from reverie.knowledge.library.room import Room
from reverie.knowledge.library.store import LibraryStore
from reverie.knowledge.read.document import SourceDocument

_AHEAD_BYTES: Final = 16_000_000
"""Of files that are read and not yet stored; one file may be larger."""
_AHEAD_FILES: Final = 64
_TOGETHER: Final = 256
"""Chunks of small files that are embedded together."""

_log = logging.getLogger(__name__)


class Ingest:
    """One run of it; ``events`` does the work. The caller holds the lock."""

    def __init__(
        self,
        named: Named,
        options: IngestOptions,
        *,
        store: LibraryStore,
        embedding: TextEmbedding,
        index: LibraryIndex | None,
        graph: LibraryGraph | None,
        given: Mapping[str, Sequence[SourceDocument]] | None = None,
    ) -> None:
        """``given`` are documents that others have read, by path, instead of files."""
        self._given = given
        self._named = named
        self._options = options
        self._store = store
        self._embedding = embedding
        self._index = index
        self._graph = graph
        self._known: dict[str, KnownFile] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)
        # Bounded: a listener that takes its time slows the work down instead of filling memory.
        self._events: asyncio.Queue[IngestEvent | None] = asyncio.Queue(1000)
        self._to_embed: asyncio.Queue[ReadFile | None] = asyncio.Queue()
        self._to_store: asyncio.Queue[ReadFile | None] = asyncio.Queue()
        self._room = Room(_AHEAD_BYTES, _AHEAD_FILES)

    async def events(self) -> AsyncGenerator[IngestEvent, None]:
        """What happens, as it happens. Closing the iterator ends the work."""
        work = asyncio.create_task(self._work())
        try:
            while (event := await self._events.get()) is not None:
                yield event
            await work
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await work

    async def _work(self) -> None:
        try:
            await self._run()
        finally:
            await self._events.put(None)

    async def _run(self) -> None:
        began = time.perf_counter()
        self._known = await asyncio.to_thread(self._store.known)
        await self._check_graph()
        if self._given is not None:
            await self._tell(Found(len(self._given), len(self._given), 0))
            await self._work_through(self._cut(self._given))
        else:
            await self._run_files()
        await self._finish()
        await self._tell(Ended(time.perf_counter() - began, dict(self._seconds)))

    async def _run_files(self) -> None:
        with self._timed("list"):
            plan = await asyncio.to_thread(make_plan, self._named, self._options, self._known)
        size = sum(file.size for file in plan.read.values())
        await self._tell(Found(plan.files, len(plan.read), size))
        events: list[IngestEvent] = [*plan.failed, *map(Skipped, plan.skipped)]
        for event in events:
            await self._tell(event)
        await self._remove(plan.removed)
        for name in plan.regraph:
            await self._write_graph(name, self._known[name].digest)
            await self._tell(Skipped(name))
        await self._work_through(self._read(plan.read))

    async def _work_through(self, reading: Coroutine[None, None, None]) -> None:
        """The three stages at once, ``reading`` the first of them."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(reading)
                group.create_task(self._embed())
                group.create_task(self._keep())
        except BaseExceptionGroup as several:
            raise _first(several) from None

    async def _cut(self, documents: Mapping[str, Sequence[SourceDocument]]) -> None:
        """The first stage for documents that others have read, by their path."""
        for name, some in documents.items():
            size = sum(len(document.text) for document in some)
            await self._room.enter(size)
            await self._tell(Reading(name))
            with self._timed("read"):
                file = await asyncio.to_thread(cut, name, some, self._options.chunk_tokens)
            known = self._known.get(name)
            if known is not None and (known.digest, known.recipe) == (file.digest, file.recipe):
                await self._room.leave(size)
                await self._tell(Skipped(name))
            else:
                await self._to_embed.put(file)
        await self._to_embed.put(None)

    # -- the three stages --------------------------------------------------------------------------

    async def _read(self, files: dict[str, FoundFile]) -> None:
        for name, found in files.items():
            await self._room.enter(found.size)
            file = None
            try:
                await self._tell(Reading(name))
                with self._timed("read"):
                    file = await self._read_one(name, found)
            except (DocumentUnreadable, ConfigError) as error:
                await self._tell(Failed(name, error.message, error.hint))
            except Exception as error:  # noqa: BLE001  # whatever one document does to its reader
                _log.warning("%s cannot be read", name, exc_info=True)
                reason = f"{name} cannot be read: {type(error).__name__}: {error}"
                await self._tell(Failed(name, reason, "Report it: reading should say it better"))
            if file is None:
                await self._room.leave(found.size)
            else:
                await self._to_embed.put(file)
        await self._to_embed.put(None)

    async def _read_one(self, name: str, found: FoundFile) -> ReadFile | None:
        """None: it has the same content as before."""
        options, known = self._options, self._known.get(name)
        if (
            known is not None
            and not options.again
            and known.recipe == recipe(options.chunk_tokens)
            and await asyncio.to_thread(same_content, found, known, options.most_bytes)
        ):
            await asyncio.to_thread(self._store.touch, name, found.size, settled(found))
            if needs_graph(known, options.extract):
                await self._write_graph(name, known.digest)
            await self._tell(Skipped(name))
            return None
        return await asyncio.to_thread(
            read, found, chunk_tokens=options.chunk_tokens, most_bytes=options.most_bytes
        )

    async def _embed(self) -> None:
        ended = False
        while not ended:
            files: list[ReadFile] = []
            # Small files together, of those that are read already: a model likes many texts.
            while not files or (
                sum(file.count for file in files) < _TOGETHER and not self._to_embed.empty()
            ):
                file = await self._to_embed.get()
                if file is None:
                    ended = True
                    break
                files.append(file)
            for kept in await self._embedded(files):
                await self._to_store.put(kept)
        await self._to_store.put(None)

    async def _embedded(self, files: list[ReadFile]) -> list[ReadFile]:
        """Those of ``files`` whose texts have all got a vector."""
        if not files:
            return []
        try:
            with self._timed("embed"):
                async for event in self._embedding.embed(files):
                    await self._tell(event)
        except TextRefused as refused:
            if len(files) > 1:  # which of them it was, each by itself tells
                return [kept for file in files for kept in await self._embedded([file])]
            await self._tell(Failed(files[0].path, f"{files[0].path}: {refused}", refused.hint))
            await self._room.leave(files[0].size)
            return []
        return files

    async def _keep(self) -> None:
        while (file := await self._to_store.get()) is not None:
            with self._timed("store"):
                replaced = await asyncio.to_thread(self._store.replace, file, self._options.extract)
            read = list(zip(file.documents, file.chunks, strict=True))
            await self._write_graph(file.path, file.digest, read)
            await self._follow(BATCH)
            notices = tuple(dict.fromkeys(n for d in file.documents for n in d.notices))
            is_known = file.path in self._known
            await self._tell(Done(file.path, file.count, replaced.written, is_known, notices))
            await self._room.leave(file.size)

    # -- what follows ------------------------------------------------------------------------------

    async def _check_graph(self) -> None:
        async with self._graph_or_warning() as graph:
            if graph is not None:
                if said := await graph.check():
                    self._known = await asyncio.to_thread(self._store.known)
                    await self._tell(Warned(said))
                await graph.forget()

    async def _write_graph(
        self,
        name: str,
        digest: str,
        read: Read | None = None,
    ) -> None:
        """Of what is stored, where ``read`` is not given."""
        async with self._graph_or_warning() as graph:
            if graph is not None:
                with self._timed("graph"):
                    if self._options.extract != "nothing":
                        parts = read
                        if parts is None:
                            parts = await asyncio.to_thread(self._store.documents, name)
                        if said := await graph.write(name, digest, parts, self._options.extract):
                            await self._tell(Warned(said))
                    await graph.forget()

    async def _remove(self, gone: Sequence[str]) -> None:
        for start in range(0, len(gone), BATCH):
            some = gone[start : start + BATCH]
            await asyncio.to_thread(self._store.forget, some)
            for name in some:
                await self._tell(Removed(name))
        async with self._graph_or_warning() as graph:
            if graph is not None:
                await graph.forget()

    async def _follow(self, least: int = 1) -> None:
        """Brings the index level, once so much has changed."""
        if self._index is None:
            return
        try:
            with self._timed("index"):
                said = await self._index.follow(self._embedding.embedder.dimension, least=least)
            if said:
                await self._tell(Warned(said))
        except KnowledgeUnavailable as error:
            self._index = None
            await self._tell(
                Warned(
                    f"The index of vectors cannot be written: {error} What it lacks is searched "
                    "exactly, and written by the next ingest."
                )
            )

    async def _finish(self) -> None:
        with self._timed("embed"):
            try:
                async for event in self._embedding.fill():
                    await self._tell(event)
            except TextRefused as refused:
                await self._tell(Warned(f"Some chunks are found by words only: {refused}"))
        await self._follow()
        await asyncio.to_thread(self._embedding.stored.clean, self._embedding.embedder.name)
        if self._graph is not None and self._options.extract != "nothing":
            with self._timed("graph"):
                said = await self._graph.resolve()
            if said:
                await self._tell(Warned(said))

    # -- telling -----------------------------------------------------------------------------------

    async def _tell(self, event: IngestEvent) -> None:
        await self._events.put(event)

    @contextlib.contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[part] += time.perf_counter() - began

    @contextlib.asynccontextmanager
    async def _graph_or_warning(self) -> AsyncIterator[LibraryGraph | None]:
        """The graph; when it fails, the rest of the run goes on without it."""
        try:
            yield self._graph
        except (KnowledgeUnavailable, ModelUnavailable) as error:
            self._graph = None
            await self._tell(
                Warned(
                    f"The graph cannot be written: {error} The next ingest goes on there; until "
                    "then these files are found by meaning and words."
                )
            )


def _first(several: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended the work; the others are its consequences."""
    found = list(several.exceptions)
    while found:
        error = found.pop(0)
        if isinstance(error, BaseExceptionGroup):
            found = [*error.exceptions, *found]
        else:
            return error
    return several
