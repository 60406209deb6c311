"""Recall: what worked before on questions like this one."""

from __future__ import annotations

import secrets
import time
from typing import Any

from langgraph.runtime import Runtime

from reverie.graphs.call import SMALLEST_ANSWER, prompt_tokens
from reverie.graphs.context import Context
from reverie.graphs.question import clean_question
from reverie.graphs.records import Memories
from reverie.graphs.resources import Resources, find_resources
from reverie.graphs.state import ReasonState


async def recall(state: ReasonState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Begin the run: its id, its clock, and what the strategy memory says of its question."""
    context = runtime.context
    resources = find_resources(context.resources)
    question = clean_question(state["question"])
    started = state.get("started") or time.time()
    await _require_room(question, resources, context)
    vector = (await (await resources.embedder()).embed([question]))[0]
    memory = await resources.memory()
    memories: Memories = {
        "similar": await memory.similar(vector),
        "posteriors": await memory.posteriors(vector, context.strategies),
    }
    runtime.stream_writer({"type": "recalled", "memories": memories})
    return {
        "question": question,
        "run_id": state.get("run_id") or new_run_id(),
        "started": started,
        "ledger": [],
        "notices": list(resources.notices),
        "memories": memories,
        "attempts": [],
    }


def new_run_id() -> str:
    """Twelve hexadecimal digits: unique enough for one home, short enough to type."""
    return secrets.token_hex(6)


async def _require_room(question: str, resources: Resources, context: Context) -> None:
    """Refuse at once what no strategy could answer: a question larger than the model's window or
    than the budget. Raises ContextOverflow or BudgetExceeded.
    """
    from langchain_core.messages import HumanMessage

    from reverie.errors import BudgetExceeded, ContextOverflow

    model = await resources.model(context.model)
    tokens = await prompt_tokens(model, [HumanMessage(question)])
    window = model.reverie_profile.window
    if tokens + SMALLEST_ANSWER > window:
        raise ContextOverflow(
            f"the question has {tokens} tokens and the model's context window only {window}",
            hint="ask a shorter question, or use a model with a larger window",
        )
    if tokens + SMALLEST_ANSWER > context.tokens:
        raise BudgetExceeded(
            f"{context.tokens} tokens are too few for a single call: the question alone takes "
            f"{tokens}, so the smallest budget that could do is {tokens + SMALLEST_ANSWER}",
            hint=f"give --budget {tokens + SMALLEST_ANSWER} or more",
        )
