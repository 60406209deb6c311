"""The toy model: words by chance, documents by schema, tool calls on request.

At temperature 0 the prompt alone decides what it says, with a seed prompt and seed do, and
otherwise chance does. It calls tools when it must, or when the question has the word "call" in it
(two of them, when it also has "both"); after a tool's result it says what the result is.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reverie.evals.quirks.asked import Asked
from reverie.evals.quirks.behaviour import Quirks
from reverie.evals.quirks.pattern import matching
from reverie.evals.quirks.prompt import text_of, token_id, tokens
from reverie.evals.quirks.schema_document import document

VOCABULARY = tuple(
    """
    a about after all and away back ball before below between bright by café carries cold colour
    day deep door down each earth every falls far fast first floor for from glass goes grows hand
    heavy high hot house in into is it keeps large last lies light long moves much naïve near
    never night not of on once one open out over quiet rises river round runs sea shines slow
    small so some soon stays stone strong sun table that the then there through time to tree
    under until up very wall warm water while white wide wind with world
    """.split()  # noqa: SIM905  # readable, a list of quoted words is not
)
"""The words that it knows; some are not ASCII."""


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(slots=True)
class Said:
    """One reply, in tokens."""

    tokens: list[str]
    thought: list[str] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    refusal: str = ""
    finish: str = "stop"
    call_tokens: int = 0

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    @property
    def count(self) -> int:
        """How many tokens the reply costs, reasoning and calls included."""
        return len(self.thought) + len(self.tokens) + self.call_tokens


def say(asked: Asked, quirks: Quirks, number: int = 0, *, invalid: bool = False) -> Said:
    """Reply ``number`` of a request. ``invalid``: it does not obey the schema."""
    rng = _chance(asked, number)
    thought = tokens(quirks.thought) if quirks.reasoning else []
    if quirks.huge_bytes:
        return Said(["x" * quirks.huge_bytes], thought)
    if quirks.refusal:
        refused = tokens(quirks.refusal)
        return Said([], thought, refusal=quirks.refusal, call_tokens=len(refused))
    calls = _calls(asked, quirks, rng)
    if calls and quirks.tools == "text":
        said = Said(tokens(_as_text(calls, quirks)), thought)
    elif calls:
        written = sum(len(tokens(json.dumps(call.arguments))) + 1 for call in calls)
        return _limited(Said([], thought, calls, "", "tool_calls", written), asked)
    else:
        text = quirks.reply
        if text is None:
            text = _invalid(asked, quirks, rng) if invalid else _text(asked, quirks, rng)
        said = Said(tokens(text), thought)
    return _limited(_stopped(said, asked), asked)


def word(rng: random.Random) -> str:
    """A word of the vocabulary."""
    return rng.choice(VOCABULARY)


def logprobs(said: list[str], top: int) -> list[dict[str, Any]]:
    """What Chat Completions calls ``logprobs.content``: each token with its alternatives, whose
    probabilities add up to less than one.
    """
    rng = random.Random("logprobs " + "".join(said))  # noqa: S311  # no secret: the toy model's chance
    found = []
    for token in said:
        chosen = 0.4 + 0.55 * rng.random()
        others = [f" {one}" for one in rng.sample(VOCABULARY, top) if f" {one}" != token]
        rest = [(other, (1 - chosen) / 2**k) for k, other in enumerate(others, start=1)]
        ranked = [(token, chosen), *rest][:top]
        entry = _logprob(token, chosen)
        entry["top_logprobs"] = [_logprob(*pair) for pair in ranked]
        found.append(entry)
    return found


def prompt_logprobs(prompt: str, top: int) -> list[dict[str, dict[str, Any]] | None]:
    """In vLLM's form: by token id, with rank; nothing for the first token."""
    return [None] + [
        {
            str(token_id(one["token"])): {
                "logprob": one["logprob"],
                "rank": rank,
                "decoded_token": one["token"],
            }
            for rank, one in enumerate(entry["top_logprobs"], start=1)
        }
        for entry in logprobs(tokens(prompt)[1:], max(top, 1))
    ]


def _logprob(token: str, probability: float) -> dict[str, Any]:
    return {
        "token": token,
        "logprob": math.log(probability),
        "bytes": list(token.encode("utf-8", "replace")),
    }


