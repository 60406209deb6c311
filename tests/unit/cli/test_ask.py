"""``reverie ask``: what goes in, and what comes out on a pipe, with --json and with --quiet.

docs/schema/result.schema.json is written by

    python -c "from reverie.agents import result as r; from pydantic import TypeAdapter as T; \
    import json; print(json.dumps(T(r.Result | r.ErrorDocument).json_schema(), indent=2))" \
    > docs/schema/result.schema.json
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import TypeAdapter

from reverie.agents.result import ErrorDocument, Result
from reverie.cli import main
from reverie.cli.partial import read_partial
from reverie.cli.wording import clean
from reverie.errors import ModelUnavailable
from reverie.models.embedded.checkpoint import Phase

Replay = Callable[[list[Any]], list[Any]]
QUESTION = "What happens when you drop a ball?"


@pytest.fixture
def schema(repository: Path) -> Any:
    return json.loads((repository / "docs/schema/result.schema.json").read_text("utf-8"))


# -- what goes in --------------------------------------------------------------------------


def test_options_become_settings(replay: Replay, events: list[Any]) -> None:
    asked = replay(events)
    options = "--model /m --strategy dream --branches 6 --budget 900 --seconds 7.5 --seed 3"

    assert main(["ask", QUESTION, *options.split()]) == 0

    [(question, settings, preview)] = asked
    assert preview is None
    assert question == QUESTION
    assert settings.model.name == "/m"
    assert (settings.reason.strategy, settings.reason.seed) == ("dream", 3)
    assert settings.dream.branches == 6
    assert (settings.budget.tokens, settings.budget.seconds) == (900, 7.5)


@pytest.mark.parametrize(
    ("options", "preview"), [([], None), (["--preview"], True), (["--no-preview"], False)]
)
def test_the_preview_backend_can_be_had_or_not(
    options: list[str], preview: bool | None, replay: Replay, events: list[Any]
) -> None:
    asked = replay(events)

    assert main(["ask", QUESTION, *options]) == 0

    assert asked[0][2] is preview


def test_seed_none_is_a_fresh_one(replay: Replay, events: list[Any]) -> None:
    asked = replay(events)

    assert main(["ask", QUESTION, "--seed", "none"]) == 0

    assert asked[0][1].reason.seed is None


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--budget", "0"], "--budget"),
        (["--budget", "-5"], "--budget"),
        (["--branches", "0"], "--branches"),
        (["--seconds", "0"], "--seconds"),
        (["--seed", "x"], "--seed"),
    ],
)
def test_a_wrong_option_is_wrong_use_and_named(
    arguments: list[str],
    named: str,
    replay: Replay,
    events: list[Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = replay(events)

    assert main(["ask", QUESTION, *arguments]) == 2

    assert asked == []
    assert named in capsys.readouterr().err


def test_a_dash_reads_standard_input_in_any_encoding(
    replay: Replay, events: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = replay(events)
    given = "Why is 天 blue?\n".encode() + b"\xff\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given)))

    assert main(["ask", "-"]) == 0

    assert asked[0][0] == "Why is 天 blue?\n\N{REPLACEMENT CHARACTER}"


# -- a form --------------------------------------------------------------------------------


FORM = {"type": "object", "properties": {"where": {"type": "string"}}}


def test_a_schema_file_is_what_the_answer_has_to_obey(
    replay: Replay, events: list[Any], tmp_path: Path
) -> None:
    asked = replay(events)
    file = tmp_path / "form.json"
    file.write_text(json.dumps(FORM), encoding="utf-8")

    assert main(["ask", QUESTION, "--schema", str(file)]) == 0

    assert asked[0][3] == FORM


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read"),
        ("{", "is no JSON"),
        ("[]", "holds no JSON object"),
        ('{"type": "objekt"}', "the schema of the answer cannot be used"),
        ('{"$ref": "https://example.org/a.json"}', "does not lead to a part of it"),
    ],
)
def test_a_schema_that_cannot_be_used_is_wrong_use(  # noqa: PLR0917  # by name
    text: str | None,
    said: str,
    replay: Replay,
    events: list[Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = replay(events)
    file = tmp_path / "form.json"
    if text is not None:
        file.write_text(text, encoding="utf-8")

    assert main(["ask", QUESTION, "--schema", str(file)]) == 2

    assert asked == []
    assert said in " ".join(capsys.readouterr().err.split())


def test_the_document_is_printed_and_alone_with_quiet(
    replay: Replay, events: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    filled = events[-1].model_copy(update={"output": {"where": "auf dem Eßtisch"}})
    replay([*events[:-1], filled])

    assert main(["ask", QUESTION, "--quiet"]) == 0
    quiet = capsys.readouterr().out
    assert json.loads(quiet) == {"where": "auf dem Eßtisch"}
    assert "Eßtisch" in quiet

    assert main(["ask", QUESTION]) == 0
    assert capsys.readouterr().out.endswith(quiet)

    assert main(["ask", QUESTION, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["output"] == {"where": "auf dem Eßtisch"}


# -- a pipe --------------------------------------------------------------------------------


def test_a_pipe_gets_every_section_as_plain_lines(
    replay: Replay, events: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    replay(events)

    assert main(["ask", QUESTION]) == 0

    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out == (
        "question: What happens when you drop a ball?\n"
        "strategy: dream (expected score 0.71 from 5 scored runs, the highest)\n"
        "posterior means: direct 0.50 (2 runs) · dream 0.71 (5 runs)\n"
        "facts:\n"
        "  0.76  a ball → is dropped → it falls\n"
        "dreams:\n"
        "  1 spatial: You can see it fall.\n"
        "      fact: a ball → is dropped → it falls\n"
        "      dreamed: the floor → pushes back → it bounces\n"
        "  2 temporal: First it falls.\n"
        "      fact: a ball → is dropped → it falls\n"
        "      dreamed: the floor → pushes back → it bounces\n"
        "  3 causal failed: the time ran out\n"
        "  4 abstract: The rule is that things stay.\n"
        "      fact: a ball → is dropped → it falls\n"
        "      dreamed: the floor → pushes back → it bounces\n"
        "verdict:\n"
        "  dream       grounding  confidence  agreement  total\n"
        "  1 spatial        0.61        0.50          –   0.56\n"  # noqa: RUF001
        "  2 temporal       0.85        0.50          –   0.69  winner\n"  # noqa: RUF001
        "  4 abstract       0.33        0.50          –   0.41  dissents\n"  # noqa: RUF001
        "  3 causal            –           –          –      –  failed\n"  # noqa: RUF001
        "  weight           0.50        0.40       0.10\n"
        "  dream 2 scores 0.69\n"
        "answer: First it falls.\n"
        "cost: 1,412 in + 187 out = 1,599 of 8,000 tokens · 4 calls · 3.2 s · 6,401 tokens left\n"
        "confidence: 0.50 (uncalibrated)\n"
        "run: 3f9c02ab17de\n"
        "note: the facts were seeded\n"
    )


def used(name: str, calls: int, *passed_over: str) -> dict[str, Any]:
    return {
        "name": name,
        "calls": calls,
        "tokens_in": 10 * calls,
        "tokens_out": calls,
        "passed_over": list(passed_over),
    }


@pytest.mark.parametrize(
    ("backends", "line"),
    [
        ([used("smollm2", 4)], ""),
        ([used("http://a/v1", 2)], "http://a/v1 (2 calls)"),
        ([used("http://a/v1", 0, "refused"), used("smollm2", 1)], "smollm2 (1 call)"),
        (
            [used("http://a/v1", 3), used("smollm2", 1)],
            "http://a/v1 (3 calls), smollm2 (1 call)",
        ),
    ],
)
def test_who_answered_is_said_when_there_was_a_choice(
    backends: list[Any],
    line: str,
    replay: Replay,
    events: list[Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    notice = "http://a/v1 was passed over: refused"
    end = {"backends": backends, "notices": [notice]}
    replay([{"type": "notice", "text": notice}, *events[:-1], events[-1].model_copy(update=end)])

    assert main(["ask", QUESTION]) == 0

    out = capsys.readouterr().out
    assert (f"answered by: {line}\n" in out) == bool(line)
    assert ("answered by" in out) == bool(line)
    assert out.count(f"note: {notice}\n") == 1


def test_what_a_model_writes_cannot_steer_the_terminal(
    replay: Replay, events: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    end = events[-1]
    replay([end.model_copy(update={"answer": "It \x1b[2Jfalls\x07.\u202e\r\nB\x9b3m"})])

    assert main(["ask", QUESTION]) == 0

    assert "answer: It  [2Jfalls . \nB 3m\n" in capsys.readouterr().out


def test_what_takes_long_is_said_on_standard_error(
    replay: Replay, events: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    replay([lambda report: report(Phase("Loading the model smollm2")), *events])

    assert main(["ask", QUESTION]) == 0

    assert capsys.readouterr().err == "Loading the model smollm2\n"


# -- --quiet and --json --------------------------------------------------------------------


def test_quiet_prints_the_answer_only(
    replay: Replay, events: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    replay([lambda report: report(Phase("Loading")), *events])

    assert main(["ask", QUESTION, "-q"]) == 0

    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("First it falls.\n", "")


def test_json_is_the_result_and_obeys_the_published_schema(
    replay: Replay, events: list[Any], schema: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    replay([lambda report: report(Phase("Loading")), *events])

    assert main(["ask", QUESTION, "--json"]) == 0

    captured = capsys.readouterr()
    document = json.loads(captured.out)
    jsonschema.validate(document, schema)
    assert captured.err == ""
    assert Result.model_validate(document) == events[-1]


def test_an_error_with_json_obeys_the_published_schema(
    replay: Replay, schema: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    replay([ModelUnavailable("no model", hint="fetch it")])

    assert main(["ask", QUESTION, "--json"]) == 1

    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, schema)
    assert document["error"]["type"] == "ModelUnavailable"


def test_the_published_schema_is_in_step(schema: Any) -> None:
    assert schema == TypeAdapter(Result | ErrorDocument).json_schema()


def test_the_published_schema_refuses_what_is_neither(schema: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"answer": "42"}, schema)


# -- no answer -----------------------------------------------------------------------------


def test_an_abstention_says_why_and_ends_with_3(
    replay: Replay, abstaining: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    replay(abstaining)

    assert main(["ask", QUESTION]) == 3

    out = capsys.readouterr().out
    assert "no answer: the best dream scores 0.11, below 0.2\n" in out
    assert "confidence" not in out


def test_a_quiet_abstention_leaves_standard_output_empty(
    replay: Replay, abstaining: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    replay(abstaining)

    assert main(["ask", QUESTION, "--quiet"]) == 3

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "no answer: the best dream scores 0.11, below 0.2\n"


def test_an_error_of_the_run_is_a_line_and_a_hint(
    replay: Replay, events: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    replay([*events[:4], ModelUnavailable("no model", hint="fetch it")])

    assert main(["ask", QUESTION]) == 1

    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "error: no model\nhint: fetch it\n")


# -- reading a dream as it grows -----------------------------------------------------------

WHOLE = json.dumps(
    {"answer": 'It "falls" \\ 天 \N{GRINNING FACE}', "triplets": [["a", "b", "c"], ["d", "e", "f"]]}
)


def test_a_whole_dream_is_read_as_json_reads_it() -> None:
    partial = read_partial(WHOLE)

    assert partial.answer == json.loads(WHOLE)["answer"]
    assert [list(t) for t in partial.triplets] == json.loads(WHOLE)["triplets"]


def test_a_dream_only_ever_grows() -> None:
    final = read_partial(WHOLE)

    for cut in range(len(WHOLE)):
        partial = read_partial(WHOLE[:cut])
        assert final.answer.startswith(partial.answer), WHOLE[:cut]
        assert partial.triplets == final.triplets[: len(partial.triplets)]


@pytest.mark.parametrize("text", ["", "{", '{"ans', '{"triplets":', "plain words"])
def test_what_is_no_dream_yet_is_shown_as_nothing_or_as_it_is(text: str) -> None:
    partial = read_partial(text)

    assert partial.answer == ("" if text.startswith("{") else text)
    assert partial.triplets == []


def test_cleaning_keeps_scripts_that_need_joiners() -> None:
    assert clean("क\u094d\u200dष") == "क\u094d\u200dष"
    assert clean("a\u202eb\ud800c\u2028d") == "abc d"
