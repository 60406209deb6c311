"""What happens to connections, to time, and to the bytes of a response."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai
import pytest

from reverie.evals.quirks import Fail, Quirks, QuirkServer

ASK: list[Any] = [{"role": "user", "content": "What falls?"}]
Wire = Callable[..., list[bytes]]
Until = Callable[[Callable[[], bool]], None]


def test_resets(server: QuirkServer, wire: Wire) -> None:
    server.script(Fail(reset=True), Fail(reset=True, after=2), Fail(reset=True, after=0))
    assert wire() == [b"<reset>"]
    *received, end = wire(stream=True)
    assert end == b"<reset>"
    assert b"".join(received).count(b"data: ") == 2
    *received, end = wire()
    assert end == b"<reset>"
    assert b'"choices"' in b"".join(received)
    assert server.cancelled == []


def test_ends_in_mid_stream(server: QuirkServer, wire: Wire) -> None:
    server.script(Fail(close=True, after=2), Fail(hang=True, after=1))
    closed = b"".join(wire(stream=True))
    assert closed.count(b"data: ") == 2
    assert not closed.endswith((b"0\r\n\r\n", b"<reset>", b"<silence>"))
    *received, end = wire(stream=True)
    assert end == b"<silence>"
    assert b"".join(received).count(b"data: ") == 1


async def test_the_sdk_sees_a_reset_as_a_connection_error(
    server: QuirkServer, sdk: openai.AsyncOpenAI
) -> None:
    server.script(Fail(reset=True, after=3))
    reply = await sdk.chat.completions.create(model="toy", messages=ASK, stream=True)
    with pytest.raises((openai.APIConnectionError, httpx2.TransportError)):
        _ = [chunk async for chunk in reply]


def test_it_accepts_and_never_answers(client: Any, server: QuirkServer, until: Until) -> None:
    server.quirks = Quirks(hang=True)
    with pytest.raises(httpx2.ReadTimeout):
        client.get("models", timeout=0.1)
    until(lambda: len(server.cancelled) == 1)


def test_an_error_in_mid_stream(client: Any, server: QuirkServer) -> None:
    server.quirks = Quirks(fail=Fail(event="error", after=3, message="out of memory"))
    *before, last = client.chunks()
    assert len(before) == 3
    assert last["error"]["message"] == "out of memory"
    assert "error" in client.post("chat/completions", json=client.body()).json()
    *_, last = client.response_events()
    assert (last["type"], last["message"]) == ("error", "out of memory")
    server.quirks = Quirks(fail=Fail(event="failed", after=3, message="out of memory"))
    *_, last = client.response_events()
    assert last["type"] == "response.failed"
    assert last["response"]["error"]["message"] == "out of memory"
    failed = client.post("responses", json={"model": "toy", "input": "Hi"}).json()
    assert (failed["status"], failed["output"]) == ("failed", [])


def test_pages_and_wrong_types(client: Any, server: QuirkServer) -> None:
    for status in (200, 502):
        server.quirks = Quirks(html=status)
        response = client.post("chat/completions", json=client.body())
        assert response.status_code == status
        assert response.headers["content-type"] == "text/html"
        assert response.text.startswith("<!DOCTYPE html>")
    server.quirks = Quirks(content_type="text/plain")
    response = client.post("chat/completions", json=client.body(stream=True))
    assert response.headers["content-type"] == "text/plain"
    server.quirks = Quirks(ignores=("stream",))
    assert client.post("chat/completions", json=client.body(stream=True)).json()["choices"]


@pytest.mark.parametrize("fields", [{}, {"stream": True}])
@pytest.mark.parametrize("tells_length", [True, False])
def test_a_huge_response(
    client: Any, server: QuirkServer, fields: dict[str, Any], tells_length: bool, until: Until
) -> None:
    size = 50_000_000
    server.quirks = Quirks(
        huge_bytes=size, tells_length=tells_length, chunked=tells_length, usage="never"
    )
    with client.stream("POST", "chat/completions", json=client.body(**fields)) as response:
        assert ("content-length" in response.headers) is (tells_length and not fields)
        assert ("transfer-encoding" in response.headers) is (tells_length and bool(fields))
        assert size < sum(len(data) for data in response.iter_raw()) < size + 5_000
    with client.stream("POST", "chat/completions", json=client.body(**fields)):
        pass  # a client that does not want it
    until(lambda: len(server.cancelled) == 1)


def test_compressed(client: Any, server: QuirkServer) -> None:
    server.quirks = Quirks(gzip=True, huge_bytes=1_000_000)
    with client.stream("POST", "chat/completions", json=client.body()) as response:
        raw = b"".join(response.iter_raw())
    assert len(raw) < 10_000
    assert len(client.post("chat/completions", json=client.body()).content) > 1_000_000


def test_connections_are_kept_or_not(client: Any, server: QuirkServer, until: Until) -> None:
    for _ in range(3):
        client.get("models")
    assert server.open_connections == 1
    server.quirks = Quirks(keep_alive="no")
    assert client.get("models").headers["connection"] == "close"
    until(lambda: server.open_connections == 0)
    server.quirks = Quirks(keep_alive="dropped")
    assert "connection" not in client.get("models").headers
    until(lambda: server.open_connections == 0)


def test_requests_in_one_packet_are_answered_in_turn(server: QuirkServer) -> None:
    place = urlsplit(server.address)
    assert place.hostname is not None
    with socket.create_connection((place.hostname, place.port or 0), timeout=5) as connection:
        connection.sendall(b"GET /version HTTP/1.1\r\nhost: a\r\n\r\n" * 3)
        received = b""
        while received.count(b'"version"') < 3:
            received += connection.recv(65536)
        connection.sendall(b"no HTTP at all\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 400")
        assert connection.recv(65536) == b""


def test_slow_tokens_and_silence(client: Any, server: QuirkServer) -> None:
    server.quirks = Quirks(words=4, token_seconds=0.05, first_byte_seconds=0.2)
    begin = time.monotonic()
    with client.stream("POST", "chat/completions", json=client.body(stream=True)) as response:
        times = [time.monotonic() for line in response.iter_lines() if '"content":' in line]
    assert times[0] - begin >= 0.2
    gaps = [after - before for before, after in pairwise(times)]
    assert len(gaps) == 4
    assert sum(gaps) >= 0.18
    begin = time.monotonic()
    client.post("chat/completions", json=client.body())
    assert time.monotonic() - begin >= 0.4


async def test_cancelling_is_noticed(
    server: QuirkServer, sdk: openai.AsyncOpenAI, until: Until
) -> None:
    server.quirks = Quirks(words=1000, token_seconds=0.01)
    reply = await sdk.chat.completions.create(model="toy", messages=ASK, stream=True)
    async for _ in reply:
        break
    await reply.close()
    await asyncio.to_thread(until, lambda: len(server.cancelled) == 1)
    call = asyncio.create_task(sdk.chat.completions.create(model="toy", messages=ASK))
    await asyncio.to_thread(until, lambda: len(server.requests) == 2)
    call.cancel()
    await asyncio.to_thread(until, lambda: len(server.cancelled) == 2)
    assert server.cancelled[0].body["stream"] is True


def test_server_sent_events_in_unusual_forms(server: QuirkServer, wire: Wire) -> None:
    server.quirks = Quirks(reply="a b", comments=True, crlf=True, empty_chunks=True, done=False)
    received = b"".join(wire(stream=True))
    assert received.count(b": still here\r\n\r\ndata: {") == received.count(b"data: ") == 8
    assert received.count(b'"choices":[]}\r\n\r\n') == 4
    assert b"}\n" not in received
    assert b"[DONE]" not in received
    server.quirks = Quirks(space_after_data=False, chunked=False)
    received = b"".join(wire(stream=True))
    assert b"\n\ndata:{" in received
    assert received.endswith(b"data:[DONE]\n\n")


def test_characters_are_split_over_writes(server: QuirkServer, wire: Wire) -> None:
    server.quirks = Quirks(reply="é → 🙂", split_characters=True, write_seconds=0.01)
    for fields in ({}, {"stream": True}):
        received = wire(**fields)
        assert "🙂".encode() in b"".join(received)
        assert any(data[:1] >= b"\x80" for data in received)
        assert all(received[n][:1] < b"\xc0" for n in range(len(received)))


def test_bytes_come_slowly(client: Any, server: QuirkServer, wire: Wire) -> None:
    server.quirks = Quirks(reply="slow", write_bytes=16, write_seconds=0.005)
    begin = time.monotonic()
    assert client.text() == "slow"
    assert time.monotonic() - begin >= 0.1
    assert max(map(len, wire()[:5])) <= 32
