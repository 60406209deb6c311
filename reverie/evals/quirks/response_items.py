"""The output of a Responses reply: reasoning, message and function calls, whole or in events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from reverie.evals.quirks.asked import Asked
from reverie.evals.quirks.behaviour import Quirks
from reverie.evals.quirks.prompt import tokens
from reverie.evals.quirks.tool_calls import arguments, chunks
from reverie.evals.quirks.toy import Said, logprobs

Step = tuple[str, dict[str, Any], int]
"""An event's type, its fields, and the tokens it stands for."""


def items(asked: Asked, said: Said, ident: str, quirks: Quirks) -> list[dict[str, Any]]:
    """The finished items of ``output``, in order."""
    found: list[dict[str, Any]] = []
    status = "incomplete" if said.finish == "length" else "completed"
    if said.thought:
        summary = [{"type": "summary_text", "text": "".join(said.thought)}]
        found.append({"id": f"rs_{ident}", "type": "reasoning", "summary": summary})
    if said.refusal:
        part: dict[str, Any] = {"type": "refusal", "refusal": said.refusal}
    else:
        part = {"type": "output_text", "annotations": [], "text": said.text}
        if asked.logprobs:
            part["logprobs"] = logprobs(said.tokens, asked.top_logprobs)
    if said.tokens or said.refusal or not (said.calls or said.thought):
        message = {"id": f"msg_{ident}", "type": "message", "role": "assistant"}
        found.append({**message, "status": status, "content": [part]})
    for number, (call, written) in enumerate(zip(said.calls, arguments(said, quirks), strict=True)):
        found.append(
            {
                "id": f"fc_{ident}_{number}",
                "type": "function_call",
                "status": status,
                **({"call_id": call.id} if quirks.tool_ids else {}),
                "name": call.name,
                "arguments": written,
            }
        )
    return found


class ItemStream:
    """The events between ``response.created`` and the last one."""

    def __init__(self, asked: Asked, said: Said, quirks: Quirks) -> None:
        self.asked = asked
        self.said = said
        self.quirks = quirks

    def events(self, output: Iterable[dict[str, Any]]) -> Iterator[Step]:
        """What leads to the items of ``output``."""
        for index, item in enumerate(output):
            place = {"output_index": index}
            own = {**place, "item_id": item["id"]}
            open_: dict[str, Any] = {}
            match item["type"]:
                case "reasoning":
                    open_, steps = {"summary": []}, self._reasoning(own, item)
                case "message":
                    open_ = {"content": [], "status": "in_progress"}
                    steps = self._message(own, item)
                case _:
                    open_ = {"arguments": "", "status": "in_progress"}
                    steps = self._call(own, item)
            yield "response.output_item.added", {**place, "item": {**item, **open_}}, 0
            yield from steps
            yield "response.output_item.done", {**place, "item": item}, 0

    def _reasoning(self, own: dict[str, Any], item: dict[str, Any]) -> Iterator[Step]:
        own = {**own, "summary_index": 0}
        (part,) = item["summary"]
        name = "response.reasoning_summary"
        yield f"{name}_part.added", {**own, "part": {**part, "text": ""}}, 0
        for token in self.said.thought:
            yield f"{name}_text.delta", {**own, "delta": token}, 1
        yield f"{name}_text.done", {**own, "text": part["text"]}, 0
        yield f"{name}_part.done", {**own, "part": part}, 0

    def _message(self, own: dict[str, Any], item: dict[str, Any]) -> Iterator[Step]:
        own = {**own, "content_index": 0}
        (part,) = item["content"]
        field = "refusal" if part["type"] == "refusal" else "text"
        begun = {name: value for name, value in part.items() if name != "logprobs"} | {field: ""}
        yield "response.content_part.added", {**own, "part": begun}, 0
        if field == "refusal":
            for token in tokens(self.said.refusal):
                yield "response.refusal.delta", {**own, "delta": token}, 1
            yield "response.refusal.done", {**own, "refusal": self.said.refusal}, 0
        else:
            told = part.get("logprobs") or []
            for number, token in enumerate(self.said.tokens):
                entries = told[number : number + 1]
                yield "response.output_text.delta", {**own, "delta": token, "logprobs": entries}, 1
            done = {**own, "text": part["text"], "logprobs": told}
            yield "response.output_text.done", done, 0
        yield "response.content_part.done", {**own, "part": part}, 0

    def _call(self, own: dict[str, Any], item: dict[str, Any]) -> Iterator[Step]:
        name = "response.function_call_arguments"
        if isinstance(item["arguments"], str):
            for piece in chunks(item["arguments"], self.quirks.tool_chunks):
                yield f"{name}.delta", {**own, "delta": piece}, 1
        done = {**own, "name": item["name"], "arguments": item["arguments"]}
        yield f"{name}.done", done, 0
