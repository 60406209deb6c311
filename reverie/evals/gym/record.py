"""What a strategy answered to a question, kept as one line of JSON, and how such lines are made."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from reverie.agents.reasoner import Reasoner
from reverie.agents.result import Result
from reverie.errors import ConfigError, ReverieError
from reverie.evals.gym.families import GymQuestion, is_right
from reverie.graphs.records import Signals

_NOTHING: Signals = {"mean": None, "weakest": None, "agreement": None, "verifier": None}


class Record(TypedDict):
    """One question asked with one strategy. One that failed answered nothing, which is wrong."""

    family: str
    id: str
    """Of the question: the same whatever strategy it was asked with."""
    seed: int
    number: int
    strategy: str
    question: str
    status: str
    """``ok``, ``abstained`` or ``failed``."""
    answer: str
    right: int
    """1 or 0."""
    signals: Signals
    confidence: float | None
    tokens_in: int
    tokens_out: int
    tokens: int
    """Both together."""
    calls: int
    seconds: float
    """Wall-clock time of the run, with whatever else ran at the same time."""
    error: str
    error_type: str


async def ask(reasoner: Reasoner, question: GymQuestion, strategy: str, *, seed: int) -> Record:
    """Ask ``question`` with ``strategy``, or with the learned choice when it is ``auto``."""
    return (await ask_for_result(reasoner, question, strategy, seed=seed))[0]


async def ask_for_result(
    reasoner: Reasoner, question: GymQuestion, strategy: str, *, seed: int
) -> tuple[Record, Result | None, str]:
    """``ask``, the whole result (None when the run failed), and the run's id."""
    began = time.perf_counter()
    calls = tokens_in = tokens_out = 0
    run_id = ""
    result: Result | None = None
    failure: ReverieError | None = None
    try:
        async with aclosing(reasoner.astream(question.text, strategy=strategy, seed=seed)) as items:
            async for item in items:
                if isinstance(item, Result):
                    result = item
                elif item["type"] == "run_started":
                    run_id = item["run_id"]
                elif item["type"] == "called":  # a run that fails has no books to look into
                    usage = item["call"]["usage"]
                    calls += usage["calls"]
                    tokens_in += usage["tokens_in"]
                    tokens_out += usage["tokens_out"]
    except ReverieError as error:
        failure = error
    answer = result.answer if result else ""
    attempt = result.attempts[-1] if result else None
    right = bool(answer) and await asyncio.to_thread(is_right, question, answer)
    if result is not None:
        spent = result.cost["spent"]
        calls, tokens_in, tokens_out = spent["calls"], spent["tokens_in"], spent["tokens_out"]
    record: Record = {
        "family": question.family,
        "id": question.id,
        "seed": question.seed,
        "number": question.number,
        "strategy": result.strategy if result and strategy == "auto" else strategy,
        "question": question.text,
        "status": attempt["status"] if attempt else "failed",
        "answer": answer,
        "right": int(right),
        "signals": attempt["signals"] if attempt else _NOTHING.copy(),
        "confidence": result.confidence if result else None,
        "tokens_in": tokens_in,
        "tokens_out": tokens_out,
        "tokens": tokens_in + tokens_out,
        "calls": calls,
        "seconds": round(time.perf_counter() - began, 3),
        "error": failure.message if failure else "",
        "error_type": type(failure).__name__ if failure else "",
    }
    return record, result, run_id


async def record_all(
    reasoner: Reasoner,
    asked: Sequence[tuple[GymQuestion, str]],
    into: Path,
    *,
    seed: int = 0,
    at_once: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Ask every (question, strategy) that ``into`` has no line of yet, ``at_once`` at a time, and
    add a line for each as it ends. ``progress`` hears how many are done, and of how many.
    """
    known = await asyncio.to_thread(_known, into)
    waiting = [(q, s) for q, s in asked if (q.id, s) not in known]
    places = asyncio.Semaphore(at_once)
    done = 0

    async def one(question: GymQuestion, strategy: str) -> None:
        nonlocal done
        async with places:
            record = await ask(reasoner, question, strategy, seed=seed)
        await asyncio.to_thread(_append, into, record)
        done += 1
        if progress is not None:
            progress(done, len(waiting))

    await asyncio.gather(*(one(question, strategy) for question, strategy in waiting))


def read_records(paths: Iterable[Path]) -> list[Record]:
    """Every line of the files, a later one of the same question and strategy in place of an
    earlier one. Raises ConfigError for a file that is missing or holds something else.
    """
    records: dict[tuple[str, str], Record] = {}
    for path in paths:
        for record in _read(path):
            records[record["id"], record["strategy"]] = record
    return list(records.values())


def _read(path: Path) -> list[Record]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        found: list[Any] = [json.loads(line) for line in lines if line.strip()]
        if any(not isinstance(r, dict) or Record.__required_keys__ - r.keys() for r in found):
            raise ValueError("a line is no record")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} cannot be read as records: {error}",
            hint="make it with python -m reverie.evals.gym record",
        ) from error
    return found


def _known(path: Path) -> set[tuple[str, str]]:
    if not path.exists():
        return set()
    return {(record["id"], record["strategy"]) for record in _read(path)}


def _append(path: Path, record: Record) -> None:
    with path.open("a", encoding="utf-8") as sink:
        sink.write(json.dumps(record, ensure_ascii=False) + "\n")
