"""What the parts of an examination make of each other."""

from __future__ import annotations

from typing import Any

import pytest

from reverie.errors import ContextOverflow, ModelRejected, ModelUnavailable
from reverie.models.doctor.examine import _AFTERWARDS, _QUIET, _TITLES, _TOGETHER, _Course
from reverie.models.doctor.probing import Outcome, Probe, Probing, no, said, unknown, yes
from reverie.models.doctor.remedies import remedy
from reverie.models.profile import ModelProfile

PROBED = {probe.ability for probe in (*_QUIET, *_TOGETHER, *_AFTERWARDS)}
ALWAYS_THERE = {"wire", "max_tokens_field", "tools"}


def test_every_field_of_a_profile_is_found_out() -> None:
    """Only ``refuses`` is learnt in use, and two fields are found along with others."""
    found = set(_TITLES) - {"cut"}
    assert set(ModelProfile.model_fields) - found == {"name", "top_logprobs", "refuses"}
    assert set(_TITLES) >= PROBED


@pytest.mark.parametrize("ability", sorted(set(_TITLES) - ALWAYS_THERE))
def test_every_gap_is_answered(ability: str) -> None:
    assert remedy(ability, no("not there"))
    assert remedy(ability, unknown("who knows"))
    assert remedy(ability, yes("there", **{ability: 5_000_000_000})) == ""


@pytest.mark.parametrize("tools", ["forced", "text", "none"])
def test_tools_that_are_not_native_are_answered(tools: str) -> None:
    assert remedy("tools", no("not there", tools=tools))


def test_a_small_model_is_told_what_follows() -> None:
    assert "known facts" in remedy("parameters", yes("the name", parameters=135_000_000))


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (ModelRejected("http://h/v1 refused the request (400): no such field"), "no"),
        (ContextOverflow("http://h/v1: too long", window=64), "unknown"),
        (ModelUnavailable("http://h/v1 failed (500): crashed", transient=True), "unknown"),
    ],
)
async def test_an_error_in_a_probe_is_a_finding(
    probing: Any, error: Exception, verdict: str
) -> None:
    async def fails(_: Probing) -> Outcome:
        raise error

    outcome = await _Course(probing({}), lambda _: None)._outcome(Probe("seed", fails))

    assert outcome.verdict == verdict
    assert outcome.fields == {}
    assert "http://" not in outcome.evidence


async def test_a_mistake_in_a_probe_is_no_finding(probing: Any) -> None:
    async def wrong(_: Probing) -> Outcome:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await _Course(probing({}), lambda _: None)._outcome(Probe("seed", wrong))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("http://h/v1 refused the request (400): n  is\nnot taken", "n is not taken"),
        ("http://h/v1 did not finish within 3.0 s", "it did not finish within 3.0 s"),
        ("http://h/v1 failed (500): " + "x" * 500, "x" * 139 + "…"),
    ],
)
def test_evidence_is_what_the_server_said(message: str, expected: str) -> None:
    assert said(ModelRejected(message)) == expected
