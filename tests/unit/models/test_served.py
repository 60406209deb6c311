"""From settings to a server."""

from __future__ import annotations

from typing import Any

import pytest

from reverie.errors import ConfigError, ModelRejected
from reverie.models.presets import presets
from reverie.models.served import endpoint_of, is_served, served_place
from reverie.settings import BackendSettings, Settings, load_settings

A = "http://127.0.0.1:8000/v1"


def settings(**overrides: object) -> Settings:
    return load_settings(overrides=overrides, env={}).settings


def backend(name: str, **more: Any) -> BackendSettings:
    return BackendSettings.model_validate({"name": name, **more})


@pytest.mark.parametrize(
    ("name", "address", "model"),
    [
        (A, A, ""),
        (f"{A}/", A, ""),
        (f"{A}#qwen3", A, "qwen3"),
        (f"{A}#org/model:tag", A, "org/model:tag"),
        ("https://HOST:443/v1#m", "https://host/v1", "m"),
    ],
)
def test_addresses(name: str, address: str, model: str) -> None:
    assert served_place(name) == (address, model, None)
    assert is_served(name)


@pytest.mark.parametrize("preset", presets(), ids=lambda preset: preset.name)
def test_presets(preset: Any) -> None:
    address, model, found = served_place(f"{preset.name}:some/model:tag")
    assert (model, found) == ("some/model:tag", preset)
    assert address.startswith(("http://", "https://"))
    assert is_served(f"{preset.name}:model")


@pytest.mark.parametrize("name", ["smollm2", "./folder", "org/model", "nobody:model", "ftp://h/v1"])
def test_what_is_no_server(name: str) -> None:
    assert not is_served(name)
    with pytest.raises(ConfigError) as caught:
        served_place(name)
    assert "ollama" in caught.value.hint


@pytest.mark.parametrize("name", ["http://user:hunter2@host/v1", "http://u:hunter2@h:x/v1#m"])
def test_a_password_in_an_address(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        served_place(name)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["http://", "http://host:99999/v1", "http://[::1/v1"])
def test_addresses_that_are_none(name: str) -> None:
    with pytest.raises(ConfigError):
        served_place(name)


def test_an_endpoint_has_what_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "ambient-key")
    monkeypatch.setenv("HTTPS_PROXY", "http://ambient:1")
    chosen = backend(A, api_key="my-key", headers={"X-Team": "blue"}, proxy="http://proxy:1")
    endpoint = endpoint_of(chosen, settings(**{"server.retries": 7, "server.idle_seconds": 9}))
    assert endpoint.address == A
    assert endpoint.key == "my-key"
    assert endpoint.headers == {"X-Team": "blue"}
    assert endpoint.proxy == "http://proxy:1"
    assert (endpoint.retries, endpoint.idle_seconds) == (7, 9)
    bare = endpoint_of(backend(A), settings())
    assert (bare.key, bare.proxy, bare.headers) == ("", "", {})
    assert "my-key" not in repr(endpoint) + repr(chosen)


def test_a_hosted_server_wants_a_key_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "ambient-key")
    with pytest.raises(ModelRejected, match="wants a key") as caught:
        endpoint_of(backend("openai:gpt-5"), settings())
    assert "OPENAI_API_KEY is never used" in caught.value.hint
    assert endpoint_of(backend("openai:gpt-5", api_key="mine"), settings()).key == "mine"
