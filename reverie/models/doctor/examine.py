"""An examination, from the first contact to the profile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from reverie.errors import ContextOverflow, ModelRejected, ModelUnavailable
from reverie.models.doctor import reply, server, structure, tokens
from reverie.models.doctor.examination import (
    Costs,
    Examination,
    Finding,
    Patience,
    Progress,
    Step,
)
from reverie.models.doctor.probing import Outcome, Probe, Probing, no, said, unknown
from reverie.models.doctor.remedies import remedy
from reverie.models.doctor.speed import CONCURRENT, measure
from reverie.models.profile import ModelProfile
from reverie.models.profiles import Speed, normalised
from reverie.models.wire.connection import Connection
from reverie.models.wire.endpoint import Endpoint

# In the order in which they are told.
_TITLES = {
    "window": "context window",
    "parameters": "parameters",
    "wire": "wire format",
    "max_tokens_field": "limit on replies",
    "cut": "says when cut",
    "sampling": "temperature",
    "seed": "seed",
    "stop": "stop strings",
    "n": "n > 1",
    "prefill": "prefill",
    "usage": "usage in streams",
    "reasoning": "reasoning",
    "tools": "tools",
    "parallel_tools": "parallel tool calls",
    "strict_tools": "strict arguments",
    "json_schema": "JSON schema",
    "schema_patterns": "patterns in schemas",
    "json_object": "JSON object",
    "schema_with_tools": "schema with tools",
    "schema_prefill": "prefill with schema",
    "grammar": "grammar",
    "logprobs": "log-probabilities",
    "prompt_logprobs": "prompt log-probs",
    "token_ids": "token ids",
    "embeddings": "embeddings",
    "counter": "counts tokens",
}

# One after another and with nothing beside them: in a larger batch the same seed or the likeliest
# token may come out differently, by the rounding of sums.
_QUIET = (reply.STOP, reply.PREFILL, reply.SEED)
_TOGETHER = (
    reply.CUT,
    reply.USAGE,
    reply.N,
    structure.TOOLS,
    structure.JSON_SCHEMA,
    structure.JSON_OBJECT,
    structure.GRAMMAR,
    tokens.LOGPROBS,
    tokens.PROMPT_LOGPROBS,
    tokens.TOKEN_IDS,
    tokens.EMBEDDINGS,
    tokens.COUNTER,
)
_AFTERWARDS = (
    structure.SCHEMA_PATTERNS,
    structure.PARALLEL_TOOLS,
    structure.STRICT_TOOLS,
    structure.SCHEMA_WITH_TOOLS,
    structure.SCHEMA_PREFILL,
    reply.REASONING,
)
_AT_A_TIME = 4


async def examine(
    endpoint: Endpoint,
    *,
    model: str = "",
    quick: bool = False,
    patience: Patience | None = None,
    progress: Progress | None = None,
) -> Examination:
    """Find out what ``model`` (or the server's first one) can do. ``quick`` leaves out its speed.

    Raises ModelUnavailable, ModelRejected or ConfigError when the server cannot be used at all. A
    probe that fails is a finding: refused is no, and anything else is unknown.
    """
    patience = patience or Patience()
    patient = replace(endpoint, retries=min(endpoint.retries, 2))
    connection = await asyncio.to_thread(Connection, patient)
    probing = Probing(connection, patience)
    try:
        return await _Course(probing, progress or (lambda _: None)).run(model, quick=quick)
    finally:
        await connection.aclose()


class _Course:
    """The order of an examination."""

    def __init__(self, probing: Probing, progress: Progress) -> None:
        self._probing = probing
        self._report = progress
        self._total = 4 + len(_QUIET) + len(_TOGETHER) + len(_AFTERWARDS)
        self._done = 0
        self._running: list[str] = []

    async def run(self, model: str, *, quick: bool) -> Examination:
        probing, began = self._probing, time.monotonic()
        self._total += 0 if quick else len(CONCURRENT)
        self._begin("models")
        await server.choose_model(probing, model)
        version = await server.read_version(probing)
        self._end("models")
        self._begin("first reply")
        await reply.first_reply(probing)
        self._end("first reply")
        probing.until = time.monotonic() + probing.patience.probes
        for probe in (server.PARAMETERS, server.WINDOW, *_QUIET):
            await self._probe(probe)
        await self._together(_TOGETHER)
        await self._together(_AFTERWARDS)
        await self._still_there()
        speeds: list[Speed] = []
        if not quick:
            self._begin("speed")
            speeds = await self._speeds()
            self._done += len(CONCURRENT) - 1
            self._end("speed")
        return self._examination(version, speeds, time.monotonic() - began)

    async def _together(self, probes: Sequence[Probe]) -> None:
        places = asyncio.Semaphore(_AT_A_TIME)

        async def one(probe: Probe) -> None:
            async with places:
                await self._probe(probe)

        async with asyncio.TaskGroup() as group:
            for probe in probes:
                group.create_task(one(probe))

    async def _probe(self, probe: Probe) -> None:
        title = _TITLES[probe.ability]
        self._begin(title)
        self._probing.outcomes[probe.ability] = await self._outcome(probe)
        self._end(title)

    async def _outcome(self, probe: Probe) -> Outcome:
        if self._probing.late:
            return unknown("there was no time left for it")
        try:
            return await probe.run(self._probing)
        except ContextOverflow as error:
            return unknown(said(error))
        except ModelRejected as error:
            return no(f"refused: {said(error)}")
        except ModelUnavailable as error:
            return unknown(said(error))

    async def _still_there(self) -> None:
        """Raise when the server went away: then what stayed unknown is not its inability."""
        findings = self._probing.outcomes.values()
        if sum(outcome.verdict == "unknown" for outcome in findings) > len(_TOGETHER) / 2:
            await self._probing.get("/models", seconds=self._probing.patience.contact)

    async def _speeds(self) -> list[Speed]:
        try:
            return await measure(self._probing, self._probing.patience.speed)
        except (ModelRejected, ModelUnavailable) as error:
            self._probing.notices.append(f"its speed is not known: {said(error)}")
            return []

    def _examination(self, version: str, speeds: list[Speed], seconds: float) -> Examination:
        probing = self._probing
        preset = probing.preset
        findings = [
            _finding(name, probing.outcomes[name]) for name in _TITLES if name in probing.outcomes
        ]
        fields = {k: v for finding in findings for k, v in finding.fields.items()}
        return Examination(
            address=normalised(probing.connection.endpoint.address),
            model=probing.model,
            models=probing.models,
            server=preset.title if preset else "",
            version=version,
            when=datetime.now(UTC),
            findings=tuple(findings),
            speeds=tuple(speeds),
            profile=ModelProfile(name=probing.model, **fields),
            costs=Costs(
                requests=probing.requests,
                prompt_tokens=probing.prompt_tokens,
                completion_tokens=probing.completion_tokens,
                seconds=seconds,
            ),
            notices=tuple(probing.notices),
        )

    def _begin(self, title: str) -> None:
        self._running.append(title)
        self._tell()

    def _end(self, title: str) -> None:
        self._running.remove(title)
        self._done += 1
        self._tell()

    def _tell(self) -> None:
        self._report(Step(tuple(self._running), self._done, self._total))


def _finding(name: str, outcome: Outcome) -> Finding:
    return Finding(
        ability=name,
        title=_TITLES[name],
        verdict=outcome.verdict,
        value=outcome.value,
        evidence=outcome.evidence,
        remedy=remedy(name, outcome),
        fields=dict(outcome.fields),
    )
