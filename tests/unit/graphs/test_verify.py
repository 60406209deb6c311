"""Verifiers of the user's own: what they say, and whatever they do wrong."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from reverie.errors import ConfigError
from reverie.graphs.context import Context
from reverie.graphs.verify import verified
from tests.unit.conftest import ScriptedResources


async def ask(
    resources: ScriptedResources, verifier: Callable[..., Any], seconds: float = 5.0
) -> tuple[float | None, list[str]]:
    resources.add_verifier("mine", verifier)
    notices: list[str] = []
    context = Context(resources=resources.key, verifier="mine")
    score = await verified(resources, context, "q", "a", notices, seconds=seconds)
    return score, notices


class Judge:
    """An object whose call is a coroutine."""

    async def __call__(self, question: str, answer: str) -> float:
        await asyncio.sleep(0)
        return 0.25


@pytest.mark.parametrize(
    ("value", "score"), [(0, 0.0), (1, 1.0), (0.5, 0.5), (True, 1.0), (Decimal("0.5"), 0.5)]
)
async def test_a_number_from_0_to_1_is_the_score(
    value: Any, score: float, resources: ScriptedResources
) -> None:
    assert await ask(resources, lambda _q, _a: value) == (score, [])


async def test_it_may_be_a_coroutine(resources: ScriptedResources) -> None:
    async def verifier(question: str, answer: str) -> float:
        await asyncio.sleep(0)
        return 1.0 if (question, answer) == ("q", "a") else 0.0

    assert await ask(resources, verifier) == (1.0, [])
    assert await ask(resources, Judge()) == (0.25, [])
    assert await ask(resources, lambda *both: verifier(*both)) == (1.0, [])  # noqa: PLW0108  # no coroutine function


async def test_it_may_not_be_able_to_tell(resources: ScriptedResources) -> None:
    assert await ask(resources, lambda _q, _a: None) == (None, [])


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -0.1, 1.5, "0.5", [1], {}, 10**400, object]
)
async def test_anything_else_is_a_notice(value: Any, resources: ScriptedResources) -> None:
    score, notices = await ask(resources, lambda _q, _a: value)

    assert score is None
    (notice,) = notices
    assert notice.startswith("the verifier mine returned ")
    assert notice.endswith("which is no number from 0 to 1; its word is left out")


@pytest.mark.parametrize("error", [ValueError("oops"), StopIteration("oops"), SystemExit("oops")])
async def test_one_that_raises_is_a_notice(
    error: BaseException, resources: ScriptedResources
) -> None:
    def verifier(question: str, answer: str) -> float:
        raise error

    score, notices = await ask(resources, verifier)

    assert score is None
    assert "oops" in notices[0]
    assert "failed" in notices[0]


async def test_a_coroutine_that_raises_is_a_notice(resources: ScriptedResources) -> None:
    async def verifier(question: str, answer: str) -> float:
        raise TimeoutError("of its own")

    score, notices = await ask(resources, verifier)

    assert score is None
    assert "failed: TimeoutError: of its own" in notices[0]


async def test_one_that_never_comes_back_is_left_behind(resources: ScriptedResources) -> None:
    go = threading.Event()

    async def sleeps(question: str, answer: str) -> float:
        await asyncio.sleep(60)
        return 1.0

    for verifier in (lambda _q, _a: go.wait(60), sleeps):
        began = time.monotonic()
        score, notices = await ask(resources, verifier, seconds=0.1)
        assert time.monotonic() - began < 2
        assert (score, notices) == (
            None,
            ["the verifier mine did not answer within 0.1 s; its word is left out"],
        )
    go.set()


async def test_a_plain_function_runs_beside_the_event_loop(resources: ScriptedResources) -> None:
    ran: list[bool] = []

    def verifier(question: str, answer: str) -> float:
        ran.append(threading.current_thread() is threading.main_thread())
        return 1.0

    await ask(resources, verifier)

    assert ran == [False]


async def test_without_one_nothing_is_said(resources: ScriptedResources) -> None:
    context = Context(resources=resources.key)

    assert await verified(resources, context, "q", "a") is None


async def test_one_that_is_not_registered_is_an_error(resources: ScriptedResources) -> None:
    context = Context(resources=resources.key, verifier="mine")

    with pytest.raises(ConfigError, match="no verifier is registered as 'mine'"):
        await verified(resources, context, "q", "a")
