"""All k nearest neighbours of a set of unit vectors, by inner product, at a recall that is asked for and measured.

Small sets are compared all with all. Larger ones: overlapping leaves (`leaf`), one matrix product a leaf in the precision that is fastest
on this CPU (`gemm`), the largest of each row (`kernel.top`) merged into a bounded list a vector with products in 16-bit fixed point, a
sweep over neighbours of neighbours, and in the end the exact similarities. A pilot sample is compared with everything; where the recall on
it falls short of the target, a wider sweep is made, more leaves are laid, and in the end everything is compared: never silently less than
was asked for. On a GPU everything is compared at once (`device`).

Ids here are positions. What is found depends on the vectors, their order, the seed and the precision, not on the number of threads.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from jobs import device, gemm, kernel, leaf, measure
from jobs.kernel import LANES
from jobs.pool import Workers, workers

Vectors = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]

NONE = kernel.NONE
EXACT_ROWS = 16_384  # compared all with all: a second or two of one core, and nothing is missed
EXACT_K = 64  # beyond, what leaves would have to keep is larger than what they save
MARGIN = 6  # kept beyond k, so that the rounding of fixed point and float32 does not decide who is the last
NARROW = 48  # the largest products of a narrow precision: among fewer the nearest are not sure to be, where many lie close together
QUERY_ROWS, KERNEL_ROWS = 256, 4096  # of one thread's turn
PILOT_ROWS = 512  # compared with everything; at recall .95 the standard error is about half a per cent
ROUNDS = 4  # of leaves, before everything is compared

# Recall asked for → leaves a vector is put into, such that the first round reaches it for the 10 nearest of 100,000 names of foods and of a
# hard made-up set (`make bench-neighbours`).
FOLDS = ((0.90, 6), (0.92, 7), (0.94, 8), (0.95, 9), (0.965, 10), (0.975, 12), (0.985, 16), (1.0, 19))
FOLDS_OF_A_FURTHER_ROUND = 4
LEADERS = 10  # times the square root of the number of vectors: more cost more to find than smaller leaves save
KEPT = 0.8  # of k: the nearest of a vector in one leaf that are taken further; the others come from its other leaves
# A sweep looks at so many neighbours of as many neighbours: 64 pairs, half of them new. Where that was not enough, a second one of the
# round looks further; a third would find next to nothing.
REACHES = (8, 12)


@dataclass(frozen=True)
class Candidates:
    """positions (n, k) int32, NONE after the last; order (n,): of the vectors, such that those that are near each other follow each other,
    where that was found out."""

    positions: Positions
    order: Rows
    pilot_recall: float = 1.0  # 1 where everything was compared
    rounds: int = 0  # of leaves; 0 where everything was compared


@dataclass(frozen=True)
class Neighbours:
    """positions (n, k) int32, nearest first, equal ones by position, NONE where there are fewer; similarities (n, k), -inf there; the rest
    as of the Candidates they were chosen from."""

    positions: Positions
    similarities: Vectors
    order: Rows
    pilot_recall: float
    rounds: int


def nearest(
    vectors: Vectors,
    k: int,
    *,
    target_recall: float = 0.95,
    wanted: int | None = None,
    labels: Positions | None = None,
    threads: int = 1,
    seed: int = 0,
    on: str | None = None,
) -> Neighbours:
    """The k nearest of every vector among the others; with `labels` (n,) int32 among those of another label.

    vectors (n, d) float32, rows of unit length, or zero: these have no neighbours and are nobody's. target_recall above 0, 1 compares
    everything; it is meant of the nearest `wanted`, where fewer than k matter. `on`: the GPU, as torch names it; without it the first one,
    where there is one. Raises ValueError for vectors that are neither, naming the first.
    """
    present, some, unlike = _present(vectors, labels)
    every = np.arange(len(some))
    with workers(threads) as pool:
        met = _met(some, k, MARGIN, target_recall, wanted or k, unlike, seed, pool, on)
        met = met or Candidates(exact(some, every, k, unlike, pool)[0], every)
        positions, similarities = kernel.lists(len(some), k)
        _settled(some, every, met.order, met.positions, positions, similarities, pool)
    found = np.full((len(vectors), k), -np.inf, dtype=np.float32)
    found[present] = np.where(positions == NONE, -np.inf, similarities)
    return Neighbours(_spread(positions, present, len(vectors)), found, present[met.order], met.pilot_recall, met.rounds)


def candidates(
    vectors: Vectors,
    k: int,
    *,
    target_recall: float = 0.95,
    wanted: int | None = None,
    labels: Positions | None = None,
    threads: int = 1,
    seed: int = 0,
    on: str | None = None,
) -> Candidates:
    """As `nearest`, for those who choose among the k by a similarity of their own: as products in a narrow precision tell them, without
    the similarities, which take as long as the search where k is large."""
    present, some, unlike = _present(vectors, labels)
    with workers(threads) as pool:
        met = _met(some, k, 0, target_recall, wanted or k, unlike, seed, pool, on)
        if not met:
            every = np.arange(len(some))
            met = Candidates(_compared(gemm.matrix(torch.from_numpy(some), gemm.fastest()), every, k, unlike, pool)[0], every)
    return Candidates(_spread(met.positions, present, len(vectors)), present[met.order], met.pilot_recall, met.rounds)


def _present(vectors: Vectors, labels: Positions | None) -> tuple[Rows, Vectors, Positions]:
    """The rows that are not zero, the vectors of these and their labels, or none."""
    rows = check(vectors)
    some = np.require(vectors if len(rows) == len(vectors) else vectors[rows], requirements=["C", "W"])  # torch and numba ask for it
    return rows, some, np.empty(0, dtype=np.int32) if labels is None else labels.astype(np.int32)[rows]


def _met(
    vectors: Vectors, k: int, spare: int, target_recall: float, wanted: int, labels: Positions, seed: int, pool: Workers, on: str | None
) -> Candidates | None:
    """k + spare others of every vector that are likely its nearest; None where on this CPU everything has to be compared."""
    if torch.cuda.is_available():
        return Candidates(device.search(vectors, k + spare, labels, torch.device(on or "cuda")), np.arange(len(vectors)))
    if len(vectors) <= EXACT_ROWS or k > EXACT_K or target_recall >= 1:
        return None
    return _approximate(vectors, k, spare, target_recall, wanted, labels, np.random.default_rng(seed), pool)


def precision(on: str | None = None) -> str:
    """Of the products by which a search tells who is near: the one that was measured to be fastest here."""
    return f"float16 on {on or 'cuda'}" if torch.cuda.is_available() else f"{str(gemm.fastest()).removeprefix('torch.')} on cpu"


def warm_up() -> None:
    """Does what the first search would: this module has loaded the kernels, and here it is measured how this CPU multiplies."""
    gemm.fastest()


def check(vectors: Vectors) -> Rows:
    """The rows that are not zero. Raises ValueError naming the first row that is neither zero nor of unit length."""
    if vectors.ndim != 2 or vectors.dtype != np.float32:
        raise ValueError(f"expected (n, d) float32 vectors, found {vectors.shape} {vectors.dtype}")
    squares = _squares(vectors)
    if len(bad := _unsound(vectors, squares)):
        raise ValueError(f"{len(bad)} of {len(vectors)} vectors are neither of unit length nor zero, the first is row {bad[0]}")
    return np.flatnonzero(squares)


def _squares(vectors: Vectors) -> Vectors:
    return np.asarray(np.einsum("nd,nd->n", vectors, vectors), dtype=np.float32)


def _unsound(vectors: Vectors, squares: Vectors) -> Rows:
    sound = np.abs(squares - 1) < gemm.LENGTH**2 - 1
    none = np.flatnonzero(squares == 0)
    sound[none] = ~vectors[none].any(axis=1)  # the squares of very small numbers are zero too
    return np.flatnonzero(~sound)


def _spread(positions: Positions, present: Rows, count: int) -> Positions:
    """Positions among the vectors that are present, as positions among all, in the places of these."""
    found = np.full((count, positions.shape[1]), NONE, dtype=np.int32)
    found[present] = np.append(present.astype(np.int32), NONE)[positions]  # NONE, -1, is the last
    return found


def cuts(count: int, rows: int) -> list[tuple[int, int]]:
    return [(start, min(count, start + rows)) for start in range(0, count, rows)]


def exact(vectors: Vectors, queries: Rows, k: int, labels: Positions, pool: Workers) -> tuple[Positions, Vectors]:
    """Lists (q, k) of the nearest of vectors[queries] among all others, by products of all pairs.

    Products in the precision that is fastest here give NARROW a query. Whatever is not among them is less similar than the last of them
    and what rounding may have taken from it (`gemm.Matrix.rounding`): where the k-th similarity lies above that, the list is taken as
    complete. For the other queries, and where more than half of NARROW are asked for, the products are float32. labels (n,) int32, or
    none: pairs of one label do not count.
    """
    positions, similarities = kernel.lists(len(queries), k)
    quick, slots = gemm.fastest(), np.arange(len(queries))
    if quick != torch.float32 and k <= NARROW // 2:
        narrow = gemm.matrix(torch.from_numpy(vectors), quick)
        met, products = _compared(narrow, queries, NARROW, labels, pool)
        _settled(vectors, queries, slots, met, positions, similarities, pool)
        unseen = products[:, -1] * narrow.unit**2 + narrow.rounding
        slots = np.flatnonzero((met[:, -1] != NONE) & ~(similarities[:, -1] > unseen))
        positions[slots], similarities[slots] = NONE, kernel.LOWEST
    if len(slots):
        met, _ = _compared(gemm.Matrix(torch.from_numpy(vectors)), queries[slots], k + MARGIN, labels, pool)
        found = np.full((len(queries), met.shape[1]), NONE, dtype=np.int32)
        found[slots] = met
        _settled(vectors, queries, slots, found, positions, similarities, pool)
    return positions, similarities


def _compared(whole: gemm.Matrix, queries: Rows, width: int, labels: Positions, pool: Workers) -> tuple[Positions, Vectors]:
    """Lists (q, width) of the largest products of the queries with all others."""
    ids, products_of = kernel.lists(len(queries), width)
    names = np.arange(len(whole), dtype=np.int32)

    def compare(cut: tuple[int, int]) -> None:
        asking, slots = queries[slice(*cut)], np.arange(*cut)
        for mine, theirs, products in gemm.products(whole[asking], whole):
            if len(labels):
                kernel.forbid(products, labels[asking[mine]], labels[theirs])
            kernel.top(products, asking[mine] - theirs.start, names[theirs], slots[mine], ids, products_of)

    pool.share(compare, cuts(len(queries), QUERY_ROWS))
    return ids, products_of


def _settled(
    vectors: Vectors, rows: Rows, slots: Rows, found: Positions, positions: Positions, similarities: Vectors, pool: Workers
) -> None:
    """Fills the lists positions[slots], similarities[slots] with the nearest of found[slots] to vectors[rows[slots]]."""

    def settle(cut: tuple[int, int]) -> None:
        some = slots[slice(*cut)]
        kernel.settle(vectors, rows[some], some, found, positions, similarities)

    pool.share(settle, cuts(len(slots), KERNEL_ROWS))


def _approximate(
    given: Vectors,
    k: int,
    spare: int,
    target_recall: float,
    wanted: int,
    given_labels: Positions,
    random: np.random.Generator,
    pool: Workers,
) -> Candidates | None:
    """As `_met`, from leaves; None where these are not enough."""
    folds = next(folds for recall, folds in FOLDS if target_recall <= recall)
    count = int(LEADERS * len(given) ** 0.5)
    quick = gemm.matrix(torch.from_numpy(given), gemm.fastest())
    joined = leaf.nearest(quick, leaf.leaders(quick, count, random, pool), folds, pool)
    # from here on vectors that are near each other stand near each other: what is read together lies together in the cache
    order = np.argsort(joined[:, 0], kind="stable")
    quick, joined, labels = quick[order], joined[order], given_labels[order] if len(given_labels) else given_labels
    fine = np.zeros((len(given), -(-given.shape[1] // LANES) * LANES), dtype=np.int16)
    pool.share(lambda cut: kernel.fixed_point(given, order, *cut, fine), cuts(len(given), KERNEL_ROWS))
    pilot = np.sort(random.choice(len(given), PILOT_ROWS, replace=False))
    _, best = exact(given, order[pilot], wanted, given_labels, pool)
    search = _Search(fine, quick, labels, math.ceil(KEPT * k), *kernel.lists(len(given), k + spare), pool)
    near = _Search(fine, quick, labels[:0], search.kept, *kernel.lists(len(given), k + spare), pool) if len(labels) else search
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
        for reach in REACHES:
            if near is not search:
                search.sweep(search.ids, near.ids, reach)  # two items of one source are never neighbours, but their neighbours may be
            search.sweep(near.ids, search.ids, reach)
            recall = _recall(given, order[pilot], _given(search.ids[pilot], order), best)
            if recall >= target_recall:
                break
    if recall < target_recall:
        return None
    found = np.empty_like(search.ids)
    found[order] = _given(search.ids, order)
    return Candidates(found, order, recall, rounds)


def _given(ids: Positions, order: Rows) -> Positions:
    """Positions among the vectors as they were given, of positions among them in that order."""
    return np.where(ids == NONE, NONE, order.astype(np.int32)[ids])


def _recall(vectors: Vectors, rows: Rows, ids: Positions, best: Vectors) -> float:
    """The recall of the ids (r, w), where best (r, k) are the similarities there are to find, LOWEST beyond their end."""
    found = np.where(ids == NONE, -np.inf, np.einsum("rd,rwd->rw", vectors[rows], vectors[ids]))
    return measure.mean_recall(list(found), [row[row > kernel.LOWEST] for row in best], best.shape[1])


@dataclass(frozen=True)
class _Search:
    """Lists of the nearest that were met so far, and what they are made of."""

    fine: npt.NDArray[np.int16]  # the vectors in fixed point, for products of distant rows
    quick: gemm.Matrix  # in the precision of matrix products
    labels: Positions  # pairs of one label do not count; or none
    kept: int  # the nearest of a vector in one leaf that are taken into its list
    ids: Positions
    similarities: Vectors
    pool: Workers

    def through(self, leaves: list[Rows], folds: int) -> None:
        """Takes what the leaves find into the lists."""
        found, values = kernel.lists(len(self.fine) * folds, self.kept)
        unit, rounding = self.quick.unit**2, self.quick.rounding

        def search(slots: Rows) -> None:
            members = slots // folds
            names = members.astype(np.int32)
            rows = self.quick[members]
            for mine, theirs, products in gemm.products(rows, rows):
                if len(self.labels):
                    kernel.forbid(products, self.labels[members[mine]], self.labels[members[theirs]])
                own = np.arange(mine.start - theirs.start, mine.stop - theirs.start)
                kernel.top(products, own, names[theirs], slots[mine], found, values)

        self.pool.share(search, leaves)

        def merge(cut: tuple[int, int]) -> None:
            kernel.merge(self.fine, cut[0], cut[1], folds, found, values, unit, rounding, self.ids, self.similarities)

        self.pool.share(merge, self._large_cuts)

    def sweep(self, first: Positions, second: Positions, reach: int) -> None:
        """Takes the first `reach` neighbours (in `second`) of as many neighbours (in `first`) into the lists, once."""
        first, second = first.copy(), second.copy()  # as they are now: what is found must not depend on who is first
        labels = self.labels if len(self.labels) else np.arange(len(self.fine), dtype=np.int32)

        def take(cut: tuple[int, int]) -> None:
            kernel.sweep(self.fine, cut[0], cut[1], labels, first, second, reach, self.ids, self.similarities)

        self.pool.share(take, self._large_cuts)

    @property
    def _large_cuts(self) -> list[tuple[int, int]]:
        """Cuts so large that what a kernel sets up for each, an array as long as the vectors, does not matter."""
        return cuts(len(self.fine), max(KERNEL_ROWS, len(self.fine) // 32))
