"""A tiny Llama with random weights and a byte-level tokenizer: real parts, no download.

Its logits are spread wide enough that rounding does not change which token is the likeliest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reverie.models.embedded.engine import Engine, EngineOptions

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|tool|>"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CORPUS = [
    'the ball falls to the ground and bounces {"what":"a ball","action":"falls","result":"it"}',
    'the glass is dropped and breaks into pieces {"answer":true,"number":[1,2,3],"text":"yes"}',
] * 3


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers, four heads over two of keys, window 512, float32, in Hugging Face's format."""
    torch = pytest.importorskip("torch", reason="the local extra is not installed")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=320, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(7)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            initializer_range=0.4,
            bos_token_id=1,
            eos_token_id=tokenizer.eos_token_id,
            tie_word_embeddings=False,
        )
    )
    model.generation_config.do_sample = False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model(tiny_folder: Path) -> PreTrainedModel:
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(tiny_folder, attn_implementation="sdpa")
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def tiny_tokenizer(tiny_folder: Path) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(tiny_folder)


LoadEngine = Callable[..., Engine]


@pytest.fixture
def load_engine(tiny_folder: Path) -> Iterator[LoadEngine]:
    """Engines over the tiny model, closed after the test; options as in ``EngineOptions``."""
    engines: list[Engine] = []

    def load(**options: int) -> Engine:
        engines.append(Engine.load(tiny_folder, EngineOptions(dtype="float32", **options)))
        return engines[-1]

    yield load
    for engine in engines:
        engine.close()


@pytest.fixture
def engine(load_engine: LoadEngine) -> Engine:
    return load_engine()
