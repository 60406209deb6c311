"""Choosing a port that nobody uses, against real sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from reverie.errors import ConfigError
from reverie.models.vllm.port import FIRST, reserved_port

HOST = "127.0.0.1"


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which something listens."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen(1)
        yield int(listener.getsockname()[1])


def test_the_first_free_one_is_taken_and_not_twice() -> None:
    with ExitStack() as stack:
        ports = [stack.enter_context(reserved_port(HOST, None)) for _ in range(3)]

    assert len(set(ports)) == 3
    assert all(FIRST <= port < FIRST + 200 for port in ports)


def test_one_that_is_listened_on_is_passed_over() -> None:
    with reserved_port(HOST, None) as free:
        pass
    with socket.socket() as listener:
        listener.bind((HOST, free))
        listener.listen(1)
        with reserved_port(HOST, None) as chosen:
            assert chosen != free


def test_any_free_one() -> None:
    with reserved_port(HOST, 0) as one, reserved_port(HOST, 0) as other:
        assert one != other


def test_the_wanted_one_is_kept_from_others_and_then_free_again() -> None:
    with reserved_port(HOST, 0) as port:
        pass

    with (
        reserved_port(HOST, port) as first,
        pytest.raises(ConfigError, match="another `reverie up`"),
        reserved_port(HOST, port),
    ):
        pass
    with reserved_port(HOST, port) as second:
        assert first == second == port


def test_a_taken_one_is_said_with_the_remedy(taken: int) -> None:
    with (
        pytest.raises(ConfigError, match=f"port {taken}: Address already in use") as caught,
        reserved_port(HOST, taken),
    ):
        pass
    assert "--port" in caught.value.hint


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "x" * 80 + ".invalid"])
def test_a_host_that_is_not_this_one_is_refused(host: str) -> None:
    for port in (None, 0, 8899):
        with (
            pytest.raises(ConfigError, match=f"cannot listen on {host}"),
            reserved_port(host, port),
        ):
            pass
