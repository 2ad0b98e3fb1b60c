"""How much each user cares for which items, told by what he did with them and how long ago."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jobs.graph import Bounds, Positions, Values


@dataclass(frozen=True)
class Interests:
    """n users: user u cares for `items[bounds[u]:bounds[u + 1]]`, ascending, each once; values (links,) float32 above 0, at most 1."""

    bounds: Bounds
    items: Positions
    values: Values

    def __len__(self) -> int:
        return len(self.bounds) - 1


def interests(
    users: Positions,
    items: Positions,
    weights: Values,
    ages: npt.NDArray[np.floating],
    *,
    count: int,
    half_life: float,
) -> Interests:
    """What `count` users care for, of events (e,): who, what, the weight of the event's kind, its age in days.

    Weights halve with every half-life (exponential decay). Of several events of a user with one item the one that tells most counts: a
    purchase comes with its views. What decay leaves next to nothing of is left out. Raises ValueError for an event in the future, and for
    a user that is none of `count`.
    """
    if len(ages) and float(ages.min()) < 0:
        raise ValueError(f"expected events of the past, found one {-float(ages.min()):.2f} days ahead")
    if len(users) and not 0 <= int(users.min()) <= int(users.max()) < count:
        raise ValueError(f"expected users from 0 to {count - 1}, found {users.min()} to {users.max()}")
    values = (weights * np.exp2(-ages / half_life)).astype(np.float32)
    seen = np.flatnonzero(values > np.finfo(np.float32).tiny)
    order = seen[np.lexsort((-values[seen], items[seen], users[seen]))]
    users, items, values = users[order], items[order], values[order]
    first = np.append(True, (users[1:] != users[:-1]) | (items[1:] != items[:-1]))[: len(users)]
    bounds = np.searchsorted(users[first], np.arange(count + 1)).astype(np.int64)
    return Interests(bounds, items[first].astype(np.int32), values[first])


def exposure(days: npt.NDArray[np.floating], half_life: float) -> npt.NDArray[np.float64]:
    """(n,) what events of so many days weigh, as a share of those of all time, were there as many every day. Of an hour at least."""
    return np.asarray(1 - np.exp2(-np.maximum(days.astype(np.float64), 1 / 24) / half_life), dtype=np.float64)


def by_item(of: Interests, count: int) -> Interests:
    """The same the other way round: for each of `count` items the users that care for it."""
    users = np.repeat(np.arange(len(of), dtype=np.int32), np.diff(of.bounds))
    order = np.argsort(of.items, kind="stable")
    bounds = np.searchsorted(of.items[order], np.arange(count + 1)).astype(np.int64)
    return Interests(bounds, users[order], of.values[order])


def weights_of(kinds: npt.NDArray[np.str_], weights: Mapping[str, float]) -> Values:
    """(e,) float32 of events' kinds. Raises ValueError naming a kind that has no weight."""
    names, places = np.unique(kinds, return_inverse=True)
    if unknown := [str(name) for name in names if str(name) not in weights]:
        raise ValueError(f"expected events of the kinds {', '.join(weights)}, found {unknown[0]!r}")
    return np.array([weights[str(name)] for name in names], dtype=np.float32)[places]
