"""``python -m reverie.evals.quirks``: the server by itself, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import threading
from collections.abc import Sequence

from reverie.evals.quirks.behaviour import Quirks
from reverie.evals.quirks.listener import listening
from reverie.evals.quirks.service import Service


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints ``ready ADDRESS`` when it can be asked."""
    parser = argparse.ArgumentParser(prog="python -m reverie.evals.quirks", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument(
        "--quirks",
        default="{}",
        metavar="JSON",
        help='fields of Quirks, as in \'{"usage": "never", "token_seconds": 0.05}\'',
    )
    parser.add_argument(
        "--with-parent", action="store_true", help="end when standard input is closed"
    )
    options = parser.parse_args(arguments)
    try:
        quirks = Quirks.from_json(options.quirks)
    except (ValueError, TypeError, AttributeError) as error:
        parser.error(f"--quirks: {error}")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(quirks, options.port, with_parent=options.with_parent))


async def _serve(quirks: Quirks, port: int, *, with_parent: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # A few requests are enough to look at: memory stays flat over a benchmark.
    async with listening(Service(quirks, keep=16), set(), port=port) as address:
        if with_parent:
            # os.read in a thread, as in reverie.models.child: an end of file is the parent's end.
            def watch() -> None:
                os.read(0, 1)
                loop.call_soon_threadsafe(stop.set)

            threading.Thread(target=watch, daemon=True).start()
        print(f"ready {address}", flush=True)
        await stop.wait()


if __name__ == "__main__":
    main()
