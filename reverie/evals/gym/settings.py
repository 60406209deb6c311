"""How the measuring model is asked: the settings it was trained for."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal

from reverie.settings import Settings, load_settings


def prompts_folder() -> Path:
    """The prompts of the measuring model: the last line of a question says how to answer."""
    with as_file(files("reverie.evals.gym").joinpath("prompts")) as folder:
        return folder


def gym_settings(
    model: str,
    home: Path,
    *,
    strategies: tuple[str, ...] = ("direct", "chain_of_thought", "tools"),
    device: Literal["cpu", "cuda"] = "cpu",
    batch: int = 8,
    accept_above: float | None = None,
) -> Settings:
    """Settings for the merged ``model`` (a folder, or a server's address), with a ``home`` of its
    own, so that nothing learned elsewhere helps or hurts. ``accept_above`` None: as it is set; 0:
    the first attempt that answers is taken.
    """
    base = load_settings().settings
    reason = base.reason.model_copy(
        update={
            "strategies": strategies,
            "prompts": prompts_folder(),
            # Ten animals counted line by line are about 200 tokens, ten sorted numbers 110.
            "thought_tokens": 320,
            "answer_tokens": 128,
            # It was trained to write one expression; what the calculator makes of it is the answer.
            "tools": ("calculator",),
            "tool_rounds": 1,
            # It knows these prompts only, none with another instruction in it.
            "augment_below": 0.0,
        }
    )
    if accept_above is not None:
        reason = reason.model_copy(update={"accept_above": accept_above})
    own = base.model.model_copy(
        update={
            "name": model,
            "cache": base.models_folder,
            "device": device,
            "max_batch": batch,
        }
    )
    return base.model_copy(
        update={
            "home": home,
            "model": own,
            "backends": (),
            # Many questions at once wait for each other.
            "budget": base.budget.model_copy(update={"seconds": 900.0}),
            "reason": reason,
            "runs": base.runs.model_copy(update={"durability": "exit"}),
            "trace": base.trace.model_copy(update={"keep": 0, "otel": False}),
        }
    )
