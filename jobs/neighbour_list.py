"""Lists of nearest items on their way from the cells that found them to rows of pairs: packed, merged, told item by item.

Lists are a table: members, the items that read the same; neighbours, the items near them, nearest first, own ones among them, equal ones
by id; for each neighbour the VALUES.

PACKED rows hold many lists in one value: Spark moves hundreds of rows instead of millions. PAIR rows are what is published.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from jobs.tables import PARTS

if TYPE_CHECKING:
    import pyarrow as pa

    Batches = Iterator[pa.RecordBatch]

Rows = npt.NDArray[np.int64]

PAIRS_AT_ONCE = 80_000  # packed in one value, or told in one batch: 2 to 4 MB

VALUES = ("similarity", *PARTS)

PACKED = "part int, lists binary"
PAIR = "item_id string, rank int, neighbour_id string, " + ", ".join(f"{name} float" for name in VALUES)


def packed(lists: "pa.Table", part: Rows, width: int) -> "Batches":
    """PACKED rows of a table by part; each of its rows holds `width` pairs at most."""
    import pyarrow as pa

    at_once = max(1, PAIRS_AT_ONCE // width)
    lists, order = lists.combine_chunks(), np.argsort(part, kind="stable")  # of many chunks every `take` would make one anew
    bounds = np.searchsorted(part[order], np.arange(part.max() + 2))
    for name, (first, last) in enumerate(pairwise(bounds.tolist())):
        for start in range(first, last, at_once):
            rows = lists.take(order[start : min(last, start + at_once)]).combine_chunks()
            stream = pa.BufferOutputStream()
            with pa.ipc.new_stream(stream, rows.schema) as writer:
                writer.write_table(rows)
            value = pa.array([stream.getvalue().to_pybytes()], pa.binary())
            yield pa.RecordBatch.from_arrays([pa.array([name], pa.int32()), value], names=["part", "lists"])


def told(kept: int) -> "Callable[[Batches], Batches]":
    """From the PACKED rows of one part, all cells' lists of its nodes among them, to PAIR rows: `kept` an item, its nearest."""

    def tell(batches: "Batches") -> "Batches":
        import pyarrow as pa

        found = [pa.ipc.open_stream(value.as_buffer()).read_all() for batch in batches for value in batch["lists"]]
        if found:
            yield from _pairs(_merged(pa.concat_tables(found).combine_chunks(), kept + 1), kept)

    return tell


def _merged(lists: "pa.Table", width: int) -> "pa.Table":
    """One list a node: of those that its cells have found the `width` nearest, equal ones by id, each once."""
    import pyarrow as pa
    import pyarrow.compute as pc

    nodes = pc.list_element(lists["members"], 0).combine_chunks().dictionary_encode()
    node, count = nodes.indices.to_numpy(), len(nodes.dictionary)
    if count == len(lists):
        return lists
    neighbours = lists["neighbours"].combine_chunks()
    names, values = neighbours.flatten(), {name: lists[name].combine_chunks().flatten() for name in VALUES}
    similarity = values["similarity"].to_numpy()
    place = pc.rank(names, tiebreaker="dense").to_numpy()
    row = np.repeat(node, neighbours.value_lengths().to_numpy())
    by_pair = np.lexsort((-similarity, place, row))
    fresh = np.ones(len(by_pair), dtype=bool)  # a pair that several cells have met
    fresh[1:] = (row[by_pair[1:]] != row[by_pair[:-1]]) | (place[by_pair[1:]] != place[by_pair[:-1]])
    pair = by_pair[fresh]
    order = pair[np.lexsort((place[pair], -similarity[pair], row[pair]))]
    kept = order[np.arange(len(order)) - np.searchsorted(row[order], row[order]) < width]
    bounds = pa.array(np.searchsorted(row[kept], np.arange(count + 1)).astype(np.int32))
    members = lists["members"].combine_chunks().take(pa.array(np.unique(node, return_index=True)[1]))
    told = {
        name: pa.ListArray.from_arrays(bounds, column.take(pa.array(kept))) for name, column in ({"neighbours": names} | values).items()
    }
    return pa.table({"members": members} | told)


def _pairs(lists: "pa.Table", kept: int) -> "Batches":
    """PAIR rows of every item of the nodes: its node's list without the item itself."""
    import pyarrow as pa
    import pyarrow.compute as pc

    members, neighbours = lists["members"].combine_chunks(), lists["neighbours"].combine_chunks()
    items, others, values = members.flatten(), neighbours.flatten(), [lists[name].combine_chunks().flatten() for name in VALUES]
    node, length = np.repeat(np.arange(len(lists)), members.value_lengths().to_numpy()), neighbours.value_lengths().to_numpy()
    begin, at_once = np.cumsum(length) - length, max(1, PAIRS_AT_ONCE // kept)
    for start in range(0, len(items), at_once):
        of = node[start : start + at_once]
        item = np.repeat(np.arange(len(of)), length[of])
        first = np.cumsum(length[of]) - length[of]
        edge = np.arange(len(item)) + (begin[of] - first)[item]
        item_id, neighbour = items.take(pa.array(start + item)), others.take(pa.array(edge))
        other = pc.not_equal(item_id, neighbour).to_numpy(zero_copy_only=False)
        before = np.concatenate([[0], np.cumsum(other)])
        rank = before[1:] - before[first[item]]
        counted = pa.array(np.flatnonzero(other & (rank <= kept)))
        columns = [item_id, pa.array(rank.astype(np.int32)), neighbour, *(column.take(pa.array(edge)) for column in values)]
        yield pa.RecordBatch.from_arrays([column.take(counted) for column in columns], names=["item_id", "rank", "neighbour_id", *VALUES])
