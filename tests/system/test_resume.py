"""Kill -9 in the middle of a fan-out, and going on with the run in another process.

The model server counts the calls: it lives in this process, and only the reasoners are killed.
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.sqlite import SqliteSaver

from reverie.evals.quirks import Quirks, QuirkServer
from reverie.knowledge.runs import RunRecord, open_runs
from tests.system.run_children import RunChildren

QUESTION = "What happens when you drop a ball?"
BRANCHES = 6
SEED = 1000
KILLS = 20
TOKENS = 60_000
FORKS = hasattr(__import__("os"), "fork")

pytestmark = pytest.mark.skipif(not FORKS, reason="the platform cannot fork")


@pytest.fixture
def server() -> Iterator[QuirkServer]:
    with QuirkServer(Quirks(token_seconds=0.004, dimension=16)) as server:
        yield server


@pytest.fixture
def children(server: QuirkServer) -> Iterator[RunChildren]:
    environment = {
        "REVERIE_MODEL_NAME": f"{server.address}#toy",
        "REVERIE_EMBEDDER_NAME": f"{server.address}#toy",
        "REVERIE_GROUND_MAX_FACTS": "0",
        "REVERIE_DREAM_BRANCHES": str(BRANCHES),
        "REVERIE_DREAM_ABSTAIN_BELOW": "0",
        "REVERIE_TRACE_KEEP": "0",
        "LANGGRAPH_STRICT_MSGPACK": "true",
    }
    with RunChildren(environment) as children:
        yield children


@dataclass
class Kill:
    """How things stood after a kill."""

    done: set[int]
    """The branches whose result was on disk."""
    served: Counter[int]
    """The calls that had reached the server, by branch."""


@dataclass
class Trial:
    """One run on a home of its own, in one process after another."""

    home: Path
    children: RunChildren
    server: QuirkServer
    kills: list[Kill] = field(default_factory=list)
    never_sent: int = 0

    @property
    def out(self) -> Path:
        return self.home / "out.json"

    def ask(self, **budget: Any) -> int:
        options = {"strategy": "dream", "seed": SEED, "budget": {"tokens": TOKENS, **budget}}
        what = {"home": str(self.home), "out": str(self.out)}
        return self.children.spawn(question=QUESTION, options=options, **what)

    def resume(self) -> int:
        what = {"home": str(self.home), "out": str(self.out)}
        return self.children.spawn(run_id=self.run.run_id, **what)

    @property
    def begun(self) -> bool:
        return (self.home / "runs.sqlite").exists() and bool(self._runs())

    @property
    def run(self) -> RunRecord:
        [run] = self._runs()
        return run

    def _runs(self) -> list[RunRecord]:
        store = open_runs(self.home)
        try:
            return store.registry._recent(5)
        finally:
            store._database.close()

    def journal(self) -> Counter[int]:
        """Calls that were begun, by branch."""
        with closing(sqlite3.connect(self.home / "runs.sqlite")) as connection:
            rows = connection.execute("SELECT name FROM calls").fetchall()
        return Counter(_branch_of(name) for (name,) in rows)

    def committed(self) -> set[int]:
        """The branches whose result is in the checkpoints."""
        if not (self.home / "checkpoints.sqlite").exists():
            return set()
        path = self.home / "checkpoints.sqlite"
        with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
            found = SqliteSaver(connection).list({"configurable": {"thread_id": self.run.run_id}})
            dreams: list[Any] = []
            for one in found:
                dreams += one.checkpoint["channel_values"].get("dreams", ())
                for _, key, value in one.pending_writes or ():
                    dreams += value if key == "dreams" and isinstance(value, list) else ()
        return {dream["branch"] for dream in dreams}

    def served(self) -> Counter[int]:
        """Calls that reached the server, by branch: each has a seed of its own."""
        bodies = [r.body for r in self.server.requests if r.path == "/v1/chat/completions"]
        return Counter(body["seed"] - SEED for body in bodies)

    def wait_for_a_call(self, began: Counter[int]) -> None:
        """Until one more call has come than after the last kill, or the run has ended."""
        before = self.kills[-1].served.total() if self.kills else 0
        for _ in range(1000):
            if (self.served() - began).total() > before or self.out.exists():
                return
            time.sleep(0.01)

    def note_kill(self, began: Counter[int]) -> None:
        self.kills.append(Kill(self.committed(), self.served() - began))

    def outcome(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out.read_text())
        return document

    def check(self, began: Counter[int], *, tight: bool, label: str) -> None:
        """Whether the run went on as it should, and everything is charged."""
        outcome, served, journal = self.outcome(), self.served() - began, self.journal()
        for branch in range(BRANCHES):
            again = 0
            for kill in self.kills:
                if branch in kill.done:  # committed: never asked again
                    assert served[branch] == kill.served[branch], (label, branch)
                    break
                again += 1
            # In flight, or not begun: asked once more at most, for each kill.
            assert served[branch] <= 1 + again, (label, branch)
        spends = [e for e in outcome["ledger"] if e["kind"] == "spend"]
        charged = Counter(_branch_of(e["id"].partition(":")[2].partition("#")[0]) for e in spends)
        # The books have every call that was begun, the server every call that was sent: the ones
        # between them are those that a process was about to send when it was killed.
        assert charged == journal, label
        assert not served - charged, label
        self.never_sent = (charged - served).total()
        assert self.never_sent <= len(self.kills) * BRANCHES, label
        assert all(e["usage"]["calls"] == 1 for e in spends), label
        context = self.run.context
        tokens = sum(e["usage"]["tokens_in"] + e["usage"]["tokens_out"] for e in spends)
        assert tokens <= context["tokens"], label
        assert len(spends) <= context["calls"], label
        if "error" in outcome:  # with every branch in flight, a tight budget pays for none again
            assert tight, outcome
            assert outcome["error"]["type"] == "BudgetExceeded", outcome
            assert self.run.status == "failed"
            return
        spent = outcome["result"]["cost"]["spent"]
        assert (spent["calls"], spent["tokens_in"] + spent["tokens_out"]) == (len(spends), tokens)
        assert self.run.status == "finished"


def _branch_of(name: str) -> int:
    """The branch that a call's name begins with: the number at the end of its scope."""
    scope = name.rsplit(":", 2)[0]
    return int(scope.rpartition(":")[2])


