"""Checkpoints in a real PostgreSQL server, started for these tests alone."""

from __future__ import annotations

import json
import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reverie.agents.checkpoints import open_checkpoints
from reverie.agents.reasoner import Reasoner
from reverie.errors import KnowledgeUnavailable, RunUnavailable
from reverie.evals.quirks import Quirks, QuirkServer
from reverie.knowledge.runs import open_runs
from reverie.settings import Settings, load_settings
from reverie.settings.schema import RunsSettings
from tests.system.run_children import RunChildren

pytest.importorskip("psycopg", reason="the extra postgres is not installed")

PASSWORD = "pa55-of-the-tests"
QUESTION = "What happens when you drop a ball?"


def _programs() -> Path | None:
    """The folder of initdb and pg_ctl, which Debian keeps off the path."""
    found = shutil.which("pg_ctl")
    folders = [Path(found).parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((f for f in folders if (f / "initdb").exists()), None)


@dataclass(frozen=True)
class Cluster:
    """A private server."""

    port: int
    folder: Path
    programs: Path
    user: str | None
    """Who runs it; None: whoever runs the tests."""

    @property
    def address(self) -> str:
        return f"postgresql://reverie:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def control(self, *arguments: str) -> None:
        # The log is a file: the server keeps what it inherits open.
        files = ["-D", str(self.folder / "data"), "-l", str(self.folder / "log")]
        command = [str(self.programs / "pg_ctl"), "-w", *files, *arguments]
        as_user(self.user, command, self.folder)


def as_user(user: str | None, command: list[str], folder: Path) -> None:
    done = subprocess.run(
        command,
        user=user,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed (initdb, pg_ctl)")
    user = None
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        try:
            user = pwd.getpwnam("postgres").pw_name
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    # Not under tmp_path, whose parents only root may enter.
    folder = Path(tempfile.mkdtemp(prefix="reverie-postgres-"))
    password = folder / "password"
    password.write_text(PASSWORD)
    if user is not None:
        shutil.chown(folder, user)
        shutil.chown(password, user)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cluster = Cluster(port, folder, programs, user)
    try:
        initdb = [str(programs / "initdb"), "-D", str(folder / "data"), "-U", "reverie"]
        as_user(user, [*initdb, "-A", "scram-sha-256", f"--pwfile={password}", "-N"], folder)
        # Durability against a power cut is not what is tested here.
        options = f"-p {port} -k {folder} -h 127.0.0.1 -c fsync=off"
        cluster.control("-o", options, "start")
        try:
            yield cluster
        finally:
            cluster.control("-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def server() -> Iterator[QuirkServer]:
    with QuirkServer(Quirks(token_seconds=0.005, dimension=16)) as server:
        yield server


def environment(cluster: Cluster, server: QuirkServer) -> dict[str, str]:
    return {
        "REVERIE_MODEL_NAME": f"{server.address}#toy",
        "REVERIE_EMBEDDER_NAME": f"{server.address}#toy",
        "REVERIE_GROUND_MAX_FACTS": "0",
        "REVERIE_DREAM_ABSTAIN_BELOW": "0",
        "REVERIE_RUNS_POSTGRES": cluster.address,
        "REVERIE_TRACE_KEEP": "0",
    }


def at(cluster: Cluster, server: QuirkServer, home: Path, **changed: Any) -> Settings:
    settings = load_settings(
        env={**environment(cluster, server), "REVERIE_HOME": str(home)}
    ).settings
    return settings.model_copy(update=changed)


async def test_a_run_is_kept_looked_at_and_replayed(
    cluster: Cluster, server: QuirkServer, tmp_path: Path
) -> None:
    async with Reasoner(at(cluster, server, tmp_path)) as reasoner:
        result = await reasoner.aask(QUESTION, strategy="dream", seed=5)
        steps = await reasoner.ahistory(result.run_id)
        again = await reasoner.areplay(result.run_id, from_="select", strategy="direct")

    assert not (tmp_path / "checkpoints.sqlite").exists()
    assert steps[-1].next == ()
    assert steps[-1].calls == 4
    assert again.strategy == "direct"


def test_killed_in_a_fan_out_it_goes_on_in_another_process(
    cluster: Cluster, server: QuirkServer, tmp_path: Path
) -> None:
    home = str(tmp_path / "home")
    out = tmp_path / "out.json"
    what = {"home": home, "out": str(out)}
    options = {"strategy": "dream", "seed": 1000, "budget": {"tokens": 60_000}}

    def served() -> Counter[int]:
        bodies = [r.body for r in server.requests if r.path == "/v1/chat/completions"]
        return Counter(body["seed"] - 1000 for body in bodies)

    with RunChildren(environment(cluster, server)) as children:
        pid = children.spawn(question=QUESTION, options=options, **what)
        until = time.monotonic() + 30
        while len(served()) < 4 and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(random.Random(3).random() * 0.1)  # noqa: S311  # to repeat the moment
        assert children.kill(pid)
        counted = served()

        # Two want to go on with it: one does, the other is told so, or finds the result.
        others = [{**what, "out": str(tmp_path / f"out{n}.json")} for n in range(2)]
        run_id = _only_run(tmp_path / "home")
        pids = [children.spawn(run_id=run_id, **one) for one in others]
        for one in pids:
            children.wait(one)
    documents = [_read(Path(one["out"])) for one in others]
    done = [d for d in documents if "result" in d]
    refused = [d for d in documents if "error" in d]
    assert done
    assert all(d["error"]["type"] == "RunUnavailable" for d in refused), refused
    spent = done[0]["result"]["cost"]["spent"]
    assert all(count <= counted[branch] + 1 for branch, count in served().items())
    assert spent["calls"] >= served().total()
    assert spent["calls"] <= 8


def _only_run(home: Path) -> str:
    store = open_runs(home)
    [run] = store.registry._recent(5)
    store._database.close()
    return run.run_id


def _read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text())
    return document


async def test_a_server_that_was_started_anew_is_no_error(
    cluster: Cluster, server: QuirkServer, tmp_path: Path
) -> None:
    async with Reasoner(at(cluster, server, tmp_path)) as reasoner:
        await reasoner.aask(QUESTION, strategy="direct")
        cluster.control("-m", "fast", "restart")
        assert (await reasoner.aask(QUESTION, strategy="direct")).answer


async def test_the_oldest_runs_lose_their_checkpoints(
    cluster: Cluster, server: QuirkServer, tmp_path: Path
) -> None:
    settings = at(cluster, server, tmp_path)
    settings = settings.model_copy(update={"runs": settings.runs.model_copy(update={"keep": 1})})
    async with Reasoner(settings) as reasoner:
        first = await reasoner.aask(QUESTION, strategy="direct")
        await reasoner.aask(QUESTION, strategy="direct")
        with pytest.raises(RunUnavailable, match="deleted"):
            await reasoner.ahistory(first.run_id)


def refused(tmp_path: Path, address: str) -> str:
    runs = RunsSettings(postgres=address)
    with pytest.raises(KnowledgeUnavailable, match="cannot be used for checkpoints") as caught:
        open_checkpoints(Settings(home=tmp_path, runs=runs))
    assert caught.value.__suppress_context__  # what is behind it may hold the password
    return str(caught.value)


def test_a_wrong_password_is_said_and_not_shown(cluster: Cluster, tmp_path: Path) -> None:
    said = refused(tmp_path, cluster.address.replace(PASSWORD, "wr0ng-one"))
    assert "password authentication failed" in said
    assert "wr0ng-one" not in said


def test_an_unknown_database_is_said(cluster: Cluster, tmp_path: Path) -> None:
    said = refused(tmp_path, cluster.address.replace("/postgres", "/nowhere"))
    assert "'nowhere'" in said
    assert PASSWORD not in said


def test_a_server_that_is_down_is_said(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = refused(tmp_path, f"postgresql://u:{PASSWORD}@127.0.0.1:{port}/x")
    assert str(port) in said
    assert "see whether it runs" in said
    assert PASSWORD not in said
