"""Reasoning templates: files per kind of task, chosen by what they were worth, put into prompts."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langgraph.runtime import Runtime

from reverie.errors import ConfigError
from reverie.graphs.context import Context
from reverie.graphs.resources import Resources
from reverie.graphs.step import Step
from reverie.graphs.task_type import TASK_TYPES
from reverie.graphs.templates import Template, TemplateBook, choose_template
from reverie.knowledge.strategies import TemplateRecord
from reverie.settings import Settings
from tests.unit.conftest import ScriptedModel, ScriptedResources

BOOK = TemplateBook()


def write(folder: Path, name: str, types: str, text: str = "Check the sign.") -> Path:
    own = folder / "templates"
    own.mkdir(parents=True, exist_ok=True)
    path = own / f"{name}.md"
    path.write_text(f"---\ntypes: {types}\n---\n{text}\n", encoding="utf-8")
    return path


# -- the library --------------------------------------------------------------------------------


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_every_kind_of_task_has_some(task_type: str) -> None:
    found = BOOK.fitting(task_type)

    assert len(found) >= 2
    assert all(task_type in template.types for template in found)


def test_a_kind_that_nobody_knows_gets_those_for_any() -> None:
    assert BOOK.fitting("poetry") == BOOK.fitting("other")


@pytest.mark.parametrize("name", BOOK.names)
def test_templates_are_short_and_their_version_is_their_content(name: str) -> None:
    template = BOOK.load(name)
    content = files("reverie.graphs").joinpath("templates", f"{name}.md").read_bytes()

    assert template.version == hashlib.sha256(content).hexdigest()[:12]
    assert template.key == f"{name}@{template.version}"
    assert len(re.findall(r"\w+", template.text)) <= 30  # they cost tokens in every call
    assert "\n" not in template.text


def test_a_template_is_found_by_what_it_was_recorded_as() -> None:
    template = BOOK.load("units")

    assert BOOK.load(template.key) is template
    assert BOOK.load("units@older") is template
    with pytest.raises(ConfigError, match="'unit'") as caught:
        BOOK.load("unit")
    assert caught.value.hint == "did you mean units?"


# -- of one's own -------------------------------------------------------------------------------


def test_a_folder_of_ones_own_replaces_and_adds(tmp_path: Path) -> None:
    write(tmp_path, "units", "arithmetic", "Mind the units.")
    write(tmp_path, "sign", "arithmetic, logic")
    settings = Settings(home=tmp_path / "home")
    reason = settings.reason.model_copy(update={"prompts": tmp_path})

    book = Resources(settings.model_copy(update={"reason": reason})).templates

    assert book.load("units").text == "Mind the units."
    assert book.load("units").version != BOOK.load("units").version
    assert {"sign", "units"} <= {t.name for t in book.fitting("arithmetic")}
    assert "units" not in {t.name for t in book.fitting("counting")}
    assert "sign" in {t.name for t in book.fitting("logic")}


def test_without_such_a_folder_there_are_the_packaged_ones(tmp_path: Path) -> None:
    assert TemplateBook(tmp_path / "templates").names == BOOK.names


@pytest.mark.parametrize(
    ("name", "content", "told", "hint"),
    [
        ("sign", "Check the sign.", "is no reasoning template", "types: arithmetic"),
        ("sign", "---\nkind: logic\n---\nCheck.", "is no reasoning template", "types:"),
        ("sign", "---\ntypes: arithmetics\n---\nCheck.", "'arithmetics'", "mean arithmetic?"),
        ("sign", "---\ntypes:\n---\nCheck.", "names no task type", "known: arithmetic"),
        ("sign", "---\ntypes: logic\n---\n \n", "has no instruction", "second ---"),
        ("sign", b"---\ntypes: logic\n---\n\xff", "cannot be read", ""),
        ("The Sign", "---\ntypes: logic\n---\nCheck.", "'The Sign'", "small letters"),
    ],
)
def test_a_file_that_is_none_is_named(
    name: str, content: str | bytes, told: str, hint: str, tmp_path: Path
) -> None:
    raw = content if isinstance(content, bytes) else content.encode()
    (tmp_path / f"{name}.md").write_bytes(raw)

    with pytest.raises(ConfigError, match=told) as caught:
        TemplateBook(tmp_path)
    assert f"{name}.md" in caught.value.message
    assert hint in (caught.value.hint or "")


def test_line_ends_of_windows_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "sign.md").write_bytes(b"---\r\ntypes: logic\r\n---\r\nCheck.\r\n")

    assert TemplateBook(tmp_path).load("sign").text == "Check."


# -- the choice ---------------------------------------------------------------------------------


def made(name: str) -> Template:
    return Template(name, "1", ("logic",), "x")


def record(right: float, wrong: float) -> TemplateRecord:
    uses = int(right + wrong)
    return {"alpha": 1 + right, "beta": 1 + wrong, "uses": uses, "score": right}


def test_what_was_never_tried_is_tried_as_often_as_anything() -> None:
    fitting = [made("a"), made("b"), made("c")]

    names = [found[0].name for s in range(600) if (found := choose_template(fitting, {}, str(s)))]

    assert all(150 < names.count(name) < 250 for name in "abc")


def test_what_helped_is_chosen_more_often_but_not_always() -> None:
    """Thompson sampling: as often as it is likely to be the best."""
    measured = {"a@1": record(14, 6), "b@1": record(10, 10)}
    fitting = [made("a"), made("b")]

    found = [choose_template(fitting, measured, str(s)) for s in range(400)]

    names = [f[0].name for f in found if f]
    assert 300 < names.count("a") < 400
    assert {f[1] for f in found if f} == {
        "right 68% of 20 scored times",
        "right 50% of 20 scored times",
    }


def test_what_was_measured_under_another_text_does_not_count() -> None:
    measured = {"a@0": record(0, 500), "b@1": record(1, 500)}

    names = [
        found[0].name
        for s in range(100)
        if (found := choose_template([made("a"), made("b")], measured, str(s)))
    ]

    assert names.count("a") > 90


def test_equal_seeds_choose_equally_and_nothing_of_nothing() -> None:
    fitting = BOOK.fitting("logic")

    assert choose_template(fitting, {}, "7") == choose_template(fitting, {}, "7")
    assert choose_template([], {}, "7") is None


# -- in a prompt --------------------------------------------------------------------------------


def test_it_goes_to_the_end_of_the_system_message() -> None:
    messages = [SystemMessage("Be brief."), HumanMessage("Q1"), AIMessage("A1"), HumanMessage("Q")]

    added = made("a").add_to(messages)

    assert [m.text for m in added] == ["Be brief.\nx", "Q1", "A1", "Q"]
    assert messages[0].text == "Be brief."  # the prompt itself stays


def test_without_a_system_message_it_goes_before_the_question() -> None:
    added = made("a").add_to([HumanMessage("Q1"), AIMessage("A1"), HumanMessage("Q")])

    assert [m.text for m in added] == ["Q1", "A1", "x\n\nQ"]
    assert made("a").add_to([AIMessage("A1")]) == [AIMessage("A1")]


async def test_a_step_adds_it_where_the_question_is_asked_and_says_so(
    resources: ScriptedResources, model: ScriptedModel
) -> None:
    template = BOOK.load("units")
    events: list[dict[str, Any]] = []
    runtime = Runtime(context=Context(resources=resources.key), stream_writer=events.append)
    state = {"started": 9e9, "ledger": [], "template": template.key}

    async with Step(state, runtime, "chain_of_thought.think") as step:
        asking = step.messages("chain_of_thought", question="Q")
        going_on = step.messages("chain_of_thought_conclude", thought="T")
        await step.ask("think", [*asking, *going_on], max_tokens=20)

    texts = [m.text for m in model.calls[0].messages]
    assert sum(template.text in text for text in texts) == 1
    assert texts[0].endswith(template.text)
    (called,) = (e["call"] for e in events if e["type"] == "called")
    assert {"name": "templates/units", "version": template.version} in called["prompts"]
    assert called["template"] == template.key


async def test_a_step_without_one_changes_no_prompt(resources: ScriptedResources) -> None:
    runtime = Runtime(context=Context(resources=resources.key))

    async with Step({"started": 9e9, "ledger": []}, runtime, "direct.ask") as step:
        plain = step.messages("direct", question="Q")

    assert plain == resources.prompts.load("direct").messages(question="Q")
