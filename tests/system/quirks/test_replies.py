"""What a good server says, and the quirks of usage, reasoning and how replies end."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from reverie.evals.quirks import Quirks, QuirkServer

ASK: list[Any] = [{"role": "user", "content": "What falls?"}]
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "string"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "ab", "schema": SCHEMA}}


async def test_the_sdk_reads_a_reply(sdk: openai.AsyncOpenAI) -> None:
    reply = await sdk.chat.completions.create(model="toy", messages=ASK, max_tokens=5)
    assert reply.choices[0].message.content
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (5, 5)


async def test_the_sdk_reads_a_stream(sdk: openai.AsyncOpenAI) -> None:
    reply = await sdk.chat.completions.create(
        model="toy", messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in reply]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert len(text.split()) == 12
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 12


def test_what_it_serves(client: Any, server: QuirkServer) -> None:
    server.quirks = Quirks(models=("a", "b"), owned_by="me", window=99, version="1.2")
    first, second = client.get("models").json()["data"]
    assert (first["id"], second["id"], first["owned_by"]) == ("a", "b", "me")
    assert first["max_model_len"] == 99
    assert client.get("../version").json() == {"version": "1.2"}
    assert client.get("../health").status_code == 200
    server.quirks = Quirks(tells_window=False, absent=("/version",))
    assert "max_model_len" not in client.get("models").json()["data"][0]
    assert client.get("../version").status_code == 404
    assert client.error(404, model="other")["error"]["code"] == "model_not_found"


def test_tokenize_counts_what_usage_counts(client: Any, server: QuirkServer) -> None:
    asked = {"model": "toy", "messages": [*ASK, {"role": "assistant", "content": "It is"}]}
    open_ended = {**asked, "continue_final_message": True, "add_generation_prompt": False}
    for document in (asked, open_ended):
        counted = client.post("../tokenize", json=document).json()
        used = client.post("chat/completions", json=document).json()["usage"]
        assert counted["count"] == used["prompt_tokens"] == len(counted["tokens"])
        assert counted["max_model_len"] == 4096
    assert client.post("../tokenize", json={"prompt": "a b c"}).json()["count"] == 3
    server.quirks = Quirks(counter="llamacpp", overflow="llamacpp", window=7)
    prompt = client.post("../apply-template", json=asked).json()["prompt"]
    ids = client.post("../tokenize", json={"content": prompt}).json()["tokens"]
    refused = client.post("chat/completions", json=asked).json()
    assert refused["error"]["n_prompt_tokens"] == len(ids)
    assert client.get("../props").json()["default_generation_settings"]["n_ctx"] == 7


def test_seed_n_and_stop_are_obeyed_or_ignored(client: Any, server: QuirkServer) -> None:
    def replies(**fields: Any) -> list[str]:
        choices = client.post("chat/completions", json=client.body(**fields)).json()["choices"]
        return [choice["message"]["content"] for choice in choices]

    assert replies(seed=1, n=2) == replies(seed=1, n=2)
    assert len(set(replies(seed=1, n=3))) == 3
    server.quirks = Quirks(reply="one two STOP three")
    assert replies(stop=["STOP"]) == ["one two "]
    assert client.joined(client.chunks(stop="two")) == "one "
    server.quirks = Quirks(reply="one two STOP three", ignores=("stop", "n"))
    assert replies(stop=["STOP"], n=3) == ["one two STOP three"]
    server.quirks = Quirks(ignores=("seed",))
    assert replies(seed=1) != replies(seed=1)


def test_logprobs_prompt_logprobs_and_token_ids(client: Any) -> None:
    asked = client.body(
        logprobs=True, top_logprobs=3, prompt_logprobs=1, return_token_ids=True, max_tokens=4
    )
    document = client.post("chat/completions", json=asked).json()
    (choice,) = document["choices"]
    content = choice["logprobs"]["content"]
    assert "".join(one["token"] for one in content) == choice["message"]["content"]
    assert all(len(one["top_logprobs"]) == 3 for one in content)
    assert len(choice["token_ids"]) == 4
    assert len(document["prompt_token_ids"]) == 5
    assert len(document["prompt_logprobs"]) == 5
    assert document["prompt_logprobs"][0] is None
    chunks = client.chunks(**{**asked, "prompt_logprobs": None})
    assert chunks[0]["prompt_token_ids"] == document["prompt_token_ids"]
    tokens = [c["choices"][0] for c in chunks[1:5]]
    assert all(len(one["logprobs"]["content"][0]["top_logprobs"]) == 3 for one in tokens)
    assert all(len(one["token_ids"]) == 1 for one in tokens)
    assert "max allowed: 20" in client.error(logprobs=True, top_logprobs=21)["error"]["message"]


def test_a_reply_goes_on(client: Any, server: QuirkServer) -> None:
    server.quirks = Quirks(words=2)
    begun = [*ASK, {"role": "assistant", "content": "The ball"}]
    assert client.text(messages=begun, continue_final_message=True).startswith(" ")
    half = [*ASK, {"role": "assistant", "content": '{"a": "'}]
    rest = client.text(messages=half, continue_final_message=True, response_format=FORMAT, seed=1)
    assert set(json.loads('{"a": "' + rest)) == {"a", "b"}
    client.error(messages=begun, continue_final_message=True, add_generation_prompt=True)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [("always", (True, True, True)), ("asked", (False, True, True)), ("never", (False,) * 3)],
)
def test_usage(
    client: Any, server: QuirkServer, usage: Any, expected: tuple[bool, bool, bool]
) -> None:
    plain, asked, without = expected
    server.quirks = Quirks(usage=usage)
    options = {"include_usage": True}
    assert any("usage" in c for c in client.chunks()) is plain
    assert any("usage" in c for c in client.chunks(stream_options=options)) is asked
    document = client.post("chat/completions", json=client.body()).json()
    assert ("usage" in document) is without
    completed = client.post("responses", json={"model": "toy", "input": "Hi"}).json()
    assert ("usage" in completed) is without


def test_usage_in_the_last_chunk(client: Any, server: QuirkServer) -> None:
    server.quirks = Quirks(usage="always", usage_in_last_chunk=True, cached_tokens=3)
    *_, last, done = client.chunks(n=2)
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["usage"]["prompt_tokens_details"] == {"cached_tokens": 3}
    assert done == "[DONE]"


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_in_a_field(client: Any, server: QuirkServer, field: Any) -> None:
    server.quirks = Quirks(reasoning=field, thought="I think so.", reply="Yes.")
    assert client.ask()["message"] == {"role": "assistant", "content": "Yes.", field: "I think so."}
    chunks = client.chunks()
    assert "".join(delta.get(field, "") for delta in client.deltas(chunks)) == "I think so."
    assert client.joined(chunks) == "Yes."
    cut = client.ask(max_tokens=2)
    assert (cut["message"][field], cut["message"]["content"]) == ("I think", None)
    assert cut["finish_reason"] == "length"


@pytest.mark.parametrize(("form", "opening"), [("think", "<think>\n"), ("think_end", "")])
def test_reasoning_in_tags(client: Any, server: QuirkServer, form: Any, opening: str) -> None:
    server.quirks = Quirks(reasoning=form, thought="I think so.", reply="Yes.")
    assert client.text() == f"{opening}I think so.\n</think>\n\nYes."
    assert client.joined(client.chunks()) == f"{opening}I think so.\n</think>\n\nYes."


def test_how_replies_end(client: Any, server: QuirkServer) -> None:
    server.quirks = Quirks(finish="missing", done=False)
    assert client.ask()["finish_reason"] is None
    assert all(c["choices"][0]["finish_reason"] is None for c in client.chunks())
    server.quirks = Quirks(finish="length")
    assert client.ask()["finish_reason"] == "length"
    server.quirks = Quirks(empty_choices=True)
    assert client.post("chat/completions", json=client.body()).json()["choices"] == []
    assert client.deltas(client.chunks()) == []
    assert client.post("responses", json={"model": "toy", "input": "Hi"}).json()["output"] == []
    server.quirks = Quirks(refusal="I will not.")
    assert client.ask()["message"]["refusal"] == "I will not."
    assert any(delta.get("refusal") == "I will not." for delta in client.deltas(client.chunks()))
