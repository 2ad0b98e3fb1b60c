"""What a task of the neighbours stage does with the rows Spark hands it: Arrow in, Arrow out.

CELL rows are NODE rows (`block`) on their way to the cell that searches them. Where lists of a night before are carried on, their pairs
travel with the nodes, many packed in a row of their own (`old`). What a cell finds leaves it packed (`neighbour_list`).
"""

import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jobs import cells, fusion, neighbour_list, sample
from jobs.block import NODE, Vectors, blocks, read
from jobs.block_search import Effort, Search, search_block
from jobs.carried import Since, carry_block

if TYPE_CHECKING:
    import pyarrow as pa

    Batches = Iterator[pa.RecordBatch]
    Task = Callable[[Batches], Batches]

CELL = f"cell int, {NODE}"
OLD = "block", "item_id", "neighbour_id", *neighbour_list.VALUES  # columns of an old pair
OLD_AT_ONCE = 500  # batches of them that are packed together: a million pairs, 100 MB
TRUE = "item int, node string, similarity float, copies int"


def placed(cover: cells.Cover, reading: fusion.Reading, first_cell: int) -> "Task":
    """From NODE rows of a covered block to CELL rows: each once for every cell it is in, its vector narrowed."""

    def place(batches: "Batches") -> "Batches":
        import pyarrow as pa

        for batch in filter(len, batches):
            nodes = read(batch, reading)
            own = cells.cells_of(fusion.signatures(nodes, reading.weights), cover.leaders, cover.overlap)
            narrow = np.ascontiguousarray(cells.narrowed(nodes.vectors)).view(np.uint8)
            size = narrow.size // max(1, len(batch))
            offsets = pa.py_buffer(np.arange(0, size * (len(batch) + 1), size, dtype=np.int32))
            packed = pa.Array.from_buffers(pa.binary(), len(batch), [None, offsets, pa.py_buffer(narrow)])
            for column in own.T:
                cell = pa.array((column + first_cell).astype(np.int32))
                yield pa.RecordBatch.from_pydict({"cell": cell} | {name: batch[name] for name in batch.schema.names} | {"vector": packed})

    return place


def compared(asked: sample.Sample, reading: fusion.Reading, k: int) -> "Task":
    """From NODE rows to TRUE rows: the k nearest of the sampled items among the items of all these nodes."""

    def compare(batches: "Batches") -> "Batches":
        import pyarrow as pa
        import pyarrow.compute as pc

        columns = (
            (
                pc.list_element(batch["members"], 0).to_numpy(zero_copy_only=False),
                *(batch[name].to_numpy(zero_copy_only=False) for name in ("block", "source")),
                pc.list_value_length(batch["members"]).to_numpy(),
                read(batch, reading),
            )
            for batch in batches
            if batch.num_rows
        )
        found = sample.nearest(asked, columns, k)
        yield pa.RecordBatch.from_pydict(
            {"item": found.item, "node": pa.array(found.node, pa.string()), "similarity": found.similarity, "copies": found.copies}
        )

    return compare


class Told(NamedTuple):
    """What the task of a cell tells. `true`: the true similarities of each sampled item."""

    cell: int
    nodes: int
    blocks: int
    seconds: float
    effort: Effort
    true: dict[str, Vectors]


def search_cell(search: Search, log: Any, since: Since | None = None) -> "Task":
    """From the CELL rows of one cell to PACKED rows, the nodes of a part together. The log is told, see `Told`."""

    def in_cell(batches: "Batches") -> "Batches":
        import pyarrow as pa

        from jobs.pool import workers  # with torch, which only the workers that search should pay for

        received = [batch for batch in batches if batch.num_rows]
        if not received:  # a cell of a cover that no vector is in
            return
        began = time.monotonic()
        number = received[0]["cell"][0].as_py()
        received, old = _parted(received) if since else (received, {})
        found: list[pa.Table] = []
        efforts: list[Effort] = []
        nodes, true = 0, dict[str, Vectors]()
        with workers(search.threads[number]) as pool:
            for block in blocks(received, search.reading, bool(search.how.across), pool.threads, narrow=number >= search.narrow):
                if since and block.name in old:
                    lists, effort, best = carry_block(block, old[block.name], since, search, pool)
                else:
                    lists, effort, best = search_block(block, search, pool)
                found.append(lists)
                efforts.append(effort)
                nodes += len(block.rows)
                true |= best
        log.add([Told(number, nodes, len(found), time.monotonic() - began, Effort.of_all(efforts), true)])
        lists = pa.concat_tables(found)
        if len(lists):
            yield from neighbour_list.packed(lists.drop_columns(["key"]), lists["key"].to_numpy() % search.parts, search.kept + 1)

    return in_cell


def packed_old(batches: "Batches") -> "Batches":
    """From old pairs, each with its cell, to PACKED rows, a part for each cell."""
    import pyarrow as pa

    batches = filter(len, batches)
    while received := list(islice(batches, OLD_AT_ONCE)):
        pairs = pa.Table.from_batches(received)
        yield from neighbour_list.packed(pairs.drop_columns(["cell"]), pairs["cell"].to_numpy(), 1)


def _parted(received: "list[pa.RecordBatch]") -> "tuple[list[pa.RecordBatch], dict[str, pa.Table]]":
    """Of CELL rows those of nodes, and the old pairs of each block."""
    import pyarrow as pa
    import pyarrow.compute as pc

    packed = [value.as_buffer() for batch in received for value in batch["old"].drop_null()]
    nodes = [batch.drop_columns(["old"]).filter(pc.is_valid(batch["members"])) for batch in received]
    if not packed:
        return nodes, {}
    pairs = pa.concat_tables(pa.ipc.open_stream(lists).read_all() for lists in packed).combine_chunks().sort_by("block")
    counts = pairs["block"].combine_chunks().value_counts()
    ends = np.cumsum(counts.field("counts").to_numpy()).tolist()
    return nodes, {name: pairs[start:end] for name, start, end in zip(counts.field("values").to_pylist(), [0, *ends], ends, strict=False)}
