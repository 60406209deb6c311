"""``reverie fetch``: everything that ``reverie ask`` needs, fetched and made ready beforehand."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from reverie.cli.options import AsJson, ConfigFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from reverie.cli.interrupt import Stop
    from reverie.cli.progress import Loading
    from reverie.models.packaged import PackagedFile
    from reverie.settings import Settings


def fetch(file: ConfigFile = None, as_json: AsJson = False) -> None:
    """Fetch and prepare the packaged models: 115 MB, once.

    `reverie ask` does it by itself at its first question. Afterwards no network is needed.

    Example: reverie fetch

    Example: REVERIE_MODEL_CACHE=/srv/models reverie fetch
    """
    from reverie.cli.interrupt import run_interruptible
    from reverie.settings import load_settings

    settings = load_settings(file).settings
    folder = settings.models_folder
    wanted = missing_files(settings)
    ready = not wanted and _converted(settings)
    if not as_json:
        print(_plan(wanted, folder, ready=ready), flush=True)
    if not ready:

        async def work(stop: Stop) -> None:
            with loading_display(stop, as_json=as_json) as loading:
                await _prepare(settings, loading)

        run_interruptible(work, as_json=as_json)
    if as_json:
        from reverie.cli.progress import title_of

        document = {"folder": str(folder), "fetched": [title_of(f) for f in wanted]}
        print(json.dumps(document, indent=2, ensure_ascii=False))
    elif not ready:
        print(f"Ready. The models are in {folder}")


def missing_files(settings: Settings) -> list[PackagedFile]:
    """What would have to be downloaded before a question can be asked with these settings."""
    from reverie.models.embedded.checkpoint import FOLDER, verify
    from reverie.models.packaged import SMOLLM2_GGUF, missing

    folder = settings.models_folder
    whole = not _packaged(settings) or verify(folder / FOLDER)
    return missing([*([] if whole else [SMOLLM2_GGUF]), *_embedder_files(settings)], folder)


def _embedder_files(settings: Settings) -> tuple[PackagedFile, ...]:
    """What the embedder is loaded from; nothing, when a server embeds."""
    from reverie.models.embedder import MINILM_FILES
    from reverie.models.embeddings import PACKAGED

    return MINILM_FILES if settings.embedder.name == PACKAGED else ()


def _packaged(settings: Settings) -> bool:
    from reverie.models.load import PACKAGED

    return settings.model.name == PACKAGED


def _converted(settings: Settings) -> bool:
    from reverie.models.embedded.checkpoint import prepared

    return not _packaged(settings) or prepared(settings.models_folder)


def _plan(wanted: list[PackagedFile], folder: Path, *, ready: bool) -> str:
    from reverie.cli.progress import title_of
    from reverie.cli.wording import megabytes

    if ready:
        return f"The models are there already, in {folder}"
    if not wanted:
        return f"Everything is downloaded; preparing it in {folder}"
    files = ", ".join(f"{title_of(f)} ({megabytes(f.wheel_size)})" for f in wanted)
    total = f"; {megabytes(sum(f.wheel_size for f in wanted))} in all" if len(wanted) > 1 else ""
    return f"To fetch, once, into {folder}: {files}{total}"


async def _prepare(settings: Settings, loading: Loading) -> None:
    from reverie.models.embedded.checkpoint import prepare
    from reverie.models.packaged import fetch as fetch_file

    folder = settings.models_folder
    for file in _embedder_files(settings):
        await fetch_file(file, folder, progress=loading)
    if _packaged(settings):
        await asyncio.to_thread(prepare, folder, loading)


@contextlib.contextmanager
def loading_display(stop: Stop, *, as_json: bool) -> Iterator[Loading]:
    """Bars on a terminal; else lines, with ``--json`` only for somebody who watches."""
    from rich.console import Console

    from reverie.cli.progress import Loading, LoadingBars, write_line

    console = Console(stderr=as_json, highlight=False)
    if console.is_terminal and not console.is_dumb_terminal:
        with LoadingBars(console, stop.check, transient=as_json) as bars:
            stop.close_display = bars.close
            yield bars.report
        return
    stream = sys.stderr if as_json else sys.stdout
    heard: Callable[[str], None] | None = write_line(stream)
    yield Loading(stop.check, heard if stream.isatty() or not as_json else None)
