"""All k nearest neighbours of a set of unit vectors, by inner product, at a recall that is asked for and measured.

Small sets are compared all with all. Larger ones: overlapping leaves (`leaf`), one matrix product a leaf in the precision that is fastest
on this CPU (`gemm`), the largest of each row (`kernel.top`) merged into a bounded list a vector with exact float32 products, and a sweep
over neighbours of neighbours. A pilot sample is compared with everything; where the recall on it falls short of the target, more leaves are
laid, and in the end everything is compared: never silently less than was asked for. On a GPU everything is compared at once (`device`).

Ids here are positions. What is found depends on the vectors, their order, the seed and the precision, not on the number of threads.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from jobs import device, gemm, kernel, leaf
from jobs.pool import Workers, workers

Vectors = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]

NONE = kernel.NONE
EXACT_ROWS = 16_384  # compared all with all: a second or two of one core, and nothing is missed
EXACT_K = 64  # beyond, what leaves would have to keep is larger than what they save
MARGIN = 6  # kept beyond k, so that the rounding of a product cannot decide who is the last
QUERY_ROWS, KERNEL_ROWS = 256, 4096  # of one thread's turn
PILOT_ROWS = 512  # compared with everything; at recall .95 the standard error is about half a per cent
TIE = 1e-6  # float32 products of one pair differ by less
ROUNDS = 4  # of leaves, before everything is compared

# Recall asked for → leaves a vector is put into, such that the first round reaches it on 100,000 names of foods and, with more to spare, on
# a hard made-up set (`make bench-neighbours`).
FOLDS = ((0.90, 5), (0.92, 6), (0.94, 7), (0.95, 8), (0.96, 9), (0.965, 10), (0.975, 12), (0.985, 15), (1.0, 18))
FOLDS_OF_A_FURTHER_ROUND = 4
LEADERS = 6  # times the square root of the number of vectors: finding the leaders then takes a quarter of the time of the leaves
KEPT = 0.8  # of k: the nearest of a vector in one leaf that are taken further; the others come from its other leaves
REACH = 8  # neighbours of which a sweep looks at as many neighbours: 64 pairs, half of them new


@dataclass(frozen=True)
class Neighbours:
    """positions (n, k) int32, nearest first, equal ones by position, NONE where there are fewer; similarities (n, k), -inf there."""

    positions: Positions
    similarities: Vectors
    pilot_recall: float  # 1 where everything was compared
    rounds: int  # of leaves; 0 where everything was compared


def nearest(
    vectors: Vectors, k: int, *, target_recall: float = 0.95, labels: Positions | None = None, threads: int = 1, seed: int = 0
) -> Neighbours:
    """The k nearest of every vector among the others; with `labels` (n,) int32 among those of another label.

    vectors (n, d) float32, rows of unit length, or zero: these have no neighbours and are nobody's. target_recall above 0, 1 compares
    everything. Raises ValueError for vectors that are neither, naming the first.
    """
    check(vectors)
    present = np.flatnonzero(vectors.any(axis=1))
    some = np.require(vectors if len(present) == len(vectors) else vectors[present], requirements=["C", "W"])  # torch and numba ask for it
    unlike = np.empty(0, dtype=np.int32) if labels is None else labels.astype(np.int32)[present]
    with workers(threads) as pool:
        if torch.cuda.is_available():
            ids, recall, rounds = device.search(some, k + MARGIN, unlike, torch.device("cuda")), 1.0, 0
        elif len(some) <= EXACT_ROWS or k > EXACT_K or target_recall >= 1:
            ids, recall, rounds = exact(some, np.arange(len(some)), k + MARGIN, unlike, pool)[0], 1.0, 0
        else:
            ids, recall, rounds = _approximate(some, k, target_recall, unlike, np.random.default_rng(seed), pool)
        positions, similarities = kernel.lists(len(some), k)
        pool.share(lambda cut: kernel.settle(some, *cut, ids, positions, similarities), cuts(len(some), KERNEL_ROWS))
    similarities[positions == NONE] = -np.inf
    if len(some) < len(vectors):
        positions, similarities = _spread(positions, similarities, present, len(vectors))
    return Neighbours(positions, similarities, recall, rounds)


def check(vectors: Vectors) -> None:
    """Raises ValueError naming the first row that is neither of unit length nor zero."""
    if vectors.ndim != 2 or vectors.dtype != np.float32:
        raise ValueError(f"expected (n, d) float32 vectors, found {vectors.shape} {vectors.dtype}")
    if len(bad := unsound(vectors)):
        raise ValueError(f"{len(bad)} of {len(vectors)} vectors are neither of unit length nor zero, the first is row {bad[0]}")


def unsound(vectors: Vectors) -> Rows:
    """Rows that are neither of unit length nor zero."""
    squares = np.einsum("nd,nd->n", vectors, vectors)
    return np.flatnonzero(~((np.abs(squares - 1) < 2e-3) | ~vectors.any(axis=1)))  # written so that nan is unsound too


def _spread(positions: Positions, similarities: Vectors, present: Rows, count: int) -> tuple[Positions, Vectors]:
    """What was found among the vectors that are present, in the places of all."""
    all_positions = np.full((count, positions.shape[1]), NONE, dtype=np.int32)
    all_similarities = np.full(all_positions.shape, -np.inf, dtype=np.float32)
    if len(present):
        all_positions[present] = np.where(positions == NONE, NONE, present.astype(np.int32)[positions])
        all_similarities[present] = similarities
    return all_positions, all_similarities


def cuts(count: int, rows: int) -> list[tuple[int, int]]:
    return [(start, min(count, start + rows)) for start in range(0, count, rows)]


def exact(vectors: Vectors, queries: Rows, width: int, labels: Positions, pool: Workers) -> tuple[Positions, Vectors]:
    """Lists (q, width) of the nearest of vectors[queries] among all others, by float32 products of all pairs.

    labels (n,) int32, or none: pairs of one label do not count.
    """
    ids, similarities = kernel.lists(len(queries), width)
    whole = torch.from_numpy(vectors)
    names = np.arange(len(vectors), dtype=np.int32)
    targets = gemm.rows(whole, names)

    def compare(cut: tuple[int, int]) -> None:
        asking, slots = queries[slice(*cut)], np.arange(*cut)
        for mine, theirs, products in gemm.products(gemm.rows(whole, asking), targets, len(asking), len(names)):
            if len(labels):
                kernel.forbid(products, labels[asking[mine]], labels[theirs])
            kernel.top(products, asking[mine] - theirs.start, names[theirs], slots[mine], ids, similarities)

    pool.share(compare, cuts(len(queries), QUERY_ROWS))
    return ids, similarities


def _approximate(
    given: Vectors, k: int, target_recall: float, given_labels: Positions, random: np.random.Generator, pool: Workers
) -> tuple[Positions, float, int]:
    """Lists (n, k + MARGIN) of positions, the pilot's recall, the rounds it took (none, if in the end everything was compared)."""
    folds = next(folds for recall, folds in FOLDS if target_recall <= recall)
    count = int(LEADERS * len(given) ** 0.5)
    quick = torch.from_numpy(given).to(gemm.fastest())
    joined = leaf.nearest(quick, leaf.leaders(quick, count, random, pool), folds, pool)
    # from here on vectors that are near each other stand near each other: what is read together lies together in the cache
    order = np.argsort(joined[:, 0], kind="stable")
    index = torch.from_numpy(order)
    vectors, quick, joined = torch.from_numpy(given).index_select(0, index).numpy(), quick.index_select(0, index), joined[order]
    labels = given_labels[order] if len(given_labels) else given_labels
    pilot = np.sort(random.choice(len(vectors), PILOT_ROWS, replace=False))
    _, best = exact(vectors, pilot, k, labels, pool)
    search = _Search(vectors, quick, labels, math.ceil(KEPT * k), *kernel.lists(len(vectors), k + MARGIN), pool)
    near = _Search(vectors, quick, labels[:0], search.kept, *kernel.lists(len(vectors), k + MARGIN), pool) if len(labels) else search
    recall, rounds = 0.0, 0
    while recall < target_recall and rounds < ROUNDS:
        if rounds:
            folds = FOLDS_OF_A_FURTHER_ROUND
            joined = leaf.nearest(quick, leaf.leaders(quick, count, random, pool), folds, pool)
        rounds += 1
        leaves = leaf.leaves(quick, joined, count, random)
        search.through(leaves, folds)
        if near is not search:
            near.through(leaves, folds)
            search.sweep(search.ids, near.ids)  # two items of one source are never neighbours, but their neighbours may be
        search.sweep(near.ids, search.ids)
        recall = _recall(search.similarities[pilot, :k], best)
    ids = search.ids
    if recall < target_recall:
        ids, recall, rounds = exact(vectors, np.arange(len(vectors)), k + MARGIN, labels, pool)[0], 1.0, 0
    found = np.empty_like(ids)
    found[order] = np.where(ids == NONE, NONE, order.astype(np.int32)[ids])
    return found, recall, rounds


