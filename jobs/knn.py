"""k nearest neighbours of unit vectors, by inner product: exact blocked search with a running top-k.

Ids here are positions. The search itself works in float32, where the last digit depends on how the work is cut; published similarities
are therefore computed again, pair by pair in float64 (`cosines`), and do not depend on any cutting.
"""

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]

QUERY_ROWS = 1024  # 1024 × 8192 float32 similarities are 32 MB: they stay near the cache, and GEMM is at its full speed
TARGET_ROWS = 8192
NONE = -1  # position of a neighbour that does not exist, where there are fewer than k targets


def exact(queries: Vectors, targets: Vectors, k: int) -> Positions:
    """Positions in `targets` of the k largest inner products of each query, in no particular order.

    queries (m, d), targets (n, d) float32, rows of unit length → (m, k) int64, NONE beyond the n-th column. Memory: one block of
    similarities. Near-equal similarities at the k-th place are cut as float32 rounding has them: ask for a few more than you need.
    """
    if queries.ndim != 2 or targets.ndim != 2 or queries.shape[1] != targets.shape[1]:
        raise ValueError(f"expected (m, d) queries and (n, d) targets of one dimension, found {queries.shape} and {targets.shape}")
    found = np.full((len(queries), k), NONE, dtype=np.int64)
    for start in range(0, len(queries), QUERY_ROWS):
        found[start : start + QUERY_ROWS] = _exact_block(queries[start : start + QUERY_ROWS], targets, k)
    return found


def _exact_block(queries: Vectors, targets: Vectors, k: int) -> Positions:
    best = np.full((len(queries), k), -np.inf, dtype=np.float32)
    found = np.full((len(queries), k), NONE, dtype=np.int64)
    for start in range(0, len(targets), TARGET_ROWS):
        similarities = queries @ targets[start : start + TARGET_ROWS].T
        if start == 0 and similarities.shape[1] > k:
            # the first block sets the bar; from then on few similarities pass it
            columns = np.argpartition(similarities, -k, axis=1)[:, -k:]
            best, found = np.take_along_axis(similarities, columns, axis=1), columns.astype(np.int64)
            continue
        rows, columns = np.nonzero(similarities > best.min(axis=1, keepdims=True))
        _merge(best, found, rows, columns + start, similarities[rows, columns])
    return found


def _merge(best: Vectors, found: Positions, rows: Positions, columns: Positions, values: Vectors) -> None:
    """Puts the new candidates (row, column, value) into the running top-k, in place: both arrays belong to the caller's block."""
    if len(rows) == 0:
        return
    count, k = best.shape
    all_rows = np.concatenate([np.repeat(np.arange(count), k), rows])
    all_values = np.concatenate([best.ravel(), values])
    all_columns = np.concatenate([found.ravel(), columns])
    order = np.lexsort((-all_values, all_rows))
    ranks = np.arange(len(order)) - np.searchsorted(all_rows[order], all_rows[order])
    kept = order[ranks < k]
    best[:] = all_values[kept].reshape(count, k)
    found[:] = all_columns[kept].reshape(count, k)


def cosines(queries: Vectors, targets: Vectors, positions: Positions) -> Vectors:
    """(m, k) float32 inner products of each query with its positions, summed in float64: the same for a pair however work is cut.

    -inf where the position is NONE.
    """
    similarities = np.empty(positions.shape, dtype=np.float32)
    for start in range(0, len(queries), QUERY_ROWS):
        rows = slice(start, start + QUERY_ROWS)
        pairs = queries[rows, None, :].astype(np.float64) * targets[positions[rows]]
        similarities[rows] = pairs.sum(axis=2)
    similarities[positions == NONE] = -np.inf
    return similarities


MARGIN = 4  # searched beyond what is kept, so that float32 rounding cannot decide who is the last


def nearest(
    vectors: Vectors, groups: Positions, asked: Positions, targets: Positions, k: int
) -> tuple[Positions, Positions, Positions, Vectors]:
    """The k nearest `targets` of every `asked` item: item, rank from 1, neighbour, similarity; ordered by item and rank.

    vectors (n, d) float32 of unit length; groups (n,): items of one group have one and the same vector, which is searched once.
    asked and targets are positions among the n, which stand in the order of their ids: an item is never its own neighbour, and equal
    similarities are ordered by position. Fewer than k where there are fewer targets.
    """
    members = targets[np.lexsort((targets, groups[targets]))]
    _, first, size = np.unique(groups[members], return_index=True, return_counts=True)
    _, example, group_of_asked = np.unique(groups[asked], return_index=True, return_inverse=True)
    queries, representatives = vectors[asked[example]], vectors[members[first]]
    found = exact(queries, representatives, min(k + 1 + MARGIN, len(first)))
    similarity = cosines(queries, representatives, found)
    neighbour, similarity = _expanded(found, similarity, members, first, np.minimum(size, k + 1), k + 1)
    neighbour, similarity = neighbour[group_of_asked], similarity[group_of_asked]
    valid = (neighbour != asked[:, None]) & (neighbour != NONE)
    rank = np.cumsum(valid, axis=1)
    rows, columns = np.nonzero(valid & (rank <= k))
    order = np.lexsort((rank[rows, columns], asked[rows]))
    rows, columns = rows[order], columns[order]
    return asked[rows], rank[rows, columns], neighbour[rows, columns], similarity[rows, columns]


def _expanded(
    found: Positions, similarity: Vectors, members: Positions, first: Positions, size: Positions, width: int
) -> tuple[Positions, Vectors]:
    """From groups to their members: the `width` best (position, similarity) of each row, by similarity, then position; NONE pads."""
    row = np.repeat(np.arange(len(found)), found.shape[1])
    group, value = found.ravel(), similarity.ravel()
    row, group, value = row[group != NONE], group[group != NONE], value[group != NONE]
    count = size[group]
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    position = members[np.repeat(first[group], count) + within]
    row, value = np.repeat(row, count), np.repeat(value, count)
    order = np.lexsort((position, -value, row))
    place = np.arange(len(order)) - np.searchsorted(row[order], row[order])
    order, place = order[place < width], place[place < width]
    positions = np.full((len(found), width), NONE, dtype=np.int64)
    values = np.full((len(found), width), -np.inf, dtype=np.float32)
    positions[row[order], place], values[row[order], place] = position[order], value[order]
    return positions, values
