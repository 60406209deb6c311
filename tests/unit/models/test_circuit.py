"""The circuit breaker: whatever calls do, one backend that fails is left alone, and comes back."""

from __future__ import annotations

import threading

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from reverie.models.circuit import Admission, CircuitBreaker


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def made(clock: Clock, failures: int = 3, jitter: float = 0.0) -> CircuitBreaker:
    return CircuitBreaker(
        failures=failures, cooldown_seconds=30.0, clock=clock, jitter=lambda: jitter
    )


def let_through(circuit: CircuitBreaker) -> Admission:
    admission = circuit.admit()
    assert admission is not None
    return admission


def fail(circuit: CircuitBreaker, times: int = 1, why: str = "refused") -> None:
    for _ in range(times):
        let_through(circuit).failed(why)


def test_it_opens_after_that_many_failures_in_a_row() -> None:
    circuit = made(Clock())
    fail(circuit, 2)
    let_through(circuit).succeeded()
    fail(circuit, 2)
    assert circuit.state == "closed"

    fail(circuit, why="the connection was refused")

    assert circuit.state == "open"
    assert not circuit.admits
    assert circuit.admit() is None
    assert circuit.why == "the connection was refused"


def test_half_open_exactly_one_call_is_let_through() -> None:
    clock = Clock()
    circuit = made(clock)
    fail(circuit, 3)
    clock.now += 29.9
    assert circuit.admit() is None
    clock.now += 0.1
    assert circuit.state == "half open"

    probe = let_through(circuit)

    assert circuit.admit() is None
    assert not circuit.admits
    probe.succeeded()
    assert circuit.state == "closed"
    assert circuit.why == ""
    fail(circuit, 2)
    assert circuit.admits


def test_a_probe_that_fails_opens_it_for_longer_up_to_a_bound() -> None:
    clock = Clock()
    circuit = made(clock)
    fail(circuit, 3)
    waited = []
    for _ in range(7):
        began = clock.now
        while not circuit.admits:
            clock.now += 10.0
        waited.append(clock.now - began)
        fail(circuit)

    assert waited == [30, 60, 120, 240, 480, 480, 480]


def test_success_forgets_how_long_it_was_open() -> None:
    clock = Clock()
    circuit = made(clock)
    fail(circuit, 3)
    clock.now += 30
    fail(circuit)
    clock.now += 60
    let_through(circuit).succeeded()
    fail(circuit, 3)

    clock.now += 30

    assert circuit.admits


def test_jitter_makes_the_cooldown_longer_by_a_quarter_at_most() -> None:
    clock = Clock()
    circuit = made(clock, jitter=1.0)
    fail(circuit, 3)

    clock.now += 30 * 1.25 - 0.001
    assert not circuit.admits
    clock.now += 0.002
    assert circuit.admits


def test_a_withdrawn_probe_gives_its_place_back() -> None:
    clock = Clock()
    circuit = made(clock)
    fail(circuit, 3)
    clock.now += 30

    let_through(circuit).withdrawn()

    assert circuit.state == "half open"
    let_through(circuit).succeeded()
    assert circuit.state == "closed"


def test_what_began_before_it_opened_changes_nothing() -> None:
    clock = Clock()
    circuit = made(clock)
    early, late = let_through(circuit), let_through(circuit)
    fail(circuit, 3)

    early.succeeded()
    assert circuit.state == "open"
    clock.now += 30
    probe = let_through(circuit)
    late.failed("slow")
    probe.succeeded()

    assert circuit.state == "closed"
    assert circuit.why == ""


def test_what_began_before_it_opened_and_closed_again_changes_nothing() -> None:
    clock = Clock()
    circuit = made(clock)
    early = [let_through(circuit) for _ in range(3)]
    fail(circuit, 3)
    clock.now += 30
    let_through(circuit).succeeded()

    for admission in early:
        admission.failed("long ago")

    assert circuit.state == "closed"


def test_only_the_first_word_counts() -> None:
    circuit = made(Clock(), failures=1)
    admission = let_through(circuit)

    admission.succeeded()
    admission.failed("twice")

    assert circuit.state == "closed"


@pytest.mark.parametrize("round_", range(5))
def test_of_many_threads_one_is_the_probe(round_: int) -> None:
    clock = Clock()
    circuit = made(clock)
    fail(circuit, 3)
    clock.now += 30
    start = threading.Barrier(16)
    admitted: list[Admission] = []

    def ask() -> None:
        start.wait()
        admission = circuit.admit()
        if admission is not None:
            admitted.append(admission)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(admitted) == 1


class Circuits(RuleBasedStateMachine):
    """Any order of calls, outcomes and waiting, against the simplest description of it."""

    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.circuit = made(self.clock, failures=2)
        self.row = 0
        self.opened = 0
        self.until: float | None = None
        self.probe: Admission | None = None
        self.era = 0
        """Counts the changes of state: calls of an earlier one do not count."""

    def refuses(self) -> bool:
        if self.until is None:
            return False
        return self.clock.now < self.until or self.probe is not None

    def open(self) -> None:
        self.until = self.clock.now + 30 * min(2**self.opened, 16)
        self.opened += 1
        self.era += 1

    @rule(target=calls)
    def call(self) -> tuple[Admission | None, int]:
        expected = not self.refuses()
        admission = self.circuit.admit()
        assert (admission is not None) == expected
        if self.until is not None and admission is not None:
            self.probe = admission
        return admission, self.era

    @rule(call=consumes(calls), how=st.sampled_from(["succeeds", "fails", "is cancelled"]))
    def end(self, call: tuple[Admission | None, int], how: str) -> None:
        admission, era = call
        if admission is None:
            return
        {
            "succeeds": admission.succeeded,
            "fails": lambda: admission.failed("why"),
            "is cancelled": admission.withdrawn,
        }[how]()
        probe = self.probe is admission
        if probe:
            self.probe = None
        if how == "is cancelled" or not (probe or (self.until is None and era == self.era)):
            return
        if how == "succeeds":
            self.row = self.opened = 0
            self.era += self.until is not None
            self.until = None
        else:
            self.row += 1
            if probe or self.row >= 2:
                self.open()

    @rule(seconds=st.sampled_from([1.0, 30.0, 60.0, 500.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def it_admits_what_it_says(self) -> None:
        assert self.circuit.admits == (not self.refuses())
        assert (self.circuit.state == "closed") == (self.until is None)


Circuits.TestCase.settings = hypothesis_settings(max_examples=150, stateful_step_count=40)
TestCircuits = Circuits.TestCase
