"""What holds for every test: its own home folder, and for unit tests no network and no blocking.

* No test sees the developer's ``REVERIE_...`` variables or stored data.
* Tests under ``tests/unit`` cannot open a socket, and code of Reverie that blocks the event loop
  (file, SQLite, sleep) raises BlockingError there.
* Tests marked ``live`` share the user's cache of downloaded models, which are large.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx

from reverie.settings import load_settings

_UNIT = Path(__file__).parent / "unit"

# A shell that starts the tests in the background has them ignore Ctrl-C, and every process that a
# test starts, and means to end by it, would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Suites that test modules inherit; their asserts explain themselves too.
pytest.register_assert_rewrite("tests.contract")


def _is_unit(item: pytest.Item) -> bool:
    return item.path.is_relative_to(_UNIT)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Shut the network for unit tests (a marker of pytest-socket)."""
    for item in items:
        if _is_unit(item):
            item.add_marker(pytest.mark.disable_socket)


@pytest.fixture(scope="session")
def model_cache() -> Path:
    """The user's cache of downloaded models, as the environment outside the tests has it."""
    return _MODEL_CACHE


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _own_home(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(os.environ):
        if name.upper().startswith("REVERIE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    if request.node.get_closest_marker("live"):
        monkeypatch.setenv("REVERIE_MODEL_CACHE", str(_MODEL_CACHE))


@pytest.fixture(autouse=True)
def _no_blocking(request: pytest.FixtureRequest) -> Iterator[None]:
    if not _is_unit(request.node):
        yield
        return
    with blockbuster_ctx("reverie"):
        yield


# Taken at import, before any test gets an environment of its own.
_MODEL_CACHE = load_settings(
    env={
        name: os.environ[name]
        for name in ("REVERIE_HOME", "REVERIE_MODEL_CACHE")
        if name in os.environ
    }
).settings.models_folder
