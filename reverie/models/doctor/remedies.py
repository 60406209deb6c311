"""What Reverie does about what a server cannot do, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from reverie.models.doctor.probing import Outcome

_BILLION = 1_000_000_000

_WITHOUT: Final[Mapping[str, str]] = {
    "window": "Its size is learnt from the first refusal; model.window sets it.",
    "parameters": "It is taken for a model of a billion parameters or more.",
    "cut": "A reply that was cut cannot be told from a whole one.",
    "sampling": "temperature and top_p are left out.",
    "parallel_tools": "Calls come one after another.",
    "strict_tools": "Arguments are whatever the model makes them.",
    "json_schema": "The prompt describes the schema; the reply is checked, and repaired once.",
    "schema_patterns": "Patterns are checked in the reply, not enforced.",
    "json_object": "The prompt asks for JSON; the reply is checked, and repaired once.",
    "schema_with_tools": "Beside tools, the prompt describes the schema and the reply is checked.",
    "grammar": "Forms are JSON schemas, or checked in the reply.",
    "logprobs": "Dreams are scored without the model's own confidence.",
    "prompt_logprobs": "Texts that the model did not write have no score.",
    "token_ids": "Traces hold texts without token ids.",
    "usage": "Tokens are counted or estimated here, and marked as estimated.",
    "reasoning": "It is looked for in every form all the same.",
    "n": "Each reply is a request of its own.",
    "seed": "The seed is left out: runs cannot be repeated word for word.",
    "stop": "Replies are cut at the stop string here.",
    "prefill": "The model is asked in words to go on.",
    "schema_prefill": "Where a schema is given, replies are not begun.",
    "embeddings": "Texts are embedded by the packaged model.",
    "counter": "Prompts are counted by an upper bound, about twice what English has.",
}
_TOOLS: Final[Mapping[str, str]] = {
    "forced": "Tools are sent where a call is required, and left out elsewhere.",
    "text": "Tools are sent, and calls are read out of the text.",
    "none": "Tools are left out of requests.",
}


def remedy(ability: str, outcome: Outcome) -> str:
    """What Reverie does where ``ability`` is not there, or not known to be; empty if it is."""
    if ability == "tools":
        return _TOOLS.get(str(outcome.fields.get("tools", "")), "")
    if ability == "parameters" and outcome.fields.get("parameters", _BILLION) < _BILLION:
        return "A small model: its dreams choose among known facts and make up none."
    return _WITHOUT.get(ability, "") if outcome.verdict != "yes" else ""
