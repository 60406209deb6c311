"""Tools: the model calls tools until it can answer (ReAct, Yao et al. 2022, arXiv 2210.03629).

think → (approve) → call → think. A tool with side effects can wait for a person, in a node of its
own, so that going on with a run repeats no call. Where one call is all that is allowed, its result
is the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal, NotRequired

from langgraph.errors import NodeError
from langgraph.graph import START, StateGraph
from langgraph.managed import RemainingSteps
from langgraph.runtime import Runtime
from langgraph.types import Command, interrupt

from reverie.errors import ConfigError, ToolFailed
from reverie.graphs.attempt import NO_SIGNALS, answered, failed, failure_of
from reverie.graphs.budget import ledger_of
from reverie.graphs.confidence import signals_of
from reverie.graphs.context import Context
from reverie.graphs.forms import MOST_ASKED, ApproveTool, approval_form, read_reply
from reverie.graphs.records import Attempt, Form, Signals, ToolUse
from reverie.graphs.resources import find_resources
from reverie.graphs.state import StrategyState
from reverie.graphs.step import Step, spent_by
from reverie.graphs.strategies.registry import strategy
from reverie.graphs.tool_prompt import conversation
from reverie.graphs.tool_protocol import (
    Said,
    ToolRequest,
    ToolTurn,
    protocol_for,
)
from reverie.models.structured import prepare_to_check
from reverie.tools import Tool

NAME = "tools"

_STEPS_TO_END = 6
"""Steps of the graph in which a run can still be ended with an answer."""


class ToolsState(StrategyState):
    """The strategy's own state."""

    turns: NotRequired[list[ToolTurn]]
    uses: NotRequired[list[ToolUse]]
    requests: NotRequired[list[ToolRequest]]
    """Asked for and not called yet; the first is next."""
    signals: NotRequired[Signals]
    """How sure the model was of its last call."""
    corrected: NotRequired[bool]
    """It has been told once that a reply was no good."""
    final: NotRequired[bool]
    """It has to answer now."""
    form: NotRequired[Form | None]
    """What a person is asked about the next request."""
    asked: NotRequired[int]
    """How often."""
    refused: NotRequired[str]
    """Why a person does not want the next request called; empty: it may be."""
    remaining_steps: RemainingSteps


@strategy(NAME, cost=1200, needs=("tools",), summary="call tools until the answer is found")
def build() -> StateGraph[ToolsState, Context, ToolsState, ToolsState]:
    """START → think → (approve →) call → think, or END."""
    graph = StateGraph(ToolsState, context_schema=Context)
    graph.add_node("think", _think, error_handler=_failed)
    graph.add_node("approve", _approve, error_handler=_failed)
    graph.add_node("call", _call, error_handler=_failed)
    graph.add_edge(START, "think")
    return graph


async def _think(
    state: ToolsState, runtime: Runtime[Context]
) -> Command[Literal["think", "approve", "call", "__end__"]]:
    """Ask the model what to call next, or for the answer."""
    async with Step(state, runtime, f"{NAME}.think") as step:
        tools = await asyncio.to_thread(step.resources.tools, step.context.tools)
        await prepare_to_check()  # arguments, by their schemas
        if not tools:
            raise ConfigError("no tool is allowed", hint="name some in reason.tools")
        turns, uses = state.get("turns", []), state.get("uses", [])
        rounds = step.context.tool_rounds - len(uses)
        steps = state["remaining_steps"]
        final = state.get("final", False) or rounds < 1 or steps < _STEPS_TO_END
        protocol = protocol_for(step.model.reverie_profile, tools)
        reply = await step.ask(
            f"{len(turns)}{'!' if final else ''}",
            conversation(step, state["question"], tools, turns, protocol),
            max_tokens=step.context.answer_tokens,
            **protocol.options(final=final),
        )
        said = protocol.read(reply, final=final)
        if said.problem:
            return _correct(step, state, said)
        if said.answer:
            attempt = _with(uses, answered(NAME, said.answer, signals_of(said.tokens)))
            return Command(update=step.update(attempt=attempt), goto="__end__")
        requests = _not_repeated(said.requests, uses)[:rounds]
        if not requests:  # nothing new would come of it
            return Command(update=step.update(final=True), goto="think")
        turns = [*turns, _turn("asked", text=said.text, requests=requests)]
        goto, form = _toward(requests, {t.name: t for t in tools}, step.context)
        if form is not None:
            step.write({"type": "waiting", "run_id": step.run_id, "form": form})
        update = step.update(
            turns=turns, requests=requests, form=form, asked=0, signals=signals_of(said.tokens)
        )
        return Command(update=update, goto=goto)


