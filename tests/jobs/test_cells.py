"""Covers, packing, the way vectors travel: against what they promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs import cells


def unit(rows: int, dimension: int, seed: int) -> cells.Vectors:
    vectors = np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def clustered(rows: int, seed: int) -> cells.Vectors:
    centres = unit(rows // 10, 32, seed)
    vectors = centres[np.arange(rows) % len(centres)] + 0.1 * unit(rows, 32, seed + 1)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def true_neighbours(vectors: cells.Vectors, items: cells.Cells, k: int) -> cells.Vectors:
    similarities = vectors[items] @ vectors.T
    similarities[np.arange(len(items)), items] = -2
    return vectors[np.argsort(-similarities, axis=1)[:, :k]]


@pytest.mark.parametrize("missed", [(0.0, 0.0), (0.0, 0.3), (0.1, 0.3)])
@pytest.mark.parametrize("target", [0.5, 0.89])
def test_of_a_cover_is_found_what_it_says(target: float, missed: tuple[float, float]) -> None:
    """`found` is measured on one half of the items and holds, within its noise, on the other, where some pairs are found nowhere and every
    meeting of the others in a cell is a chance of its own."""
    vectors = clustered(4000, 1)
    items = np.arange(0, 4000, 5)
    near = true_neighbours(vectors, items, 5)
    cover = cells.cover(vectors[::2], len(vectors), 1000, vectors[items[::2]], near[::2], target, missed, seed=0)
    assert cover.found >= target
    mine = cells.cells_of(vectors[items[1::2]], cover.leaders, cover.overlap)
    theirs = cells.cells_of(near[1::2].reshape(-1, 32), cover.leaders, cover.overlap).reshape(-1, 5, cover.overlap)
    met = mine[:, None, :, None] == theirs[:, :, None, :]
    random = np.random.default_rng(0)
    seen = (random.random(met.shape) >= missed[1]) & (random.random((*met.shape[:2], 1, 1)) >= missed[0])
    assert abs((met & seen).any(axis=(2, 3)).mean() - cover.found) < 0.05


def test_a_higher_target_takes_more_overlap_and_cells_stay_small() -> None:
    vectors = unit(5000, 24, 2)  # without any structure: the hardest there is
    items = np.arange(0, 5000, 25)
    near = true_neighbours(vectors, items, 10)
    low, high = (cells.cover(vectors, 5000, 1500, vectors[items], near, target, (0, 0.05), seed=0) for target in (0.5, 0.97))
    assert low.overlap < high.overlap
    assert low.found < high.found
    sizes = np.bincount(cells.cells_of(vectors, high.leaders, high.overlap).ravel())
    assert sizes.max() <= 1500
    assert (np.diff(sizes) <= 0).all()


def test_a_giant_cell_is_split() -> None:
    """Nine of ten vectors in one narrow cone: Lloyd's leaders alone leave them in few cells."""
    cone = unit(1, 24, 3) + 0.05 * unit(4500, 24, 4)
    vectors = np.concatenate([cone / np.linalg.norm(cone, axis=1, keepdims=True), unit(500, 24, 5)]).astype(np.float32)
    cover = cells.cover(vectors, 5000, 1000, vectors[:0], np.empty((0, 10, 24), np.float32), 0.9, (0, 0.05), seed=0)
    assert np.bincount(cells.cells_of(vectors, cover.leaders, cover.overlap).ravel()).max() <= 1000


