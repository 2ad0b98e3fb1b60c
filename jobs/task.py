"""What a task of the neighbours stage does with the rows Spark hands it: Arrow in, Arrow out.

A node is all the items of one text. CELL rows are nodes on their way to a cell, LIST rows what was found for them.
"""

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jobs import cells
from jobs.errors import ContractError
from jobs.settings import Neighbours

if TYPE_CHECKING:
    import pyarrow as pa

Vectors = npt.NDArray[np.float32]

ROWS_AT_ONCE = 10_000  # of a batch on its way back to Spark
CELL = "cell int, block string, node string, source string, members array<string>, vector binary"
LIST = "node string, edges array<struct<distance:float,neighbour:string>>"  # nearest first: a distance is a negative similarity


def unpacked(vectors: "pa.ChunkedArray | pa.BinaryArray", dimension: int) -> Vectors:
    """(n, d) float32 from a binary column without nulls whose values are all of one length, in full or `cells.narrowed`."""
    import pyarrow as pa

    whole = vectors.combine_chunks() if isinstance(vectors, pa.ChunkedArray) else vectors
    offsets = np.frombuffer(whole.buffers()[1], dtype=np.int32)[whole.offset : whole.offset + len(whole) + 1]
    flat = np.frombuffer(whole.buffers()[2], dtype=np.uint8)[offsets[0] : offsets[-1]]
    if len(flat) == 4 * dimension * len(whole):
        return flat.view("<f4").reshape(len(whole), dimension)
    return cells.widened(flat, dimension)


def search_cell(how: Neighbours, target_recall: float, dimension: int, threads: int, log: Any) -> "Callable[[pa.Table], pa.Table]":
    """From the CELL rows of one cell to the LIST rows of its nodes: the k + slack + 1 nearest items, own ones among them."""

    def search(cell: "pa.Table") -> "pa.Table":
        import pyarrow as pa

        began = time.monotonic()
        cell = cell.sort_by([("block", "ascending"), ("node", "ascending")])
        blocks = cell["block"].to_numpy()
        bounds = [0, *(np.flatnonzero(blocks[1:] != blocks[:-1]) + 1).tolist(), len(blocks)]
        found = [search_block(cell.slice(start, stop - start), how, target_recall, dimension, threads) for start, stop in pairwise(bounds)]
        log.add([(cell["cell"][0].as_py(), len(cell), len(found), time.monotonic() - began, max(rounds for _, rounds in found))])
        return pa.concat_tables([lists for lists, _ in found])

    return search


def search_block(block: "pa.Table", how: Neighbours, target_recall: float, dimension: int, threads: int) -> "tuple[pa.Table, int]":
    """The LIST rows of the nodes of one block, or of one cell of it, and the rounds the search took. Raises ContractError."""
    import pyarrow as pa

    from jobs import knn  # with torch and compiled kernels, which only the workers that search should pay for

    width = how.k + how.slack + 1
    vectors = unpacked(block["vector"], dimension)
    if len(bad := knn.unsound(vectors)):
        raise ContractError(
            f"the vector of item {block['node'][int(bad[0])].as_py()} is not of unit length, nor those of {len(bad) - 1} others",
            "delete them from item_vectors, see that embed.model is a working encoder, and run embed",
        )
    labels = np.unique(block["source"].to_numpy(), return_inverse=True)[1].astype(np.int32) if how.across else None
    # two texts may have one vector, as an encoder that knows no capitals gives them: searched once, and found in the order of their ids
    kinds = block["vector"].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    if labels is not None:
        kinds = np.unique(np.stack([kinds, labels]), axis=1, return_inverse=True)[1].ravel()
    _, first, kind = np.unique(kinds, return_index=True, return_inverse=True)
    found = knn.nearest(
        vectors[first], how.k + how.slack, target_recall=target_recall, labels=None if labels is None else labels[first], threads=threads
    )
    own = np.arange(len(first), dtype=np.int32)[:, None]
    itself = np.einsum("nd,nd->n", vectors[first], vectors[first], dtype=np.float64).astype(np.float32)[:, None]
    near, similarity = found.positions, found.similarities
    if labels is None:
        near, similarity = np.hstack([own, near]), np.hstack([itself, similarity])
    members = block["members"].combine_chunks()
    names = members.flatten().to_numpy(zero_copy_only=False)
    row, name, value = cells.expanded(near, similarity, np.repeat(kind, members.value_lengths().to_numpy()), names, width)
    edges = pa.StructArray.from_arrays([pa.array(-value, pa.float32()), pa.array(name, pa.string())], ["distance", "neighbour"])
    offsets = pa.array(np.searchsorted(row, np.arange(len(first) + 1)).astype(np.int32))
    lists = pa.ListArray.from_arrays(offsets, edges).take(pa.array(kind))
    return pa.table({"node": block["node"].cast(pa.string()), "edges": lists}), found.rounds


def placed(cover: cells.Cover, first_cell: int, dimension: int) -> "Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]":
    """From searchable rows of a covered block to CELL rows: each once for every cell it is in, its vector narrowed."""

    def place(batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        import pyarrow as pa

        for batch in batches:
            vectors = unpacked(batch["vector"], dimension)
            own = cells.cells_of(vectors, cover.leaders, cover.overlap)
            narrow = np.ascontiguousarray(cells.narrowed(vectors)).view(np.uint8)
            size = 4 + 2 * dimension
            offsets = pa.py_buffer(np.arange(0, size * (len(batch) + 1), size, dtype=np.int32))
            packed = pa.Array.from_buffers(pa.binary(), len(batch), [None, offsets, pa.py_buffer(narrow)])
            for column in own.T:
                cell = pa.array((column + first_cell).astype(np.int32))
                yield pa.RecordBatch.from_arrays(
                    [cell, *(batch[name] for name in ("block", "node", "source", "members")), packed],
                    names=["cell", "block", "node", "source", "members", "vector"],
                )

    return place


def merged(width: int) -> "Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]":
    """From the LIST rows that the cells of a node have found, all of one node together in a partition, to one LIST row a node."""

    def merge(batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        import pyarrow as pa
        import pyarrow.compute as pc

        received = list(batches)
        if not received:
            return
        found = pa.Table.from_batches(received).combine_chunks()
        node, lists = found["node"].combine_chunks().dictionary_encode(), found["edges"].combine_chunks()
        edges = lists.flatten()
        names = edges.field("neighbour").dictionary_encode()
        place = np.empty(len(names.dictionary), dtype=np.int64)
        place[pc.sort_indices(names.dictionary).to_numpy()] = np.arange(len(place))
        name, distance = place[names.indices.to_numpy()], edges.field("distance").to_numpy()
        row = np.repeat(node.indices.to_numpy(), lists.value_lengths().to_numpy())
        order = np.lexsort((name, distance, row))
        row, name = row[order], name[order]
        fresh = np.ones(len(row), dtype=bool)
        fresh[1:] = (row[1:] != row[:-1]) | (name[1:] != name[:-1])  # a pair has one distance, whichever cell has met it
        order, row = order[fresh], row[fresh]
        kept = np.arange(len(row)) - np.searchsorted(row, row) < width
        order, row = order[kept], row[kept]
        offsets = pa.array(np.searchsorted(row, np.arange(len(node.dictionary) + 1)).astype(np.int32))
        nearest = pa.ListArray.from_arrays(offsets, edges.take(pa.array(order)))
        yield from pa.table({"node": node.dictionary, "edges": nearest}).to_batches(ROWS_AT_ONCE)

    return merge
