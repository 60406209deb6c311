"""Tokens become text while they arrive, and end before a stop string."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reverie.models.embedded.text import TextStream

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def stream(
    tokenizer: PreTrainedTokenizerFast, ids: list[int], *stop: str
) -> tuple[list[str], str, bool]:
    """The pieces, what was held back until the end, and whether a stop string was met."""
    text = TextStream(tokenizer.backend_tokenizer, stop)
    pieces = []
    for token in ids:
        pieces.append(text.push(token))
        if text.stopped:
            return pieces, "", True
    return pieces, text.flush(), False


def encode(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids


@settings(deadline=None)
@given(text=st.text(max_size=60))
def test_pieces_add_up_to_the_text(tiny_tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    pieces, rest, _ = stream(tiny_tokenizer, encode(tiny_tokenizer, text))

    assert "".join(pieces) + rest == text.rstrip("\ufffd")


@settings(deadline=None, max_examples=300)
@given(ids=st.lists(st.integers(0, 319), max_size=40))
def test_any_tokens_decode_as_they_do_at_once(
    tiny_tokenizer: PreTrainedTokenizerFast, ids: list[int]
) -> None:
    pieces, rest, _ = stream(tiny_tokenizer, ids)

    whole = tiny_tokenizer.decode(ids, skip_special_tokens=True)
    # A character that the end has cut in two is left out.
    assert "".join(pieces) + rest == whole.rstrip("\ufffd")


def test_a_character_of_several_tokens_comes_whole(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    ids = encode(tiny_tokenizer, "é→🙂")
    assert len(ids) == 9

    pieces, _, _ = stream(tiny_tokenizer, ids)

    assert [piece for piece in pieces if piece] == ["é", "→", "🙂"]


def test_control_tokens_are_no_text(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    ids = [*encode(tiny_tokenizer, "a"), 1, 2, 3, *encode(tiny_tokenizer, "b")]

    assert "".join(stream(tiny_tokenizer, ids)[0]) == "ab"


@pytest.mark.parametrize(
    ("text", "stop", "kept"),
    [
        ("the ball falls", ["zzz"], None),
        ("the ball falls", ["xyz"], None),
        ("one END two", ["END"], "one "),
        ("one EN", ["END"], None),
        ("END", ["END"], ""),
        ("x\n\ny", ["\n\n"], "x"),
        ("EENDD", ["END"], "E"),
        ("a, b; c", [";", ","], "a"),
        ("xaby", ["abz", "b"], "xa"),
        ("né→né", ["→"], "né"),
        ("text", [""], None),
    ],
)
def test_text_ends_before_the_first_stop_string(
    tiny_tokenizer: PreTrainedTokenizerFast, text: str, stop: list[str], kept: str | None
) -> None:
    pieces, rest, stopped = stream(tiny_tokenizer, encode(tiny_tokenizer, text), *stop)

    assert "".join(pieces) + rest == (text if kept is None else kept)
    assert stopped == (kept is not None)


@settings(deadline=None)
@given(
    text=st.text(alphabet="abX", max_size=30), stop=st.text(alphabet="abX", min_size=1, max_size=4)
)
def test_no_part_of_a_stop_string_escapes(
    tiny_tokenizer: PreTrainedTokenizerFast, text: str, stop: str
) -> None:
    # Token by token, each of one letter: every way to split a stop string occurs.
    ids = [token for letter in text for token in encode(tiny_tokenizer, letter)]

    pieces, rest, stopped = stream(tiny_tokenizer, ids, stop)

    assert "".join(pieces) + rest == text.split(stop, maxsplit=1)[0]
    assert stopped == (stop in text)


def test_text_that_cannot_begin_a_stop_string_is_not_held_back(
    tiny_tokenizer: PreTrainedTokenizerFast,
) -> None:
    text = TextStream(tiny_tokenizer.backend_tokenizer, ["END"])

    assert text.push(encode(tiny_tokenizer, "x")[0]) == "x"
    assert text.push(encode(tiny_tokenizer, "E")[0]) == ""
    assert text.push(encode(tiny_tokenizer, "y")[0]) == "Ey"
