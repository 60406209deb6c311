"""What one node of a strategy works with: the model, its prompts, and the account that pays.

A node asks the model through its ``Step``, which charges every call to the reservation that the
strategy, or the branch, was given. What a node has spent is charged also when it fails.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from langgraph.errors import GraphBubbleUp, NodeError
from langgraph.runtime import Runtime
from typing_extensions import TypedDict

from reverie.graphs.attempt import failed, failure_of
from reverie.graphs.budget import Entry, Ledger, add_usage, ledger_of, total_tokens
from reverie.graphs.call import CallFailed, Reply, call_model, prompt_tokens
from reverie.graphs.call_events import CallEvents
from reverie.graphs.call_record import PromptUse, call_record
from reverie.graphs.context import Context
from reverie.graphs.lost import Journaled
from reverie.graphs.records import Limits, Usage
from reverie.graphs.resources import Resources, find_resources, resources_at_hand

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from reverie.models.chat_model import ChatModel


_CUT_OFF: Final = asyncio.CancelledError(
    "the call was cut off from outside; its usage is the most that it may have cost"
)


class StepState(TypedDict, total=False):
    """The part of a node's state that its step reads."""

    run_id: str
    started: float
    ledger: list[Entry]
    scope: str
    template: str


class StepFailed(Exception):
    """A node that failed, with the ledger entries that it had made by then."""

    def __init__(self, error: BaseException, entries: Sequence[Entry]) -> None:
        super().__init__(str(error))
        self.error = error
        self.entries = tuple(entries)


