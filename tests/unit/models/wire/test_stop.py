"""Stop strings end a reply although the server goes on, however the text was cut into pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.errors import ModelUnavailable
from reverie.models.wire import stop as stop_module
from reverie.models.wire.piece import Piece, Pieces, TokenLogprob, Tokens, ToolDelta
from reverie.models.wire.stop import cut_at_stop

USAGE = Tokens(3, 5)
FINISH = Piece(finish="stop", usage=USAGE)


class Server:
    """Sends pieces, and remembers how far it got and whether it was closed."""

    def __init__(self, pieces: Iterable[Piece], *, then: Any = None) -> None:
        self.sent = 0
        self.closed = False
        self._pieces = list(pieces)
        self._then = then

    async def reply(self) -> Pieces:
        try:
            for piece in self._pieces:
                self.sent += 1
                yield piece
            if self._then is not None:
                await self._then()
        finally:
            self.closed = True


async def cut(server: Server, *stop: str) -> list[Piece]:
    return [piece async for piece in cut_at_stop(server.reply(), stop)]


def texts(*parts: str) -> list[Piece]:
    return [Piece(text=part) for part in parts]


def text_of(pieces: Iterable[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


async def test_a_reply_ends_before_the_stop_string_and_the_server_is_closed() -> None:
    server = Server([*texts(*"It falls.\nQuestion: Why?"), FINISH])

    read = await cut(server, "\nQuestion:")

    assert text_of(read) == "It falls."
    assert read[-1] == Piece(finish="stop", extra={"stop_ignored": True})
    assert server.closed
    assert server.sent == len("It falls.\nQuestion:") + 1


async def test_behind_a_stop_string_in_mid_piece_nothing_more_is_read() -> None:
    server = Server([*texts("It falls. END and ", "on"), FINISH])

    read = await cut(server, "END")

    assert read == [Piece(text="It falls. ", finish="stop", extra={"stop_ignored": True})]
    assert (server.sent, server.closed) == (1, True)


async def test_a_server_that_sends_the_stop_string_along_is_heard_to_its_end() -> None:
    server = Server([*texts("It falls.", "END"), Piece(finish="stop"), Piece(usage=USAGE)])

    assert await cut(server, "END") == [
        Piece(text="It falls."),
        Piece(finish="stop"),
        Piece(usage=USAGE),
    ]


async def test_what_comes_behind_the_end_of_a_reply_is_no_answer() -> None:
    server = Server(
        [*texts("It falls.END"), Piece(finish="stop"), *texts("more"), Piece(usage=USAGE)]
    )

    assert await cut(server, "END") == [
        Piece(text="It falls."),
        Piece(finish="stop"),
        Piece(usage=USAGE),
    ]


@pytest.mark.parametrize(
    ("whole", "read"),
    [
        (replace(FINISH, text="It falls.END"), replace(FINISH, text="It falls.")),
        (
            Piece(text="It falls.END more", finish="length", usage=USAGE),
            Piece("It falls.", finish="stop", usage=USAGE, extra={"stop_ignored": True}),
        ),
        (replace(FINISH, text="It falls."), replace(FINISH, text="It falls.")),
        (replace(FINISH, text="It falls.EN"), replace(FINISH, text="It falls.EN")),
    ],
)
async def test_a_whole_reply_is_cut_alike(whole: Piece, read: Piece) -> None:
    assert await cut(Server([whole]), "END") == [read]


async def test_a_reply_is_whole_though_the_server_says_nothing_behind_the_stop_string(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stop_module, "_PATIENCE", 0.01)
    server = Server(texts("It falls.END"), then=lambda: asyncio.sleep(60))

    assert await cut(server, "END") == [Piece(text="It falls."), Piece(finish="stop")]
    assert server.closed


async def test_a_reply_is_whole_though_the_server_breaks_down_behind_the_stop_string() -> None:
    async def fail() -> None:
        raise ModelUnavailable("http://127.0.0.1:1/v1 closed the connection")

    server = Server(texts("It falls.END"), then=fail)

    assert await cut(server, "END") == [Piece(text="It falls."), Piece(finish="stop")]
    with pytest.raises(ModelUnavailable):
        await cut(Server(texts("It falls."), then=fail), "END")


async def test_reasoning_and_tool_calls_are_not_searched() -> None:
    call = ToolDelta(0, "c", "look", '{"for": "END"}')
    pieces = [Piece(reasoning="No END yet."), Piece(tools=[call]), Piece(finish="tool_calls")]

    assert await cut(Server(pieces), "END") == pieces


async def test_a_call_before_the_stop_string_remains_a_call() -> None:
    call = ToolDelta(0, "c", "look", "{}")
    pieces = [Piece(tools=[call]), Piece(text="END"), Piece(finish="tool_calls")]

    read = await cut(Server(pieces), "END")

    assert read == [Piece(tools=[call]), Piece(finish="tool_calls")]


async def test_the_one_that_is_complete_first_counts() -> None:
    assert text_of(await cut(Server([*texts("abcd"), FINISH]), "abcdX", "bc", "abc")) == ""
    assert text_of(await cut(Server([*texts("abcd"), FINISH]), "abcdX", "bc")) == "a"
    assert text_of(await cut(Server([*texts("aab"), FINISH]), "ab", "")) == "a"


async def test_without_stop_strings_nothing_stands_between() -> None:
    for stop in ((), ("",)):
        pieces = Server([FINISH]).reply()
        assert cut_at_stop(pieces, stop) is pieces
        await pieces.aclose()


async def test_tokens_of_the_stop_string_are_dropped_and_all_others_kept() -> None:
    scored = [TokenLogprob(text, -1.0) for text in ("It", " falls", ".\n", "\n", "What", "?")]
    by_token = [Piece(text=token.token, logprobs=[token]) for token in scored]
    at_once = [Piece(text="It falls.\n\nWhat?", logprobs=scored)]

    for pieces in (by_token, at_once):
        read = await cut(Server([*pieces, FINISH]), "\n\n")
        assert text_of(read) == "It falls."
        assert [token for piece in read for token in piece.logprobs] == scored[:3]


async def test_closing_closes_the_server_s_stream() -> None:
    server = Server(texts("a", "b"))
    pieces = cut_at_stop(server.reply(), ["END"])

    await anext(pieces)
    await pieces.aclose()

    assert (server.sent, server.closed) == (1, True)


stops = st.lists(st.text("ab\n", min_size=1, max_size=4), min_size=1, max_size=3)


@st.composite
def parted(draw: st.DrawFn) -> list[str]:
    text = draw(st.text("ab\nc", max_size=24))
    places = draw(st.lists(st.integers(0, len(text)), max_size=10).map(sorted))
    return [text[i:j] for i, j in zip([0, *places], [*places, len(text)], strict=True)]


def obeyed(text: str, stop: list[str]) -> str:
    """What a server sends that looks for the strings after every character."""
    for length in range(len(text) + 1):
        ending = [one for one in stop if text[:length].endswith(one)]
        if ending:
            return text[: length - max(map(len, ending))]
    return text


@given(parted(), stops)
def test_it_is_what_a_server_would_have_sent_however_it_is_cut(
    parts: list[str], stop: list[str]
) -> None:
    server = Server([*texts(*parts), FINISH])

    read = asyncio.run(cut(server, *stop))

    assert text_of(read) == obeyed("".join(parts), stop)
    assert [piece.finish for piece in read if piece.finish] == ["stop"]
    assert server.closed


@given(st.text("ab\nc", max_size=24), stops)
def test_only_what_may_be_a_stop_string_is_held_back(text: str, stop: list[str]) -> None:
    """After every character: what has not been shown yet begins one of the strings."""
    sent = ""

    async def characters() -> Pieces:
        nonlocal sent
        for character in text:
            # What was asked for before has been shown by now.
            held = sent[len(shown) :]
            assert not held or any(one.startswith(held) for one in stop)
            sent += character
            yield Piece(text=character)
        yield FINISH

    shown = ""

    async def read() -> None:
        nonlocal shown
        async for piece in cut_at_stop(characters(), stop):
            shown += piece.text

    asyncio.run(read())
    assert shown == obeyed(text, stop)


@given(parted(), stops)
def test_every_token_of_the_text_that_is_left_is_there(parts: list[str], stop: list[str]) -> None:
    scored = [TokenLogprob(part, -float(place)) for place, part in enumerate(p for p in parts if p)]
    pieces = [Piece(text=token.token, logprobs=[token]) for token in scored]

    read = asyncio.run(cut(Server([*pieces, FINISH]), *stop))

    kept = [token for piece in read for token in piece.logprobs]
    length = len(text_of(read))
    starts = [sum(len(t.token) for t in scored[:i]) for i in range(len(scored))]
    assert kept == [t for t, start in zip(scored, starts, strict=True) if start < length]
