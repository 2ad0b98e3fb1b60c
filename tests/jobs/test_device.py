"""What a GPU computes, on the CPU, against brute force in float64."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs import device

CPU = torch.device("cpu")
NOBODY = np.empty(0, dtype=np.int32)
Vectors = npt.NDArray[np.float32]


def unit(rows: int, dimension: int, seed: int) -> Vectors:
    vectors = np.random.default_rng(seed).normal(size=(rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def check(found: npt.NDArray[np.int32], vectors: Vectors, labels: npt.NDArray[np.int32], width: int) -> None:
    """Every list holds as many as brute force, once each, of another label, and as near: ties by similarity."""
    labels = labels if len(labels) else np.arange(len(vectors), dtype=np.int32)
    assert found.shape == (len(vectors), width)
    assert found.dtype == np.int32
    similarities = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    for row, listed in enumerate(found):
        others = listed[listed >= 0]
        assert (listed[len(others) :] == -1).all()
        assert len(set(others.tolist())) == len(others)
        assert (labels[others] != labels[row]).all()
        best = np.sort(similarities[row, labels != labels[row]])[::-1][:width]
        assert similarities[row, others] == pytest.approx(best, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), seed=st.integers(0, 10**6), n=st.integers(0, 60), width=st.integers(1, 20))
def test_a_small_set_is_brute_force(data: st.DataObject, seed: int, n: int, width: int) -> None:
    """With more asked for than there are, with vectors that several items share, with labels and without."""
    vectors = unit(max(1, n), 16, seed)[data.draw(st.lists(st.integers(0, max(0, n - 1)), min_size=n, max_size=n))].reshape(n, 16)
    labels = np.array(data.draw(st.just([]) | st.lists(st.integers(0, 3), min_size=n, max_size=n)), dtype=np.int32)
    check(device.search(vectors, width, labels, CPU), vectors, labels, width)


@pytest.mark.parametrize("labelled", [False, True])
def test_many_blocks_find_what_one_does(monkeypatch: pytest.MonkeyPatch, labelled: bool) -> None:
    vectors, labels = unit(500, 32, 1), np.arange(500, dtype=np.int32) // 7 if labelled else NOBODY
    monkeypatch.setattr(device, "query_rows", lambda *_: 23)
    check(device.search(vectors, 10, labels, CPU), vectors, labels, 10)


@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(0, 3),
    count=st.integers(1, 5000),
    width=st.integers(1, 40),
    absent=st.sampled_from([0.0, 0.01, 0.999, 1.0]),
)
def test_the_largest_are_those_of_a_sort(seed: int, rows: int, count: int, width: int, absent: float) -> None:
    """In one level of groups or in several, in whole ones or not, with many that are equal and such as are not to be found."""
    random = np.random.default_rng(seed)
    values = torch.from_numpy(random.integers(200, size=(rows, count)).astype(np.float32))
    values[torch.from_numpy(random.random((rows, count)) < absent)] = -torch.inf
    best, places = device.top(values, min(width, count))
    assert torch.equal(best, values.sort(dim=1, descending=True).values[:, : min(width, count)])
    found = best > -torch.inf
    assert torch.equal(values.gather(1, places.where(found, 0))[found], best[found])
    assert all(len(set(row.tolist())) == len(row) for row in (places[n][found[n]] for n in range(rows)))
    assert ((places >= 0) & (places < values.shape[1] + device.GROUP)).all()


@pytest.mark.parametrize("labels", [2, 3000])
def test_groups_of_groups(monkeypatch: pytest.MonkeyPatch, labels: int) -> None:
    """Among few others of another label, and among many."""
    monkeypatch.setattr(device, "GROUP", 4)
    monkeypatch.setattr(device, "SPARE", 3)
    vectors, of = unit(1500, 16, 5), np.minimum(np.arange(1500), labels - 1).astype(np.int32)
    check(device.search(vectors, 5, of, CPU), vectors, of, 5)


def test_a_group_nearer_to_each_other_than_float16_can_tell() -> None:
    """Variants of one product: hundreds of names that differ in a size or a colour."""
    vectors = unit(1, 64, 2) + 0.05 * unit(400, 64, 3)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    check(device.search(vectors, 10, NOBODY, CPU), vectors, NOBODY, 10)


@pytest.mark.parametrize("most", [8, 0])
def test_a_block_for_which_the_memory_is_lacking_is_halved(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Down to one row, for which there is no remedy."""
    vectors, of_queries = unit(100, 16, 4), device._of_queries

    def in_little_memory(*given: Any) -> Any:
        if len(given[3]) > most:
            raise torch.OutOfMemoryError
        return of_queries(*given)

    monkeypatch.setattr(device, "_of_queries", in_little_memory)
    if most:
        check(device.search(vectors, 10, NOBODY, CPU), vectors, NOBODY, 10)
    else:
        with pytest.raises(torch.OutOfMemoryError):
            device.search(vectors, 10, NOBODY, CPU)


def test_what_is_off_by_rounding_is_within_its_bound() -> None:
    """Products of a few large numbers are off by more than those of many small ones."""
    for dimension in (2, 8, 384):
        signs = np.sign(unit(50, dimension, 1)) / np.sqrt(np.float32(dimension))  # every number is off alike
        vectors = torch.from_numpy(np.concatenate([unit(2000, dimension, dimension), signs.astype(np.float32)]))
        off = (device.products(vectors.half(), vectors.half()).double() - vectors.double() @ vectors.double().T).abs().max()
        assert off <= device.rounding(vectors)


@pytest.mark.parametrize(
    ("free", "bytes_a_query", "rows"),
    [
        (2**28, 2**19, 512),
        (1, 2**19, 1),  # nothing is free: one at a time
        (2**40, 800, 16_384),  # beyond, a block is no faster
    ],
)
def test_a_block_fits(monkeypatch: pytest.MonkeyPatch, free: int, bytes_a_query: int, rows: int) -> None:
    monkeypatch.setattr(device, "CPU_BYTES", free)
    assert device.query_rows(CPU, bytes_a_query) == rows
