# ruff: noqa: INP001, T201  # a script beside the page that its table is in
"""What every strategy costs on the packaged model: the table in strategies.md.

Run it from the checkout, in the environment of the tests: ``python docs/strategies.py``. It asks
eight questions, once each, with every strategy that is known.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from reverie.agents.reasoner import Reasoner
from reverie.agents.result import Result
from reverie.errors import ReverieError
from reverie.graphs.budget import total_tokens
from reverie.graphs.strategies import known_strategies
from reverie.settings import Settings, load_settings

QUESTIONS = (
    "What happens when you drop a ball?",
    "A farmer has 5 hens and twice as many ducks. How many birds does he have?",
    "What is the capital of France?",
    "Why does ice float on water?",
    "What is 17 + 26?",
    "Which is faster, a car or a bicycle?",
    "What happens when you put salt on ice?",
    "Tom has 12 apples and gives away a third. How many are left?",
)
SEED = 1


def measured(reasoner: Reasoner, name: str) -> tuple[list[Result], list[float]]:
    """The results of all questions, and the seconds that each took."""
    results, seconds = [], []
    for question in QUESTIONS:
        began = time.perf_counter()
        try:
            results.append(reasoner.ask(question, strategy=name, seed=SEED))
        except ReverieError as error:
            print(f"{name}: {question}: {error}", file=sys.stderr)
            continue
        seconds.append(time.perf_counter() - began)
    return results, seconds


def row(name: str, results: Sequence[Result], seconds: Sequence[float]) -> str:
    """One line of the table."""
    tokens = [total_tokens(r.cost["spent"]) for r in results]
    calls = [r.cost["spent"]["calls"] for r in results]
    cells = (
        f"`{name}`",
        f"{statistics.mean(tokens):.0f} ± {statistics.stdev(tokens):.0f}",
        f"{min(tokens)} to {max(tokens)}",
        f"{statistics.mean(calls):.1f}",
        f"{statistics.median(seconds):.1f}",
    )
    return f"| {' | '.join(cells)} |"


def main(names: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as home:
        given = load_settings().settings
        settings = Settings.model_validate({"home": Path(home), "model": given.model.model_dump()})
        with Reasoner(settings) as reasoner:
            reasoner.ask("Hi?", strategy="direct", seed=SEED)  # loads the model
            print("| strategy | tokens, mean ± sd | range | calls | seconds, median |")
            print("|---|---|---|---|---|")
            for name in names or known_strategies():
                print(row(name, *measured(reasoner, name)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
