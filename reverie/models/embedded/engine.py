"""The engine: a worker thread that runs one model over all requests at once.

Requests join and leave the running batch between steps, so a short answer never waits for a long
one, and four concurrent requests cost little more time than one.
"""

from __future__ import annotations

import asyncio
import os
import sys
import weakref
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reverie.errors import (
    ConfigError,
    ContextOverflow,
    ModelRejected,
    ModelUnavailable,
    ReverieError,
)
from reverie.models.embedded.request import Finished, GenerationRequest, TokenOut
from reverie.models.embedded.worker import Sink, Ticket, Worker
from reverie.models.quiet import quiet_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from reverie.models.embedded.batch import Batch
    from reverie.models.embedded.grammar import GrammarCompiler

_FULL_ATTENTION = {"full_attention", None}


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How a model is loaded and run. ``threads`` 0 leaves torch's choice; ``window`` None takes
    the model's own context length; ``device`` is ``cpu`` or ``cuda``.
    """

    threads: int = 0
    dtype: str = "auto"
    max_batch: int = 8
    window: int | None = None
    device: str = "cpu"


class Engine:
    """A causal language model from a folder in Hugging Face's format, answering many at once.

    Made by ``Engine.load``, which blocks for about a second: call it outside the event loop.
    Methods are safe from any thread.
    """

    def __init__(
        self,
        batch: Batch,
        tokenizer: PreTrainedTokenizerFast,
        grammars: GrammarCompiler,
        *,
        window: int,
        max_batch: int,
        parameters: int,
    ) -> None:
        self.tokenizer = tokenizer
        self.window = window
        self.parameters = parameters
        self._grammars = grammars
        self._worker = Worker(batch, tokenizer.backend_tokenizer, max_batch)
        # The thread knows the worker only: an engine that nobody uses any more ends by itself.
        self._finalizer = weakref.finalize(self, self._worker.stop)

    @classmethod
    def load(cls, folder: Path, options: EngineOptions | None = None) -> Engine:
        """Load model and tokenizer from ``folder``, without network.

        Raises ModelUnavailable when the files cannot be loaded, ModelRejected when the model's
        attention is of a kind the engine does not run, and ConfigError for a device that torch
        does not find.
        """
        # Half of what two engines on the same cores lose to each other is spinning at OpenMP's
        # barriers. A short spin slows one engine alone a little and keeps two from stalling.
        if "torch" not in sys.modules:
            os.environ.setdefault("GOMP_SPINCOUNT", "1000")
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        from reverie.models.embedded.batch import Batch
        from reverie.models.embedded.grammar import GrammarCompiler
        from reverie.models.embedded.sampling import stop_ids

        options = options or EngineOptions()
        if options.threads:
            torch.set_num_threads(options.threads)
        if options.device == "cuda":
            _require_cuda()
        try:
            with quiet_transformers():
                config = AutoConfig.from_pretrained(folder, local_files_only=True)
                _require_full_attention(folder, config)
                tokenizer = _fast_tokenizer(folder)
                model = AutoModelForCausalLM.from_pretrained(
                    folder,
                    local_files_only=True,
                    dtype=_dtype(options.dtype),
                    attn_implementation="sdpa",
                ).to(options.device)  # type: ignore[arg-type]  # its stub takes the device for self
        except ReverieError:
            raise
        except Exception as error:
            # transformers raises whatever its many loaders raise; all of it means the same here.
            raise ModelUnavailable(
                f"the model in {folder} cannot be loaded: {type(error).__name__}: {error}",
                hint="the folder must hold config.json, safetensors weights and tokenizer.json",
            ) from error
        model.eval()
        model.requires_grad_(False)
        window = min(
            int(config.max_position_embeddings),
            options.window or config.max_position_embeddings,
            # Up to here a sliding window is full attention.
            getattr(config, "sliding_window", None) or config.max_position_embeddings,
        )
        ends = stop_ids(
            tokenizer.eos_token_id, getattr(model.generation_config, "eos_token_id", None)
        )
        return cls(
            Batch(model, tokenizer.backend_tokenizer, ends),
            tokenizer,
            GrammarCompiler(tokenizer, int(config.vocab_size)),
            window=window,
            max_batch=options.max_batch,
            parameters=sum(p.numel() for p in model.parameters()),
        )

    def submit(self, request: GenerationRequest, sink: Sink) -> Ticket:
        """Queue a request. ``sink`` is called from the worker thread with every token, then once
        with ``Finished`` or an exception. Compiles the grammar: call it outside the event loop.

        Raises ModelUnavailable after ``close``, ContextOverflow when the prompt leaves no room for
        a reply, and ModelRejected for an empty prompt or a schema that cannot be compiled.
        """
        ticket = Ticket(request, sink)
        self._submit(ticket)
        return ticket

    def _submit(self, ticket: Ticket) -> None:
        request = ticket.request
        if len(request.prompt_ids) >= self.window:
            raise ContextOverflow(
                f"the prompt has {len(request.prompt_ids)} tokens and the model's context window "
                f"only {self.window}",
                hint="ask a shorter question, or use a model with a larger window",
            )
        if not request.prompt_ids:
            raise ModelRejected("the prompt is empty")
        if request.json_schema is not None:
            ticket.grammar = self._grammars.compile(request.json_schema, request.prefill)
        self._worker.put(ticket)

    async def generate(
        self, request: GenerationRequest
    ) -> AsyncGenerator[TokenOut | Finished, None]:
        """Tokens as they are drawn, then one ``Finished``. Leaving the loop cancels the request."""
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[TokenOut | Finished | Exception] = asyncio.Queue()

        def sink(item: TokenOut | Finished | Exception) -> None:
            loop.call_soon_threadsafe(arrived.put_nowait, item)

        # Made before it is queued: a task cancelled in between must cancel the request too.
        ticket = Ticket(request, sink)
        try:
            await asyncio.to_thread(self._submit, ticket)
            while True:
                item = await arrived.get()
                if isinstance(item, Exception):
                    raise item
                yield item
                if isinstance(item, Finished):
                    return
        finally:
            ticket.cancel()

    @property
    def closed(self) -> bool:
        return not self._finalizer.alive

    def close(self) -> None:
        """Stop after the current step; requests in flight fail with ModelUnavailable."""
        self._finalizer()


def _require_cuda() -> None:
    import torch

    if not torch.cuda.is_available():
        raise ConfigError(
            "model.device is cuda, and torch finds no such device",
            hint="set model.device to cpu, or install a build of torch with CUDA",
        )
    # cuDNN's attention, which torch prefers there, silently goes wrong under the masks of a batch
    # when a model has few key-value heads (pytorch/pytorch#193893). torch knows no narrower switch.
    torch.backends.cuda.enable_cudnn_sdp(False)


def _dtype(name: str) -> object:
    """bfloat16 by default: half the memory traffic, which is what bounds decoding."""
    import torch

    return torch.bfloat16 if name == "auto" else getattr(torch, name)


def _fast_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelRejected(
            f"the model in {folder} has no fast tokenizer",
            hint="add its tokenizer.json; save_pretrained of a fast tokenizer writes one",
        )
    return tokenizer


def _require_full_attention(folder: Path, config: object) -> None:
    kinds = set(getattr(config, "layer_types", None) or [None])
    if kinds - _FULL_ATTENTION or getattr(config, "is_encoder_decoder", False):
        raise ModelRejected(
            f"the embedded engine cannot run the model in {folder}: it has layers of the kinds "
            f"{', '.join(sorted(str(k) for k in kinds))}",
            hint="the embedded engine runs decoders with full attention; serve this one with vLLM",
        )
