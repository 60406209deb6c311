"""What a server tells of tokens: probabilities, ids, counts, vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reverie.errors import ModelRejected, ReverieError
from reverie.models.doctor.probing import Outcome, Probe, Probing, no, unknown, yes
from reverie.models.doctor.question import Question
from reverie.models.doctor.reply import BASE_PROMPT

_MOST_ALTERNATIVES = 20
_ALTERNATIVES = (_MOST_ALTERNATIVES, 10, 5, 1)


async def _logprobs(probing: Probing) -> Outcome:
    refused: ModelRejected | None = None
    for wanted in _ALTERNATIVES:
        try:
            reply = await probing.ask(_short(probing, top_logprobs=wanted))
        except ModelRejected as error:
            refused = error
            continue
        if reply.empty:
            return unknown("the reply was empty")
        values = [entry.get("logprob") for entry in reply.logprobs]
        if not values or not all(isinstance(v, int | float) and v <= 0 for v in values):
            return no("accepted, and left out of the reply")
        given = [e.get("top_logprobs") for e in reply.logprobs]
        most = min((len(top) if isinstance(top, list) else 0 for top in given), default=0)
        top = min(most, wanted)
        return yes(
            f"{len(values)} of them, with {top} alternatives each",
            f"top {top}",
            logprobs=True,
            top_logprobs=top,
        )
    assert refused is not None  # noqa: S101  # the loop ends here by refusals only
    raise refused


async def _prompt_logprobs(probing: Probing) -> Outcome:
    reply = await probing.ask(_short(probing, extra={"prompt_logprobs": 1}))
    found = reply.document.get("prompt_logprobs") if isinstance(reply.document, dict) else None
    if isinstance(found, list) and any(found):
        return yes(f"of {len(found)} tokens", prompt_logprobs=True)
    return no("asked for, and left out of the reply")


async def _token_ids(probing: Probing) -> Outcome:
    reply = await probing.ask(_short(probing, extra={"return_token_ids": True}))
    if reply.empty:
        return unknown("the reply was empty")
    document = reply.document if isinstance(reply.document, dict) else {}
    choices = document.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else {}
    ids = choice.get("token_ids") if isinstance(choice, Mapping) else None
    prompt = document.get("prompt_token_ids")
    if isinstance(ids, list) and ids and isinstance(prompt, list) and prompt:
        return yes(f"{len(prompt)} of the prompt, {len(ids)} of the reply", token_ids=True)
    return no("asked for, and left out of the reply")


async def _embeddings(probing: Probing) -> Outcome:
    document = await probing.post("/embeddings", {"model": probing.model, "input": ["a ball"]})
    data = document.get("data") if isinstance(document, dict) else None
    first = data[0] if isinstance(data, list) and data else {}
    vector = first.get("embedding") if isinstance(first, Mapping) else None
    if isinstance(vector, list | str) and vector:
        length = f"{len(vector)} numbers" if isinstance(vector, list) else "base64"
        return yes("/embeddings gives vectors", length, embeddings=True)
    return no("/embeddings answers without vectors")


async def _counter(probing: Probing) -> Outcome:
    """An endpoint that counts, checked against what the server says a call cost."""
    charged = probing.base.usage[0] if probing.base.usage else None
    if probing.wire == "responses":
        return no("none for the Responses API")
    messages = [{"role": "user", "content": BASE_PROMPT}]
    for name, count in (
        ("vllm", await _count_as_vllm(probing, messages)),
        ("llamacpp", await _count_as_llamacpp(probing, messages)),
    ):
        if count is None:
            continue
        if charged is not None and count != charged:
            return no(f"/tokenize counts {count} tokens where the server charged {charged}")
        checked = "as the server charged" if charged is not None else "unchecked: no usage"
        return yes(f"/tokenize counts {count} tokens, {checked}", counter=name)
    return no("no /tokenize")


async def _count_as_vllm(probing: Probing, messages: list[dict[str, str]]) -> int | None:
    answer = await _posted(probing, "//tokenize", {"model": probing.model, "messages": messages})
    count = answer.get("count")
    return count if isinstance(count, int) else None


async def _count_as_llamacpp(probing: Probing, messages: list[dict[str, str]]) -> int | None:
    prompt = (await _posted(probing, "//apply-template", {"messages": messages})).get("prompt")
    if not isinstance(prompt, str):
        return None
    body = {"content": prompt, "add_special": True, "parse_special": True}
    tokens = (await _posted(probing, "//tokenize", body)).get("tokens")
    return len(tokens) if isinstance(tokens, list) else None


async def _posted(probing: Probing, path: str, body: dict[str, Any]) -> Mapping[str, Any]:
    try:
        answer = await probing.post(path, body)
    except ReverieError:  # the other form, or none
        return {}
    return answer if isinstance(answer, Mapping) else {}


def _short(probing: Probing, **asked: Any) -> Question:
    return Question(BASE_PROMPT, tokens=4, temperature=probing.greedy, **asked)


LOGPROBS = Probe("logprobs", _logprobs)
PROMPT_LOGPROBS = Probe("prompt_logprobs", _prompt_logprobs)
TOKEN_IDS = Probe("token_ids", _token_ids)
EMBEDDINGS = Probe("embeddings", _embeddings)
COUNTER = Probe("counter", _counter)
