"""One vLLM with the packaged model, for all the tests that ask for it.

It takes a minute to come up. While working on tests, start one by hand and name its address::

    reverie up smollm2 --window 4096 --port 8811 &
    TEST_VLLM=http://127.0.0.1:8811/v1 pytest tests/live
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from reverie.errors import ConfigError
from reverie.models.doctor.examine import examine
from reverie.models.embedded.checkpoint import prepare
from reverie.models.profiles import ProfileBook
from reverie.models.vllm.environment import VllmEnvironment, find_environment
from reverie.models.vllm.options import VllmOptions
from reverie.models.vllm.server import Served, VllmServer
from reverie.models.wire.endpoint import Endpoint

WINDOW = 4096

# Taken at import, before any test gets an environment of its own.
_RUNNING = os.environ.get("TEST_VLLM", "")
_PYTHON = os.environ.get("REVERIE_VLLM_PYTHON", "")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests that may have to wait for vLLM the time for it."""
    for item in items:
        waits = "vllm" in getattr(item, "fixturenames", ())
        if waits and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def vllm_environment() -> VllmEnvironment:
    """The environment that vLLM runs in: REVERIE_VLLM_PYTHON, or what ``make vllm`` has built."""
    try:
        return find_environment(Path(_PYTHON) if _PYTHON else None)
    except ConfigError as error:
        if _PYTHON:
            raise
        pytest.skip(f"{error.message}: `make vllm` builds one")


@pytest.fixture(scope="session")
def vllm(
    request: pytest.FixtureRequest, model_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A real vLLM with the packaged model: address, name, model (its folder) and window."""
    if _RUNNING:
        yield _already_running(_RUNNING)
        return
    environment: VllmEnvironment = request.getfixturevalue("vllm_environment")
    folder = prepare(model_cache)
    server = VllmServer(
        VllmOptions(model=str(folder), name="smollm2", port=0, window=WINDOW, start_seconds=500),
        environment,
        logs=tmp_path_factory.mktemp("vllm"),
    )
    with _thread_for(server):
        yield server.served


@contextlib.contextmanager
def _thread_for(server: VllmServer) -> Iterator[None]:
    """Start and stop it in a thread, apart from the event loops of the tests."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, server.start()).result()
        try:
            yield
        finally:
            thread.submit(asyncio.run, server.stop()).result()


def _already_running(address: str) -> Served:
    found: Any = httpx2.get(f"{address}/models", trust_env=False).raise_for_status().json()
    model = found["data"][0]
    return Served(address, model["id"], model["root"], model["max_model_len"])


@pytest.fixture(scope="session")
def profiled(vllm: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the doctor has written the profile of that vLLM."""
    home = tmp_path_factory.mktemp("profiled")
    examination = asyncio.run(examine(Endpoint(vllm.address), model=vllm.name, quick=True))
    ProfileBook.under(home).write(examination.stored())
    return home
