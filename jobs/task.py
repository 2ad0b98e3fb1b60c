"""What a task of the neighbours stage does with the rows Spark hands it: Arrow in, Arrow out.

CELL rows are NODE rows (`block`) on their way to the cell that searches them. Where lists of a night before are carried on, their pairs
travel with the nodes, many packed in a row of their own (`old`). What a cell finds leaves it packed (`neighbour_list`).
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jobs import cells, fusion, measure, neighbour_list, sample
from jobs.block import NODE, Block, Named, Rows, Vectors, blocks, read
from jobs.carried import Carried, Flags, Since
from jobs.kernel import NONE
from jobs.settings import Neighbours

if TYPE_CHECKING:
    import pyarrow as pa

    from jobs.pool import Workers

    Batches = Iterator[pa.RecordBatch]
    Task = Callable[[Batches], Batches]

CELL = f"cell int, {NODE}"
OLD = "block", "item_id", "neighbour_id", *neighbour_list.VALUES  # columns of an old pair
OLD_AT_ONCE = 500  # batches of them that are packed together: a million pairs, 100 MB
# Candidates whose similarities are computed exactly, times the neighbours that are kept: before a sweep; across labels, where a sweep adds
# nothing; and where a pilot sample shows that these were too few, MOST_CANDIDATES at most. So many are not searched for but found by
# comparing all signatures.
BEFORE_SWEEP, ACROSS, ENOUGH = 3, 4, 16
MOST_CANDIDATES = 1024  # 8 kB an item
SMALL = 256  # items of a block in which nothing is searched for: all are candidates
PILOT = 400  # items that a recall is judged by; at recall .95 the standard error is about half a per cent
ROUNDING = 1e-5  # between two ways to compute a similarity
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


@dataclass(frozen=True)
class Search:
    """How items are read and cells are searched: for which recall, such that at least what is promised is found, by how many threads each,
    and into how many parts what was found is packed. Vectors of the cells from `narrow` on are `cells.narrowed`. `asked` are the sampled
    items, by node, whose true neighbours the task is to find too. `since` says what has changed, where lists are carried on."""

    how: Neighbours
    reading: fusion.Reading
    target_recall: float
    promised: float
    narrow: int
    threads: list[int]  # by cell
    parts: int
    asked: dict[str, list[str]]
    since: Since | None = None
    gpu: "Callable[[], str | None]" = lambda: None  # that of the task, as torch names it

    @property
    def kept(self) -> int:
        return self.how.k + self.how.slack


class Effort(NamedTuple):
    """What finding the neighbours of a block took: rounds of leaves (0 where all was compared with all), signatures that were looked at for
    each node, their recall on a pilot sample, the precision of their products; whether its lists were carried on, and how many of items
    that have not changed had to be made anew all the same."""

    rounds: int = 0
    candidates: int = 0
    pilot_recall: float = 1.0
    precision: str = ""
    carried: int = 0
    refilled: int = 0

    @classmethod
    def of_all(cls, of: "Iterable[Effort]") -> "Effort":
        rounds, candidates, recalls, precisions, carried, refilled = zip(*of, strict=True)
        return cls(max(rounds), max(candidates), min(recalls), max(precisions), sum(carried), sum(refilled))


class Told(NamedTuple):
    """What the task of a cell tells. `true`: the true similarities of each sampled item."""

    cell: int
    nodes: int
    blocks: int
    seconds: float
    effort: Effort
    true: dict[str, Vectors]


Found = tuple["pa.Table", Effort, dict[str, Vectors]]


def search_cell(search: Search, log: Any) -> "Task":
    """From the CELL rows of one cell to PACKED rows, the nodes of a part together. The log is told, see `Told`."""

    def in_cell(batches: "Batches") -> "Batches":
        import pyarrow as pa

        from jobs.pool import workers  # with torch, which only the workers that search should pay for

        received = [batch for batch in batches if batch.num_rows]
        if not received:  # a cell of a cover that no vector is in
            return
        began = time.monotonic()
        number = received[0]["cell"][0].as_py()
        received, old = _parted(received) if search.since else (received, {})
        found: list[pa.Table] = []
        efforts: list[Effort] = []
        nodes, true = 0, dict[str, Vectors]()
        with workers(search.threads[number]) as pool:
            for block in blocks(received, search.reading, bool(search.how.across), pool.threads, narrow=number >= search.narrow):
                lists, effort, best = carry_block(block, old, search, pool)
                found.append(lists)
                efforts.append(effort)
                nodes += len(block.rows)
                true |= best
        log.add([Told(number, nodes, len(found), time.monotonic() - began, Effort.of_all(efforts), true)])
        lists = pa.concat_tables(found)
        if len(lists):
            yield from neighbour_list.packed(lists.drop_columns(["key"]), lists["key"].to_numpy() % search.parts, search.kept + 1)

    return in_cell


def search_block(block: Block, search: Search, pool: "Workers") -> "Found":
    """Of one block, or of one cell of it: the lists of its nodes, what finding them took, the sampled items' true similarities.

    Lists: key and members of a node; neighbours, the k + slack + 1 nearest items, own ones among them, equal ones by id; their VALUES.
    """
    of, weights, every = block.compared, search.reading.weights, np.arange(len(block.compared))
    named = Named.by(block.rows, block.kind)
    asked, queries = _asked(block, search)
    best, similarity = fusion.nearest_of(of, weights, queries, search.how.k, block.labels, pool)
    near, effort = _near(of, block.labels, search, pool)
    if block.labels is None:  # else no item of its own source counts, and those that read the same neither
        near = _own_first(of, weights, every, near, pool)
        best = np.column_stack([near.positions[queries, 0], best])
        similarity = np.column_stack([near.similarities[queries, 0], similarity])
    lists = named.lists(block.rows, block.kind, near, search.kept + 1)
    return lists, effort, named.true(asked, queries, best, similarity, search.how.k)


def carry_block(block: Block, old: "dict[str, pa.Table]", search: Search, pool: "Workers") -> "Found":
    """Of one block: the lists of all items, their old ones with what has changed since (`carried`). Lists and true similarities as in
    `search_block`, which is what happens where there are no old lists, or too much has changed."""
    import pyarrow as pa
    import pyarrow.compute as pc

    name, kinds, k, kept, since = block.rows["block"][0].as_py(), len(block.compared), search.how.k, search.kept, search.since
    if since is None or name not in old:
        return search_block(block, search, pool)
    named = Named.by(block.rows, block.kind)
    changed = pc.is_in(named.names, since.changed).to_numpy(zero_copy_only=False)
    carried = Carried.of(old[name], named.names, changed)
    short, floor = carried.ends(*_could(block, named, since, bool(search.how.across)), k, kept)
    turned, wanted = (np.bincount(named.kind[items], minlength=kinds) > 0 for items in (changed, changed | short))
    if wanted.sum() > since.share * kinds:
        return search_block(block, search, pool)
    waiting, floors = ~wanted[named.kind], np.full(kinds, np.inf, dtype=np.float32)
    np.minimum.at(floors, named.kind[waiting], floor[waiting] - ROUNDING)
    found, true = _compared_with_all(block, named, wanted, turned, floors, search, pool)
    anew, same = wanted[block.kind], named.pairs(np.flatnonzero(~wanted), found, kept + 1)
    going_on = carried.with_new(named.each(same[changed[same.neighbour]]), floor, kept)
    lists = [
        named.lists(block.rows.filter(pa.array(anew)), block.kind[anew], found, kept + 1),
        named.of_items(block.rows, np.flatnonzero(waiting), going_on),
    ]
    return pa.concat_tables(lists), Effort(carried=1, refilled=int((short & ~changed).sum())), true


def _compared_with_all(
    block: Block, named: Named, wanted: Flags, turned: Flags, floors: Vectors, search: Search, pool: "Workers"
) -> tuple[fusion.Near, dict[str, Vectors]]:
    """The lists of the kinds that are `wanted`, by comparing them with all; of others those `turned` ones that are no less similar than
    their floor; the sampled items' true similarities."""
    of, weights = block.compared, search.reading.weights
    asked, queries = _asked(block, search)
    queries, own = np.union1d(queries, np.flatnonzero(wanted)), np.flatnonzero(wanted)
    near, similarity, others = fusion.met(of, weights, queries, turned, floors, search.kept + fusion.TIED, block.labels, pool)
    candidates = np.full((len(of), max(near.shape[1], others.shape[1])), NONE, dtype=np.int32)
    candidates[:, : others.shape[1]] = others
    candidates[own] = NONE
    # all turned ones are among the nearest of a wanted one, as far as they can be in its list
    candidates[own, : near.shape[1]] = near[np.searchsorted(queries, own)]
    found = fusion.settled(of, weights, np.flatnonzero(candidates[:, 0] != NONE), candidates, search.kept, pool)
    best, true = near[:, : search.how.k], similarity[:, : search.how.k]
    if block.labels is None:
        found = _own_first(of, weights, queries, found, pool)
        best = np.column_stack([found.positions[queries, 0], best])
        true = np.column_stack([found.similarities[queries, 0], true])
    return found, named.true(asked, queries, best, true, search.how.k)


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


