"""Which model a server serves, and what is known of it before the first call."""

from __future__ import annotations

import asyncio
from typing import Any

from reverie.errors import KnowledgeUnavailable, ModelRejected, ModelUnavailable
from reverie.models.model_name import may_chat, parameters_in
from reverie.models.presets import recognise, starting_profile
from reverie.models.profiles import ProfileBook, StoredProfile
from reverie.models.wire.connection import Connection

_SECONDS = 15.0
"""A list of models is short; a server that takes longer for it is not there."""


async def identify(
    connection: Connection,
    model: str,
    book: ProfileBook | None,
    *,
    seconds: float | None = None,
) -> tuple[StoredProfile, bool]:
    """The profile of ``model``, or of the server's first model when it is empty, and whether one
    was stored. A model whose profile is stored is not asked for again. ``seconds`` is what is left
    of the call that wants to know.

    Raises ModelUnavailable and ModelRejected when the server does not tell its models and none was
    named.
    """
    address = connection.endpoint.address
    if model and book is not None:
        stored = await asyncio.to_thread(_find, book, address, model)
        if stored is not None:
            return stored, True
    entries: list[dict[str, Any]] = []
    document: Any = None
    try:
        document = await connection.get("/models", seconds=_patience(seconds))
        entries = _entries(document, address, named=bool(model))
    except ModelRejected as error:
        # Not every server lists its models; with a name it may answer all the same.
        if not model or error.status in (401, 403):
            raise
    if not model:
        if not entries:
            raise ModelUnavailable(
                f"{address} serves no model",
                hint="load one there, or name one it can load, as in ADDRESS#MODEL",
            )
        model = next((e["id"] for e in entries if may_chat(e["id"])), entries[0]["id"])
        if book is not None:
            stored = await asyncio.to_thread(_find, book, address, model)
            if stored is not None:
                return stored, True
    preset = recognise(document, address=address)
    profile = starting_profile(model, preset)
    entry = next((e for e in entries if e.get("id") == model), {})
    profile = profile.model_copy(update=_told(entry, model))
    return (
        StoredProfile(
            address=address,
            model=model,
            profile=profile,
            server=preset.title if preset else "",
            source="preset" if preset else "cautious",
        ),
        False,
    )


def _told(entry: dict[str, Any], model: str) -> dict[str, int]:
    """Window and size, where the list of models tells them."""
    told: dict[str, int] = {}
    window = entry.get("max_model_len")
    if isinstance(window, int) and window > 0:
        told["window"] = window
    for name in (model, entry.get("root")):
        if isinstance(name, str) and (size := parameters_in(name)):
            told.setdefault("parameters", size)
    return told


def unknown_server(stored: StoredProfile) -> str:
    """One line for a server that nobody has probed."""
    known = f" (taken for {stored.server})" if stored.server else ""
    return (
        f"{stored.address} was never probed{known}: `reverie doctor {stored.address}` finds out "
        "what it can do"
    )


def _patience(seconds: float | None) -> float:
    return _SECONDS if seconds is None else min(seconds, _SECONDS)


def _find(book: ProfileBook, address: str, model: str) -> StoredProfile | None:
    """What the book says. One that cannot be read is worth a line, and no reason not to ask."""
    try:
        return book.find(address, model)
    except KnowledgeUnavailable as error:
        if error.message not in book.notices:
            book.notices.append(error.message)
        return None


def _entries(document: Any, address: str, *, named: bool) -> list[dict[str, Any]]:
    listed = document.get("data") if isinstance(document, dict) else document
    if not isinstance(listed, list):
        if named:
            return []
        raise ModelUnavailable(
            f"what answers {address}/models is no list of models",
            hint="the address of an OpenAI-compatible server mostly ends in /v1",
        )
    models = [entry for entry in listed if isinstance(entry, dict)]
    return [entry for entry in models if isinstance(entry.get("id"), str) and entry["id"]]
