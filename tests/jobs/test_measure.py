"""Recall and its interval against values worked out by hand."""

import numpy as np
import pytest

from jobs import measure


@pytest.mark.parametrize(
    ("published", "exact", "recall"),
    [
        ([0.9, 0.8], [0.9, 0.8], 1.0),  # both found
        ([0.9, 0.7], [0.9, 0.8], 0.5),  # the second was missed
        ([0.9, 0.8], [0.9, 0.8, 0.8], 1.0),  # a tie at the k-th place: either counts
        ([0.9], [0.9, 0.8], 0.5),  # one is lacking
        ([0.9], [0.9], 1.0),  # there is only one to be found
    ],
)
def test_recall_counts_ties_by_similarity(published: list[float], exact: list[float], recall: float) -> None:
    assert measure.recall_of_items([np.array(published)], [np.array(exact)], 2)[0] == recall


def test_an_item_with_nothing_to_be_matched_with_has_no_recall() -> None:
    assert np.isnan(measure.recall_of_items([np.array([])], [np.array([])], 2)[0])


def test_wilson() -> None:
    assert measure.wilson(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)  # Wilson 1927, z = 1.96
    assert measure.wilson(1.0, 1000) == pytest.approx((0.99617, 1.0), abs=1e-4)
    assert measure.wilson(0.0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("n", [1, 7, 304, 1000])
def test_an_interval_holds_what_was_seen(n: int) -> None:
    """Its ends too, whatever float64 makes of the formula."""
    for share in (0.0, 0.5, 1.0):
        low, high = measure.wilson(share, n)
        assert 0 <= low <= share <= high <= 1
