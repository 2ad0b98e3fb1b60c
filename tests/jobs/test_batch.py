"""Batches of texts: every text in one of them, and none larger than its budget."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jobs.batch import Batch, rows_of_batches


@given(st.lists(st.integers(1, 300), max_size=50))
def test_batches_hold_every_row_once_and_keep_to_the_budget(lengths: list[int]) -> None:
    cut = list(rows_of_batches(np.array(lengths, dtype=np.int64), batch_tokens=256))
    assert sorted(row for batch in cut for row in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= 256 for batch in cut)


def test_halves_hold_what_the_whole_held() -> None:
    understood, features = np.array([True, False, True]), {"input_ids": [[1, 2, 3, 4], [5, 6], [7]]}
    whole = Batch(np.arange(3), np.array([4, 2, 1]), understood, 0, features, {"modality": "text"})
    first, second = whole.halves()
    assert (whole.size, first.size, second.size) == (12, 4, 4)
    assert first.features["input_ids"] + second.features["input_ids"] == whole.features["input_ids"]
    assert [*first.places, *second.places] == [0, 1, 2]
    assert [*first.understood, *second.understood] == [True, False, True]
    assert first.same == second.same == whole.same
