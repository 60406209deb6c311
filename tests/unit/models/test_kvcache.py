"""The cache's buffers: what a row wrote is what it reads, wherever it has been moved to."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the local extra is not installed")

from reverie.models.embedded import kvcache  # noqa: E402  # needs torch
from reverie.models.embedded.kvcache import RaggedCache  # noqa: E402

HEADS, DIM, LAYERS = 2, 4, 2


def new_cache() -> RaggedCache:
    return RaggedCache(
        layers=LAYERS,
        heads=HEADS,
        head_dim=DIM,
        dtype=torch.float32,
        device=torch.device("cpu"),
    )


def write(cache: RaggedCache, first: int, sizes: list[int], values: list[list[float]]) -> None:
    """Lets row ``first + i`` attend to its newest ``sizes[i]`` columns and fills them."""
    width = max(sizes)
    states = torch.full((len(sizes), HEADS, width, DIM), -1.0)
    for i, (size, numbers) in enumerate(zip(sizes, values, strict=True)):
        states[i, :, width - size :] = torch.tensor(numbers)[None, :, None]
        cache.used[first + i, cache.length - size : cache.length] = True
    cache.look(first, first + len(sizes))
    for layer in range(LAYERS):
        cache.update(states + layer, states + layer + 100, layer)


def read(cache: RaggedCache, row: int) -> list[float]:
    """What a row attends to, in order; the same in every head and layer, or the test fails."""
    columns = cache.used[row].nonzero().squeeze(1)
    written = cache._buffers[0].k[row, 0, columns, 0]
    for number, layer in enumerate(cache._buffers):
        keys, values = layer.k[row][:, columns], layer.v[row][:, columns]
        assert torch.equal(keys, (written + number)[None, :, None].expand_as(keys))
        assert torch.equal(values, keys + 100)
    return written.tolist()


actions = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.integers(1, 3), st.integers(1, 20)),
        st.tuples(st.just("step"), st.integers(1, 4), st.integers(0, 100)),
        st.tuples(st.just("leave"), st.integers(0, 10), st.just(0)),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=200)
@given(plan=actions)
def test_every_row_reads_what_it_wrote(plan: list[tuple[str, int, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kvcache, "_FIRST_COLUMNS", 16)
        cache, expected, counter = new_cache(), [], iter(range(10_000))
        for kind, a, b in plan:
            if kind == "join":
                sizes = [1 + (b + 7 * i) % 20 for i in range(a)]
                values = [[float(next(counter)) for _ in range(size)] for size in sizes]
                first = cache.rows
                cache.add_rows(a, max(sizes))
                write(cache, first, sizes, values)
                expected.extend(values)
            elif kind == "step" and expected:
                sizes = [1 + (b + i) % a for i in range(len(expected))]
                values = [[float(next(counter)) for _ in range(size)] for size in sizes]
                cache.extend(max(sizes))
                write(cache, 0, sizes, values)
                for row, new in zip(expected, values, strict=True):
                    row.extend(new)
            elif kind == "leave" and expected:
                row = a % len(expected)
                cache.remove_row(row)
                expected[row] = expected[-1]
                expected.pop()
            assert cache.rows == len(expected)
            assert [read(cache, row) for row in range(cache.rows)] == expected


def test_a_prefix_is_copied_out_and_in_whole_or_in_part() -> None:
    cache = new_cache()
    cache.add_rows(1, 5)
    write(cache, 0, [5], [[1, 2, 3, 4, 5]])
    prefix = cache.read_prefix(0, (10, 11, 12, 13))
    cache.add_rows(2, 6)

    cache.write_prefix(1, prefix, 4, cache.length - 2)
    cache.write_prefix(2, prefix, 2, cache.length)

    assert [read(cache, row) for row in range(3)] == [[1, 2, 3, 4, 5], [1, 2, 3, 4], [1, 2]]
    assert prefix.nbytes == 2 * LAYERS * HEADS * 4 * DIM * 4


def test_attention_sees_no_column_that_no_row_uses() -> None:
    cache = new_cache()
    cache.add_rows(1, 50)
    write(cache, 0, [50], [[0.0] * 50])
    cache.add_rows(1, 3)
    write(cache, 1, [3], [[1, 2, 3]])
    assert cache.look(1, 2).start == 47

    cache.remove_row(0)

    assert cache.look(0, 1).start == 47
    assert cache.get_seq_length() == 3


def test_after_clear_it_is_as_new() -> None:
    cache = new_cache()
    cache.add_rows(3, 9)

    cache.clear()
    cache.add_rows(1, 2)
    write(cache, 0, [2], [[1, 2]])

    assert read(cache, 0) == [1, 2]
    assert (cache.rows, cache.length) == (1, 2)
