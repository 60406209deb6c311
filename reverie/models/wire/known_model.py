"""What is known of one model on one server, and how that changes in use."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from reverie.errors import ReverieError
from reverie.models.profile import ModelProfile
from reverie.models.wire.connection import Connection
from reverie.models.wire.corrections import Change
from reverie.models.wire.identify import identify, unknown_server

if TYPE_CHECKING:
    from reverie.models.profiles import ProfileBook, StoredProfile


class KnownModel:
    """A model's profile: asked for once, corrected in use, and told to people.

    Usable from several threads and event loops.
    """

    def __init__(
        self, connection: Connection, name: str, book: ProfileBook | None, window: int | None
    ) -> None:
        """``name`` may be empty: the server's first model. ``book`` keeps profiles; without one,
        nothing is read or stored. ``window`` overrides the profile's, in tokens.
        """
        self.name = name
        self._connection = connection
        self._book = book
        self._window = window
        self._stored: StoredProfile | None = None
        self._observed = datetime.now(UTC)
        self._notices: dict[str, bool] = {}
        """What a person should know, and whether it has been said."""
        self._given_up: set[tuple[str, Any]] = set()
        """Fields of the profile with values that proved wrong."""
        self._lock = threading.Lock()

    @property
    def stored(self) -> StoredProfile | None:
        """What is known, once ``profile`` has been asked."""
        return self._stored

    @property
    def current(self) -> ModelProfile:
        """The profile as it is now."""
        if self._stored is None:
            raise RuntimeError("the profile was not asked for yet")  # a mistake of the caller
        return self._stored.profile

    async def profile(self, seconds: float | None = None) -> ModelProfile:
        """What the model can do. Asks the server the first time, within ``seconds``."""
        if self._stored is None:
            stored, probed = await identify(
                self._connection, self.name, self._book, seconds=seconds
            )
            if self._stored is None:  # another task may have been faster
                self._take(stored)
                if not probed:
                    self.note(unknown_server(stored))
        return self.current

    async def correct(self, changes: Iterable[Change]) -> None:
        """Change the profile, here and in the book, and note it for a person."""
        for field, found, why in changes:
            value = found
            with self._lock:
                stored = self._stored
                if stored is None:
                    continue
                was = getattr(stored.profile, field)
                if isinstance(was, tuple):  # what another call found out meanwhile stays
                    value = tuple(dict.fromkeys((*was, *found)))
                if was == value:
                    continue
                if not isinstance(was, tuple):
                    self._given_up.add((field, was))
                profile = stored.profile
                self._stored = stored.model_copy(
                    update={"profile": profile.model_copy(update={field: value})}
                )
                address = self._connection.endpoint.address
                self.note(
                    f"the profile of {address} was corrected: {why} ({field}: {_said(value)})"
                )
            await self._store(field, value, why, profile)

    def given_up(self, change: Change) -> bool:
        """Whether a change would go back to what has proved wrong before."""
        return change[:2] in self._given_up

    def note(self, text: str) -> None:
        """Something that a person should know; it is said once."""
        self._notices.setdefault(text, False)

    def take_notices(self) -> list[str]:
        """What has not been said yet."""
        if self._book is not None:
            for notice in self._book.notices:
                self.note(notice)
        with self._lock:
            fresh = [text for text, said in self._notices.items() if not said]
            self._notices.update(dict.fromkeys(fresh, True))
        return fresh

    def _take(self, stored: StoredProfile) -> None:
        if self._window is not None:
            profile = stored.profile.model_copy(update={"window": self._window})
            stored = stored.model_copy(update={"profile": profile})
        self._stored = stored
        self.name = stored.model

    async def _store(self, field: str, value: Any, why: str, start: ModelProfile) -> None:
        if self._book is None:
            return
        try:
            await asyncio.to_thread(
                self._book.correct,
                self._connection.endpoint.address,
                self.name,
                field,
                value,
                why,
                start=start,
                observed=self._observed,
            )
        except ReverieError as error:
            # The answer is there; that it cannot be remembered is worth a line, not a failure.
            self.note(error.message)


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
