"""Reasoning between tags goes to its own field, however the text was cut into pieces."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.models.profile import Reasoning
from reverie.models.wire.piece import Piece, Pieces, TokenLogprob, Tokens
from reverie.models.wire.thinking import split_thinking

FINISH = Piece(finish="stop", usage=Tokens(3, 5), extra={"model": "m"})
TAGS = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<mm:think>", "</mm:think>"),
    ("◁think▷", "◁/think▷"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel>thought", "<channel|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
]


async def sent(pieces: Iterable[Piece]) -> Pieces:
    for piece in pieces:
        yield piece


async def split(pieces: Iterable[Piece], mode: Reasoning = "think") -> list[Piece]:
    return [piece async for piece in split_thinking(sent(pieces), mode)]


def said(pieces: Iterable[Piece]) -> tuple[str, str]:
    """All reasoning, and all text."""
    pieces = list(pieces)
    return "".join(p.reasoning for p in pieces), "".join(p.text for p in pieces)


async def split_text(*texts: str, mode: Reasoning = "think") -> tuple[str, str]:
    return said(await split([*(Piece(text=text) for text in texts), FINISH], mode))


@pytest.mark.parametrize(("opener", "closer"), TAGS)
@pytest.mark.parametrize("mode", ["", "think", "think_end"])
async def test_what_the_tags_hold_is_reasoning(opener: str, closer: str, mode: Reasoning) -> None:
    text = f"\n{opener}\nFirst <b>.\n\nThen.\n{closer}\n\nThe answer is {opener}4{closer}. "

    reasoning, answer = await split_text(*text, mode=mode)

    assert reasoning == "First <b>.\n\nThen."
    assert answer == f"The answer is {opener}4{closer}. "


@pytest.mark.parametrize("mode", ["", "think", "think_end"])
async def test_what_never_ends_stays_reasoning(mode: Reasoning) -> None:
    pieces = [Piece(text="<think>So it "), Piece(text="falls </thi"), Piece(finish="length")]

    read = await split(pieces, mode)

    assert said(read) == ("So it falls </thi", "")
    assert read[-1].finish == "length"


@pytest.mark.parametrize("mode", ["", "think"])
@pytest.mark.parametrize(
    "text",
    ["The tag <think> begins</think> it", "a<think>b</think>", "<thin", "  4", "", "</think>4"],
)
async def test_without_a_tag_at_the_very_start_all_is_text(text: str, mode: Reasoning) -> None:
    assert await split_text(*text, mode=mode) == ("", text)


async def test_a_closing_tag_alone_ends_reasoning_when_the_server_is_known_for_it() -> None:
    text = "It is dropped.\n</think>\n\nIt falls.</think>"

    assert await split_text(*text, mode="think_end") == ("It is dropped.", "It falls.</think>")
    assert await split_text(*"no end", mode="think_end") == ("no end", "")


async def test_a_closing_tag_alone_ends_reasoning_of_a_whole_reply() -> None:
    whole = replace(FINISH, text="It is dropped.\n</think>\n\nIt falls.")

    assert said(await split([whole], "")) == ("It is dropped.", "It falls.")
    assert said(await split([whole], "think")) == ("", whole.text)


async def test_a_server_that_has_a_field_after_all_has_answers_in_its_text() -> None:
    read = await split([Piece(reasoning="Hm."), Piece(text="It falls."), FINISH], "think_end")
    whole = await split([replace(FINISH, reasoning="Hm.", text="It falls.")], "think_end")

    # The first piece decides nothing yet; the second would have been reasoning.
    assert said(read) == said(whole) == ("Hm.", "It falls.")


async def test_with_a_field_for_reasoning_nothing_stands_between() -> None:
    for mode in ("reasoning", "reasoning_content"):
        pieces = sent([Piece(text="<think>a</think>b")])
        assert split_thinking(pieces, mode) is pieces
        await pieces.aclose()


async def test_an_answer_passes_piece_by_piece() -> None:
    pieces = [Piece(text="<think>a</think>b"), Piece(text="c"), Piece(text="<think>"), FINISH]

    read = await split(pieces)

    assert read[0] == Piece(text="b", reasoning="a")
    assert all(one is other for one, other in zip(read[1:], pieces[1:], strict=True))


async def test_what_else_a_piece_holds_stays_with_it() -> None:
    whole = Piece(
        text="<think>a</think>b",
        reasoning="z",
        finish="stop",
        usage=Tokens(1, 2),
        refusal="no",
        extra={"model": "m"},
    )

    (read,) = await split([whole])

    assert read == replace(whole, text="b", reasoning="za")
    assert whole.text == "<think>a</think>b"


async def test_a_reply_that_is_cut_off_is_given_out_to_the_end() -> None:
    assert said(await split([Piece(text="<thi")])) == ("", "<thi")
    assert said(await split([Piece(text="<think>a </thi")])) == ("a </thi", "")


def tokens(*texts: str) -> list[TokenLogprob]:
    return [TokenLogprob(text, -float(place)) for place, text in enumerate(texts)]


async def test_log_probabilities_stay_with_the_answer_or_go_with_the_reasoning() -> None:
    scored = tokens("<think>", "\n", "So", ".", "</", "think", ">", "\n\n", " It", " falls", "!")
    by_token = [Piece(text=token.token, logprobs=[token]) for token in scored]
    at_once = Piece(text="".join(t.token for t in scored), logprobs=scored, finish="stop")

    for pieces in ([*by_token, FINISH], [at_once]):
        read = await split(pieces)
        aside = [token for piece in read for token in piece.extra.get("reasoning_logprobs", [])]
        assert [t for piece in read for t in piece.logprobs] == scored[8:]
        assert aside == scored[:8]


async def test_tokens_that_are_not_their_text_are_kept_all_the_same() -> None:
    scored = tokens("<think>", "\\xf0\\x9f", "\\x98\\x80", "</think>", "4", "", "<|im_end|>")

    (read,) = await split([Piece(text="<think>😀</think>4", logprobs=scored, finish="stop")])

    assert read.extra["reasoning_logprobs"] + read.logprobs == scored
    assert read.text == "4"


async def test_a_token_without_text_at_the_end_is_kept() -> None:
    scored = tokens("<think>", "a", "</think>", "4", "")

    (read,) = await split([Piece(text="<think>a</think>4", logprobs=scored, finish="stop")])

    assert read.logprobs == scored[3:]


async def test_closing_closes_the_server_s_stream() -> None:
    closed = []

    async def endless() -> Pieces:
        try:
            while True:
                yield Piece(text="a")
        finally:
            closed.append(True)

    pieces = split_thinking(endless(), "think")
    await anext(pieces)
    await pieces.aclose()

    assert closed == [True]


async def test_only_what_may_be_a_tag_is_held_back() -> None:
    characters = [Piece(text=character) for character in "<think> ab <c </think> d<"]

    shown = [(piece.reasoning, piece.text) for piece in await split(characters)]

    assert shown == [("a", ""), ("b", ""), (" <c", ""), ("", "d"), ("", "<")]


SOME = ["<think>", "</think>", "<thinking>", "</thinking>", "<|channel>thought", "<channel|>"]
PARTS = ["[THINK]", "[/THINK]", "<", "</thi", "think>", " ", "\n", "a", "b ", "[", "/"]
texts = st.lists(st.sampled_from(SOME) | st.sampled_from(PARTS), max_size=12).map("".join)


@st.composite
def cut(draw: st.DrawFn) -> list[str]:
    """A text, in any parts."""
    text = draw(texts)
    places = draw(st.lists(st.integers(0, len(text)), max_size=8).map(sorted))
    return [text[i:j] for i, j in zip([0, *places], [*places, len(text)], strict=True)]


@given(cut(), st.sampled_from(["", "think", "think_end"]))
def test_how_a_text_is_cut_makes_no_difference(parts: list[str], mode: Reasoning) -> None:
    whole = asyncio.run(split_text("".join(parts), mode=mode))

    assert asyncio.run(split_text(*parts, mode=mode)) == whole
    assert asyncio.run(split_text(*"".join(parts), mode=mode)) == whole


@given(cut())
def test_it_is_what_a_regular_expression_says_of_the_whole_text(parts: list[str]) -> None:
    """``think`` for tags of one kind, written a second time."""
    text = "".join(parts)
    begun = re.match(r"\s*(<think>|<thinking>|\[THINK\]|<\|channel>thought)\s*", text)
    expected = ("", text)
    if begun:
        rest = text[begun.end() :]
        thought, closed, answer = rest.partition(dict(TAGS)[begun[1]])
        expected = (thought.rstrip(), answer.lstrip()) if closed else (rest, "")

    assert asyncio.run(split_text(*parts)) == expected


@given(cut(), st.sampled_from(["", "think", "think_end"]))
def test_no_token_is_lost_or_moved(parts: list[str], mode: Reasoning) -> None:
    scored = tokens(*(part for part in parts if part))
    pieces = [Piece(text=token.token, logprobs=[token]) for token in scored]

    read = asyncio.run(split([*pieces, FINISH], mode))

    aside = [token for piece in read for token in piece.extra.get("reasoning_logprobs", [])]
    assert aside + [token for piece in read for token in piece.logprobs] == scored
    assert read[-1].usage == FINISH.usage
    assert read[-1].finish == "stop"
