"""What is compared: searches for all k nearest neighbours of a set of unit vectors, each at settings that cost and find more or less.

A search imports its library itself, so that a run loads its own system and no other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.benchmarks.vectors import Vectors

K = 10
THREADS = 2

Ids = npt.NDArray[np.integer[Any]]  # (n, k) or wider, the item itself among them or not, best first; -1 where there is none
Search = Callable[[Vectors], Ids | tuple[Ids, float]]  # with the seconds, where only a part of the call is to be timed


@dataclass(frozen=True)
class System:
    """`settings`: a search each, by name. `on_spark`: times itself, warms up itself or not, and shares out its threads as Spark does."""

    settings: dict[str, Search]
    on_spark: bool = False
    most_rows: int | None = None


def shelfmates(target_recall: float) -> Search:
    def search(vectors: Vectors) -> Ids:
        from jobs import knn

        return knn.nearest(vectors, K, target_recall=target_recall, threads=THREADS).positions

    return search


def shelfmates_stage(warm_up_rows: int) -> Search:
    def search(vectors: Vectors) -> tuple[Ids, float]:
        from tests.benchmarks import stage

        return stage.shelfmates_stage(vectors, warm_up_rows)

    return search


def spark_nearest_by(vectors: Vectors) -> tuple[Ids, float]:
    from tests.benchmarks import nearest_by

    return nearest_by.spark_nearest_by(vectors)


def pynndescent(n_neighbors: int) -> Search:
    def search(vectors: Vectors) -> Ids:
        from pynndescent import NNDescent

        return NNDescent(vectors, metric="dot", n_neighbors=n_neighbors, n_jobs=THREADS, random_state=0).neighbor_graph[0]

    return search


def faiss_flat(vectors: Vectors) -> Ids:
    import faiss

    faiss.omp_set_num_threads(THREADS)
    return faiss.knn(vectors, vectors, K + 1, metric=faiss.METRIC_INNER_PRODUCT)[1]


def faiss_ivf(probes: int) -> Search:
    """IVF whose lists are scanned as whole blocks: the fast way to ask for everything at once."""

    def search(vectors: Vectors) -> Ids:
        import faiss
        from faiss.contrib.big_batch_search import big_batch_search

        faiss.omp_set_num_threads(THREADS)
        lists = int(4 * len(vectors) ** 0.5)
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(vectors.shape[1]), vectors.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors[:: max(1, len(vectors) // (40 * lists))])
        index.add(vectors)
        index.nprobe = probes
        return big_batch_search(index, vectors, K + 1, method="knn_function", threaded=0)[1]

    return search


def faiss_hnsw(breadth: int) -> Search:
    def search(vectors: Vectors) -> Ids:
        import faiss

        faiss.omp_set_num_threads(THREADS)
        index = faiss.IndexHNSWFlat(vectors.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 64
        index.add(vectors)
        index.hnsw.efSearch = breadth
        return index.search(vectors, K + 1)[1]

    return search


def hnswlib(breadth: int) -> Search:
    def search(vectors: Vectors) -> Ids:
        import hnswlib

        index = hnswlib.Index(space="ip", dim=vectors.shape[1])
        index.init_index(max_elements=len(vectors), M=16, ef_construction=64, random_seed=0)
        index.add_items(vectors, num_threads=THREADS)
        index.set_ef(breadth)
        return index.knn_query(vectors, K + 1, num_threads=THREADS)[0]

    return search


SYSTEMS: dict[str, System] = {
    "shelfmates": System({".95": shelfmates(0.95), ".97": shelfmates(0.97), ".985": shelfmates(0.985)}),
    "shelfmates stage": System({".95 cold": shelfmates_stage(0), ".95 warm": shelfmates_stage(5_000)}, on_spark=True),
    "pynndescent": System({"15": pynndescent(15), "20": pynndescent(20), "30": pynndescent(30)}),
    "faiss ivf": System({"16": faiss_ivf(16), "48": faiss_ivf(48)}),
    "faiss flat": System({"": faiss_flat}),
    "faiss hnsw": System({"32": faiss_hnsw(32), "96": faiss_hnsw(96)}),
    "hnswlib": System({"32": hnswlib(32), "96": hnswlib(96)}),
    # every pair is compared in the JVM: 4,000 rows take 41 s of two cores, 10,000 minutes
    "spark nearest by": System({"": spark_nearest_by}, on_spark=True, most_rows=10_000),
}


def chosen(asked: str) -> list[tuple[str, str]]:
    """(system, setting) of every name between commas: of a system, of one setting (`pynndescent 15`), of what several begin with (`faiss`).

    A system's whole name is that system alone: `shelfmates` leaves the stage out. All if empty. Raises ValueError for a name of nothing.
    """
    every = [(system, setting) for system, kinds in SYSTEMS.items() for setting in kinds.settings]
    found: set[tuple[str, str]] = set() if asked else set(every)
    for name in filter(None, map(str.strip, asked.split(","))):
        named = [pair for pair in every if name == pair[0]] or [pair for pair in every if f"{' '.join(pair)} ".startswith(f"{name} ")]
        if not named:
            raise ValueError(f"there is no system {name!r}; there are {', '.join(SYSTEMS)}")
        found |= set(named)
    return [pair for pair in every if pair in found]
