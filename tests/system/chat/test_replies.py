"""What comes back: text, reasoning, usage, log-probabilities, ends."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage

from reverie.errors import ModelUnavailable
from reverie.evals.quirks import Quirks
from reverie.models.profiles import ProfileBook


async def whole(model, prompt="Say something", **options):
    """The chunks of a stream put together, as LangChain does it."""
    merged: AIMessageChunk | None = None
    async for chunk in model.astream(prompt, **options):
        merged = chunk if merged is None else merged + chunk
    assert merged is not None
    return merged


async def once(model, prompt="Say something", **options):
    return await model.ainvoke(prompt, **options)


BOTH = pytest.mark.parametrize("ask", [once, whole])


@BOTH
async def test_text_usage_and_end(served, ask) -> None:
    reply = await ask(served(Quirks(reply="one two three")))
    assert reply.text == "one two three"
    assert reply.usage_metadata["output_tokens"] == 3
    assert reply.usage_metadata["total_tokens"] == reply.usage_metadata["input_tokens"] + 3
    assert reply.response_metadata["finish_reason"] == "stop"
    assert reply.response_metadata["model_name"] == "toy"
    assert reply.response_metadata["usage_estimated"] is False


def test_without_an_event_loop(served) -> None:
    model = served(Quirks(reply="one two three"))
    assert model.invoke("Say something").text == "one two three"
    assert "".join(chunk.text for chunk in model.stream("Say something")) == "one two three"
    assert [reply.text for reply in model.batch(["a", "b"])] == ["one two three"] * 2


async def test_tokens_come_one_by_one(served) -> None:
    model = served(Quirks(reply="one two three"))
    texts = [chunk.text async for chunk in model.astream("x") if chunk.text]
    assert len(texts) == 3


@BOTH
async def test_usage_that_never_comes_is_estimated_and_marked(served, ask, book, server) -> None:
    model = served(Quirks(usage="never", reply="one two three"))
    reply = await ask(model)
    assert reply.response_metadata["usage_estimated"] is True
    assert reply.usage_metadata["output_tokens"] == 3
    assert reply.usage_metadata["input_tokens"] > 0
    assert "does not say what a reply cost" in reply.response_metadata["notices"][0]
    stored = ProfileBook(book.folder).find(server.address, "toy")
    assert stored.profile.usage == "never"
    assert stored.corrections[0].field == "usage"


async def test_usage_is_asked_for_in_streams(served, server) -> None:
    reply = await whole(served(Quirks(usage="asked")))
    assert reply.response_metadata["usage_estimated"] is False
    assert server.requests[-1].body["stream_options"] == {"include_usage": True}


@BOTH
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("where", ["reasoning", "reasoning_content", "think"])
async def test_reasoning_is_kept_apart(served, able, ask, where, known) -> None:
    profile = {**able, "reasoning": where} if known else able
    reply = await ask(served(Quirks(reasoning=where, reply="It is four."), profile=profile))
    assert reply.text.strip() == "It is four."
    assert "choose some of them" in reply.additional_kwargs["reasoning_content"]


@BOTH
async def test_reasoning_that_nothing_opens(served, able, ask) -> None:
    model = served(
        Quirks(reasoning="think_end", reply="It is four."),
        profile={**able, "reasoning": "think_end"},
    )
    reply = await ask(model)
    assert reply.text.strip() == "It is four."
    assert "choose some of them" in reply.additional_kwargs["reasoning_content"]


@BOTH
async def test_logprobs(served, ask) -> None:
    reply = await ask(served(Quirks(reply="one two")), logprobs=True, top_logprobs=2)
    entries = reply.response_metadata["logprobs"]["content"]
    assert "".join(entry["token"] for entry in entries) == "one two"
    assert all(entry["logprob"] <= 0 for entry in entries)
    assert len(entries[0]["top_logprobs"]) == 2


@BOTH
async def test_logprobs_that_do_not_come_correct_the_profile(served, ask, server, book) -> None:
    reply = await ask(served(Quirks(ignores=("logprobs", "top_logprobs"))), logprobs=True)
    assert "logprobs" not in reply.response_metadata
    assert book.find(server.address, "toy").profile.logprobs is False


@BOTH
async def test_a_reply_that_was_cut_off_says_so(served, ask) -> None:
    reply = await ask(served(Quirks(words=50)), max_tokens=5)
    assert reply.response_metadata["finish_reason"] == "length"
    assert reply.usage_metadata["output_tokens"] == 5


@BOTH
async def test_no_finish_reason_at_all(served, ask) -> None:
    reply = await ask(served(Quirks(finish="missing", reply="one two")))
    assert reply.text == "one two"
    assert reply.response_metadata["finish_reason"] == "unknown"


@BOTH
async def test_an_empty_reply_is_asked_for_once_more_and_then_an_error(served, ask, server) -> None:
    with pytest.raises(ModelUnavailable, match="empty reply") as caught:
        await ask(served(Quirks(empty_choices=True)))
    assert caught.value.transient
    assert server.address in caught.value.message
    assert len([r for r in server.requests if r.path.endswith("completions")]) == 2


@BOTH
async def test_empty_chunks_comments_crlf_and_split_characters(served, ask) -> None:
    quirks = Quirks(
        reply="Größe naïve 数 🙂 ende",
        empty_chunks=True,
        comments=True,
        crlf=True,
        split_characters=True,
        space_after_data=False,
        done=False,
    )
    assert (await ask(served(quirks))).text == "Größe naïve 数 🙂 ende"


@BOTH
async def test_a_wrong_content_type_is_read_all_the_same(served, ask) -> None:
    reply = await ask(served(Quirks(content_type="text/plain", reply="one two")))
    assert reply.text == "one two"


async def test_a_server_that_does_not_stream(served) -> None:
    reply = await whole(served(Quirks(ignores=("stream",), reply="one two")))
    assert reply.text == "one two"
    assert reply.usage_metadata["output_tokens"] == 2


@BOTH
async def test_stop_strings(served, ask) -> None:
    reply = await ask(served(Quirks(reply="one two three four")), stop=["three"])
    assert reply.text.strip() == "one two"
    assert reply.response_metadata["finish_reason"] == "stop"


@BOTH
async def test_stop_strings_that_the_server_ignores(served, ask, server, book) -> None:
    model = served(Quirks(ignores=("stop",), reply="one two three four"))
    reply = await ask(model, stop=["three"])
    assert reply.text.strip() == "one two"
    assert book.find(server.address, "toy").profile.stop is False
    assert any("stop string" in notice for notice in reply.response_metadata["notices"])


async def test_the_same_seed_gives_the_same_reply(served) -> None:
    model = served(Quirks())
    one, two, other = [
        (await model.ainvoke("x", seed=seed, temperature=1.0)).text for seed in (1, 1, 2)
    ]
    assert one == two != other


async def test_several_replies(served, server) -> None:
    model = served(Quirks())
    result = await model.agenerate([[HumanMessage("x")]], n=3, temperature=1.0)
    assert len(result.generations[0]) == 3
    assert len([r for r in server.requests if r.path.endswith("completions")]) == 1


async def test_several_replies_of_a_server_that_ignores_n(served, server, book) -> None:
    model = served(Quirks(ignores=("n",)))
    result = await model.agenerate([[HumanMessage("x")]], n=3, temperature=1.0)
    assert len(result.generations[0]) == 3
    assert book.find(server.address, "toy").profile.n is False


@BOTH
async def test_a_reply_begins_with_its_prefill(served, ask, server) -> None:
    reply = await ask(served(Quirks()), prefill="Once upon")
    assert reply.text.startswith("Once upon")
    assert server.requests[-1].body["continue_final_message"] is True
