"""The search against brute force in float64: the same for small sets, the recall that is asked for beyond."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs import device, gemm, knn
from jobs.pool import workers

TIE = 1e-6  # float32 products of one pair, summed in another order
K, ROWS, DIMENSION = 10, 4000, 48  # of the sets that are not small


@pytest.fixture(autouse=True, scope="module")
def no_gpu() -> Iterator[None]:
    """On a machine that has one, everything would be compared."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        yield


@pytest.fixture
def few_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knn, "EXACT_ROWS", 500)


def unit(rows: int, dimension: int, seed: int) -> knn.Vectors:
    return normalised(np.random.default_rng(seed).normal(size=(rows, dimension)))


def normalised(vectors: npt.NDArray[np.float64]) -> knn.Vectors:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clustered(seed: int) -> knn.Vectors:
    """Families of about 25, some of whose members are nearer to others."""
    family = np.random.default_rng(seed).integers(ROWS // 25, size=ROWS)
    return normalised(unit(ROWS // 25, DIMENSION, seed + 1)[family] + 0.9 * unit(ROWS, DIMENSION, seed + 2))


def similarities_of(vectors: knn.Vectors, labels: knn.Positions) -> knn.Vectors:
    """Of all pairs; -inf where they do not count."""
    zero = ~vectors.any(axis=1)
    products = (vectors.astype(np.float64) @ vectors.T.astype(np.float64)).astype(np.float32)
    products[(labels[:, None] == labels) | zero | zero[:, None]] = -np.inf
    return products


def brute(vectors: knn.Vectors, k: int, labels: knn.Positions | None = None) -> tuple[knn.Positions, knn.Vectors]:
    """The obvious slow version: every pair, sorted by similarity, then by position."""
    labels = np.arange(len(vectors), dtype=np.int32) if labels is None else labels
    similarities = np.pad(similarities_of(vectors, labels), ((0, 0), (0, k)), constant_values=-np.inf)
    positions = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(similarities, positions, axis=1)
    return np.where(best == -np.inf, knn.NONE, positions), best


def recall(found: knn.Neighbours, vectors: knn.Vectors, labels: knn.Positions | None = None) -> float:
    """Of what brute force finds, ties by similarity; after checks that every list is one."""
    labels = np.arange(len(vectors), dtype=np.int32) if labels is None else labels
    rows, places = np.nonzero(found.positions != knn.NONE)
    others, given = found.positions[rows, places], found.similarities[rows, places]
    assert (labels[rows] != labels[others]).all()
    assert len(set(zip(rows.tolist(), others.tolist(), strict=True))) == len(rows)
    assert (found.similarities[found.positions == knn.NONE] == -np.inf).all()
    assert np.abs(given - np.einsum("nd,nd->n", vectors[rows].astype(np.float64), vectors[others])).max(initial=0) < 1e-7
    left, right = found.similarities[:, :-1], found.similarities[:, 1:]
    assert ((left > right) | ((left == right) & ((found.positions[:, :-1] < found.positions[:, 1:]) | (left == -np.inf)))).all()
    best = -np.partition(-similarities_of(vectors, labels), found.positions.shape[1] - 1, axis=1)[:, : found.positions.shape[1]]
    least = np.where(best > -np.inf, best, np.inf).min(axis=1, keepdims=True)
    return float((found.similarities >= least - TIE).sum() / (best > -np.inf).sum())


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 10**6), n=st.integers(1, 80), k=st.integers(1, 12))
def test_a_small_set_is_brute_force(data: st.DataObject, seed: int, n: int, k: int) -> None:
    """With vectors that several items share, with labels and without."""
    vectors = unit(n, 8, seed)[data.draw(st.lists(st.integers(0, n - 1), min_size=n, max_size=n))]
    drawn = data.draw(st.none() | st.lists(st.integers(0, 3), min_size=n, max_size=n))
    labels = None if drawn is None else np.array(drawn, dtype=np.int32)
    found = knn.nearest(vectors, k, labels=labels)
    positions, similarities = brute(vectors, k + knn.MARGIN + 1, labels)
    beyond = similarities[:, k + knn.MARGIN]
    decided = (beyond == -np.inf) | (similarities[:, k - 1] > beyond + TIE)  # elsewhere more are equal than are kept
    assert np.array_equal(found.positions[decided], positions[decided, :k])
    assert np.allclose(found.similarities, similarities[:, :k], rtol=0, atol=1e-7)
    assert (found.pilot_recall, found.rounds) == (1.0, 0)


def test_items_amid_their_own_label_get_k_of_the_others() -> None:
    """More of the own label lie nearer than are ever kept."""
    vectors, labels = normalised(unit(1, 16, 0) + 0.1 * unit(400, 16, 1)), np.repeat(np.array([0, 1], dtype=np.int32), (300, 100))
    vectors[300:] = unit(100, 16, 2)
    found = knn.nearest(vectors, K, labels=labels)
    assert (found.positions[:300] >= 300).all()
    assert np.array_equal(found.positions, brute(vectors, K, labels)[0])


@pytest.mark.parametrize(("n", "first"), [(0, []), (1, [[-1, -1, -1]]), (2, [[1, -1, -1], [0, -1, -1]])])
def test_there_may_be_fewer_than_k(n: int, first: list[list[int]]) -> None:
    found = knn.nearest(unit(n, 4, 0), 3)
    assert found.positions.tolist() == first
    assert ((found.similarities == -np.inf) == (found.positions == knn.NONE)).all()


def test_thousands_of_equal_vectors_have_full_lists() -> None:
    vectors = np.repeat(unit(1, 8, 3), 3000, axis=0)
    found = knn.nearest(vectors, K, threads=2)
    assert (found.positions != knn.NONE).all()
    assert recall(found, vectors) == 1
    assert np.allclose(found.similarities, 1, rtol=0, atol=1e-6)


def test_zero_vectors_have_no_neighbours_and_are_nobodys() -> None:
    vectors = unit(50, 8, 4)
    vectors[[0, 7, 49]] = 0
    found = knn.nearest(vectors, 12)
    assert np.array_equal(found.positions, brute(vectors, 12)[0])
    assert (knn.nearest(np.zeros((5, 8), dtype=np.float32), 3).positions == knn.NONE).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.5, 1e30, 1e-30])  # the square of the last is zero in float32
