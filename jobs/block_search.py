"""How one block, or one cell of it, is searched: candidates by their signatures, compared exactly, as many as the recall asks for."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jobs import fusion, measure
from jobs.block import Block, Labels, Named, Rows, Vectors
from jobs.kernel import NONE
from jobs.sections import Neighbours

if TYPE_CHECKING:
    import pyarrow as pa

    from jobs.pool import Workers

# Candidates whose similarities are computed exactly, times the neighbours that are kept: before a sweep; across labels, where a sweep adds
# nothing; and where a pilot sample shows that these were too few, MOST_CANDIDATES at most. So many are not searched for but found by
# comparing all signatures. Where the most were too few as well, all items are compared: 50 to 170 ns a pair of one core, five to fifteen
# times as long as their signatures.
BEFORE_SWEEP, ACROSS, FURTHER = 3, 4, (16, 64)
MOST_CANDIDATES = 1024  # 8 kB an item
SMALL = 256  # items of a block in which nothing is searched for: all are candidates
AT_ONCE = 16_384  # items that are compared with all others: more would need more memory than a cell is cut for
PILOT = 400  # items that a recall is judged by; at recall .95 the standard error is about half a per cent
ROUNDING = 1e-5  # between two ways to compute a similarity


@dataclass(frozen=True)
class Search:
    """How items are read and cells are searched: for which recall, such that at least what is promised is found, by how many threads each,
    and into how many parts what was found is packed. Vectors of the cells from `narrow` on are `cells.narrowed`. `asked` are the sampled
    items, by node, whose true neighbours the task is to find too."""

    how: Neighbours
    reading: fusion.Reading
    target_recall: float
    promised: float
    narrow: int
    threads: list[int]  # by cell
    parts: int
    asked: dict[str, list[str]]
    gpu: Callable[[], str | None] = lambda: None  # that of the task, as torch names it

    @property
    def kept(self) -> int:
        return self.how.k + self.how.slack


class Effort(NamedTuple):
    """What finding the neighbours of a block took: rounds of leaves (0 where all was compared with all), candidates of each node (0 where
    all of a small block were), their recall on a pilot sample, the precision of the signatures' products; whether its lists were carried
    on, and how many of items that have not changed had to be made anew all the same."""

    rounds: int = 0
    candidates: int = 0
    pilot_recall: float = 1.0
    precision: str = ""
    carried: int = 0
    refilled: int = 0

    @classmethod
    def of_all(cls, of: Iterable["Effort"]) -> "Effort":
        rounds, candidates, recalls, precisions, carried, refilled = zip(*of, strict=True)
        return cls(max(rounds), max(candidates), min(recalls), max(precisions), sum(carried), sum(refilled))


Found = tuple["pa.Table", Effort, dict[str, Vectors]]


def search_block(block: Block, search: Search, pool: "Workers") -> Found:
    """Of one block, or of one cell of it: the lists of its nodes, what finding them took, the sampled items' true similarities.

    Lists: key and members of a node; neighbours, the k + slack + 1 nearest items, own ones among them, equal ones by id; their VALUES.
    """
    of, weights, every = block.compared, search.reading.weights, np.arange(len(block.compared))
    named = Named.by(block.rows, block.kind)
    asked, queries = asked_of(block, search)
    best, similarity = fusion.nearest_of(of, weights, queries, search.how.k, block.labels, pool)
    near, effort = _near(of, block.labels, search, pool)
    if block.labels is None:  # else no item of its own source counts, and those that read the same neither
        near = own_first(of, weights, every, near, pool)
        best = np.column_stack([near.positions[queries, 0], best])
        similarity = np.column_stack([near.similarities[queries, 0], similarity])
    lists = named.lists(block.rows, block.kind, near, search.kept + 1)
    return lists, effort, named.true(asked, queries, best, similarity, search.how.k)


def asked_of(block: Block, search: Search) -> tuple[list[tuple[int, str]], Rows]:
    """The sampled items of the block, each with its kind; these kinds, ascending."""
    nodes = block.rows["node"].to_pylist()
    asked = [(int(kind), item) for kind, node in zip(block.kind, nodes, strict=True) for item in search.asked.get(node, ())]
    return asked, np.unique(np.array([kind for kind, _ in asked], dtype=np.int64))


def own_first(of: fusion.Items, weights: Vectors, kinds: Rows, near: fusion.Near, pool: "Workers") -> fusion.Near:
    """The lists, those of the kinds after the kind itself: its other items are as near as may be."""
    own = np.full((len(of), 1), NONE, dtype=np.int32)
    own[kinds, 0] = kinds
    return fusion.settled(of, weights, kinds, own, 1, pool).before(near)


def _near(compared: fusion.Items, labels: Labels | None, search: Search, pool: "Workers") -> tuple[fusion.Near, Effort]:
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
    for wide in sorted({few, *(max(few, min(times * kept, MOST_CANDIDATES)) for times in FURTHER)}):
        met = knn.candidates(signatures, wide, **how)
        near = fusion.settled(compared, weights, met.order, met.positions, kept, pool)
        near = fusion.swept(compared, weights, met.order, near, labels, pool)
        recall = measure.mean_recall(list(near.similarities[pilot]), truth, search.how.k)
        if recall >= search.promised:
            return near, Effort(met.rounds, wide, recall, precision)
    parts = np.array_split(every, -(-len(compared) // AT_ONCE))
    closest = np.concatenate([fusion.nearest_of(compared, weights, part, kept + fusion.TIED, labels, pool)[0] for part in parts])
    return fusion.settled(compared, weights, every, closest, kept, pool), Effort(candidates=len(compared), precision=precision)
