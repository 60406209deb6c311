"""The measuring model's questions, prompts and records, and the selector on recorded answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from reverie.agents.reasoner import Reasoner
from reverie.errors import ConfigError
from reverie.evals.bench.real_selection import ARMS, VARIABLE, measure, run
from reverie.evals.gym.__main__ import main
from reverie.evals.gym.families import (
    FAMILIES,
    GymQuestion,
    in_a_row,
    is_right,
    questions,
    right_answer,
)
from reverie.evals.gym.merge import merge
from reverie.evals.gym.record import Record, ask, read_records, record_all
from reverie.evals.gym.selection import Taken, select_recorded
from reverie.evals.gym.settings import gym_settings, prompts_folder
from reverie.evals.gym.table import best_of_family, by_family, by_strategy
from reverie.graphs.prompt import PromptBook
from reverie.models import embeddings
from tests.unit.conftest import HashEmbedder, ScriptedModel, ScriptedResources

pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed (extra eval)")

pytestmark = pytest.mark.filterwarnings(
    "ignore::SyntaxWarning:cellpylib", "ignore:.*is.*literal:SyntaxWarning"
)

ONE = GymQuestion("lcm", 7_000_000, 0, questions(1, seed=7_000_000, families=["lcm"])[0].text)


def record(question: GymQuestion, strategy: str, answer: str, tokens: int = 100) -> Record:
    right = is_right(question, answer)
    return {
        "family": question.family,
        "id": question.id,
        "seed": question.seed,
        "number": question.number,
        "strategy": strategy,
        "question": question.text,
        "status": "ok" if answer else "failed",
        "answer": answer,
        "right": int(right),
        "signals": {
            "mean": 0.9 if right else 0.4,
            "weakest": 0.5,
            "agreement": None,
            "verifier": None,
        },
        "confidence": 0.9,
        "tokens_in": tokens - 10,
        "tokens_out": 10,
        "tokens": tokens,
        "calls": 1,
        "seconds": 0.1,
        "error": "" if answer else "it said nothing",
        "error_type": "" if answer else "OutputInvalid",
    }


# -- questions -----------------------------------------------------------------------------------


def test_questions_are_the_same_for_the_same_seed_and_others_for_another() -> None:
    first = questions(3, seed=11)

    assert questions(3, seed=11) == first
    assert len({q.id for q in first}) == 3 * len(FAMILIES) == 48
    assert {q.text for q in questions(3, seed=7_000_000)}.isdisjoint({q.text for q in first})
    assert all(q.text for q in first)


def test_more_questions_begin_with_the_same_ones() -> None:
    few, many = questions(2, families=["gcd"]), questions(5, families=["gcd"])

    assert many[:2] == few


def test_the_right_answer_is_right_and_nothing_else_is() -> None:
    for question in questions(2):
        assert is_right(question, right_answer(question)), question.id
        assert not is_right(question, "no idea"), question.id
        assert not is_right(question, ""), question.id


def test_a_part_of_the_score_is_wrong() -> None:
    (question,) = questions(1, families=["prime_factorization"])
    answer = right_answer(question)
    factors = answer.split(" \N{MULTIPLICATION SIGN} ")
    product = 1
    for factor in factors:
        product *= int(factor)

    assert len(factors) > 1
    assert is_right(question, answer)
    assert not is_right(question, str(product))  # which the family gives a part of its score


def test_an_order_has_every_question_once() -> None:
    asked = questions(4)

    row = in_a_row(asked, seed=1)

    assert sorted(q.id for q in row) == sorted(q.id for q in asked)
    assert row != asked
    assert in_a_row(asked, seed=1) == row != in_a_row(asked, seed=2)


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(ConfigError, match="no family called 'telepathy'"):
        questions(1, families=["telepathy"])


# -- prompts and settings ------------------------------------------------------------------------


def test_the_prompts_replace_packaged_ones_and_end_in_what_the_model_was_trained_on() -> None:
    book = PromptBook(prompts_folder())

    endings = {
        "direct": "Answer only.",
        "chain_of_thought": "Think step by step, then write the answer after 'Answer:'.",
        "self_consistency": "Think step by step, then write the answer after 'Answer:'.",
        "tools": 'Use the calculator: reply with JSON {"tool": "calculator", "expression": "..."}.',
    }
    for name, ending in endings.items():
        prompt = book.load(name)
        ((role, text),) = prompt.turns
        assert role == "user"
        assert text == f"$question\n{ending}"


def test_settings_of_the_measuring_model(tmp_path: Path) -> None:
    settings = gym_settings("http://localhost:1/v1", tmp_path, strategies=("direct",))

    assert settings.home == tmp_path
    assert settings.model.name == "http://localhost:1/v1"
    assert settings.reason.tools == ("calculator",)
    assert settings.reason.tool_rounds == 1
    assert settings.reason.strategies == ("direct",)
    assert gym_settings("smollm2", tmp_path, accept_above=0.0).reason.accept_above == 0.0


# -- recording -----------------------------------------------------------------------------------


@pytest.fixture
async def reasoner(tmp_path: Path) -> AsyncIterator[tuple[Reasoner, ScriptedModel]]:
    settings = gym_settings("smollm2", tmp_path / "home", strategies=("direct",))
    made = Reasoner(settings)
    model = ScriptedModel(script=lambda _: right_answer(ONE))
    made._resources = ScriptedResources(settings, model, facts=())
    yield made, model
    await made.aclose()


async def test_a_record_says_what_was_answered_and_whether_it_was_right(
    reasoner: tuple[Reasoner, ScriptedModel],
) -> None:
    it, model = reasoner

    right = await ask(it, ONE, "direct", seed=0)
    model.script = lambda _: "1"
    wrong = await ask(it, ONE, "direct", seed=0)

    assert (right["right"], right["status"], right["answer"]) == (1, "ok", right_answer(ONE))
    assert (wrong["right"], wrong["status"], wrong["answer"]) == (0, "ok", "1")
    assert right["id"] == wrong["id"] == ONE.id
    assert right["tokens"] == right["tokens_in"] + right["tokens_out"] == model.tokens[0]
    assert right["signals"]["mean"] == pytest.approx(0.905, abs=0.001)
    assert model.calls[0].messages[-1].text == f"{ONE.text}\nAnswer only."


async def test_a_run_that_fails_is_a_wrong_answer_with_its_cost(
    reasoner: tuple[Reasoner, ScriptedModel],
) -> None:
    it, model = reasoner
    model.script = lambda _: ""

    failed = await ask(it, ONE, "direct", seed=0)

    assert (failed["right"], failed["status"], failed["answer"]) == (0, "failed", "")
    assert failed["error_type"] == "OutputInvalid"
    assert failed["tokens"] == model.tokens[0] > 0
    assert failed["calls"] == 1


async def test_recording_goes_on_where_it_ended(
    reasoner: tuple[Reasoner, ScriptedModel], tmp_path: Path
) -> None:
    it, model = reasoner
    into = tmp_path / "records.jsonl"
    pairs = [(q, "direct") for q in questions(2, families=["lcm", "gcd"])]

    await record_all(it, pairs[:3], into)
    first = await asyncio.to_thread(into.read_text)
    await record_all(it, pairs, into)

    assert (await asyncio.to_thread(into.read_text)).startswith(first)
    records = await asyncio.to_thread(read_records, [into])
    assert {r["id"] for r in records} == {q.id for q, _ in pairs}
    assert len(model.calls) == 4


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    for text in ("{", '{"id": "x"}', "[1]"):
        (tmp_path / "x.jsonl").write_text(text)
        with pytest.raises(ConfigError, match="cannot be read as records"):
            read_records([tmp_path / "x.jsonl"])
    with pytest.raises(ConfigError):
        read_records([tmp_path / "missing.jsonl"])


# -- tables --------------------------------------------------------------------------------------


def made(per_family: int = 30, tokens: int = 100) -> list[Record]:
    """Records in which each of two families has a strategy that is always right, and three that
    never are.
    """
    good = {"lcm": "tools", "spell_backward": "direct"}
    return [
        record(
            question,
            strategy,
            right_answer(question) if good[question.family] == strategy else "wrong",
            tokens,
        )
        for question in questions(per_family, seed=7_000_000, families=list(good))
        for strategy in ARMS
    ]


def test_shares_by_strategy_and_family() -> None:
    records = made(4)

    overall, families = by_strategy(records), by_family(records)

    assert overall["tools"].right == overall["direct"].right == 0.5
    assert overall["best_of_n"].right == 0.0
    assert overall["tools"].tokens == 100
    assert overall["tools"].questions == 8
    assert families["lcm"]["tools"].right == 1.0
    assert best_of_family(families) == {"lcm": "tools", "spell_backward": "direct"}


def test_of_equally_good_strategies_the_cheaper_one_is_best() -> None:
    answer = right_answer(ONE)
    families = by_family([record(ONE, "tools", answer, 200), record(ONE, "direct", answer, 50)])

    assert best_of_family(families) == {"lcm": "direct"}


def test_a_price_of_tokens_can_outweigh_an_answer() -> None:
    answer = right_answer(ONE)
    families = by_family([record(ONE, "tools", answer, 3000), record(ONE, "direct", "no", 50)])

    assert best_of_family(families) == {"lcm": "tools"}
    assert best_of_family(families, token_price=0.5) == {"lcm": "direct"}


def test_the_command_line_shows_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in made(1)))

    assert main(["table", str(path)]) == 0
    assert "1.00 (100)" in capsys.readouterr().out
    assert main(["table", str(tmp_path / "none")]) == 2
    assert "cannot be read" in capsys.readouterr().err


# -- the selector --------------------------------------------------------------------------------


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "load_embedder", lambda *_: HashingEmbedder())


class HashingEmbedder(HashEmbedder):
    """With what real resources ask of an embedder beside."""

    notices: tuple[str, ...] = ()

    async def aclose(self) -> None:
        """Nothing is open."""


async def taken(home: Path, records: list[Record], seed: int, **settings: Any) -> list[Taken]:
    asked = {
        r["id"]: GymQuestion(r["family"], r["seed"], r["number"], r["question"]) for r in records
    }
    row = in_a_row(list(asked.values()), seed=seed)
    made_for = gym_settings("recorded", home, strategies=ARMS, **settings)
    return [one async for one in select_recorded(made_for, records, row, seed=seed)]


async def test_the_selector_learns_what_each_family_needs(hashed: None, tmp_path: Path) -> None:
    records = await asyncio.to_thread(made, 30)

    it = await taken(tmp_path, records, seed=1, accept_above=0.0)

    assert len(it) == 60
    last = it[40:]
    assert sum(one["right"] for one in last) / len(last) >= 0.8
    assert sum(one["right"] for one in it[:10]) < 10  # it did not know before
    assert all(one["tokens"] == 100 * len(one["tried"]) for one in it)
    assert all(one["strategy"] == one["tried"][-1] for one in it if len(one["tried"]) == 1)


async def test_the_same_seed_takes_the_same_choices(hashed: None, tmp_path: Path) -> None:
    records = await asyncio.to_thread(made, 6)

    first = await taken(tmp_path / "a", records, seed=3)
    again = await taken(tmp_path / "b", records, seed=3)

    assert first == again


async def test_a_run_in_which_everything_fails_is_a_wrong_answer(
    hashed: None, tmp_path: Path
) -> None:
    records = [record(ONE, strategy, "") for strategy in ARMS]

    (one,) = await taken(tmp_path, records, seed=0)

    assert one["right"] == 0
    assert one["strategy"] == ""
    assert set(one["tried"]) == set(ARMS)
    assert one["tokens"] == 500


async def test_a_missing_record_is_named(hashed: None, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no record of lcm-7000000-0 with best_of_n"):
        await taken(tmp_path, [record(ONE, s, "1") for s in ARMS if s != "best_of_n"], seed=0)


def test_the_benchmark_compares_the_selector_with_every_strategy(
    hashed: None, tmp_path: Path
) -> None:
    said: list[str] = []

    report = measure(made(6), 2, said.append)

    overall, per_family = report.tables
    rows = {row[0]: row for row in overall.rows}
    assert rows["always tools"][2] == rows["always direct"][2] == 0.5
    assert rows["a uniform choice"][2] == pytest.approx(0.2)
    assert rows["the best per family in hindsight"][2] == 1.0
    assert 0 < float(rows["selector, first attempt"][2]) < 1
    assert [row[0] for row in per_family.rows] == ["lcm", "spell_backward"]
    assert [goal.limit for goal in report.goals] == pytest.approx([0.1, 0.1])
    assert len(said) == 4


def test_the_benchmark_says_what_it_lacks_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)

    report = run(3, print)

    assert report.tables == ()
    assert VARIABLE in str(report.facts["not measured"])


def test_the_benchmark_reads_the_folder_that_its_variable_names(
    hashed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "".join(json.dumps(one) + "\n" for one in made(2))
    (tmp_path / "all.jsonl").write_text(lines, encoding="utf-8")
    monkeypatch.setenv(VARIABLE, str(tmp_path))

    # The settings, which it loads, refuse names of variables that look like a setting's.
    report = run(1, print)

    assert report.facts["questions"] == 4
    assert len(report.tables) == 2


# -- merging -------------------------------------------------------------------------------------


def test_what_is_no_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no adapter"):
        merge(tmp_path, tmp_path / "into", cache=tmp_path)


def test_a_folder_in_use_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")

    with pytest.raises(ConfigError, match="is not empty"):
        merge(tmp_path, tmp_path, cache=tmp_path)


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "a/b", "/"])
def test_a_part_that_is_none_is_refused(part: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["record", "--model", "m", "--strategy", "s", "--into", "x", "--part", part])

    assert "is not of the form 1/4" in capsys.readouterr().err