class Step:
    """One node at work. Enter it with ``async with``; its calls are charged whatever happens."""

    def __init__(
        self,
        state: Mapping[str, Any],
        runtime: Runtime[Context],
        node: str,
        *,
        left: Limits | None = None,
    ) -> None:
        """``node`` is ``strategy.node``. ``left`` is what a branch may use, which cannot see the
        books of the others; otherwise the ledger in ``state`` tells.
        """
        self.context = runtime.context
        self.write: Callable[[Any], None] = runtime.stream_writer
        self.node = node
        self.scope: str = state.get("scope") or ""
        # A branch's state has no run id; under a checkpointer the thread's is the same.
        thread = runtime.execution_info.thread_id if runtime.execution_info else None
        self.run_id: str = state.get("run_id") or thread or ""
        self.template: str = state.get("template") or ""
        self.started: float = state["started"]
        self.entries: list[Entry] = []
        self.notices: list[str] = []
        self._prompts: list[PromptUse] = []
        self._ledger = ledger_of(
            {"started": state["started"], "ledger": state.get("ledger") or []}, self.context
        )
        self._given = left
        self._model: ChatModel | None = None
        self._resources: Resources | None = None

    async def __aenter__(self) -> Self:
        # In a thread the first time: settings and prompts are files.
        resources = _at_hand(self.context, self.template)
        if resources is None:
            resources = await asyncio.to_thread(_ready, self.context, self.template)
        self._resources = resources
        self._model = await resources.model(self.context.model, self.context.preview)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, GraphBubbleUp):
            cause = error.error if isinstance(error, CallFailed) else error
            raise StepFailed(cause, self.entries) from error

    @property
    def model(self) -> ChatModel:
        assert self._model is not None, "enter the step first"  # noqa: S101  # a programming error
        return self._model

    @property
    def resources(self) -> Resources:
        assert self._resources is not None, "enter the step first"  # noqa: S101  # as above
        return self._resources

    @property
    def ledger(self) -> Ledger:
        """The run's books, with what this node has done to them."""
        return self._ledger.plus(*self.entries)

    @property
    def left(self) -> Limits:
        """What this node may still spend."""
        if self._given is None:
            return self.ledger.left(self.scope)
        # Of what an ended process owed, this branch pays what is charged to its own reservation.
        spent = add_usage(
            e["usage"]
            for e in self.ledger.entries
            if e["kind"] == "spend" and (e["scope"] == self.scope or e in self.entries)
        )
        money = self._given["money"]
        return {
            "tokens": max(0, self._given["tokens"] - total_tokens(spent)),
            "calls": max(0, self._given["calls"] - spent["calls"]),
            "seconds": min(self._given["seconds"], self.ledger.left()["seconds"]),
            "money": None if money is None else max(0.0, money - spent["money"]),
        }

    def messages(self, prompt: str, **values: str) -> list[BaseMessage]:
        """The prompt called ``prompt``, filled in, with the reasoning template that was chosen."""
        loaded = self.resources.prompts.load(prompt)
        use: PromptUse = {"name": loaded.name, "version": loaded.version}
        if use not in self._prompts:
            self._prompts.append(use)
        messages = loaded.messages(**values)
        # What goes on with a conversation does not ask the question, which has it already.
        if self.template and "question" in loaded.values:
            messages = self._with_template(messages)
        return messages

    async def count(self, messages: Sequence[BaseMessage], prefill: str = "") -> int:
        """How many tokens ``messages`` cost as a prompt."""
        return await prompt_tokens(self.model, messages, prefill)

    async def ask(
        self,
        call: str,
        messages: Sequence[BaseMessage],
        *,
        max_tokens: int,
        prefill: str = "",
        json_schema: Mapping[str, Any] | None = None,
        stop: Sequence[str] = (),
        temperature: float = 0.0,
        seed: int | None = None,
        branch: int | None = None,
        hidden: str = "",
        shown: bool = True,
        alternatives: int = 0,
        tools: Sequence[Mapping[str, Any]] = (),
        tool_choice: str = "",
    ) -> Reply:
        """One model call within what is left, charged. ``call`` is its name, unique in the node's
        reservation, and the same when the node runs again. Text is shown as it is written, under
        ``branch``, unless not ``shown``; ``hidden`` is how it may begin without being shown.
        ``alternatives``: how many of the likeliest tokens to tell in the place of each. ``tools``
        are described as OpenAI's requests do; ``tool_choice`` is OpenAI's, too.

        Raises CallFailed.
        """
        left = self.left
        name = f"{self.scope}:{self.node}:{call}"
        events = CallEvents(self.write if shown else _silent, branch, hidden=hidden)
        options: dict[str, Any] = {
            "max_tokens": max_tokens,
            "json_schema": json_schema,
            "stop": list(stop),
            "temperature": temperature,
            "seed": seed,
            "alternatives": alternatives,
            "tools": list(tools),
            "tool_choice": tool_choice,
        }
        record = functools.partial(
            call_record,
            node=self.node,
            name=name,
            branch=branch,
            model=self.model.reverie_profile.name,
            prompts=self._prompts,
            template=self.template,
            messages=messages,
            prefill=prefill,
            options=options,
        )
        written = Journaled(self.resources.journal, self.run_id, name, self.scope, self.node)
        most: Usage | None = None
        started = time.monotonic()

        async def begun(usage: Usage) -> None:
            nonlocal most
            await written.begun(usage)
            most = usage

        try:
            reply = await call_model(
                self.model,
                messages,
                left=left,
                events=events,
                prefill=prefill,
                prices=self.resources.prices(self.context.model, self.context.preview),
                begun=begun,
                **options,
            )
        except CallFailed as failure:
            await written.finished(failure.usage)
            if failure.usage["calls"]:
                self._charge(name, failure.usage)
                called = record(usage=failure.usage, reply=None, error=failure.error)
                self.write({"type": "called", "call": called})
            raise
        except asyncio.CancelledError:
            # Ended from outside, as by a timer: nobody knows what it cost, only what at most.
            if most is not None:
                usage: Usage = {**most, "seconds": time.monotonic() - started}
                self._charge(name, usage)
                called = record(usage=usage, reply=None, error=_CUT_OFF)
                self.write({"type": "called", "call": called})
            raise
        await written.finished(reply.usage)
        self._charge(name, reply.usage)
        self.write({"type": "called", "call": record(usage=reply.usage, reply=reply, error=None)})
        self.notices += [notice for notice in reply.notices if notice not in self.notices]
        return reply

    def update(self, **changes: Any) -> dict[str, Any]:
        """The node's update: ``changes``, and what its calls cost."""
        notices = list(dict.fromkeys((*self.notices, *changes.pop("notices", ()))))
        others = list(changes.pop("ledger", ()))
        self.resources.meter.note(self.run_id, others)
        return {"ledger": [*self.entries, *others], "notices": notices, **changes}

    def _with_template(self, messages: Sequence[BaseMessage]) -> list[BaseMessage]:
        template = self.resources.templates.load(self.template)
        use: PromptUse = {"name": f"templates/{template.name}", "version": template.version}
        if use not in self._prompts:
            self._prompts.append(use)
        return template.add_to(messages)

    def _charge(self, name: str, usage: Usage) -> None:
        entry = self.ledger.spend(name, usage, node=self.node, scope=self.scope)
        self.entries.append(entry)
        journal = self.resources.journal
        if journal is None or not journal.knows(self.run_id):  # else it is written down there
            self.resources.meter.note(self.run_id, [entry])


def attempt_failed(strategy: str) -> Callable[..., Any]:
    """An error handler that turns a node's failure into a failed attempt of ``strategy``, charged
    with what the node had spent.
    """

    async def handle(state: Any, error: NodeError, runtime: Runtime[Context]) -> dict[str, Any]:
        del state, runtime
        return {
            "ledger": spent_by(error.error),
            "attempt": failed(strategy, *failure_of(error.error)),
        }

    return handle


def spent_by(error: BaseException) -> list[Entry]:
    """The ledger entries that a failed node had made."""
    return list(error.entries) if isinstance(error, StepFailed) else []


def _at_hand(context: Context, template: str) -> Resources | None:
    """The resources, if they have read all that a step needs."""
    resources = resources_at_hand(context.resources)
    if resources is None:
        return None
    read = resources.has_read(context.model, context.preview, templates=bool(template))
    return resources if read else None


def _ready(context: Context, template: str) -> Resources:
    resources = find_resources(context.resources)
    resources.prompts  # noqa: B018  # read now
    resources.prices(context.model, context.preview)  # as above
    if template:
        resources.templates  # noqa: B018  # as above
    return resources


def _silent(event: Any) -> None:
    del event
