"""From a model's name to a chat model."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from reverie.errors import ConfigError
from reverie.models.embedded.chat import EmbeddedChatModel
from reverie.models.embedded.checkpoint import Phase
from reverie.models.load import PACKAGED, load_chat_model
from reverie.settings import Settings, load_settings

Configured = Callable[..., Settings]


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    def configured(**environment: str) -> Settings:
        return load_settings(env={"REVERIE_HOME": str(tmp_path / "home"), **environment}).settings

    return configured


def test_a_folder_with_a_model_is_loaded(tiny_folder: Path, configured: Configured) -> None:
    said: list[object] = []

    model = load_chat_model(str(tiny_folder), configured(), said.append)

    assert isinstance(model, EmbeddedChatModel)
    assert model.reverie_profile.window == 512
    assert said == [Phase(f"Loading the model {tiny_folder}")]
    model.engine.close()


def test_settings_reach_the_engine(tiny_folder: Path, configured: Configured) -> None:
    settings = configured(REVERIE_MODEL_WINDOW="128", REVERIE_MODEL_DTYPE="float32")

    model = load_chat_model(str(tiny_folder), settings)

    assert isinstance(model, EmbeddedChatModel)
    assert model.engine.window == 128
    assert str(model.engine._worker._batch._model.dtype) == "torch.float32"
    model.engine.close()


def test_two_models_of_one_name_share_an_engine(tiny_folder: Path, configured: Configured) -> None:
    one = load_chat_model(str(tiny_folder), configured())
    two = load_chat_model(f"{tiny_folder}/../{tiny_folder.name}", configured())
    other = load_chat_model(str(tiny_folder), configured(REVERIE_MODEL_WINDOW="100"))

    assert isinstance(one, EmbeddedChatModel)
    assert isinstance(two, EmbeddedChatModel)
    assert isinstance(other, EmbeddedChatModel)
    assert one.engine is two.engine
    assert other.engine is not one.engine
    one.engine.close()
    other.engine.close()


def test_a_closed_engine_is_not_used_again(tiny_folder: Path, configured: Configured) -> None:
    first = load_chat_model(str(tiny_folder), configured())
    assert isinstance(first, EmbeddedChatModel)
    first.engine.close()

    second = load_chat_model(str(tiny_folder), configured())

    assert isinstance(second, EmbeddedChatModel)
    assert second.engine is not first.engine
    assert second.invoke("a", max_tokens=2).text is not None
    second.engine.close()


def test_a_name_that_is_no_model_is_refused(configured: Configured, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no model called") as caught:
        load_chat_model(str(tmp_path / "nowhere"), configured())

    assert PACKAGED in caught.value.hint


def test_a_servers_address_is_refused_for_now(configured: Configured) -> None:
    with pytest.raises(ConfigError, match="server's address"):
        load_chat_model("http://localhost:8000/v1", configured())


class Hidden:
    """A finder that denies the packages it names."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: Any = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] in self._names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A base install: neither torch nor what comes with it."""
    hidden = {"torch", "transformers", "llguidance", "gguf"}
    find_spec = importlib.util.find_spec
    for name in [n for n in sys.modules if n.partition(".")[0] in hidden]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Hidden(*hidden), *sys.meta_path])
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n in hidden else find_spec(n, *a)
    )


@pytest.mark.parametrize("converted", [True, False])
def test_without_the_local_extra_the_error_says_what_to_install(
    without_torch: None, configured: Configured, tmp_path: Path, converted: bool
) -> None:
    name = PACKAGED if not converted else str(tmp_path)

    with pytest.raises(ConfigError, match="torch, transformers, llguidance, gguf") as caught:
        load_chat_model(name, configured())

    assert "reverie[local]" in caught.value.hint
