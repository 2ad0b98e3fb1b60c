"""How likely whoever cares for one item cares for another: by what people did, and where little is known of that, by what items are like.

Of two items that many know, what is cared for together tells more than what looks alike; of a new one nothing is known but what it is like.
All begins with the cosine of how much each user cares for two items (Sarwar, Karypis, Konstan and Riedl, 2001),

    cosine = together / (length · length)        together: Σ over users of care for one · care for the other

but the length of an item is the one it would come to had it been there for all time: of something a week old few people can have cared for
what they will, and a cosine as it stands would keep it down for that.

What the likeness of a *linked* pair promises is learnt from all linked pairs: how many times as often as by their popularity alone those
are cared for together that are about as similar. Against it stands what was seen, by the Gamma-Poisson shrinker (DuMouchel, 1999):

    cosine = promised · (prior + together) / (prior + expected)        expected: what the promise comes to among those who had the time

Of a new item it is what was promised, of an old one what was seen. Pairs that are not linked are promised nothing: their cosine counts by
the evidence of the item that fewer know. In the end

    affinity of another for an item = cosine · √(popularity of the other / popularity of the item)

is the share of those who care for the item that care for the other: the conditional probability of Deshpande and Karypis (2004). `evidence`
is in purchases of today.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from jobs import relevance
from jobs.graph import Graph, Values, of_pairs
from jobs.interest import Interests, by_item
from jobs.kernel import NONE

Numbers = npt.NDArray[np.float64]

PRIOR = 0.5  # people who care for both that are to be expected before what was seen tells as much as the promise
DOUBT = 5.0  # purchases of which an item that is not linked counts half
BESIDE = 50  # others of an item beside the linked ones: those that are best by what people did
LONGEST = 1000  # items of a user that are paired: beyond, it is a reseller or a robot, and the work grows with the square
BINS = 20  # of linked pairs, by similarity, each with as much to be expected by popularity alone
FRESH = 0.25  # of the longest exposure: what has been there for less is compared with its like
ITEMS_AT_ONCE = 2048  # of one thread's turn

_NO_PAIRS = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32)


def affinities(
    of: Interests,
    links: Graph,
    exposure: Numbers,
    *,
    prior: float = PRIOR,
    doubt: float = DOUBT,
    beside: int = BESIDE,
    threads: int = 1,
) -> Graph:
    """In the row of each item, the affinity for it of all it is linked with, and of those others that are best by what people did.

    of: what users care for among the n items of `links`, whose values are similarities from 0 to 1. exposure (n,): for how much of the time
    that counts each item has been there, above 0 (`interest.exposure`). Raises ValueError where these are not of the same items, and for a
    prior or a doubt that is not above 0.
    """
    _check(of, links, exposure, prior, doubt)
    of = _without_the_longest(of)
    evidence = _evidence(of, len(links))
    lengths, rates = np.sqrt(evidence * exposure), np.sqrt(_popularity(evidence, exposure))
    together, others = _together(of, links, evidence, lengths, doubt, beside, threads)
    room = lengths[links.rows] * lengths[links.items]
    likely = promised(links.values, together, room, rates[links.rows] * rates[links.items])
    mixed = (likely * (prior + together) / (prior + likely * room)).astype(np.float32)
    ones, items, values = (
        np.concatenate(both) for both in ((links.rows, others.rows), (links.items, others.items), (mixed, others.values))
    )
    return of_pairs(ones, items, (values * (rates[items] / rates[ones])).astype(np.float32), len(links))


def cosines(of: Interests, count: int, *, doubt: float = DOUBT, beside: int = BESIDE, threads: int = 1) -> Graph:
    """In the row of each of `count` items those best by what people did alone: cosines as they stand, that count by the evidence of
    the item that fewer know."""
    of, nothing = _without_the_longest(of), of_pairs(*_NO_PAIRS, count)
    evidence = _evidence(of, count)
    return _together(of, nothing, evidence, np.sqrt(evidence), doubt, beside, threads)[1]


def promised(similarities: Values, together: Values, room: Numbers, popularity: Numbers) -> Numbers:
    """(p,) the cosines to be expected of pairs as similar and as popular as these, never falling as similarity rises.

    room: what `together` is divided by in a cosine. Where fewer than BINS people care for both of any pair, the similarities.
    """
    if together.sum() < BINS:
        return similarities.astype(np.float64)
    alone = room * popularity
    order = np.argsort(similarities, kind="stable")
    share = np.cumsum(alone[order]) / alone.sum()
    cuts = np.unique(similarities[order[np.searchsorted(share, np.arange(1, BINS) / BINS)]])
    bins = np.searchsorted(cuts, similarities, side="right")  # those equally similar share one
    total = np.bincount(bins, alone)
    filled = total > 0
    similar, lift = (np.bincount(bins, part)[filled] / total[filled] for part in (alone * similarities, together))
    return np.interp(similarities, similar, np.maximum.accumulate(lift)) * popularity


def _popularity(evidence: Numbers, exposure: Numbers) -> Numbers:
    """(n,) the evidence there would be with all time, above 0. What the mean item of its age has counts as one purchase more, and is all
    that is known of one that nobody had the time to care for: what is new draws people by being new."""
    if not evidence.any():
        return np.ones(len(evidence))
    usual = np.full(len(evidence), evidence.sum() / exposure.sum())
    fresh = exposure < FRESH * exposure.max()
    if evidence[fresh].sum() >= BINS:
        usual[fresh] = evidence[fresh].sum() / exposure[fresh].sum()
    return (evidence + 1) / (exposure + 1 / usual)


def _without_the_longest(of: Interests) -> Interests:
    lengths = np.diff(of.bounds)
    kept = lengths <= LONGEST
    bounds = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(np.where(kept, lengths, 0))])
    return Interests(bounds, of.items[np.repeat(kept, lengths)], of.values[np.repeat(kept, lengths)])


def _evidence(of: Interests, count: int) -> Numbers:
    return np.bincount(of.items, of.values.astype(np.float64) ** 2, count).astype(np.float64)


def _together(
    of: Interests, links: Graph, evidence: Numbers, lengths: Numbers, doubt: float, beside: int, threads: int
) -> tuple[Values, Graph]:
    """How much the linked pairs are cared for together, and the best others of each item.

    These stand in its own row alone: nearly everything is bought together with what everybody buys, whose row would hold nearly everything.
    """
    known = np.zeros(len(links.items), dtype=np.float32)
    others, found = np.full((len(links), beside), NONE, dtype=np.int32), np.zeros((len(links), beside), dtype=np.float32)
    people, users, pairs = ((some.bounds, some.items, some.values) for some in (of, by_item(of, len(links)), links))

    def compute(start: int) -> None:
        stop = min(len(links), start + ITEMS_AT_ONCE)
        relevance.together(people, users, pairs, evidence, lengths, doubt, start, stop, known, others, found)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(compute, range(0, len(links), ITEMS_AT_ONCE)))
    rows, places = np.nonzero(others != NONE)
    return known, of_pairs(rows.astype(np.int32), others[rows, places], found[rows, places], len(links))


def _check(of: Interests, links: Graph, exposure: Numbers, prior: float, doubt: float) -> None:
    if not (prior > 0 and doubt > 0):
        raise ValueError(f"expected a prior and a doubt above 0, found {prior} and {doubt}")
    if len(exposure) != len(links) or not (exposure > 0).all():
        raise ValueError(f"expected the exposure of {len(links):,} items, all above 0, found {int((exposure > 0).sum()):,} such")
    if len(of.items) and not 0 <= int(of.items.min()) <= int(of.items.max()) < len(links):
        raise ValueError(f"expected items from 0 to {len(links) - 1}, found {of.items.min()} to {of.items.max()}")
