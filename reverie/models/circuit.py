"""A circuit breaker: a backend that keeps failing is left alone, and later tried by one call.

Closed, it lets every call through; after ``failures`` failures in a row it opens and lets none
through; once the cooldown has passed it is half open and lets exactly one call through, whose
outcome closes or opens it again (Nygard, Release It!, chapter 5).

The packages that do this were looked at (purgatory 3.0, pybreaker 1.4, aiobreaker 1.2,
circuitbreaker 2.1): half open, all of them let every call through until the first outcome, none
gives the place of a cancelled probe back, and none takes a clock. pybreaker holds its lock for as
long as a call runs, and its asynchronous calls need Tornado.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Literal

State = Literal["closed", "open", "half open"]

_LONGEST = 16
"""The longest cooldown, as a multiple of the first."""
_JITTER = 0.25
"""Largest share by which a cooldown is made longer, so that clients do not come back together."""


class CircuitBreaker:
    """One backend's circuit. For any number of threads and tasks; never waits."""

    def __init__(
        self,
        *,
        failures: int = 3,
        cooldown_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """``clock`` gives seconds that never go back, ``jitter`` numbers from 0 to 1."""
        self._most_failures = failures
        self._first_cooldown = cooldown_seconds
        self._clock = clock
        self._jitter = jitter
        self._lock = threading.Lock()
        self._failures = 0
        self._openings = 0
        """How often it has opened since it was last closed."""
        self._era = 0
        """How often it has opened or closed."""
        self._open_until: float | None = None
        self._probe: Admission | None = None
        self._why = ""

    def admit(self) -> Admission | None:
        """Let a call through, or None. Whoever gets an admission must say how the call ended."""
        with self._lock:
            if self._open_until is None:
                return Admission(self, self._era)
            if self._refuses():
                return None
            self._probe = Admission(self, self._era)
            return self._probe

    @property
    def admits(self) -> bool:
        """Whether a call would be let through now."""
        with self._lock:
            return not self._refuses()

    @property
    def state(self) -> State:
        with self._lock:
            if self._open_until is None:
                return "closed"
            return "open" if self._clock() < self._open_until else "half open"

    @property
    def why(self) -> str:
        """What the last failure was; empty once a call has succeeded."""
        with self._lock:
            return self._why

    def _refuses(self) -> bool:
        if self._open_until is None:
            return False
        return self._probe is not None or self._clock() < self._open_until

    def _settle(self, admission: Admission, *, failed: bool | None, why: str) -> None:
        """Note how a call ended; ``failed`` is None when that says nothing of the backend."""
        with self._lock:
            if admission.settled:
                return
            admission.settled = True
            probe = self._probe is admission
            if probe:
                self._probe = None
            # What began before the circuit last opened or closed says nothing about now.
            if failed is None or admission.era != self._era:
                return
            if failed:
                self._why = why
                self._failures += 1
                if probe or self._failures >= self._most_failures:
                    self._open()
            else:
                self._failures = self._openings = 0
                self._era += probe
                self._open_until = None
                self._why = ""

    def _open(self) -> None:
        longer = min(2**self._openings, _LONGEST) * (1 + _JITTER * self._jitter())
        self._open_until = self._clock() + self._first_cooldown * longer
        self._openings += 1
        self._era += 1


class Admission:
    """One call that was let through. The first word on how it ended counts."""

    def __init__(self, circuit: CircuitBreaker, era: int) -> None:
        self._circuit = circuit
        self.era = era
        self.settled = False

    def succeeded(self) -> None:
        """The backend answered."""
        self._circuit._settle(self, failed=False, why="")  # noqa: SLF001  # the two are one

    def failed(self, why: str) -> None:
        """The backend did not answer, or cannot."""
        self._circuit._settle(self, failed=True, why=why)  # noqa: SLF001  # as above

    def withdrawn(self) -> None:
        """The call ended without saying anything of the backend: it was cancelled, for example. A
        probe gives its place to the next call.
        """
        self._circuit._settle(self, failed=None, why="")  # noqa: SLF001  # as above
