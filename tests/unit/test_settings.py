"""Settings: precedence, origins, and what every mistake says."""

from __future__ import annotations

import contextlib
import math
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from reverie.errors import ConfigError
from reverie.graphs.records import EXPERTS
from reverie.settings import BudgetSettings, Loaded, Option, Settings, load_settings
from reverie.settings.credentials import server_of
from reverie.settings.keys import fields, variable, variables
from reverie.settings.schema import default_home
from reverie.settings.values import PRESETS, ExpertName


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(
    text: str | bytes | None = None,
    overrides: Mapping[str, object] | None = None,
    **env: str,
) -> Loaded:
    """Load with a file of this content, and with these variables only."""
    file = None
    if text is not None:
        file = Path("given.yaml")
        file.write_bytes(text.encode() if isinstance(text, str) else text)
    home = str(Path("no-home").absolute())
    return load_settings(file, overrides, {"REVERIE_HOME": home, **env})


def refused(text: str | bytes | None = None, **kwargs: object) -> ConfigError:
    """The error of loading this."""
    with pytest.raises(ConfigError) as caught:
        load(text, **kwargs)  # type: ignore[arg-type]
    return caught.value


# ------------------------------------------------------------------------------------- precedence


def test_without_anything_the_defaults_hold() -> None:
    loaded = load_settings(env={})

    assert loaded.settings == Settings()
    assert loaded.file is None
    assert set(loaded.origins) == set(fields())
    assert set(loaded.origins.values()) == {"default"}


def test_the_command_line_beats_the_environment_beats_the_file() -> None:
    text = "budget:\n  tokens: 1\n  calls: 2\n  seconds: 3\n"
    overrides = {"budget.tokens": Option(100, "--budget")}

    loaded = load(text, overrides, REVERIE_BUDGET_TOKENS="10", REVERIE_BUDGET_CALLS="20")

    assert loaded.settings.budget == BudgetSettings(tokens=100, calls=20, seconds=3)
    assert loaded.origins["budget.tokens"] == "--budget"
    assert loaded.origins["budget.calls"] == "REVERIE_BUDGET_CALLS"
    assert loaded.origins["budget.seconds"] == "file given.yaml line 4"
    assert loaded.origins["dream.branches"] == "default"


def test_an_option_that_was_not_given_changes_nothing() -> None:
    loaded = load(None, {"model": Option(None, "--model")})

    assert loaded.origins["model.name"] == "default"


def test_a_value_given_in_a_call_is_an_argument() -> None:
    assert load(None, {"budget.calls": 3}).origins["budget.calls"] == "argument"


@pytest.mark.parametrize("section", ["model: other", "model: {name: other}"])
def test_a_bare_value_for_a_section_stands_for_its_main_key(section: str) -> None:
    loaded = load(section)

    assert loaded.settings.model.name == "other"
    assert loaded.origins["model.name"] == "file given.yaml line 1"


def test_a_sections_own_variable_works_beside_those_of_its_keys() -> None:
    loaded = load(None, None, REVERIE_MODEL="other", REVERIE_MODEL_THREADS="2")

    assert (loaded.settings.model.name, loaded.settings.model.threads) == ("other", 2)
    assert loaded.origins["model.name"] == "REVERIE_MODEL"
    assert loaded.origins["model.threads"] == "REVERIE_MODEL_THREADS"


def test_variables_read_lists_null_and_keys_with_underscores() -> None:
    settings = load(
        None,
        None,
        REVERIE_DREAM_EXPERTS="causal, spatial",
        REVERIE_REASON_SEED="null",
        REVERIE_DREAM_MAX_TOKENS="64",
        REVERIE_BUDGET='{"calls": 5}',
    ).settings

    assert settings.dream.experts == ("causal", "spatial")
    assert settings.reason.seed is None
    assert settings.dream.max_tokens == 64
    assert settings.budget.calls == 5


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load(None, None, REVERIE_BUDGET_TOKENS="").settings.budget.tokens == 8000


