"""Merging an adapter into the packaged model (LoRA, Hu et al. 2021, arXiv 2106.09685)."""

from __future__ import annotations

import warnings
from pathlib import Path

from reverie.errors import ConfigError, ModelUnavailable
from reverie.models.embedded.checkpoint import Report, prepare


def merge(adapter: Path, into: Path, *, cache: Path, report: Report | None = None) -> Path:
    """Write the packaged model with ``adapter``'s weights added to ``into``, a folder that the
    embedded engine and vLLM load. Blocks for some ten seconds; about 270 MB.

    Raises ConfigError when ``adapter`` is no adapter of that model, ``into`` is in the way, or the
    extra ``eval`` is missing; ModelUnavailable when the packaged model cannot be made.
    """
    if not (adapter / "adapter_config.json").is_file():
        raise ConfigError(
            f"{adapter} holds no adapter",
            hint="name the folder with adapter_config.json and adapter_model.safetensors",
        )
    if into.exists() and any(into.iterdir()):
        raise ConfigError(f"{into} is not empty", hint="name a folder that is not there yet")
    _require_peft()
    base = prepare(cache, report)
    _merge(base, adapter, into)
    return into


def _merge(base: Path, adapter: Path, into: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # In float32: the sum of base and update is rounded once, at the end.
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, local_files_only=True)
    with warnings.catch_warnings():
        # peft and transformers read a property that transformers itself has renamed.
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
        try:
            merged = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
        except (ValueError, RuntimeError, OSError) as error:
            raise ModelUnavailable(
                f"the adapter in {adapter} does not fit the packaged model: {error}",
                hint="it has to be trained on SmolLM2-135M-Instruct",
            ) from error
        merged.to(torch.bfloat16).save_pretrained(into)
    AutoTokenizer.from_pretrained(base, local_files_only=True).save_pretrained(into)


def _require_peft() -> None:
    from importlib.util import find_spec

    if find_spec("peft") is None:
        raise ConfigError(
            "merging an adapter needs peft, which is not installed",
            hint="pip install 'reverie[eval,local]' (in a checkout: -e '.[eval,local]')",
        )