def _could(block: Block, named: Named, since: Since, across: bool) -> tuple[Rows, Rows]:
    """How many others each item of the block could be matched with, in the night before and now: see `nodes.others`."""
    name, sources = block.rows["block"][0].as_py(), block.rows["source"].combine_chunks().dictionary_encode()
    source = sources.indices.to_numpy()[named.node]
    now = np.bincount(source)
    before = since.items.get(name, {})
    then = np.array([before.get(its, 0) for its in sources.dictionary.to_pylist()])
    of_own = (then[source], now[source]) if across else (np.ones_like(source), np.ones_like(source))
    return sum(before.values()) - of_own[0], len(source) - of_own[1]


def _asked(block: Block, search: Search) -> tuple[list[tuple[int, str]], Rows]:
    """The sampled items of the block, each with its kind; these kinds, ascending."""
    nodes = block.rows["node"].to_pylist()
    asked = [(int(kind), item) for kind, node in zip(block.kind, nodes, strict=True) for item in search.asked.get(node, ())]
    return asked, np.unique(np.array([kind for kind, _ in asked], dtype=np.int64))


def _own_first(of: fusion.Items, weights: Vectors, kinds: Rows, near: fusion.Near, pool: "Workers") -> fusion.Near:
    """The lists, those of the kinds after the kind itself: its other items are as near as may be."""
    own = np.full((len(of), 1), NONE, dtype=np.int32)
    own[kinds, 0] = kinds
    return fusion.settled(of, weights, kinds, own, 1, pool).before(near)