def test_a_vector_of_another_length_is_refused(value: float) -> None:
    vectors = unit(20, 8, 5)
    vectors[[7, 9]] = value
    with pytest.raises(ValueError, match="2 of 20 vectors are neither of unit length nor zero, the first is row 7"):
        knn.nearest(vectors, 3)


@pytest.mark.parametrize("vectors", [np.ones(8, dtype=np.float32), np.eye(8)], ids=["one dimension", "float64"])
def test_what_is_no_float32_matrix_is_refused(vectors: knn.Vectors) -> None:
    with pytest.raises(ValueError, match=r"expected \(n, d\) float32 vectors, found \(8"):
        knn.nearest(vectors, 3)


def test_vectors_may_be_read_only() -> None:
    """As all are that come out of an Arrow column."""
    vectors = unit(50, 8, 6)
    expected = knn.nearest(vectors, 3)
    vectors.flags.writeable = False
    assert np.array_equal(knn.nearest(vectors, 3).positions, expected.positions)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.int8])
@pytest.mark.parametrize("spread", [0.0, 0.01, 0.1, 1.0])
@pytest.mark.parametrize("k", [1, 12, 40])
def test_all_compared_is_brute_force_in_every_precision(
    monkeypatch: pytest.MonkeyPatch, precision: torch.dtype, spread: float, k: int
) -> None:
    """Also where similarities lie nearer to each other than narrow products can tell: there float32 decides."""
    monkeypatch.setattr(gemm, "fastest", lambda: precision)
    vectors = normalised(unit(1, DIMENSION, 3) + spread * unit(700, DIMENSION, 4))
    rows = np.arange(0, 700, 7)
    with workers(2) as pool:
        positions, similarities = knn.exact(vectors, rows, k, np.empty(0, dtype=np.int32), pool)
    expected, best = brute(vectors, k)
    assert np.abs(similarities - best[rows]).max() < 1e-7
    if spread:
        assert np.array_equal(positions, expected[rows])
    assert not (positions == rows[:, None]).any()


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.int8])
@pytest.mark.parametrize(("target", "k"), [(0.9, K), (0.98, K), (0.9, 1)])
def test_the_recall_asked_for_is_reached(
    few_are_exact: None, monkeypatch: pytest.MonkeyPatch, target: float, k: int, precision: torch.dtype
) -> None:
    monkeypatch.setattr(gemm, "fastest", lambda: precision)
    vectors = clustered(seed=10)
    vectors[[0, 1000]] = 0
    found = knn.nearest(vectors, k, target_recall=target, threads=2)
    assert found.rounds > 0
    assert target <= found.pilot_recall
    truly = recall(found, vectors)
    assert truly >= target
    assert truly == pytest.approx(found.pilot_recall, abs=0.02)  # that of 512 sampled rows


