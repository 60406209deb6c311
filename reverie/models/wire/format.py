"""What the two wire formats, Chat Completions and Responses, have in common."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Protocol

from reverie.models.profile import ModelProfile
from reverie.models.wire.piece import Piece, Pieces, Request

Documents = AsyncGenerator[dict[str, Any], None]
"""The JSON documents of a server-sent event stream, in order, without ``[DONE]``."""


class WireFormat(Protocol):
    """From a request to the body that is sent, and from what comes back to pieces."""

    path: str
    """Under the server's address: ``/chat/completions``."""

    def body(self, request: Request, profile: ModelProfile, *, stream: bool) -> dict[str, Any]:
        """The JSON body. What the profile says the server refuses is left out."""
        ...

    def replies(self, document: dict[str, Any]) -> list[Piece]:
        """All replies of a call without streaming, in order; none when the server sent none.

        Raises KeyError, TypeError or ValueError when the document is something else.
        """
        ...

    def pieces(self, documents: Documents) -> Pieces:
        """One reply of a streaming call, as it comes. Raises as ``replies`` does."""
        ...
