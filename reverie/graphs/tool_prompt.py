"""The conversation in which a model uses tools: the prompt, examples, and what was said since."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from reverie.graphs.outside_text import as_data
from reverie.graphs.tool_protocol import Native, ToolTurn, Written, written_answer, written_call
from reverie.tools import Tool

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from reverie.graphs.step import Step

_EXAMPLES: Final = 4
"""Examples of calls that models without calls of their own are shown, every tool at least once."""


def conversation(
    step: Step,
    question: str,
    tools: Sequence[Tool],
    turns: Sequence[ToolTurn],
    protocol: Native | Written,
) -> list[BaseMessage]:
    """The prompt, and all that was said since."""
    from langchain_core.messages import AIMessage, ToolMessage

    if protocol.native:
        messages = step.messages("tools_native", question=question)
    else:
        messages = step.messages("tools", question=question, tools=_described(tools))
        if len(messages) == 2 and messages[0].type == "system":
            messages[1:1] = _examples(step, tools)
    for turn in turns:
        if turn["kind"] == "wrong":
            messages += step.messages("tools_wrong", problem=as_data(turn["text"]))
        elif turn["kind"] == "asked" and protocol.native:
            calls: Any = [
                {"name": r["tool"], "args": r["arguments"], "id": r["id"], "type": "tool_call"}
                for r in turn["requests"]
            ]
            messages.append(AIMessage(turn["text"], tool_calls=calls))
        elif turn["kind"] == "asked":
            called = [written_call(r["tool"], r["arguments"]) for r in turn["requests"]]
            messages.append(AIMessage(turn["text"] or "".join(called[:1]) or "{}"))
        elif protocol.native:
            data = as_data(turn["text"], keep_lines=True) or "(nothing)"
            messages.append(ToolMessage(data, tool_call_id=turn["id"]))
        else:
            messages += _result(step, turn["tool"], turn["text"])
    return messages


def _result(step: Step, tool: str, text: str) -> list[BaseMessage]:
    data = as_data(text, keep_lines=True) or "(nothing)"
    return step.messages("tools_result", tool=as_data(tool), result=data)


def _examples(step: Step, tools: Sequence[Tool]) -> list[BaseMessage]:
    """The first example of every tool, then the second, and so on; the tool that is named first
    stands last, where a small model heeds it most.
    """
    from langchain_core.messages import AIMessage, HumanMessage

    rows = max((len(tool.examples) for tool in tools), default=0)
    every = [
        (tool, tool.examples[row])
        for row in range(rows)
        for tool in reversed(tools)
        if row < len(tool.examples)
    ]
    messages: list[BaseMessage] = []
    for tool, example in every[: max(_EXAMPLES, len(tools))]:
        call = written_call(tool.name, example.arguments)
        messages += [HumanMessage(example.question), AIMessage(call)]
        if step.context.tool_rounds > 1:
            messages += _result(step, tool.name, example.result)
            messages.append(AIMessage(written_answer(example.answer)))
    return messages


def _described(tools: Sequence[Tool]) -> str:
    lines = []
    for tool in tools:
        properties = tool.schema.get("properties", {})
        call = written_call(tool.name, dict.fromkeys(properties, "..."))
        told = [
            f"{name}: {inner['description']}"
            for name, inner in properties.items()
            if isinstance(inner, dict) and inner.get("description")
        ]
        lines.append(" ".join(filter(None, [f"{call} {tool.description}", "; ".join(told)])))
    return "\n".join(lines)
