"""The sample's true neighbours against the obvious slow version."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from jobs import fusion, sample
from tests.readings import by_meaning, columns

MEANING = by_meaning(8)


def read(vectors: np.ndarray) -> fusion.Items:
    silence = [None] * len(vectors)
    return fusion.items(vectors, columns(silence, silence), MEANING)


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("batch", [7, 1000])
def test_nearest_is_brute_force_over_items(across: bool, batch: int) -> None:
    """Nodes of several items, blocks, sources; an item's own node counts once less."""
    random = np.random.default_rng(4)
    count, k = 120, 5
    vectors = random.normal(size=(count, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    nodes = np.array([f"node{n:03}" for n in range(count)], dtype=object)
    blocks = np.array(["x" if n % 3 else "y" for n in range(count)], dtype=object)
    sources = np.array(["a" if n % 2 else "b" for n in range(count)], dtype=object)
    items = random.integers(1, 4, count).astype(np.int32)
    asked = random.choice(count, 30, replace=False)
    chosen = sample.Sample(nodes[asked], nodes[asked], blocks[asked], sources[asked], read(vectors[asked]), MEANING.weights, across)

    def batches() -> Iterator[tuple[Any, ...]]:
        for start in range(0, count, batch):
            part = slice(start, start + batch)
            yield nodes[part], blocks[part], sources[part], items[part], read(vectors[part])

    found = sample.nearest(chosen, batches(), k)
    for i, own in enumerate(asked):
        every = [
            (vectors[own] @ vectors[other], nodes[other])
            for other in range(count)
            if blocks[other] == blocks[own] and not (across and sources[other] == sources[own])
            for _ in range(items[other] - (other == own))
        ]
        expected = sorted(every, key=lambda pair: -pair[0])[:k]
        near, similarity = found.of(i, k)
        assert near.tolist() == [node for _, node in expected]
        assert similarity == pytest.approx([value for value, _ in expected], abs=1e-6)


def test_nothing_to_be_matched_with() -> None:
    alone = np.array(["only"], dtype=object)
    one = read(np.ones((1, 8), np.float32))
    chosen = sample.Sample(alone, alone, alone, alone, one, MEANING.weights, across=False)
    found = sample.nearest(chosen, iter([(alone, alone, alone, np.array([1], np.int32), one)]), 3)
    assert len(found.of(0, 3)[0]) == 0
