"""What vector stores check and clean before they keep or search anything."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from reverie.errors import ConfigError
from reverie.knowledge.database import storable
from reverie.knowledge.graph.vectors import checked
from reverie.knowledge.vectors.store import Value, VectorRecord, Where

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MOST_INTEGER = 2**63 - 1

T = TypeVar("T")


def checked_entries(
    records: Sequence[VectorRecord], vectors: NDArray[np.float32], dimension: int
) -> tuple[list[VectorRecord], NDArray[np.float32]]:
    """Records as they can be stored, and their vectors [N, D]. Of several with one id the last
    stays. Raises ``ConfigError``.
    """
    rows = checked(vectors, (len(records), dimension))
    last = {record.id: position for position, record in enumerate(records)}
    kept = sorted(last.values())
    return [_clean(records[position]) for position in kept], rows[kept]


def checked_vector(vector: NDArray[np.float32], dimension: int) -> NDArray[np.float32]:
    """``vector`` as float32 [D], of length one. Raises ``ConfigError``."""
    row: NDArray[np.float32] = checked(vector.reshape(1, -1), (1, dimension))[0]
    return row


def checked_ids(ids: Sequence[str]) -> list[str]:
    """Ids as they are stored, each once; without empty ones, which nothing can have."""
    return list(dict.fromkeys(storable(name) for name in ids if name))


def alternatives(where: Where) -> dict[str, list[Value]]:
    """By key the values that metadata may hold; an empty list matches nothing. Raises
    ``ConfigError``.
    """
    wanted: dict[str, list[Value]] = {}
    for key, value in where.items():
        wanted[storable(key)] = [_value(key, one) for one in _several(value)]
    return wanted


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """``items`` in order, ``size`` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _several(value: Any) -> list[Any]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        return [value]
    return list(value)


def _clean(record: VectorRecord) -> VectorRecord:
    if not record.id:
        raise ConfigError("A record of a vector store must have an id")
    for what, held in (("id", record.id), ("text", record.text)):
        if not isinstance(held, str):
            raise ConfigError(f"The {what} of a record is of type {type(held).__name__}, not str")
    metadata = _clean_metadata(record.metadata)
    return VectorRecord(storable(record.id), storable(record.text), metadata)


def _clean_metadata(metadata: Mapping[str, Value]) -> dict[str, Value]:
    return {storable(key): _value(key, value) for key, value in metadata.items()}


def _value(key: str, value: Value) -> Value:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"Metadata {key!r} is not finite")
    if isinstance(value, int) and abs(value) > _MOST_INTEGER:
        raise ConfigError(f"Metadata {key!r} does not fit into 64 bits")
    if not isinstance(value, int | float):
        raise ConfigError(
            f"Metadata {key!r} is of type {type(value).__name__}",
            hint="Metadata holds texts, numbers and truth values",
        )
    return value
