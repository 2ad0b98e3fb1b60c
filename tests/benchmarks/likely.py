"""What each generated shopper is most likely to look at, by his true taste: no recommendation can be right more often than by chance.

The probabilities are those of `jobs.shopper`, product by product; bundles and substitutes, which move few purchases, are left out.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jobs.shelf import Shelves
from jobs.shopper import BRANDED, CURIOUS, FAITHFUL, KINDS, NEW, Day, Liking, Taste
from jobs.taste import Owned
from jobs.traffic import Traffic

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Looks:
    """Probabilities (n,) of the next look of one shopper on one day."""

    shelves: Shelves
    day: Day
    likely: Numbers

    def at(self, key: tuple[int, ...], since: int, share: float) -> bool:
        """Adds a share that goes to a shelf, by popularity; False if nothing stands there."""
        shelf = self.shelves.of.get(key)
        if shelf is None:
            return False
        ordinals = np.frombuffer(shelf.ordinals, dtype=np.int32)
        first, stop = np.searchsorted(ordinals, (since, self.day.listed))
        if first == stop:
            return False
        popularity = np.diff(np.frombuffer(shelf.sums), prepend=0)[first:stop]
        self.likely[ordinals[first:stop]] += share * popularity / popularity.sum()
        return True

    def at_brands(self, liking: Liking, since: int, share: float) -> bool:
        parts = [((liking.kind, brand), BRANDED / len(liking.brands)) for brand in liking.brands] + [((liking.kind,), 1 - BRANDED)]
        found = [self.at(key, since, share * part) or self.at((liking.kind,), since, share * part) for key, part in parts]
        return all(found)

    def at_liking(self, liking: Liking, share: float) -> None:
        usual = share - (NEW * share if self.at_brands(liking, self.day.listed_before, NEW * share) else 0)
        for family in liking.families:
            siblings = self.shelves.siblings(family, self.day.listed)
            self.likely[siblings] += usual * FAITHFUL / len(liking.families) / len(siblings)
        self.at_brands(liking, 0, usual * (1 - FAITHFUL if liking.families else 1))


def looks(by: Taste, shelves: Shelves, day: Day, count: int) -> Numbers:
    found = Looks(shelves, day, np.zeros(count))
    found.at((), 0, CURIOUS)
    total = sum(KINDS - place for place in range(len(by.likings)))
    for place, liking in enumerate(by.likings):
        found.at_liking(liking, (1 - CURIOUS) * (KINDS - place) / total)
    return found.likely


def best(
    traffic: Traffic, night: int, users: npt.NDArray[np.int32], owned: Owned, on_sale: npt.NDArray[np.bool_], k: int
) -> npt.NDArray[np.int64]:
    """(users, k) positions of what each is most likely to look at next, none that he owns or that is not on sale."""
    day, found = traffic.day(night), np.empty((len(users), k), dtype=np.int64)
    for place, user in enumerate(users.tolist()):
        likely = np.where(on_sale, looks(traffic.taste(user), traffic.shelves, day, len(on_sale)), 0)
        likely[owned.items[owned.bounds[place] : owned.bounds[place + 1]]] = 0
        found[place] = np.argsort(-likely, kind="stable")[:k]
    return found
