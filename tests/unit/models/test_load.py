"""From a model's name to a chat model."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from reverie.errors import ConfigError, ModelUnavailable
from reverie.models.chat_model import ChatModel
from reverie.models.embedded.chat import EmbeddedChatModel
from reverie.models.embedded.checkpoint import Phase
from reverie.models.fallback import FallbackChatModel
from reverie.models.load import PACKAGED, chain_of, load_chat_model
from reverie.models.presets import presets
from reverie.settings import BackendSettings, Settings, load_settings
from reverie.settings.values import PRESETS
from tests.unit.models.test_fallback import Speaker

Configured = Callable[..., Settings]
OFF = "REVERIE_RUNTIME_ENABLE_GPT51_CODEX_PREVIEW"


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


# -- servers and chains --------------------------------------------------------------------

A, B = "http://a:8000/v1", "http://b:8000/v1"
PREVIEW = "openai:gpt-5.1-codex"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[BackendSettings]:
    """Notes the servers that would be asked, instead of asking them; named fail they fail."""
    asked: list[BackendSettings] = []

    def ask(backend: BackendSettings, settings: Settings, report: Any = None) -> ChatModel:
        asked.append(backend)
        if "fail" in backend.name:
            raise ModelUnavailable(f"{backend.name} is gone")
        return Speaker(name=backend.name)

    monkeypatch.setattr("reverie.models.served.served_chat_model", ask)
    return asked


def names(model: ChatModel) -> list[str]:
    assert isinstance(model, FallbackChatModel)
    return [backend.name for backend in model.backends]


def key(backend: BackendSettings) -> str:
    return backend.api_key.get_secret_value() if backend.api_key else ""


def test_the_presets_of_the_settings_are_those_that_are_known() -> None:
    assert sorted(PRESETS) == sorted(preset.name for preset in presets())


@pytest.mark.parametrize("name", [A, f"{A}#m", "ollama:qwen3", "vllm"])
def test_a_served_model_with_nothing_behind_it_is_just_that(
    name: str, served: list[BackendSettings], configured: Configured
) -> None:
    model = load_chat_model(name, configured())

    assert isinstance(model, Speaker)
    assert [backend.name for backend in served] == [name]


def test_what_stands_behind_is_loaded_when_it_is_needed(
    served: list[BackendSettings], configured: Configured
) -> None:
    settings = configured(REVERIE_MODEL=f"{A}/fail", REVERIE_BACKENDS=f"{B},smollm2")

    model = load_chat_model(f"{A}/fail", settings)
    assert names(model) == [f"{A}/fail", B, "smollm2"]
    assert served == []

    reply = model.invoke("why?")
    assert reply.response_metadata["backend"] == {
        "name": B,
        "passed_over": [{"name": f"{A}/fail", "why": f"{A}/fail is gone"}],
    }
    assert [backend.name for backend in served] == [f"{A}/fail", B]


def test_a_name_stands_once_in_the_chain(configured: Configured) -> None:
    settings = configured(REVERIE_BACKENDS=f"smollm2,{A},smollm2")

    assert [b.name for b in chain_of("smollm2", settings)] == ["smollm2", A]


def test_patience_with_a_backend_comes_from_the_settings(
    served: list[BackendSettings], configured: Configured
) -> None:
    settings = configured(REVERIE_BACKENDS=B, REVERIE_SERVER_FAILURES="1")
    model = load_chat_model(f"{A}/fail", settings)
    assert isinstance(model, FallbackChatModel)

    model.invoke("why?")

    assert [backend.circuit.state for backend in model.backends] == ["open", "closed"]


def test_a_wrong_name_in_the_chain_is_wrong_use_at_once(
    served: list[BackendSettings], configured: Configured
) -> None:
    with pytest.raises(ConfigError, match="no model called 'nowhere'"):
        load_chat_model(A, configured(REVERIE_BACKENDS="nowhere"))


def test_the_preview_backend_is_asked_first_when_its_key_is_set(
    served: list[BackendSettings], configured: Configured
) -> None:
    settings = configured(REVERIE_PREVIEW_API_KEY="hush", REVERIE_MODEL=A, REVERIE_BACKENDS=B)

    model = load_chat_model(A, settings)

    assert names(model) == [PREVIEW, A, B]
    model.invoke("why?")
    assert [(backend.name, key(backend)) for backend in served] == [(PREVIEW, "hush")]


@pytest.mark.parametrize(
    ("environment", "preview", "first"),
    [
        ({"REVERIE_PREVIEW_API_KEY": "hush"}, None, PREVIEW),
        ({"REVERIE_PREVIEW_API_KEY": "hush"}, True, PREVIEW),
        ({"REVERIE_PREVIEW_API_KEY": "hush"}, False, A),
        ({"REVERIE_PREVIEW_API_KEY": "hush", OFF: "false"}, None, A),
        ({"REVERIE_PREVIEW_API_KEY": "hush", OFF: "false"}, True, PREVIEW),
        ({}, None, A),
        ({}, True, A),
        ({"OPENAI_API_KEY": "hush"}, None, A),
        ({"OPENAI_API_KEY": "hush"}, True, A),
    ],
)
def test_when_the_preview_backend_is_asked(
    environment: dict[str, str],
    preview: bool | None,
    first: str,
    configured: Configured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert chain_of(A, configured(**environment), preview=preview)[0].name == first


def test_an_ambient_key_of_openai_sends_nothing_anywhere(
    served: list[BackendSettings], configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "hush")
    settings = configured(REVERIE_MODEL=A, REVERIE_BACKENDS="openai:gpt-5", OPENAI_API_KEY="hush")

    for preview in (None, True, False):
        load_chat_model(A, settings, preview=preview).invoke("why?")

    assert {backend.name for backend in served} == {A}
    assert not any(map(key, served))
    assert not any(key(backend) for backend in chain_of(A, settings, preview=True))


def test_asked_for_without_a_key_the_reply_says_so(
    served: list[BackendSettings], configured: Configured
) -> None:
    reply = load_chat_model(A, configured(), preview=True).invoke("why?")

    [over] = reply.response_metadata["backend"]["passed_over"]
    assert over == {
        "name": PREVIEW,
        "why": "preview.api_key is not set (REVERIE_PREVIEW_API_KEY)",
    }


KEYED = {"REVERIE_MODEL": A, "REVERIE_MODEL_API_KEY": "for-a"}
OTHERS = '[{"name": "http://b:8000/v1", "api_key": "for-b"}, "smollm2"]'


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        (A, "for-a"),
        (f"{A}#another", "for-a"),
        (B, "for-b"),
        (f"{B}#another", "for-b"),
        ("http://c:8000/v1", ""),
        ("https://a:8000/v1", ""),
        ("openai:gpt-5", ""),
        ("smollm2", ""),
    ],
)
def test_a_key_goes_only_to_the_server_that_it_is_for(
    name: str, sent: str, configured: Configured
) -> None:
    settings = configured(**KEYED, REVERIE_BACKENDS=OTHERS, REVERIE_MODEL_HEADERS='{"X": "for-a"}')

    asked = chain_of(name, settings)[0]

    assert (asked.name, key(asked)) == (name, sent)
    assert bool(asked.headers) == (sent == "for-a")


def test_no_name_of_a_backend_holds_a_key(
    served: list[BackendSettings], configured: Configured
) -> None:
    settings = configured(**KEYED, REVERIE_BACKENDS=OTHERS, REVERIE_PREVIEW_API_KEY="for-c")

    shown = repr(load_chat_model(A, settings))

    assert not any(secret in shown for secret in ("for-a", "for-b", "for-c"))


# -- without torch -------------------------------------------------------------------------


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
