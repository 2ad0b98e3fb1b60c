"""The true neighbours of a few sampled items, over a stream of everything they may be matched with.

A node is all the items that read the same (and, across sources, have one source): it is compared once and counts as often as it has items.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jobs import fusion

Vectors = npt.NDArray[np.float32]
Names = npt.NDArray[np.object_]


@dataclass(frozen=True)
class Sample:
    """Items (q,) with the node, block and source of each, as they are read, and the weights of their channels. `across`: its own source is
    no match for an item."""

    item_ids: Names
    nodes: Names
    blocks: Names
    sources: Names
    items: fusion.Items
    weights: Vectors
    across: bool

    def similarities(self, blocks: Names, sources: Names, others: fusion.Items) -> Vectors:
        """(q, n) similarities; -inf where the two may not be matched."""
        found = fusion.compared(self.items, others, self.weights)
        found[self.blocks[:, None] != blocks] = -np.inf
        if self.across:
            found[self.sources[:, None] == sources] = -np.inf
        return found


@dataclass(frozen=True)
class Nearest:
    """Rows (r,): the sampled item by its number, a node near it, their similarity, and how many items of the node count."""

    item: npt.NDArray[np.int32]
    node: Names
    similarity: Vectors
    copies: npt.NDArray[np.int32]

    def of(self, item: int, k: int) -> tuple[Names, Vectors]:
        """The nodes and the similarities of the item's k nearest items, falling."""
        mine = np.flatnonzero(self.item == item)
        mine = mine[np.argsort(-self.similarity[mine], kind="stable")]
        copies = self.copies[mine]
        return np.repeat(self.node[mine], copies)[:k], np.repeat(self.similarity[mine], copies)[:k]


def nearest(sample: Sample, batches: Iterator[tuple[Names, Names, Names, npt.NDArray[np.int32], fusion.Items]], k: int) -> Nearest:
    """The k nearest items of each sampled one, from batches of (node, block, source, items of the node, what is compared)."""
    count = len(sample.item_ids)
    kept = Nearest(np.empty(0, np.int32), np.empty(0, object), np.empty(0, np.float32), np.empty(0, np.int32))
    bar = np.full(count, -np.inf, dtype=np.float32)  # the k-th similarity so far: what is below cannot count
    for nodes, blocks, sources, items, compared in batches:
        similarities = sample.similarities(blocks, sources, compared)
        most = min(k + 1, similarities.shape[1])  # nodes: each has an item, the sampled one's own perhaps no other
        best = np.argpartition(-similarities, most - 1, axis=1)[:, :most]
        row, place = np.nonzero(np.take_along_axis(similarities, best, axis=1) > bar[:, None])
        column = best[row, place]
        copies = np.minimum(items[column] - (sample.nodes[row] == nodes[column]), k).astype(np.int32)  # an item is not its own neighbour
        row, column, copies = row[copies > 0], column[copies > 0], copies[copies > 0]
        kept = Nearest(
            np.concatenate([kept.item, row.astype(np.int32)]),
            np.concatenate([kept.node, nodes[column]]),
            np.concatenate([kept.similarity, similarities[row, column]]),
            np.concatenate([kept.copies, copies]),
        )
        order = np.lexsort((kept.node, -kept.similarity, kept.item))
        before = np.cumsum(kept.copies[order]) - kept.copies[order]
        first = np.searchsorted(kept.item[order], kept.item[order])
        within = before - before[first]  # items of the same sampled one that are nearer
        order = order[within < k]
        kept = Nearest(kept.item[order], kept.node[order], kept.similarity[order], kept.copies[order])
        held = np.bincount(kept.item, weights=kept.copies, minlength=count)
        last = np.full(count, np.inf, dtype=np.float32)
        np.minimum.at(last, kept.item, kept.similarity)
        bar = np.where(held >= k, last, -np.inf)
    return kept