def test_every_key_can_be_set_by_its_variable() -> None:
    special = {"model.dtype": "float32", "dream.experts": "causal", "model.window": "64"}
    special |= {"dream.max_tokens": "64", "embedder.window": "64", "vllm.window": "64"}
    for section in ("model", "embedder"):
        special[f"{section}.headers"] = '{"X-Team": "blue"}'
        special[f"{section}.proxy"] = "http://proxy:3128"
    special |= {"vllm.dtype": "float16", "reason.consensus": "vote", "reason.ask_before": "tool"}
    special |= {"reason.answer_tokens": "8", "reason.thought_tokens": "8", "learn.memory": "10"}
    special |= {"reason.samples": "2", "reason.best_of": "2", "reason.agents": "2"}
    special |= {"runs.durability": "exit", "model.device": "cuda"}
    special |= {"neo4j.uri": "bolt://db:7687", "chroma.url": "http://db:8000"}
    special |= {"chroma.headers": '{"X-Team": "blue"}', "ingest.extract": "nothing"}
    special |= {"ingest.chunk_tokens": "16"}

    for key in fields():
        loaded = load(None, None, **{variable(key): special.get(key, "1")})
        assert loaded.origins[key] == variable(key)


def test_headers_come_as_json_from_a_variable_and_as_a_mapping_from_a_file() -> None:
    given = load(None, None, REVERIE_MODEL_HEADERS='{"X-Team": "blue", "X-Key": "hush"}').settings
    written = load("model: {headers: {X-Team: blue, X-Key: hush}}").settings

    headers = {k: v.get_secret_value() for k, v in given.model.headers.items()}
    assert headers == {"X-Team": "blue", "X-Key": "hush"}
    assert written.model.headers == given.model.headers


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("smollm2", ["smollm2"]),
        ("http://a/v1, ollama:qwen3 ,smollm2", ["http://a/v1", "ollama:qwen3", "smollm2"]),
        ('["http://a/v1", "smollm2"]', ["http://a/v1", "smollm2"]),
        ('[{"name": "http://a/v1", "api_key": "hush"}, "smollm2"]', ["http://a/v1", "smollm2"]),
        ("none", []),
        ("[]", []),
    ],
)
def test_backends_come_as_names_or_as_json(text: str, names: list[str]) -> None:
    settings = load(None, None, REVERIE_BACKENDS=text).settings

    assert [backend.name for backend in settings.backends] == names
    assert ("hush" in text) == any(b.api_key is not None for b in settings.backends)
    assert "hush" not in repr(settings) + settings.model_dump_json()


def test_backends_in_a_file_are_names_or_mappings() -> None:
    text = "backends:\n- smollm2\n- {name: 'http://a/v1', api_key: k, window: 512}\n"

    loaded = load(text)

    first, second = loaded.settings.backends
    assert (first.name, first.api_key) == ("smollm2", None)
    assert (second.name, second.window) == ("http://a/v1", 512)
    assert loaded.origins["backends"] == "file given.yaml line 1"
    assert load("backends: smollm2").settings.backends[0].name == "smollm2"
    assert load("backends: null").settings.backends == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("true", True), ("false", False), ("1", True), ("0", False), ("False", False)],
)
def test_a_switch_is_read_from_a_variable(text: str, expected: bool) -> None:
    loaded = load(None, None, REVERIE_RUNTIME_ENABLE_GPT51_CODEX_PREVIEW=text)

    assert loaded.settings.runtime.enable_gpt51_codex_preview is expected


@pytest.mark.parametrize(
    "name",
    [
        "smollm2",
        "/models/mine",
        "http://127.0.0.1:8000/v1",
        "https://host/v1#org/model",
        "ollama:qwen3:4b",
        *PRESETS,
    ],
)
def test_every_form_of_a_models_name_is_taken(name: str) -> None:
    assert load(None, {"model": name}).settings.model.name == name


# ---------------------------------------------------------------------------- whose a key is


A, B = "http://a:8000/v1", "http://b:8000/v1"


def key_of(loaded: Loaded) -> str | None:
    key = loaded.settings.model.api_key
    return key.get_secret_value() if key else None


def test_a_key_for_one_server_is_not_sent_to_another_that_an_option_names() -> None:
    text = f"model: {{name: '{A}', api_key: hush, headers: {{X-Key: hush}}}}"

    loaded = load(text, {"model.name": Option(B, "--model")})

    assert key_of(loaded) is None
    assert loaded.settings.model.headers == {}
    assert loaded.origins["model.api_key"].endswith("line 1, left out: it is for http://a:8000")
    assert key_of(load(text)) == "hush"


