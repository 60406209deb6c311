"""What a verifier says of an answer.

A verifier is code of the user's own. Whatever it does wrong is a notice, never the end of a run.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import threading
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reverie.graphs.context import Context
    from reverie.graphs.resources import Resources, Verifier

LONGEST = 30.0
"""Seconds that a verifier may take."""


async def verified(
    resources: Resources,
    context: Context,
    question: str,
    answer: str,
    notices: list[str] | None = None,
    *,
    seconds: float = LONGEST,
) -> float | None:
    """What the context's verifier gives ``answer``: 0 (wrong) to 1 (right). None when there is no
    verifier, when it cannot tell, and when it failed, took more than ``seconds``, or returned
    anything but a number from 0 to 1: then ``notices`` gets a sentence that says so.

    Raises ConfigError for a verifier that is not registered.
    """
    verifier = resources.verifier(context.verifier)
    if verifier is None:
        return None
    deadline = asyncio.timeout(seconds)
    try:
        async with deadline:
            value = await _called(verifier, question, answer)
    except Exception as error:  # noqa: BLE001  # it is the user's code: anything may come
        late = isinstance(error, TimeoutError) and deadline.expired()
        why = f"did not answer within {seconds:g} s" if late else f"failed: {_told(error)}"
    else:
        if value is None:
            return None
        score = _score(value)
        if score is not None:
            return score
        why = f"returned {value!r:.60}, which is no number from 0 to 1"
    if notices is not None:
        notices.append(f"the verifier {context.verifier} {why}; its word is left out")
    return None


async def _called(verifier: Verifier, question: str, answer: str) -> Any:
    if inspect.iscoroutinefunction(verifier):
        return await verifier(question, answer)
    value = await _in_thread(verifier, question, answer)
    return await value if isinstance(value, Awaitable) else value


async def _in_thread(verifier: Verifier, question: str, answer: str) -> Any:
    """Call it in a thread of its own, which nobody waits for: one that never comes back keeps
    neither a worker of the loop nor the end of the process.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def tell(value: Any, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(value)
        else:
            done.set_exception(error)

    def run() -> None:
        value: Any = None
        error: BaseException | None = None
        try:
            value = verifier(question, answer)
        except StopIteration as raised:  # no future takes one
            error = RuntimeError(f"StopIteration: {raised}")
        except BaseException as raised:  # noqa: BLE001  # handed to whoever waits
            error = raised if isinstance(raised, Exception) else RuntimeError(repr(raised))
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, value, error)

    threading.Thread(target=run, name="verifier", daemon=True).start()
    return await done


def _score(value: Any) -> float | None:
    """A number from 0 to 1; None for anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if isinstance(value, str) or not math.isfinite(number) or not 0 <= number <= 1:
        return None
    return number


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
