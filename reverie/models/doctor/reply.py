"""The first reply, and what else is about replies as such: how they end, differ and are counted."""

from __future__ import annotations

from collections import Counter
from contextlib import aclosing
from dataclasses import replace
from typing import NoReturn

from reverie.errors import ModelRejected, ReverieError
from reverie.models.doctor.probing import Outcome, Probe, Probing, no, said, unknown, yes
from reverie.models.doctor.question import PATHS, Question, usage_of

BASE_PROMPT = "Tell me in one sentence what happens when you drop a ball."
WORDS_PROMPT = "Write down ten words that come to your mind, whatever they are."

_SHOWN = 8
_HEADSTART = 24
_CUT = 4
"""Tokens of a reply that is to be cut."""


async def first_reply(probing: Probing) -> None:
    """Find a form of request that the model answers at all. Raises when there is none."""
    rule = probing.preset.profile_for(probing.model) if probing.preset else None
    if rule is not None:
        probing.wire, probing.limit = rule.wire, rule.max_tokens_field
    tried: set[tuple[str, str, bool]] = set()
    failure: ModelRejected | None = None
    while (form := (probing.wire, probing.limit, probing.sampling)) not in tried:
        tried.add(form)
        try:
            probing.base = await probing.ask(
                Question(BASE_PROMPT, tokens=_HEADSTART, temperature=probing.greedy),
                seconds=probing.patience.first_reply,
            )
        except ModelRejected as error:
            failure = failure or error
            if error.status in (401, 403):
                raise
            _adapt(probing, error)
        else:
            _settle(probing, failure)
            await _read_reasoning_to_its_end(probing)
            return
    assert failure is not None  # noqa: S101  # the first form is never among those tried
    await _explain(probing, failure)


def _adapt(probing: Probing, error: ModelRejected) -> None:
    """Try what the refusal is likely to be about."""
    words = f"{error.field} {error.message}"
    if probing.wire == "chat" and (error.field == "wire" or "v1/responses" in words):
        probing.wire, probing.limit = "responses", "max_output_tokens"
    elif "temperature" in words and probing.sampling:
        probing.sampling = False
    elif "max_tokens" in words and probing.limit == "max_tokens":
        probing.limit = "max_completion_tokens"
    elif error.status == 404 and probing.wire == "chat" and "no such model" not in error.message:
        probing.wire, probing.limit = "responses", "max_output_tokens"
    elif error.status in (400, 422) and probing.sampling:
        probing.sampling = False  # the refusal does not say: what is most often refused


def _settle(probing: Probing, failure: ModelRejected | None) -> None:
    path = PATHS[probing.wire]
    why = f"; before that: {said(failure)}" if failure else ""
    title = "Chat Completions" if probing.wire == "chat" else "Responses"
    probing.outcomes["wire"] = yes(f"{path} answers{why}", title, wire=probing.wire)
    limit = {"max_tokens_field": probing.limit}
    probing.outcomes["max_tokens_field"] = yes("the first reply kept to it", probing.limit, **limit)
    probing.outcomes["sampling"] = (
        yes("temperature 0 was taken", sampling=True)
        if probing.sampling
        else no(f"refused: {said(failure)}" if failure else "refused", sampling=False)
    )
    base = probing.base
    if base.empty and not probing.reasoning:
        probing.notices.append("the first reply was empty")
    if base.usage and base.usage[1] > 2 * _HEADSTART and not probing.reasoning:
        probing.outcomes["max_tokens_field"] = no(
            f"{base.usage[1]} tokens came where {_HEADSTART} were allowed", probing.limit, **limit
        )


async def _read_reasoning_to_its_end(probing: Probing) -> None:
    """A model that reasons may not have come to its answer: ask again, with room for that."""
    if probing.reasoning and len(probing.base.text.split()) < 3:
        question = Question(BASE_PROMPT, tokens=_HEADSTART, temperature=probing.greedy)
        probing.base = await probing.ask(question, seconds=probing.patience.first_reply)


async def _explain(probing: Probing, failure: ModelRejected) -> NoReturn:
    """Raise the failure with what can be done about it."""
    hint = "see the server's own log, or name another model with --model"
    if probing.models and probing.model not in probing.models:
        hint = f"name one that it has with --model: {', '.join(probing.models[:_SHOWN])}"
    elif await _embeds(probing):
        place = f"{probing.connection.endpoint.address}#{probing.model}"
        hint = f"this model embeds texts and does not chat: use it as embedder.name, {place}"
    raise ModelRejected(failure.message, hint=hint, status=failure.status) from failure


async def _embeds(probing: Probing) -> bool:
    body = {"model": probing.model, "input": ["a ball"]}
    try:
        document = await probing.post("/embeddings", body)
    except ReverieError:  # then it is not that
        return False
    return isinstance(document, dict) and bool(document.get("data"))


