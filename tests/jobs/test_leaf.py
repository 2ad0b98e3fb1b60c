"""Leaves hold what joined them, once; leaders lie where vectors do."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs import gemm, kernel, leaf
from jobs.pool import Workers, workers


@pytest.fixture
def pool() -> Iterator[Workers]:
    with workers(2) as two:
        yield two


def unit(rows: int, dimension: int, seed: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(rows, dimension, generator=torch.Generator().manual_seed(seed)))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 300), folds=st.integers(1, 4), count=st.integers(1, 40), alike=st.integers(0, 300))
def test_every_slot_lies_in_one_leaf_of_its_leader(seed: int, n: int, folds: int, count: int, alike: int) -> None:
    """A slot alone in its leaf is left out. Some leaders are liked far better than others, and some vectors are all alike."""
    random, count = np.random.default_rng(seed), min(count, n)  # leaders are sampled vectors
    vectors = unit(n, 8, seed)
    vectors[:alike] = vectors[0]
    liked = random.dirichlet(np.full(count + 4, 0.3))  # four more: at most `folds` of a vector's leaders are to be different ones
    joined = np.array([random.choice(count + 4, folds, replace=False, p=(liked + 0.01) / (liked + 0.01).sum()) for _ in range(n)])
    joined = np.where(joined < count, joined, kernel.NONE).astype(np.int32)
    found = leaf.leaves(gemm.Matrix(vectors), joined, count, random)
    most = leaf.SPLIT_ABOVE * joined.size / count
    sizes = [len(slots) for slots in found]
    assert sizes == sorted(sizes, reverse=True)
    assert all(1 < size <= most for size in sizes)
    placed = np.concatenate([np.empty(0, dtype=np.int64), *found])
    assert len(set(placed.tolist())) == len(placed)
    leader = joined.ravel()
    assert all((leader[slots] == leader[slots[0]]).all() and leader[slots[0]] != kernel.NONE for slots in found)
    members = np.bincount(leader[leader != kernel.NONE], minlength=count)
    left_out = np.setdiff1d(np.flatnonzero(leader != kernel.NONE), placed)
    assert all(members[leader[slot]] == 1 or members[leader[slot]] > most for slot in left_out)


def test_a_giant_leaf_of_vectors_all_alike_is_cut() -> None:
    """No leader tells them apart."""
    vectors, joined = unit(1, 8, 0).expand(1000, 8).contiguous(), np.zeros((1000, 2), dtype=np.int32)
    joined[:, 1] = 1
    found = leaf.leaves(gemm.Matrix(vectors), joined, 40, np.random.default_rng(0))
    assert np.array_equal(np.sort(np.concatenate(found)), np.arange(2000))
    assert max(len(slots) for slots in found) <= leaf.SPLIT_ABOVE * 2000 / 40


def test_a_giant_leaf_is_cut_around_leaders_of_its_own() -> None:
    """Of two groups that stand in turn, no piece holds both."""
    centres, group = unit(2, 16, 8), torch.arange(600) % 2
    vectors = torch.nn.functional.normalize(centres[group] + 0.2 * unit(600, 16, 9))
    found = leaf.leaves(gemm.Matrix(vectors), np.zeros((600, 3), dtype=np.int32), 20, np.random.default_rng(0))
    assert max(len(slots) for slots in found) <= leaf.SPLIT_ABOVE * 1800 / 20
    assert all(len(set(group[slots // 3].tolist())) == 1 for slots in found)


@pytest.mark.parametrize("count", [1, 5, 40])
def test_nearest_leaders_are_those_of_a_sort(monkeypatch: pytest.MonkeyPatch, pool: Workers, count: int) -> None:
    monkeypatch.setattr(leaf, "ROWS_AT_ONCE", 100)
    vectors, leaders = unit(730, 16, 1), unit(210, 16, 2)
    similarities = (vectors.double() @ leaders.double().T).numpy()
    expected = np.argsort(-similarities, axis=1)[:, :count]
    found = leaf.nearest(gemm.Matrix(vectors), gemm.Matrix(leaders), count, pool)
    assert np.array_equal(found[:, 0], similarities.argmax(axis=1))
    assert np.allclose(np.take_along_axis(similarities, found, 1), np.take_along_axis(similarities, expected, 1), rtol=0, atol=1e-6)
    assert all(len(set(row)) == count for row in found.tolist())


def test_there_may_be_fewer_leaders_than_asked(pool: Workers) -> None:
    found = leaf.nearest(gemm.Matrix(unit(50, 8, 3)), gemm.Matrix(unit(3, 8, 4)), 5, pool)
    assert (np.sort(found[:, :3], axis=1) == [0, 1, 2]).all()
    assert (found[:, 3:] == kernel.NONE).all()


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.int8])
def test_leaders_are_nearer_to_vectors_than_a_sample_of_them(pool: Workers, precision: torch.dtype) -> None:
    """What the step of Lloyd's is for."""
    centres = unit(20, 32, 5)
    vectors = torch.nn.functional.normalize(centres.repeat(50, 1) + unit(1000, 32, 6))
    found = leaf.leaders(gemm.matrix(vectors, precision), 60, np.random.default_rng(0), pool)
    sample = vectors[torch.from_numpy(np.random.default_rng(0).choice(1000, 60, replace=False))]
    assert found.values.shape == (60, 32)
    assert found.values.dtype == precision
    assert torch.allclose(found.widened().norm(dim=1), torch.ones(60), atol=0.01)
    nearest = [(vectors @ leaders.T).amax(dim=1).mean().item() for leaders in (found.widened(), sample)]
    assert nearest[0] > nearest[1]


def test_a_leader_whose_mean_is_nowhere_stays_where_it_was(pool: Workers) -> None:
    """Vectors that cancel out, and leaders beside an equal one that takes all."""
    one = unit(1, 8, 7)
    opposed = leaf.leaders(gemm.Matrix(torch.cat([one, -one]).repeat(3, 1)), 1, np.random.default_rng(0), pool).widened()
    assert torch.allclose(opposed.abs(), one.abs())
    alike = leaf.leaders(gemm.Matrix(one.repeat(50, 1)), 10, np.random.default_rng(0), pool).widened()
    assert torch.allclose(alike, one.repeat(10, 1))
