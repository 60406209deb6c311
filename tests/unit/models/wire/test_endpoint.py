"""Where a server is, and what about it is secret."""

from __future__ import annotations

import pytest

from reverie.errors import ConfigError
from reverie.models.wire.endpoint import Endpoint, plain_address, require_proxy

KEY = "the-key-of-mine"
PASSWORD = "hunter2"


@pytest.mark.parametrize(
    ("address", "root"),
    [
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000"),
        ("https://host/openai/v1", "https://host"),
        ("http://[::1]:8000/v1", "http://[::1]:8000"),
    ],
)
def test_the_root(address: str, root: str) -> None:
    assert Endpoint(address).root == root


def test_no_secret_is_shown() -> None:
    proxy = f"http://user:{PASSWORD}@proxy:1"
    endpoint = Endpoint("http://h/v1", key=KEY, headers={"X-Token": "token"}, proxy=proxy)
    for secret in (KEY, "token", PASSWORD):
        assert secret not in repr(endpoint)
        assert secret in endpoint.secrets
    assert "user" not in endpoint.secrets


@pytest.mark.parametrize(
    ("proxy", "secrets"),
    [
        ("", ()),
        ("http://proxy:1", ()),
        ("http://user@proxy:1", ()),
        (f"http://user:{PASSWORD}@proxy:1", (PASSWORD,)),
        (f"http://user:{PASSWORD}@[::1", (PASSWORD,)),
        (f"user:{PASSWORD}@proxy", (PASSWORD,)),
        (f"http://user:{PASSWORD}@1@proxy:port", (f"{PASSWORD}@1",)),
    ],
)
def test_the_password_of_a_proxy(proxy: str, secrets: tuple[str, ...]) -> None:
    assert Endpoint("http://h/v1", proxy=proxy).secrets == secrets


def test_equal_endpoints_are_one_key() -> None:
    one = Endpoint("http://h/v1", key=KEY, headers={"a": "1", "b": "2"})
    other = Endpoint("http://h/v1", key=KEY, headers={"b": "2", "a": "1"})
    assert one == other
    assert hash(one) == hash(other)
    assert one != Endpoint("http://h/v1", key="another")


@pytest.mark.parametrize(
    ("address", "plain"),
    [
        ("http://HOST:80/v1/", "http://host/v1"),
        (" http://host:8000 ", "http://host:8000"),
        ("HTTPS://host:443/v1", "https://host/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
    ],
)
def test_plain_addresses(address: str, plain: str) -> None:
    assert plain_address(address) == plain


@pytest.mark.parametrize(
    "address", ["", "host", "host:8000", "localhost:8000/v1", "ftp://host/v1", "http://host:99999"]
)
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plain_address(address)
    assert caught.value.message


@pytest.mark.parametrize(
    "address",
    [
        f"http://user:{PASSWORD}@host/v1",
        f"http://{PASSWORD}@host/v1",
        f"http://user:{PASSWORD}/x@host/v1",
        f"user:{PASSWORD}@host",
    ],
)
def test_a_password_in_an_address_is_refused_and_not_shown(address: str) -> None:
    with pytest.raises(ConfigError, match="addresses are shown") as caught:
        plain_address(address)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("proxy", ["", "http://proxy:3128", "https://u:p@proxy", "http://[::1]:1"])
def test_proxies(proxy: str) -> None:
    require_proxy(proxy)


@pytest.mark.parametrize(
    "proxy",
    [
        "proxy:3128",
        f"ftp://user:{PASSWORD}@proxy",
        f"http://user:{PASSWORD}@[::1",
        f"http://user:{PASSWORD}@proxy:port",
        "http://",
        "http://proxy:0",
    ],
)
def test_proxies_that_are_none(proxy: str) -> None:
    with pytest.raises(ConfigError, match="proxy") as caught:
        require_proxy(proxy)
    assert PASSWORD not in str(caught.value)


def test_a_proxy_that_needs_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reverie.models.wire.endpoint.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="package is missing") as caught:
        require_proxy("socks5://proxy:1080")
    assert "socksio" in caught.value.hint
    monkeypatch.setattr("reverie.models.wire.endpoint.find_spec", lambda _: object())
    require_proxy("socks5://proxy:1080")
