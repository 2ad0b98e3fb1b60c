"""Overlapping leaves: small groups of vectors that lie near each other, so that true neighbours meet in one.

Leaders are sampled and moved once to the mean of those nearest to them (one step of Lloyd's algorithm: leaves of more even size, and more
neighbours in them); every vector joins the leaves of its nearest leaders. That two neighbours share one of their eight nearest leaders
depends little on how many leaders there are: many small leaves cost far fewer comparisons than few large ones at the same recall, until
finding the leaders costs as much as the leaves. Overlapping leaves are PiPNN's idea (Rubel et al.,
arXiv 2602.21247); the step of Lloyd's is ours.
"""

import numpy as np
import numpy.typing as npt
import torch

from jobs import gemm, kernel
from jobs.pool import Workers

Rows = npt.NDArray[np.int64]
Leaders = npt.NDArray[np.int32]

TAUGHT_BY = 12  # vectors a leader is moved by
ROWS_AT_ONCE = 2048  # of one thread's turn
SPLIT_ABOVE = 4  # times the mean size: a leaf costs the square of its rows


def leaders(vectors: gemm.Matrix, count: int, random: np.random.Generator, pool: Workers) -> gemm.Matrix:
    """(count, d) in the precision of the vectors; leaders that are near each other stand near each other."""
    first = _sampled(vectors, count, random)
    taught_by = _sampled(vectors, min(len(vectors), TAUGHT_BY * count), random)
    moved = _means(taught_by, nearest(taught_by, first, 1, pool)[:, 0], first)
    regions = _sampled(moved, max(1, int(count**0.5)), random)
    order = np.argsort(nearest(moved, regions, 1, pool)[:, 0], kind="stable")
    return moved[order]


def _sampled(vectors: gemm.Matrix, count: int, random: np.random.Generator) -> gemm.Matrix:
    return vectors[np.sort(random.choice(len(vectors), count, replace=False))]


def _means(vectors: gemm.Matrix, group: Leaders, of_nobody: gemm.Matrix) -> gemm.Matrix:
    """(groups, d) direction of each group's mean; that of an empty group is given."""
    sums = torch.zeros(of_nobody.values.shape).index_add_(0, torch.from_numpy(group.astype(np.int64)), vectors.widened())
    sums[sums.abs().amax(dim=1) == 0] = of_nobody.widened()[sums.abs().amax(dim=1) == 0]
    return vectors.like(torch.nn.functional.normalize(sums))


def nearest(vectors: gemm.Matrix, leaders: gemm.Matrix, count: int, pool: Workers) -> Leaders:
    """(n, count) int32: the nearest leaders of each vector, nearest first; NONE where there are fewer."""
    found, similarities = kernel.lists(len(vectors), count)
    names = np.arange(len(leaders), dtype=np.int32)
    nobody = np.full(ROWS_AT_ONCE, kernel.NONE, dtype=np.int64)

    def compare(start: int) -> None:
        stop = min(len(vectors), start + ROWS_AT_ONCE)
        slots = np.arange(start, stop)
        for mine, theirs, products in gemm.products(vectors[start:stop], leaders):
            kernel.top(products, nobody, names[theirs], slots[mine], found, similarities)

    pool.share(compare, range(0, len(vectors), ROWS_AT_ONCE))
    return found


def leaves(vectors: gemm.Matrix, joined: Leaders, count: int, random: np.random.Generator) -> list[Rows]:
    """The slots of each leaf, large leaves first: slot i is vector i // folds in the leaf of its (i % folds)-th leader.

    joined (n, folds) are the nearest of `count` leaders. Every slot lies in one leaf; giant leaves are cut into smaller ones.
    """
    most = SPLIT_ABOVE * joined.size / count
    found = [part for slots in members(joined.ravel(), count) for part in _split(vectors, slots, joined.shape[1], most, random)]
    return sorted(found, key=len, reverse=True)  # what is worked on last is small, and threads end together


def members(group: Leaders, groups: int) -> list[Rows]:
    """Positions of each group's members, ascending; NONE belongs to none."""
    order = np.argsort(group, kind="stable")
    bounds = np.searchsorted(group[order], np.arange(groups + 1))
    return [order[bounds[i] : bounds[i + 1]] for i in range(groups)]


def _split(vectors: gemm.Matrix, slots: Rows, folds: int, most: float, random: np.random.Generator) -> list[Rows]:
    """The leaf, or what a giant one is cut into: pieces around leaders of its own. A leaf of one has nothing to say."""
    if len(slots) <= most:
        return [slots] if len(slots) > 1 else []
    pieces = 1 + int(len(slots) // (most / 2))
    rows = vectors[slots // folds]
    products = gemm.multiplied(rows.filled(), _sampled(rows, pieces, random).filled())[: len(slots), :pieces]
    nearest_piece = products.argmax(dim=1).numpy().astype(np.int32)
    parts = [slots[own] for own in members(nearest_piece, pieces)]
    if max(len(part) for part in parts) == len(slots):  # all alike: no leader tells them apart
        parts = np.array_split(slots, pieces)
    return [leaf for part in parts for leaf in _split(vectors, part, folds, most, random)]
