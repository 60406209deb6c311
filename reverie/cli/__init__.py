"""The command line. Every command is a thin call of what the library offers to everyone."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    0 answered, 1 failure, 2 wrong use, 3 abstained, 130 interrupted.
    """
    # Imported here, so that importing reverie.cli costs nothing.
    from reverie.cli.run import run

    return run(argv)
