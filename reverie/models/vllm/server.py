"""A vLLM of one's own: started, watched until it answers, and stopped with all its processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from reverie.errors import ModelUnavailable
from reverie.models.embedded.checkpoint import Phase, Report
from reverie.models.vllm import guard
from reverie.models.vllm.environment import VllmEnvironment
from reverie.models.vllm.failure import explain
from reverie.models.vllm.log import LogReader, open_log, tail
from reverie.models.vllm.options import VllmOptions
from reverie.models.vllm.port import reserved_port
from reverie.models.vllm.stages import ANSWERING, BEGINNING, stage

if TYPE_CHECKING:
    import httpx2

_POLL = 0.25
_ENDS_WITHIN = guard.PATIENCE + guard.INSIST + 0.5
"""Seconds in which the guard has ended everything, or is ended itself."""
_KINDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/chat/completions", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}),
    ("/completions", {"prompt": "Hi", "max_tokens": 4}),
    ("/embeddings", {"input": "Hi"}),
)


@dataclass(frozen=True, slots=True)
class Served:
    """A model that a server answers for."""

    address: str
    """The base URL, as in ``http://127.0.0.1:8811/v1``."""
    name: str
    """What requests call the model."""
    model: str
    """The folder, or the name at the hub, that it was loaded from."""
    window: int | None
    """Context window in tokens; None: the server does not say."""


