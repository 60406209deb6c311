"""``reverie doctor``: what a model server can really do, and what Reverie does about the rest."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reverie.cli.options import AsJson, ConfigFile

if TYPE_CHECKING:
    from rich.console import Console

    from reverie.cli.interrupt import Stop
    from reverie.models.doctor.examination import Examination
    from reverie.settings import Settings


def doctor(  # noqa: PLR0917  # the command line's options, passed by name
    server: Annotated[
        str | None,
        typer.Argument(
            metavar="ADDRESS",
            help="http://HOST:PORT/v1, or vllm, sglang, llamacpp, ollama, lmstudio or openai for "
            "where they usually listen; nothing: the configured model.",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The model; else the server's first.", metavar="NAME")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out measuring speed.")] = False,
    no_save: Annotated[bool, typer.Option("--no-save", help="Store no profile.")] = False,
    file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Ask a model server what it can do, and store the answer for Reverie to act by.

    Some 30 small requests, and as many again that measure its speed for at most 20 seconds.

    Example: reverie doctor http://127.0.0.1:8000/v1

    Example: reverie doctor ollama --model qwen3:8b --quick
    """
    from reverie.cli.interrupt import run_interruptible
    from reverie.models.served import is_served, served_place
    from reverie.settings import Option, load_settings

    given = Option(_named(server, model), "ADDRESS") if server or model else Option(None, "ADDRESS")
    if server is None and model is not None:
        given = Option(_named(load_settings(file).settings.model.name, model), "--model")
    settings = load_settings(file, {"model.name": given}).settings
    name = settings.model.name
    if not is_served(name):
        if server is not None and not _embedded(name):
            served_place(name)  # raises, and says what would be right
        _say_embedded(name, as_json=as_json)
        return

    async def work(stop: Stop) -> tuple[Examination, Path | None]:
        from rich.console import Console

        console = Console(stderr=as_json, highlight=False)
        if as_json:
            examination = await examine_server(name, settings, console, quick=quick, stop=stop)
            return examination, None if no_save else await save(examination, settings)
        return await run_doctor(name, settings, console, quick=quick, keep=not no_save, stop=stop)

    examination, path = run_interruptible(work, as_json=as_json)
    if as_json:
        document = {**examination.model_dump(mode="json"), "file": str(path) if path else None}
        print(json.dumps(document, indent=2, ensure_ascii=False))


async def run_doctor(
    name: str,
    settings: Settings,
    console: Console,
    *,
    quick: bool = False,
    keep: bool = True,
    stop: Stop | None = None,
) -> tuple[Examination, Path | None]:
    """Examine the server called ``name`` (as in model.name), store its profile and print all of it.

    Returns what was found, and the profile's file. Raises ReverieError when the server cannot be
    used at all.
    """
    from reverie.cli.findings import print_examination

    examination = await examine_server(name, settings, console, quick=quick, stop=stop)
    path = await save(examination, settings) if keep else None
    print_examination(examination, console, path)
    return examination, path


async def examine_server(
    name: str, settings: Settings, console: Console, *, quick: bool, stop: Stop | None
) -> Examination:
    """Examine the server called ``name``, with the progress on ``console`` if it is a terminal.

    The key, headers and proxy of ``settings.model`` are used only if that is the same server.
    """
    from reverie.cli.findings import ProbeProgress
    from reverie.models.doctor.examine import examine
    from reverie.models.served import endpoint_of, served_place
    from reverie.settings.schema import BackendSettings

    backend = settings.model if name == settings.model.name else BackendSettings(name=name)
    endpoint = endpoint_of(backend, settings)
    _, model, _ = served_place(name)
    with contextlib.ExitStack() as stack:
        report = None
        if console.is_terminal and not console.is_dumb_terminal:
            display = stack.enter_context(ProbeProgress(console, endpoint.address))
            report = display.report
            if stop is not None:
                stop.close_display = display.close
        return await examine(endpoint, model=model, quick=quick, progress=report)


async def save(examination: Examination, settings: Settings) -> Path:
    """Store the profile; returns its file."""
    from reverie.models.profiles import ProfileBook

    book = ProfileBook.under(settings.home)
    await asyncio.to_thread(book.write, examination.stored())
    return book.path(examination.address, examination.model)


def _named(server: str | None, model: str | None) -> str | None:
    """The server and the model as one name, as in the settings."""
    if not server or not model:
        return server
    if server.startswith(("http://", "https://")):
        return f"{server.partition('#')[0]}#{model}"
    return f"{server.partition(':')[0]}:{model}"


def _embedded(name: str) -> bool:
    from reverie.models.load import PACKAGED

    return name == PACKAGED or Path(name).is_dir()


def _say_embedded(name: str, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"embedded": name}, ensure_ascii=False, indent=2))
        return
    print(
        f"The model {name} runs inside Reverie: there is no server to examine.\n"
        "`reverie doctor ADDRESS` examines one, and `reverie ask --model ADDRESS` asks it."
    )
