"""Tool calls come out with an id, a place and arguments that are JSON, whatever came in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.models.wire.arguments import decode_arguments
from reverie.models.wire.piece import Piece, Pieces, Tokens, ToolDelta

FINISH = Piece(finish="tool_calls", usage=Tokens(1, 2))


async def sent(pieces: Iterable[Piece]) -> Pieces:
    for piece in pieces:
        yield piece


async def decoded(*pieces: Piece) -> list[Piece]:
    return [piece async for piece in decode_arguments(sent(pieces))]


def calls(pieces: Iterable[Piece]) -> list[tuple[str, str, str]]:
    """Id, name and arguments of each call, put together as a client does."""
    found: dict[int, list[str]] = {}
    for delta in (delta for piece in pieces for delta in piece.tools):
        call = found.setdefault(delta.index, ["", "", ""])
        call[0] += delta.id
        call[1] += delta.name
        call[2] += delta.arguments
    assert list(found) == list(range(len(found)))
    return [(i, n, a) for i, n, a in found.values()]


def call(*parts: str, index: int = 0, own: str = "c1") -> list[Piece]:
    first, *others = parts
    return [
        Piece(tools=[ToolDelta(index, own, "look", first)]),
        *(Piece(tools=[ToolDelta(index, arguments=part)]) for part in others),
    ]


@pytest.mark.parametrize(
    ("came", "is_now"),
    [
        ('{"a": 1}', '{"a": 1}'),
        (json.dumps('{"a": "\\"é"}'), '{"a": "\\"é"}'),
        (json.dumps(json.dumps('{"a": 1}')), '{"a": 1}'),
        ("", "{}"),
        (" \n", "{}"),
        ('""', "{}"),
        ("null", "{}"),
        # Not repaired: what would be called is anybody's guess.
        ("{'a': 1}", "{'a': 1}"),
        ('{"a": 1,}', '{"a": 1,}'),
        ('"{\\"a\\": ', '"{\\"a\\": '),
        ('"no object"', '"no object"'),
        ("nothing", "nothing"),
        ("[1]", "[1]"),
        ('"[1]"', '"[1]"'),
        ("[" * 100_000, "[" * 100_000),
        ('"' + "[" * 100_000 + '"', '"' + "[" * 100_000 + '"'),
    ],
)
async def test_arguments_are_an_object_or_what_they_were(came: str, is_now: str) -> None:
    at_once = await decoded(*call(came), FINISH)
    split = await decoded(*call(came[:1], came[1:5], came[5:]), FINISH)
    whole = await decoded(Piece(tools=[ToolDelta(0, "c1", "look", came)], finish="stop"))

    assert calls(at_once) == calls(split) == calls(whole) == [("c1", "look", is_now)]


async def test_an_object_is_passed_on_as_it_comes_and_a_string_when_it_is_whole() -> None:
    plain = await decoded(*call("", '{"a"', ": 1}"), FINISH)
    string = await decoded(*call("", '"{', '}"'), FINISH)

    assert [[d.arguments for d in piece.tools] for piece in plain] == [[""], ['{"a"'], [": 1}"], []]
    assert [[d.arguments for d in piece.tools] for piece in string] == [[""], ["{}"]]
    assert plain[-1] == FINISH
    assert (string[-1].finish, string[-1].usage) == (FINISH.finish, FINISH.usage)


async def test_the_name_is_known_at_once() -> None:
    pieces = decode_arguments(sent(call('"', '{}"')))

    first = await anext(pieces)

    assert first.tools == [ToolDelta(0, "c1", "look", "")]
    await pieces.aclose()


async def test_calls_that_are_cut_off_are_given_out_to_the_end() -> None:
    assert calls(await decoded(*call('"{\\"a'))) == [("c1", "look", '"{\\"a')]
    assert calls(await decoded(*call(""))) == [("c1", "look", "{}")]


async def test_every_call_has_an_id_of_its_own_and_its_place() -> None:
    one = ToolDelta(4, "", "look", "{}")
    two = ToolDelta(7, "c", "look", "{}")
    three = ToolDelta(2, "c", "look", '"{}"')

    read = calls(await decoded(Piece(tools=[one]), Piece(tools=[two, three]), FINISH))

    ids = [own for own, _, _ in read]
    assert ids[1] == "c"
    assert len(set(ids)) == 3
    for made in (ids[0], ids[2]):
        # What the chat templates of Mistral's models insist on.
        assert len(made) == 9
        assert made.isalnum()
        assert made.isascii()
    assert [arguments for _, _, arguments in read] == ["{}"] * 3


async def test_what_is_no_tool_call_passes_as_it_is() -> None:
    pieces = [Piece(text="a", reasoning="b"), Piece(usage=Tokens(1, 1)), Piece(finish="stop")]

    read = await decoded(*pieces)

    assert all(one is other for one, other in zip(read, pieces, strict=True))


async def test_text_beside_a_call_that_is_held_back_is_not() -> None:
    held = Piece(text="a", tools=[ToolDelta(0, arguments='{}"')])

    read = await decoded(*call('"'), held, FINISH)

    assert [piece.text for piece in read] == ["", "a", ""]


async def test_closing_closes_the_server_s_stream() -> None:
    closed = []

    async def endless() -> Pieces:
        try:
            while True:
                yield Piece(text="a")
        finally:
            closed.append(True)

    pieces = decode_arguments(endless())
    await anext(pieces)
    await pieces.aclose()

    assert closed == [True]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(
    st.lists(st.dictionaries(st.text(max_size=3), values, max_size=3), min_size=1, max_size=3),
    st.integers(0, 2),
    st.data(),
)
def test_objects_come_out_however_often_encoded_and_cut(
    objects: list[dict[str, object]], times: int, data: st.DataObject
) -> None:
    pieces = []
    for index, value in enumerate(objects):
        text = json.dumps(value)
        for _ in range(times):
            text = json.dumps(text)
        places = data.draw(st.lists(st.integers(0, len(text)), max_size=4).map(sorted))
        parts = [text[i:j] for i, j in zip([0, *places], [*places, len(text)], strict=True)]
        pieces += call(*parts, index=index, own=f"c{index}")

    read = calls(asyncio.run(decoded(*pieces, FINISH)))

    assert [json.loads(arguments) for _, _, arguments in read] == objects