def _chance(asked: Asked, number: int) -> random.Random:
    if asked.temperature == 0:
        return random.Random(asked.prompt)  # noqa: S311  # no secret: the toy model's chance
    if asked.seed is not None:
        seed = f"{asked.seed} {number} {asked.prompt}"
        return random.Random(seed)  # noqa: S311  # as above
    return random.Random()  # noqa: S311  # as above


def _text(asked: Asked, quirks: Quirks, rng: random.Random) -> str:
    if asked.schema is not None:
        made = document(asked.schema, rng, word, patterns=quirks.obeys_patterns)
        return json.dumps(made, ensure_ascii=False).removeprefix(asked.prefill)
    if asked.json_object:
        return json.dumps({"answer": word(rng)}, ensure_ascii=False)
    if asked.pattern is not None:
        return matching(asked.pattern, rng)
    if asked.choices:
        return rng.choice(asked.choices)
    if asked.messages and asked.messages[-1].get("role") == "tool":
        return f"The result is {text_of(asked.messages[-1].get('content'))}."
    said = " ".join(rng.choices(VOCABULARY, k=quirks.words)) + "."
    return f" {said}" if asked.goes_on else said.capitalize()


def _invalid(asked: Asked, quirks: Quirks, rng: random.Random) -> str:
    if quirks.invalid_form == "prose":
        return "Sure, here is what you asked for: a document."
    if quirks.invalid_form == "other":
        return json.dumps({"unexpected": [word(rng)]}, ensure_ascii=False)
    text = _text(asked, quirks, rng)
    return f"```json\n{text}\n```" if quirks.invalid_form == "fenced" else text[: len(text) // 2]


def _calls(asked: Asked, quirks: Quirks, rng: random.Random) -> list[Call]:
    """The calls of this reply: none, one or two."""
    if not asked.tools or asked.tool_choice == "none":
        return []
    words = asked.question.lower().split()
    if asked.tool_choice == "auto":
        answered = asked.messages[-1].get("role") == "tool"
        if answered or not any(one.startswith("call") for one in words):
            return []
    offered = asked.tools
    if asked.tool_choice.startswith("="):
        offered = [tool for tool in offered if tool["name"] == asked.tool_choice[1:]]
    several = any(one.startswith("both") for one in words)
    several = several and quirks.parallel_tools and asked.parallel_tools
    chosen = (offered * 2)[:2] if several else offered[:1]
    return [_call(tool, rng) for tool in chosen]


def _call(tool: Mapping[str, Any], rng: random.Random) -> Call:
    arguments = document(tool.get("parameters") or {"type": "object"}, rng, word)
    return Call(f"call_{rng.getrandbits(48):012x}", tool["name"], arguments)


def _as_text(calls: list[Call], quirks: Quirks) -> str:
    """The calls as models write them when no server reads them out."""
    every = [{"name": call.name, "arguments": call.arguments} for call in calls]
    one = json.dumps(every[0] if len(every) == 1 else every, ensure_ascii=False)
    match quirks.tool_text:
        case "hermes":
            each = (json.dumps(call, ensure_ascii=False) for call in every)
            return "\n".join(f"<tool_call>\n{call}\n</tool_call>" for call in each)
        case "mistral":
            return "[TOOL_CALLS] " + json.dumps(every, ensure_ascii=False)
        case "fenced":
            return f"```json\n{one}\n```"
        case "json":
            return one


def _stopped(said: Said, asked: Asked) -> Said:
    """Cut before the first stop string."""
    text = said.text
    ends = [at for mark in asked.stop if mark and (at := text.find(mark)) >= 0]
    if ends:
        said.tokens = tokens(text[: min(ends)])
    return said


def _limited(said: Said, asked: Asked) -> Said:
    """Cut at the limit; reasoning counts, and is cut last."""
    most = asked.max_tokens
    if most is None or said.count <= most:
        return said
    said.finish = "length"
    said.thought = said.thought[:most]
    said.tokens = said.tokens[: most - len(said.thought)]
    if said.calls:
        said.call_tokens = most - len(said.thought)
    return said