@pytest.mark.parametrize("precision", [torch.float32, torch.int8])
def test_the_recall_holds_among_other_labels(few_are_exact: None, monkeypatch: pytest.MonkeyPatch, precision: torch.dtype) -> None:
    """In leaves of several blocks, as those of large sets are."""
    monkeypatch.setattr(gemm, "fastest", lambda: precision)
    monkeypatch.setattr(gemm, "ROWS", 32)
    monkeypatch.setattr(gemm, "COLUMNS", 64)
    vectors, labels = clustered(seed=20), np.random.default_rng(0).integers(2, size=ROWS, dtype=np.int32)
    found = knn.nearest(vectors, K, target_recall=0.9, labels=labels, threads=2)
    assert found.rounds > 0
    assert recall(found, vectors, labels) >= 0.9


def test_the_recall_holds_where_fewer_than_k_have_another_label(few_are_exact: None) -> None:
    vectors, labels = clustered(seed=30), np.zeros(ROWS, dtype=np.int32)
    labels[: K // 2] = 1
    assert recall(knn.nearest(vectors, K, target_recall=0.9, labels=labels, threads=2), vectors, labels) >= 0.9


def test_where_all_have_one_label_nobody_has_neighbours(few_are_exact: None) -> None:
    """And the pilot has nothing to measure."""
    found = knn.nearest(clustered(seed=30)[:1500], K, labels=np.zeros(1500, dtype=np.int32), threads=2)
    assert (found.positions == knn.NONE).all()
    assert found.pilot_recall == 1


@pytest.mark.parametrize("precision", [torch.float32, torch.int8])
def test_neither_threads_nor_chance_change_what_is_found(
    few_are_exact: None, monkeypatch: pytest.MonkeyPatch, precision: torch.dtype
) -> None:
    """Nor how many pieces the work is cut into."""
    monkeypatch.setattr(gemm, "fastest", lambda: precision)
    monkeypatch.setattr(knn, "KERNEL_ROWS", 256)
    vectors, labels = clustered(seed=40), np.arange(ROWS, dtype=np.int32) % 3
    one, again, two, other = (knn.nearest(vectors, K, labels=labels, threads=t, seed=s) for t, s in ((1, 7), (1, 7), (2, 7), (1, 8)))
    assert one.rounds > 0
    for same in (again, two):
        assert np.array_equal(one.positions, same.positions)
        assert np.array_equal(one.similarities, same.similarities)
        assert (one.pilot_recall, one.rounds) == (same.pilot_recall, same.rounds)
    assert not np.array_equal(one.positions, other.positions)  # there was chance in it


@pytest.mark.parametrize(("rounds", "target"), [(2, 0.999), (20, 0.9)], ids=["then everything is compared", "then it is enough"])
def test_more_leaves_are_laid_until_the_pilot_is_content(
    few_are_exact: None, monkeypatch: pytest.MonkeyPatch, rounds: int, target: float
) -> None:
    """Random vectors have no groups that a single leaf could catch."""
    for name, value in {"FOLDS": ((1.0, 1),), "FOLDS_OF_A_FURTHER_ROUND": 1, "ROUNDS": rounds}.items():
        monkeypatch.setattr(knn, name, value)
    vectors = unit(ROWS // 2, 32, 50)
    found = knn.nearest(vectors, K, target_recall=target, threads=2)
    if rounds == 2:
        assert (found.rounds, found.pilot_recall) == (0, 1.0)
        assert np.array_equal(found.positions, brute(vectors, K)[0])
    else:
        assert 2 <= found.rounds <= rounds
        assert recall(found, vectors) >= target - 0.01  # the pilot stopped as soon as it was content: half of the time by chance


@pytest.mark.parametrize(("k", "target"), [(knn.EXACT_K + 1, 0.9), (3, 1.0)])
def test_where_leaves_save_nothing_everything_is_compared(
    few_are_exact: None, monkeypatch: pytest.MonkeyPatch, k: int, target: float
) -> None:
    monkeypatch.setattr(knn, "_approximate", None)  # is not called: it would end there too, after all its rounds
    vectors = clustered(seed=60)[:1500]
    found = knn.nearest(vectors, k, target_recall=target, threads=2)
    assert (found.rounds, found.pilot_recall) == (0, 1.0)
    assert np.array_equal(found.positions, brute(vectors, k)[0])


@pytest.mark.parametrize("labelled", [False, True], ids=["one catalogue", "two"])
def test_half_the_set_one_vector(few_are_exact: None, labelled: bool) -> None:
    vectors, labels = clustered(seed=70), np.random.default_rng(0).integers(2, size=ROWS, dtype=np.int32) if labelled else None
    vectors[::2] = vectors[0]
    found = knn.nearest(vectors, K, target_recall=0.9, labels=labels, threads=2)
    assert (found.positions != knn.NONE).all()
    assert recall(found, vectors, labels) >= 0.9


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.int8])
@pytest.mark.parametrize("labelled", [False, True], ids=["one catalogue", "two"])
@pytest.mark.parametrize("rows", [40, ROWS], ids=["compared", "searched"])
def test_the_nearest_are_among_the_candidates(
    few_are_exact: None, monkeypatch: pytest.MonkeyPatch, precision: torch.dtype, labelled: bool, rows: int
) -> None:
    """Also where all the others are asked for, and some vectors have nothing to say; a list ends with those that do not exist."""
    monkeypatch.setattr(gemm, "fastest", lambda: precision)
    vectors, labels = clustered(seed=80)[:rows], np.random.default_rng(1).integers(2, size=rows, dtype=np.int32) if labelled else None
    vectors[[3, 17]] = 0
    found = knn.candidates(vectors, 4 * K, target_recall=0.95, wanted=K, labels=labels, threads=2)
    nearest, _ = brute(vectors, K, labels)
    there = nearest != knn.NONE
    met = (found.positions[:, None, :] == nearest[:, :, None]).any(axis=2)
    assert met[there].mean() >= (1 if rows == 40 else 0.95)
    assert (found.rounds > 0) == (rows == ROWS)
    assert sorted(found.order) == [row for row in range(rows) if row not in {3, 17}]
    assert (np.diff((found.positions == knn.NONE).astype(int), axis=1) >= 0).all()
    for row, mine in enumerate(found.positions.tolist()):
        others = [other for other in mine if other != knn.NONE]
        assert len(set(others)) == len(others)
        assert not {row, 3, 17} & set(others)
        assert labels is None or (labels[others] != labels[row]).all()
    assert (found.positions[[3, 17]] == knn.NONE).all()


def test_a_gpu_finds_what_the_cpu_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way there and back, with the device replaced by the CPU."""
    search = device.search
    vectors, labels = unit(200, 16, 80), np.arange(200, dtype=np.int32) % 5
    vectors[3] = 0
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(device, "search", lambda some, width, unlike, _: search(some, width, unlike, torch.device("cpu")))
    found = knn.nearest(vectors, K, labels=labels)
    assert np.array_equal(found.positions, brute(vectors, K, labels)[0])
