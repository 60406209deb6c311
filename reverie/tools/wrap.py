"""Making tools of typed Python functions and of LangChain's tools."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from reverie.errors import ConfigError, ToolFailed
from reverie.tools.tool import Example, Knowledge, Tool

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

_MOST_PROBLEMS = 3


def tool_of(
    thing: Tool | Callable[..., Any] | BaseTool,
    *,
    name: str = "",
    side_effects: bool | None = None,
    examples: Sequence[Example] = (),
) -> Tool:
    """A tool from a function with type annotations and a docstring, or from a LangChain tool.

    ``side_effects`` None: taken for granted, unless a LangChain tool's metadata has
    ``side_effects: False`` or MCP's ``readOnlyHint: True``. A function that is not asynchronous
    runs in a thread. Raises ConfigError for what no model could call.
    """
    if isinstance(thing, Tool):
        return thing
    if _is_langchain(thing):
        return _of_langchain(thing, name, side_effects, examples)
    if not callable(thing):
        raise ConfigError(
            f"{thing!r} is no tool", hint="give a function, a LangChain tool, or a Tool"
        )
    return _of_function(thing, name, side_effects, examples)


def _of_function(
    function: Callable[..., Any],
    name: str,
    side_effects: bool | None,
    examples: Sequence[Example],
) -> Tool:
    name = name or getattr(function, "__name__", type(function).__name__)
    fields, knows = _parameters(function, name)
    # Keys of their own: a parameter may have any name, also one that pydantic uses itself.
    aliased = {f"argument_{i}": annotated for i, annotated in enumerate(fields.values())}
    names = dict(zip(aliased, fields, strict=True))
    model = create_model(
        name,
        __config__=ConfigDict(extra="forbid", alias_generator=names.__getitem__),
        **aliased,
    )

    async def run(arguments: dict[str, Any], knowledge: Knowledge) -> Any:
        if knows:
            arguments = {**arguments, knows: knowledge}
        if inspect.iscoroutinefunction(function):
            return await function(**arguments)
        result = await asyncio.to_thread(function, **arguments)
        return await result if inspect.isawaitable(result) else result

    def check(arguments: Mapping[str, Any]) -> dict[str, Any]:
        read = _validated(model, arguments)
        # Defaults are the function's own: what was not given is not handed over.
        return {names[f]: getattr(read, f) for f in aliased if f in read.model_fields_set}

    return Tool(
        name=name,
        description=_first_paragraph(inspect.getdoc(function) or ""),
        schema=_plain(model.model_json_schema()),
        side_effects=side_effects is not False,
        check=check,
        run=run,
        examples=tuple(examples),
    )


def _of_langchain(
    wrapped: BaseTool, name: str, side_effects: bool | None, examples: Sequence[Example]
) -> Tool:
    if side_effects is None:
        told = wrapped.metadata or {}
        side_effects = bool(told.get("side_effects", not told.get("readOnlyHint", False)))
    model = wrapped.tool_call_schema

    def check(arguments: Mapping[str, Any]) -> dict[str, Any]:
        if isinstance(model, type) and issubclass(model, BaseModel):
            _validated(model, arguments)
        elif isinstance(model, Mapping):
            _obeying(arguments, model)
        return dict(arguments)  # it reads them itself

    async def run(arguments: dict[str, Any], knowledge: Knowledge) -> Any:
        del knowledge
        return await wrapped.ainvoke(arguments)

    if isinstance(model, Mapping):
        schema = dict(model)
    else:
        schema = model.model_json_schema() if issubclass(model, BaseModel) else model.schema()
    return Tool(
        name=name or wrapped.name,
        description=wrapped.description,
        schema=_plain(schema),
        side_effects=side_effects,
        check=check,
        run=run,
        examples=tuple(examples),
    )


def _is_langchain(thing: object) -> TypeGuard[BaseTool]:
    """Without importing LangChain: whoever has one of its tools has done so."""
    tools = sys.modules.get("langchain_core.tools.base")
    return tools is not None and isinstance(thing, tools.BaseTool)


def _parameters(function: Callable[..., Any], name: str) -> tuple[dict[str, Any], str]:
    """The function's arguments as pydantic's fields, and the one that takes the knowledge."""
    try:
        hints = get_type_hints(function, include_extras=True)
        parameters = inspect.signature(function).parameters.values()
    except (NameError, TypeError, ValueError) as error:
        raise ConfigError(
            f"the arguments of the tool {name} cannot be read: {error}",
            hint="annotate them with types that exist where the function is defined",
        ) from error
    fields: dict[str, Any] = {}
    knows = ""
    for parameter in parameters:
        if hints.get(parameter.name) is Knowledge:
            knows = parameter.name
            continue
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ConfigError(
                f"the tool {name} takes {parameter}, which has no name of its own",
                hint="name every argument",
            )
        if parameter.name not in hints:
            raise ConfigError(
                f"the argument {parameter.name} of the tool {name} has no type",
                hint=f"annotate it, as in {parameter.name}: str",
            )
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints[parameter.name], default)
    return fields, knows


def _validated(model: type[BaseModel], arguments: Mapping[str, Any]) -> BaseModel:
    try:
        return model.model_validate(dict(arguments))
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, p['loc'])) or 'the arguments'}: {p['msg']}"
            for p in error.errors(include_url=False, include_context=False)[:_MOST_PROBLEMS]
        ]
        raise ToolFailed(f"these arguments are wrong: {'; '.join(problems)}") from error


def _obeying(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    from reverie.models.structured import obeying

    try:
        obeying(dict(arguments), schema)
    except ValueError as error:
        raise ToolFailed(f"these arguments are wrong: {error}") from error


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema as an object that takes nothing beside its properties, without the titles that
    pydantic writes: they cost tokens and say nothing.
    """
    properties = {
        name: {k: v for k, v in inner.items() if k != "title"} if isinstance(inner, dict) else inner
        for name, inner in schema.get("properties", {}).items()
    }
    kept = {k: v for k, v in schema.items() if k not in ("title", "description", "$schema")}
    return {**kept, "type": "object", "properties": properties, "additionalProperties": False}


def _first_paragraph(text: str) -> str:
    return " ".join(text.partition("\n\n")[0].split())
