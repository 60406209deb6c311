"""A model on a server: requests in, pieces out, by what its profile says.

The client obeys the profile, does itself what the server cannot, and corrects the profile where the
server shows that it is wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reverie.errors import ContextOverflow, ModelRejected, ModelUnavailable, ReverieError
from reverie.models.profile import ModelProfile
from reverie.models.wire.completions import ChatCompletions
from reverie.models.wire.connection import Connection
from reverie.models.wire.corrections import after_refusal, after_reply
from reverie.models.wire.counting import TokenCounter, likely, upper_bound
from reverie.models.wire.error_body import one_line
from reverie.models.wire.filters import filtered
from reverie.models.wire.gathered import gathered
from reverie.models.wire.known_model import KnownModel
from reverie.models.wire.piece import Piece, Pieces, Request, Tokens, joined, one
from reverie.models.wire.responses import Responses

if TYPE_CHECKING:
    from reverie.models.profiles import ProfileBook, StoredProfile
    from reverie.models.wire.format import WireFormat

_MOST_CORRECTIONS = 4
"""Corrections of the profile within one call, each of which repeats the request."""
_NO_REPLY = (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError)
"""What reading something raises that is no reply."""


Remade = Callable[[Request, ModelProfile], Request]
"""Makes a request again, by another profile."""


class ModelClient:
    """One model on one server. ``model`` may be empty: the server's first one.

    Usable from several threads and event loops. Raises ModelUnavailable, ModelRejected and
    ContextOverflow.
    """

    def __init__(
        self,
        connection: Connection,
        model: str = "",
        *,
        book: ProfileBook | None = None,
        window: int | None = None,
    ) -> None:
        """``book`` keeps profiles; without one, nothing is read or stored. ``window`` overrides the
        profile's, in tokens.
        """
        self.connection = connection
        self._known = KnownModel(connection, model, book, window)
        self._counter = TokenCounter(self.connection)
        self._formats: dict[str, WireFormat] = {
            "chat": ChatCompletions(),
            "responses": Responses(),
        }
        self.profile = self._known.profile
        self.correct = self._known.correct
        self.take_notices = self._known.take_notices

    @property
    def address(self) -> str:
        return self.connection.endpoint.address

    @property
    def model(self) -> str:
        """The model's name; empty while it is not known which is the server's first."""
        return self._known.name

    @property
    def known(self) -> StoredProfile | None:
        """What is known of the model, once ``profile`` has been asked."""
        return self._known.stored

    async def count(self, messages: list[dict[str, Any]], prefill: str = "") -> int:
        """Tokens of a prompt: as the server counts them, or an upper bound."""
        profile = await self.profile()
        exact = await self._counted(messages, prefill, profile)
        return upper_bound(messages, prefill) if exact is None else exact

    async def stream(
        self, request: Request, seconds: float | None = None, remade: Remade | None = None
    ) -> Pieces:
        """One reply, as it comes. The last piece has its usage.

        What fails before the first piece is asked again where that may help. ``remade`` makes the
        request again after the profile was corrected.
        """
        until = None if seconds is None else time.monotonic() + seconds
        for attempt in range(_MOST_CORRECTIONS + 1):
            profile = await self.profile(_left(until))
            asked = await self._fitted(request, profile, until)
            body = self._body(asked, profile, stream=True)
            wire = self._formats[profile.wire]
            documents = self.connection.stream(wire.path, body, seconds=_left(until))
            pieces = filtered(wire.pieces(documents), asked, profile)
            begun = False
            try:
                async with aclosing(self._accounted(pieces, asked, profile, until)) as accounted:
                    async for piece in accounted:
                        begun = True
                        yield piece
            except (ModelRejected, _Empty) as error:
                again = None if begun else await self._again(error, attempt, asked, profile, body)
                failure = self._public(error)
            except ModelUnavailable as error:
                again, failure = None, self._public(error)
            except _NO_REPLY as error:
                again, failure = None, self._not_a_reply(error)
            else:
                return
            if again is None:
                raise failure  # not in the handlers: the context may show a secret
            request = again if remade is None else remade(again, self._known.current)

    async def replies(
        self, request: Request, seconds: float | None = None, remade: Remade | None = None
    ) -> list[Piece]:
        """``request.n`` whole replies, each with its usage. ``remade`` as in ``stream``."""
        until = None if seconds is None else time.monotonic() + seconds
        for attempt in range(_MOST_CORRECTIONS + 1):
            profile = await self.profile(_left(until))
            asked = await self._fitted(request, profile, until)
            body = self._body(asked, profile, stream=False)
            wire = self._formats[profile.wire]
            try:
                document = await self.connection.post(wire.path, body, seconds=_left(until))
                found = wire.replies(document)
                if not found:
                    raise _Empty
                return await self._completed(found, asked, profile, until)
            except (ModelRejected, _Empty) as error:
                again = await self._again(error, attempt, asked, profile, body)
                failure = self._public(error)
            except ModelUnavailable as error:
                again, failure = None, self._public(error)
            except _NO_REPLY as error:
                again, failure = None, self._not_a_reply(error)
            if again is None:
                raise failure  # not in the handlers: the context may show a secret
            request = again if remade is None else remade(again, self._known.current)
        raise AssertionError("the last attempt returns or raises")

    # -- before the call -----------------------------------------------------------------------

    def _body(self, request: Request, profile: ModelProfile, *, stream: bool) -> dict[str, Any]:
        if request.tools and profile.tools == "none":
            raise ModelRejected(
                f"{profile.name} at {self.address} takes no tools",
                hint="use a model or a server that does; reverie doctor tells",
            )
        body = self._formats[profile.wire].body(request, profile, stream=stream)
        if request.tools and "tools" not in body and request.tool_choice != "none":
            self._known.note(
                f"{self.address} takes tools only where a call is required: they were left out "
                "where the model was free to choose"
            )
        for name in profile.refuses:
            body.pop(name, None)
        return body

    async def _fitted(
        self, request: Request, profile: ModelProfile, until: float | None
    ) -> Request:
        """The request with no larger ``max_tokens`` than the window has room for."""
        wanted, window = request.max_tokens, profile.window
        if wanted is None or window is None:
            return request
        if upper_bound(request.messages, request.prefill) + wanted <= window:
            return request
        prompt = await self._counted(request.messages, request.prefill, profile, _left(until))
        if prompt is None or prompt + wanted <= window:
            return request
        if prompt >= window:
            raise ContextOverflow(
                f"the prompt has {prompt} tokens and the context window of {profile.name} at "
                f"{self.address} only {window}",
                hint="ask a shorter question, or use a model with a larger window",
                window=window,
                tokens=prompt,
            )
        return replace(request, max_tokens=window - prompt)

    # -- after it ------------------------------------------------------------------------------

    async def _accounted(
        self, pieces: Pieces, request: Request, profile: ModelProfile, until: float | None
    ) -> Pieces:
        """The same pieces, then one with the usage: the server's, or an estimate."""
        usage: Tokens | None = None
        text: list[str] = []
        scored, ids, empty = 0, 0, True
        shown: dict[str, Any] = {}
        finish = ""
        async with aclosing(pieces):
            async for piece in pieces:
                if piece.usage is not None:
                    usage, piece.usage = piece.usage, None
                text.append(piece.text or piece.reasoning)
                scored += len(piece.logprobs)
                finish = piece.finish or finish
                if piece.extra:
                    shown.update(piece.extra)
                    ids += len(piece.extra.get("token_ids") or ())
                empty = empty and not (piece.text or piece.reasoning or piece.tools)
                if not empty or piece.finish or piece.refusal:
                    yield piece
        if empty and not finish:
            raise _Empty
        reported = usage is not None
        await self.correct(
            after_reply(
                request, profile, usage=reported, scored=scored, wrote=any(text), shown=shown
            )
        )
        if usage is None:
            usage = await self._estimated(request, profile, "".join(text), scored or ids, until)
        yield Piece(usage=usage, extra={"usage_estimated": not reported})

    async def _completed(
        self, found: list[Piece], request: Request, profile: ModelProfile, until: float | None
    ) -> list[Piece]:
        """The replies after the filters; those that the server left out are asked for singly."""
        usage = found[0].usage
        whole = []
        for piece in found:
            async with aclosing(filtered(one(piece), request, profile)) as pieces:
                whole.append(joined([part async for part in pieces]))
        shown = {name: value for piece in whole for name, value in piece.extra.items()}
        scored = sum(len(piece.logprobs) for piece in whole)
        wrote = any(piece.text for piece in whole)
        changes = after_reply(
            request, profile, usage=usage is not None, scored=scored, wrote=wrote, shown=shown
        )
        if len(whole) < request.n and profile.n:
            changes.append(("n", False, f"it sent {len(whole)} of {request.n} replies"))
        await self.correct(changes)
        estimated = usage is None
        if usage is None:
            for piece in whole:
                text = piece.text + piece.reasoning
                piece.usage = await self._estimated(
                    request, profile, text, len(piece.logprobs), until
                )
        for piece in whole:
            piece.extra["usage_estimated"] = estimated
        missing = request.n - len(whole)
        if missing > 0:
            single = [
                replace(request, n=1, seed=None if request.seed is None else request.seed + i)
                for i in range(len(whole), request.n)
            ]
            more = await gathered(self.replies(one, _left(until)) for one in single)
            whole += [piece for pieces in more for piece in pieces]
        return whole

    async def _estimated(
        self,
        request: Request,
        profile: ModelProfile,
        text: str,
        told: int,
        until: float | None,
    ) -> Tokens:
        """What a reply cost, when the server does not say: its prompt and text counted."""
        prompt = await self._counted(request.messages, request.prefill, profile, _left(until))
        if prompt is None:
            prompt = upper_bound(request.messages, request.prefill)
        written = told or 0
        if text and not told:
            counted = await self._counter.text(text, profile, seconds=_left(until))
            written = likely(text) if counted is None else counted
        return Tokens(prompt, written)

    async def _again(
        self,
        error: ModelRejected | _Empty,
        attempt: int,
        request: Request,
        profile: ModelProfile,
        body: dict[str, Any],
    ) -> Request | None:
        """The request to try instead, after the profile was corrected; None when nothing helps.

        ``profile`` is what the request was made by: meanwhile another call may have corrected it,
        and then only this request is to be made again. Nothing is corrected back to what was given
        up before, or a server that refuses both would be asked in turns for ever.
        """
        if isinstance(error, _Empty):
            return request if attempt == 0 else None
        if attempt == _MOST_CORRECTIONS:
            return None
        changes = [
            change
            for change in after_refusal(error, profile, body)
            if not self._known.given_up(change)
        ]
        await self.correct(changes)
        if isinstance(error, ContextOverflow):
            return _shortened(error, request)
        return request if changes else None

    def _public(self, error: ReverieError | _Empty) -> ReverieError:
        """The error with the address in it, which what was read from a reply does not know."""
        if isinstance(error, ReverieError):
            if self.address not in error.message:
                error.message = f"{self.address}: {error.message}"
            if not error.hint:
                error.hint = f"reverie doctor {self.address} finds out what the server takes"
            return self.connection.secrets.kept(error, error)
        return ModelUnavailable(
            f"{self.address} sent an empty reply, twice",
            hint="the server's own log may say why; reverie doctor tries what works",
            transient=True,
        )

    def _not_a_reply(self, error: Exception) -> ReverieError:
        said = one_line(str(error), 300) if isinstance(error, ValueError) else type(error).__name__
        failure = ModelUnavailable(
            f"{self.address} sent something that is no reply: {said}",
            hint=f"reverie doctor {self.address} finds out what the server speaks",
        )
        return self.connection.secrets.kept(failure, error)

    async def _counted(
        self,
        messages: list[dict[str, Any]],
        prefill: str,
        profile: ModelProfile,
        seconds: float | None = None,
    ) -> int | None:
        """Tokens of a prompt, exactly; None when the server does not count."""
        count = await self._counter.prompt(messages, prefill, profile, seconds=seconds)
        if count is None and self._counter.absent:
            await self.correct([("counter", "", "it counts no tokens")])
        return count


class _Empty(Exception):
    """A reply without a reply in it."""


def _left(until: float | None) -> float | None:
    return None if until is None else until - time.monotonic()


def _shortened(error: ContextOverflow, request: Request) -> Request | None:
    """The request with as many tokens for the reply as the window has room for, by what the refusal
    says; None when the prompt alone is too long.
    """
    window, tokens, most = error.window, error.tokens, request.max_tokens
    if window is None or tokens is None or most is None:
        return None
    # Some count the reply's tokens in.
    prompt = tokens - most if tokens >= window else tokens
    room = window - prompt
    return replace(request, max_tokens=room) if prompt > 0 and 0 < room < most else None
