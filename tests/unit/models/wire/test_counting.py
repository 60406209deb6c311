"""Counting prompts: asked once, kept, bounded, and never an error."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from reverie.errors import ModelRejected, ModelUnavailable
from reverie.models.profile import ModelProfile
from reverie.models.wire.counting import TokenCounter, likely, upper_bound

VLLM = ModelProfile(name="toy", counter="vllm")
LLAMACPP = ModelProfile(name="toy", counter="llamacpp")
HELLO = [{"role": "user", "content": "hello"}]


class Answers:
    """In place of a connection: gives its answers in turn, the last one again and again."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, dict[str, Any], float | None]] = []

    async def post(self, path: str, body: dict[str, Any], *, seconds: float | None = None) -> Any:
        self.asked.append((path, body, seconds))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def counter(*answers: Any) -> tuple[TokenCounter, Answers]:
    connection = Answers(*answers)
    return TokenCounter(connection), connection  # type: ignore[arg-type]  # post is all it uses


async def test_a_prompt_is_asked_for_once() -> None:
    counts, server = counter({"count": 7})
    assert await counts.prompt(HELLO, "", VLLM) == 7
    assert await counts.prompt(HELLO, "", VLLM) == 7
    assert await counts.prompt(HELLO, "Well", VLLM) == 7
    assert [body["add_generation_prompt"] for _, body, _ in server.asked] == [True, False]


async def test_llamacpp_fills_the_template_first() -> None:
    counts, server = counter({"prompt": "<user>hello"}, {"tokens": [1, 2, 3]})
    assert await counts.prompt(HELLO, "Well", LLAMACPP) == 3
    assert [path for path, _, _ in server.asked] == ["//apply-template", "//tokenize"]
    assert server.asked[1][1]["content"] == "<user>helloWell"


async def test_a_server_without_a_counter_is_not_asked() -> None:
    counts, server = counter({"count": 7})
    assert await counts.prompt(HELLO, "", ModelProfile(name="toy")) is None
    assert await counts.text("hello", ModelProfile(name="toy")) is None
    assert not server.asked


@pytest.mark.parametrize("answer", [None, 5, [], {}, {"count": None}, {"count": "x"}, "text"])
async def test_an_answer_that_is_no_count(answer: Any) -> None:
    counts, _ = counter(answer)
    assert await counts.prompt(HELLO, "", VLLM) is None
    assert await counts.text("hello", VLLM) is None
    assert counts.absent


@pytest.mark.parametrize(
    ("error", "absent"),
    [
        (ModelRejected("no", status=404), True),
        (ModelRejected("no", status=400), False),
        (ModelUnavailable("no"), False),
    ],
)
async def test_errors_are_no_count(error: Exception, absent: bool) -> None:
    counts, _ = counter(error)
    assert await counts.prompt(HELLO, "", VLLM) is None
    assert counts.absent is absent


async def test_what_failed_is_asked_again() -> None:
    counts, _ = counter(ModelUnavailable("no"), {"count": 4})
    assert await counts.prompt(HELLO, "", VLLM) is None
    assert await counts.prompt(HELLO, "", VLLM) == 4


@pytest.mark.parametrize(("given", "allowed"), [(None, 10.0), (3.0, 3.0), (600.0, 10.0)])
async def test_it_takes_seconds_at_most(given: float | None, allowed: float) -> None:
    counts, server = counter({"count": 7})
    await counts.prompt(HELLO, "", VLLM, seconds=given)
    await counts.text("hello", VLLM, seconds=given)
    assert [seconds for _, _, seconds in server.asked] == [allowed, allowed]


async def test_what_is_kept_is_small_and_of_a_limited_number() -> None:
    counts, server = counter({"count": 7})
    large = [{"role": "user", "content": "x" * 1_000_000}]
    for place in range(400):
        await counts.prompt([*large, {"role": "user", "content": str(place)}], "", VLLM)
    assert len(counts._known) <= 256
    assert sum(len(key) for key in counts._known) < 10_000
    asked = len(server.asked)
    await counts.prompt([*large, {"role": "user", "content": "399"}], "", VLLM)
    assert len(server.asked) == asked


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        # Measured with the tokenizer of SmolLM2, which splits numbers into digits as most do.
        (" ".join(str(number) for number in range(300)), 1089),
        ("\n".join("12,34,56,78" for _ in range(50)), 599),
        (json.dumps([{"a": 0.7364712141640124, "b": 603902}] * 50), 1850),
        ("你好世界" * 100, 900),
        ("😀" * 100, 300),
        ("naïve café " * 100, 301),
    ],
)
def test_the_bound_holds_for_numbers_lists_and_other_scripts(text: str, tokens: int) -> None:
    assert upper_bound([{"role": "user", "content": text}]) >= tokens


def test_the_bound_of_prose_is_not_far_off() -> None:
    prose = "The ball falls to the floor because the earth pulls everything towards it. " * 20
    words = len(prose.split())
    assert words < upper_bound([{"role": "user", "content": prose}]) < 4 * words


def test_the_bound_holds_for_an_empty_prompt() -> None:
    # Chat templates have a system message of their own: up to about sixty tokens.
    assert 60 < upper_bound([{"role": "user", "content": ""}]) < 100


def test_the_bound_counts_all_parts() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    call = {"id": "1", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
    plain = upper_bound(HELLO)
    assert upper_bound([{"role": "user", "content": [{"type": "text", "text": "hello"}]}]) >= plain
    assert 2000 < upper_bound([{"role": "user", "content": [image]}]) < 4000
    assert upper_bound([{"role": "assistant", "content": None, "tool_calls": [call]}]) > plain
    assert upper_bound(HELLO, "and so on") > plain
    assert upper_bound([{"role": "user", "content": "\ud800" * 10}]) > 0


def test_what_a_text_likely_has() -> None:
    assert likely("") == 0
    assert likely("four") == 1
    assert likely("five!") == 2
    assert likely(str(uuid.UUID(int=0))) == 9
    assert likely("\ud800") == 1
