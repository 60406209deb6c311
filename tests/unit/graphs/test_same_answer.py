"""Whether two answers say the same: numbers, options, words, and what similarity decides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.graphs.quantity import quantities
from reverie.graphs.same_answer import grouped, groups, may_be_same, said, same
from tests.unit.conftest import HashEmbedder

HOW_MANY = "How many balls are in the box?"
CHOICE = "Which is the capital? A) London B) Paris C) Rome"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("9", "nine"),
        ("9", "9.0"),
        ("1,200", "1200"),
        ("1.2e3", "1 200"),
        ("1.2 × 10^3", "twelve hundred"),  # noqa: RUF001  # as models write it
        ("1/2", "0.5"),
        ("½", "50%"),
        ("1 1/2", "1.5"),
        (r"\boxed{\frac{1}{2}}", ".5"),
        ("$\\frac{3}{4}$", "0.75"),
        ("2^3", "8"),
        ("2 million", "2000000"),
        ("2 dozen", "24"),
        ("twenty-one", "21"),
        ("one hundred and five", "105"),
        ("one", "1"),
        ("1 km", "1000 m"),
        ("9 cm", "9"),
        ("$5", "5 dollars"),
        ("$1,234.50", "1234.5"),
        ("10 percent", "0.1"),
        ("−5", "-5"),  # noqa: RUF001  # as models write it
        ("3.14", "3.14159"),
        ("3 + 6 = 9", "9"),
        ("The answer is 42.", "42"),
        ("**9**", "9"),
        ("Paris", "paris."),
        ("The cat", "a cat"),
        ("So the answer is: a dog", "Dog"),
        ("Yes", "Yes, it is."),
    ],
)
def test_they_say_the_same(one: str, other: str) -> None:
    assert same(said(one), said(other))
    assert same(said(other), said(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("9", "6"),
        ("-5", "5"),
        ("9 cm", "9 kg"),
        ("9.4", "9"),
        ("1/3", "1/4"),
        ("12:30", "12"),
        ("9 to 5", "9"),
        ("yes", "no"),
        ("No", "No one knows"),
        ("Paris", "London"),
        ("Paris has 2 million people", "London has 2 million people"),
        ("It floats on 2 sides", "It does not float on 2 sides"),
        ("B", "C"),
        ("a million stars", "1000000"),
        ("", ""),
        ("...", "!"),
    ],
)
def test_they_do_not(one: str, other: str) -> None:
    assert not same(said(one), said(other))


@pytest.mark.parametrize(
    ("question", "one", "other"),
    [
        (HOW_MANY, "There are 9 balls in the box.", "nine"),
        (HOW_MANY, "The box contains 9 balls.", "9 in all"),
        (HOW_MANY, "3 red and 6 blue make 9", "9"),
        ("What is 3 + 6?", "3 plus 6 is 9", "9"),
        ("How long does the train take?", "It takes 9 hours", "The train arrives after 9 hours"),
        (CHOICE, "B", "Paris"),
        (CHOICE, "(b)", "B) Paris"),
        (CHOICE, "Option B", "The answer is B."),
        ("What is the capital of France?", "Paris", "The capital of France is Paris."),
    ],
)
def test_the_question_tells_what_counts(question: str, one: str, other: str) -> None:
    assert same(said(one, question), said(other, question))


def test_a_small_a_is_no_choice_where_there_are_none() -> None:
    assert said("a", "Which letter comes first?").option == ""
    assert said("A", CHOICE).option == "A"
    assert said("D) Berlin", CHOICE).option == ""


@given(st.integers(-(10**12), 10**12), st.sampled_from(["{}", "{:,}", "{}.0", "{}.", "{:e}"]))
def test_a_number_is_itself_in_every_notation(number: int, notation: str) -> None:
    written = notation.format(number)
    if notation == "{:e}" and int(float(written)) != number:
        return  # it was rounded: then it is another number
    (found,) = quantities(written)
    assert found.value == number


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_text_can_be_compared(one: str, other: str) -> None:
    left, right = said(one), said(other)

    assert same(left, right) == same(right, left)
    assert may_be_same(left, right) == may_be_same(right, left)
    assert same(left, left) or left.bare


def test_groups_are_numbered_by_their_first_members() -> None:
    assert groups(["6", "nine", "six", "9", "Paris"]) == [0, 1, 0, 1, 2]
    assert groups([]) == []


def test_similar_sentences_are_one_group_where_nothing_tells_them_apart() -> None:
    answers = ["The glass breaks at once", "The glass shatters at once", "It never breaks at once"]
    all_alike = np.ones((3, 3), dtype=np.float32)

    assert groups(answers, "", all_alike) == [0, 0, 1]
    assert groups(answers) == [0, 1, 2]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("There are 3 balls left", "There are 4 balls left"),
        ("cat", "dog"),
        ("The ball falls down", "The ball never falls down"),
        ("Cats chase mice", "Mice chase cats"),
        ("A", "The first of them is right"),
    ],
)
def test_similarity_is_not_asked_where_something_speaks_against_it(one: str, other: str) -> None:
    assert not may_be_same(said(one), said(other))


async def test_the_embedder_is_loaded_only_when_it_has_to_decide() -> None:
    loaded: list[HashEmbedder] = []

    async def load() -> HashEmbedder:
        loaded.append(HashEmbedder())
        return loaded[-1]

    assert await grouped(["9", "nine", "6"], HOW_MANY, load) == [0, 0, 1]  # type: ignore[arg-type]  # a double
    assert loaded == []
    answers = ["the ball falls to the floor quickly", "quickly the ball falls to the floor down"]
    assert await grouped(answers, "", load) == [0, 0]  # type: ignore[arg-type]  # a double
    assert len(loaded) == 1
