"""The lists of a night before, carried on in one block: what still holds of them, and what new neighbours add to them.

What an item is matched with is decided by what is read of it. The items that are read otherwise than in the night before, and new ones, are
compared with everything they may be matched with: that gives their own lists, and tells in whose lists they belong. Items that are gone
leave the lists they were in.

A list is the beginning of all that its item could be matched with, in the order of similarity. So of new neighbours only those count that
come before its old end: beyond it there may be others, which nobody has kept. k + slack are kept, and a list that has become shorter than k
is made anew, by comparing its item with everything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.neighbour_list import VALUES

Rows = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

COMPLETE = -2.0  # floor of a list that has all there is: below every similarity


@dataclass(frozen=True)
class Since:
    """What has changed since the night whose lists are carried on: the ids of items that are new or read otherwise, and how many items it
    had, by block and source. A block in which more than this share would have to be compared with everything is searched anew."""

    changed: pa.Array
    items: Mapping[str, Mapping[str, int]]
    share: float


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
class Carried:
    """The lists as they were: pairs of items of the block, whose neighbours may be others, with places after those of the names; whether
    the neighbour is gone, or read otherwise; the rank of every id, by place."""

    pairs: Pairs
    gone: Flags
    rank: Rows

    @classmethod
    def of(cls, old: pa.Table, names: pa.Array, changed: Flags) -> "Carried":
        """old: item_id (of the names), neighbour_id, VALUES. changed (names,): whether the item is new or read otherwise."""
        items, neighbours = (old[name].combine_chunks() for name in ("item_id", "neighbour_id"))
        item, neighbour = pc.index_in(items, names).to_numpy().astype(np.int64), pc.index_in(neighbours, names)
        others = neighbours.filter(neighbour.is_null()).dictionary_encode()
        known = neighbour.is_valid().to_numpy(zero_copy_only=False)
        place = neighbour.fill_null(0).to_numpy().astype(np.int64)
        place[~known] = len(names) + others.indices.to_numpy()
        values = np.column_stack([old[name].to_numpy() for name in VALUES]).astype(np.float32)
        rank = pc.rank(pa.concat_arrays([names, others.dictionary])).to_numpy().astype(np.int64)
        return cls(Pairs(item, place, values), np.append(changed, np.ones(len(others.dictionary), dtype=bool))[place], rank)

    def ends(self, could_then: Rows, could: Rows, k: int, kept: int) -> tuple[Flags, Vectors]:
        """Of each item (n,): whether its list has to be made anew; the similarity from which on new neighbours count.

        could_then, could (n,): how many others it could be matched with, then and now.
        """
        pairs, lost = (np.bincount(item, minlength=len(could)) for item in (self.pairs.item, self.pairs.item[self.gone]))
        floor = np.full(len(could), np.inf, dtype=np.float32)
        np.minimum.at(floor, self.pairs.item, self.pairs.similarity)
        floor[(pairs == 0) | ((pairs == could_then) & (could_then < kept))] = COMPLETE
        return pairs - lost < np.minimum(could, k), floor

    def with_new(self, new: Pairs, floor: Vectors, kept: int) -> Pairs:
        """The pairs that are not gone, and of the new ones those that come before the end of their list, nearest first: `kept` an item."""
        both = self.pairs.followed_by(new)
        order = np.lexsort((self.rank[both.neighbour], -both.similarity, both.item))
        old, item = order < len(self.gone), both.item[order]
        end = np.full(len(floor), -1)
        np.maximum.at(end, item[old], np.flatnonzero(old))
        known = np.append(~self.gone, np.ones(len(new.item), dtype=bool))[order]
        known &= (np.arange(len(order)) <= end[item]) | (floor == COMPLETE)[item]
        found = both[order[known]]
        return found[np.arange(len(found.item)) - np.searchsorted(found.item, found.item) < kept]