async def _approve(
    state: ToolsState, runtime: Runtime[Context]
) -> Command[Literal["approve", "call"]]:
    """Wait for a person's word on the next call. Whoever goes here has written the event; this
    node runs again from its start when the word is there.
    """
    form = state["form"]
    reply = interrupt(form, response_schema=form["reply_schema"] if form else None)
    request, *later = state["requests"]
    tool = await _tool(request["tool"], runtime.context)
    try:
        word = read_reply(ApproveTool, reply)
        if word.approve and word.arguments is not None:
            tool.check(word.arguments)
            request = {**request, "arguments": word.arguments}
    except (ValueError, ToolFailed) as error:
        asked = state.get("asked", 0) + 1
        if asked < MOST_ASKED:
            again = approval_form(tool.name, tool.description, request["arguments"], str(error))
            event = {"type": "waiting", "run_id": state["run_id"], "form": again}
            runtime.stream_writer(event)
            return Command(update={"form": again, "asked": asked}, goto="approve")
        word = ApproveTool(approve=False, reason=f"no usable reply came {MOST_ASKED} times")
    refused = f"a person refused the call{f': {word.reason}' if word.reason else ''}"
    update = {"requests": [request, *later], "refused": "" if word.approve else refused}
    return Command(update=update, goto="call")


async def _call(
    state: ToolsState, runtime: Runtime[Context]
) -> Command[Literal["think", "approve", "call", "__end__"]]:
    """Call the tool that is next, unless a person refused. What it raises goes to the model, as
    text.
    """
    context = runtime.context
    request, *later = state["requests"]
    if refused := state.get("refused", ""):
        return await _returned(state, runtime, _use(request, error=refused), later)
    tool = await _tool(request["tool"], context)
    runtime.stream_writer(
        {"type": "tool_called", "tool": tool.name, "arguments": request["arguments"]}
    )
    seconds = ledger_of(state, context).left()["seconds"]
    try:
        async with asyncio.timeout(seconds):
            result = await tool.call(request["arguments"], find_resources(context.resources))
        use = _use(request, result=result)
    except ToolFailed as error:
        use = _use(request, error=error.message)
    except TimeoutError:
        use = _use(request, error=f"it did not end within {seconds:.1f} s")
    return await _returned(state, runtime, use, later)


async def _failed(
    state: ToolsState,
    error: NodeError,
    runtime: Runtime[Context],  # noqa: ARG001  # LangGraph hands it over
) -> dict[str, Any]:
    """A failed attempt; without budget for the answer, the last result is the best so far."""
    uses = state.get("uses", [])
    kind, why, hint = failure_of(error.error)
    update: dict[str, Any] = {"ledger": spent_by(error.error)}
    if kind == "BudgetExceeded" and uses and not uses[-1]["error"]:
        attempt = answered(NAME, uses[-1]["result"], state.get("signals", NO_SIGNALS))
        update["notices"] = [f"answered with the last tool's result: {why}"]
    else:
        attempt = failed(NAME, kind, why, hint)
    return {**update, "attempt": _with(uses, attempt)}