@pytest.mark.parametrize(
    ("file", "env", "option", "sent"),
    [
        # name and key in the same place, or the key in one that wins: it is that name's
        (f"model: {{name: '{A}', api_key: hush}}", {}, None, True),
        (f"model: '{A}'", {"REVERIE_MODEL_API_KEY": "hush"}, None, True),
        (None, {"REVERIE_MODEL": A, "REVERIE_MODEL_API_KEY": "hush"}, None, True),
        # another model, path or spelling of the same server
        (f"model: {{name: '{A}', api_key: hush}}", {}, f"{A}#other", True),
        (f"model: {{name: '{A}', api_key: hush}}", {}, "http://A:8000", True),
        ("model: {name: 'https://h/v1', api_key: hush}", {}, "https://h:443/v1", True),
        ("model: {name: 'openai:x', api_key: hush}", {}, "openai:y", True),
        # another server, port, scheme or preset
        (f"model: {{name: '{A}', api_key: hush}}", {"REVERIE_MODEL": B}, None, False),
        (f"model: '{A}'", {"REVERIE_MODEL_API_KEY": "hush"}, B, False),
        (f"model: {{name: '{A}', api_key: hush}}", {}, "http://a:8001/v1", False),
        (f"model: {{name: '{A}', api_key: hush}}", {}, "https://a:8000/v1", False),
        ("model: {name: 'openai:x', api_key: hush}", {}, "ollama:x", False),
        (f"model: {{name: '{A}', api_key: hush}}", {}, "smollm2", False),
        # a key without a server belongs to whichever is named
        (None, {"REVERIE_MODEL_API_KEY": "hush"}, B, True),
        ("model: {name: smollm2, api_key: hush}", {}, B, True),
        ("model: {api_key: hush}", {"REVERIE_MODEL": B}, None, True),
    ],
)
def test_whose_a_key_is(
    file: str | None, env: dict[str, str], option: str | None, sent: bool
) -> None:
    loaded = load(file, {"model.name": Option(option, "--model")}, **env)

    assert key_of(loaded) == ("hush" if sent else None)


def test_a_preview_key_stays_with_its_server() -> None:
    text = "preview: {api_key: hush}"

    assert load(text).settings.preview.api_key is not None
    assert load(text, None, REVERIE_PREVIEW_NAME=B).settings.preview.api_key is None
    both = load(None, None, REVERIE_PREVIEW_NAME=B, REVERIE_PREVIEW_API_KEY="hush")
    assert both.settings.preview.api_key is not None


def test_a_key_of_openai_in_the_environment_is_nobodys() -> None:
    settings = load(None, None, OPENAI_API_KEY="hush").settings

    assert settings.model.api_key is settings.preview.api_key is settings.embedder.api_key is None


@hypothesis_settings(deadline=None)
@given(st.text(max_size=40) | st.from_regex(r"https?://[^/]{0,20}(:[0-9]{0,6})?(/.*)?"))
def test_any_name_has_a_server_or_none(name: str) -> None:
    assert isinstance(server_of(name), str)


# ------------------------------------------------------------------------------------ which file


def test_the_file_is_the_first_of_option_variable_folder_and_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    env = {"REVERIE_HOME": str(home)}
    named = {**env, "REVERIE_CONFIG": "named.yaml"}
    assert load_settings(env=env).file is None

    Path(home, "config.yaml").write_text("budget: 1")
    assert load_settings(env=env).settings.budget.tokens == 1
    Path("reverie.yaml").write_text("budget: 2")
    assert load_settings(env=env).settings.budget.tokens == 2
    Path("named.yaml").write_text("budget: 3")
    assert load_settings(env=named).settings.budget.tokens == 3
    Path("option.yaml").write_text("budget: 4")
    assert load_settings(Path("option.yaml"), env=named).settings.budget.tokens == 4


def test_the_file_in_a_home_given_by_option_is_found(tmp_path: Path) -> None:
    Path(tmp_path, "config.yaml").write_text("budget: 5")

    assert load_settings(overrides={"home": str(tmp_path)}, env={}).settings.budget.tokens == 5


