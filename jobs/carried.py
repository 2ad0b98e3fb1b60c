"""The lists of a night before, carried on in one block: what still holds of them, and what new neighbours add to them.

What an item is matched with is decided by what is read of it. The items that are read otherwise than in the night before, and new ones, are
compared with everything they may be matched with: that gives their own lists, and tells in whose lists they belong. Items that are gone
leave the lists they were in.

A list is the beginning of all that its item could be matched with, in the order of similarity. So of new neighbours only those count that
come before its old end: beyond it there may be others, which nobody has kept. k + slack are kept, and a list that has become shorter than k
is made anew, by comparing its item with everything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs import fusion
from jobs.block import Block, Flags, Named, Pairs, Rows, Vectors
from jobs.block_search import ROUNDING, Effort, Found, Search, asked_of, own_first, search_block
from jobs.kernel import NONE
from jobs.neighbour_list import VALUES

if TYPE_CHECKING:
    from jobs.pool import Workers

COMPLETE = -2.0  # floor of a list that has all there is: below every similarity


@dataclass(frozen=True)
class Since:
    """What has changed since the night whose lists are carried on: the ids of items that are new or read otherwise, and how many items it
    had, by block and source. A block in which more than this share would have to be compared with everything is searched anew."""

    changed: pa.Array
    items: Mapping[str, Mapping[str, int]]
    share: float


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


def carry_block(block: Block, old: pa.Table, since: Since, search: Search, pool: "Workers") -> Found:
    """Of one block: the lists of all items, their old ones with what has changed since. Lists and true similarities as in `search_block`,
    which is what happens where too much has changed. old: see `Carried.of`."""
    kinds, k, kept = len(block.compared), search.how.k, search.kept
    named = Named.by(block.rows, block.kind)
    changed = pc.is_in(named.names, since.changed).to_numpy(zero_copy_only=False)
    carried = Carried.of(old, named.names, changed)
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
    asked, queries = asked_of(block, search)
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
        found = own_first(of, weights, queries, found, pool)
        best = np.column_stack([found.positions[queries, 0], best])
        true = np.column_stack([found.similarities[queries, 0], true])
    return found, named.true(asked, queries, best, true, search.how.k)


def _could(block: Block, named: Named, since: Since, across: bool) -> tuple[Rows, Rows]:
    """How many others each item of the block could be matched with, in the night before and now: see `nodes.others`."""
    sources, before = block.rows["source"].combine_chunks().dictionary_encode(), since.items.get(block.name, {})
    source = sources.indices.to_numpy()[named.node]
    now = np.bincount(source)
    then = np.array([before.get(its, 0) for its in sources.dictionary.to_pylist()])
    of_own = (then[source], now[source]) if across else (np.ones_like(source), np.ones_like(source))
    return sum(before.values()) - of_own[0], len(source) - of_own[1]
