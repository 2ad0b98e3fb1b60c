"""NODE rows as they reach a task, and the blocks they make up, as what is compared: arrays of the kinds of nodes, and the names of the
items that a kind stands for.

A node is all the items that read the same and are searched as one, named by the first of them. NODE rows have what is compared of it (the
columns of `fusion.READ`, null or empty where they do not count; vector), a print of that, and a key, which decides who merges its lists.
Nodes of one print are of one kind.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jobs import cells, fusion, neighbour_list
from jobs.errors import ContractError
from jobs.tables import PARTS

if TYPE_CHECKING:
    import pyarrow as pa

Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int32]

_READ = ", ".join(f"{name} {kind}" for name, kind in fusion.READ.items())
NODE = f"block string, source string, members array<string>, key bigint, print bigint, {_READ}, vector binary"


def unpacked(nodes: "pa.RecordBatch", size: int) -> npt.NDArray[np.uint8]:
    """(n, size) uint8 of the vectors of NODE or CELL rows, not copied. Raises ContractError where one is missing, or of another size."""
    import pyarrow.compute as pc

    vectors, items = nodes["vector"], pc.list_value_length(nodes["members"])
    if vectors.null_count:
        bare = pc.sum(items.filter(vectors.is_null())).as_py()
        raise ContractError(
            f"{bare:,} of {pc.sum(items).as_py():,} items that were looked at have no vector of this encoder",
            "run clean and embed for this date first",
        )
    offsets = np.frombuffer(vectors.buffers()[1], dtype=np.int32)[vectors.offset : vectors.offset + len(vectors) + 1]
    lengths = np.diff(offsets)
    if len(odd := np.flatnonzero(lengths != size)):
        raise odd_size(nodes["members"][int(odd[0])].as_py()[0], lengths[odd[0]], size)
    return np.frombuffer(vectors.buffers()[2], dtype=np.uint8)[offsets[0] : offsets[-1]].reshape(len(vectors), size)


def odd_size(item_id: str, size: int, others: int) -> ContractError:
    return ContractError(
        f"the vector of item {item_id} has {size:,} bytes, others of this encoder {others:,}", "delete it from item_vectors and run embed"
    )


def refuse_unsound(vectors: Vectors, members: "pa.Array") -> None:
    """Raises ContractError naming an item whose vector is neither of unit length nor zero, as it is where the encoder knows nothing of a
    text."""
    sound = np.abs(np.einsum("nd,nd->n", vectors, vectors) - 1) < 2e-3  # nan is not
    bad = np.flatnonzero(~sound)
    bad = bad[vectors[bad].any(axis=1)]
    if len(bad):
        raise ContractError(
            f"the vector of item {members[int(bad[0])].as_py()[0]} is not of unit length, nor those of {len(bad) - 1} others",
            "delete them from item_vectors, see that embed.model is a working encoder, and run embed",
        )


def read(nodes: "pa.RecordBatch", reading: fusion.Reading) -> fusion.Items:
    """What is compared of NODE rows, whose vectors are float32. Raises ContractError where one is missing or unsound."""
    vectors = unpacked(nodes, 4 * reading.dimension).view("<f4")
    refuse_unsound(vectors, nodes["members"])
    return fusion.items(vectors, nodes, reading)


@dataclass(frozen=True)
class Block:
    """Nodes of one block: rows (n) with node, members, key and what else their CELL rows have; the kind (n,) of each; of the kinds, what is
    compared, and their sources where these matter."""

    rows: "pa.Table"
    kind: Rows
    compared: fusion.Items
    labels: Labels | None

    @property
    def name(self) -> str:
        return str(self.rows["block"][0])


def blocks(received: "list[pa.RecordBatch]", reading: fusion.Reading, across: bool, threads: int, narrow: bool) -> Iterator[Block]:
    """The blocks of one cell, by name, their nodes by name. Raises ContractError where a vector is missing or unsound."""
    import pyarrow as pa
    import pyarrow.compute as pc

    cell = pa.Table.from_batches(received)
    known = cell.drop_columns(["vector"]).append_column("node", pc.list_element(cell["members"], 0))
    order = pc.sort_indices(known, [(name, "ascending") for name in ("block", "node", "print")]).to_numpy().astype(np.int64)
    node = known["node"].take(order).to_numpy()
    once = np.concatenate([[True], node[1:] != node[:-1]])  # a text that two runs at once have stored comes twice
    order = order[once]
    known = known.take(order).combine_chunks()
    block, source = (known[name].combine_chunks().dictionary_encode().indices.to_numpy() for name in ("block", "source"))
    first, kind = _kinds(block, source, known["print"].to_numpy())
    vectors = _vectors(received, order[first], reading.dimension, narrow)
    received.clear()  # the vectors, as they came
    refuse_unsound(vectors, known["members"].take(first))
    compared = fusion.items(vectors, known.select(list(fusion.READ)).take(first), reading, threads)
    labels, known = source[first] if across else None, known.drop_columns(list(fusion.READ))
    del cell, vectors
    for start, stop in pairwise(np.searchsorted(block, np.arange(block[-1] + 2)).tolist()):
        kinds = np.arange(kind[start], kind[start:stop].max() + 1)
        yield Block(
            known.slice(start, stop - start),
            kind[start:stop] - kinds[0],
            compared[kinds] if len(kinds) < len(compared) else compared,
            None if labels is None else labels[kinds],
        )


def _vectors(batches: "list[pa.RecordBatch]", order: Rows, dimension: int, narrow: bool) -> Vectors:
    """(n, dimension) float32 of the rows of the batches that `order` names, in that order; each is copied once."""
    stored = [unpacked(batch, 4 + 2 * dimension if narrow else 4 * dimension) for batch in batches]
    place = np.full(sum(map(len, stored)), -1)
    place[order] = np.arange(len(order))
    found, start = np.empty((len(order), dimension), dtype=np.float32), 0
    for rows in stored:
        into = place[start : start + len(rows)]
        found[into[into >= 0]] = (cells.widened(rows) if narrow else rows.view("<f4"))[into >= 0]
        start += len(rows)
    return found


@dataclass(frozen=True)
class Pairs:
    """Pairs (p,) of a block: the item and its neighbour, both as places among the block's names; their VALUES (p, 6) float32."""

    item: Rows
    neighbour: Rows
    values: Vectors

    @property
    def similarity(self) -> Vectors:
        return self.values[:, 0]

    def __getitem__(self, rows: Rows | Flags) -> "Pairs":
        return Pairs(self.item[rows], self.neighbour[rows], self.values[rows])

    def followed_by(self, others: "Pairs") -> "Pairs":
        columns = ((getattr(self, field.name), getattr(others, field.name)) for field in fields(self))
        return Pairs(*(np.concatenate(both) for both in columns))


