"""A reasoner with doubles inside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from reverie.agents.reasoner import Reasoner
from reverie.settings import Settings
from tests.unit.conftest import ScriptedModel, ScriptedResources


@dataclass
class Asked:
    """A reasoner, and the doubles inside."""

    reasoner: Reasoner
    resources: ScriptedResources

    @property
    def model(self) -> ScriptedModel:
        return self.resources.scripted


def made(settings: Settings) -> Asked:
    reasoner = Reasoner(settings)
    resources = ScriptedResources(settings)
    reasoner._resources = resources
    return Asked(reasoner, resources)


@pytest.fixture
async def asked(settings: Settings) -> AsyncIterator[Asked]:
    it = made(settings)
    yield it
    await it.reasoner.aclose()
