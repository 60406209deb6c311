"""A served model in front of the quirk server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reverie.evals.quirks import Quirks, QuirkServer
from reverie.models.chat import ServedChatModel
from reverie.models.profile import ModelProfile
from reverie.models.profiles import ProfileBook, StoredProfile

ABLE = {
    "window": 4096,
    "json_schema": True,
    "json_object": True,
    "schema_with_tools": True,
    "logprobs": True,
    "top_logprobs": 20,
    "n": True,
    "seed": True,
    "stop": True,
    "prefill": True,
    "parallel_tools": True,
    "counter": "vllm",
}
"""What the quirk server can do without quirks, as the doctor would write it."""

Served = Callable[..., ServedChatModel]


@pytest.fixture
def able() -> dict[str, Any]:
    return ABLE


@pytest.fixture
def server() -> Iterator[QuirkServer]:
    with QuirkServer(Quirks()) as running:
        yield running


@pytest.fixture
def book(tmp_path: Path) -> ProfileBook:
    return ProfileBook.under(tmp_path / "home")


@pytest.fixture
async def served(server: QuirkServer, book: ProfileBook) -> AsyncIterator[Served]:
    """Makes models for the server; ``profile`` are fields of the stored profile, None: none is."""
    made: list[ServedChatModel] = []

    def make(
        quirks: Quirks | None = None,
        *,
        profile: dict[str, Any] | None = ABLE,
        address: str = "",
        **options: Any,
    ) -> ServedChatModel:
        if quirks is not None:
            server.quirks = quirks
        address = address or server.address
        if profile is not None:
            known = ModelProfile(name="toy", **profile)
            book.write(StoredProfile(address=address, model="toy", profile=known, source="doctor"))
        fields = {"model": "toy", "home": book.folder.parent, "timeout": 20.0, **options}
        made.append(ServedChatModel(address=address, **fields))
        return made[-1]

    yield make
    for model in made:
        await model.aclose()
        await asyncio.to_thread(model.close)
