"""Processes that work on runs, to be killed: forked from one that has imported everything.

As a program: reads one JSON command per line and answers each with one line. ``spawn`` forks a
process that asks or resumes and writes its result, or its error, to a file; ``wait`` and ``kill``
end it. As a module: ``RunChildren`` starts the program and talks to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self


class RunChildren:
    """A context manager. ``environment`` is what the processes see beside this one's."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **self._environment},
        )
        assert self._tell({"do": "hello"}) == "ready"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.communicate(timeout=10)  # the end of its input is its own

    def spawn(self, **what: Any) -> int:
        """A process that works on a run, by its number. ``what``: see ``_work``."""
        return int(self._tell({"do": "spawn", "what": what}))

    def wait(self, pid: int) -> None:
        """Until it has ended."""
        self._tell({"do": "wait", "pid": pid})

    def kill(self, pid: int) -> bool:
        """Kill with signal 9. False: it had ended already."""
        return self._tell({"do": "kill", "pid": pid}) == "killed"

    def _tell(self, command: dict[str, Any]) -> str:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


def main() -> None:
    import jsonschema.validators
    import numpy  # noqa: ICN001  # for its effect, as all of these
    import openai

    import reverie.agents.checkpoints
    import reverie.agents.history
    import reverie.agents.reasoner
    import reverie.agents.recording
    import reverie.graphs.reason
    import reverie.models.served

    # Modules that are only imported when something of them is first used.
    openai.AsyncOpenAI(api_key="none")
    del jsonschema, numpy, reverie
    for line in sys.stdin:
        command = json.loads(line)
        sys.stdout.write(_obeyed(command) + "\n")
        sys.stdout.flush()


def _obeyed(command: dict[str, Any]) -> str:
    if command["do"] == "spawn":
        pid = os.fork()
        if pid == 0:
            _child(command["what"])
        return str(pid)
    if command["do"] == "wait":
        with contextlib.suppress(ChildProcessError):  # it is known to have ended
            os.waitpid(command["pid"], 0)
    if command["do"] == "kill":
        os.kill(command["pid"], signal.SIGKILL)
        _, status = os.waitpid(command["pid"], 0)
        return "killed" if os.WIFSIGNALED(status) else "ended"
    return "ready"


def _child(what: dict[str, Any]) -> None:
    """Does not return."""
    out = Path(what["out"])
    try:
        document = asyncio.run(_work(what))
    except Exception as error:  # noqa: BLE001  # the test looks at it
        document = {"error": type(error).__name__, "message": str(error)}
    part = out.with_suffix(".part")
    part.write_text(json.dumps(document))
    part.replace(out)
    os._exit(0)


async def _work(what: dict[str, Any]) -> dict[str, Any]:
    """``question`` begins a run with ``options``; ``run_id`` resumes one."""
    from reverie import Budget
    from reverie.agents.reasoner import Reasoner
    from reverie.errors import ReverieError
    from reverie.settings import load_settings

    os.environ["REVERIE_HOME"] = what["home"]
    settings = await asyncio.to_thread(load_settings)
    document: dict[str, Any] = {}
    async with Reasoner(settings.settings) as reasoner:
        try:
            if "run_id" in what:
                result = await reasoner.aresume(what["run_id"])
            else:
                options = dict(what["options"])
                options["budget"] = Budget(**options["budget"])
                result = await reasoner.aask(what["question"], **options)
            document["result"] = result.model_dump(mode="json")
        except ReverieError as error:
            document["error"] = error.document()
        runs = await reasoner._runs()
        [run] = await reasoner.aruns(1)
        config: Any = {"configurable": {"thread_id": run.run_id}}
        document["ledger"] = (await runs.graph.aget_state(config)).values.get("ledger", [])
    return document


if __name__ == "__main__":
    main()
