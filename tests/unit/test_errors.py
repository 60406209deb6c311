"""The error types: what each ends the command line with, and how it reads."""

from __future__ import annotations

import inspect

import pytest

from reverie import errors
from reverie.errors import ConfigError, ModelRejected, ModelUnavailable, ReverieError

ALL = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, ReverieError)
]


@pytest.mark.parametrize("kind", ALL)
def test_every_error_has_message_hint_and_document(kind: type[ReverieError]) -> None:
    error = kind("it broke", hint="mend it")

    assert str(error) == "it broke. mend it"
    assert error.document() == {"type": kind.__name__, "message": "it broke", "hint": "mend it"}


@pytest.mark.parametrize("kind", ALL)
def test_wrong_use_exits_2_and_failure_1(kind: type[ReverieError]) -> None:
    assert kind.exit_code == (2 if kind is ConfigError else 1)


def test_a_hint_is_optional() -> None:
    assert str(ReverieError("it broke")) == "it broke"


def test_only_unavailability_may_be_transient() -> None:
    assert ModelUnavailable("busy", transient=True).transient
    assert not ModelUnavailable("gone").transient
    assert not hasattr(ModelRejected("no"), "transient")
