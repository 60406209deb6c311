"""The doctor against servers that misbehave: each quirk is found, and none ends the examination."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reverie.cli import main
from reverie.errors import ModelRejected, ModelUnavailable, ReverieError
from reverie.evals.quirks import Fail, Quirks, QuirkServer
from reverie.models.doctor.examination import Examination, Finding, Patience, Step
from reverie.models.doctor.examine import examine
from reverie.models.profiles import ProfileBook
from reverie.models.wire.endpoint import Endpoint

KEY = "sk-very-secret-key"
PATIENT = Patience()
IMPATIENT = Patience(contact=2, first_reply=5, probe=5, probes=20, speed=2)


async def examined(
    quirks: Quirks, *, quick: bool = True, patience: Patience = PATIENT, **other: Any
) -> Examination:
    with QuirkServer(quirks) as server:
        endpoint = Endpoint(server.address, key=KEY)
        return await examine(endpoint, quick=quick, patience=patience, **other)


def finding(examination: Examination, ability: str) -> Finding:
    (found,) = (f for f in examination.findings if f.ability == ability)
    return found


async def test_a_good_server_has_every_ability() -> None:
    examination = await examined(Quirks())

    lacking = [f.ability for f in examination.findings if f.verdict != "yes"]
    assert lacking == ["parameters", "reasoning"]
    assert examination.profile.model_dump(exclude={"name", "parameters", "refuses"}) == {
        "window": 4096,
        "wire": "chat",
        "tools": "native",
        "parallel_tools": True,
        "strict_tools": True,
        "json_schema": True,
        "schema_patterns": True,
        "json_object": True,
        "schema_with_tools": True,
        "grammar": "structured_outputs",
        "logprobs": True,
        "top_logprobs": 20,
        "prompt_logprobs": True,
        "token_ids": True,
        "usage": "asked",
        "reasoning": "",
        "n": True,
        "seed": True,
        "stop": True,
        "sampling": True,
        "prefill": True,
        "schema_prefill": True,
        "embeddings": True,
        "counter": "vllm",
        "max_tokens_field": "max_tokens",
    }
    assert (examination.server, examination.version) == ("vLLM", "0.99.0")
    assert examination.notices == ()


async def test_every_gap_has_a_remedy_and_no_ability_needs_one() -> None:
    poor = Quirks(
        refuses=("stop", "seed", "n", "response_format", "logprobs", "max_tokens", "temperature"),
        tools="refused",
        grammar="",
        usage="never",
        tells_window=False,
        absent=("/tokenize", "/v1/embeddings"),
        finish="missing",
    )

    examination = await examined(poor)

    for found in examination.findings:
        if found.ability not in ("max_tokens_field", "wire"):
            assert bool(found.remedy) == (found.verdict != "yes"), found


# What the server does, the ability, the verdict, and what the profile says then.
QUIRKS = [
    (Quirks(usage="always"), "usage", "yes", {"usage": "always"}),
    (Quirks(usage="asked", usage_in_last_chunk=True), "usage", "yes", {"usage": "asked"}),
    (Quirks(usage="never"), "usage", "no", {"usage": "never"}),
    (Quirks(refuses=("stream_options",)), "usage", "no", {"usage": "never"}),
    (Quirks(reasoning="reasoning"), "reasoning", "yes", {"reasoning": "reasoning"}),
    (Quirks(reasoning="reasoning_content"), "reasoning", "yes", {"reasoning": "reasoning_content"}),
    (Quirks(reasoning="think"), "reasoning", "yes", {"reasoning": "think"}),
    (Quirks(reasoning="think_end"), "reasoning", "yes", {"reasoning": "think_end"}),
    (Quirks(tools="forced"), "tools", "yes", {"tools": "forced"}),
    (Quirks(tools="text", tool_text="hermes"), "tools", "no", {"tools": "text"}),
    (Quirks(tools="text", tool_text="mistral"), "tools", "no", {"tools": "text"}),
    (Quirks(tools="text", tool_text="json"), "tools", "no", {"tools": "text"}),
    (Quirks(tools="text", tool_text="fenced"), "tools", "no", {"tools": "text"}),
    (Quirks(tools="ignored"), "tools", "no", {"tools": "text"}),
    (Quirks(tools="refused"), "tools", "no", {"tools": "none"}),
    (Quirks(parallel_tools=False), "parallel_tools", "no", {"parallel_tools": False}),
    (Quirks(schema_with_tools="refused"), "schema_with_tools", "no", {"schema_with_tools": False}),
    (Quirks(schema_with_tools="schema"), "schema_with_tools", "no", {"schema_with_tools": False}),
    (Quirks(schema_with_tools="tools"), "schema_with_tools", "no", {"schema_with_tools": False}),
    (Quirks(invalid_json=-1, invalid_form="cut"), "json_schema", "no", {"json_schema": False}),
    (Quirks(invalid_json=-1, invalid_form="prose"), "json_schema", "no", {"json_schema": False}),
    (Quirks(invalid_json=-1, invalid_form="fenced"), "json_schema", "no", {"json_schema": False}),
    (Quirks(invalid_json=-1, invalid_form="other"), "json_schema", "no", {"json_schema": False}),
    (Quirks(invalid_json=-1, invalid_form="prose"), "json_object", "no", {"json_object": False}),
    (Quirks(ignores=("response_format",)), "json_schema", "no", {"json_schema": False}),
    (Quirks(ignores=("response_format",)), "json_object", "no", {"json_object": False}),
    (Quirks(refuses=("response_format.json_schema",)), "json_schema", "no", {"json_object": True}),
    (Quirks(refuses=("response_format.json_object",)), "json_object", "no", {"json_schema": True}),
    (Quirks(obeys_patterns=False), "schema_patterns", "no", {"json_schema": True}),
    (Quirks(grammar=""), "grammar", "no", {"grammar": ""}),
    (Quirks(grammar="gbnf"), "grammar", "yes", {"grammar": "gbnf"}),
    (Quirks(grammar="ebnf"), "grammar", "yes", {"grammar": "ebnf"}),
    (Quirks(counter="llamacpp"), "counter", "yes", {"counter": "llamacpp"}),
    (Quirks(absent=("/tokenize",)), "counter", "no", {"counter": ""}),
    (Quirks(absent=("/v1/embeddings",)), "embeddings", "no", {"embeddings": False}),
    (Quirks(embeddings_base64=True), "embeddings", "yes", {"embeddings": True}),
    (Quirks(embeddings_lost=1), "embeddings", "no", {"embeddings": False}),
    (Quirks(ignores=("stop",)), "stop", "no", {"stop": False}),
    (Quirks(refuses=("stop",)), "stop", "no", {"stop": False}),
    (Quirks(ignores=("seed",)), "seed", "no", {"seed": False}),
    (Quirks(refuses=("seed",)), "seed", "no", {"seed": False}),
    (Quirks(reply="always the very same words"), "seed", "unknown", {"seed": False}),
    (Quirks(ignores=("n",)), "n", "no", {"n": False}),
    (Quirks(refuses=("n",)), "n", "no", {"n": False}),
    (Quirks(ignores=("logprobs", "top_logprobs")), "logprobs", "no", {"logprobs": False}),
    (Quirks(refuses=("logprobs",)), "logprobs", "no", {"logprobs": False}),
    (Quirks(most_logprobs=5), "logprobs", "yes", {"logprobs": True, "top_logprobs": 5}),
    (Quirks(ignores=("prompt_logprobs",)), "prompt_logprobs", "no", {"prompt_logprobs": False}),
    (Quirks(refuses=("prompt_logprobs",)), "prompt_logprobs", "no", {"prompt_logprobs": False}),
    (Quirks(ignores=("return_token_ids",)), "token_ids", "no", {"token_ids": False}),
    (Quirks(refuses=("return_token_ids",)), "token_ids", "no", {"token_ids": False}),
    (
        Quirks(ignores=("continue_final_message", "add_generation_prompt")),
        "prefill",
        "no",
        {"prefill": False, "schema_prefill": False},
    ),
    (Quirks(refuses=("continue_final_message",)), "prefill", "no", {"prefill": False}),
    (Quirks(refuses=("temperature",)), "sampling", "no", {"sampling": False, "seed": True}),
    (
        Quirks(refuses=("max_tokens",)),
        "max_tokens_field",
        "yes",
        {"max_tokens_field": "max_completion_tokens"},
    ),
    (Quirks(ignores=("max_tokens",), words=200), "max_tokens_field", "no", {}),
    (Quirks(finish="missing"), "cut", "no", {}),
    (Quirks(finish="eos"), "cut", "no", {}),
    (Quirks(words=1), "cut", "unknown", {}),
    (Quirks(wires=("responses",)), "wire", "yes", {"wire": "responses", "seed": False}),
    (Quirks(wires=("chat",)), "wire", "yes", {"wire": "chat"}),
    (Quirks(models=("toy-1.5B",)), "parameters", "yes", {"parameters": 1_500_000_000}),
    (Quirks(window=700), "window", "yes", {"window": 700}),
    *(
        (Quirks(tells_window=False, window=700, overflow=whose), "window", "yes", {"window": 700})
        for whose in ("vllm", "openai", "llamacpp", "sglang", "cut")
    ),
]


@pytest.mark.parametrize(
    ("quirks", "ability", "verdict", "fields"),
    QUIRKS,
    ids=[f"{ability}-{number}" for number, (_, ability, *_) in enumerate(QUIRKS)],
)
async def test_each_quirk_is_found(
    quirks: Quirks, ability: str, verdict: str, fields: dict[str, Any]
) -> None:
    examination = await examined(quirks)

    assert finding(examination, ability).verdict == verdict, finding(examination, ability)
    profile = examination.profile.model_dump()
    assert {name: profile[name] for name in fields} == fields


@pytest.mark.parametrize(
    ("quirks", "words"),
    [
        (Quirks(tool_arguments="double"), "JSON within JSON"),
        (Quirks(tool_arguments="object"), "not a string"),
        (Quirks(tool_arguments="broken"), "no JSON"),
    ],
)
async def test_arguments_of_another_form_are_told(quirks: Quirks, words: str) -> None:
    assert words in finding(await examined(quirks), "tools").evidence


async def test_a_model_that_speaks_responses_is_examined_there() -> None:
    examination = await examined(Quirks(wires=("responses",), least_output_tokens=16), quick=False)

    profile = examination.profile
    assert profile.max_tokens_field == "max_output_tokens"
    assert (profile.json_schema, profile.tools, profile.usage) == (True, "native", "always")
    assert (profile.logprobs, profile.schema_with_tools) == (True, True)
    assert [speed.concurrent for speed in examination.speeds] == [1, 4, 8]


@pytest.mark.parametrize(
    "quirks",
    [
        Quirks(empty_choices=True),
        Quirks(refusal="I cannot help with that."),
        Quirks(reply=""),
    ],
)
async def test_an_empty_reply_says_nothing_of_abilities(quirks: Quirks) -> None:
    examination = await examined(quirks)

    for ability in ("seed", "stop", "prefill", "json_schema", "json_object", "grammar", "logprobs"):
        assert finding(examination, ability).verdict == "unknown"
        assert not getattr(examination.profile, ability)
    assert "the first reply was empty" in examination.notices


@pytest.mark.parametrize(
    "quirks",
    [
        Quirks(empty_chunks=True, comments=True, crlf=True, done=False),
        Quirks(space_after_data=False, tool_ids=False, tool_index=False),
        Quirks(gzip=True),
        Quirks(tells_length=False, chunked=False),
        Quirks(keep_alive="dropped"),
        Quirks(write_bytes=50, write_seconds=0),
        Quirks(split_characters=True, write_seconds=0),
        Quirks(content_type="text/plain"),
        Quirks(token_seconds=0.002, first_byte_seconds=0.01),
        Quirks(key=KEY),
    ],
)
async def test_how_bytes_come_makes_no_difference(quirks: Quirks) -> None:
    examination = await examined(quirks, quick=False)

    lacking = [f.ability for f in examination.findings if f.verdict != "yes"]
    assert lacking == ["parameters", "reasoning"]
    assert [speed.concurrent for speed in examination.speeds] == [1, 4, 8]


# -- servers that cannot be used ------------------------------------------------------------


@pytest.mark.parametrize(
    ("quirks", "error", "words"),
    [
        (Quirks(key="sk-another"), ModelRejected, "does not accept the key"),
        (Quirks(html=200), ModelUnavailable, "web page"),
        (Quirks(html=404), ModelRejected, "404"),
        (Quirks(hang=True), ModelUnavailable, "did not finish|sent nothing"),
        (Quirks(models=()), ModelUnavailable, "serves no model"),
        (Quirks(fail=Fail(reset=True)), ModelUnavailable, "broke"),
        (Quirks(fail=Fail(status=503, message="loading")), ModelUnavailable, "loading"),
        (Quirks(fail=Fail(event="error", message="engine died")), ReverieError, "engine died"),
        (Quirks(huge_bytes=50 << 20), ModelUnavailable, "more than 32 MiB"),
    ],
)
async def test_a_server_that_cannot_be_used_is_an_error(
    quirks: Quirks, error: type[ReverieError], words: str
) -> None:
    began = time.monotonic()

    with pytest.raises(error, match=words) as caught:
        await examined(quirks, patience=IMPATIENT)

    assert "127.0.0.1" in caught.value.message
    assert KEY not in str(caught.value)
    assert time.monotonic() - began < 30


async def test_a_model_that_only_embeds_is_told_what_it_is_for() -> None:
    chats = ("/v1/chat/completions", "/v1/responses")
    with QuirkServer(Quirks(absent=chats)) as server, pytest.raises(ModelRejected) as caught:
        await examine(Endpoint(server.address), patience=IMPATIENT)

    assert f"embedder.name, {server.address}#toy" in caught.value.hint


async def test_a_model_that_is_not_there_is_told_which_are() -> None:
    with pytest.raises(ModelRejected) as caught:
        await examined(Quirks(models=("toy", "other")), model="nope")

    assert caught.value.hint == "name one that it has with --model: toy, other"


@pytest.mark.parametrize("answered", [2, 4])
async def test_a_key_that_a_server_repeats_is_told_nowhere(answered: int) -> None:
    """It repeats the key when it refuses the first reply, or the probes after it."""
    with QuirkServer(Quirks(key=KEY)) as server:
        server.script(*[None] * answered, *[Fail(status=400, echo=True)] * 60)
        endpoint = Endpoint(server.address, key=KEY)
        try:
            examination = await examine(endpoint, quick=True, patience=PATIENT)
            told = examination.model_dump_json()
        except ReverieError as error:
            told = f"{error!r} {error} {error.__cause__!r}"

    assert "hidden" in told
    assert KEY not in told


async def test_a_failure_in_passing_is_asked_again() -> None:
    with QuirkServer(Quirks()) as server:
        server.script(Fail(status=503), None, None, Fail(status=500))
        examination = await examine(Endpoint(server.address), quick=True, patience=PATIENT)

    assert finding(examination, "json_schema").verdict == "yes"


async def test_a_server_that_goes_away_is_an_error_and_no_inability() -> None:
    with QuirkServer(Quirks()) as server:

        def leave(step: Step) -> None:
            if step.done == 6:
                server.quirks = Quirks(fail=Fail(reset=True))

        with pytest.raises(ModelUnavailable, match="broke"):
            await examine(Endpoint(server.address, retries=0), patience=IMPATIENT, progress=leave)


async def test_probes_that_take_too_long_leave_it_unknown() -> None:
    with QuirkServer(Quirks()) as server:

        def slow_down(step: Step) -> None:
            if "stop strings" in step.titles:
                server.quirks = Quirks(first_byte_seconds=1.0)

        patience = Patience(contact=5, first_reply=5, probe=0.5, probes=1, speed=1)
        began = time.monotonic()
        examination = await examine(
            Endpoint(server.address), quick=True, patience=patience, progress=slow_down
        )

    assert finding(examination, "stop").verdict == "unknown"
    assert finding(examination, "json_schema").evidence == "there was no time left for it"
    assert not examination.profile.json_schema
    assert time.monotonic() - began < 30


# -- speed ---------------------------------------------------------------------------------


async def test_speed_is_what_the_server_makes_of_it() -> None:
    """The toy model says twelve words in .24 s, .1 s after it was asked: never faster than that."""
    examination = await examined(Quirks(token_seconds=0.02, first_byte_seconds=0.1), quick=False)

    assert [speed.concurrent for speed in examination.speeds] == [1, 4, 8]
    for speed in examination.speeds:
        assert 0.1 < speed.first_token_seconds < 2
        ideal = speed.concurrent * 12 / (0.1 + 12 * 0.02)
        assert 0.1 * ideal < speed.tokens_per_second < 1.1 * ideal


async def test_a_slow_server_is_measured_less() -> None:
    slow = Quirks(token_seconds=0.3)
    with QuirkServer(Quirks()) as server:

        def slow_down(step: Step) -> None:
            if "speed" in step.titles:
                server.quirks = slow

        began = time.monotonic()
        examination = await examine(
            Endpoint(server.address), patience=IMPATIENT, progress=slow_down
        )

    assert 1 <= len(examination.speeds) < 3
    assert time.monotonic() - began < 30


async def test_the_costs_are_counted() -> None:
    with QuirkServer(Quirks()) as server:
        examination = await examine(Endpoint(server.address), patience=PATIENT)
        asked = len(server.requests)

    assert examination.costs.requests == asked
    assert 500 < examination.costs.prompt_tokens < 3000
    assert 300 < examination.costs.completion_tokens < 2000


async def test_progress_tells_every_step() -> None:
    steps: list[Step] = []

    await examined(Quirks(), quick=False, progress=steps.append)

    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert (steps[-1].done, steps[-1].titles) == (steps[-1].total, ())
    seen = {title for step in steps for title in step.titles}
    assert {"models", "first reply", "seed", "JSON schema", "speed"} <= seen


# -- the command ----------------------------------------------------------------------------

Doctor = Callable[..., tuple[int, str, str]]


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str]) -> Doctor:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["doctor", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_the_command_stores_what_it_finds(doctor: Doctor, tmp_path: Path) -> None:
    with QuirkServer(Quirks(ignores=("n",), window=2048)) as server:
        code, out, err = doctor(server.address, "--quick")
        assert (code, err) == (0, "")
        stored = ProfileBook.under(tmp_path / "home").find(server.address, "toy")

    assert stored is not None
    assert (stored.source, stored.server, stored.version) == ("doctor", "vLLM", "0.99.0")
    assert (stored.profile.window, stored.profile.n) == (2048, False)
    assert out.startswith(f"toy by vLLM 0.99.0 at {server.address}\n")
    assert "Each reply is a request of its own." in out
    assert str(tmp_path / "home" / "profiles") in out


def test_tokens_that_nobody_counts_are_not_called_none(doctor: Doctor) -> None:
    with QuirkServer(Quirks(usage="never")) as server:
        _, out, _ = doctor(server.address, "--quick")

    assert "requests, tokens that the server does not count, " in out


def test_the_command_as_json_stores_nothing_when_told(doctor: Doctor, tmp_path: Path) -> None:
    with QuirkServer(Quirks()) as server:
        code, out, err = doctor(server.address, "--json", "--no-save")

    document = json.loads(out)
    assert (code, err) == (0, "")
    assert document["file"] is None
    assert document["profile"]["window"] == 4096
    assert [speed["concurrent"] for speed in document["speeds"]] == [1, 4, 8]
    assert not (tmp_path / "home" / "profiles").exists()


def test_the_command_says_which_server_is_not_there(doctor: Doctor) -> None:
    with QuirkServer(Quirks()) as server:
        address = server.address

    code, out, err = doctor(address)

    assert (code, out) == (1, "")
    assert err.startswith(f"error: no server answers at {address}: connection refused\nhint: ")


def test_a_key_for_another_server_stays_here(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("model: {name: 'http://10.0.0.1:8000/v1', api_key: sk-for-another}")
    with QuirkServer(Quirks()) as server:
        code, _, _ = doctor(server.address, "--quick", "--config", str(config))
        sent = "".join(str(request) for request in server.requests)

    assert code == 0
    assert "sk-for-another" not in sent


def test_the_configured_server_gets_its_key(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with QuirkServer(Quirks(key=KEY)) as server:
        monkeypatch.setenv("REVERIE_MODEL_NAME", server.address)
        monkeypatch.setenv("REVERIE_MODEL_API_KEY", KEY)
        code, out, _ = doctor("--quick")

    assert code == 0
    assert KEY not in out
