"""The cross-encoder reranker, with a real one: tiny, its weights random, saved and loaded."""

from __future__ import annotations

import asyncio
import importlib.util
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from reverie.errors import ConfigError, ModelUnavailable
from reverie.knowledge.search.records import Hit, Place
from reverie.knowledge.search.rerank import CrossEncoderReranker

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is None,
    reason="sentence-transformers is not installed",
)

WORDS = ("ball", "falls", "stone", "sinks", "water", "glass", "breaks", "what", "happens", "a")
HITS = [
    Hit("one", "a ball falls", 0.3, (Place("vector", 1, 0.9),), title="Ball"),
    Hit("two", "a stone sinks water", 0.2, (Place("bm25", 1, 7.0),)),
    Hit("three", "glass breaks " * 200, 0.1),
]


def saved(folder: Path, labels: int = 1) -> Path:
    """A BERT of 8 dimensions that classifies pairs, with a tokenizer of ``WORDS``."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    ids = {word: number for number, word in enumerate(vocabulary)}
    raw = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )
    torch.manual_seed(0)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=32,
            num_labels=labels,
            initializer_range=1.0,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("cross-encoder"))


def expected(folder: Path, query: str, texts: list[str]) -> list[float]:
    """The sigmoid of the model's logit, by transformers alone."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    loaded: Any = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    told = tokenizer(
        [query] * len(texts), texts, padding=True, truncation=True, max_length=32,
        return_tensors="pt",
    )  # fmt: skip
    with torch.inference_mode():
        return [float(score) for score in torch.sigmoid(loaded(**told).logits[:, 0])]


async def test_hits_are_ordered_by_the_models_scores(folder: Path) -> None:
    reranker = CrossEncoderReranker(str(folder), batch=2)

    hits = await reranker.rerank("what happens", HITS, limit=10)

    texts = ["Ball\na ball falls", "a stone sinks water", "glass breaks " * 200]
    right = await asyncio.to_thread(expected, folder, "what happens", texts)
    assert {h.id: h.score for h in hits} == pytest.approx(
        dict(zip(("one", "two", "three"), right, strict=True)), abs=1e-5
    )
    assert [h.score for h in hits] == pytest.approx(sorted(right, reverse=True), abs=1e-5)
    assert len(set(right)) == 3
    (one,) = (h for h in hits if h.id == "one")
    assert (one.places, one.title, one.text) == (HITS[0].places, "Ball", HITS[0].text)
    await reranker.close()


async def test_only_so_many_hits_as_asked_for(folder: Path) -> None:
    reranker = CrossEncoderReranker(str(folder))

    every = await reranker.rerank("what happens", HITS, limit=3)
    assert await reranker.rerank("what happens", HITS, limit=1) == every[:1]
    assert await reranker.rerank("what happens", [], limit=3) == []
    assert await reranker.rerank("what happens", HITS, limit=0) == []
    assert len(await reranker.rerank("\ud83d", HITS, limit=3)) == 3
    await reranker.close()
    await reranker.close()
    assert await reranker.rerank("what happens", HITS, limit=3) == every  # loaded again


async def test_loaded_once_whoever_asks(folder: Path) -> None:
    reranker = CrossEncoderReranker(str(folder))

    several = await asyncio.gather(*(reranker.rerank("a ball", HITS, limit=3) for _ in range(5)))

    assert all(hits == several[0] for hits in several)


async def test_what_cannot_be_loaded_is_said(folder: Path, tmp_path: Path) -> None:
    nothing = tmp_path / "empty"
    await asyncio.to_thread(nothing.mkdir)
    with pytest.raises(ModelUnavailable, match="empty failed") as caught:
        await CrossEncoderReranker(str(nothing)).rerank("a", HITS, limit=3)
    assert "search.rerank" in caught.value.hint

    several = await asyncio.to_thread(saved, tmp_path / "several", 3)
    with pytest.raises(ModelUnavailable, match="scores of shape"):
        await CrossEncoderReranker(str(several)).rerank("a", HITS, limit=3)


async def test_a_name_that_is_neither_here_nor_reachable_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The test has no network: the fetch is tried, and fails."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    with pytest.raises(ModelUnavailable, match="no-such/cross-encoder failed"):
        await CrossEncoderReranker("no-such/cross-encoder").rerank("a", HITS, limit=3)


async def test_scores_that_are_no_numbers_are_refused(folder: Path) -> None:
    reranker = CrossEncoderReranker(str(folder))
    await reranker.rerank("a ball", HITS, limit=3)
    import torch

    with torch.no_grad():
        for parameter in reranker._model.parameters():
            parameter.fill_(math.nan)

    with pytest.raises(ModelUnavailable, match="no numbers"):
        await reranker.rerank("a ball", HITS, limit=3)


async def test_without_the_extra_the_command_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)

    with pytest.raises(ConfigError) as caught:
        await CrossEncoderReranker(str(folder)).rerank("a", HITS, limit=3)
    assert "pip install 'reverie[rerank]'" in caught.value.hint
    with pytest.raises(ConfigError):
        CrossEncoderReranker(str(folder), batch=0)