@dataclass
class Seen:
    """What all trials together have tried."""

    kills: int = 0
    partly_done: int = 0
    in_flight: int = 0
    never_sent: int = 0

    def add(self, trial: Trial) -> None:
        self.kills += len(trial.kills)
        self.partly_done += sum(0 < len(kill.done) < BRANCHES for kill in trial.kills)
        self.in_flight += sum(len(set(kill.served) - kill.done) for kill in trial.kills)
        self.never_sent += trial.never_sent


@pytest.mark.timeout(300)  # forty processes, each with a run to make
def test_killed_at_any_moment_a_run_goes_on_where_it_was(
    tmp_path: Path, children: RunChildren, server: QuirkServer
) -> None:
    template, seconds, needed = prepared(tmp_path, children, server)
    chance = random.Random(20)  # noqa: S311  # to repeat the moments
    seen = Seen()
    for number in range(KILLS):
        trial = Trial(tmp_path / f"home{number}", children, server)
        shutil.copytree(template, trial.home)
        # Every fourth run can pay for three calls that are lost, and no more.
        tight = {"tokens": needed * (BRANCHES + 3) // BRANCHES, "calls": BRANCHES + 3}
        budget = tight if number % 4 == 3 else {}
        began = Counter(trial.served())
        pid = trial.ask(**budget)
        times = 2 if number % 5 == 4 else 1
        for _ in range(times):
            # Most moments lie between the first call and the end, the others before it.
            if number >= KILLS // 5:
                trial.wait_for_a_call(began)
            time.sleep(chance.random() * seconds)
            if not children.kill(pid) or not trial.begun:
                break
            trial.note_kill(began)
            pid = trial.resume()
        if not trial.begun:
            continue  # it was killed before it was a run: there is nothing to go on with
        children.wait(pid)
        trial.check(began, tight=bool(budget), label=f"run {number}")
        seen.add(trial)
    # Or nothing was tried: kills in a fan-out with some branches done, and calls in flight.
    assert seen.kills >= KILLS * 3 // 4, seen
    assert seen.partly_done >= 4, seen
    assert seen.in_flight >= KILLS, seen


def prepared(tmp_path: Path, children: RunChildren, server: QuirkServer) -> tuple[Path, float, int]:
    """A home in which everything is known but no run, how many seconds a fan-out takes, and how
    many tokens a run.
    """
    first = Trial(tmp_path / "template", children, server)
    first.home.mkdir()
    began = Counter(first.served())
    pid = first.ask()
    first.wait_for_a_call(began)
    since = time.monotonic()
    children.wait(pid)
    seconds = time.monotonic() - since
    spent = first.outcome()["result"]["cost"]["spent"]
    assert spent["calls"] == BRANCHES
    assert first.served() == dict.fromkeys(range(BRANCHES), 1)
    for name in ("runs.sqlite", "checkpoints.sqlite", "out.json"):
        for part in first.home.glob(f"{name}*"):
            part.unlink()
    return first.home, seconds, spent["tokens_in"] + spent["tokens_out"]
