"""``reverie up``: a real vLLM, and that nothing of it is left, however it ends."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from reverie.models.embedded.checkpoint import prepare
from reverie.models.vllm.environment import VllmEnvironment
from reverie.models.vllm.server import Served

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]


async def test_the_suites_server_answers_with_token_ids_and_takes_tools(vllm: Served) -> None:
    body = {
        "model": vllm.name,
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "max_tokens": 16,
        "temperature": 0,
        "return_token_ids": True,
        "tools": [{"type": "function", "function": {"name": "noop", "parameters": {}}}],
    }
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{vllm.address}/chat/completions", json=body, timeout=60)

    assert answer.is_success, answer.text
    reply = answer.json()
    assert reply["choices"][0]["token_ids"]
    assert reply["prompt_token_ids"]
    assert (vllm.name, vllm.window) == ("smollm2", 4096)


# -- the command ------------------------------------------------------------------------------


@dataclass
class Running:
    """A ``reverie up`` of its own, with --json."""

    process: subprocess.Popen[str]
    home: Path
    lines: queue.Queue[str]

    def document(self, seconds: float = 400) -> Any:
        """The next line that it prints."""
        try:
            return json.loads(self.lines.get(timeout=seconds))
        except queue.Empty:
            pytest.fail(f"nothing was printed; the logs say: {self.log()[-3000:]}")

    def log(self) -> str:
        logs = sorted((self.home / "logs").glob("*.log"))
        return logs[0].read_text(errors="replace") if logs else ""

    def said(self) -> str:
        """What it has said to standard error."""
        return (self.home / "stderr").read_text()

    def port(self) -> int:
        """The port in the name of its log."""
        (log,) = (self.home / "logs").glob("*.log")
        return int(log.stem.rpartition("-")[2])

    def tree(self) -> list[psutil.Process]:
        """All its processes but itself."""
        return psutil.Process(self.process.pid).children(recursive=True)


Up = Callable[..., Running]


@pytest.fixture
def up(vllm_environment: VllmEnvironment, model_cache: Path, tmp_path: Path) -> Iterator[Up]:
    """Starts the command; ends what is left of it."""
    prepare(model_cache)
    with ExitStack() as stack:

        def start(*arguments: str, **variables: str) -> Running:
            home = tmp_path / f"home-{len(list(tmp_path.iterdir()))}"
            home.mkdir()
            command = [sys.executable, "-m", "reverie", "up", *arguments[:1], "--json"]
            command += ["--python", str(vllm_environment.python), *arguments[1:]]
            with (home / "stderr").open("w") as said:
                process = subprocess.Popen(
                    command,
                    env={**os.environ, "REVERIE_HOME": str(home), **variables},
                    stdout=subprocess.PIPE,
                    stderr=said,
                    text=True,
                )
            stack.callback(end, process)
            lines: queue.Queue[str] = queue.Queue()
            assert process.stdout is not None
            threading.Thread(target=read, args=(process.stdout, lines), daemon=True).start()
            return Running(process, home, lines)

        yield start


def read(stream: Any, lines: queue.Queue[str]) -> None:
    """One document a line, errors too, which are printed over several."""
    text = ""
    for line in stream:
        text += line
        try:
            json.loads(text)
        except ValueError:
            continue
        lines.put(text)
        text = ""


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def until(condition: Callable[[], bool], seconds: float) -> None:
    patience = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < patience, "it did not happen in time"
        time.sleep(0.05)


def alive(process: psutil.Process) -> bool:
    """A zombie is dead: here, nobody may be there to bury it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def assert_gone(tree: list[psutil.Process], port: int, seconds: float = 5) -> None:
    assert len(tree) >= 2, tree  # the guard and the server
    until(lambda: not any(map(alive, tree)), seconds)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        probe.listen(1)


def shared_memory(tree: list[psutil.Process]) -> set[Path]:
    """The shared memory that the processes have in common, as Linux shows it."""
    mapped = {Path(part.path) for process in tree for part in process.memory_maps()}
    return {path for path in mapped if path.is_relative_to("/dev/shm")}  # noqa: S108  # looked at


def test_kill_9_while_it_loads_leaves_nothing(up: Up) -> None:
    run = up("smollm2", "--no-doctor")
    until(lambda: "Starting to load model" in run.log(), 300)
    tree, port = run.tree(), run.port()
    shared = shared_memory(tree) if sys.platform == "linux" else set()

    run.process.kill()

    assert_gone(tree, port)
    assert not [path for path in shared if path.exists()]


def test_kill_9_while_it_answers_leaves_nothing(up: Up) -> None:
    run = up("smollm2", "--no-doctor", "--window", "4096", "--port", "0", "--name", "small")
    served = run.document()
    assert served["window"] == 4096
    assert served["model"] == "small"
    body = {"model": "small", "prompt": "One", "max_tokens": 3000, "ignore_eos": True}
    with (
        httpx2.Client(trust_env=False, timeout=60) as client,
        client.stream(
            "POST", f"{served['address']}/completions", json={**body, "stream": True}
        ) as stream,
    ):
        events = stream.iter_lines()
        assert next(events).startswith("data: ")
        tree = run.tree()

        run.process.kill()

        assert_gone(tree, run.port())
        with pytest.raises(httpx2.TransportError):
            list(events)


def test_two_choose_two_ports_and_a_crash_is_explained(up: Up) -> None:
    """And the doctor has probed; and a key is asked for, and shown to nobody."""
    first = up("smollm2", REVERIE_MODEL_API_KEY="made-up-key")
    until(lambda: "APIServer" in first.log(), 200)
    second = up("smollm2", "--no-doctor")
    until(lambda: "APIServer" in second.log(), 200)
    tree = second.tree()
    assert first.port() != second.port()

    began = time.monotonic()
    second.process.terminate()
    assert second.process.wait(10) == 128 + signal.SIGTERM
    assert time.monotonic() - began < 10
    assert_gone(tree, second.port(), 1)

    served = first.document()
    assert served["address"] == f"http://127.0.0.1:{first.port()}/v1"
    assert str(first.port()) in served["log"]
    assert psutil.pid_exists(served["pid"])
    models = f"{served['address']}/models"
    assert httpx2.get(models, trust_env=False).status_code == 401
    key = {"Authorization": "Bearer made-up-key"}
    assert httpx2.get(models, headers=key, trust_env=False).is_success
    until(lambda: any((first.home / "profiles").glob("*.json")) or first.said(), 200)
    assert first.said() == ""
    tree = first.tree()
    assert not any("made-up-key" in part for process in tree for part in process.cmdline())
    assert "made-up-key" not in first.log()

    worker = next(process for process in tree if "EngineCore" in process.name())
    worker.kill()
    error = first.document(30)["error"]
    assert first.process.wait(10) == 1
    assert error["type"] == "ModelUnavailable"
    assert "has stopped serving" in error["message"]
    assert served["log"] in error["message"]
    assert_gone(tree, first.port(), 1)


def test_a_model_that_vllm_does_not_know_is_explained(
    up: Up, model_cache: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    config = json.loads((prepare(model_cache) / "config.json").read_text())
    config["architectures"] = ["UnheardOfForCausalLM"]
    (folder / "config.json").write_text(json.dumps(config))

    run = up(str(folder))

    error = run.document()["error"]
    assert "UnheardOfForCausalLM" in error["message"]
    assert "not supported" in error["message"]
    assert "Traceback" not in error["message"]
    assert "--model-impl transformers" in error["hint"]
    assert run.process.wait(10) == 1
