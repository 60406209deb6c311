"""Kinds of questions, one rule after the other."""

from __future__ import annotations

import pytest

from reverie.graphs.task_type import TASK_TYPES, task_type

QUESTIONS = {
    "arithmetic": (
        "What is 17 * 23?",
        "Calculate ( -6 + -77 - 8 ).",
        "Solve for k: 840*k = 10920",
        "Find the greatest common divisor of 841 and 549.",
        "Tom has 3 apples and buys 4 more. How many apples does he have?",
        "How much is 15% of 80?",
        "Was ist 12 geteilt durch 4?",
        "Combien font 3 + 4 ?",
        "¿Cuánto es 12 \u00d7 7?",
    ),
    "counting": (
        'How many times does the letter "r" appear in "strawberry"?',
        "How many legs do two dogs and a spider have together?",
        "Count the vowels in this sentence.",
        "How many continents are there?",
        "Wie viele Buchstaben hat das Wort Haus?",
    ),
    "ordering": (
        "Sort these numbers in ascending order: 8, 3, 5",
        "Rank these planets from largest to smallest.",
        "Put the events in chronological order.",
        "Sortiere diese Wörter nach dem Alphabet.",
    ),
    "logic": (
        "All cats are animals. Tom is a cat. Does it follow that Tom is an animal?",
        "True or false: no birds are mammals.",
        "On an island live knights and knaves. A says B always lies.",
        "Alle Menschen sind sterblich. Was folgt daraus?",
    ),
    "code": (
        "Write a Python function that reverses a list.",
        "What does this print?\n```\nfor i in range(3): print(i)\n```",
        "Why does this program raise an error?",
        "SELECT name FROM users WHERE id = 3: what does it return?",
    ),
    "causal": (
        "What happens when you drop a ball?",
        "Why does ice float?",
        "What if the sun went out?",
        "Was passiert, wenn man Eis erhitzt?",
        "Pourquoi le ciel est-il bleu ?",
        "¿Qué pasa si no duermo?",
    ),
    "factual": (
        "Who wrote Faust?",
        "What is the capital of France?",
        "When did the war end?",
        "Wo liegt Köln?",
        "Quel est le plus long fleuve ?",
    ),
    "other": ("Hello!", "Tell me a story about a dragon.", "", "你好"),
}


@pytest.mark.parametrize(("kind", "question"), [(k, q) for k, qs in QUESTIONS.items() for q in qs])
def test_the_kind_of_a_question(kind: str, question: str) -> None:
    assert task_type(question) == kind


def test_every_kind_is_tested() -> None:
    assert set(QUESTIONS) == set(TASK_TYPES)


def test_words_within_words_are_none() -> None:
    assert task_type("Tell me about consortiums and whys.") == "other"


def test_a_very_long_question_takes_no_time() -> None:
    assert task_type("a " * 500_000 + "sort") == "other"  # it says early what it is