def test_all_giant_cells_are_split_but_those_of_equal_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest cells are all about what cannot be told apart; behind these a cone is cut as small as it should be."""
    monkeypatch.setattr(cells, "OVERLAPS", (2,))
    cone = unit(1, 24, 10) + 0.1 * unit(3000, 24, 11)
    others = np.concatenate([cone / np.linalg.norm(cone, axis=1, keepdims=True), unit(500, 24, 12)])
    vectors = np.concatenate([np.repeat(unit(1, 24, 13), 1500, axis=0), others]).astype(np.float32)
    cover = cells.cover(vectors, 5000, 1000, vectors[:0], np.empty((0, 10, 24), np.float32), 0.9, (0, 0.05), seed=0)
    equal = cells.cells_of(vectors[:1], cover.leaders, 2)[0]
    sizes = np.bincount(cells.cells_of(vectors, cover.leaders, 2).ravel(), minlength=len(cover.leaders))
    assert sizes[equal].min() >= 1500
    assert np.delete(sizes, equal).max() <= 1000


def test_cells_do_not_depend_on_batches() -> None:
    vectors, leaders = unit(1000, 48, 6), unit(20, 48, 7)
    whole = cells.cells_of(vectors, leaders, 3)
    parts = [cells.cells_of(vectors[start : start + 37], leaders, 3) for start in range(0, 1000, 37)]
    assert np.array_equal(whole, np.concatenate(parts))
    assert np.array_equal(whole[:, 0], (vectors @ leaders.T).argmax(axis=1))


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 1000), min_size=1, max_size=200), cores=st.integers(1, 16))
def test_packed_cells_hold_every_block_once_and_no_more_than_fits(sizes: list[int], cores: int) -> None:
    found = cells.packed({f"b{n}": size for n, size in enumerate(sizes)}, 1000, cores)
    filled = np.zeros(1 + max(found.values()), dtype=int)
    for block, cell in found.items():
        filled[cell] += sizes[int(block[1:])]
    assert len(found) == len(sizes)
    assert filled.max() <= 1000


def test_packing_is_even_and_the_same_every_time() -> None:
    sizes = {"large": 6000} | {f"tiny{n}": 1 + n % 3 for n in range(5000)}
    found = cells.packed(sizes, 200_000, 2)
    assert found == cells.packed(dict(reversed(sizes.items())), 200_000, 2)
    assert len([block for block, cell in found.items() if cell == found["large"]]) < 3000  # it is work enough for its cell
    assert 2 <= 1 + max(found.values()) <= 8


def test_nothing_to_pack() -> None:
    assert cells.packed({}, 1000, 2) == {}


@pytest.mark.parametrize("dimension", [16, 384])
def test_narrowed_vectors_come_back(dimension: int) -> None:
    vectors = unit(500, dimension, 8)
    narrow = cells.narrowed(vectors)
    assert narrow.nbytes == 500 * (4 + 2 * dimension)
    back = cells.widened(np.ascontiguousarray(narrow).view(np.uint8).reshape(500, -1))
    assert np.abs(np.linalg.norm(back, axis=1) - 1).max() < 1e-6
    assert np.abs(back @ back.T - vectors @ vectors.T).max() < (1e-5 if dimension == 384 else 1e-4)


def test_expanded_is_the_obvious_loop() -> None:
    """Kinds with several names each, some near kinds missing; nearest first, ties by the name's place."""
    random = np.random.default_rng(9)
    place = random.permutation(60)
    kind_of_name = np.concatenate([np.arange(20), random.integers(0, 20, 40)])
    kinds = np.stack([random.permutation(20)[:6] for _ in range(20)]).astype(np.int32)
    kinds[3, 2:], kinds[5] = -1, -1
    similarities = np.sort(random.integers(0, 4, kinds.shape).astype(np.float32))[:, ::-1].copy()
    similarities[7, 0] = 0.5  # a row's own kind comes first, even if another is nearer
    row, name, pair = cells.expanded(kinds, similarities, kind_of_name, place, 7)
    found = list(zip(row, name, similarities.ravel()[pair], strict=True))
    assert (kinds.ravel()[pair] == kind_of_name[name]).all()
    expected = []
    for row in range(20):
        near = [
            (-similarities[row, column], place[name], name)
            for column, kind in enumerate(kinds[row])
            if kind >= 0
            for name in np.flatnonzero(kind_of_name == kind)
        ]
        expected += [(row, name, -negative) for negative, _, name in sorted(near)[:7]]
    assert found == expected


def test_vectors_are_summed_by_cell() -> None:
    random = np.random.default_rng(5)
    vectors = random.normal(size=(50, 4)).astype(np.float32)
    own = random.choice([0, 2, 5], size=50)  # 1, 3, 4 and 6 have none
    expected = [vectors[own == cell].astype(np.float64).sum(axis=0) for cell in range(7)]
    np.testing.assert_allclose(cells.summed(vectors, own, 7), expected, rtol=1e-12, atol=1e-12)
