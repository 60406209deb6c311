"""What texts mention, by rules."""

from __future__ import annotations

import time

import pytest

from reverie.knowledge.extract.mentions import mentions


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Who founded the Bank of England?", ["Bank of England"]),
        (
            "Are Ada Lovelace and Alan Turing both British?",
            ["Ada Lovelace", "Alan Turing", "British"],
        ),
        ("It is played by Johnson & Johnson of AT&T.", ["Johnson & Johnson of AT&T"]),
        ("In Leland, North Carolina in 1986", ["Leland", "North Carolina"]),
        ("Grace Hopper's first compiler", ["Grace Hopper"]),
        ("J. R. Smith met Ludwig van Beethoven.", ["J. R. Smith", "Ludwig van Beethoven"]),
        ("On 12 March 1999 Apollo 11 was shown.", ["Apollo 11"]),
        ("However, the end. Therefore nothing. Perhaps.", []),
        ("Water boils. Traditional rituals are performed.", []),
        ("Python is a language.", ["Python"]),
        ("Gallu and more. Then Gallu sleeps.", ["Gallu"]),
        ("Later Gallu sleeps. Gallu wakes.", ["Gallu"]),
        ('He said "a turning wheel" and "x".', ["a turning wheel"]),
        (
            "Call read_file() with `chunk size`, --dry-run.",
            ["read_file()", "chunk size", "--dry-run"],
        ),
        ("os.path.join and myVar and MAX_STEPS", ["os.path.join", "myVar", "MAX_STEPS"]),
        ("It runs at 4.2 GHz for $40 million or 12 km", ["4.2 GHz", "$40 million", "12 km"]),
        ("Alû is a demon of the Utukku", ["Alû", "Utukku"]),
        ("the Ball. A ball. The ball!", ["Ball"]),
        ("日本語のテキスト「吾輩は猫」", ["吾輩は猫"]),
        ("", []),
        ("\n \0 \ud800", []),
    ],
)
def test_names_in_order(text: str, names: list[str]) -> None:
    assert mentions(text) == names


def test_a_long_quotation_is_no_name() -> None:
    assert mentions('He said "one two three four five six seven eight nine" aloud') == []


def test_a_heading_in_capitals_is_no_name() -> None:
    assert mentions("THE NAMES OF ALL THINGS THAT ONE TEXT MENTIONS BY RULES ALONE") == []


@pytest.mark.parametrize(
    "piece",
    ["A ", "The ", "a_", '"', "a.", "1,", "aB", "`", "A-", "--a-", "a::", "$1", " ", "(", "A. "],
)
def test_no_text_takes_long(piece: str) -> None:
    began = time.perf_counter()

    mentions(piece * 20_000)

    assert time.perf_counter() - began < 2  # about 0.1 s
