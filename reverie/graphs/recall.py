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
from reverie.graphs.features import features_of, features_version
from reverie.graphs.question import clean_question
from reverie.graphs.records import Memories
from reverie.graphs.resources import Resources, find_resources
from reverie.graphs.shape import set_aside
from reverie.graphs.state import ReasonState
from reverie.graphs.strategies import known_strategies
from reverie.graphs.task_type import task_type


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
    prices = await asyncio.to_thread(resources.prices, context.model, context.preview)
    prices.require(context.money, context.price)
    shaping = await set_aside(question, resources, context)
    started = time.time()
    run_id = "" if "answer" in state else state.get("run_id")  # another run's once it has answered
    memories = await _remembered(question, resources, context)
    runtime.stream_writer({"type": "recalled", "memories": memories})
    return {
        "question": question,
        "run_id": run_id or new_run_id(),
        "started": started,
        "ledger": Overwrite(shaping),
        "notices": Overwrite(list(resources.notices)),
        "memories": memories,
        "attempts": [],
        "choices": [],
        "planned": None,
        "output": None,
        "unshaped": None,
    }


def new_run_id() -> str:
    """Twelve hexadecimal digits: unique enough for one home, short enough to type."""
    return secrets.token_hex(6)


async def _remembered(question: str, resources: Resources, context: Context) -> Memories:
    """What earlier runs say of a question like this one."""
    vector = await resources.question_vector(question)
    memory = await resources.memory()
    version = features_version((await resources.embedder()).name)
    beliefs = await asyncio.to_thread(lambda: resources.beliefs)
    await beliefs.catch_up(memory, version)
    profile = (await resources.model(context.model, context.preview)).reverie_profile
    task = task_type(question)
    features = features_of(vector, task, profile, tokens_left=context.tokens, later=False)
    known = [name for name in dict.fromkeys(context.strategies) if name in known_strategies()]
    price = resources.settings.learn.token_price
    return {
        "similar": await memory.similar(vector),
        "posteriors": beliefs.beliefs(version, known, features),
        "sequences": await memory.sequences(vector, allowed=known, price=price),
        "costs": await memory.costs(known),
        "task_type": task,
    }


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