@dataclass(frozen=True)
class Named:
    """The items that nodes and kinds stand for: their ids, the node and the kind of each, and its place among the ids in their order."""

    names: "pa.Array"
    node: Rows
    kind: Rows
    place: Rows

    @classmethod
    def by(cls, rows: "pa.Table", kind: Rows) -> "Named":
        import pyarrow.compute as pc

        members = rows["members"].combine_chunks()
        names, node = members.flatten(), np.repeat(np.arange(len(rows)), members.value_lengths().to_numpy())
        return cls(names, node, kind[node], pc.rank(names).to_numpy().astype(np.int64))

    def lists(self, rows: "pa.Table", kind: Rows, near: fusion.Near, width: int) -> "pa.Table":
        """Of the rows, each of a kind, what is near that kind: see `block_search.search_block`."""
        import pyarrow as pa

        of_kinds = self._lists(self.pairs(np.arange(len(near.positions)), near, width), len(near.positions))
        lists = {column: lists.take(pa.array(kind)) for column, lists in of_kinds.items()}
        return pa.table({"key": rows["key"], "members": rows["members"]} | lists)

    def pairs(self, kinds: Rows, near: fusion.Near, width: int) -> Pairs:
        """Pairs of the kinds with the items that are near them, `width` each, nearest first, equal ones by id."""
        row, name, pair = cells.expanded(near.positions[kinds], near.similarities[kinds], self.kind, self.place, width)
        values = np.column_stack([near.similarities[kinds].ravel()[pair], near.parts[kinds].reshape(-1, len(PARTS))[pair]])
        return Pairs(kinds[row], name, values)

    def each(self, of_kinds: Pairs) -> Pairs:
        """Pairs of every item of the kinds."""
        order = np.argsort(self.kind, kind="stable")
        first = np.searchsorted(self.kind[order], np.arange(self.kind.max() + 2))
        begin, count = first[of_kinds.item], np.diff(first)[of_kinds.item]
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        of_items = of_kinds[np.repeat(np.arange(len(count)), count)]
        return Pairs(order[np.repeat(begin, count) + within], of_items.neighbour, of_items.values)

    def of_items(self, rows: "pa.Table", items: Rows, pairs: Pairs) -> "pa.Table":
        """The lists of the items, ascending places, one each: pairs of items in this order."""
        import pyarrow as pa

        bounds, names = pa.array(np.arange(len(items) + 1, dtype=np.int32)), self.names.take(pa.array(items))
        alone = pa.ListArray.from_arrays(bounds, names, type=rows["members"].type)
        lists = {column: lists.take(pa.array(items)) for column, lists in self._lists(pairs, len(self.names)).items()}
        return pa.table({"key": rows["key"].take(pa.array(self.node[items])), "members": alone} | lists)

    def _lists(self, pairs: Pairs, count: int) -> "dict[str, pa.ListArray]":
        """Neighbours and VALUES of `count` items or kinds, from their pairs in this order."""
        import pyarrow as pa

        bounds = pa.array(np.searchsorted(pairs.item, np.arange(count + 1)).astype(np.int32))
        columns = {"neighbours": self.names.take(pa.array(pairs.neighbour))}
        columns |= {name: pa.array(value, from_pandas=True) for name, value in zip(neighbour_list.VALUES, pairs.values.T, strict=True)}
        return {column: pa.ListArray.from_arrays(bounds, flat) for column, flat in columns.items()}

    def true(
        self, asked: list[tuple[int, str]], queries: Rows, best: npt.NDArray[np.int32], similarity: Vectors, k: int
    ) -> dict[str, Vectors]:
        """The k highest similarities of each sampled item, from the kinds near each of the queries (q, m) and their similarities."""
        import pyarrow as pa
        import pyarrow.compute as pc

        row, name, pair = cells.expanded(best, similarity, self.kind, self.place, k + 1)
        found: dict[str, Vectors] = {}
        for own, item in asked:
            mine = slice(*np.searchsorted(row, np.searchsorted(queries, own) + np.arange(2)))
            others = pc.not_equal(self.names.take(pa.array(name[mine])), item).to_numpy(zero_copy_only=False)
            found[item] = similarity.ravel()[pair[mine]][others][:k]
        return found


def _kinds(*columns: npt.NDArray[np.integer[Any]]) -> tuple[Rows, Rows]:
    """The first row of each kind, and the kind of each row: rows that are equal in all columns, numbered in the order of their first ones.
    Two texts may have one vector, as an encoder that knows no capitals gives them: searched once, and found in the order of their ids."""
    order = np.lexsort(columns)
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = np.any([column[order[1:]] != column[order[:-1]] for column in columns], axis=0)
    first, kind = order[fresh], np.empty(len(order), dtype=np.int64)
    kind[order] = np.argsort(np.argsort(first))[np.cumsum(fresh) - 1]
    return np.sort(first), kind