def _near(compared: fusion.Items, labels: npt.NDArray[np.int32] | None, search: Search, pool: "Workers") -> tuple[fusion.Near, Effort]:
    """The k + slack nearest of every item."""
    from jobs import knn  # with torch, which only the workers that search should pay for

    kept, weights, every = search.kept, search.reading.weights, np.arange(len(compared))
    if len(compared) <= SMALL:
        return fusion.settled(compared, weights, every, fusion.others(len(compared), labels), kept, pool), Effort()
    signatures, gpu = fusion.signatures(compared, weights), search.gpu()
    how: dict[str, Any] = {"target_recall": search.target_recall, "wanted": search.how.k, "labels": labels, "threads": pool.threads}
    how["on"], precision = gpu, knn.precision(gpu)
    if not weights[1:].any():  # the signatures' similarities are those of the items
        found = knn.nearest(signatures, kept, **how)
        near = fusion.settled(compared, weights, found.order, found.positions, kept, pool)
        return near, Effort(found.rounds, kept, found.pilot_recall, precision)
    pilot = np.unique(np.linspace(0, len(compared) - 1, PILOT).astype(np.int64))
    _, best = fusion.nearest_of(compared, weights, pilot, search.how.k, labels, pool)
    truth = [row[row > -np.inf] - ROUNDING for row in best]
    few = min((BEFORE_SWEEP if labels is None else ACROSS) * kept, max(knn.EXACT_K, kept))
    for wide in sorted({few, max(few, min(ENOUGH * kept, MOST_CANDIDATES))}):
        met = knn.candidates(signatures, wide, **how)
        near = fusion.settled(compared, weights, met.order, met.positions, kept, pool)
        near = fusion.swept(compared, weights, met.order, near, labels, pool)
        recall = measure.mean_recall(list(near.similarities[pilot]), truth, search.how.k)
        if recall >= search.promised:
            break
    return near, Effort(met.rounds, wide, recall, precision)
