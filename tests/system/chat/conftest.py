"""A served model in front of the quirk server."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from reverie.evals.quirks import Quirks, QuirkServer
from reverie.models.chat import ServedChatModel
from reverie.models.profile import ModelProfile
from reverie.models.profiles import ProfileBook, StoredProfile

ABLE = {
    "window": 4096,
    "json_schema": True,
    "json_object": True,
    "schema_with_tools": True,
    "logprobs": True,
    "top_logprobs": 20,
    "n": True,
    "seed": True,
    "stop": True,
    "prefill": True,
    "parallel_tools": True,
    "counter": "vllm",
}
"""What the quirk server can do without quirks, as the doctor would write it."""

Served = Callable[..., ServedChatModel]


@pytest.fixture
def able() -> dict[str, Any]:
    return ABLE


@pytest.fixture
def server() -> Iterator[QuirkServer]:
    with QuirkServer(Quirks()) as running:
        yield running


@pytest.fixture
def book(tmp_path: Path) -> ProfileBook:
    return ProfileBook.under(tmp_path / "home")


@pytest.fixture
async def served(server: QuirkServer, book: ProfileBook) -> AsyncIterator[Served]:
    """Makes models for the server; ``profile`` are fields of the stored profile, None: none is."""
    made: list[ServedChatModel] = []

    def make(
        quirks: Quirks | None = None,
        *,
        profile: dict[str, Any] | None = ABLE,
        address: str = "",
        **options: Any,
    ) -> ServedChatModel:
        if quirks is not None:
            server.quirks = quirks
        address = address or server.address
        if profile is not None:
            known = ModelProfile(name="toy", **profile)
            book.write(StoredProfile(address=address, model="toy", profile=known, source="doctor"))
        fields = {"model": "toy", "home": book.folder.parent, "timeout": 20.0, **options}
        made.append(ServedChatModel(address=address, **fields))
        return made[-1]

    yield make
    for model in made:
        await model.aclose()
        await asyncio.to_thread(model.close)


class RawServer:
    """Answers every POST with the bytes ``answer``, and every GET with ``listed``. Both may be
    functions of the request's head.
    """

    def __init__(self) -> None:
        self.answer: Any = b""
        self.listed: Any = self.reply({"object": "list", "data": [{"id": "toy"}]})
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    @staticmethod
    def http(
        body: bytes, kind: str = "application/json", status: int = 200, more: str = ""
    ) -> bytes:
        head = (
            f"HTTP/1.1 {status} Whatever\r\ncontent-type: {kind}\r\n{more}"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        return head.encode() + body

    @classmethod
    def reply(cls, document: Any, status: int = 200) -> bytes:
        return cls.http(json.dumps(document).encode(), status=status)

    @classmethod
    def events(cls, documents: list[Any]) -> bytes:
        lines = [f"data: {json.dumps(document)}\n\n" for document in documents]
        return cls.http("".join([*lines, "data: [DONE]\n\n"]).encode(), "text/event-stream")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._respond, "127.0.0.1", 0)
        self.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        self._ready.set()
        async with server:
            await self._stop.wait()

    async def _respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length or 0))
            answer = self.listed if head.startswith(b"GET") else self.answer
            writer.write(answer(head) if callable(answer) else answer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client went away
        finally:
            writer.close()


@pytest.fixture(scope="module")
def raw() -> Iterator[RawServer]:
    with RawServer() as server:
        yield server
