# ruff: noqa: INP001, T201  # a script beside the page that its table is in
"""How the packaged procedures do on the packaged model: the table in sops.md.

Run it from the checkout, in the environment of the tests: ``python docs/sops.py``. It follows each
procedure once, on a task of its kind, and prints the answers for a person to judge.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from reverie.agents.reasoner import Reasoner
from reverie.errors import ReverieError
from reverie.graphs.budget import total_tokens
from reverie.settings import BudgetSettings, Settings, load_settings

TASKS = {
    "check_fact": "Is it true that a ball falls when you drop it?",
    "compare_options": "Should I choose a diesel or an electric car for short trips in a city?",
    "convert_units": "Convert 10 kilometers into miles.",
    "debug_python_code": "Why does this raise an IndexError? a = [1, 2, 3]; print(a[3])",
    "find_root_cause": "Our server keeps failing every night at 2 am since we moved the backup to "
    "that hour. What is the root cause?",
    "plan_trip_or_event": "Plan a birthday party at home for ten children on a Saturday afternoon.",
    "review_code": "Review my code: def mean(xs): return sum(xs) / len(xs)",
    "solve_word_problem": "Tom has 3 bags with 4 apples in each of them. How many apples does he "
    "have?",
    "summarise_document": "Summarise: Bees live in colonies of up to 50,000. They collect nectar "
    "and pollinate crops. Their number has fallen, and pesticides are suspected.",
    "write_unit_tests": "Write unit tests for def add(a, b): return a + b",
}
BUDGET = BudgetSettings(tokens=3000, seconds=120)
SEED = 1


def row(reasoner: Reasoner, name: str, task: str) -> tuple[str, str]:
    """A line of the table, and the answer."""
    began = time.perf_counter()
    try:
        result = reasoner.ask(task, sop=name, budget=BUDGET, seed=SEED)
    except ReverieError as error:
        return f"| `{name}` | failed | | | | |", error.message
    seconds = time.perf_counter() - began
    use = result.attempts[0].get("sop")
    steps = use["steps"] if use else []
    cells = (
        f"`{name}`",
        result.status,
        f"{sum(s['status'] == 'done' for s in steps)} of {len(steps)}",
        f"{sum(max(0, s['tries'] - 1) for s in steps)}",
        f"{total_tokens(result.cost['spent']):,}",
        f"{seconds:.1f}",
    )
    return f"| {' | '.join(cells)} |", result.answer


def main(names: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as home:
        given = load_settings().settings
        settings = Settings.model_validate({"home": Path(home), "model": given.model.model_dump()})
        answers = {}
        with Reasoner(settings) as reasoner:
            reasoner.ask("Hi?", strategy="direct", seed=SEED)  # loads the model
            print("| procedure | end | steps done | done again | tokens | seconds |")
            print("|---|---|---|---|---|---|")
            for name in names or TASKS:
                line, answers[name] = row(reasoner, name, TASKS[name])
                print(line, flush=True)
        for name, answer in answers.items():
            print(f"\n{name}: {answer}")


if __name__ == "__main__":
    main(sys.argv[1:])
