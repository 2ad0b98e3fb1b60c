"""Fellegi and Sunter's model: weights from labels by hand, and found again without them from pairs that were made by a known one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import match

SIZES = [3, 2, 2]
SHARE = 0.2  # of the pairs match
# share of the pairs that meet each level, among those that match, and among the others
MATCHING = [[0.05, 0.15, 0.8], [0.1, 0.9], [0.2, 0.8]]
OTHERS = [[0.7, 0.25, 0.05], [0.9, 0.1], [0.6, 0.4]]


def kinds(total: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every kind of pair, how many of `total` there are, and the share of them that matches, by Bayes' rule."""
    levels = np.array([(a, b, c) for a in (1, 2, 3) for b in (1, 2) for c in (1, 2)], np.int8)
    likely = [
        share * np.prod([[of[at][level - 1] for at, level in enumerate(kind)] for kind in levels], axis=1)
        for of, share in ((MATCHING, SHARE), (OTHERS, 1 - SHARE))
    ]
    counts = np.rint(total * (likely[0] + likely[1])).astype(np.int64)
    return levels, counts, likely[0] / (likely[0] + likely[1])


def test_with_labels_weights_are_the_logarithms_of_ratios() -> None:
    levels, counts, matching = kinds(10_000_000)
    model = match.estimated(levels, counts, SIZES, matching)
    for weights, among, others in zip(model.weights, MATCHING, OTHERS, strict=True):
        assert weights[match.UNKNOWN] == 0
        assert weights[1:] == pytest.approx(np.log(np.array(among) / np.array(others)), abs=1e-3)
    assert model.prior == pytest.approx(np.log(SHARE / (1 - SHARE)), abs=1e-3)
    assert model.probability(levels) == pytest.approx(matching, abs=1e-3)


def test_without_labels_the_same_is_found() -> None:
    levels, counts, matching = kinds(10_000_000)
    supposed = np.where(levels[:, 0] == 3, 0.9, 0.02)
    model = match.learnt(levels, counts, SIZES, supposed)
    assert model.probability(levels) == pytest.approx(matching, abs=0.02)


def test_a_level_that_few_meet_decides_little() -> None:
    """Of levels that nobody of either side meets, and of one that only few of the many others do."""
    levels, counts, matching = np.array([[2], [1], [2]], np.int8), np.array([100, 10, 9990]), np.array([1.0, 0.0, 0.0])
    weights = match.estimated(levels, counts, [3], matching).weights[0]
    assert weights[1] < 0
    assert abs(weights[3]) < 0.1


def test_pairs_known_apart_tell_what_only_resembles() -> None:
    """Levels 2 and 3 are met by pairs that match and by others; of those known apart many meet level 2."""
    levels, counts, matching = np.array([[1], [2], [3]], np.int8), np.array([800, 100, 100]), np.array([0.0, 0.8, 0.8])
    without = match.estimated(levels, counts, [3], matching)
    beside = match.estimated(levels, counts, [3], matching, apart=np.array([0, 50, 0]))
    assert without.weights[0][2] == without.weights[0][3]
    assert beside.weights[0][2] < without.weights[0][2] < beside.weights[0][3]
    assert beside.prior == without.prior  # they say nothing of how many match


def test_what_cannot_be_compared_weighs_nothing() -> None:
    levels, counts, matching = kinds(1000)
    model = match.estimated(levels, counts, SIZES, matching)
    assert model.log_odds(np.zeros((1, 3), np.int8)) == pytest.approx([model.prior])


def test_more_agreement_never_weighs_less() -> None:
    """Level 2 is met by chance as often as by pairs that match: its weight is pooled with that of level 1."""
    levels = np.array([[1], [2]], np.int8)
    model = match.estimated(levels, np.array([10, 10]), [2], np.array([0.9, 0.1]))
    assert np.all(np.diff(model.weights[0][1:]) >= 0)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12), st.data())
def test_rising_is_the_nearest_that_never_falls(values: list[float], data: st.DataObject) -> None:
    """By the min-max formula of isotonic regression (Barlow et al., 1972)."""
    sizes = data.draw(st.lists(st.floats(0.5, 5), min_size=len(values), max_size=len(values)))
    found, v, w = match.rising(np.array(values), np.array(sizes)), np.array(values), np.array(sizes)
    mean = lambda a, b: float(v[a : b + 1] @ w[a : b + 1] / w[a : b + 1].sum())  # noqa: E731
    n = len(values)
    expected = [max(min(mean(a, b) for b in range(i, n)) for a in range(i + 1)) for i in range(n)]
    assert found == pytest.approx(np.array(expected), abs=1e-9)
