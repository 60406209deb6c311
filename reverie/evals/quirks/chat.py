"""Chat Completions: from a request's body to what is asked, and from replies to documents."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from reverie.evals.quirks.asked import Asked
from reverie.evals.quirks.behaviour import Quirks
from reverie.evals.quirks.fields import constraint, offered_tools
from reverie.evals.quirks.prompt import token_id, tokens
from reverie.evals.quirks.refused import refused
from reverie.evals.quirks.sse import Event
from reverie.evals.quirks.tool_calls import arguments, chunks
from reverie.evals.quirks.toy import Said, logprobs, prompt_logprobs

CREATED = 1_700_000_000


def read(body: Mapping[str, Any], quirks: Quirks) -> Asked:
    """What the body asks. Raises ``Refused``."""
    options = body.get("stream_options") or {}
    stop = body.get("stop") or ()
    top = body.get("top_logprobs") or 0
    if top > quirks.most_logprobs:
        raise refused(
            f"Requested sample logprobs of {top}, which is greater than max allowed: "
            f"{quirks.most_logprobs}",
            param="logprobs",
        )
    limit = body.get("max_completion_tokens")
    limit = body.get("max_tokens") if limit is None else limit
    if limit is not None and limit < 1:
        raise refused(f"max_tokens must be at least 1, got {limit}.", param="max_tokens", code=400)
    if body.get("continue_final_message") and body.get("add_generation_prompt"):
        raise refused(
            "Cannot set both `continue_final_message` and `add_generation_prompt` to True."
        )
    tools, choice = offered_tools([t["function"] for t in body.get("tools") or ()], body, quirks)
    messages = body["messages"]
    if not messages:
        raise refused("Invalid 'messages': empty array.", param="messages", code="empty_array")
    return Asked(
        messages=messages,
        max_tokens=limit,
        temperature=_number(body.get("temperature"), 1.0),
        seed=body.get("seed"),
        stop=[stop] if isinstance(stop, str) else stop,
        n=body.get("n") or 1,
        tools=tools,
        tool_choice=choice,
        parallel_tools=body.get("parallel_tool_calls") is not False,
        logprobs=bool(body.get("logprobs")),
        top_logprobs=top,
        prompt_logprobs=body.get("prompt_logprobs"),
        token_ids=bool(body.get("return_token_ids")),
        goes_on=bool(body.get("continue_final_message"))
        and messages[-1].get("role") == "assistant",
        stream=bool(body.get("stream")),
        include_usage=bool(options.get("include_usage")),
        **constraint(body, body.get("response_format"), tools, quirks),
    )


def document(asked: Asked, replies: list[Said], model: str, ident: str, quirks: Quirks) -> str:
    """The response without streaming."""
    said: dict[str, Any] = {
        "id": f"chatcmpl-{ident}",
        "object": "chat.completion",
        "created": CREATED,
        "model": model,
        "choices": [],
    }
    if not quirks.empty_choices:
        said["choices"] = [_choice(asked, *pair, quirks) for pair in enumerate(replies)]
    if quirks.usage != "never":
        said["usage"] = _usage(asked, replies, quirks)
    if asked.prompt_logprobs is not None:
        said["prompt_logprobs"] = prompt_logprobs(asked.prompt, asked.prompt_logprobs)
    if asked.token_ids:
        said["prompt_token_ids"] = list(map(token_id, tokens(asked.prompt)))
    return json.dumps(said, ensure_ascii=False)


def events(
    asked: Asked, replies: list[Said], model: str, ident: str, quirks: Quirks
) -> Iterator[Event]:
    """The response as a stream. Several replies take turns, token by token."""
    head = (
        f'{{"id":"chatcmpl-{ident}","object":"chat.completion.chunk","created":{CREATED},'
        f'"model":{json.dumps(model)},"choices":'
    )
    ids = ""
    if asked.token_ids:
        ids = f',"prompt_token_ids":{json.dumps(list(map(token_id, tokens(asked.prompt))))}'
    empty = Event(f"{head}[]}}") if quirks.empty_chunks else None
    usage = ""
    if quirks.usage == "always" or (quirks.usage == "asked" and asked.include_usage):
        usage = f',"usage":{json.dumps(_usage(asked, replies, quirks))}'
    if quirks.empty_choices:
        yield Event(f"{head}[]}}")
    else:
        last = len(replies) - 1
        turns = zip_longest(*(_deltas(asked, *pair, quirks) for pair in enumerate(replies)))
        for turn in turns:
            for number, delta in enumerate(turn):
                if delta is None:
                    continue
                choice, count = delta
                ends = quirks.usage_in_last_chunk and number == last and _is_last(choice)
                yield Event(f"{head}[{choice}]{ids}{usage if ends else ''}}}", tokens=count)
                ids = ""
                if empty is not None:
                    yield empty
    if usage and not quirks.usage_in_last_chunk:
        yield Event(f"{head}[]{usage}}}")
    if quirks.done:
        yield Event("[DONE]")


def _choice(asked: Asked, number: int, said: Said, quirks: Quirks) -> dict[str, Any]:
    """One reply of a response without streaming."""
    message: dict[str, Any] = {"role": "assistant", "content": said.text or None}
    if said.refusal:
        message["refusal"] = said.refusal
    elif not said.calls and not said.thought and said.finish != "length":
        message["content"] = said.text
    thought = "".join(said.thought)
    if quirks.reasoning in {"reasoning", "reasoning_content"}:
        message[quirks.reasoning] = thought
    elif thought:
        message["content"] = "".join([*_inline(said, quirks), *said.tokens])
    if said.calls:
        message["tool_calls"] = [
            {
                **({"id": call.id} if quirks.tool_ids else {}),
                "type": "function",
                "function": {"name": call.name, "arguments": written},
            }
            for call, written in zip(said.calls, arguments(said, quirks), strict=True)
        ]
    choice: dict[str, Any] = {"index": number, "message": message, "logprobs": None}
    if asked.logprobs:
        choice["logprobs"] = {"content": logprobs(said.tokens, asked.top_logprobs)}
    if asked.token_ids:
        choice["token_ids"] = list(map(token_id, said.tokens))
    choice["finish_reason"] = _finish(said, quirks)
    return choice


def _deltas(asked: Asked, number: int, said: Said, quirks: Quirks) -> Iterator[tuple[str, int]]:
    """The choices of one reply's chunks, as JSON, and how many tokens each stands for."""
    begin, end = f'{{"index":{number},"delta":', ',"logprobs":null,"finish_reason":null}'
    yield f'{begin}{{"role":"assistant","content":""}}{end}', 0
    field = quirks.reasoning if quirks.reasoning.startswith("reasoning") else "content"
    for token in _inline(said, quirks) if field == "content" else said.thought:
        yield f"{begin}{{{json.dumps(field)}:{_text(token)}}}{end}", 1
    if said.refusal:
        yield f'{begin}{{"refusal":{_text(said.refusal)}}}{end}', said.call_tokens
    if asked.logprobs or asked.token_ids:
        told = logprobs(said.tokens, asked.top_logprobs)
        for token, entry in zip(said.tokens, told, strict=True):
            more: dict[str, Any] = {"logprobs": {"content": [entry]} if asked.logprobs else None}
            if asked.token_ids:
                more["token_ids"] = [token_id(token)]
            choice = {"index": number, "delta": {"content": token}, **more, "finish_reason": None}
            yield json.dumps(choice, ensure_ascii=False), 1
    else:
        for token in said.tokens:
            yield f'{begin}{{"content":{_text(token)}}}{end}', 1
    for delta in _tool_deltas(said, quirks):
        # The first chunk of a call has its name: the time of the whole call lies before it.
        yield f'{begin}{{"tool_calls":[{_text(delta)}]}}{end}', 0 if "id" not in delta else 1
    if (finish := _finish(said, quirks)) is not None:
        yield f'{begin}{{}},"logprobs":null,"finish_reason":{json.dumps(finish)}}}', 0


