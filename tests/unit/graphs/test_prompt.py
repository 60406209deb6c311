"""Prompts are files; what goes into them stays data."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.errors import ConfigError
from reverie.graphs.prompt import PACKAGED, PromptBook, load_prompt

NAMES = ["chain_of_thought", "direct", "dream", "dream_unaided"]
EVERY = sorted(
    f.name.removesuffix(".md") for f in files("reverie.graphs").joinpath("prompts").iterdir()
)
VALUES = {"role": "R", "facts": "F", "question": "Q"}


@pytest.mark.parametrize("name", EVERY)
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


@pytest.mark.parametrize("name", EVERY)
def test_every_file_has_turns_and_takes_what_it_says(name: str) -> None:
    prompt = load_prompt(name)
    filled = prompt.messages(**dict.fromkeys(prompt.values, "X"))

    assert filled
    assert all(m.text.strip() for m in filled)
    assert not any("$" in m.text for m in filled)


# -- of one's own -------------------------------------------------------------------------------


def test_a_file_of_ones_own_replaces_the_packaged_one(tmp_path: Path) -> None:
    own = "## user\n$question\nAnswer only.\n"
    (tmp_path / "direct.md").write_text(own, encoding="utf-8")

    book = PromptBook(tmp_path)

    assert [m.text for m in book.load("direct").messages(question="Q")] == ["Q\nAnswer only."]
    assert book.load("direct").version == hashlib.sha256(own.encode()).hexdigest()[:12]
    assert book.load("dream") == PACKAGED.load("dream")


@pytest.mark.parametrize(
    ("name", "content", "told", "hint"),
    [
        ("dirct", b"## user\n$question", "replaces no prompt", "Did you mean direct.md?"),
        ("direct", b"$question", "has no turns", "## user"),
        ("direct", b"## user\n$qestion", "asks for $qestion", "It may use $question"),
        ("direct", b"## user\n\xff", "cannot be read", ""),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    name: str, content: bytes, told: str, hint: str, tmp_path: Path
) -> None:
    (tmp_path / f"{name}.md").write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        PromptBook(tmp_path)
    assert told in caught.value.message
    assert hint in (caught.value.hint or "")


def test_a_folder_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no folder"):
        PromptBook(tmp_path / "nowhere")


def test_reasoning_templates_beside_them_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "sign.md").write_text("---\ntypes: logic\n---\nx\n")

    assert PromptBook(tmp_path).load("direct") == PACKAGED.load("direct")
