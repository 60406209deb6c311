"""Output of a given form: checked, repaired once, or refused."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from reverie.errors import OutputInvalid

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage

T = TypeVar("T")
_LONGEST_EXCERPT = 120

Ask = Callable[[Sequence["BaseMessage"]], Awaitable["AIMessage"]]
"""Sends messages to a model."""
Read = Callable[["AIMessage"], T]
"""Reads a reply; raises ValueError saying what is wrong with it."""


async def obtain(messages: Sequence[BaseMessage], ask: Ask, read: Read[T]) -> tuple[AIMessage, T]:
    """Ask, and when the reply cannot be read, show it to the model with what is wrong, once.

    Returns the reply that could be read, and what it says. Raises OutputInvalid when the second
    one could not be read either, and at once when ``max_tokens`` cut the reply off: asked again,
    it would be cut off again.
    """
    from langchain_core.messages import HumanMessage

    reply = await ask(messages)
    try:
        return reply, read(reply)
    except ValueError as error:
        if _cut_off(reply):
            raise _invalid(reply, error) from error
        wrong = str(error)
    repair = HumanMessage(
        f"That reply is not of the form that was asked for: {wrong}\n"
        "Write it again, correctly, and nothing else."
    )
    second = await ask([*messages, _shown(reply), repair])
    try:
        return second, read(second)
    except ValueError as error:
        raise _invalid(second, error) from error


def read_json(text: str, schema: Mapping[str, Any] | None = None) -> Any:
    """The JSON document in a reply: the whole text, or what stands in a code fence.

    Raises ValueError saying what is wrong: no JSON, or where it does not obey the schema.
    """
    fenced = re.search(r"```(?:json)?[ \t]*\n(.*?)```", text[:1_000_000], re.DOTALL)
    try:
        document = json.loads(text)
    except ValueError as error:
        if fenced is None:
            raise ValueError(f"it is no JSON document: {error}") from error
        try:
            document = json.loads(fenced[1])
        except ValueError as inner:
            raise ValueError(f"it is no JSON document: {inner}") from inner
    return document if schema is None else obeying(document, schema)


def obeying(document: T, schema: Mapping[str, Any]) -> T:
    """``document`` itself; raises ValueError saying where it does not obey the schema."""
    error = next(_validator(json.dumps(schema)).iter_errors(document), None)
    if error is not None:
        where = "/".join(map(str, error.absolute_path)) or "the document"
        raise ValueError(f"{where}: {error.message[:300]}")
    return document


def instruction(schema: Mapping[str, Any]) -> str:
    """What a model is told when its server cannot hold it to the schema."""
    return (
        "Reply with one JSON document that obeys this JSON schema, and with nothing else, no "
        f"explanation and no code fence:\n{json.dumps(schema, ensure_ascii=False)}"
    )


@lru_cache(maxsize=64)
def _validator(schema: str) -> Any:
    """Checks documents. Patterns that Python's ``re`` does not know are left to the server."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

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
    return checked(Draft202012Validator, {"pattern": pattern})(json.loads(schema))


def _cut_off(reply: AIMessage) -> bool:
    return reply.response_metadata.get("finish_reason") == "length"


def _shown(reply: AIMessage) -> BaseMessage:
    """The reply as a message that every server takes: tool calls would want their results."""
    from langchain_core.messages import AIMessage

    text = str(reply.text)
    if not text and (calls := [*reply.tool_calls, *reply.invalid_tool_calls]):
        text = json.dumps([call["args"] for call in calls], ensure_ascii=False)
    return AIMessage(text or "(nothing)")


def _invalid(reply: AIMessage, error: ValueError) -> OutputInvalid:
    cut = _cut_off(reply)
    excerpt = " ".join(reply.text.split())
    if len(excerpt) > _LONGEST_EXCERPT:
        excerpt = excerpt[:_LONGEST_EXCERPT] + "…"
    also = " (the reply was cut off by max_tokens)" if cut else ""
    return OutputInvalid(
        f"the model's reply is not of the form that was asked for{also}: {error}; it begins "
        f"{excerpt!r}",
        hint="raise max_tokens" if cut else "a larger model, or a server that obeys schemas, does",
    )
