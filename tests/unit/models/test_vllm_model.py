"""What `reverie up` may be asked to serve, and with what arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from reverie.errors import ConfigError
from reverie.models.vllm.model import VllmModel, find_model, server_options
from reverie.settings import Settings

MODEL = VllmModel("/models/m", "m")


def test_a_folder_is_served_under_its_own_name(tmp_path: Path, settings: Settings) -> None:
    folder = tmp_path / "qwen3-8b"
    folder.mkdir()
    (folder / "config.json").write_text("{}")

    assert find_model(f"{folder}/", settings) == VllmModel(str(folder), "qwen3-8b")


def test_a_name_of_the_hub_is_left_to_vllm(settings: Settings) -> None:
    assert find_model("Qwen/Qwen3-8B", settings) == VllmModel("Qwen/Qwen3-8B", "Qwen3-8B", hub=True)


@pytest.mark.parametrize(
    "name", ["smolm2", "./models/x", "/models/x", "~/x/y", "a/b/c", "a b/c", ""]
)
def test_what_is_nowhere_is_refused_before_anything_starts(name: str, settings: Settings) -> None:
    with pytest.raises(ConfigError) as caught:
        find_model(name, settings)
    assert "ORG/NAME" in caught.value.hint or "config.json" in caught.value.hint


def test_a_folder_without_a_model_is_refused(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(ConfigError, match=r"no config\.json"):
        find_model(str(tmp_path), settings)


def test_an_address_is_not_served_again(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="up already") as caught:
        find_model("http://127.0.0.1:8000/v1", settings)
    assert "reverie ask" in caught.value.hint


def test_options_are_the_settings(settings: Settings) -> None:
    chosen = settings.vllm.model_copy(update={"window": 512, "tool_parser": None, "port": 0})

    options = server_options(
        MODEL,
        settings.model_copy(update={"vllm": chosen}),
        name="other",
        key="k",
        arguments=("--seed", "1"),
    )

    assert (options.model, options.name, options.key) == ("/models/m", "other", "k")
    assert (options.window, options.tool_parser, options.port) == (512, None, 0)
    assert options.arguments == ("--seed", "1")
    assert server_options(MODEL, settings).name == "m"


@pytest.mark.parametrize(
    ("argument", "remedy"),
    [
        ("--api-key=secret", "REVERIE_MODEL_API_KEY"),
        ("--port", "--port"),
        ("--served_model_name", "--name"),
        ("--model", "reverie up FOLDER"),
    ],
)
def test_what_reverie_sets_itself_cannot_be_passed_on(
    argument: str, remedy: str, settings: Settings
) -> None:
    with pytest.raises(ConfigError, match="cannot be passed on") as caught:
        server_options(MODEL, settings, arguments=(argument,))
    assert remedy in caught.value.hint
    assert "secret" not in str(caught.value)
