"""Requests that are refused, failures on order, and embeddings."""

from __future__ import annotations

import base64
import struct
from datetime import UTC, datetime
from typing import Any

import pytest

from reverie.evals.quirks import Fail, Quirks, QuirkServer

SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "string"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "ab", "schema": SCHEMA}}


def test_overflow_has_four_wordings(client: Any, server: QuirkServer) -> None:
    long = [{"role": "user", "content": "word " * 100}]
    for overflow, told in {
        "vllm": lambda e: "contains at least 103 input tokens" in e["error"]["message"],
        "openai": lambda e: e["error"]["code"] == "context_length_exceeded",
        "llamacpp": lambda e: (e["error"]["n_prompt_tokens"], e["error"]["n_ctx"]) == (103, 50),
        "sglang": lambda e: "The input (103 tokens) is longer" in e["message"],
    }.items():
        server.quirks = Quirks(window=50, overflow=overflow)  # type: ignore[arg-type]  # all are
        assert told(client.error(messages=long))
        asked = client.post("chat/completions", json=client.body(max_tokens=46))
        assert asked.status_code == (200 if overflow == "llamacpp" else 400)
        assert client.post("chat/completions", json=client.body(max_tokens=45)).status_code == 200
    server.quirks = Quirks(window=50, overflow="cut")
    used = client.post("chat/completions", json=client.body(messages=long)).json()["usage"]
    assert used["prompt_tokens"] == 49


def test_fields_are_refused(client: Any, server: QuirkServer) -> None:
    fields = {"logprobs": True, "response_format": FORMAT, "stream_options": {}, "seed": 0}
    server.quirks = Quirks(refuses=tuple(fields))
    for name, value in fields.items():
        assert client.error(**{name: value})["error"]["param"] == name
    assert client.ask()["finish_reason"] == "stop"
    server.quirks = Quirks(refuses=("response_format.json_schema", "max_tokens"))
    client.error(response_format=FORMAT)
    assert client.ask(response_format={"type": "json_object"})
    assert "max_completion_tokens" in client.error(max_tokens=1)["error"]["message"]
    assert client.error(messages=[])["error"]["code"] == "empty_array"
    assert client.error(messages=[1])["error"]["type"] == "bad_request"


def test_a_wrong_key_is_repeated(client: Any, server: QuirkServer) -> None:
    server.quirks = Quirks(key="sk-right")
    response = client.get("models", headers={"authorization": "Bearer sk-wrong"})
    assert response.status_code == 401
    assert "sk-wrong" in response.json()["error"]["message"]
    assert response.headers["x-received-authorization"] == "Bearer sk-wrong"
    assert client.get("models").status_code == 401
    assert client.get("models", headers={"authorization": "Bearer sk-right"}).status_code == 200


def test_scripted_failures_come_once_each(client: Any, server: QuirkServer) -> None:
    soon = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    server.script(
        Fail(status=429, retry_after=0.2),
        Fail(status=503, retry_after=soon),
        None,
        Fail(status=500, body="oh", content_type="text/plain", headers=(("x-a", "b"),)),
        Fail(echo=True),
    )
    first, second, third, fourth, fifth, sixth = (
        client.get("models", headers={"authorization": "Bearer sk-secret"}) for _ in range(6)
    )
    assert (first.status_code, first.headers["retry-after"]) == (429, "0.2")
    assert second.headers["retry-after"] == "Wed, 02 Jan 2030 03:04:05 GMT"
    assert third.status_code == sixth.status_code == 200
    assert (fourth.text, fourth.headers["x-a"]) == ("oh", "b")
    assert "sk-secret" in fifth.json()["error"]["message"]
    assert "sk-secret" in fifth.headers["x-received-headers"]
    assert len(server.requests) == 6
    assert server.requests[0].headers["authorization"] == "Bearer sk-secret"


def test_embeddings(client: Any, server: QuirkServer) -> None:
    def embed(texts: Any = ("the ball", "a stone", "the ball falls"), **fields: Any) -> Any:
        asked = {"model": "toy", "input": texts, **fields}
        return client.post("embeddings", json=asked).json()

    first, second, third = (row["embedding"] for row in embed()["data"])
    assert len(first) == 8
    assert sum(x * x for x in first) == pytest.approx(1)
    similar = sum(a * b for a, b in zip(first, third, strict=True))
    assert similar > sum(a * b for a, b in zip(first, second, strict=True))
    server.quirks = Quirks(dimension=5, embeddings_unnormalised=True, embeddings_shuffled=True)
    rows = embed()["data"]
    assert [row["index"] for row in rows] == [1, 0, 2]
    assert all(len(row["embedding"]) == 5 for row in rows)
    assert sum(x * x for x in rows[2]["embedding"]) > 2
    coded = base64.b64decode(embed(encoding_format="base64", dimensions=3)["data"][0]["embedding"])
    assert len(struct.unpack("<3f", coded)) == 3
    server.quirks = Quirks(embeddings_lost=1, embeddings_base64=True, embeddings_most=3)
    assert len(embed()["data"]) == 2
    assert isinstance(embed()["data"][0]["embedding"], str)
    assert "batch size 4" in embed(["a"] * 4)["error"]["message"]
    server.quirks = Quirks(window=2)
    assert "maximum context length" in embed(["a b c"])["error"]["message"]
