"""What a task does with its rows, without Spark."""

import numpy as np
import pyarrow as pa
import pytest

from jobs import knn, task
from jobs.settings import Neighbours

ROWS, DIMENSION, K = 3000, 24, 8


def test_a_large_block_is_searched_for_the_recall_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """By leaves, not by comparing everything; every third node is two items."""
    monkeypatch.setattr(knn, "EXACT_ROWS", 500)
    random = np.random.default_rng(5)
    vectors = np.repeat(random.normal(size=(ROWS // 10, DIMENSION)), 10, axis=0) + 0.5 * random.normal(size=(ROWS, DIMENSION))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    ids = [f"i{n:04}" for n in range(ROWS)]
    members = [[name, f"{name}b"] if n % 3 == 0 else [name] for n, name in enumerate(ids)]
    block = pa.table(
        {
            "node": ids,
            "source": ["shop"] * ROWS,
            "members": pa.array(members),
            "vector": pa.array([vector.tobytes() for vector in vectors]),
        }
    )
    found, rounds = task.search_block(block, Neighbours(k=K, slack=0), 0.95, DIMENSION, threads=2)
    assert rounds > 0
    lists = dict(zip(found["node"].to_pylist(), found["edges"].to_pylist(), strict=True))
    everyone = {name: row for row, name in enumerate(name for names in members for name in names)}
    vector_of = np.repeat(vectors, [len(names) for names in members], axis=0).astype(np.float64)
    hits = 0
    for n in range(0, ROWS, 10):
        near = np.sort(vector_of @ vectors[n].astype(np.float64))[::-1][: K + 1]  # its own items among them
        edges = lists[ids[n]]
        assert len(edges) == K + 1
        for edge in edges:
            assert -edge["distance"] == pytest.approx(vector_of[everyone[edge["neighbour"]]] @ vectors[n], abs=1e-6)
        hits += sum(-edge["distance"] >= near[-1] - 1e-6 for edge in edges)
    assert hits / ((K + 1) * (ROWS // 10)) >= 0.94  # of 300 items
