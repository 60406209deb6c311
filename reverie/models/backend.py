"""Models that are asked in turn: each of them, and one call's way from one to the next."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from typing_extensions import TypedDict

from reverie.errors import (
    ConfigError,
    ContextOverflow,
    ModelRejected,
    ModelUnavailable,
    OutputInvalid,
    ReverieError,
)
from reverie.models.circuit import Admission, CircuitBreaker

if TYPE_CHECKING:
    from reverie.models.chat_model import ChatModel

_REFUSES_EVERYTHING = frozenset({401, 402, 403, 404})
"""Statuses that speak of the key or of the model's name, not of the request: the next request would
be refused as well. Any other refusal shows that the backend is alive.
"""

_NO_TIME = "no time was left to ask it"
_LEFT_ALONE = "a backend that kept failing is tried again after server.cooldown_seconds"


class PassedOver(TypedDict):
    """A backend that another one answered instead of, and why."""

    name: str
    why: str


class Told(TypedDict):
    """What a reply says of the backends: ``response_metadata["backend"]``."""

    name: str
    passed_over: list[PassedOver]


class Clock(Protocol):
    """The time that a call has."""

    @property
    def over(self) -> bool:
        """Whether none is left."""
        ...


class Backend:
    """One model of an ordered list, loaded when it is first needed."""

    def __init__(
        self, name: str, load: Callable[[], ChatModel], circuit: CircuitBreaker | None = None
    ) -> None:
        """``name`` is shown to people. ``load`` may block, and is called until it succeeds."""
        self.name = name
        self.circuit = circuit or CircuitBreaker()
        self.prepared = False
        """Whether asking for its profile needs no waiting."""
        self._load = load
        self._loaded: ChatModel | None = None
        self._loading = threading.Lock()

    @property
    def loaded(self) -> ChatModel | None:
        return self._loaded

    def model(self) -> ChatModel:
        """The model, loaded. Blocks the first time."""
        with self._loading:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

    async def amodel(self) -> ChatModel:
        """``model``, in a thread where it blocks."""
        return await asyncio.to_thread(self.model) if self._loaded is None else self._loaded


class Turn:
    """One call's way through the backends: iterate, and say of each how it ended."""

    def __init__(
        self,
        backends: Sequence[Backend],
        absent: Sequence[PassedOver] = (),
        clock: Clock | None = None,
    ) -> None:
        """``absent`` were passed over before any call was made."""
        self._backends = backends
        self._clock = clock
        self._passed_over = list(absent)
        self._errors: list[ReverieError] = []

    def __iter__(self) -> Iterator[tuple[Backend, Admission]]:
        """The backends whose circuit lets the call through, in order."""
        for backend in self._backends:
            if self._clock is not None and self._clock.over:
                self._note(backend, ModelUnavailable(_NO_TIME, hint="raise --seconds"))
                continue
            admission = backend.circuit.admit()
            if admission is None:
                # In the words of the failure that opened the circuit: that is the reason still.
                why = backend.circuit.why
                self._note(backend, ModelUnavailable(why, hint=_LEFT_ALONE, transient=True))
                continue
            yield backend, admission

    def told(self, backend: Backend) -> Told:
        """What a reply of ``backend`` says of it and of those before it."""
        return {"name": backend.name, "passed_over": list(self._passed_over)}

    def missed(
        self, backend: Backend, admission: Admission, error: BaseException, arrived: int = 0
    ) -> None:
        """Note why ``backend`` did not answer and return, if the next one may; raise otherwise.
        ``arrived`` counts the characters of its reply that have been passed on.
        """
        if isinstance(error, ModelUnavailable | ModelRejected):
            if isinstance(error, ModelUnavailable) or error.status in _REFUSES_EVERYTHING:
                admission.failed(_why(backend, error))
            else:
                admission.succeeded()
            if arrived:
                raise _broken_off(error, arrived) from error
            self._note(backend, error)
            return
        if isinstance(error, OutputInvalid):
            admission.succeeded()
        else:
            admission.withdrawn()
        if isinstance(error, ConfigError) and self._passed_over:
            raise ConfigError(
                f"{error.message} (it was asked because {_listed(self._passed_over)})",
                hint=error.hint,
            ) from error
        raise error

    def _note(self, backend: Backend, error: ReverieError) -> None:
        self._passed_over.append({"name": backend.name, "why": _why(backend, error)})
        self._errors.append(error)

    def error(self) -> ReverieError:
        """The error when no backend is left."""
        kinds = {type(error) for error in self._errors}
        hint = "; ".join(dict.fromkeys(error.hint for error in self._errors if error.hint))
        message = f"no backend answered: {_listed(self._passed_over)}"
        if kinds == {ContextOverflow}:
            return ContextOverflow(message, hint=hint)
        if kinds and kinds <= {ContextOverflow, ModelRejected}:
            return ModelRejected(message, hint=hint)
        passing = any(isinstance(e, ModelUnavailable) and e.transient for e in self._errors)
        return ModelUnavailable(message, hint=hint, transient=passing)


def _why(backend: Backend, error: ReverieError) -> str:
    """The error's message, without the address, which stands beside it."""
    return error.message.replace(f" at {backend.name.partition('#')[0]}", "")


def _listed(passed_over: Sequence[PassedOver]) -> str:
    return "; ".join(f"{p['name']} was passed over: {p['why']}" for p in passed_over)


def _broken_off(error: ModelUnavailable | ModelRejected, arrived: int) -> ReverieError:
    message = f"{error.message}, after {arrived} characters of the reply had arrived"
    if isinstance(error, ModelUnavailable):
        return ModelUnavailable(message, hint=error.hint, transient=error.transient)
    return ModelRejected(message, hint=error.hint, status=error.status, field=error.field)
