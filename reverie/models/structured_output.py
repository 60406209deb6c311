"""``with_structured_output`` for served models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from pydantic import BaseModel, ValidationError

from reverie.errors import ConfigError, OutputInvalid
from reverie.models.profile import ModelProfile
from reverie.models.structured import obeying, obtain, read_json

if TYPE_CHECKING:
    from reverie.models.chat import ServedChatModel

Method = Literal["json_schema", "function_calling", "json_mode"]
_METHODS = ("json_schema", "function_calling", "json_mode")


def structured_output(
    model: ServedChatModel,
    schema: dict[str, Any] | type,
    *,
    method: Method | None,
    include_raw: bool,
    strict: bool | None,
    bound: dict[str, Any],
) -> Runnable[LanguageModelInput, Any]:
    """A runnable from a prompt to what the schema describes."""
    if method is not None and method not in _METHODS:
        raise ConfigError(
            f"there is no method {method!r} for structured output",
            hint=f"use one of {', '.join(_METHODS)}",
        )
    form = _Form(schema, strict)

    def prepared(profile: ModelProfile) -> tuple[dict[str, Any], Method]:
        chosen = method or _best(profile)
        return {**form.options(chosen), **bound}, chosen

    async def answer(given: LanguageModelInput, config: RunnableConfig) -> Any:
        options, chosen = prepared(await model.prepare())
        replies: list[AIMessage] = []

        async def ask(messages: Sequence[BaseMessage]) -> AIMessage:
            replies.append(await model.ainvoke(list(messages), config, **options))
            return replies[-1]

        messages = model.messages_of(given)
        try:
            who = f"{model.model or 'the model'} at {model.address}"
            reply, parsed = await obtain(messages, ask, form.reader(chosen), who=who)
        except OutputInvalid as error:
            if not include_raw:
                raise
            return {"raw": replies[-1], "parsed": None, "parsing_error": error}
        return {"raw": reply, "parsed": parsed, "parsing_error": None} if include_raw else parsed

    def answer_blocking(given: LanguageModelInput, config: RunnableConfig) -> Any:
        return model.run_blocking(answer(given, config))

    return RunnableLambda(answer_blocking, afunc=answer, name="structured_output")


class _Form:
    """A schema, and how a request asks for it and a reply is read."""

    def __init__(self, schema: dict[str, Any] | type, strict: bool | None) -> None:
        self._schema = schema
        self._strict = strict
        self.json_schema = convert_to_json_schema(schema)
        self._tool = convert_to_openai_tool(schema)
        self._name: str = self._tool["function"]["name"]

    def options(self, method: Method) -> dict[str, Any]:
        shown = {"kwargs": {"method": method}, "schema": self.json_schema}
        options: dict[str, Any] = {"ls_structured_output_format": shown, "checked": False}
        if method == "function_calling":
            options["tools"] = [self._tool]
            options["tool_choice"] = {"type": "function", "function": {"name": self._name}}
            options["parallel_tool_calls"] = False
        elif method == "json_schema":
            inner: dict[str, Any] = {"name": self._name, "schema": self.json_schema}
            if self._strict is not None:
                inner["strict"] = self._strict
            options["response_format"] = {"type": "json_schema", "json_schema": inner}
        else:
            options["response_format"] = {"type": "json_object"}
        return options

    def reader(self, method: Method) -> Any:
        return self._read_call if method == "function_calling" else self._read_text

    def _read_text(self, reply: AIMessage) -> Any:
        return self._read(read_json(reply.text))

    def _read_call(self, reply: AIMessage) -> Any:
        if not reply.tool_calls:
            # Some models write the document instead of calling the tool that wants it.
            if not reply.text:
                raise ValueError(f"it calls no tool, and {self._name} was to be called")
            return self._read_text(reply)
        return self._read(reply.tool_calls[0]["args"])

    def _read(self, document: Any) -> Any:
        if isinstance(self._schema, type) and issubclass(self._schema, BaseModel):
            try:
                return self._schema.model_validate(document)
            except ValidationError as error:
                wrong = "; ".join(
                    f"{'/'.join(map(str, e['loc'])) or 'the document'}: {e['msg']}"
                    for e in error.errors()[:5]
                )
                raise ValueError(wrong) from error
        if isinstance(self._schema, type) and hasattr(self._schema, "parse_obj"):
            return self._schema.parse_obj(document)  # pydantic 1, whose error is a ValueError
        return obeying(document, self.json_schema)


def _best(profile: ModelProfile) -> Method:
    if profile.json_schema:
        return "json_schema"
    if profile.tools in ("native", "forced") and not profile.json_object:
        return "function_calling"
    return "json_schema"
