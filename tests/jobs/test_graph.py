"""Links from lists and pairs."""

import numpy as np
import pytest

from jobs.graph import both_ways, of_pairs


def of(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int32)


def test_pairs_stand_in_the_rows_of_both_with_the_larger_value() -> None:
    """0 names 2 and itself, 2 names 0 more strongly, 1 names 2, and 3 names nobody."""
    graph = both_ways(np.array([0, 2, 3, 4, 4]), of(2, 0, 2, 0), np.array([0.5, 1, 0.25, 0.75], dtype=np.float32))
    assert list(zip(graph.rows.tolist(), graph.items.tolist(), graph.values.tolist(), strict=True)) == [
        (0, 2, 0.75),
        (1, 2, 0.25),
        (2, 0, 0.75),
        (2, 1, 0.25),
    ]
    assert graph.bounds.tolist() == [0, 1, 2, 4, 4]


def test_pairs_of_one_way_stay_so() -> None:
    graph = of_pairs(of(1, 1), of(2, 0), np.array([1, 1], dtype=np.float32), 3)
    assert (graph.bounds.tolist(), graph.items.tolist()) == ([0, 0, 2, 2], [0, 2])


def test_of_nothing_there_is_a_graph() -> None:
    assert of_pairs(of(), of(), np.empty(0, dtype=np.float32), 2).bounds.tolist() == [0, 0, 0]


def test_an_item_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match="positions from 0 to 2, found 3 to 3"):
        of_pairs(of(0), of(3), np.ones(1, dtype=np.float32), 3)
