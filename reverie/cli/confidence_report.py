"""``reverie strategies --confidence``: how far each model can be believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reverie.cli.strategy_table import Table
    from reverie.settings import Settings


async def confidence_report(settings: Settings) -> dict[str, Any]:
    """Every calibration, and what the settings' model lacks if it has none, as JSON. Loads no
    model, and creates no file.
    """
    import asyncio
    from dataclasses import asdict

    from reverie.knowledge.calibration import Calibrations

    model = settings.model.name
    path = settings.home / "calibration.sqlite"
    found = []
    if await asyncio.to_thread(path.exists):
        store = await Calibrations.open(path, to_read=True)
        try:
            found = await store.newest()
        finally:
            await store.close()
    kept = ("model", "strategy", "version", "kind", "outcomes", "right", "before", "after")
    return {
        "calibrations": [{k: v for k, v in asdict(c).items() if k in kept} for c in found],
        "uncalibrated": None
        if any(c.model == model for c in found)
        else {"model": model, **await _scored(settings)},
    }


async def _scored(settings: Settings) -> dict[str, int]:
    """How many answers of the settings' model were scored, and how many of them were right."""
    from reverie.knowledge.strategies import StrategyMemory

    memory = await StrategyMemory.inspect(
        settings.home / "strategies.sqlite", memory=settings.learn.memory
    )
    if memory is None:
        return {"scored": 0, "right": 0}
    try:
        judged = await memory.judged(settings.model.name)
    finally:
        await memory.close()
    return {"scored": len(judged), "right": sum(j.score >= 0.5 for j in judged)}


def confidence_table(document: dict[str, Any]) -> Table:
    """The calibrations, a row each. Errors are of answers that were held out of the fit."""
    from reverie.cli.strategy_table import Table
    from reverie.cli.wording import clean

    columns = ("model", "strategy", "form", "version", "answers", "right", "ECE", "Brier")
    rows = [
        (
            clean(one["model"]),
            clean(one["strategy"]) or "all",
            one["kind"],
            str(one["version"]),
            str(one["outcomes"]),
            f"{one['right']:.2f}",
            _change(one, "ece_mass"),
            _change(one, "brier"),
        )
        for one in document["calibrations"]
    ]
    return Table(columns, rows, words=3)


def _change(one: dict[str, Any], what: str) -> str:
    return f"{one['before'][what]:.3f} → {one['after'][what]:.3f}"


def uncalibrated_text(document: dict[str, Any]) -> str:
    """What the settings' model lacks; empty when it is calibrated."""
    from reverie.knowledge.calibration import MINIMUM_EACH, MINIMUM_OUTCOMES

    lacking = document["uncalibrated"]
    if lacking is None:
        return ""
    wrong = lacking["scored"] - lacking["right"]
    return (
        f"confidence of {lacking['model']} is uncalibrated: {lacking['right']} right and {wrong} "
        f"wrong answers are scored, and it takes {MINIMUM_OUTCOMES}, at least {MINIMUM_EACH} of "
        "each kind"
    )
