"""The vectors in a response of ``/v1/embeddings``, checked and of length one."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from reverie.models.wire.error_body import excerpt

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def read_vectors(document: Any, count: int) -> NDArray[np.float32]:
    """The ``count`` vectors in ``document`` as float32 [count, D], in the order of the inputs, each
    of length one.

    Raises ValueError, which says what was sent instead.
    """
    import numpy as np

    entries = document.get("data") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"sent no list of embeddings: {excerpt(document)}")
    if len(entries) != count:
        raise ValueError(f"sent {len(entries)} vectors for {count} texts")
    rows = [_numbers(entry.get("embedding")) for entry in _ordered(entries)]
    lengths = {len(row) for row in rows}
    if len(lengths) != 1:
        sizes = ", ".join(map(str, sorted(lengths)))
        raise ValueError(f"sent vectors of different lengths: {sizes} numbers")
    matrix = np.stack(rows)
    if not np.isfinite(matrix).all():
        raise ValueError("sent a vector with numbers that are not finite")
    # In two steps: the squares of very large or small numbers are out of range.
    largest = np.abs(matrix).max(axis=1, keepdims=True)
    if not largest.all():
        raise ValueError("sent a vector of zeros, which has no direction")
    matrix /= largest
    unit: NDArray[np.float32] = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    return unit.astype(np.float32)


def _ordered(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By ``index``; as they come where there is none."""
    if not any("index" in entry for entry in entries):
        return entries
    places = {entry.get("index"): entry for entry in entries if type(entry.get("index")) is int}
    if places.keys() != set(range(len(entries))):
        raise ValueError("sent vectors whose indices are not those of the texts")
    return [places[place] for place in range(len(entries))]


def _numbers(embedding: Any) -> NDArray[np.float64]:
    """One vector: numbers, or float32 in base64, which some servers send unasked."""
    import numpy as np

    try:
        if isinstance(embedding, str):
            packed = base64.b64decode(embedding, validate=True)
            row = np.frombuffer(packed, dtype="<f4").astype(np.float64)
        elif isinstance(embedding, list) and not any(isinstance(x, str | bool) for x in embedding):
            row = np.array(embedding, dtype=np.float64)
        else:
            raise ValueError("neither")
    except (ValueError, TypeError, OverflowError, binascii.Error):
        raise ValueError(f"sent something that is no vector: {excerpt(embedding)}") from None
    if row.ndim != 1 or not row.size:
        raise ValueError(f"sent something that is no vector: {excerpt(embedding)}")
    return row