class VllmServer:
    """``async with VllmServer(options, environment, logs=folder) as server: server.served``.

    It answers when the block begins, and no process of it is left when the block ends; nor when
    this process ends in any other way, kill -9 included. Raises ConfigError when it cannot be
    started as asked, ModelUnavailable when it fails.
    """

    def __init__(
        self,
        options: VllmOptions,
        environment: VllmEnvironment,
        *,
        logs: Path,
        report: Report | None = None,
    ) -> None:
        """``logs`` is the folder for log files; ``report`` is told what the server is doing."""
        self.options = options
        self.environment = environment
        self._logs = logs
        self._report = report
        self._resources = contextlib.ExitStack()
        self._guard: subprocess.Popen[bytes] | None = None
        self._served: Served | None = None
        self._port = 0
        self.log: Path | None = None
        """Where the server's output goes."""
        self.pid = 0
        """Of the server's first process."""

    @property
    def address(self) -> str:
        """The base URL: ``http://127.0.0.1:8811/v1``."""
        everyone = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared, not bound
        host = everyone.get(self.options.host, self.options.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self._port}/v1"

    @property
    def served(self) -> Served:
        """What is served. Only while the server runs."""
        if self._served is None:
            raise RuntimeError("the server has not come up")
        return self._served

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *ending: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the server and return when it has answered a request."""
        try:
            until = time.monotonic() + self.options.start_seconds
            await self._launched()
            await self._come_up(until)
        except BaseException:
            await self.stop(gently=False)
            raise

    async def wait(self) -> None:
        """Return never: raise ModelUnavailable when the server has ended by itself."""
        while True:
            if self._code() is not None:
                raise await asyncio.to_thread(self._failure, "vLLM has stopped serving")
            await asyncio.sleep(_POLL)

    def kill(self) -> None:
        """Have all the server's processes killed, even while ``stop`` lets it finish."""
        if self._guard is not None and self._guard.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                self._guard.stdin.close()

    async def stop(self, *, gently: bool = True) -> None:
        """End the server with all its processes; returns when they are gone, within 10 seconds.

        Not ``gently``: without letting it finish.
        """
        ending = asyncio.ensure_future(asyncio.to_thread(self._end, gently=gently))
        await asyncio.shield(ending)

    # -- the process ---------------------------------------------------------------------------

    async def _launched(self) -> None:
        """``_launch`` in a thread; cancelled, it is over all the same when this returns."""
        launching = asyncio.ensure_future(asyncio.to_thread(self._launch))
        try:
            await asyncio.shield(launching)
        except asyncio.CancelledError:
            await asyncio.wait([launching])
            raise

    def _launch(self) -> None:
        self._port = self._resources.enter_context(
            reserved_port(self.options.host, self.options.port)
        )
        try:
            self.log, log = open_log(self._logs, self._port)
        except OSError as error:
            raise ModelUnavailable(
                f"the log of vLLM cannot be written to {self._logs}: {error.strerror or error}",
                hint="name another folder with REVERIE_HOME",
            ) from error
        with log:
            child = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", guard.__file__),
                    *self.options.command(self.environment, self._port),
                ],
                env=self.options.variables(self.environment, os.environ),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is for this process alone
            )
        self._guard = child
        if child.stdout is not None:
            self.pid = int(child.stdout.readline() or 0)

    def _code(self) -> int | None:
        return self._guard.poll() if self._guard is not None else 0

    def _end(self, *, gently: bool) -> None:
        child = self._guard
        if child is None or child.stdin is None:
            self._resources.close()
            return
        if child.poll() is None:
            if gently:
                with contextlib.suppress(OSError, ValueError):  # it has ended, or was killed
                    child.stdin.write(b"!")
                    child.stdin.flush()
            else:
                self.kill()
            try:
                child.wait(_ENDS_WITHIN)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        # The guard has seen to this, unless it was killed itself.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.pid:
                os.killpg(self.pid, signal.SIGKILL)
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._resources.close()

    def _failure(self, what: str) -> ModelUnavailable:
        """Why the server is gone."""
        lines = tail(self.log) if self.log else []
        reason, hint = explain(lines, self._code() or 0)
        return ModelUnavailable(
            f"{what} {self.options.model}: {reason} (log: {self.log})", hint=hint
        )

    # -- until it answers ----------------------------------------------------------------------

    async def _come_up(self, until: float) -> None:
        import httpx2

        self._tell(BEGINNING)
        following = asyncio.create_task(self._follow())
        headers = {"Authorization": f"Bearer {self.options.key}"} if self.options.key else {}
        try:
            # No proxy of the environment stands between this machine and itself.
            async with httpx2.AsyncClient(headers=headers, trust_env=False) as client:
                await self._healthy(client, until)
                following.cancel()
                self._tell(ANSWERING)
                await self._while_it_lives(self._first_answer(client), until)
                self._served = await self._while_it_lives(self._ask_models(client), until)
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following

    async def _follow(self) -> None:
        """Tell what the log says."""
        if self.log is None:
            return
        reader = LogReader(self.log)
        told = ""
        while True:
            for line in await asyncio.to_thread(reader.lines):
                text = stage(line)
                if text and text != told:
                    told = text
                    self._tell(text)
            await asyncio.sleep(_POLL)

    async def _healthy(self, client: httpx2.AsyncClient, until: float) -> None:
        import httpx2

        while True:
            await self._check(until)
            with contextlib.suppress(httpx2.TransportError):
                answer = await client.get(self.address.removesuffix("/v1") + "/health", timeout=5)
                if answer.is_success:
                    return
            await asyncio.sleep(_POLL)

    async def _first_answer(self, client: httpx2.AsyncClient) -> None:
        """Have it answer something, of whatever kind the model is."""
        answer = None
        for path, body in _KINDS:
            answer = await client.post(
                self.address + path, json={"model": self.options.name, **body}, timeout=None
            )
            if answer.is_success:
                return
            if answer.is_server_error:
                break
        text = answer.text if answer is not None else ""
        raise ModelUnavailable(
            f"vLLM has loaded {self.options.model} but does not answer: {text[:300]} "
            f"(log: {self.log})",
            hint="the log says more; `-- ARGUMENTS` behind the command reach vLLM",
        )

    async def _ask_models(self, client: httpx2.AsyncClient) -> Served:
        window = None
        answer = await client.get(self.address + "/models", timeout=30)
        if answer.is_success:
            models = answer.json().get("data") or [{}]
            window = models[0].get("max_model_len")
        return Served(self.address, self.options.name, self.options.model, window)

    async def _while_it_lives(self, call: Any, until: float) -> Any:
        """The result of ``call``, unless the server ends first."""
        import httpx2

        work = asyncio.ensure_future(call)
        try:
            while not work.done():
                await self._check(until)
                await asyncio.wait([work], timeout=_POLL)
            return work.result()
        except httpx2.TransportError as error:
            for _ in range(20):  # a dying server closes its connections before it is gone
                await self._check(until)
                await asyncio.sleep(_POLL)
            raise ModelUnavailable(
                f"vLLM at {self.address} does not answer: {type(error).__name__} (log: {self.log})",
                hint="the log says more",
            ) from error
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await work

    async def _check(self, until: float) -> None:
        if self._code() is not None:
            raise await asyncio.to_thread(self._failure, "vLLM cannot serve")
        if time.monotonic() > until:
            raise ModelUnavailable(
                f"vLLM has not answered within {self.options.start_seconds:g} seconds "
                f"(log: {self.log})",
                hint="allow more with REVERIE_VLLM_START_SECONDS",
            )

    def _tell(self, text: str) -> None:
        if self._report is not None:
            self._report(Phase(text))
