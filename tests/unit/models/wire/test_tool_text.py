"""Tool calls written into the text are found in every form, and nothing else is taken for one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.models.wire.piece import Piece, Pieces, TokenLogprob, Tokens, ToolDelta
from reverie.models.wire.tool_text import read_tool_text

NAMES = ("look", "look_up", "add")
FINISH = Piece(finish="stop", usage=Tokens(3, 5))
LOOK = '{"name": "look", "arguments": {"for": "a {\\"ball\\"} \\\\"}}'
ADD = '{"name": "add", "parameters": {"a": 1, "b": [2, {"c": null}]}}'
LOOKED = ("look", {"for": 'a {"ball"} \\'})
ADDED = ("add", {"a": 1, "b": [2, {"c": None}]})
Call = tuple[str, object]


async def sent(pieces: Iterable[Piece]) -> Pieces:
    for piece in pieces:
        yield piece


async def read(*pieces: Piece) -> list[Piece]:
    return [piece async for piece in read_tool_text(sent(pieces), NAMES)]


async def read_text(*texts: str) -> list[Piece]:
    return await read(*(Piece(text=text) for text in texts), FINISH)


def text_of(pieces: Iterable[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def calls(pieces: Iterable[Piece]) -> list[Call]:
    deltas = [delta for piece in pieces for delta in piece.tools]
    assert [delta.index for delta in deltas] == list(range(len(deltas)))
    return [(delta.name, json.loads(delta.arguments)) for delta in deltas]


FORMS: list[tuple[str, str, list[Call]]] = [
    (f"<tool_call>\n{LOOK}\n</tool_call>", "", [LOOKED]),
    (f"<tool_call>{LOOK}</tool_call>\n<tool_call>{ADD}</tool_call>", "", [LOOKED, ADDED]),
    (f"<tool_call>[{LOOK}, {ADD}]</tool_call>", "", [LOOKED, ADDED]),
    (f"<tool_call>{LOOK}", "", [LOOKED]),
    (f"[TOOL_CALLS] [{LOOK}, {ADD}]", "", [LOOKED, ADDED]),
    ('[TOOL_CALLS]look_up{"a": 1}', "", [("look_up", {"a": 1})]),
    (
        '[TOOL_CALLS]look[ARGS]{"a": 1}[TOOL_CALLS]add[ARGS]{}',
        "",
        [("look", {"a": 1}), ("add", {})],
    ),
    (f"<|python_tag|>{LOOK}", "", [LOOKED]),
    (f"<|python_tag|>{LOOK}; {ADD}", "", [LOOKED, ADDED]),
    ('<function=look>{"for": "it"}</function>', "", [("look", {"for": "it"})]),
    ("<function=look_up>\n{}\n</function>", "", [("look_up", {})]),
    (LOOK, "", [LOOKED]),
    (f" \n{LOOK}\n", "", [LOOKED]),
    (f"[{LOOK},\n {ADD}]", "", [LOOKED, ADDED]),
    (f"{LOOK}\n{ADD}", "", [LOOKED, ADDED]),
    (f"```json\n{LOOK}\n```", "", [LOOKED]),
    (f"```\n[{LOOK}]\n```\n", "", [LOOKED]),
    (f"```json\n{LOOK}\nSo.", "\nSo.", [LOOKED]),
    ('{"name": "look", "arguments": {"for": "\\"}"}}', "", [("look", {"for": '"}'})]),
    (json.dumps(json.loads(ADD), indent=2), "", [ADDED]),
    ('{"type": "function", "function": {"name": "add", "arguments": "{}"}}', "", [("add", {})]),
    ('{"id": "x", "arguments": {}, "name": "add"}', "", [("add", {})]),
    ('<tool_call>{"name": "add", "arguments": "{\\"a\\": 1}"}</tool_call>', "",
     [("add", {"a": 1})]),
    ('<tool_call>{"name": "look", "arguments": {"for": "two\nlines"}}</tool_call>', "",
     [("look", {"for": "two\nlines"})]),
    (f"I look it up.\n{LOOK}", "I look it up.\n", [LOOKED]),
    (f"I add: <tool_call>{ADD}</tool_call>", "I add: ", [ADDED]),
    (f"First:\n\n```json\n{ADD}\n```\nThen {{see}}.", "First:\n\n\nThen {see}.", [ADDED]),
    (f"<tool_call>{ADD}</tool_call>, and\nmore", ", and\nmore", [ADDED]),
]  # fmt: skip

NO_CALLS = [
    "It falls.",
    "",
    " \n ",
    "a < b, x[0] = {1: `y`}",
    '{"name": "other", "arguments": {}}',
    f'[{LOOK}, {{"name": "other", "arguments": {{}}}}]',
    '{"name": "look"}',
    '{"name": "look", "arguments": [1]}',
    '{"name": 1, "arguments": {}}',
    '{"name": "look", "arguments": {}} is how it is called',
    f"Write {LOOK} to call it",
    '{"answer": "it falls", "triplets": [["a", "b", "c"]]}',
    '<tool_call>{"name": "other", "arguments": {}}</tool_call>',
    f"<tool_call>{LOOK[:-1]}",
    "<tool_call>look</tool_call>",
    "<tool_call>",
    "<tool_cal",
    "[TOOL_CALLS]",
    "[TOOL_CALLS] none",
    "[TOOL_CALLS]other[ARGS]{}",
    "[TOOL_CALLS]look[ARGS]",
    "[TOOL_CALLS]look [1]",
    "<function=other>{}</function>",
    "<function=look>[]</function>",
    "<function=look>no</function>",
    "```json\n[1, 2]\n```",
    "```python\nprint({})\n```",
    "```",
    f"```json\n{LOOK[:-1]}\n```",
    '{"type": "function", "function": "look"}',
    "[]",
    "{}",
    "[[" * 50,
    "[{" * 100_000,
    '{"steps": [\n  {"name": "look", "arguments": {}}\n]}',
]


@pytest.mark.parametrize(("written", "text", "called"), FORMS)
async def test_calls_in_the_text_are_calls(written: str, text: str, called: list[Call]) -> None:
    for parts in ([written], list(written), [written[:9], written[9:31], written[31:]]):
        pieces = await read_text(*parts)

        assert (text_of(pieces), calls(pieces)) == (text, called)
        assert [piece.finish for piece in pieces if piece.finish] == ["tool_calls"]
        assert any(piece.extra.get("tools_as_text") for piece in pieces)
        assert pieces[-1].usage == FINISH.usage


@pytest.mark.parametrize("text", NO_CALLS)
async def test_everything_else_stays_text(text: str) -> None:
    for parts in ([text], list(text[:2000])):
        pieces = await read_text(*parts)

        assert text_of(pieces) == "".join(parts)
        assert pieces[-1].finish == "stop"
        assert not any(piece.tools or piece.extra for piece in pieces)


async def test_a_whole_reply_is_read_alike() -> None:
    whole = replace(FINISH, text=f"So: <tool_call>{ADD}</tool_call>", reasoning="a", refusal="b")

    (piece,) = await read(whole)

    delta = ToolDelta(0, name="add", arguments=json.dumps(ADDED[1]))
    assert piece == replace(
        whole, text="So: ", tools=[delta], finish="tool_calls", extra={"tools_as_text": True}
    )


async def test_a_call_that_is_cut_off_stays_text() -> None:
    parts = ["<tool_call>", LOOK[:20]]

    pieces = await read(*(Piece(text=part) for part in parts), Piece(finish="length"))

    assert (text_of(pieces), pieces[-1].finish) == ("".join(parts), "length")
    assert text_of(await read(*(Piece(text=part) for part in parts))) == "".join(parts)


async def test_a_reply_cut_off_behind_a_call_says_so() -> None:
    pieces = await read(Piece(text=f"<tool_call>{ADD}</tool_call>So"), Piece(finish="length"))

    assert (calls(pieces), text_of(pieces), pieces[-1].finish) == ([ADDED], "So", "length")


async def test_a_server_that_reads_calls_itself_is_trusted() -> None:
    call = ToolDelta(0, "c", "look", "{}")
    pieces = [Piece(text="<to"), Piece(tools=[call]), Piece(text=LOOK), Piece(finish="tool_calls")]

    got = await read(*pieces)

    assert text_of(got) == f"<to{LOOK}"
    assert [delta for piece in got for delta in piece.tools] == [call]


async def test_calls_of_both_kinds_do_not_share_a_place() -> None:
    native = ToolDelta(0, "c", "look", "{}")

    got = await read(Piece(text=ADD + "\n"), Piece(text="x", tools=[native]), FINISH)

    assert calls(got) == [ADDED, ("look", {})]


async def test_reasoning_is_not_searched() -> None:
    pieces = [Piece(reasoning=LOOK), FINISH]

    assert await read(*pieces) == pieces


async def test_without_tools_nothing_stands_between() -> None:
    for names in ((), ("",)):
        pieces = sent([FINISH])
        assert read_tool_text(pieces, names) is pieces
        await pieces.aclose()


async def test_closing_closes_the_server_s_stream() -> None:
    closed = []

    async def endless() -> Pieces:
        try:
            while True:
                yield Piece(text="a")
        finally:
            closed.append(True)

    pieces = read_tool_text(endless(), NAMES)
    await anext(pieces)
    await pieces.aclose()

    assert closed == [True]


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("It falls. [1] <b> {x} `y`", 0),
        ('{"answer": {"name": "look", "arguments": {}}}', len('{"a')),
        ('{"name": "Ada", "age": 36}', len('{"name": "A') - 1),
        ("[1, 2, 3]", 1),
        ("```python\nprint()\n```", len("```")),
        ('```json\n{"answer": 4}\n```', len('```json\n{"a')),
        ("a <tool_box>", len("<tool_")),
    ],
)
async def test_text_is_held_back_only_while_it_may_become_a_call(text: str, held: int) -> None:
    sent_length, shown, most = 0, "", 0

    async def characters() -> Pieces:
        nonlocal sent_length, most
        for character in text:
            most = max(most, sent_length - len(shown))
            sent_length += 1
            yield Piece(text=character)

    async for piece in read_tool_text(characters(), NAMES):
        shown += piece.text

    assert shown == text
    assert most <= max(held, 1)


async def test_plain_pieces_pass_as_they_are() -> None:
    pieces = [Piece(text="It"), Piece(text=" falls", reasoning="a"), Piece(text="."), FINISH]

    got = await read(*pieces)

    assert got == pieces
    assert all(one is other for one, other in zip(got[1:], pieces[1:], strict=True))


async def test_a_long_call_in_small_parts_takes_no_longer_than_its_length() -> None:
    value = {"for": "abc def {" * 40_000}
    text = json.dumps({"name": "look", "arguments": value})

    async with asyncio.timeout(10):
        pieces = await read_text(*(text[i : i + 4] for i in range(0, len(text), 4)))

    assert calls(pieces) == [("look", value)]


MARKS = ["<tool_call>", "</tool_call>", "[TOOL_CALLS]", "[ARGS]", "<function=look>", "</function>"]
PARTS = [LOOK, ADD, '{"a": 1}', '{"name": "', "<|python_tag|>", "```", "```json\n", "look"]
words = st.lists(
    st.sampled_from(MARKS) | st.sampled_from(PARTS) | st.sampled_from('{}[]\n ;a<",'), max_size=10
).map("".join)


@st.composite
def parted(draw: st.DrawFn) -> list[str]:
    text = draw(words)
    places = draw(st.lists(st.integers(0, len(text)), max_size=10).map(sorted))
    return [text[i:j] for i, j in zip([0, *places], [*places, len(text)], strict=True)]


def outcome(pieces: list[Piece]) -> tuple[str, list[Call], str]:
    return text_of(pieces), calls(pieces), pieces[-1].finish


@given(parted())
def test_how_a_text_is_cut_makes_no_difference(parts: list[str]) -> None:
    whole = outcome(asyncio.run(read_text("".join(parts))))

    assert outcome(asyncio.run(read_text(*parts))) == whole
    assert outcome(asyncio.run(read_text(*"".join(parts)))) == whole


@given(parted())
def test_no_token_is_lost_and_without_a_call_no_text(parts: list[str]) -> None:
    scored = [TokenLogprob(part, -float(place)) for place, part in enumerate(p for p in parts if p)]

    pieces = asyncio.run(read(*(Piece(text=t.token, logprobs=[t]) for t in scored), FINISH))

    assert [token for piece in pieces for token in piece.logprobs] == scored
    if not calls(pieces):
        assert text_of(pieces) == "".join(parts)
    assert pieces[-1].usage == FINISH.usage
