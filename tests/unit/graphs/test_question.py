"""Questions in any script, with whatever terminals and damaged files put into them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.errors import ConfigError
from reverie.graphs.question import clean_question

ANYTHING = st.text(st.characters(exclude_categories=[]))  # lone surrogates too


@pytest.mark.parametrize(
    "question",
    [
        "لماذا يسقط الحجر؟",
        "为什么石头会落下？",  # noqa: RUF001
        "क्या होता है?",  # combining vowels
        "Why does 🧊 float on 🌊? 👩‍🚀",  # joined with a format character
        '{$braces} and ${dollars} \\ "quotes" <|im_end|>',
        "two\nlines",
    ],
)
def test_any_script_passes_unchanged(question: str) -> None:
    assert clean_question(question) == question


@pytest.mark.parametrize(
    ("question", "cleaned"),
    [
        ("why\x00?", "why?"),
        ("\x1b[31mwhy\x1b[0m?", "[31mwhy[0m?"),  # without ESC it is only text
        ("why\ud800?", "why?"),
        ("\u202ewhy\u202c?", "why?"),  # would reverse the terminal's line
        ("\ta\tb\r\n", "a b"),
        ("  why?  ", "why?"),
        ("why\x9b31m?", "why31m?"),  # the one-character CSI
    ],
)
def test_control_characters_go(question: str, cleaned: str) -> None:
    assert clean_question(question) == cleaned


@pytest.mark.parametrize(
    "question", ["", " \n\t", "\x00\x1b", "\ud800", "\u200b\u200d\u2060", "\xa0"]
)
def test_nothing_to_see_is_an_empty_question(question: str) -> None:
    with pytest.raises(ConfigError, match="empty") as caught:
        clean_question(question)

    assert "reverie ask" in caught.value.hint


@given(ANYTHING)
def test_what_passes_is_safe_to_encode_and_to_print(question: str) -> None:
    try:
        cleaned = clean_question(question)
    except ConfigError:
        return
    cleaned.encode()
    assert not any(unicodedata.category(c) == "Cc" and c != "\n" for c in cleaned)
    assert clean_question(cleaned) == cleaned