def test_a_file_named_by_variable_must_exist() -> None:
    error = refused(REVERIE_CONFIG="nowhere.yaml")

    assert "nowhere.yaml (REVERIE_CONFIG) does not exist" in error.message


def test_a_file_named_by_option_must_exist() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml does not exist"):
        load_settings(Path("nowhere.yaml"), env={})


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder"):
        load_settings(tmp_path, env={})


def test_a_dangling_link_is_an_error_rather_than_silence() -> None:
    Path("reverie.yaml").symlink_to("nowhere.yaml")

    with pytest.raises(ConfigError, match=r"reverie\.yaml does not exist"):
        load_settings(env={})


# ---------------------------------------------------------------------------------- broken files


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "budget: [1,\n  }",
            "given.yaml line 2 column 3: expected the node content, but found '}'",
        ),
        ("model: a\nmodel: b", "given.yaml line 2 column 1: the key 'model' is given twice"),
        ("budget:\n  calls: 1\n  calls: 2", "line 3 column 3: the key 'calls' is given twice"),
        ("- a\n- b", "must be a mapping of keys, not a list"),
        ("only text", "must be a mapping of keys, not a str"),
        ("model: x\n---\nmodel: y", "line 2 column 1: but found another document"),
        ("model: !!python/name:os.system", "could not determine a constructor"),
        ("x: 2020-13-45", "month must be in 1..12"),
        ("? [a]\n: 2", "found unhashable key"),
        ("model: \x07", "line 1: the character U+0007 is not allowed"),
        (b"\xff\xfe\x00binary", "not UTF-8 text (byte 1)"),
        ("[" * 5000, "nested too deeply"),
        ("#" * 1_000_001, "larger than 1,000,000 bytes"),
    ],
)
def test_a_broken_file_is_named_with_the_place(text: str | bytes, says: str) -> None:
    error = refused(text)

    assert "given.yaml" in error.message
    assert says in error.message
    assert error.hint


@pytest.mark.parametrize("text", ["", "# only a comment\n", "model:\n", "---\n", "\ufeffmodel: x"])
def test_an_empty_file_or_section_and_a_byte_order_mark_are_fine(text: str) -> None:
    load(text)


def test_merged_keys_of_yaml_work() -> None:
    text = "budget: &b {calls: 7}\ndream: {branches: 2}\n"

    assert load(text).settings.budget.calls == 7


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200))
def test_no_file_whatever_raises_anything_but_a_config_error(content: str | bytes) -> None:
    raw = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content

    with contextlib.suppress(ConfigError):
        load(raw)


# --------------------------------------------------------------------------------- unknown keys


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "budget:\n  toknes: 3",
            "unknown key budget.toknes (file given.yaml line 2): did you mean budget.tokens?",
        ),
        ("modle: x", "unknown key modle (file given.yaml line 1): did you mean model?"),
        ("temperature: 1", "did you mean reason.temperature?"),
        ("dream: {budget: 1}", "unknown key dream.budget"),
        ("budgets:\n  tokens: 1", "did you mean budget.tokens?"),
        ("1: 2", "unknown key 1 "),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(text: str, says: str) -> None:
    assert says in refused(text).message


def test_an_unknown_key_of_a_call_is_named_too() -> None:
    error = refused(overrides={"dream.branchs": Option(3, "--branches")})

    assert error.message == "unknown key dream.branchs (--branches): did you mean dream.branches?"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("REVERIE_BUDGET_TOKEN", "REVERIE_BUDGET_TOKENS"),
        ("REVERIE_TEMPERATURE", "REVERIE_REASON_TEMPERATURE"),
        ("REVERIE_CONFIGS", "REVERIE_CONFIG"),
        ("reverie_modle", "REVERIE_MODEL"),
    ],
)
def test_an_unknown_variable_names_the_nearest_known_one(name: str, meant: str) -> None:
    error = refused(**{name: "1"})

    assert error.message == f"unknown environment variable {name.upper()}: did you mean {meant}?"


def test_variables_of_other_programs_are_none_of_ours() -> None:
    load(None, None, REVERIES="1", PATH="/bin", _REVERIE_COMPLETE="bash_source")


# -------------------------------------------------------------------------------- invalid values