def _recall(found: Vectors, best: Vectors) -> float:
    """The share of what there is to find, at most k a row, that was found; ties by similarity."""
    there = best > kernel.LOWEST
    least = np.where(there, best, np.inf).min(axis=1, keepdims=True)  # the k-th, or the last there is
    hits = np.minimum((found >= least - TIE).sum(axis=1), there.sum(axis=1))
    return float(hits.sum() / there.sum()) if there.any() else 1.0


@dataclass(frozen=True)
class _Search:
    """Lists of the nearest that were met so far, and what they are made of."""

    vectors: Vectors
    quick: torch.Tensor  # the same, in the precision of products
    labels: Positions  # pairs of one label do not count; or none
    kept: int  # the nearest of a vector in one leaf that are taken into its list
    ids: Positions
    similarities: Vectors
    pool: Workers

    def through(self, leaves: list[Rows], folds: int) -> None:
        """Takes what the leaves find into the lists."""
        found, values = kernel.lists(len(self.vectors) * folds, self.kept)

        def search(slots: Rows) -> None:
            members = slots // folds
            names = members.astype(np.int32)
            rows = gemm.rows(self.quick, members)
            for mine, theirs, products in gemm.products(rows, rows, len(slots), len(slots)):
                if len(self.labels):
                    kernel.forbid(products, self.labels[members[mine]], self.labels[members[theirs]])
                own = np.arange(mine.start - theirs.start, mine.stop - theirs.start)
                kernel.top(products, own, names[theirs], slots[mine], found, values)

        self.pool.share(search, leaves)

        def merge(cut: tuple[int, int]) -> None:
            kernel.merge(self.vectors, cut[0], cut[1], folds, found, values, self.ids, self.similarities)

        self.pool.share(merge, self._large_cuts)

    def sweep(self, first: Positions, second: Positions) -> None:
        """Takes the neighbours (in `second`) of neighbours (in `first`) into the lists, once."""
        first, second = first.copy(), second.copy()  # as they are now: what is found must not depend on who is first
        labels = self.labels if len(self.labels) else np.arange(len(self.vectors), dtype=np.int32)

        def take(cut: tuple[int, int]) -> None:
            kernel.sweep(self.vectors, cut[0], cut[1], labels, first, second, REACH, self.ids, self.similarities)

        self.pool.share(take, self._large_cuts)

    @property
    def _large_cuts(self) -> list[tuple[int, int]]:
        """Cuts so large that what a kernel sets up for each, an array as long as the vectors, does not matter."""
        return cuts(len(self.vectors), max(KERNEL_ROWS, len(self.vectors) // 32))
