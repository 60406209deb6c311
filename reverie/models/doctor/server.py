"""Which models are served, by which program, with what window: mostly read, hardly asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any, TypeGuard

from reverie.errors import (
    ConfigError,
    ContextOverflow,
    ModelRejected,
    ModelUnavailable,
    ReverieError,
)
from reverie.models.doctor.probing import Outcome, Probe, Probing, unknown, yes
from reverie.models.doctor.question import Question
from reverie.models.model_name import may_chat, parameters_in
from reverie.models.presets import paths_to_ask, recognise

_WINDOW_KEYS = ("max_model_len", "context_length", "context_window", "max_context_length")
_ENDLESS = 1 << 30
"""More tokens than any window has: servers that check refuse it, naming theirs."""
_LONG_PROMPTS = (6_000, 48_000)
"""Words of prompts that may be too long."""
_SHOWN = 6


async def choose_model(probing: Probing, wanted: str) -> None:
    """Read the list of models and settle on one. Raises when the server cannot be used."""
    try:
        document = await probing.get("/models", seconds=probing.patience.contact)
    except ModelRejected as error:
        if error.status in (401, 403):
            raise
        await _hint_at_v1(probing, error)
        if not wanted:
            raise
        document = None
        probing.notices.append("the server has no list of models")
    entries = [entry for entry in _entries(document) if isinstance(entry.get("id"), str)]
    probing.models = tuple(str(entry["id"]) for entry in entries)
    await _recognise(probing, document)
    probing.model = wanted or _first(probing)
    probing.listed = next((e for e in entries if e["id"] == probing.model), {})
    if wanted and probing.models and wanted not in probing.models:
        probing.notices.append(f"{wanted} is not in the server's list of models")


async def read_version(probing: Probing) -> str:
    """The version of the server, where it tells one."""
    mark = probing.preset.version if probing.preset else None
    if mark is None:
        return ""
    answer = await _try(probing, mark.path)
    version = answer.get(mark.key) if isinstance(answer, Mapping) else None
    return version if isinstance(version, str) else ""


async def _window(probing: Probing) -> Outcome:
    for key in _WINDOW_KEYS:
        if _positive(told := probing.listed.get(key)):
            return _known(told, f"{key} in /models")
    for source in (_window_of_llamacpp, _window_of_ollama, _window_of_lmstudio):
        outcome = await source(probing)
        if outcome is not None:
            return outcome
    preset = probing.preset.profile_for(probing.model) if probing.preset else None
    if preset and preset.window:
        return _known(preset.window, "what is known of this server and model")
    return await _window_by_overflow(probing)


async def _window_of_llamacpp(probing: Probing) -> Outcome | None:
    if probing.preset is None or probing.preset.name != "llamacpp":
        return None
    props = await _try(probing, "//props")
    settings = props.get("default_generation_settings") if isinstance(props, Mapping) else None
    tokens = settings.get("n_ctx") if isinstance(settings, Mapping) else None
    return _known(tokens, "n_ctx in /props") if _positive(tokens) else None


async def _window_of_ollama(probing: Probing) -> Outcome | None:
    if probing.preset is None or probing.preset.name != "ollama":
        return None
    running = await _try(probing, "//api/ps")
    for entry in _entries(running, "models"):
        named = probing.model in (entry.get("name"), entry.get("model"))
        if named and _positive(entry.get("context_length")):
            return _known(entry["context_length"], "context_length of the loaded model in /api/ps")
    shown = await _shown_by_ollama(probing)
    found = re.search(r"^num_ctx\s+(\d+)", str(shown.get("parameters", "")), re.MULTILINE)
    return _known(int(found[1]), "num_ctx of the model in /api/show") if found else None


async def _window_of_lmstudio(probing: Probing) -> Outcome | None:
    if probing.preset is None or probing.preset.name != "lmstudio":
        return None
    for entry in _entries(await _try(probing, "//api/v0/models")):
        if entry.get("id") == probing.model:
            for key in ("loaded_context_length", "max_context_length"):
                if _positive(entry.get(key)):
                    return _known(entry[key], f"{key} in /api/v0/models")
    return None


async def _window_by_overflow(probing: Probing) -> Outcome:
    """What the server says of its window when it is asked for too much."""
    endless = Question("Say hello.", tokens=_ENDLESS)
    try:
        # A stream, left at its first event: a server that does not check would write on and on.
        async with aclosing(probing.stream(endless, seconds=10)) as events:
            async for _ in events:
                break
    except ContextOverflow as error:
        if error.window:
            return _known(error.window, "the words of its refusal of a reply too long")
    except ReverieError:  # refused for another reason: the long prompts tell
        pass
    for words in _LONG_PROMPTS:
        if probing.late:
            break
        outcome = await _window_by_prompt(probing, words)
        if outcome is not None:
            return outcome
    return unknown(f"no refusal of {_LONG_PROMPTS[-1]:,} words told it")


async def _window_by_prompt(probing: Probing, words: int) -> Outcome | None:
    try:
        reply = await probing.ask(Question("word " * words, tokens=1), seconds=20)
    except ContextOverflow as error:
        if error.window:
            return _known(error.window, f"the words of its refusal of {words:,} words")
        return unknown(f"a prompt of {words:,} words is refused without saying how many fit")
    except ModelUnavailable:
        return unknown(f"a prompt of {words:,} words took too long")
    if reply.usage and reply.usage[0] < words / 2:
        # Any word is a token at least.
        return _known(
            reply.usage[0] + 1,
            f"a prompt of {words:,} words was cut to {reply.usage[0]:,} tokens without a word",
        )
    return None


async def _parameters(probing: Probing) -> Outcome:
    meta = probing.listed.get("meta")
    if isinstance(meta, Mapping) and _positive(meta.get("n_params")):
        return _sized(meta["n_params"], "n_params in /models")
    if probing.preset is not None and probing.preset.name == "ollama":
        shown = await _shown_by_ollama(probing)
        info = shown.get("model_info")
        count = info.get("general.parameter_count") if isinstance(info, Mapping) else None
        if _positive(count):
            return _sized(count, "general.parameter_count in /api/show")
    for name in (probing.model, probing.listed.get("root"), probing.listed.get("name")):
        if isinstance(name, str) and (size := parameters_in(name)):
            return _sized(size, f"the name {name.rpartition('/')[2]}")
    return unknown("neither the server nor the model's name tells it")


WINDOW = Probe("window", _window)
PARAMETERS = Probe("parameters", _parameters)


def short_number(count: int) -> str:
    """``134515008`` as ``135 million``."""
    for unit, word in ((10**12, "trillion"), (10**9, "billion"), (10**6, "million")):
        if count >= unit:
            return f"{count / unit:.3g} {word}"
    return f"{count:,}"


def _known(tokens: int, evidence: str) -> Outcome:
    return yes(evidence, f"{tokens:,} tokens", window=tokens)


def _sized(count: int, evidence: str) -> Outcome:
    return yes(evidence, short_number(count), parameters=count)


def _first(probing: Probing) -> str:
    chatting = [name for name in probing.models if may_chat(name)] or probing.models
    address = probing.connection.endpoint.address
    if not chatting:
        raise ModelUnavailable(
            f"{address} serves no model",
            hint="load one there, or name one with --model",
        )
    if len(probing.models) > 1:
        others = ", ".join(probing.models[:_SHOWN]) + (", …" * (len(probing.models) > _SHOWN))
        if probing.preset and probing.preset.needs_key:
            raise ConfigError(
                f"{address} has {len(probing.models)} models",
                hint=f"name one with --model: {others}",
            )
        probing.notices.append(f"the first of {len(probing.models)} models is examined: {others}")
    return chatting[0]


async def _recognise(probing: Probing, models: Any) -> None:
    address = probing.connection.endpoint.address
    probing.preset = recognise(models, address=address)
    if probing.preset is None:
        answers = {path: await _try(probing, path) for path in paths_to_ask()}
        probing.preset = recognise(models, answers, address=address)


async def _hint_at_v1(probing: Probing, error: ModelRejected) -> None:
    """Raise a better error when the models are under ``/v1`` and the address is not."""
    endpoint = probing.connection.endpoint
    if endpoint.address.endswith("/v1") or error.status != 404:
        return
    if _entries(await _try(probing, "//v1/models")):
        raise ConfigError(
            f"{endpoint.address} has no /models", hint=f"use {endpoint.root}/v1"
        ) from error


async def _try(probing: Probing, path: str) -> Any:
    try:
        return await probing.get(path, seconds=3)
    except ReverieError:  # not there: another kind of server
        return None


async def _shown_by_ollama(probing: Probing) -> Mapping[str, Any]:
    try:
        shown = await probing.post("//api/show", {"model": probing.model})
    except ReverieError:  # then nothing is known from it
        return {}
    return shown if isinstance(shown, Mapping) else {}


def _entries(document: Any, key: str = "data") -> list[Mapping[str, Any]]:
    listed = document.get(key) if isinstance(document, Mapping) else None
    return [e for e in listed if isinstance(e, Mapping)] if isinstance(listed, list) else []


def _positive(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
