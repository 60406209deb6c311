"""Running a command line: where options that go anywhere go, and how every error ends."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence

import typer

from reverie.cli.app import app
from reverie.errors import ConfigError, ReverieError

INTERRUPTED = 130

# Options of the whole program that may also stand behind the command.
_ANYWHERE = frozenset({"--debug", "--verbose", "-v", "-vv"})


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; never raises an ordinary exception."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        # An answer in any script must not crash on a terminal that cannot show it.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        result = app(args=_hoisted(arguments), prog_name="reverie", standalone_mode=False)
        sys.stdout.flush()  # while a failure can still be said
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        _discard_output()
        return 1
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except (KeyboardInterrupt, typer.Abort):
        result = INTERRUPTED
    except Exception as error:  # noqa: BLE001  # the one place where every error ends
        return _fail(error, arguments)
    code = result if isinstance(result, int) else 0
    if code == INTERRUPTED:  # typer's own form of KeyboardInterrupt
        _print_error({"type": "Interrupted", "message": "interrupted", "hint": ""}, arguments)
    return code


def _fail(error: Exception, arguments: Sequence[str]) -> int:
    if "--debug" in _options(arguments):
        traceback.print_exception(error, file=sys.stderr)
    known = _known(error)
    if known is None:
        document = {
            "type": "InternalError",
            "message": f"internal error: {type(error).__name__}: {error}",
            "hint": "This is a bug in Reverie. Run it again with --debug for the traceback.",
        }
    else:
        document = known.document()
    try:
        sys.stdout.flush()
    except OSError:
        _discard_output()
    _print_error(document, arguments)
    return known.exit_code if known else 1


def _known(error: Exception) -> ReverieError | None:
    """The error as one of Reverie's own; wrong use of the command line is a ConfigError."""
    if isinstance(error, ReverieError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ReverieError(
            f"cannot write {error.filename or 'the output'}: {error.strerror}",
            hint="Free some space, or name another folder with REVERIE_HOME.",
        )
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "reverie"
        return ConfigError(
            error.format_message().rstrip("."), hint=f"`{command} --help` shows how it is used."
        )
    return None


def _print_error(document: dict[str, str], arguments: Sequence[str]) -> None:
    """Print an error: a JSON document on standard output with --json, else lines on stderr."""
    try:
        if "--json" in _options(arguments):
            import json

            print(json.dumps({"error": document}, ensure_ascii=False, indent=2), flush=True)
            return
        from rich.console import Console
        from rich.text import Text

        console = Console(stderr=True, soft_wrap=True, highlight=False)
        if document["type"] == "Interrupted":
            console.print(Text("interrupted"))
            return
        console.print(Text.assemble(("error: ", "bold red"), _one_line(document["message"])))
        if document["hint"]:
            console.print(Text.assemble(("hint: ", "bold"), _one_line(document["hint"])))
    except OSError:  # nobody is listening any more: the exit code says it
        _discard_output()


def _one_line(text: str) -> str:
    """Text without line breaks, or control characters that would steer the terminal."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))


def _options(arguments: Sequence[str]) -> list[str]:
    """The arguments before ``--``, behind which everything is a plain argument."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return list(arguments[:end])


def _hoisted(arguments: Sequence[str]) -> list[str]:
    """The arguments with the options of the whole program moved to the front."""
    options = _options(arguments)
    front = [argument for argument in options if argument in _ANYWHERE]
    rest = [argument for argument in options if argument not in _ANYWHERE]
    return [*front, *rest, *arguments[len(options) :]]


def _discard_output() -> None:
    """Point standard output nowhere, or Python complains when it flushes it at the end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # not a real file, as under a test runner
        return
