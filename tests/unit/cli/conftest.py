"""A run whose model side is replaced by a list of events made by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import pytest

from reverie.agents.result import Result
from reverie.cli import ask

Events = list[Any]

FACT = {
    "id": "1",
    "what": "a ball",
    "action": "is dropped",
    "result": "it falls",
    "similarity": 0.76,
    "source": "motif",
}
USED = {"name": "smollm2", "calls": 4, "tokens_in": 1412, "tokens_out": 187, "passed_over": []}
USAGE = {"tokens_in": 353, "tokens_out": 47, "calls": 1, "seconds": 0.8, "estimated": False}
USAGE = {
    **USAGE,
    "money": 0.0,
    "backends": [{**USED, "calls": 1, "tokens_in": 353, "tokens_out": 47}],
}
COST = {
    "spent": {**USAGE, "tokens_in": 1412, "tokens_out": 187, "calls": 4, "backends": [USED]},
    "elapsed": 3.2,
    "limits": {"tokens": 8000, "seconds": 120.0, "calls": 32, "money": None},
    "left": {"tokens": 6401, "seconds": 116.8, "calls": 28, "money": None},
}


def dream(branch: int, expert: str, answer: str, **other: Any) -> dict[str, Any]:
    """A finished dream, with a fact chosen and a step dreamed unless told otherwise."""
    fact = {key: FACT[key] for key in ("what", "action", "result")}
    dreamed = {"what": "the floor", "action": "pushes back", "result": "it bounces"}
    return {
        "branch": branch,
        "expert": expert,
        "status": "ok",
        "answer": answer,
        "triplets": [{**fact, "origin": "fact"}, {**dreamed, "origin": "dreamed"}],
        "confidence": 0.5,
        "usage": USAGE,
        "error": "",
        **other,
    }


DREAMS = [
    dream(0, "spatial", "You can see it fall."),
    dream(1, "temporal", "First it falls."),
    dream(2, "causal", "", status="failed", triplets=[], confidence=None, error="the time ran out"),
    dream(3, "abstract", "The rule is that things stay."),
]
VERDICT = {
    "winner": 1,
    "candidates": [
        {
            "branch": branch,
            "label": expert,
            "scores": {"grounding": grounding, "confidence": 0.5, "agreement": None},
            "total": total,
        }
        for branch, expert, grounding, total in (
            (0, "spatial", 0.61, 0.56),
            (1, "temporal", 0.85, 0.69),
            (3, "abstract", 0.33, 0.41),
        )
    ],
    "weights": {"grounding": 0.5, "confidence": 0.4, "agreement": 0.1},
    "dissent": [3],
    "abstained": False,
    "why": "dream 2 scores 0.69",
}
CHOICE = {
    "strategy": "dream",
    "why": "expected score 0.71 from 5 scored runs, the highest",
    "propensity": 0.6,
    "posterior": [
        {"strategy": "direct", "mean": 0.5, "sd": 0.2, "runs": 2},
        {"strategy": "dream", "mean": 0.71, "sd": 0.15, "runs": 5},
    ],
    "error": 0.01,
    "entropy": 0.9,
    "forced": False,
    "candidates": ["direct", "dream"],
    "sequence": ["dream", "direct"],
    "propensities": [0.6, 1.0],
    "features": [],
    "features_version": "",
    "task_type": "",
    "template": "",
    "scope": "",
    "tokens": 0,
}


def result(**other: Any) -> Result:
    """The result of the run below."""
    attempt = {
        "strategy": "dream",
        "status": "ok",
        "answer": "First it falls.",
        "confidence": 0.5,
        "calibrated": False,
        "signals": {"mean": 0.5, "weakest": 0.4, "agreement": None, "verifier": None},
        "evidence": [FACT],
        "dreams": DREAMS,
        "samples": [],
        "tools": [],
        "subanswers": [],
        "verdict": VERDICT,
        "template": "",
        "usage": USAGE,
        "error": "",
        "error_type": "",
        "hint": "",
    }
    return Result(
        **{
            "version": "0.1.0",
            "run_id": "3f9c02ab17de",
            "status": "answered",
            "question": "What happens when you drop a ball?",
            "answer": "First it falls.",
            "output": None,
            "strategy": "dream",
            "confidence": 0.5,
            "calibrated": False,
            "stopped": "",
            "choice": CHOICE,
            "attempts": [attempt],
            "cost": COST,
            "analytics": {"strategies": [], "nodes": [], "models": [], "peak_memory": None},
            "model": "smollm2",
            "backends": [USED],
            "seed": 0,
            "notices": ["the facts were seeded"],
            **other,
        }
    )


def abstained() -> Result:
    """A run in which no dream was good enough."""
    why = "the best dream scores 0.11, below 0.2"
    verdict = {**VERDICT, "winner": None, "dissent": [], "abstained": True, "why": why}
    attempt = {**result().attempts[0], "status": "abstained", "error": why, "verdict": verdict}
    return result(status="abstained", answer="", confidence=None, attempts=[attempt])


@pytest.fixture
def events() -> Events:
    """Every kind of event of a dreaming run, in order, and its result."""
    question = "What happens when you drop a ball?"
    started = {"type": "run_started", "run_id": "3f9c02ab17de", "question": question}
    memories = {"similar": [], "posteriors": CHOICE["posterior"]}
    run: Events = [
        {**started, "model": "smollm2"},
        {"type": "recalled", "memories": memories},
        {"type": "strategy", "choice": CHOICE},
        {"type": "grounded", "facts": [FACT], "note": ""},
    ]
    run += [{"type": "branch_started", "branch": d["branch"], "label": d["expert"]} for d in DREAMS]
    run += [
        {"type": "token", "branch": 0, "text": '{"answer":"You can'},
        {"type": "token", "branch": 0, "text": ' see it"'},
    ]
    run += [
        {"type": "branch_finished", "branch": d["branch"], "label": d["expert"], "outcome": d}
        for d in DREAMS
    ]
    answer = {"status": "answered", "text": "First it falls.", "strategy": "dream"}
    return [
        *run,
        {"type": "verdict", "verdict": VERDICT},
        {"type": "assessed", "accepted": True, "why": "accepted"},
        {
            "type": "answer",
            "answer": {**answer, "confidence": 0.5, "calibrated": False, "stopped": ""},
        },
        {"type": "budget", "cost": COST},
        result(),
    ]


@pytest.fixture
def abstaining() -> Events:
    """A run that ends without an answer."""
    end = abstained()
    answer = {"status": "abstained", "text": "", "strategy": "dream", "confidence": None}
    return [
        {"type": "strategy", "choice": CHOICE},
        {"type": "answer", "answer": {**answer, "calibrated": False, "stopped": ""}},
        end,
    ]


Replay = Callable[[Events], list[Any]]


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch) -> Replay:
    """Let ``reverie ask`` see these events; returns what it asked for: (question, settings,
    preview), and the schema if there is one.
    """

    def install(run: Events) -> list[Any]:
        asked: list[Any] = []

        class Replayed:
            def __init__(self, settings: Any, *, report: Any = None) -> None:
                self.settings, self.report = settings, report

            async def __aenter__(self) -> Self:
                return self

            async def __aexit__(self, *ending: object) -> None:
                return

            async def astream(
                self, question: str, *, preview: bool | None = None, output: Any = None
            ) -> AsyncIterator[Any]:
                asked.append((question, self.settings, preview, *([output] if output else ())))
                for item in run:
                    await asyncio.sleep(0)
                    if isinstance(item, BaseException):
                        raise item
                    if callable(item):
                        item(self.report)
                    else:
                        yield item

        monkeypatch.setattr(ask, "import_reasoner", lambda: Replayed)
        return asked

    return install
