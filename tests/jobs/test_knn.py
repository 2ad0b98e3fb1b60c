"""The search against brute force in float64, ties and duplicates included."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs import knn


def unit(rows: int, dimension: int, seed: int) -> knn.Vectors:
    vectors = np.random.default_rng(seed).normal(size=(rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def brute(vectors: knn.Vectors, asked: list[int], targets: list[int], k: int) -> list[tuple[int, int, int, float]]:
    """The obvious slow version: every pair, sorted by similarity, then by position."""
    rows = []
    for item in asked:
        scored = []
        for other in targets:
            if other != item:
                product = vectors[item].astype(np.float64) * vectors[other].astype(np.float64)
                scored.append((-np.float32(product.sum()), other))
        rows += [(item, rank, other, float(-value)) for rank, (value, other) in enumerate(sorted(scored)[:k], start=1)]
    return rows


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 10**6), n=st.integers(1, 60), k=st.integers(1, 12))
def test_nearest_is_brute_force(data: st.DataObject, seed: int, n: int, k: int) -> None:
    """Over random sets, with groups of items that share a vector, and with targets that are only some of the items."""
    groups = np.array(data.draw(st.lists(st.integers(0, n), min_size=n, max_size=n)))
    vectors = unit(n + 1, 8, seed)[groups]
    asked = np.array(sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=1))))
    targets = np.array(sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=1))))
    item, rank, neighbour, similarity = knn.nearest(vectors, groups, asked, targets, k)
    found = list(zip(item.tolist(), rank.tolist(), neighbour.tolist(), similarity.tolist(), strict=True))
    assert found == brute(vectors, asked.tolist(), targets.tolist(), k)


def test_exact_across_blocks_is_argsort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knn, "TARGET_ROWS", 50)
    monkeypatch.setattr(knn, "QUERY_ROWS", 7)
    queries, targets = unit(33, 16, 1), unit(420, 16, 2)
    expected = np.sort(np.argsort(-(queries @ targets.T), axis=1)[:, :10], axis=1)
    assert np.array_equal(np.sort(knn.exact(queries, targets, 10), axis=1), expected)


def test_thousands_of_equal_items_are_ordered_by_position() -> None:
    n = 3000
    vectors, groups = np.repeat(unit(1, 8, 3), n, axis=0), np.zeros(n, dtype=np.int64)
    item, rank, neighbour, _ = knn.nearest(vectors, groups, np.arange(n), np.arange(n), 5)
    assert neighbour[item == 0].tolist() == [1, 2, 3, 4, 5]
    assert neighbour[item == 2999].tolist() == [0, 1, 2, 3, 4]
    assert neighbour[item == 2].tolist() == [0, 1, 3, 4, 5]
    assert rank[item == 2].tolist() == [1, 2, 3, 4, 5]


def test_the_cut_does_not_change_a_similarity(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, n = unit(500, 384, 4), 500
    whole = knn.nearest(vectors, np.arange(n), np.arange(n), np.arange(n), 10)
    monkeypatch.setattr(knn, "QUERY_ROWS", 13)
    part = knn.nearest(vectors, np.arange(n), np.arange(100), np.arange(n), 10)
    assert all(np.array_equal(w[: 100 * 10], p) for w, p in zip(whole, part, strict=True))


def test_a_single_item_has_no_neighbours() -> None:
    one = np.array([0])
    assert all(len(column) == 0 for column in knn.nearest(unit(1, 4, 0), one, one, one, 3))


def test_dimensions_must_agree() -> None:
    with pytest.raises(ValueError, match=r"of one dimension, found \(2, 3\) and \(2, 4\)"):
        knn.exact(unit(2, 3, 0), unit(2, 4, 0), 1)
