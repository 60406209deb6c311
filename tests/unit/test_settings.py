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
from reverie.settings.keys import fields, variable, variables
from reverie.settings.schema import ExpertName, default_home


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
    special["dream.max_tokens"] = "64"

    for key in fields():
        loaded = load(None, None, **{variable(key): special.get(key, "1")})
        assert loaded.origins[key] == variable(key)


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
