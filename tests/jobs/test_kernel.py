"""Each loop against the obvious slow version."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs import kernel
from jobs.kernel import LANES

Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


def unit(random: np.random.Generator, rows: int, dimension: int) -> Floats:
    vectors = random.normal(size=(rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def fine_of(vectors: Floats) -> npt.NDArray[np.int16]:
    fine = np.zeros((len(vectors), LANES), dtype=np.int16)
    kernel.fixed_point(vectors, np.arange(len(vectors)), 0, len(vectors), fine)
    return fine


def on_grid(random: np.random.Generator, rows: int, dimension: int) -> Floats:
    """Vectors that fixed point holds as they are."""
    return fine_of(unit(random, rows, dimension))[:, :dimension].astype(np.float32) / kernel.FINE


def random_lists(random: np.random.Generator, vectors: Floats, width: int) -> tuple[Ids, Floats]:
    """Lists of 0 to `width` others each, nearest first."""
    ids, similarities = kernel.lists(len(vectors), width)
    for row in range(len(vectors)):
        others = np.delete(np.arange(len(vectors)), row)
        chosen = random.choice(others, random.integers(min(width, len(others)) + 1), replace=False)
        insert(vectors, row, set(chosen.tolist()), ids, similarities)
    return ids, similarities


def insert(vectors: Floats, row: int, others: set[int], ids: Ids, similarities: Floats) -> None:
    """The list of a row, from the set of all that were met."""
    best = sorted(((float(vectors[row] @ vectors[other]), other) for other in others), reverse=True)[: ids.shape[1]]
    ids[row, : len(best)] = [other for _, other in best]
    similarities[row, : len(best)] = [value for value, _ in best]


@pytest.mark.parametrize("dimension", [1, LANES, 384])
def test_products_in_fixed_point_are_nearly_those_of_the_vectors(dimension: int) -> None:
    """In the order asked for; equal and opposite vectors are the largest products there are."""
    vectors = unit(np.random.default_rng(2), 50, dimension)
    vectors[9] = np.eye(dimension)[0] * np.sqrt(1.001)  # as long as `knn.check` lets pass
    vectors[10:20], vectors[20:30], order = vectors[:10], -vectors[:10], np.random.default_rng(3).permutation(50)
    fine = np.zeros((50, -(-dimension // LANES) * LANES), dtype=np.int16)
    for cut in ((0, 20), (20, 50)):
        kernel.fixed_point(vectors, order, *cut, fine)
    ids, similarities = kernel.lists(50, 49)
    everyone = np.array([np.delete(np.arange(50), row) for row in range(50)], dtype=np.int32)
    kernel.merge(fine, 0, 50, 1, everyone, np.ones(everyone.shape, dtype=np.float32), 1.0, 0.0, ids, similarities)
    expected = vectors[order].astype(np.float64) @ vectors[order].T
    assert np.abs(similarities - np.take_along_axis(expected, ids, axis=1)).max() < 1e-4


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    widths=st.lists(st.integers(1, 150), min_size=1, max_size=4),
    kept=st.integers(1, 40),
    steps=st.sampled_from([10, 10**6]),
    kind=st.sampled_from([np.float32, np.int32]),
)
def test_top_is_a_sort_of_all_blocks(seed: int, widths: list[int], kept: int, steps: int, kind: type) -> None:
    """Blocks of any width into one list; of ten steps most values are ties. Columns and rows of filling are the largest of all."""
    random = np.random.default_rng(seed)
    rows, columns = 3, sum(widths)
    products = random.integers(-steps, steps + 1, (rows, columns)).astype(kind)
    values = products.astype(np.float32)
    own = random.integers(-1, columns, rows)
    names = random.permutation(10 * columns)[:columns].astype(np.int32)
    slots = random.permutation(rows + 2)[:rows]
    ids, found = kernel.lists(rows + 2, kept)
    for stop in np.cumsum(widths):
        width = widths[np.searchsorted(np.cumsum(widths), stop)]
        block = np.full((rows + 1, -(-width // LANES) * LANES), 2 * steps, dtype=kind)
        block[:rows, :width] = products[:, stop - width : stop]
        kernel.top(block, own - (stop - width), names[stop - width : stop], slots, ids, found)
    for row, slot in enumerate(slots):
        others = np.delete(np.arange(columns), own[row]) if own[row] >= 0 else np.arange(columns)
        expected = np.sort(values[row, others])[::-1][:kept]
        assert np.array_equal(found[slot, : len(expected)], expected)
        value_of = dict(zip(names[others].tolist(), values[row, others].tolist(), strict=True))
        assert [value_of[name] for name in ids[slot, : len(expected)].tolist()] == expected.tolist()
        assert len(set(ids[slot, : len(expected)].tolist())) == len(expected)
        assert (ids[slot, len(expected) :] == kernel.NONE).all()
    assert (np.delete(ids, slots, axis=0) == kernel.NONE).all()


def test_among_many_that_are_equal_not_everyone_takes_the_same_few() -> None:
    ids, found = kernel.lists(64, 4)
    products = np.ones((64, 256), dtype=np.int32)
    kernel.top(products, np.full(64, -1), np.arange(256, dtype=np.int32), np.arange(64), ids, found)
    assert (found == 1).all()
    assert len(np.unique(ids)) > 128


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_forbid_is_the_pairs_of_one_label(kind: type) -> None:
    products = np.zeros((4, 5), dtype=kind)
    kernel.forbid(products, np.array([1, 2, 3], dtype=np.int32), np.array([2, 1, 2, 9], dtype=np.int32))
    assert np.argwhere(products == kernel.LOWEST).tolist() == [[0, 1], [1, 0], [1, 2]]
    assert (products == 0).sum() == 17


UNIT, ROUNDING = np.float32(0.25), np.float32(0.006)


@pytest.mark.parametrize("seed", range(8))
def test_merge_is_the_best_of_all_that_were_met(seed: int) -> None:
    """Twice, so that lists are empty, part full and full; the products by which candidates are sorted are a rounding off."""
    random = np.random.default_rng(seed)
    vectors, folds, kept = on_grid(random, 60, 6), 3, 1 + seed
    ids, similarities = kernel.lists(60, kept)
    expected, values = kernel.lists(60, kept)
    met: list[set[int]] = [set() for _ in vectors]
    for _ in range(2):
        candidates, approximate = kernel.lists(60 * folds, 9)
        for slot in range(60 * folds):
            others = random.choice(np.delete(np.arange(60), slot // folds), random.integers(10), replace=False)
            rounded = vectors[others] @ vectors[slot // folds] + random.uniform(-0.9, 0.9, len(others)) * ROUNDING
            order = np.argsort(-rounded)
            candidates[slot, : len(order)], approximate[slot, : len(order)] = others[order], rounded[order]
            met[slot // folds] |= set(others.tolist())
        for cut in ((0, 17), (17, 60)):
            kernel.merge(fine_of(vectors), *cut, folds, candidates, approximate / UNIT, UNIT, ROUNDING, ids, similarities)
        for row in range(60):
            insert(vectors, row, met[row], expected, values)
        assert np.array_equal(ids, expected)
        assert np.allclose(similarities, values, rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_sweep_meets_the_first_neighbours_of_the_first_neighbours(seed: int) -> None:
    random = np.random.default_rng(seed)
    vectors, labels, reach = on_grid(random, 60, 6), random.integers(5, size=60, dtype=np.int32), 1 + seed % 4
    first, values = random_lists(random, vectors, 6)
    second, _ = random_lists(random, vectors, 9)
    ids, similarities = first.copy(), values.copy()
    expected, expected_values = first.copy(), values.copy()
    for row in range(60):
        own = set(first[row].tolist()) - {kernel.NONE}
        between = [near for near in first[row, :reach] if near != kernel.NONE]
        met = {far for near in between for far in second[near, :reach].tolist() if far != kernel.NONE and labels[far] != labels[row]}
        insert(vectors, row, own | met, expected, expected_values)
    for cut in ((0, 23), (23, 60)):
        kernel.sweep(fine_of(vectors), *cut, labels, first, second, reach, ids, similarities)
    assert np.array_equal(ids, expected)
    assert np.allclose(similarities, expected_values, rtol=0, atol=1e-6)


def test_sweep_looks_at_no_other_lists_where_they_are_shorter_than_its_reach() -> None:
    """Of a ring where everyone knows the next, everyone meets the one after, and no more."""
    vectors, ring = unit(np.random.default_rng(0), 20, 4), (np.arange(22, dtype=np.int32) % 20)[:, None]
    ids, similarities = kernel.lists(20, 6)
    kernel.sweep(fine_of(vectors), 0, 20, np.arange(20, dtype=np.int32), ring[1:21], ring[1:21], 2, ids, similarities)
    assert ids[:, 0].tolist() == ring[2:22, 0].tolist()
    assert (ids[:, 1:] == kernel.NONE).all()


@pytest.mark.parametrize(("wide", "k"), [(12, 5), (5, 5), (3, 5), (12, 1)])
def test_settle_sorts_by_similarity_then_position(wide: int, k: int) -> None:
    """With vectors that several rows share, and lists in any order."""
    random = np.random.default_rng(wide)
    vectors = unit(random, 12, 6)[random.integers(12, size=40)]
    found, _ = random_lists(random, vectors, wide)
    for row in found:
        row[row != kernel.NONE] = random.permutation(row[row != kernel.NONE])
    ids, similarities = kernel.lists(40, k)
    for cut in ((0, 11), (11, 40)):
        kernel.settle(vectors, np.arange(*cut), np.arange(*cut), found, ids, similarities)
    for row in range(40):
        others = found[row][found[row] != kernel.NONE]
        products = (vectors[others].astype(np.float64) * vectors[row]).sum(axis=1).astype(np.float32)
        order = np.lexsort((others, -products))[:k]
        assert ids[row].tolist() == others[order].tolist() + [kernel.NONE] * (k - len(order))
        assert np.allclose(similarities[row, : len(order)], products[order], rtol=0, atol=1e-7)
