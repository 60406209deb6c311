"""Rerankers: models that read the query and a text together, to order the best hits anew."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from reverie.errors import ConfigError, ModelUnavailable, ReverieError
from reverie.knowledge.search.records import Hit
from reverie.models.quiet import quiet_transformers
from reverie.settings.values import Device

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MOST_CHARS: Final = 32_768
"""Longer texts are cut before tokenising: the tokens that fit are over long before."""


class Reranker(Protocol):
    """Orders hits by what they say to the query."""

    async def rerank(self, query: str, hits: Sequence[Hit], *, limit: int) -> Sequence[Hit]:
        """The ``limit`` best of ``hits``, best first, with ``score`` replaced by its own. Raises
        ``ReverieError``: whoever searches goes on without it, and says so.
        """
        ...

    async def close(self) -> None:
        """Releases the model; a second call does nothing."""
        ...


class CrossEncoderReranker:
    """Scores query and text with one forward pass over both (Nogueira and Cho 2019), 0 to 1: the
    sigmoid of the model's one logit. Loaded at the first ``rerank``; runs in a thread.
    """

    def __init__(
        self,
        name_or_folder: str,
        *,
        device: Device = "cpu",
        max_length: int = 512,
        batch: int = 32,
    ) -> None:
        """``name_or_folder`` is a folder, or a name that sentence-transformers knows. A name is
        looked for on this machine, and fetched when it is not there. Weights must be safetensors.
        ``max_length`` is in tokens of query and text together, as far as the model reads so many.
        """
        if max_length < 1 or batch < 1:
            raise ConfigError("max_length and batch of a reranker must be at least 1")
        self.name = name_or_folder
        self._device = device
        self._max_length = max_length
        self._batch = batch
        self._lock = threading.Lock()
        self._model: Any = None

    async def rerank(self, query: str, hits: Sequence[Hit], *, limit: int) -> Sequence[Hit]:
        """As in ``Reranker``. Raises ``ConfigError`` where sentence-transformers is missing, and
        ``ModelUnavailable``.
        """
        if not hits or limit < 1:
            return []
        texts = [f"{hit.title}\n{hit.text}" if hit.title else hit.text for hit in hits]
        scores = await asyncio.to_thread(self._scored, query, texts)
        order = sorted(range(len(hits)), key=lambda place: -scores[place])
        return [replace(hits[place], score=float(scores[place])) for place in order[:limit]]

    async def close(self) -> None:
        await asyncio.to_thread(self._drop)

    def _drop(self) -> None:
        with self._lock:
            self._model = None

    def _scored(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        with self._lock:
            try:
                if self._model is None:
                    self._model = self._loaded()
                return self._predicted(query, texts)
            except ReverieError:
                raise
            except Exception as error:  # torch and transformers raise many kinds
                said = " ".join(str(error).split())[:300] or type(error).__name__
                raise ModelUnavailable(
                    f"The reranker {self.name} failed: {said}",
                    hint="Choose another one (search.rerank), or none",
                ) from error

    def _predicted(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        import numpy as np
        import torch

        pairs = [(_clean(query), _clean(text)) for text in texts]
        scores: NDArray[np.float32] = np.asarray(
            self._model.predict(
                pairs,
                batch_size=self._batch,
                activation_fn=torch.nn.Sigmoid(),
                show_progress_bar=False,
            )
        )
        if scores.shape != (len(texts),) or not np.isfinite(scores).all():
            raise ModelUnavailable(
                f"The reranker {self.name} gives scores of shape {list(scores.shape)} for "
                f"{len(texts)} texts, or such that are no numbers",
                hint="A reranker is a cross-encoder with one label",
            )
        return scores

    def _loaded(self) -> Any:
        """The model from this machine; fetched when it is a name and not there yet."""
        try:
            from sentence_transformers import CrossEncoder
        except ImportError as error:
            raise ConfigError(
                "Rerankers need sentence-transformers, which is not installed",
                hint="pip install 'reverie[rerank]'",
            ) from error
        options: dict[str, Any] = {
            "device": self._device,
            "model_kwargs": {"use_safetensors": True},  # the other format is pickle
        }
        folder = Path(self.name).expanduser()
        here = {"local_files_only": True}  # so that nothing is asked of any server
        with quiet_transformers():
            if folder.is_dir():
                model = CrossEncoder(str(folder), **here, **options)
            else:
                try:
                    model = CrossEncoder(self.name, **here, **options)
                except (OSError, ValueError):  # a name that is not on this machine
                    model = CrossEncoder(self.name, **options)
        self._shorten(model)
        return model

    def _shorten(self, model: Any) -> None:
        """Cuts what is read to what was asked for, and to what the model has positions for."""
        known = getattr(model.config, "max_position_embeddings", None)
        tokenizer = model.tokenizer
        most = min(self._max_length, known or self._max_length, tokenizer.model_max_length)
        tokenizer.model_max_length = most


def _clean(text: str) -> str:
    """Without lone surrogates, which are no text to a tokenizer."""
    return text[:_MOST_CHARS].encode("utf-8", "replace").decode("utf-8")
