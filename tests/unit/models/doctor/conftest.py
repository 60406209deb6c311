"""A server made of answers, for what the quirk server does not play: other programs' own paths."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from reverie.errors import ModelRejected
from reverie.models.doctor.examination import Patience
from reverie.models.doctor.probing import Probing
from reverie.models.wire.endpoint import Endpoint

Answer = Any
"""A document, an error to raise, or a function of the request's body that gives either."""


@dataclass
class Answering:
    """Stands for ``Connection``: gives the answer written down for a path, or 404."""

    answers: dict[str, Answer]
    endpoint: Endpoint = field(default_factory=lambda: Endpoint("http://127.0.0.1:8000/v1"))
    asked: list[tuple[str, Any]] = field(default_factory=list)

    async def get(self, path: str, *, seconds: float | None = None) -> Any:
        return self._answer(path, None)

    async def post(self, path: str, body: dict[str, Any], *, seconds: float | None = None) -> Any:
        return self._answer(path, body)

    async def stream(
        self, path: str, body: dict[str, Any], *, seconds: float | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        for event in self._answer(path, body):
            yield event

    def _answer(self, path: str, body: Any) -> Any:
        self.asked.append((path, body))
        missing = ModelRejected(f"{self.endpoint.address}: Not Found", status=404)
        answer = self.answers.get(path, missing)
        if callable(answer) and not isinstance(answer, Exception):
            answer = answer(body)
        if isinstance(answer, Exception):
            raise answer
        return answer


Examined = Callable[..., Probing]


@pytest.fixture
def probing() -> Examined:
    """A probing of a server with these answers, by path."""

    def make(answers: dict[str, Answer], address: str = "", **known: Any) -> Probing:
        connection: Any = Answering(answers)
        if address:
            connection.endpoint = Endpoint(address)
        return Probing(connection, Patience(), until=float("inf"), **known)

    return make


def chat(text: str = "", **other: Any) -> dict[str, Any]:
    """A reply of Chat Completions."""
    return {"choices": [{"message": {"content": text, **other}, "finish_reason": "stop"}]}