async def _cut(probing: Probing) -> Outcome:
    """Whether a reply that ends at the limit says so."""
    question = Question("Count from 1 to 100.", tokens=_CUT, temperature=probing.greedy)
    reply = probing.base
    if not reply.cut:
        reply = await probing.ask(question, room=False)
    if reply.cut:
        return yes("finish_reason length at the limit")
    if reply.usage is None or reply.usage[1] < probing.least(_CUT):
        return unknown("no reply came to its limit")
    return no(f"finish_reason {reply.finish or 'missing'} after {reply.usage[1]} tokens")


async def _usage(probing: Probing) -> Outcome:
    question = Question(BASE_PROMPT, tokens=4, temperature=probing.greedy)
    if await _stream_counts(probing, question):
        return yes("streams end in a count unasked", "always", usage="always")
    if probing.wire == "responses":
        return no("a stream without a count of tokens", "never", usage="never")
    asked = replace(question, extra={"stream_options": {"include_usage": True}})
    try:
        if await _stream_counts(probing, asked):
            return yes("streams end in a count when it is asked for", "when asked", usage="asked")
    except ModelRejected as error:
        return no(f"stream_options refused: {said(error)}", "never", usage="never")
    return no("no count of tokens in a stream, asked for or not", "never", usage="never")


async def _stream_counts(probing: Probing, question: Question) -> bool:
    counted = False
    async with aclosing(probing.stream(question)) as events:
        async for event in events:
            counted = counted or usage_of(event) is not None
    return counted


async def _n(probing: Probing) -> Outcome:
    if probing.wire == "responses":
        return no("the Responses API has no n")
    question = Question(WORDS_PROMPT, tokens=8, n=2, temperature=1.0 if probing.sampling else None)
    reply = await probing.ask(question)
    if reply.replies == 2:
        return yes("two replies to one request", n=True)
    return no(f"{reply.replies} came where two were asked for")


async def _seed(probing: Probing) -> Outcome:
    if probing.wire == "responses":
        return no("the Responses API has no seed")
    question = Question(
        WORDS_PROMPT, tokens=16, temperature=1.0 if probing.sampling else None, seed=7
    )
    first, second = await probing.ask(question), await probing.ask(question)
    if not (first.text and second.text):
        return unknown("the replies had no text")
    if first.text != second.text:
        return no("two replies with the same seed differ")
    for seed in (11, 13):
        if (await probing.ask(replace(question, seed=seed))).text != first.text:
            return yes("the same seed gave the same reply, another seed another", seed=True)
    return unknown("all replies are the same, with whatever seed")


async def _stop(probing: Probing) -> Outcome:
    if probing.wire == "responses":
        return no("the Responses API has no stop strings")
    letters = Counter(c for c in probing.base.text.lower() if c.isascii() and c.isalpha())
    if not letters:
        return unknown("the first reply had no text to stop in")
    # The most frequent letter: hardly any sentence is without it, whatever the model says now.
    ((letter, _),) = letters.most_common(1)
    reply = await probing.ask(
        Question(BASE_PROMPT, tokens=_HEADSTART, temperature=probing.greedy, stop=[letter])
    )
    if letter in reply.text:
        return no(f"the reply went on past the stop string {letter!r}")
    if len(reply.text) < len(probing.base.text) and reply.replies:
        return yes(f"the reply ended before the stop string {letter!r}", stop=True)
    return unknown("the reply did not have the stop string in it")


async def _prefill(probing: Probing) -> Outcome:
    if probing.wire == "responses":
        return no("the Responses API has no way to begin a reply")
    words = probing.base.text.split(" ")
    if len(words) < 6:
        return unknown("the first reply was too short to begin another with")
    begun, rest = " ".join(words[:4]), " ".join(words[4:])
    reply = await probing.ask(
        Question(BASE_PROMPT, tokens=12, temperature=probing.greedy, prefill=begun)
    )
    return _went_on(reply.text, rest, probing.base.text)


def _went_on(text: str, rest: str, whole: str) -> Outcome:
    """Whether ``text`` goes on with a reply that was ``whole`` once, and now lacked ``rest``."""
    if _starts_like(text, rest):
        return yes("it went on just as it had without being given the beginning", prefill=True)
    if _starts_like(text, whole):
        return no("it began anew")
    if text[:1].isspace() and text.lstrip()[:1].islower():
        return yes("it went on in the middle of the sentence", prefill=True)
    if text[:1].isupper():
        return no("it began a sentence of its own")
    return unknown(f"it went on with {text[:24]!r}, which may be anything")


async def _reasoning(probing: Probing) -> Outcome:
    field = probing.reasoning
    if not field:
        return no(f"none in {probing.replies} replies")
    where = {"think": "between <think> tags", "think_end": "before </think>"}.get(field)
    return yes("seen there", where or f"in the field {field}", reasoning=field)


def _starts_like(text: str, other: str) -> bool:
    one, two = text.split(), other.split()
    return len(one) > 1 and len(two) > 1 and one[:2] == two[:2]


CUT = Probe("cut", _cut)
USAGE = Probe("usage", _usage)
N = Probe("n", _n)
SEED = Probe("seed", _seed)
STOP = Probe("stop", _stop)
PREFILL = Probe("prefill", _prefill)
REASONING = Probe("reasoning", _reasoning)
