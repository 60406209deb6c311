"""Vectors as graph stores keep them: of one length, finite, scaled to length one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reverie.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def checked(vectors: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """``vectors`` as float32 of ``shape`` [N, D], rows of length one. Raises ``ConfigError``."""
    import numpy as np

    values = np.asarray(vectors, dtype=np.float32)
    if values.shape != shape:
        raise ConfigError(
            f"Vectors of shape {list(values.shape)} do not fit: {list(shape)} is expected",
            hint="One vector per text, all from the embedder that the store was opened for",
        )
    if not np.isfinite(values).all():
        raise ConfigError("A vector holds values that are not finite")
    norm = np.linalg.norm(values, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (values / np.maximum(norm, 1e-12)).astype("<f4")
    return unit
