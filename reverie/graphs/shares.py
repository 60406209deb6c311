"""How a budget is shared out between the branches of a fan-out."""

from __future__ import annotations

from collections.abc import Sequence

from reverie.errors import BudgetExceeded
from reverie.graphs.records import Limits


def branch_shares(
    left: Limits, prompts: Sequence[int], *, smallest: int, longest: int, what: str
) -> list[int]:
    """The tokens for each branch that ``left`` pays for, prompts included: as many branches as can
    all write at least ``smallest`` tokens, each an equal share, none more than ``longest``.

    ``prompts`` are the branches' prompt tokens, in order; ``what`` is what one branch is called.
    Raises BudgetExceeded, which names the smallest budget that would do, when not even one fits.
    """
    count = min(len(prompts), left["calls"])
    if count < 1:
        raise BudgetExceeded("no model call is left in the budget", hint="raise budget.calls")
    while count > 1 and sum(prompts[:count]) + count * smallest > left["tokens"]:
        count -= 1
    room = left["tokens"] - sum(prompts[:count])
    if room < smallest:
        needed = prompts[0] + smallest
        raise BudgetExceeded(
            f"{left['tokens']} tokens are too few for a single {what}: the smallest budget that "
            f"would do is {needed} tokens ({prompts[0]} for the prompt and {smallest} for the "
            f"{what})",
            hint=f"give --budget {needed} or more, or --strategy direct",
        )
    written = min(longest, room // count)
    return [prompt + written for prompt in prompts[:count]]
