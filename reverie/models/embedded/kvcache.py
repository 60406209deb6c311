"""A key-value cache whose batch changes while it runs.

Sequences of any length share one set of buffers ``[rows, heads, columns, D]`` per layer. Every row
ends at the same column, so a decoding step appends one column for all; what a row does not use
(left padding, the gaps that other rows' longer steps leave) is masked out, and packed away when the
buffers are full. Joining copies nothing, leaving moves one row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

_FIRST_COLUMNS = 512
_KEEP_BYTES = 256 * 2**20  # buffers larger than this are given back when the engine is idle


@dataclass(frozen=True, slots=True)
class Prefix:
    """The keys and values of a prompt's beginning: two lists of ``[heads, N, D]``, one a layer."""

    tokens: tuple[int, ...]
    keys: list[Tensor]
    values: list[Tensor]

    @property
    def nbytes(self) -> int:
        return sum(t.nbytes for t in (*self.keys, *self.values))


class _Layer(CacheLayerMixin):
    """One layer's buffers. The views handed to attention are set by the owning cache."""

    def __init__(self, owner: RaggedCache) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # transformers does not type it
        self._owner = owner
        self.is_initialized = True
        self.k = self.v = torch.empty(0)

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        window = self._owner.window
        rows = slice(window.first_row, window.last_row)
        columns = slice(window.stop - key_states.shape[2], window.stop)
        self.k[rows, :, columns] = key_states
        self.v[rows, :, columns] = value_states
        seen = slice(window.start, window.stop)
        return self.k[rows, :, seen], self.v[rows, :, seen]

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to do: the owner allocates."""

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._owner.window.stop - self._owner.window.start, 0

    def get_seq_length(self) -> int:
        return self._owner.window.stop - self._owner.window.start

    def get_max_length(self) -> int:
        return -1


@dataclass(slots=True)
class Window:
    """The rows and columns that the next forward pass reads and writes."""

    first_row: int = 0
    last_row: int = 0
    start: int = 0
    stop: int = 0


class RaggedCache(Cache):
    """The cache of a running batch.

    ``used`` ``[rows, columns]`` says which columns each row attends to; ``length`` is the column
    at which every row ends. Both are bookkeeping and stay on the CPU, wherever the buffers are.
    """

    def __init__(
        self, *, layers: int, heads: int, head_dim: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._buffers = [_Layer(self) for _ in range(layers)]
        super().__init__(layers=list(self._buffers))
        self._heads, self._head_dim = heads, head_dim
        self._dtype, self._device = dtype, device
        self.window = Window()
        self.clear()

    def clear(self) -> None:
        """No rows and no buffers, whatever a failed step left behind."""
        self.rows = self.length = 0
        self.used = torch.zeros(0, 0, dtype=torch.bool)
        for layer in self._buffers:
            layer.k = layer.v = torch.empty(0)

    def add_rows(self, count: int, width: int) -> None:
        """Make room for ``count`` new rows, each at most ``width`` columns wide, ending at
        ``length``.
        """
        if self.rows == 0:
            self.length = 0
            if sum(layer.k.nbytes + layer.v.nbytes for layer in self._buffers) > _KEEP_BYTES:
                self.clear()
        stop = max(self.length, width)
        self._reserve(self.rows + count, stop)
        self.used[self.rows : self.rows + count] = False
        self.rows += count
        self.length = stop

    def extend(self, columns: int) -> None:
        """Append columns to every row, unused until marked in ``used``; packs or grows buffers."""
        if self.length + columns > self.used.shape[1]:
            longest = int(self.used[: self.rows].sum(1).max())
            if longest + columns <= self.used.shape[1] * 3 // 4:
                self._pack(longest)
            else:
                self._reserve(self.rows, self.length + columns)
        self.used[: self.rows, self.length : self.length + columns] = False
        self.length += columns

    def remove_row(self, row: int) -> None:
        """Drop a row; the last row takes its place."""
        last = self.rows - 1
        if row != last:
            start = self._first_column(last, last + 1)
            for layer in self._buffers:
                for buffer in (layer.k, layer.v):
                    buffer[row, :, start : self.length] = buffer[last, :, start : self.length]
            self.used[row] = self.used[last]
        self.rows = last

    def look(self, first_row: int, last_row: int) -> Window:
        """Point the next forward pass at these rows, up to ``length``."""
        start = self._first_column(first_row, last_row)
        self.window = Window(first_row, last_row, start, self.length)
        return self.window

    def write_prefix(self, row: int, prefix: Prefix, count: int, stop: int) -> None:
        """Copy the first ``count`` tokens of ``prefix`` into a row, ending before ``stop``."""
        columns = slice(stop - count, stop)
        for layer, keys, values in zip(self._buffers, prefix.keys, prefix.values, strict=True):
            layer.k[row, :, columns] = keys[:, :count]
            layer.v[row, :, columns] = values[:, :count]
        self.used[row, columns] = True

    def read_prefix(self, row: int, tokens: tuple[int, ...]) -> Prefix:
        """The first ``len(tokens)`` used columns of a row, copied out."""
        columns = self.used[row].nonzero().squeeze(1)[: len(tokens)].to(self._device)
        keys, values = [], []
        for layer in self._buffers:
            keys.append(layer.k[row].index_select(1, columns))
            values.append(layer.v[row].index_select(1, columns))
        return Prefix(tokens, keys, values)

    def _first_column(self, first_row: int, last_row: int) -> int:
        used = self.used[first_row:last_row, : self.length].any(0)
        return int(used.to(torch.uint8).argmax()) if bool(used.any()) else 0

    def _reserve(self, rows: int, columns: int) -> None:
        have_rows, have_columns = self.used.shape
        if rows <= have_rows and columns <= have_columns:
            return
        new_rows = max(have_rows, 1)
        while new_rows < rows:
            new_rows *= 2
        new_columns = max(have_columns, _FIRST_COLUMNS)
        while new_columns < columns:
            new_columns *= 2
        kept_rows, kept = self.rows, self.length if self.rows else 0
        used = torch.zeros(new_rows, new_columns, dtype=torch.bool)
        used[:kept_rows, :kept] = self.used[:kept_rows, :kept]
        self.used = used
        for layer in self._buffers:
            shape = (new_rows, self._heads, new_columns, self._head_dim)
            # Zeroed: attention multiplies masked values by zero, and zero times garbage is NaN.
            keys = torch.zeros(shape, dtype=self._dtype, device=self._device)
            values = torch.zeros(shape, dtype=self._dtype, device=self._device)
            if kept_rows:
                keys[:kept_rows, :, :kept] = layer.k[:kept_rows, :, :kept]
                values[:kept_rows, :, :kept] = layer.v[:kept_rows, :, :kept]
            layer.k, layer.v = keys, values

    def _pack(self, longest: int) -> None:
        """Squeeze the gaps out of every row, so that the longest begins at column 0."""
        order = torch.stack(
            [
                torch.nn.functional.pad(columns, (longest - columns.shape[0], 0))
                for row in range(self.rows)
                for columns in [self.used[row, : self.length].nonzero().squeeze(1)]
            ]
        )
        index = order.to(self._device)[:, None, :, None]
        index = index.expand(-1, self._heads, -1, self._head_dim)
        for layer in self._buffers:
            for buffer in (layer.k, layer.v):
                buffer[: self.rows, :, :longest] = buffer[: self.rows].gather(2, index)
        counts = self.used[: self.rows, : self.length].sum(1)
        self.used[: self.rows] = False
        self.used[: self.rows, :longest] = (
            torch.arange(longest)[None] >= (longest - counts)[:, None]
        )
        self.length = longest
