"""Batches of texts: every text in one of them, and none larger than its budget."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import batch, encoder
from tests import tiny_encoder


@given(st.lists(st.integers(1, 300), max_size=50))
def test_batches_hold_every_row_once_and_keep_to_the_budget(lengths: list[int]) -> None:
    cut = list(batch.rows_of_batches(np.array(lengths, dtype=np.int64), batch_tokens=256))
    assert sorted(row for rows in cut for row in rows) == list(range(len(lengths)))
    assert all(len(rows) == 1 or len(rows) * max(lengths[row] for row in rows) <= 256 for rows in cut)


@pytest.mark.parametrize("threads", [1, 3])
def test_every_text_is_in_one_batch_with_its_own_tokens(tiny_model: Path, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """Many more texts than are tokenised at once; what a batch is filled up with is not of them."""
    monkeypatch.setattr(batch, "TOKENISED_AT_ONCE", 7)
    reader = encoder.in_float32(tiny_model).reader
    assert reader is not None
    texts = [f"shoe {n} " * (n % 5) for n in range(40)]
    found: dict[int, list[int]] = {}
    for some in batch.batches(reader, texts, 100, threads):
        features = some.tokens.padded(some.rows)
        for place, tokens, mask in zip(some.places, features["input_ids"], features["attention_mask"], strict=True):
            found[int(place)] = tokens[mask == 1].tolist()
            assert (tokens[mask == 0] == reader.filled["input_ids"]).all()
    assert [found[n] for n in range(40)] == [encoding.ids for encoding in reader.tokenizer.encode_batch(texts)]


def test_halves_hold_what_the_whole_held(tiny_model: Path) -> None:
    reader = encoder.in_float32(tiny_model).reader
    assert reader is not None
    (whole,) = batch.batches(reader, ["red shoe", "!", "", "x " * 100], 10_000)
    first, second = whole.halves()
    assert whole.places.tolist() == [3, 0, 1, 2]
    assert (first.places.tolist(), second.places.tolist()) == ([3, 0], [1, 2])
    assert np.array_equal(np.concatenate([first.rows, second.rows]), whole.rows)
    assert (first.size, second.size) == (2 * tiny_encoder.LIMIT, 2 * 3)
