"""The library: documents that were read, and the search over all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reverie.errors import ConfigError, KnowledgeUnavailable
from reverie.knowledge.library.embedding import TextEmbedding
from reverie.knowledge.library.events import IngestEvent, Warned
from reverie.knowledge.library.filters import EVERYWHERE, Where
from reverie.knowledge.library.graphing import LibraryGraph
from reverie.knowledge.library.index import LibraryIndex
from reverie.knowledge.library.ingest import Ingest
from reverie.knowledge.library.listing import IngestOptions, Named, Plan, is_under, make_plan
from reverie.knowledge.library.lock import IngestLock
from reverie.knowledge.library.parts import Parts
from reverie.knowledge.library.records import Extract, LibraryStatus
from reverie.knowledge.library.searching import LibrarySearch
from reverie.knowledge.library.store import LibraryStore
from reverie.knowledge.read import SourceDocument, path_name
from reverie.knowledge.search.records import SearchResult

if TYPE_CHECKING:
    from reverie.knowledge.extract.triplets import TripletExtractor
    from reverie.knowledge.graph.store import GraphStore
    from reverie.knowledge.vectors.store import VectorStore
    from reverie.models.chat_model import ChatModel
    from reverie.models.embedder import Embedder
    from reverie.settings import Settings

LIBRARY_FILE: Final = "library.sqlite"
"""Under home."""

INDEX_FROM: Final = 50_000
"""Chunks below which a search compares with every vector: it misses nothing, and begins sooner than
Chroma can be imported and opened (``reverie.evals.bench.exact_search``).
"""


class Library:
    """Documents by meaning, by words and by graph. Get one with ``Library.open``; ``close`` it.

    ``library.sqlite`` is the source of truth; the index of vectors and the graph follow it, and are
    filled from it when they are new or were lost.
    """

    def __init__(self, parts: Parts, model: ChatModel | None, index_from: int) -> None:
        self._parts = parts
        self._settings = parts.settings
        self._store = parts.store
        self._stored = parts.stored
        self._model = model
        self._index_from = index_from

    @classmethod
    async def open(
        cls,
        settings: Settings,
        *,
        embedder: Embedder | None = None,
        graph: GraphStore | None = None,
        vectors: VectorStore | None = None,
        model: ChatModel | None = None,
        index_from: int = INDEX_FROM,
    ) -> Library:
        """Opens the library under ``settings.home``. What is not given is opened when it is first
        needed, and closed with the library; what is given stays open. ``model`` is needed only
        where triplets are extracted by a model. From ``index_from`` chunks on, a search opens the
        index of vectors.

        Raises ``KnowledgeUnavailable``.
        """
        store = await asyncio.to_thread(LibraryStore, settings.home / LIBRARY_FILE)
        parts = Parts(settings, store, embedder=embedder, graph=graph, vectors=vectors)
        return cls(parts, model, index_from)

    @property
    def notices(self) -> Sequence[str]:
        """What the user should be told, such as a damaged file set aside."""
        return tuple(self._parts.notices)

    async def ingest(
        self,
        paths: Sequence[Path] = (),
        *,
        exclude: Sequence[str] = (),
        extract: Extract | None = None,
        prune: bool = True,
        again: bool = False,
    ) -> AsyncGenerator[IngestEvent, None]:
        """Reads files, and folders with all below them; without ``paths`` everything that was named
        before. Files that have not changed are skipped, unless ``again``, which also lets another
        embedder take over; with ``prune`` those that are gone from below a folder are removed.

        ``exclude`` are patterns as in a .gitignore, beside those of the settings; ``extract`` is
        what goes into the graph instead of what the settings say.

        A document that cannot be read is an event. Raises ``KnowledgeUnavailable`` (also when
        another process ingests), ``ModelUnavailable`` and ``ConfigError``; what was done by then is
        kept, and the same call goes on there.
        """
        options = await asyncio.to_thread(self._options, extract, prune=prune, again=again)
        async with self._locked():
            named = await asyncio.to_thread(self._named, paths, exclude)
            await asyncio.to_thread(self._add_roots, paths, exclude)
            async with aclosing(self._work(named, options)) as events:
                async for event in events:
                    yield event

    async def add(
        self, documents: Sequence[SourceDocument], *, extract: Extract | None = None
    ) -> AsyncGenerator[IngestEvent, None]:
        """Takes in documents that others have read, such as LlamaIndex's readers. All that have one
        path are one file, and replace what was stored under it. Otherwise as ``ingest``.
        """
        options = await asyncio.to_thread(self._options, extract, prune=False, again=False)
        given: dict[str, list[SourceDocument]] = {}
        for document in documents:
            given.setdefault(document.path, []).append(document)
        async with self._locked(), aclosing(self._work({}, options, given)) as events:
            async for event in events:
                yield event

    async def plan(
        self,
        paths: Sequence[Path] = (),
        *,
        exclude: Sequence[str] = (),
        extract: Extract | None = None,
        prune: bool = True,
        again: bool = False,
    ) -> Plan:
        """What ``ingest`` would do, as far as the file system says it."""
        options = await asyncio.to_thread(self._options, extract, prune=prune, again=again)
        named = await asyncio.to_thread(self._named, paths, exclude)
        known = await asyncio.to_thread(self._store.known)
        return await asyncio.to_thread(make_plan, named, options, known)

    async def search(
        self, query: str, *, limit: int = 10, where: Where = EVERYWHERE
    ) -> SearchResult:
        """At most ``limit`` chunks, best first, of those that ``where`` lets through.

        What does not work is a warning as long as one way to search does. Raises
        ``KnowledgeUnavailable`` and ``ConfigError``.
        """
        return await LibrarySearch(self._parts, where, self._index_from).search(query, limit)

    async def remove(self, path: Path) -> tuple[list[str], list[str]]:
        """Removes a file, or everything below a folder, from the library; nothing on the disk.
        Returns the names of the files, and warnings: what index or graph could not remove is found
        no more, and removed there by the next ingest.

        Raises ``KnowledgeUnavailable``, and ``ConfigError`` when nothing is stored of it.
        """
        async with self._locked():
            name = await asyncio.to_thread(path_name, path)
            removed = await asyncio.to_thread(self._forget, name)
            return removed, await self._follow_removal()

    async def status(self) -> LibraryStatus:
        """What there is."""
        return await asyncio.to_thread(self._status)

    async def close(self) -> None:
        """Closes what it opened; a second call does nothing."""
        await self._parts.close()

    # -- inside ------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        lock = IngestLock(self._settings.home)
        await asyncio.to_thread(lock.acquire)
        try:
            yield
        finally:
            await asyncio.to_thread(lock.release)

    async def _work(
        self,
        named: Named,
        options: IngestOptions,
        given: Mapping[str, Sequence[SourceDocument]] | None = None,
    ) -> AsyncGenerator[IngestEvent, None]:
        embedder = await self._parts.embedder()
        await asyncio.to_thread(
            self._stored.begin, embedder.name, embedder.dimension, again=options.again
        )
        index, graph, warnings = await self._followers(embedder, options.extract)
        for warning in warnings:
            yield Warned(warning)
        run = Ingest(
            named,
            options,
            store=self._store,
            embedding=TextEmbedding(self._stored, embedder),
            index=index,
            graph=graph,
            given=given,
        )
        async with aclosing(run.events()) as events:
            async for event in events:
                yield event

    def _named(self, paths: Sequence[Path], exclude: Sequence[str]) -> Named:
        """What to list, and what to leave out there."""
        always = self._settings.ingest.exclude
        if paths:
            return dict.fromkeys(paths, (*always, *exclude))
        roots = self._store.roots()
        if not roots:
            raise ConfigError(
                "nothing was ingested before that could be read again",
                hint="Name files or folders: reverie ingest PATH",
            )
        return {Path(path): (*always, *left_out, *exclude) for path, left_out in roots.items()}

    def _add_roots(self, paths: Sequence[Path], exclude: Sequence[str]) -> None:
        for path in paths:
            if path.exists():
                self._store.add_root(path_name(path), exclude)

    def _options(self, extract: Extract | None, *, prune: bool, again: bool) -> IngestOptions:
        section = self._settings.ingest
        return IngestOptions(
            chunk_tokens=section.chunk_tokens,
            most_bytes=int(section.most_megabytes * 1_000_000),
            home=path_name(self._settings.home),
            extract=extract or section.extract,
            prune=prune,
            again=again,
        )

    async def _followers(
        self, embedder: Embedder, extract: Extract
    ) -> tuple[LibraryIndex | None, LibraryGraph | None, list[str]]:
        """Index and graph, and why one of them is missing."""
        index: LibraryIndex | None = None
        warnings: list[str] = []
        extractor, model = self._extractor(extract)
        try:
            index = await self._parts.index()
        except (KnowledgeUnavailable, ConfigError) as error:
            warnings.append(f"There is no index of vectors: {error} Searches compare exactly.")
        if extract == "nothing" and not await asyncio.to_thread(self._store.has_graph):
            return index, None, warnings
        try:
            store = await self._parts.graph()
        except KnowledgeUnavailable as error:
            warnings.append(
                f"The graph cannot be opened: {error} The next ingest writes what it lacks."
            )
            return index, None, warnings
        return index, LibraryGraph(self._store, store, embedder, extractor, model), warnings

    def _extractor(self, extract: Extract) -> tuple[TripletExtractor | None, str]:
        if extract != "model":
            return None, ""
        if self._model is None:
            raise ConfigError(
                "no model is given to extract triplets with",
                hint="Library.open(model=...), or ingest.extract: rules",
            )
        from reverie.knowledge.extract.triplets import TripletExtractor

        return TripletExtractor(self._model), self._model.reverie_profile.name

    def _forget(self, name: str) -> list[str]:
        known = [n for n in self._store.known() if n == name or is_under(n, name)]
        roots = [n for n in self._store.roots() if n == name or is_under(n, name)]
        if not known and not roots:
            raise ConfigError(
                f"nothing in the library is {name}, or below it",
                hint="`reverie library` shows what there is",
            )
        for start in range(0, len(known), 500):
            self._store.forget(known[start : start + 500])
        self._store.drop_roots(roots)
        return known

    async def _follow_removal(self) -> list[str]:
        warnings: list[str] = []
        embedder, dimension = await asyncio.to_thread(self._stored.embedder)
        try:
            await (await self._parts.index()).follow(dimension)
        except ConfigError:  # chromadb is missing: there is no index
            pass
        except KnowledgeUnavailable as error:
            warnings.append(f"The index of vectors cannot follow: {error}")
        try:
            for path in await asyncio.to_thread(self._store.forgotten):
                graph = await self._parts.graph()
                await graph.delete_source(path)
                await asyncio.to_thread(self._store.remembered, path)
        except (KnowledgeUnavailable, ConfigError) as error:
            warnings.append(f"The graph cannot follow: {error}")
        await asyncio.to_thread(self._stored.clean, embedder)
        return warnings

    def _status(self) -> LibraryStatus:
        embedder, _ = self._stored.embedder()
        size = self._store.size()
        level = self._parts.level(embedder).read()
        path = self._store.database.path
        files = [path.with_name(path.name + end) for end in ("", "-wal")]
        return LibraryStatus(
            path=str(path),
            **size,
            stored=sum(file.stat().st_size for file in files if file.exists()),
            embedder=embedder,
            lacking=self._stored.lacking(embedder),
            unindexed=size["chunks"] if level is None else level.behind,
            kinds=self._store.kinds(),
            folders=self._store.folders(),
            notices=tuple(self.notices),
        )
