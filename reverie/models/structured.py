"""Output of a given form: checked, repaired once, or refused."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from reverie.errors import ConfigError, OutputInvalid

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage

T = TypeVar("T")
_LONGEST_EXCERPT = 120
_NO_JSON = (ValueError, RecursionError)
"""What reading a text raises that is no JSON, or is nested without end."""

Ask = Callable[[Sequence["BaseMessage"]], Awaitable["AIMessage"]]
"""Sends messages to a model."""
Read = Callable[["AIMessage"], T]
"""Reads a reply; raises ValueError saying what is wrong with it."""


async def obtain(
    messages: Sequence[BaseMessage], ask: Ask, read: Read[T], *, who: str = "the model"
) -> tuple[AIMessage, T]:
    """Ask, and when the reply cannot be read, show it to the model with what is wrong, once.

    Returns the reply that could be read, and what it says. Raises OutputInvalid, naming ``who``
    replied, when the second one could not be read either, and at once when ``max_tokens`` or a
    filter cut the reply off, or the model refused: asked again, it would do so again.
    """
    from langchain_core.messages import HumanMessage

    await prepare_to_check()
    reply = await ask(messages)
    try:
        return reply, read(reply)
    except ValueError as error:
        if _why_no_more(reply)[0]:
            raise _invalid(reply, error, who) from error
        wrong = str(error)
    repair = HumanMessage(
        f"That reply is not of the form that was asked for: {wrong}\n"
        "Write it again, correctly, and nothing else."
    )
    second = await ask([*messages, _shown(reply), repair])
    try:
        return second, read(second)
    except ValueError as error:
        raise _invalid(second, error, who) from error


async def prepare_to_check() -> None:
    """Import what checking a document takes, the first time, without holding up the event loop."""
    if not _validator.cache_info().currsize:
        await asyncio.to_thread(obeying, {}, {"type": "object"})


def read_json(text: str, schema: Mapping[str, Any] | None = None) -> Any:
    """The JSON document in a reply: the whole text, or what stands in a code fence.

    Raises ValueError saying what is wrong: no JSON, or where it does not obey the schema.
    """
    fenced = re.search(r"```(?:json)?[ \t]*\n(.*?)```", text[:1_000_000], re.DOTALL)
    try:
        document = _loads(text)
    except _NO_JSON as error:
        if fenced is None:
            raise ValueError(f"it is no JSON document: {error}") from error
        try:
            document = _loads(fenced[1])
        except _NO_JSON as inner:
            raise ValueError(f"it is no JSON document: {inner}") from inner
    return document if schema is None else obeying(document, schema)


def obeying(document: T, schema: Mapping[str, Any]) -> T:
    """``document`` itself; raises ValueError saying where it does not obey the schema."""
    try:
        error = next(_validator(json.dumps(schema)).iter_errors(document), None)
    except Exception as wrong:  # of several libraries, for whatever a schema can have wrong
        raise ConfigError(
            f"the schema cannot be used: {type(wrong).__name__}: {str(wrong)[:200]}",
            hint="check it against JSON Schema, draft 2020-12; a $ref has to lead to its own parts",
        ) from wrong
    if error is not None:
        where = "/".join(map(str, error.absolute_path)) or "the document"
        raise ValueError(f"{where}: {error.message[:300]}")
    return document


def instruction(schema: Mapping[str, Any], *, tools: bool = False) -> str:
    """What a model is told when its server cannot hold it to the schema. With ``tools`` it may call
    one instead.
    """
    return ("Unless you call a tool, reply" if tools else "Reply") + (
        " with one JSON document that obeys this JSON schema, and with nothing else, no "
        f"explanation and no code fence:\n{json.dumps(schema, ensure_ascii=False)}"
    )


def _loads(text: str) -> Any:
    return json.loads(text, parse_constant=_no_constant)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no value of JSON")


@lru_cache(maxsize=64)
def _validator(schema: str) -> Any:
    """Checks documents. Patterns that Python's ``re`` does not know are left to the server."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend
    from referencing import Registry

    def pattern(_validator: Any, wanted: str, instance: Any, _schema: Any) -> Any:
        if not isinstance(instance, str):
            return
        try:
            found = re.search(wanted, instance)
        except re.error:
            return
        if found is None:
            from jsonschema import ValidationError

            yield ValidationError(f"{instance!r} does not match {wanted!r}")

    checked: Any = extend
    # An empty registry: without one, a $ref to an address would be fetched from there.
    registry: Registry[Any] = Registry()
    return checked(Draft202012Validator, {"pattern": pattern})(
        json.loads(schema), registry=registry
    )


def _why_no_more(reply: AIMessage) -> tuple[str, str]:
    """What kept the model from writing all, and the remedy; empty when nothing did."""
    if refusal := reply.additional_kwargs.get("refusal"):
        words = " ".join(str(refusal).split())[:_LONGEST_EXCERPT]
        return f"the model refused: {words!r}", "ask otherwise, or ask another model"
    match reply.response_metadata.get("finish_reason"):
        case "length":
            return "the reply was cut off by max_tokens", "raise max_tokens"
        case "content_filter":
            return "the reply was cut off by the server's filter", "ask otherwise"
    return "", ""


def _shown(reply: AIMessage) -> BaseMessage:
    """The reply as a message that every server takes: tool calls would want their results."""
    from langchain_core.messages import AIMessage

    text = str(reply.text)
    if not text and (calls := [*reply.tool_calls, *reply.invalid_tool_calls]):
        text = json.dumps([call["args"] for call in calls], ensure_ascii=False)
    return AIMessage(text or "(nothing)")


def _invalid(reply: AIMessage, error: ValueError, who: str) -> OutputInvalid:
    why, remedy = _why_no_more(reply)
    excerpt = " ".join(reply.text.split())
    if len(excerpt) > _LONGEST_EXCERPT:
        excerpt = excerpt[:_LONGEST_EXCERPT] + "…"
    also = f" ({why})" if why else ""
    return OutputInvalid(
        f"the reply of {who} is not of the form that was asked for{also}: {error}; it begins "
        f"{excerpt!r}",
        hint=remedy or "a larger model, or a server that obeys schemas, does",
    )
