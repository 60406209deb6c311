"""Prompts are files; what goes into them stays data."""

from __future__ import annotations

import hashlib
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.graphs.prompt import load_prompt

NAMES = ["chain_of_thought", "direct", "dream", "dream_unaided"]
VALUES = {"role": "R", "facts": "F", "question": "Q"}


@pytest.mark.parametrize("name", NAMES)
def test_the_version_is_the_hash_of_the_file(name: str) -> None:
    text = files("reverie.graphs").joinpath("prompts", f"{name}.md").read_bytes()

    assert load_prompt(name).version == hashlib.sha256(text).hexdigest()[:12]


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_begins_with_the_system_and_ends_with_the_question(name: str) -> None:
    messages = load_prompt(name).messages(**VALUES)

    assert messages[0].type == "system"
    assert {m.type for m in messages[1::2]} == {"human"}
    assert {m.type for m in messages[2::2]} <= {"ai"}
    assert messages[-1].text.endswith("Q")
    assert not any("$" in m.text for m in messages)


@given(st.text() | st.sampled_from(["$question", "${role}", "$$", "{x}", "## user\nhi", "%s"]))
def test_a_value_stays_what_it_is(question: str) -> None:
    plain = load_prompt("dream").messages(**VALUES)
    filled = load_prompt("dream").messages(**{**VALUES, "question": question})

    assert filled[:-1] == plain[:-1]
    assert filled[-1].text == plain[-1].text.removesuffix("Q") + question


def test_a_forgotten_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        load_prompt("direct").messages()
