"""Products of 8-bit integers against NumPy's, of 64 bits."""

import numpy as np
import pytest

from jobs import int8

pytestmark = pytest.mark.skipif(not int8.HERE, reason="no AVX2 here")


def narrowed(vectors: np.ndarray) -> np.ndarray:
    length = int8.longest(vectors.shape[1])
    unit = max(1 / length, np.abs(vectors).max() / int8.LARGEST)
    return np.rint(vectors / unit).astype(np.int8)


def unit_vectors(rows: int, columns: int, random: np.random.Generator) -> np.ndarray:
    vectors = random.standard_normal((rows, columns))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("columns", [4, 8, 12, 100, 384, 640, 1024])
@pytest.mark.parametrize(("queries", "targets"), [(4, 16), (36, 48), (512, 1024)])
def test_every_product_is_exact(queries: int, targets: int, columns: int) -> None:
    random = np.random.default_rng(columns)
    vectors = narrowed(unit_vectors(queries + targets, columns, random))
    found = int8.multiplied(vectors[:queries], vectors[queries:])
    assert np.array_equal(found, vectors[:queries].astype(np.int64) @ vectors[queries:].astype(np.int64).T)


@pytest.mark.parametrize("columns", [4, 64, 384, 640, 1024])
def test_the_largest_sums_there_are_fit(columns: int) -> None:
    """Vectors alike and opposite, all of whose length is in one sum of a pair, and of whose equal components every one is rounded up."""
    vectors = np.zeros((16, columns))
    vectors[:, np.arange(columns) % int8.SIDE_BY_SIDE < 2] = (columns / 2) ** -0.5
    vectors[8:] *= -1
    rows = narrowed(vectors)
    assert np.array_equal(int8.multiplied(rows, rows), rows.astype(np.int64) @ rows.astype(np.int64).T)


def test_one_component_that_is_the_largest_does_not_saturate() -> None:
    rows = np.zeros((16, 8), np.int8)
    rows[:, :2] = int8.LARGEST * np.where(np.arange(16)[:, None] % 2, -1, 1)
    assert int8.multiplied(rows[:4], rows)[0].tolist() == [2 * int8.LARGEST**2, -2 * int8.LARGEST**2] * 8
