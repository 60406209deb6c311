"""The benchmark of the client, in small, against real quirk servers."""

from __future__ import annotations

from reverie.evals.bench.client import measure, report
from reverie.evals.bench.client_load import STREAMED, WHOLE, Load
from reverie.evals.bench.client_sides import NAMES

LOAD = Load(calls=3, first_tokens=3, crowds=1, at_once=8, whole_each=1, memory=(4, 8))


def test_every_client_is_measured() -> None:
    said: list[str] = []

    measured = measure(LOAD, 1, said.append)

    for kind in (WHOLE, STREAMED):
        assert set(measured.alone[kind][0]) == set(NAMES)
        for taken in measured.alone[kind][0].values():
            assert len(taken.wall) == LOAD.calls
        for taken in measured.first[0].values():
            # The server waits 2 ms before it sends a token.
            assert all(
                2.0 < first < wall for first, wall in zip(taken.first, taken.wall, strict=True)
            )
        assert all(rate.per_second > 0 for rate in measured.crowds[kind][0].values())
        assert all(min(measured.memory[name, kind]) > 10 for name in NAMES)
    assert said[0] == "repeat 1: one call at a time, 3 of each client"
    assert len(report(measured, LOAD, 0.0).tables) == 4
