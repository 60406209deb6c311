"""Embeddings from a server (``/v1/embeddings``), and the embedder that the settings name."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from reverie.errors import ConfigError, ContextOverflow, ModelRejected, OutputInvalid
from reverie.models.embedder import Embedder, MiniLM
from reverie.models.vectors import read_vectors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reverie.models.embedded.checkpoint import Report
    from reverie.models.wire.connection import Connection
    from reverie.settings import Settings

PACKAGED: Final = "minilm"

_BATCH_TEXTS = 32
"""Texts per request: what Text Embeddings Inference takes unless it is told otherwise."""
_BATCH_CHARS = 32_000
"""And their characters, about 8,000 tokens."""
_MOST_CHARS = 400_000
"""Longer texts are cut before they are sent: no embedding model reads as much."""
_LEAST_CHARS = 16
"""A text that does not fit although it is this short fails for another reason."""
_AT_A_TIME = 4
"""Requests of one ``embed`` under way together; servers put them into one batch."""
_EMPTY = "."
"""What stands for an empty text, which servers refuse."""

_BATCH_REFUSED: Final = re.compile(r"batch.{0,20}size|too many (?:inputs|texts)", re.IGNORECASE)


def load_embedder(settings: Settings, report: Report | None = None) -> Embedder:
    """The embedder that ``settings.embedder`` names; it is got ready by ``load`` or its first use.

    Blocks, for a server about a second: it imports the client. Raises ConfigError for a name that
    is no embedder, ModelRejected when its server wants a key that is not set.
    """
    from reverie.models.served import endpoint_of, is_served, served_place

    name = settings.embedder.name
    if name == PACKAGED:
        return MiniLM(settings.models_folder, progress=report)
    if not is_served(name):
        raise ConfigError(
            f"there is no embedder called {name!r}",
            hint=f"use {PACKAGED}, a server's address (http://HOST:PORT/v1#MODEL), or PRESET:MODEL "
            "as in ollama:nomic-embed-text",
        )
    from reverie.models.wire.connection import Connection

    _, model, _ = served_place(name)
    return ServedEmbedder(Connection(endpoint_of(settings.embedder, settings)), model)


class ServedEmbedder:
    """A server's embedding model. Vectors have length one, whatever the server sends.

    Usable from several threads and event loops. What is longer than the model's window is cut at
    its end: by the server, where it can do that (vLLM), else here; ``notices`` says so once.
    """

    def __init__(
        self, connection: Connection, model: str = "", *, dimensions: int | None = None
    ) -> None:
        """``model`` may be empty where the server has only one. ``dimensions`` asks for shorter
        vectors, from models that were trained for it.
        """
        self.connection = connection
        self._model = model
        self._asked = dimensions
        self._dimension: int | None = None
        self._most_texts = _BATCH_TEXTS
        self._truncates: bool | None = None  # whether the server cuts; None: not known
        self._lock = threading.Lock()
        self._notices: list[str] = []

    @property
    def name(self) -> str:
        """``MODEL@ADDRESS``: the same model elsewhere may have other weights or precision."""
        if not self._model:
            raise self._not_loaded()
        return f"{self._model}@{self.address}"

    @property
    def dimension(self) -> int:
        """D, known once ``load`` or ``embed`` has been awaited."""
        if self._dimension is None:
            raise self._not_loaded()
        return self._dimension

    @property
    def address(self) -> str:
        return self.connection.endpoint.address

    @property
    def notices(self) -> Sequence[str]:
        """What a person should know, such as that texts are cut."""
        return tuple(self._notices)

    async def load(self) -> None:
        """Finds out what the model is called and how long its vectors are."""
        if self._dimension is None:
            await self.embed([_EMPTY])

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """``texts`` as float32 [N, D], each row of length one; [0, D] for none.

        Raises ModelUnavailable, ModelRejected, or OutputInvalid for vectors that cannot be used.
        """
        import numpy as np

        if not self._model:
            self._model = await self._only_model()
        if not texts:
            await self.load()
            return np.zeros((0, self.dimension), dtype=np.float32)
        batches = list(_batches([_sendable(text) for text in texts], self._most_texts))
        turn = asyncio.Semaphore(_AT_A_TIME)

        async def one(batch: list[str]) -> NDArray[np.float32]:
            async with turn:
                return await self._embed(batch)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(batch)) for batch in batches]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None  # the others were cancelled or say the same
        return np.concatenate([task.result() for task in tasks])

    async def aclose(self) -> None:
        """Closes the running event loop's connections; they open again when needed."""
        await self.connection.aclose()

    # -- one request ---------------------------------------------------------------------------

    async def _embed(self, texts: list[str]) -> NDArray[np.float32]:
        try:
            return await self._ask(texts, truncate=self._truncates is True)
        except ContextOverflow as error:
            if self._truncates is None and (cut := await self._cut_by_server(texts)) is not None:
                return cut
            if len(texts) > 1:
                return await self._in_halves(texts)
            return await self._cut_here(texts[0], error)
        except ModelRejected as error:
            if len(texts) > 1 and _BATCH_REFUSED.search(error.message):
                self._most_texts = min(self._most_texts, len(texts) // 2)
                return await self._in_halves(texts)
            raise self._explained(error) from error

    async def _ask(self, texts: list[str], *, truncate: bool = False) -> NDArray[np.float32]:
        # No encoding_format: plain numbers are what every server sends by itself.
        body: dict[str, Any] = {"model": self._model, "input": texts}
        if self._asked is not None:
            body["dimensions"] = self._asked
        if truncate:
            body["truncate_prompt_tokens"] = -1  # vLLM's word for: at the window
        document = await self.connection.post("/embeddings", body)
        try:
            vectors = read_vectors(document, len(texts))
        except ValueError as error:
            said = self.connection.secrets.strike(str(error))
            raise OutputInvalid(
                f"{self._model} at {self.address} {said}",
                hint="see that it is an embedding model and that the server's log has no errors; "
                f"{PACKAGED} needs no server",
            ) from None
        self._learn(vectors.shape[1])
        return vectors

    async def _in_halves(self, texts: list[str]) -> NDArray[np.float32]:
        import numpy as np

        middle = len(texts) // 2
        return np.concatenate(
            [await self._embed(texts[:middle]), await self._embed(texts[middle:])]
        )

    async def _cut_by_server(self, texts: list[str]) -> NDArray[np.float32] | None:
        """The vectors of texts that the server has cut; None when it does not do that."""
        try:
            vectors = await self._ask(texts, truncate=True)
        except ModelRejected:
            self._truncates = False
            return None
        self._truncates = True
        self._say_cut()
        return vectors

    async def _cut_here(self, text: str, error: ContextOverflow) -> NDArray[np.float32]:
        """The vector of as much of ``text`` as the server takes."""
        while len(text) > _LEAST_CHARS:
            # The server's numbers tell how far it is too long, but not by which characters.
            fits = error.window / error.tokens if error.window and error.tokens else 0.5
            text = text[: max(_LEAST_CHARS, int(len(text) * min(0.9 * fits, 0.75)))]
            try:
                vectors = await self._ask([text])
            except ContextOverflow as again:
                error = again
            else:
                self._say_cut()
                return vectors
        raise error

    # -- what is learnt ------------------------------------------------------------------------

    async def _only_model(self) -> str:
        document = await self.connection.get("/models")
        listed = document.get("data") if isinstance(document, dict) else None
        entries = listed if isinstance(listed, list) else []
        names = [str(entry["id"]) for entry in entries if isinstance(entry, dict) and "id" in entry]
        if len(names) != 1:
            has = f"has {len(names)} models" if names else "names no models"
            shown = f": {', '.join(sorted(names)[:10])}" if names else ""
            raise ConfigError(
                f"{self.address} {has}, and it is not said which one embeds",
                hint=f"name it in embedder.name, as in {self.address}#MODEL{shown}",
            )
        return names[0]

    def _learn(self, dimension: int) -> None:
        if self._asked is not None and dimension != self._asked:
            raise OutputInvalid(
                f"{self._model} at {self.address} sent vectors of {dimension} numbers although "
                f"{self._asked} were asked for",
                hint="leave dimensions out, or use a model that was trained for shorter vectors",
            )
        with self._lock:
            known = self._dimension = self._dimension or dimension
        if dimension != known:
            raise OutputInvalid(
                f"{self._model} at {self.address} sent vectors of {dimension} numbers, and before "
                f"that of {known}",
                hint="another model is served under that name now: start again, with the first "
                "model or with another REVERIE_HOME",
            )

    def _say_cut(self) -> None:
        notice = f"texts that are too long for {self._model} at {self.address} are cut at their end"
        with self._lock:
            if notice not in self._notices:
                self._notices.append(notice)

    def _explained(self, error: ModelRejected) -> ModelRejected:
        if error.status not in (404, 405, 501) or "no such model" in error.message:
            return error
        return ModelRejected(
            f"{self.address} has no embeddings: {error.message}",
            hint="vLLM serves them with --runner pooling, llama.cpp with --embeddings, each for a "
            f"model of its own; {PACKAGED} needs no server",
            status=error.status,
        )

    def _not_loaded(self) -> RuntimeError:
        return RuntimeError(f"what {self.address} embeds with is known after `await load()`")


def _sendable(text: str) -> str:
    # Lone surrogates (they come from damaged input) cannot be sent.
    text = text[:_MOST_CHARS].encode("utf-8", "replace").decode("utf-8")
    return text if text.strip() else _EMPTY


def _batches(texts: Sequence[str], most: int) -> Iterator[list[str]]:
    """The texts in order, as many together as one request may hold."""
    batch: list[str] = []
    room = _BATCH_CHARS
    for text in texts:
        if batch and (len(batch) >= most or len(text) > room):
            yield batch
            batch, room = [], _BATCH_CHARS
        batch.append(text)
        room -= len(text)
    yield batch
