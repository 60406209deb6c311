"""Recall: what worked before on questions like this one."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

from langgraph.runtime import Runtime
from langgraph.types import Overwrite

from reverie.errors import ContextOverflow
from reverie.graphs.call import SMALLEST_ANSWER, prompt_tokens
from reverie.graphs.context import Context
from reverie.graphs.question import clean_question
from reverie.graphs.records import Memories
from reverie.graphs.resources import Resources, find_resources
from reverie.graphs.state import ReasonState


async def recall(state: ReasonState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Begin the run: its id, its clock, and what the strategy memory says of its question.

    A thread of LangGraph may be asked again and again (Studio does): whatever an earlier run left
    in its state ends here.
    """
    context = runtime.context
    # In a thread: the default resources read the settings, which are files.
    resources = await asyncio.to_thread(find_resources, context.resources)
    question = clean_question(state["question"])
    await resources.prepare(context.model, context.preview)
    await _require_window(question, resources, context)
    started = time.time()
    run_id = "" if "answer" in state else state.get("run_id")  # another run's once it has answered
    vector = (await (await resources.embedder()).embed([question]))[0]
    memory = await resources.memory()
    memories: Memories = {
        "similar": await memory.similar(vector),
        "posteriors": await memory.posteriors(vector, context.strategies),
    }
    runtime.stream_writer({"type": "recalled", "memories": memories})
    return {
        "question": question,
        "run_id": run_id or new_run_id(),
        "started": started,
        "ledger": Overwrite([]),
        "notices": Overwrite(list(resources.notices)),
        "memories": memories,
        "attempts": [],
    }


def new_run_id() -> str:
    """Twelve hexadecimal digits: unique enough for one home, short enough to type."""
    return secrets.token_hex(6)


async def _require_window(question: str, resources: Resources, context: Context) -> None:
    """Refuse at once what no strategy could answer: a question larger than the model's window.
    Raises ContextOverflow. Whether the budget suffices, each strategy knows best.
    """
    from langchain_core.messages import HumanMessage

    from reverie.models.fallback import FallbackChatModel

    model = await resources.model(context.model, context.preview)
    window = model.reverie_profile.window
    if window is None or not model.counts_exactly:
        return
    if isinstance(model, FallbackChatModel):  # another backend may have a larger window
        return
    tokens = await prompt_tokens(model, [HumanMessage(question)])
    if tokens + SMALLEST_ANSWER > window:
        raise ContextOverflow(
            f"the question has {tokens} tokens and the model's context window only {window}",
            hint="ask a shorter question, or use a model with a larger window",
        )