def _is_last(choice: str) -> bool:
    return '"finish_reason":null' not in choice


def _tool_deltas(said: Said, quirks: Quirks) -> Iterator[dict[str, Any]]:
    for index, (call, written) in enumerate(zip(said.calls, arguments(said, quirks), strict=True)):
        place = {"index": index} if quirks.tool_index else {}
        ident = {"id": call.id} if quirks.tool_ids else {}
        whole = not isinstance(written, str) or quirks.tool_chunks <= 1
        function = {"name": call.name, "arguments": written if whole else ""}
        yield {**place, **ident, "type": "function", "function": function}
        if whole:
            continue
        for piece in chunks(written, quirks.tool_chunks):
            if quirks.tool_name_repeated:
                named = {"name": call.name, "arguments": piece}
                yield {**place, **ident, "type": "function", "function": named}
            else:
                yield {**place, "function": {"arguments": piece}}


def _inline(said: Said, quirks: Quirks) -> list[str]:
    """Reasoning inside the content, with its tags."""
    if not said.thought:
        return []
    opened = ["<think>\n"] if quirks.reasoning == "think" else []
    return [*opened, *said.thought, "\n</think>\n\n"]


def _finish(said: Said, quirks: Quirks) -> str | None:
    if quirks.finish == "true":
        return said.finish
    return None if quirks.finish == "missing" else quirks.finish


def _usage(asked: Asked, replies: list[Said], quirks: Quirks) -> dict[str, Any]:
    written = sum(said.count for said in replies)
    usage: dict[str, Any] = {
        "prompt_tokens": asked.prompt_tokens,
        "completion_tokens": written,
        "total_tokens": asked.prompt_tokens + written,
    }
    if quirks.cached_tokens:
        usage["prompt_tokens_details"] = {"cached_tokens": quirks.cached_tokens}
    if quirks.reasoning:
        thought = sum(len(said.thought) for said in replies)
        usage["completion_tokens_details"] = {"reasoning_tokens": thought}
    return usage


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _number(value: float | None, default: float) -> float:
    return default if value is None else value
