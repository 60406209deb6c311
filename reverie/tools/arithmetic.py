"""Arithmetic on expressions that nobody has checked: exact, bounded, and nothing but arithmetic.

Numbers are whole numbers and fractions as long as they can be, so 0.1 + 0.2 is 0.3 and a third
three times is 1. Only roots, and powers that are none, give an inexact result.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from decimal import Context, Decimal
from fractions import Fraction
from typing import Final

from reverie.errors import ToolFailed

Number = int | Fraction | float

MOST_CHARACTERS: Final = 400
MOST_BITS: Final = 4096
"""Of a numerator or denominator: about 1,200 digits."""
_DIGITS: Final = 12
"""Significant digits of what has no end."""
_MOST_DECIMALS: Final = 30
"""Decimals of a fraction that has an end, and is written to it."""

_SIGNS: Final = str.maketrans(
    {
        "\N{MULTIPLICATION SIGN}": "*",
        "\N{MIDDLE DOT}": "*",
        "\N{DIVISION SIGN}": "/",
        "\N{MINUS SIGN}": "-",
        "\N{EN DASH}": "-",
        "\n": " ",
    }
)
"""What people and models write for the signs of arithmetic."""


def evaluate(expression: str) -> Number:
    """The value of an expression of numbers, + - * / // % ** (also ^), parentheses, gcd, lcm, sqrt,
    abs, min, max and round. Raises ToolFailed saying what is wrong with it.
    """
    if len(expression) > MOST_CHARACTERS:
        raise ToolFailed(f"the expression is longer than {MOST_CHARACTERS} characters")
    text = expression.translate(_SIGNS).replace("^", "**").strip().rstrip("= ?")
    if not text:
        raise ToolFailed("the expression is empty")
    if not text.isascii():
        raise ToolFailed(f"{_first_foreign(text)!r} is no sign of arithmetic")
    try:
        tree = ast.parse(text, mode="eval")
        return _value(tree.body, text)
    except SyntaxError as error:
        raise ToolFailed(f"{expression!r} is no expression: {error.msg}") from error
    except (RecursionError, MemoryError) as error:
        raise ToolFailed("the expression is nested too deeply") from error
    except ZeroDivisionError as error:
        raise ToolFailed("division by zero") from error
    except (OverflowError, ValueError) as error:
        raise ToolFailed(f"{expression!r} cannot be worked out: {error}") from error


def written(value: Number) -> str:
    """A number as people write it: whole without decimals, fractions as decimals, to their end when
    that is near, else with twelve significant digits.
    """
    if isinstance(value, float):
        return _decimal(Decimal(f"{value:.{_DIGITS}g}"))
    fraction = Fraction(value)
    if fraction.denominator == 1:
        return str(fraction.numerator)
    decimals = _decimals(fraction.denominator)
    # Enough digits for all of a fraction that ends: then the division is exact. One without end
    # keeps its whole part.
    digits = len(str(abs(fraction.numerator))) + decimals if decimals is not None else 4
    context = Context(prec=max(digits, len(str(abs(int(fraction)))) + 4, _DIGITS))
    return _decimal(context.divide(Decimal(fraction.numerator), Decimal(fraction.denominator)))


def _value(node: ast.expr, text: str) -> Number:
    match node:
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            # From the text: a float would have lost what the decimals say.
            return _bounded(_literal(text[node.col_offset : node.end_col_offset]))
        case ast.UnaryOp(op=ast.USub()):
            return -_value(node.operand, text)
        case ast.UnaryOp(op=ast.UAdd()):
            return _value(node.operand, text)
        case ast.BinOp(op=ast.Pow()):
            return _bounded(_power(_value(node.left, text), _value(node.right, text)))
        case ast.BinOp() if type(node.op) in _OPERATORS:
            left, right = _value(node.left, text), _value(node.right, text)
            return _bounded(_OPERATORS[type(node.op)](left, right))
        case ast.Call(func=ast.Name(id=name), keywords=[]):
            if name not in _FUNCTIONS:
                raise ToolFailed(
                    f"there is no function {name!r}", hint=f"there are {', '.join(_FUNCTIONS)}"
                )
            return _bounded(_FUNCTIONS[name]([_value(inner, text) for inner in node.args]))
        case ast.Name(id=name):
            raise ToolFailed(f"{name!r} has no value: write numbers")
        case ast.Tuple():
            raise ToolFailed("a comma stands where none belongs: write 1234, not 1,234")
    raise ToolFailed(f"{ast.unparse(node)!r} is no arithmetic")


def _literal(text: str) -> Number:
    if not set(text) <= set("0123456789._eE+-"):
        raise ToolFailed(f"{text!r} is no decimal number")
    mantissa, _, exponent = text.lower().partition("e")
    if exponent and abs(int(exponent)) > MOST_BITS // 4:
        raise ToolFailed(f"{text!r} is too large or too small")
    return _plain(Fraction(mantissa) * Fraction(10) ** int(exponent or 0))


def _divide(left: Number, right: Number) -> Number:
    if isinstance(left, float) or isinstance(right, float):
        return left / right
    return _plain(Fraction(left) / Fraction(right))


def _power(base: Number, exponent: Number) -> Number:
    """Exact for whole exponents and for roots that come out even."""
    if isinstance(base, int | Fraction) and isinstance(exponent, int):
        size = max(_bits(base), 1) * abs(exponent)
        if abs(base) not in (0, 1) and size > 2 * MOST_BITS:
            raise ToolFailed(f"the power is too large: more than {MOST_BITS} bits")
        if exponent < 0 and base == 0:
            raise ZeroDivisionError
        return _plain(Fraction(base) ** exponent)
    if exponent == Fraction(1, 2):
        return _root(base)
    if base < 0:
        raise ToolFailed("a root of a negative number is no real number")
    return math.pow(float(base), float(exponent))


def _root(value: Number) -> Number:
    if value < 0:
        raise ToolFailed("a root of a negative number is no real number")
    if isinstance(value, float):
        return math.sqrt(value)
    fraction = Fraction(value)
    above, below = math.isqrt(fraction.numerator), math.isqrt(fraction.denominator)
    if above * above == fraction.numerator and below * below == fraction.denominator:
        return _plain(Fraction(above, below))
    return math.sqrt(fraction)


def _distance(value: Number) -> Number:
    return -value if value < 0 else value


def _gcd(values: Sequence[Number]) -> Number:
    return math.gcd(*_whole("gcd", values))


def _lcm(values: Sequence[Number]) -> Number:
    whole = _whole("lcm", values)
    result = 1
    for value in whole:
        result = math.lcm(result, value)
        _bounded(result)
    return result


def _round(values: Sequence[Number]) -> Number:
    if len(values) not in (1, 2):
        raise ToolFailed("round takes a number and, perhaps, how many decimals")
    value, decimals = values[0], values[1] if len(values) == 2 else 0
    if not isinstance(decimals, int) or abs(decimals) > _MOST_DECIMALS:
        raise ToolFailed(f"round takes a whole number of decimals, at most {_MOST_DECIMALS}")
    return _plain(Fraction(round(Fraction(value), decimals)))


def _one(name: str, function: Callable[[Number], Number]) -> Callable[[Sequence[Number]], Number]:
    def call(values: Sequence[Number]) -> Number:
        if len(values) != 1:
            raise ToolFailed(f"{name} takes one number, not {len(values)}")
        return function(values[0])

    return call


def _some(
    name: str, function: Callable[[Sequence[Number]], Number]
) -> Callable[[Sequence[Number]], Number]:
    def call(values: Sequence[Number]) -> Number:
        if not values:
            raise ToolFailed(f"{name} takes at least one number")
        return function(values)

    return call


def _whole(name: str, values: Sequence[Number]) -> list[int]:
    whole = [value for value in values if isinstance(value, int)]
    if len(whole) < len(values) or not values:
        raise ToolFailed(f"{name} takes whole numbers")
    return whole


def _plain(value: Fraction) -> Number:
    return value.numerator if value.denominator == 1 else value


def _bounded(value: Number) -> Number:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ToolFailed("the result is too large")
    elif _bits(value) > MOST_BITS:
        raise ToolFailed(f"the result is too large: more than {MOST_BITS} bits")
    return value if not isinstance(value, Fraction) else _plain(value)


def _bits(value: int | Fraction) -> int:
    fraction = Fraction(value)
    return max(fraction.numerator.bit_length(), fraction.denominator.bit_length())


def _decimals(denominator: int) -> int | None:
    """How many decimals a fraction in lowest terms has; None when too many, or without end."""
    twos = (denominator & -denominator).bit_length() - 1
    rest, fives = denominator >> twos, 0
    while rest % 5 == 0 and fives <= _MOST_DECIMALS:
        rest, fives = rest // 5, fives + 1
    decimals = max(twos, fives)
    return decimals if rest == 1 and decimals <= _MOST_DECIMALS else None


def _decimal(value: Decimal) -> str:
    """Without an exponent as long as that stays readable, and without zeros at the end."""
    if value.is_zero():
        return "0"
    if not -_MOST_DECIMALS <= value.adjusted() <= _MOST_DECIMALS:
        return f"{value.normalize():e}"
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _first_foreign(text: str) -> str:
    return next(character for character in text if not character.isascii())


_OPERATORS: Final[Mapping[type[ast.operator], Callable[[Number, Number], Number]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: _divide,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}

_FUNCTIONS: Final[Mapping[str, Callable[[Sequence[Number]], Number]]] = {
    "gcd": _gcd,
    "lcm": _lcm,
    "sqrt": _one("sqrt", _root),
    "abs": _one("abs", _distance),
    "min": _some("min", min),
    "max": _some("max", max),
    "round": _round,
}
