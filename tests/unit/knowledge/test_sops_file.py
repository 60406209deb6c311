"""Reading procedures: what is taken, and what is refused with file, line and field."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.errors import ConfigError
from reverie.knowledge.sops import Check, Sop, packaged_sops, read_sop_text, read_sops
from reverie.knowledge.sops.file import MOST_BYTES

SEED = {
    "name": "debug_python_code",
    "description": "Procedure for identifying and fixing bugs",
    "trigger": "debug, bug, error, not working",
    "category": "coding",
    "priority": 8,
    "steps": [
        {"action": "Read the code and identify the problem"},
        {"action": "Suggest tests to verify", "condition": "fix proposed"},
    ],
}
YAML = """\
name: test
description: A test
trigger: [one, two]
steps:
  - Read it
  - action: Work it out
    tool: calculator
    inputs: {expression: "$step1 + 1"}
    check: {tool: succeeded}
"""


def test_the_form_with_commas_and_conditions_in_words_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sop.json"
    path.write_text(json.dumps(SEED))

    (sop,) = read_sops(path)

    assert sop.trigger == ("debug", "bug", "error", "not working")
    assert sop.steps[1].condition == (Check(words="fix proposed"),)
    assert Sop.model_validate(sop.document()) == sop
    assert sop.key == f"debug_python_code@{sop.version}"


def test_yaml_with_steps_of_all_kinds(tmp_path: Path) -> None:
    path = tmp_path / "sop.yaml"
    path.write_text(YAML)

    (sop,) = read_sops(path)

    assert [s.action for s in sop.steps] == ["Read it", "Work it out"]
    assert sop.steps[1].check[0].tool == "succeeded"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("name: a\n  b: [", "x line 2: mapping values are not allowed here"),
        ("", "x: it is empty"),
        ("[]", "x: it is empty"),
        ("just words", "x line 1: an SOP is a mapping of fields, not text"),
        ("- 3", "x line 1: an SOP is a mapping of fields, not int"),
        ("name: a\nname: b", "x line 2: the key 'name' is given twice"),
        ("[" * 5000, "x: it is nested too deeply"),
        ("a: 2024-13-45", "x: month must be in 1..12"),
        ("\x07", "x line 1: the character U+0007 is not allowed"),
        ("!!python/object/apply:os.system [ls]", "x line 1: could not determine a constructor"),
        (YAML.replace("trigger:", "triger:"), "x line 3: there is no field 'triger': did you mean"),
        (YAML.replace("tool: calc", "toll: calc"), "'steps[1].toll': did you mean tool?"),
        (YAML.replace("tool: succ", "tol: succ"), "'steps[1].check[0].tol': did you mean tool?"),
        (YAML.partition("  - Read")[0], "x line 4: steps must be a list"),
        (YAML.partition("steps")[0] + "steps: []", "x line 4: steps must not be empty"),
        (YAML.partition("steps")[0], "x line 1: steps is missing"),
        (YAML.replace("Read it", "''"), "x line 5: steps[0].action must not be empty"),
        (YAML.replace("- Read it", "- {}"), "x line 5: steps[0].action is missing"),
        (YAML.replace("$step1", "$step2"), "x line 1: steps[1].inputs: $step2 is not known by"),
        (YAML.replace("$step1", "$ 5"), "x line 1: steps[1].inputs: a $ stands alone"),
        (YAML.replace("tool: calculator", ""), "inputs are those of a tool"),
        (YAML.replace("name: test", "name: No Name"), "x line 1: name must be small letters"),
        (YAML + "priority: 11\n", "x line 10: priority must be less than or equal to 10"),
        (YAML + "priority: high\n", "x line 10: priority must be a whole number"),
        (YAML + "category: 3\n", "x line 10: category must be text (in YAML, put it in quotes)"),
        (YAML.replace("[one, two]", "['*']"), "trigger[0]: the trigger '*' has too few letters"),
        (YAML.replace("[one, two]", "['a*b']"), "a * may only stand at the end"),
        (YAML.replace("[one, two]", "['.']"), "the trigger '.' has too few letters"),
        (YAML.replace("Read it", "Read \u202eit"), "the invisible character U+202E is not"),
        (YAML.replace("Read it", "x" * 501), "steps[0].action must have at most 500 characters"),
        (YAML + "  - a\n" * 33, "x line 4: steps"),
        (YAML.replace("{tool: succeeded}", "{}"), "a check has one of words, contains"),
        (YAML.replace("{tool: succeeded}", "{words: a, number: true}"), "words and number"),
        (YAML.replace("{tool: succeeded}", "{matches: '(a'}"), "'(a' is no pattern"),
        (YAML.replace("{tool: succeeded}", "{matches: '(?=a)'}"), "look-around"),
        (YAML.replace("{tool: succeeded}", "{number: {min: 2, max: 1}}"), "min is larger"),
        (YAML + "preconditions: {tool: succeeded}", "preconditions: no tool has been called"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(given: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_sop_text(given, "x")

    assert said in caught.value.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"name": "a",}', "line 1: "),
        ("[" * 100_000, "nested too deeply"),
        ('{"name": "a", "name": "b"}', "the key 'name' is given twice"),
        ('{"nam": "a"}', "there is no field 'nam': did you mean name?"),
    ],
)
def test_broken_json_is_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)

    with pytest.raises(ConfigError) as caught:
        read_sops(path)

    assert str(path) in caught.value.message
    assert said in caught.value.message


def test_aliases_that_would_grow_without_end_are_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    began = time.monotonic()

    with pytest.raises(ConfigError, match="x line 2: aliases"):
        read_sop_text("\n".join(lines), "x")

    assert time.monotonic() - began < 1


def test_huge_and_binary_files_and_what_is_not_there(tmp_path: Path) -> None:
    huge, binary = tmp_path / "huge.yaml", tmp_path / "binary.yaml"
    huge.write_bytes(b"#" * (MOST_BYTES + 1))
    binary.write_bytes(b"name: \xff\xfe")

    for path, said in (
        (huge, "is larger than 256,000 bytes"),
        (binary, "is no UTF-8 text (byte 7)"),
        (tmp_path / "nothing.yaml", "does not exist"),
        (Path("a\0b"), "cannot be read"),
    ):
        with pytest.raises(ConfigError) as caught:
            read_sops(path)
        assert said in caught.value.message


def test_a_folder_is_read_whole_and_names_are_taken_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(YAML)
    (tmp_path / "b.json").write_text(json.dumps(SEED))
    (tmp_path / "notes.txt").write_text("not read")
    (tmp_path / "loop.yaml").symlink_to(tmp_path)

    assert [sop.name for sop in read_sops(tmp_path)] == ["debug_python_code", "test"]

    (tmp_path / "c.yml").write_text(YAML)
    (tmp_path / "d.yaml").write_text("steps: 3")
    with pytest.raises(ConfigError) as caught:
        read_sops(tmp_path)

    assert f"c.yml: there is an SOP called test in {tmp_path / 'a.yaml'}" in caught.value.message
    assert "d.yaml line 1: steps must be a list" in caught.value.message  # all are said at once


def test_a_folder_without_any_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no SOPs"):
        read_sops(tmp_path)


@given(st.text(max_size=200))
def test_whatever_the_text_it_is_read_or_refused(text: str) -> None:
    try:
        read_sop_text(text, "x")
    except ConfigError as error:
        message = error.message
    else:
        return
    assert message.startswith("x")


def test_the_packaged_ones_are_ten_with_steps_that_are_checked() -> None:
    sops = packaged_sops()

    assert len(sops) == 10
    assert "debug_python_code" in {sop.name for sop in sops}
    for sop in sops:
        assert sop.trigger
        assert 3 <= len(sop.steps) <= 6
        assert sop.steps[-1].check, sop.name  # its result is the answer
        assert read_sop_text(json.dumps(sop.document()), "x", json_only=True) == [sop]


# -- checks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "text", "holds"),
    [
        ({"contains": "Bug"}, "a BUG here", True),
        ({"contains": ["x", "y"]}, "a y", True),
        ({"contains": ["x", "y"]}, "a z", False),
        ({"one_of": ["true", "false"]}, "True.", True),
        ({"one_of": ["true", "false"]}, "true or false", False),
        ({"matches": r"line \d+"}, "in line 12", True),
        ({"matches": r"^line"}, "in line 12", False),
        ({"number": True}, "about 1,250.5 euros", True),
        ({"number": {"min": 1000, "max": 2000}}, "12 is about 1,250.5", True),
        ({"number": {"max": 10}}, "12", False),
        ({"number": True}, "none", False),
        ({"number": True}, "x" * 19_999 + " 5", False),  # only so much is looked at
        ({"not_empty": True}, " .- ", False),
        ({"not_empty": True}, "调", True),
    ],
)
def test_exact_checks(check: dict[str, object], text: str, holds: bool) -> None:
    assert Check.model_validate(check).holds(text) is holds


def test_a_check_of_the_tool_looks_at_how_it_went() -> None:
    check = Check(tool="succeeded")

    assert check.holds("", tool_failed=False)
    assert not check.holds("", tool_failed=True)
    assert not check.holds("", tool_failed=None)


def test_no_pattern_takes_long() -> None:
    began = time.monotonic()

    assert not Check(matches="(a*)*(a|aa)+(.*)*b$").holds("a" * 100_000)

    assert time.monotonic() - began < 1
