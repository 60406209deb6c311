"""``reverie version``: what is installed, without importing any of it."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as distribution_version

from reverie.cli.options import AsJson

_LIBRARIES = (
    "langgraph",
    "langchain-core",
    "openai",
    "pydantic",
    "onnxruntime",
    "torch",
    "transformers",
    "llguidance",
    "chromadb",
    "neo4j",
    "langgraph-cli",
)


def installed(distribution: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return distribution_version(distribution)
    except PackageNotFoundError:
        return None


def version(as_json: AsJson = False) -> None:
    """Print the versions of Reverie, Python and the main libraries.

    Example: reverie version --json
    """
    main = {
        "reverie": installed("reverie"),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    libraries = {name: installed(name) for name in _LIBRARIES}
    if as_json:
        print(json.dumps({**main, "libraries": libraries}, indent=2))
        return
    for name, number in {**main, **libraries}.items():
        print(f"{name:<15} {number or 'not installed'}")