@pytest.mark.parametrize("key", ["tokens", "seconds", "calls"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, True, "many", [1], None, 10**30])
def test_a_budget_is_a_positive_finite_number(key: str, value: object) -> None:
    error = refused(overrides={f"budget.{key}": value})

    assert error.message.startswith(f"budget.{key} = ")
    assert "(argument) must" in error.message
    assert "default:" in error.hint


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("budget.tokens", "-5", "budget.tokens = -5 (argument) must be greater than 0"),
        ("budget.tokens", 1.5, "must be a whole number"),
        ("dream.branches", 65, "must be less than or equal to 64"),
        ("trace.redact", "[", "holds no valid regular expression"),
        ("reason.ask_before", "always", "must be 'tool' or 'abstain'"),
        ("dream.experts", "", "must not be empty"),
        ("dream.experts", [], "must not be empty"),
        ("dream.experts", "causal,causal", "must not name anything twice"),
        ("dream.experts", "cosmic", "must be 'spatial', 'temporal', 'causal' or 'abstract'"),
        ("reason.strategies", 3, "must be a list"),
        ("reason.strategies", ["direct", ""], "must not be empty"),
        ("reason.seed", -1, "must be greater than or equal to 0"),
        ("dream.abstain_below", 1.1, "must be less than or equal to 1"),
        ("dream.seconds", 0, "must be greater than 0"),
        ("model.dtype", "int3", "must be 'auto', 'bfloat16' or 'float32'"),
        ("model.name", "", "must not be empty"),
        ("model.name", 7.5, "must be text"),
        ("model.name", "a\nb", "must not hold control characters"),
        ("model.name", "ftp://host/", "must be the address of a server"),
        ("model.name", "http://", "must be the address of a server"),
        ("model.name", "http://host:99999/", "is not a valid address"),
        ("model.name", "http://[::1/", "is not a valid address"),
        ("model.name", "http://h/v1?key=hush", "?… (argument) must not hold a query"),
        ("model.proxy", "proxy.example", "must be an address, as in http://proxy.example:3128"),
        ("model.headers", "X-Team: blue", "must be a mapping of names to values"),
        ("model.headers", {"X Team": "blue"}, "must have names of letters"),
        ("model.headers", {"X-Team": "blue\nX-Other: y"}, "X-Team holds others"),
        ("model.headers", {"X-Team": 3}, "must be text"),
        ("model.api_key", "two words", "must hold printable ASCII characters only"),
        ("runtime.enable_gpt51_codex_preview", "maybe", "must be true or false"),
        ("runtime.enable_gpt51_codex_preview", None, "must be true or false"),
        ("server.failures", 0, "must be greater than or equal to 1"),
        ("backends", 3, "must be a list"),
        ("backends", {"name": "x"}, "must be a list"),
        ("backends", ["http://"], "backends[0].name = http:// (argument) must be the address"),
        ("backends", ["a", {"name": ""}], "backends[1].name = '' (argument) must not be empty"),
        ("backends", [{"nmae": "x"}], "backends[0].nmae = … (argument) is no key of a backend"),
        ("backends", [[1]], "must be a mapping"),
        ("model.cache", "", "must not be empty"),
        ("home", "", "must not be empty"),
        ("home", "~no-such-user-here/x", "has a ~ that names no known user"),
        ("dream", 4, "must be a mapping with the keys branches"),
        ("budget", [1], "= a list (argument) must be a mapping with the keys tokens"),
    ],
)
def test_an_invalid_value_names_key_value_origin_and_rule(
    key: str, value: object, says: str
) -> None:
    error = refused(overrides={key: value})

    assert error.message.startswith(key)
    assert "(argument)" in error.message
    assert says in error.message


def test_everything_that_is_wrong_is_said_at_once() -> None:
    error = refused("budget:\n  tokens: -1\nmodle: x", REVERIE_DREAM_BRANCHES="0")

    assert error.message.startswith("3 settings are wrong: ")
    assert "budget.tokens = -1 (file given.yaml line 2)" in error.message
    assert "unknown key modle" in error.message
    assert "dream.branches = 0 (REVERIE_DREAM_BRANCHES)" in error.message


