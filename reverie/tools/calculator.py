"""The calculator: exact arithmetic for models that cannot do it."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from reverie.tools.arithmetic import evaluate, written
from reverie.tools.registry import tool
from reverie.tools.tool import Example

_PATTERN: Final = r"^[-+*/%^(),.0-9a-z ]+$"
"""What an expression is made of: digits, signs and names of functions. Generous, since a tight
pattern keeps a model from what it was about to write.
"""

_EXAMPLES: Final = (
    Example(
        "Tom had 90 marbles and gave 24 of them away. How many are left?",
        {"expression": "90-24"},
        "66",
        "66",
    ),
    Example("What is 12 times 7 plus 5?", {"expression": "12*7+5"}, "89", "89"),
)


@tool(side_effects=False, examples=_EXAMPLES)
def calculator(
    expression: Annotated[
        str,
        Field(
            json_schema_extra={
                "pattern": _PATTERN
            },  # the tool itself takes more, such as a multiplication sign
            description="numbers with + - * / // % ** and parentheses; gcd, lcm, sqrt, abs, min, "
            "max, round",
        ),
    ],
) -> str:
    """Works out an arithmetic expression."""
    return written(evaluate(expression))
