"""The calculator's arithmetic, compared with Python's fractions, and what it refuses."""

from __future__ import annotations

import contextlib
import math
import re
import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.errors import ToolFailed
from reverie.tools.arithmetic import MOST_BITS, evaluate, written

Exact = tuple[str, Fraction | None]
"""An expression and its value; None: a division by zero is in it."""


def number(n: int, decimals: int) -> Exact:
    text = f"{n}" if decimals == 0 else f"{n // 10**decimals}.{n % 10**decimals:0{decimals}d}"
    return text, Fraction(n, 10**decimals)


def combined(left: Exact, sign: str, right: Exact) -> Exact:
    text = f"({left[0]} {sign} {right[0]})"
    if left[1] is None or right[1] is None or (sign in "//%" and right[1] == 0):
        return text, None
    a, b = left[1], right[1]
    values = {"+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "/": lambda: a / b}
    values |= {"//": lambda: Fraction(a // b), "%": lambda: a % b}
    return text, values[sign]()


def called(name: str, values: list[Exact]) -> Exact:
    text = f"{name}({', '.join(value for value, _ in values)})"
    known = [value for _, value in values if value is not None]
    if len(known) < len(values):
        return text, None
    return text, {"min": min, "max": max}[name](known)


numbers = st.builds(number, st.integers(0, 10**6), st.integers(0, 4))
expressions = st.recursive(
    numbers,
    lambda inner: st.one_of(
        st.builds(combined, inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner),
        st.builds(lambda one: (f"-{one[0]}", None if one[1] is None else -one[1]), inner),
        st.builds(called, st.sampled_from(["min", "max"]), st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=8,
)


@given(expressions)
def test_it_agrees_with_fractions(expression: Exact) -> None:
    text, value = expression
    if len(text) > 400:
        return
    if value is None:
        with pytest.raises(ToolFailed, match="division by zero"):
            evaluate(text)
    else:
        assert evaluate(text) == value


@given(st.integers(-(10**18), 10**18), st.integers(0, 12))
def test_what_ends_is_written_to_its_end(n: int, decimals: int) -> None:
    text = written(Fraction(n, 10**decimals))

    assert Fraction(text) == Fraction(n, 10**decimals)
    assert "." not in text or not text.endswith(("0", "."))
    assert "e" not in text.lower()


@given(st.fractions(min_value=-(10**6), max_value=10**6))
def test_what_has_no_end_has_twelve_digits(value: Fraction) -> None:
    assert math.isclose(float(Fraction(written(value))), float(value), rel_tol=1e-11)


@given(st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=5))
def test_gcd_and_lcm_agree_with_python(values: list[int]) -> None:
    listed = ", ".join(map(str, values))

    assert evaluate(f"gcd({listed})") == math.gcd(*values)
    assert evaluate(f"lcm({listed})") == math.lcm(*values)


@given(st.text(max_size=60) | st.text("0123456789+-*/%^().,eE_ gcdlmsqrtabinxoud=", max_size=60))
def test_any_text_gives_a_number_or_a_typed_failure(text: str) -> None:
    with contextlib.suppress(ToolFailed):  # and nothing else
        assert re.fullmatch(r"-?[0-9.]+(e[-+][0-9]+)?", written(evaluate(text)))


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("0.1+0.2", "0.3"),
        ("1/3+1/3+1/3", "1"),
        ("10/4", "2.5"),
        ("6/2", "3"),
        ("1/3", "0.333333333333"),
        ("-7//2", "-4"),
        ("-7%3", "2"),
        ("2**-3", "0.125"),
        ("2^10", "1024"),
        ("12 \N{MULTIPLICATION SIGN} 3 =", "36"),
        ("sqrt(16)", "4"),
        ("sqrt(1/4)", "0.5"),
        ("2**0.5", "1.41421356237"),
        ("4**0.5", "2"),
        ("round(2.5)", "2"),
        ("round(1/3, 4)", "0.3333"),
        ("abs(-3)", "3"),
        ("1_000 + 1e3", "2000"),
        ("10**20", "100000000000000000000"),
        ("-0", "0"),
    ],
)
def test_numbers_are_written_as_people_write_them(expression: str, result: str) -> None:
    assert written(evaluate(expression)) == result


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("", "empty"),
        ("1/0", "division by zero"),
        ("5 % (3 - 3)", "division by zero"),
        ("0**-1", "division by zero"),
        ("(1 + 2", "no expression"),
        ("1,234 + 5", "comma"),
        ("x + 1", "has no value"),
        ("cos(1)", "there is no function 'cos'"),
        ("__import__('os').system('true')", "no arithmetic|no function|no expression"),
        ("().__class__", "no arithmetic|no function"),
        ("[1 for _ in (1,)]", "no arithmetic"),
        ("(lambda: 1)()", "no arithmetic"),
        ("1 if 1 else 2", "no arithmetic"),
        ("1 < 2", "no arithmetic"),
        ("True", "no arithmetic"),
        ("'a' * 3", "no arithmetic"),
        ("1j", "no arithmetic"),
        ("0x10", "no decimal number"),
        ("sqrt(-1)", "negative"),
        ("(-8)**(1/3)", "negative"),
        ("gcd(1.5, 2)", "whole numbers"),
        ("gcd()", "whole numbers"),
        ("max()", "at least one"),
        ("sqrt(1, 2)", "one number"),
        ("round(1, 2, 3)", "round takes"),
        ("round(1, 10**9)", "round takes"),
        ("½ + ½", "no sign"),
        ("gcd(x=1)", "no arithmetic"),
    ],
)
def test_what_is_no_arithmetic_is_refused_with_a_reason(expression: str, why: str) -> None:
    with pytest.raises(ToolFailed, match=why):
        evaluate(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "9**9**9",
        "2**-99999999",
        "(1/7)**99999",
        "9" * 1_000_000,
        "1e999999999",
        "1e-999999999",
        "(" * 200 + "1" + ")" * 199,
        "10**400**400",
        "*".join(["1e300"] * 60),
        "lcm(" + ",".join(str(p) for p in range(900, 980)) + ")**60",
        "2.5**99999.5",
        "sqrt(2)**99999",
    ],
)
def test_what_is_too_large_fails_at_once(expression: str) -> None:
    began = time.monotonic()

    with pytest.raises(ToolFailed):
        evaluate(expression)

    assert time.monotonic() - began < 0.5


def test_the_bound_is_where_it_says() -> None:
    assert evaluate(f"2**{MOST_BITS - 1}") == 2 ** (MOST_BITS - 1)
    with pytest.raises(ToolFailed, match="too large"):
        evaluate(f"2**{MOST_BITS}")