def test_a_long_or_multi_line_value_stays_short_and_on_one_line() -> None:
    error = refused(overrides={"reason.strategy": "x\n" * 500})

    assert len(error.message) < 200
    assert error.message.isprintable()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.api_key", "hush\x01"),
        ("model.api_key", ["hush"]),
        ("model", [{"api_key": "hush"}]),
        ("model.name", "http://me:hush@h"),
        ("model.name", "me:hush@h://x"),
        ("model.name", "http://h?key=hush"),
        ("model.headers", {"X-Key": "hush\x01"}),
        ("model.headers", {"X-Key": ["hush"]}),
        ("model.headers", '{"X-Key": "hush"'),
        ("model.headers", "hush"),
        ("model.proxy", "me:hush@proxy"),
        ("model.proxy", "ftp://me:hush@proxy"),
        ("backends", [{"name": "x", "api_key": ["hush"]}]),
        ("backends", [{"name": "x", "api_kye": "hush"}]),
        ("backends", [{"name": "x", "headers": {"X-Key": 3, "Y": "hush"}}]),
        ("backends", [{"name": "http://me:hush@h"}]),
        ("backends", [{"name": "x", "proxy": "me:hush@proxy"}]),
        ("backends", {"api_key": "hush"}),
        ("preview.api_key", "hu sh hush"),
    ],
)
def test_secrets_are_in_no_message_and_no_traceback(key: str, value: object) -> None:
    error = refused(overrides={key: value})

    assert "hush" not in "".join(traceback.format_exception(error)).replace("hush\\x01", "")
    assert "hush" not in str(error)


# ---------------------------------------------------------------------------------------- values


def test_settings_read_nothing_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVERIE_BUDGET_TOKENS", "1")
    Path(".env").write_text("REVERIE_BUDGET_TOKENS=2")

    assert Settings().budget.tokens == 8000


def test_no_env_file_is_ever_read() -> None:
    Path(".env").write_text("REVERIE_BUDGET_TOKENS=2")

    assert load().settings.budget.tokens == 8000


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().budget.tokens = 1  # type: ignore[misc]


def test_a_key_is_never_shown() -> None:
    settings = load(None, None, REVERIE_MODEL_API_KEY="hush").settings

    assert "hush" not in repr(settings) + settings.model_dump_json()
    assert settings.model.api_key is not None
    assert settings.model.api_key.get_secret_value() == "hush"


def test_a_proxys_password_is_never_shown_and_still_there() -> None:
    address = "http://me:hush@proxy:3128"
    settings = load(None, {"model.proxy": address, "backends": [{"proxy": address}]}).settings

    assert "hush" not in repr(settings) + settings.model_dump_json()
    assert "//**********@proxy:3128" in settings.model_dump_json()
    assert settings.model.proxy == settings.backends[0].proxy == address


def test_settings_made_by_hand_show_no_secret_when_they_are_wrong() -> None:
    with pytest.raises(ValueError, match="api_key") as caught:
        Settings.model_validate({"model": {"api_key": "hu sh hush"}, "backends": [{"x": "hush"}]})

    assert "hush" not in str(caught.value)


def test_folders_are_absolute_and_know_the_users_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somebody")

    settings = load(None, {"home": "~/r", "model.cache": "cache", "model.name": "~/m"}).settings

    assert settings.home == Path("/somebody/r")
    assert settings.models_folder == Path.cwd() / "cache"
    assert settings.model.name == "/somebody/m"


def test_models_lie_under_home_by_default() -> None:
    assert Settings(home=Path("/h")).models_folder == Path("/h/models")


def test_null_for_home_is_the_platforms_folder() -> None:
    assert load("home: null").origins["home"] == "REVERIE_HOME"
    assert Settings(home=None).home == default_home()  # type: ignore[arg-type]


def test_the_experts_are_those_of_the_graphs() -> None:
    assert get_args(ExpertName) == EXPERTS


def test_every_key_is_described_and_has_one_variable() -> None:
    assert all(field.description for field in fields().values())
    assert len({variable(key) for key in fields()}) == len(fields())
    assert variables()["REVERIE_MODEL"] == "model.name"


def test_the_example_file_has_every_key_with_its_default(repository: Path) -> None:
    example = repository / "configs" / "reverie.yaml"
    loaded = load_settings(example, env={})

    assert loaded.settings == Settings()
    assert "default" not in loaded.origins.values()
    sections = yaml.safe_load(example.read_text("utf-8"))
    assert list(sections) == list(Settings.model_fields)
