"""What is struck out of a text, and how."""

from __future__ import annotations

import base64
import html
import json
import logging
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.errors import ModelRejected, ModelUnavailable
from reverie.models.wire.secrecy import STRUCK, Secrets

KEY = "sk-0123/456+789='&"

keys = st.text(st.characters(codec="utf-8", exclude_characters="…"), min_size=9, max_size=30)


@given(key=keys, before=st.text(max_size=5), behind=st.text(max_size=5))
def test_no_spelling_of_a_key_is_left(key: str, before: str, behind: str) -> None:
    secrets = Secrets([key])
    for spelt in (
        key,
        repr(key)[1:-1],
        json.dumps(key)[1:-1],
        html.escape(key),
        quote(key, safe=""),
        quote_plus(key),
        base64.b64encode(key.encode()).decode().rstrip("="),
        "".join(f"\\u{ord(c):04x}" for c in key),
    ):
        assert spelt not in secrets.strike(before + spelt + behind)


@given(before=st.binary(max_size=7), behind=st.binary(max_size=7))
def test_a_key_within_base64(before: bytes, behind: bytes) -> None:
    encoded = base64.b64encode(before + KEY.encode() + behind).decode()
    struck = Secrets([KEY]).strike(encoded)
    assert STRUCK in struck
    left = struck.replace(STRUCK, "")
    assert len(left) <= len(base64.b64encode(before + behind)) + 8


@pytest.mark.parametrize("length", range(6, 15))
@pytest.mark.parametrize("end", ["", "…", "'", '"', "…'. the hint"])
def test_the_beginning_of_a_key_that_was_cut_off(length: int, end: str) -> None:
    text = f"you sent {KEY[:length]}{end}"
    assert Secrets([KEY]).strike(text) == f"you sent {STRUCK}{end}"


def test_words_that_begin_like_a_key_stay() -> None:
    text = "sk-012 is no key of anybody; sk-0123/45 neither."
    assert Secrets([KEY]).strike(text) == text


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("Bearer tok-123456789", "tok-123456789"),
        ("Basic " + base64.b64encode(b"user:pass-word-1").decode(), "pass-word-1"),
        ("session=abcdefgh12345; theme=dark", "abcdefgh12345"),
    ],
)
def test_what_is_secret_in_a_header(header: str, said: str) -> None:
    assert said not in Secrets([header]).strike(f"you sent {said}, which is wrong")


def test_ordinary_words_of_a_header_stay() -> None:
    secrets = Secrets(["blue team", "yes", "a"])
    assert secrets.strike("a blue yes to the team") == "a blue yes to the team"
    assert "blue team" not in secrets.strike("the blue team")


def test_the_longer_one_first() -> None:
    assert Secrets(["abcdef", "abcdef-ghijkl"]).strike("abcdef-ghijkl") == STRUCK


def test_nothing_to_hide() -> None:
    secrets = Secrets([""])
    error = ValueError("x")
    assert secrets.strike("anything") == "anything"
    assert secrets.safe_cause(error) is error
    assert secrets.guard_logs() is None


def test_an_error_that_is_kept() -> None:
    cause = ValueError(KEY)
    failure = ModelRejected(f"bad {KEY}", hint=f"not {KEY}", field=KEY)
    kept = Secrets([KEY]).kept(failure, cause)
    assert kept is failure
    assert kept.__cause__ is None
    assert kept.__suppress_context__
    assert KEY not in f"{kept} {kept.args} {kept.hint} {kept.message} {kept.field} {vars(kept)}"


def test_the_cause_of_an_error_without_anything_to_hide() -> None:
    cause = ValueError("why")
    assert Secrets([]).kept(ModelUnavailable("no"), cause).__cause__ is cause


def test_records_of_the_sdk_are_struck_and_others_not(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    guard = Secrets([KEY]).guard_logs()
    assert guard is not None
    logging.getLogger("httpcore2.http11").debug("sent %r", {"authorization": KEY})
    logging.getLogger("openai").debug("%s and %d", "no secret", 5)
    guard.lift()
    guard.lift()
    logging.getLogger("httpcore2.http11").debug("afterwards")
    assert [record.getMessage() for record in caplog.records] == [
        "sent {'authorization': \"" + STRUCK + '"}',
        "no secret and 5",
        "afterwards",
    ]