def _correct(
    step: Step, state: ToolsState, said: Said
) -> Command[Literal["think", "approve", "call", "__end__"]]:
    """Tell the model what was wrong, once; the second time the attempt fails."""
    uses = state.get("uses", [])
    if state.get("corrected"):
        hint = "a larger model, or one with tool calls of its own, does"
        message = f"the model's tool calls cannot be used: {said.problem}"
        attempt = _with(uses, failed(NAME, "OutputInvalid", message, hint))
        return Command(update=step.update(attempt=attempt), goto="__end__")
    asked = _turn("asked", text=said.text, requests=list(said.requests))
    turns = [*state.get("turns", []), asked]
    if said.requests:
        first = said.requests[0]
        told = f"error: {said.problem}"
        turns.append(_turn("result", text=told, name=first["tool"], id_=first["id"]))
    else:
        turns.append(_turn("wrong", text=said.problem))
    return Command(update=step.update(turns=turns, corrected=True), goto="think")


async def _returned(
    state: ToolsState, runtime: Runtime[Context], use: ToolUse, later: list[ToolRequest]
) -> Command[Literal["think", "approve", "call", "__end__"]]:
    """Note what came of a call, and go on."""
    context = runtime.context
    runtime.stream_writer({"type": "tool_returned", "use": use})
    uses = [*state.get("uses", []), use]
    update: dict[str, Any] = {"uses": uses, "form": None, "asked": 0, "refused": ""}
    if context.tool_rounds == 1:
        if use["error"]:
            message = f"the tool {use['tool']} failed: {use['error']}"
            attempt = failed(NAME, "ToolFailed", message, "raise reason.tool_rounds")
        else:
            attempt = answered(NAME, use["result"], state.get("signals", NO_SIGNALS))
        return Command(update={**update, "attempt": _with(uses, attempt)}, goto="__end__")
    told = f"error: {use['error']}" if use["error"] else use["result"]
    first = state["requests"][0]
    update["turns"] = [
        *state.get("turns", []),
        _turn("result", text=told, name=use["tool"], id_=first["id"]),
    ]
    update["requests"] = later
    goto: Literal["think", "approve", "call"] = "think"
    if later:
        tool = await _tool(later[0]["tool"], context)
        goto, update["form"] = _toward(later, {tool.name: tool}, context)
        if update["form"]:
            waiting = {"type": "waiting", "run_id": state["run_id"], "form": update["form"]}
            runtime.stream_writer(waiting)
    return Command(update=update, goto=goto)


def _toward(
    requests: Sequence[ToolRequest], tools: dict[str, Tool], context: Context
) -> tuple[Literal["approve", "call"], Form | None]:
    """Where the next request goes, and what a person is asked about it."""
    request = requests[0]
    tool = tools[request["tool"]]
    if tool.side_effects and "tool" in context.ask_before:
        return "approve", approval_form(tool.name, tool.description, request["arguments"])
    return "call", None


def _not_repeated(requests: Sequence[ToolRequest], uses: Sequence[ToolUse]) -> list[ToolRequest]:
    """The requests without those that only repeat the call before them."""
    last = (uses[-1]["tool"], uses[-1]["arguments"]) if uses else None
    kept = []
    for request in requests:
        this = (request["tool"], request["arguments"])
        if this != last:
            kept.append(request)
        last = this
    return kept


async def _tool(name: str, context: Context) -> Tool:
    def find() -> Tool:
        return find_resources(context.resources).tools([name])[0]

    await prepare_to_check()
    # In a thread: the default resources read the settings, and tools are imported.
    return await asyncio.to_thread(find)


def _use(request: ToolRequest, *, result: str = "", error: str = "") -> ToolUse:
    return {
        "tool": request["tool"],
        "arguments": request["arguments"],
        "result": result,
        "error": error,
    }


def _with(uses: Sequence[ToolUse], attempt: Attempt) -> Attempt:
    return {**attempt, "tools": list(uses)}


def _turn(
    kind: Literal["asked", "result", "wrong"],
    *,
    text: str,
    requests: Sequence[ToolRequest] = (),
    name: str = "",
    id_: str = "",
) -> ToolTurn:
    return {"kind": kind, "text": text, "requests": list(requests), "id": id_, "tool": name}
