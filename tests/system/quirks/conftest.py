"""A quirk server, and clients that ask it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai
import pytest

from reverie.evals.quirks import QuirkServer


class Client(httpx2.Client):
    """A plain HTTP client that knows what to ask."""

    @staticmethod
    def body(**fields: Any) -> dict[str, Any]:
        """Of a chat completion."""
        question = [{"role": "user", "content": "What falls?"}]
        return {"model": "toy", "messages": question, **fields}

    def ask(self, **fields: Any) -> Any:
        """The first choice of a chat completion."""
        response = self.post("chat/completions", json=self.body(**fields))
        assert response.status_code == 200, response.text
        return response.json()["choices"][0]

    def text(self, **fields: Any) -> str:
        return str(self.ask(**fields)["message"]["content"])

    def error(self, status: int = 400, **fields: Any) -> Any:
        """The body of an error."""
        response = self.post("chat/completions", json=self.body(**fields))
        assert response.status_code == status, response.text
        return response.json()

    def chunks(self, **fields: Any) -> list[Any]:
        """The documents of a stream."""
        response = self.post("chat/completions", json=self.body(stream=True, **fields))
        assert response.headers["content-type"].startswith("text/event-stream"), response.text
        return _documents(response.text)

    def response_events(self, **fields: Any) -> list[Any]:
        """The events of a stream of the Responses API."""
        asked = {"model": "toy", "input": "Hi", "stream": True, **fields}
        response = self.post("responses", json=asked)
        assert response.status_code == 200, response.text
        return _documents(response.text)

    @staticmethod
    def deltas(chunks: list[Any]) -> list[Any]:
        """Of the chunks that have a choice."""
        return [c["choices"][0]["delta"] for c in chunks if c != "[DONE]" and c["choices"]]

    def joined(self, chunks: list[Any]) -> str:
        """The content of a stream."""
        return "".join(delta.get("content") or "" for delta in self.deltas(chunks))


def _documents(text: str) -> list[Any]:
    data = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return [one if one == "[DONE]" else json.loads(one) for one in data]


@pytest.fixture
def server() -> Iterator[QuirkServer]:
    with QuirkServer() as server:
        yield server


@pytest.fixture
def client(server: QuirkServer) -> Iterator[Client]:
    with Client(base_url=server.address, timeout=10) as client:
        yield client


@pytest.fixture
def client_for() -> Callable[..., Client]:
    """For servers of a test's own."""
    return Client


@pytest.fixture
async def sdk(server: QuirkServer) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=server.address, api_key="sk-test", max_retries=0) as sdk:
        yield sdk


@pytest.fixture
def wire(server: QuirkServer) -> Callable[..., list[bytes]]:
    """Asks, and returns what the answer is made of, one ``recv`` each, until the server closes or
    is silent for a second.
    """

    def ask(**fields: Any) -> list[bytes]:
        sent = json.dumps(Client.body(**fields)).encode()
        place = urlsplit(server.address)
        with socket.create_connection((place.hostname, place.port), timeout=1) as connection:
            connection.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: quirks\r\n"
                b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(sent), sent)
            )
            received = []
            try:
                while data := connection.recv(1 << 16):
                    received.append(data)
            except TimeoutError:
                received.append(b"<silence>")
            except ConnectionResetError:
                received.append(b"<reset>")
            return received

    return ask


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """Waits until something has happened."""

    def wait(condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 5
        while not condition():
            assert time.monotonic() < end, "it did not happen within 5 seconds"
            time.sleep(0.005)

    return wait
