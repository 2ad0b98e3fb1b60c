"""What to recommend to whom, from what each user cares for and which items please the same people.

    score of an item = Σ over what the user cares for: how much · affinity

(item-based top-N: Deshpande and Karypis, 2004). Each recommendation names the item that contributed most, so that it explains itself. A
list is made diverse by maximal marginal relevance (Carbonell and Goldstein, 1998): of the best, one after the other that which is best by

    balance · score / best score - (1 - balance) · similarity with the nearest that is in the list already

Whoever is not known, or whose list is short, gets what is popular.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jobs import relevance
from jobs.graph import Bounds, Graph, Positions, Values
from jobs.interest import Interests
from jobs.kernel import NONE
from jobs.relevance import HISTORY, POPULAR

KINDS = {HISTORY: "history", POPULAR: "popular"}
DEPTH = 5  # times the length of a list: how many of the best it is chosen among
USERS_AT_ONCE = 2048  # of one thread's turn


@dataclass(frozen=True)
class Owned:
    """n users: what user u is not to be recommended again, `items[bounds[u]:bounds[u + 1]]`."""

    bounds: Bounds
    items: Positions


@dataclass(frozen=True)
class Recommendations:
    """Lists (users, k), best first: positions int32, NONE beyond the end; scores float32, 0 of what is only popular; reasons int32, the
    item that contributed most, NONE of what is only popular; kinds int8, one of KINDS."""

    positions: Positions
    scores: Values
    reasons: Positions
    kinds: npt.NDArray[np.int8]


def recommended(
    of: Interests,
    affinities: Graph,
    alike: Graph,
    owned: Owned,
    available: npt.NDArray[np.bool_],
    popular: Positions,
    k: int,
    *,
    balance: float,
    threads: int = 1,
) -> Recommendations:
    """The k best of every user of `of`, none that he owns or that is not available (n,); equal ones by position.

    affinities: what is recommended for what; alike: how similar items are, of pairs that are not in it 0; both of n items (`both_ways`).
    popular: positions, the most popular first. Raises ValueError where these are not of the same users and items, and for a balance that is
    not above 0 and at most 1.
    """
    _check(of, affinities, alike, owned, available, popular, balance)
    positions, reasons = (np.full((len(of), k), NONE, dtype=np.int32) for _ in range(2))
    scores, kinds = np.zeros((len(of), k), dtype=np.float32), np.full((len(of), k), POPULAR, dtype=np.int8)
    people, pairs, likes = ((some.bounds, some.items, some.values) for some in (of, affinities, alike))
    apart = owned.bounds, owned.items, available, popular

    def recommend(start: int) -> None:
        stop = min(len(of), start + USERS_AT_ONCE)
        relevance.recommend(people, pairs, likes, *apart, balance, DEPTH * k, start, stop, positions, scores, reasons, kinds)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(recommend, range(0, len(of), USERS_AT_ONCE)))
    return Recommendations(positions, scores, reasons, kinds)


def ranking(of: Interests, count: int) -> Positions:
    """Positions of those of `count` items that anyone cares for, the most popular first, equal ones by position."""
    totals = np.bincount(of.items, weights=of.values, minlength=count)
    order = np.argsort(-totals, kind="stable")
    return order[totals[order] > 0].astype(np.int32)


def _check(
    of: Interests, affinities: Graph, alike: Graph, owned: Owned, available: npt.NDArray[np.bool_], popular: Positions, balance: float
) -> None:
    if not 0 < balance <= 1:
        raise ValueError(f"expected a balance above 0, at most 1, found {balance}")
    if len(owned.bounds) != len(of.bounds):
        raise ValueError(f"expected what {len(of):,} users own, found that of {len(owned.bounds) - 1:,}")
    if not len(available) == len(affinities) == len(alike):
        raise ValueError(f"expected one number of items, found {len(available):,}, {len(affinities):,} and {len(alike):,}")
    for what, items in (("cared for", of.items), ("owned", owned.items), ("popular", popular)):
        if len(items) and not 0 <= int(items.min()) <= int(items.max()) < len(available):
            raise ValueError(f"expected items {what} from 0 to {len(available) - 1}, found {items.min()} to {items.max()}")
