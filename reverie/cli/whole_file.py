"""Files that a command writes: there whole, or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from reverie.errors import ConfigError


def write_whole(target: Path, content: bytes) -> None:
    """Writes a file with one rename. Raises ConfigError."""
    if target.is_dir():
        raise ConfigError(f"{target} is a folder", hint="Name a file in it")
    try:
        handle, name = tempfile.mkstemp(prefix=".reverie-", suffix=target.suffix, dir=target.parent)
    except OSError as error:
        raise _unwritable(target, error) from error
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as sink:
            sink.write(content)
        part.chmod(0o644)
        part.replace(target)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        part.unlink(missing_ok=True)


def _unwritable(target: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"cannot write {target}: {error.strerror or error}",
        hint="Name a file in a folder that exists and that you may write to",
    )
