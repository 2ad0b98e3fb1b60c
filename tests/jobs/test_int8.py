"""Products of 8-bit integers against NumPy's, of 64 bits."""

import numpy as np
import pytest
import torch

from jobs import gemm, int8

pytestmark = pytest.mark.skipif(not int8.HERE, reason="no AVX2 here")


def narrowed(vectors: np.ndarray) -> np.ndarray:
    return gemm.matrix(torch.from_numpy(vectors).float(), torch.int8).values.numpy()


def unit_vectors(rows: int, columns: int, random: np.random.Generator) -> np.ndarray:
    vectors = random.standard_normal((rows, columns))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("columns", [1, 3, 4, 10, 100, 384, 640, 1022])
@pytest.mark.parametrize(("queries", "targets"), [(4, 16), (36, 48), (512, 1024)])
def test_every_product_is_exact(queries: int, targets: int, columns: int) -> None:
    random = np.random.default_rng(columns)
    vectors = narrowed(unit_vectors(queries + targets, columns, random))
    found = int8.multiplied(vectors[:queries], vectors[queries:])
    assert np.array_equal(found, vectors[:queries].astype(np.int64) @ vectors[queries:].astype(np.int64).T)


@pytest.mark.parametrize("columns", [4, 64, 68, 384, 808, 1024, 1336])
def test_the_largest_sums_fit(columns: int) -> None:
    """Vectors alike and opposite, as long as may be, all of it in equal components of one sum of a pair: with 68 and 1336 they come within
    100 of the end, and with 64 and 1024 they would pass it, were nothing taken off for rounding."""
    vectors = np.zeros((16, columns))
    vectors[:, np.arange(columns) % int8.SIDE_BY_SIDE < 2] = gemm.LENGTH * (columns / 2) ** -0.5
    vectors[8:] *= -1
    rows = narrowed(vectors)
    assert np.array_equal(int8.multiplied(rows, rows), rows.astype(np.int64) @ rows.astype(np.int64).T)


def test_the_largest_sum_of_components_that_are_filled_up_fits() -> None:
    """Ten components, six of them in the first sum, each of which half a component less of room would have rounded up."""
    vectors = np.zeros((16, 10))
    vectors[:, [0, 1, 4, 5, 8, 9]] = (np.array([79, 76, 75, 73, 71, 69]) - 0.499) * 0.0055642
    assert np.linalg.norm(vectors[0]) < gemm.LENGTH
    rows = narrowed(vectors)
    assert np.array_equal(int8.multiplied(rows, rows), rows.astype(np.int64) @ rows.astype(np.int64).T)


def test_one_component_that_is_the_largest_does_not_saturate() -> None:
    rows = np.zeros((16, 8), np.int8)
    rows[:, :2] = int8.LARGEST * np.where(np.arange(16)[:, None] % 2, -1, 1)
    assert int8.multiplied(rows[:4], rows)[0].tolist() == [2 * int8.LARGEST**2, -2 * int8.LARGEST**2] * 8


@pytest.mark.parametrize(("queries", "targets", "columns"), [(3, 16, 4), (4, 15, 4), (4, 16, 6)])
def test_what_is_not_filled_up_is_refused(queries: int, targets: int, columns: int) -> None:
    with pytest.raises(ValueError, match=f"found {queries}, {targets} and {columns}"):
        int8.multiplied(np.zeros((queries, columns), np.int8), np.zeros((targets, columns), np.int8))
