"""The steps that call a tool: its arguments, a person's word where one is wanted, and the call."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from string import Template
from typing import TYPE_CHECKING, Any

from langgraph.runtime import Runtime
from langgraph.types import Command, interrupt

from reverie.errors import ConfigError, ToolFailed
from reverie.graphs.attempt import NO_SIGNALS
from reverie.graphs.budget import ledger_of
from reverie.graphs.confidence import signals_of
from reverie.graphs.context import Context
from reverie.graphs.forms import MOST_ASKED, ApproveTool, approval_form, read_reply
from reverie.graphs.outside_text import as_data
from reverie.graphs.records import ToolUse
from reverie.graphs.resources import find_resources
from reverie.graphs.sop_plan import SopPlan
from reverie.graphs.sop_state import SopState
from reverie.graphs.sop_steps import Node, done, known, not_good, tokens_for, too_little, went_well
from reverie.graphs.step import Step
from reverie.models.structured import prepare_to_check, read_json
from reverie.tools import Tool

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage


def arguments_node(plan: SopPlan, number: int) -> Node:
    """Writes the arguments of the tool of step ``number``: those that are given filled in, the
    others by the model, held to the tool's schema.
    """
    wanted = plan.step(number)

    async def arguments(state: SopState, runtime: Runtime[Context]) -> Command[str]:
        async with Step(state, runtime, f"sop.{plan.name(number)}") as step:
            tool = await _tool(plan, wanted.tool, step.context)
            tries = state.get("tries", 0) + 1
            given = _filled(dict(wanted.inputs), _values(state))
            changes: dict[str, Any] = {"tries": tries, "signals": NO_SIGNALS.copy()}
            schema = _missing(tool, given)
            if schema is not None:
                messages = step.messages(
                    "sop_arguments",
                    tool=tool.name,
                    description=as_data(tool.description),
                    task=state["question"],
                    known=known(state.get("results", [])),
                    number=str(number),
                    action=as_data(wanted.action),
                )
                messages = [*messages[:-1], *_examples(tool, schema), messages[-1]]
                if problem := state.get("problem", ""):
                    messages += step.messages("sop_again", problem=as_data(problem))
                most = await tokens_for(
                    *(step, plan, number, state, messages, step.context.answer_tokens),
                    final=number == plan.last,
                )
                if not most:
                    return too_little(step, plan, state, last=number == plan.last)
                reply = await step.ask(
                    str(tries),
                    messages,
                    max_tokens=most,
                    json_schema=schema,
                    temperature=step.context.temperature if tries > 1 else 0.0,
                    seed=step.context.seed,
                    shown=False,
                )
                changes["signals"] = signals_of(reply.tokens)
                try:
                    given |= read_json(reply.text, schema)
                except ValueError as error:
                    problem = f"the arguments cannot be used: {error}"
                    tried = {**state, **changes}
                    return not_good(step, plan, number, tried, problem, changes)
            form = None
            if tool.side_effects and "tool" in step.context.ask_before:
                form = approval_form(tool.name, tool.description, given)
                step.write({"type": "waiting", "run_id": step.run_id, "form": form})
            update = step.update(**changes, arguments=given, form=form, asked=0)
            return Command(update=update, goto=plan.call(number))

    return arguments


def call_node(plan: SopPlan, number: int) -> Node:
    """Calls the tool of step ``number``, when a person who is asked does not refuse. What it raises
    is the step's result, marked as an error; its checks say whether that will do.
    """
    wanted = plan.step(number)

    async def call(state: SopState, runtime: Runtime[Context]) -> Command[str]:
        context, arguments = runtime.context, state["arguments"]
        form = state.get("form")
        # First in its node, which runs again from its start when the word is there.
        reply = interrupt(form, response_schema=form["reply_schema"]) if form else None
        tool = await _tool(plan, wanted.tool, context)
        refused = ""
        if form:
            try:
                word = read_reply(ApproveTool, reply)
                if word.approve and word.arguments is not None:
                    tool.check(word.arguments)
                    arguments = word.arguments
            except (ValueError, ToolFailed) as error:
                asked = state.get("asked", 0) + 1
                if asked < MOST_ASKED:
                    again = approval_form(tool.name, tool.description, arguments, str(error))
                    event = {"type": "waiting", "run_id": state["run_id"], "form": again}
                    runtime.stream_writer(event)
                    return Command(update={"form": again, "asked": asked}, goto=plan.call(number))
                word = ApproveTool(approve=False, reason=f"no usable reply came {MOST_ASKED} times")
            if not word.approve:
                refused = f"a person refused the call{f': {word.reason}' if word.reason else ''}"
        use = await _called(tool, arguments, state, runtime, refused)
        text = f"error: {use['error']}" if use["error"] else use["result"]
        changes = {
            "uses": [*state.get("uses", []), use],
            "arguments": arguments,
            "draft": text,
            "form": None,
        }
        async with Step(state, runtime, f"sop.{plan.call(number)}") as step:
            if wanted.check:
                return Command(update=step.update(**changes), goto=plan.check(number))
            result = done(number, wanted.action, text, None, state.get("tries", 1))
            return went_well(step, plan, state, result, changes)

    return call


async def _called(
    tool: Tool,
    arguments: Mapping[str, Any],
    state: SopState,
    runtime: Runtime[Context],
    refused: str,
) -> ToolUse:
    use: ToolUse = {"tool": tool.name, "arguments": dict(arguments), "result": "", "error": refused}
    if refused:
        runtime.stream_writer({"type": "tool_returned", "use": use})
        return use
    event = {"type": "tool_called", "tool": tool.name, "arguments": dict(arguments)}
    runtime.stream_writer(event)
    seconds = ledger_of(state, runtime.context).left()["seconds"]
    try:
        async with asyncio.timeout(seconds):
            use["result"] = await tool.call(arguments, find_resources(runtime.context.resources))
    except ToolFailed as error:
        use["error"] = error.message
    except TimeoutError:
        use["error"] = f"it did not end within {seconds:.1f} s"
    runtime.stream_writer({"type": "tool_returned", "use": use})
    return use


async def _tool(plan: SopPlan, name: str, context: Context) -> Tool:
    """Raises ConfigError for a tool that is not allowed: a procedure may come from anybody."""
    if name not in context.tools:
        raise ConfigError(
            f"the procedure {plan.sop.name} calls the tool {name!r}, which is not allowed",
            hint=f"add it to reason.tools, which are {', '.join(context.tools) or 'none'}",
        )

    def find() -> Tool:
        return find_resources(context.resources).tools([name])[0]

    await prepare_to_check()
    # In a thread: the default resources read the settings, and tools are imported.
    return await asyncio.to_thread(find)


def _values(state: SopState) -> dict[str, str]:
    """What a ``$name`` stands for."""
    results = state.get("results", [])
    finished = {r["step"]: r["result"] for r in results if r["status"] == "done"}
    values = {"task": state["question"], "last": list(finished.values())[-1] if finished else ""}
    return values | {f"step{r['step']}": finished.get(r["step"], "") for r in results}


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return Template(value).safe_substitute(values)
    if isinstance(value, Mapping):
        return {name: _filled(inner, values) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(inner, values) for inner in value]
    return value


def _missing(tool: Tool, given: Mapping[str, Any]) -> dict[str, Any] | None:
    """The schema of the arguments that the model has to write; None: nothing is missing."""
    required = [name for name in tool.schema.get("required", ()) if name not in given]
    if not required:
        return None
    fields = tool.schema.get("properties", {})
    return {
        **{key: tool.schema[key] for key in ("$defs",) if key in tool.schema},
        "type": "object",
        "properties": {name: fields.get(name, {}) for name in required},
        "required": required,
        "additionalProperties": False,
    }


def _examples(tool: Tool, schema: Mapping[str, Any]) -> list[BaseMessage]:
    """The tool's own examples as turns, where they have the arguments that are asked for."""
    from langchain_core.messages import AIMessage, HumanMessage

    names = schema["required"]
    turns: list[BaseMessage] = []
    for example in tool.examples:
        if all(name in example.arguments for name in names):
            written = {name: example.arguments[name] for name in names}
            turns += [
                HumanMessage(f"Task: {as_data(example.question)}"),
                AIMessage(json.dumps(written, ensure_ascii=False, separators=(",", ":"))),
            ]
    return turns
