"""Cells: what one task searches. Small blocks share a cell; a block too large for one is covered by cells that overlap.

A cover is leaders on the sphere: an item goes to the cells of its nearest few, so that true neighbours meet in one. How few is measured: on
sampled items, whose neighbours are known, the smallest overlap is taken at which enough of the pairs should be found: one that shares
several cells has a chance in each of them. Items are always compared with all leaders: a second level would spare little (a cell has a
hundred thousand items, so a hundred million of them have two thousand leaders) and lose pairs at every border. The driver makes the cover.
"""

import heapq
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Cells = npt.NDArray[np.int64]

OVERLAPS = (1, 2, 3, 4, 6, 8)
FILLED = 0.7  # of a cell's rows, on average: cells differ in size
LLOYD_STEPS = 5
PACKED_ROWS = 2_000  # of a cell of small blocks at least: handing a task over costs as much as searching so many
LARGEST = 32_767  # of 16 bits


@dataclass(frozen=True)
class Cover:
    """leaders (c, d) float32 of unit length, those of the largest cells first; an item is in the cells of its `overlap` nearest; `found` of
    the known pairs are expected to be found. Making it took so many `seconds`."""

    leaders: Vectors
    overlap: int
    found: float
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{len(self.leaders)} cells, each node in {self.overlap}: {self.found:.1%} of true neighbours should be found"


def cells_of(vectors: Vectors, leaders: Vectors, overlap: int) -> Cells:
    """(n, min(overlap, c)) int64 cells of each vector, nearest first. In float64: the same however the vectors are cut into batches."""
    similarities = vectors.astype(np.float64) @ leaders.T.astype(np.float64)
    return np.argsort(-similarities, axis=1, kind="stable")[:, :overlap]


def cover(
    sample: Vectors, rows: int, cell_rows: int, items: Vectors, neighbours: Vectors, target: float, missed: tuple[float, float], seed: int
) -> Cover:
    """The cover of a block of `rows` vectors by cells of about cell_rows at most, with the smallest overlap that reaches the target.

    sample (s, d) of the block; items (q, d) and their true neighbours (q, k, d), of which `target` is the share that has to be found.
    missed: of the pairs that meet, the share that no cell finds, since their sketches are the same in all, and the share that the search of
    one cell misses by chance. The best cover there is where none reaches the target.
    """
    began = time.monotonic()
    in_all, in_one = missed
    best: Cover | None = None
    for overlap in OVERLAPS:
        count = -(-rows * overlap // int(cell_rows * FILLED))
        leaders = _leaders(sample, count, overlap, cell_rows * len(sample) / rows, np.random.default_rng(seed))
        mine = cells_of(items, leaders, overlap)
        theirs = cells_of(neighbours.reshape(-1, neighbours.shape[2]), leaders, overlap).reshape(*neighbours.shape[:2], mine.shape[1])
        meetings = (mine[:, None, :, None] == theirs[:, :, None, :]).sum(axis=(2, 3))
        found = (1 - in_all) * float(1 - (in_one**meetings).mean()) if len(items) else 1.0
        if best is None or found > best.found:
            best = Cover(leaders, overlap, found)
        if found >= target:
            break
    assert best is not None  # OVERLAPS is not empty
    return replace(best, seconds=time.monotonic() - began)


def _leaders(sample: Vectors, count: int, overlap: int, most: float, random: np.random.Generator) -> Vectors:
    """Means of the sample's clusters (Lloyd's algorithm); of cells with more than `most` of the sample the larger half are split,
    as long as that helps. Large cells come first: what is worked on last is small, and tasks end together."""
    leaders = sample[random.choice(len(sample), min(count, len(sample)), replace=False)]
    for step in range(LLOYD_STEPS + 3 * count):
        own = cells_of(sample, leaders, 1)[:, 0]
        sums = summed(sample, own, len(leaders))
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        leaders = np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), leaders).astype(np.float32)
        if step < LLOYD_STEPS:
            continue
        sizes = np.bincount(cells_of(sample, leaders, overlap).ravel(), minlength=len(leaders))
        halves = dict(_halves(sample, own, [cell for cell in np.argsort(-sizes, kind="stable") if sizes[cell] > most], random))
        if not halves:
            break
        leaders = np.concatenate([np.delete(leaders, list(halves), axis=0), *halves.values()])
    sizes = np.bincount(cells_of(sample, leaders, overlap).ravel(), minlength=len(leaders))
    return leaders[np.argsort(-sizes, kind="stable")]


def summed(vectors: Vectors, own: Cells, count: int) -> npt.NDArray[np.float64]:
    """(count, d) float64: of each cell the sum of the (n, d) vectors whose `own` (n,) it is, zero where there is none."""
    found = np.zeros((count, vectors.shape[1]), dtype=np.float64)
    by_cell = np.argsort(own, kind="stable")
    filled, first = np.unique(own[by_cell], return_index=True)
    found[filled] = np.add.reduceat(vectors[by_cell].astype(np.float64), first)
    return found


