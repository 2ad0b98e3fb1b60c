"""How likely two items please the same people: what people did, and where little is known of that what the items are like.

Of two items that many know, what is cared for together tells more than what looks alike; of a new one nothing is known but what it is like.
The *cosine* of two items is that of the vectors of how much each user cares for them (Sarwar, Karypis, Konstan and Riedl, 2001). What a
similarity promises is read off the pairs of items that are well known: the mean cosine of those about as similar. An affinity is between
the two, as a mean of a sample is in empirical Bayes (Efron and Morris, 1975):

    affinity = (m · cosine + prior · promised) / (m + prior)        m = evidence of the item of which less is known

The evidence of an item is the squared length of its vector: the number of its buyers, were there purchases of today alone. Both terms
are cosines, so a new item competes with old ones on one scale: it is not pushed down for what nobody has had the time to do.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from jobs import relevance
from jobs.graph import Graph, Values, of_pairs
from jobs.interest import Interests, by_item
from jobs.kernel import NONE

Evidence = npt.NDArray[np.float64]

PRIOR = 5.0  # buyers: as much as what an item is like is worth
BESIDE = 50  # others of an item beside the linked ones: those that are best by what people did
LONGEST = 1000  # items of a user that are paired: beyond, it is a reseller or a robot, and the work grows with the square
BINS = 20  # of linked pairs, by similarity, with as many in each
ITEMS_AT_ONCE = 2048  # of one thread's turn


def affinities(of: Interests, links: Graph, *, prior: float = PRIOR, beside: int = BESIDE, threads: int = 1) -> Graph:
    """The affinities of all linked pairs, both ways, and of each item with those others that are best for it by what people did.

    These stand in its own row alone: nearly everything is bought together with what everybody buys, whose row would hold nearly everything.
    of: what users care for among the items of `links`, whose values are similarities from 0 to 1. Raises ValueError for a prior that is
    not above 0, and for items that are not those of the links.
    """
    if not prior > 0:
        raise ValueError(f"expected a prior above 0, found {prior}")
    if len(of.items) and not 0 <= int(of.items.min()) <= int(of.items.max()) < len(links):
        raise ValueError(f"expected items from 0 to {len(links) - 1}, found {of.items.min()} to {of.items.max()}")
    of = _without_the_longest(of)
    evidence: Evidence = np.bincount(of.items, of.values.astype(np.float64) ** 2, len(links)).astype(np.float64)
    known, others, found = _cosines(of, links, evidence, prior, beside, threads)
    rarer: Evidence = np.minimum(evidence[links.rows], evidence[links.items])
    mixed = (rarer * known + prior * promised(links.values, known, rarer, prior)) / (rarer + prior)
    pairs = np.nonzero(others != NONE)
    return of_pairs(
        np.concatenate([links.rows, pairs[0].astype(np.int32)]),
        np.concatenate([links.items, others[pairs]]),
        np.concatenate([mixed.astype(np.float32), found[pairs]]),
        len(links),
    )


def promised(similarities: Values, cosines: Values, evidence: Evidence, prior: float) -> Evidence:
    """(p,) the cosine to be expected of pairs as similar as these: the mean of those well known, never falling as similarity rises.

    A pair counts by what its evidence is worth beside the prior. Where next to nothing is known, the similarity itself.
    """
    worth = evidence / (evidence + prior)
    if worth.sum() < BINS:
        return similarities.astype(np.float64)
    order = np.argsort(similarities, kind="stable")
    share = np.cumsum(worth[order]) / worth.sum()
    cuts = np.unique(similarities[order[np.searchsorted(share, np.arange(1, BINS) / BINS)]])
    bins = np.searchsorted(cuts, similarities, side="right")  # those equally similar share one
    total = np.bincount(bins, weights=worth, minlength=BINS)
    filled = total > 0
    mean = [np.bincount(bins, weights=worth * part, minlength=BINS)[filled] / total[filled] for part in (similarities, cosines)]
    return np.interp(similarities, mean[0], np.maximum.accumulate(mean[1]))


def _without_the_longest(of: Interests) -> Interests:
    lengths = np.diff(of.bounds)
    kept = np.repeat(lengths <= LONGEST, lengths)
    bounds = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(np.where(lengths <= LONGEST, lengths, 0))])
    return Interests(bounds, of.items[kept], of.values[kept])


def _cosines(
    of: Interests, links: Graph, evidence: Evidence, prior: float, beside: int, threads: int
) -> tuple[Values, npt.NDArray[np.int32], Values]:
    """See `relevance.cosines`."""
    known = np.zeros(len(links.items), dtype=np.float32)
    others, found = np.full((len(links), beside), NONE, dtype=np.int32), np.zeros((len(links), beside), dtype=np.float32)
    people, users, pairs = ((some.bounds, some.items, some.values) for some in (of, by_item(of, len(links)), links))

    def compute(start: int) -> None:
        stop = min(len(links), start + ITEMS_AT_ONCE)
        relevance.cosines(people, users, pairs, evidence, prior, start, stop, known, others, found)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(compute, range(0, len(links), ITEMS_AT_ONCE)))
    return known, others, found