def _halves(sample: Vectors, own: Cells, cells: list[int], random: np.random.Generator) -> Iterator[tuple[int, Vectors]]:
    """Half as many as there are cells, the first ones whose own vectors are not all alike, each with two of these to split it by. Half:
    a step costs as much as comparing the sample with all leaders, and the other cells may be small enough after it."""
    left = -(-len(cells) // 2)
    for cell in cells:
        if not left:
            return
        members = sample[own == cell]
        if len(members) and (members != members[0]).any():
            one = members[random.integers(len(members))]
            unlike = members[(members != one).any(axis=1)]
            left -= 1
            yield cell, np.stack([one, unlike[random.integers(len(unlike))]])


def packed(sizes: Mapping[str, int], cell_rows: int, cores: int) -> dict[str, int]:
    """Block → cell, for blocks of at most cell_rows: as even as may be, in a few cells for every core.

    Larger blocks come first and each goes to the cell with least work so far; a block's work grows with the square of its size.
    """
    total = sum(sizes.values())
    count = max(-(-total // cell_rows), min(4 * cores, -(-total // PACKED_ROWS)), 1)
    cells = [(0, 0, cell) for cell in range(count)]  # work, rows, name
    found = {}
    for block, size in sorted(sizes.items(), key=lambda entry: (-entry[1], entry[0])):
        full = []
        while cells and cells[0][1] and cells[0][1] + size > cell_rows:
            full.append(heapq.heappop(cells))
        work, rows, cell = heapq.heappop(cells) if cells else (0, 0, count)
        count = max(count, cell + 1)
        found[block] = cell
        for entry in (*full, (work + size * size, rows + size, cell)):
            heapq.heappush(cells, entry)
    return found


def narrowed(vectors: Vectors) -> npt.NDArray[np.void]:
    """(n,) records of 4 + 2 d bytes: 16-bit fixed point under a scale of its own for each vector. It takes the room of bfloat16
    and is fifty times as exact: cosines of 384 dimensions differ by 3e-6, which nobody sees in a published similarity."""
    scale = np.abs(vectors).max(axis=1, keepdims=True, initial=1e-30).astype(np.float32)
    record = np.empty(len(vectors), dtype=_record(vectors.shape[1]))
    record["scale"], record["values"] = scale[:, 0], np.rint(vectors / scale * LARGEST)
    return record


def widened(narrow: npt.NDArray[np.uint8]) -> Vectors:
    """(n, d) float32 of unit length, or zero, from the bytes of `narrowed` (n, 4 + 2 d) uint8."""
    record = narrow.view(_record((narrow.shape[1] - 4) // 2))[:, 0]
    vectors = record["values"].astype(np.float32) * (record["scale"][:, None] / LARGEST)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def _record(dimension: int) -> np.dtype[np.void]:
    return np.dtype([("scale", "<f4"), ("values", "<i2", (dimension,))])


def expanded(
    kinds: npt.NDArray[np.int32], similarities: Vectors, kind_of_name: Cells, place: Cells, width: int
) -> tuple[Cells, Cells, Cells]:
    """From kinds of items that read the same to the names of these: for each row of kinds its `width` nearest names, as (row, name, where
    in the flat `kinds` it comes from), ordered by row, then falling similarity, then the name's place.

    kinds (n, m): the kinds near each row, -1 where there is none, with their similarities (n, m); kind_of_name and place (names,). A kind
    may have no name.
    """
    order = np.lexsort((place, kind_of_name))
    first = np.searchsorted(kind_of_name[order], np.arange(max(kind_of_name.max(initial=0), kinds.max(initial=0)) + 2))
    pair = np.flatnonzero(kinds >= 0)
    near = kinds.ravel()[pair]
    count = np.minimum(first[near + 1] - first[near], width)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    name, pair = order[np.repeat(first[near], count) + within], np.repeat(pair, count)
    row, similarity = pair // kinds.shape[1], similarities.ravel()[pair]
    same = row[1:] == row[:-1]
    amiss = same & ((similarity[1:] > similarity[:-1]) | ((similarity[1:] == similarity[:-1]) & (place[name[1:]] < place[name[:-1]])))
    if amiss.any():  # few rows are: kinds come nearest first, and seldom two are equally near
        mixed = np.flatnonzero(np.isin(row, row[1:][amiss]))
        by_rank = mixed[np.lexsort((place[name[mixed]], -similarity[mixed], row[mixed]))]
        name[mixed], pair[mixed] = name[by_rank], pair[by_rank]
    kept = np.arange(len(row)) - np.searchsorted(row, row) < width
    return row[kept], name[kept], pair[kept]
