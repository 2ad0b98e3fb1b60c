"""What shoppers do at the generated shop, night after night, and the truth of it.

    feeds/<date>/interactions.csv   user, event (view, cart, purchase), item, time (UTC), order, quantity; one shopper after the other
    truth/tastes.csv                user, kind, how much of his visits are about it, brands and families that he likes of it
    truth/bundles.csv               item_id, with_id: products of two kinds of which the second is often bought with the first; how many
                                    orders have both, and the lift this has come to: P(both) / (P(one) · P(other)) of all orders
    truth/substitutes.csv           item_id, substitute_id: siblings that do for one another

Items in the feed are the shop's own ids, as the shop writes them; ids in the truth are the lake's item_ids,
of what can be published in the last night. A view has no order and no quantity.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path

from jobs.chance import draw
from jobs.csv_table import table
from jobs.dialect import SHOP
from jobs.history import deleted, listed
from jobs.offer import shop_id
from jobs.shelf import Shelves, kind_of, stocked
from jobs.shopper import EVENTS, KINDS, NEW_DAYS, Day, Taste, taste, visit, visits
from jobs.stock import left

COLUMNS = ("user", "event", "item", "time", "order", "quantity")
BUNDLES = 3  # of each kind, among its most popular products and another kind's


@dataclass(frozen=True)
class Orders:
    """How many there were, with each half of a bundle, and with both of each."""

    total: Counter[None] = field(default_factory=Counter)
    halves: Counter[int] = field(default_factory=Counter)
    both: Counter[tuple[int, int]] = field(default_factory=Counter)

    def add(self, items: set[int], bundles: dict[int, int]) -> None:
        self.total[None] += 1
        for one in items:
            self.halves[one] += 1
            if bundles.get(one) in items:
                self.both[one, bundles[one]] += 1

    def lift(self, one: int, other: int) -> float:
        """0 where either was never bought."""
        apart = self.halves[one] * self.halves[other]
        return self.both[one, other] * self.total[None] / apart if apart else 0.0


@dataclass(frozen=True)
class Traffic:
    """Of `users` who together do about `events` things a night, in the shop of that seed, with so many items on the first of `nights`."""

    seed: int
    items: int
    change: int  # parts per million a night
    nights: int
    users: int
    events: int

    @cached_property
    def shelves(self) -> Shelves:
        return stocked(self.seed, listed(self.items, self.change, self.nights - 1))

    @cached_property
    def bundles(self) -> dict[int, int]:
        """Products of the first night: the second of each first."""
        best = {kind: self.shelves.of[kind,].best(BUNDLES, self.items) for kinds in self.shelves.departments.values() for kind in kinds}
        found: dict[int, int] = {}
        for kind, ordinals in best.items():
            others = [other for other in self.shelves.departments[kind_of(kind).department.prefix] if other != kind and best[other]]
            for ordinal in ordinals if others else ():
                partners = best[others[draw(f"{self.seed} bundle {ordinal}", len(others))]]
                found[ordinal] = partners[draw(f"{self.seed} partner {ordinal}", len(partners))]
        return found

    def day(self, night: int) -> Day:
        return Day(
            listed(self.items, self.change, night),
            listed(self.items, self.change, max(0, night - NEW_DAYS)),
            frozenset(deleted(f"{self.seed} {SHOP.source}", self.items, self.change, night)),
            self.bundles,
            lambda ordinal: left(SHOP, self.seed, ordinal, night) == 0,
        )

    def taste(self, user: int) -> Taste:
        return taste(self.seed, user, self.shelves, self.items)

    def id(self, ordinal: int) -> str:
        return shop_id(self.seed, ordinal, kind_of(self.shelves.kinds[ordinal]).department.prefix)

    def done(self, night: int) -> Iterator[tuple[int, str, str, int, int, int]]:
        """User, order, event, ordinal, second of the day, quantity; one shopper after the other, his visits as they come."""
        day, mean = self.day(night), self.events / self.users / EVENTS
        for user in range(self.users):
            for number in range(visits(self.seed, user, night, mean)):
                order = f"O{night}-{user}-{number}"
                for event in visit(f"{self.seed} visit {night} {user} {number}", self.taste(user), self.shelves, day):
                    yield user, order, event.action, event.ordinal, event.second, event.quantity


def write_night(path: Path, traffic: Traffic, night: int, day: date, orders: Orders) -> int:
    """Writes the interactions of one night, and adds its orders. Returns how many interactions."""
    count, current, bought = 0, "", set[int]()
    with table(path, COLUMNS) as write:
        for user, order, action, ordinal, second, quantity in traffic.done(night):
            if order != current and bought:
                orders.add(bought, traffic.bundles)
                bought = set()
            current, count = order, count + 1
            if action == "purchase":
                bought.add(ordinal)
            time = f"{day}T{timedelta(seconds=second)!s:0>8}Z"
            write((_user(user), action, traffic.id(ordinal), time, order if quantity else "", str(quantity) if quantity else ""))
    if bought:
        orders.add(bought, traffic.bundles)
    return count


def write_truth(folder: Path, traffic: Traffic, orders: Orders, kept: bytes) -> None:
    """kept: of each product that was ever listed, whether it is published in the last night."""
    with table(folder / "tastes.csv", ("user", "department", "kind", "share", "brands", "families")) as tell:
        for user in range(traffic.users):
            for row in _told(traffic, traffic.taste(user)):
                tell((_user(user), *row))
    with table(folder / "bundles.csv", ("item_id", "with_id", "together", "lift")) as tell:
        for one, other in sorted(traffic.bundles.items()):
            if kept[one] and kept[other]:
                told = str(orders.both[one, other]), f"{orders.lift(one, other):.2f}"
                tell((_item_id(traffic, one), _item_id(traffic, other), *told))
    with table(folder / "substitutes.csv", ("item_id", "substitute_id")) as tell:
        for ordinal in (ordinal for ordinal, is_kept in enumerate(kept) if is_kept):
            for other in traffic.shelves.substitutes(ordinal):
                if kept[other]:
                    tell((_item_id(traffic, ordinal), _item_id(traffic, other)))


def _told(traffic: Traffic, by: Taste) -> Iterator[tuple[str, ...]]:
    total = sum(KINDS - place for place in range(len(by.likings)))
    for place, liking in enumerate(by.likings):
        kind = kind_of(liking.kind)
        brands = "|".join(kind.department.brands[brand] for brand in liking.brands)
        families = "|".join(_item_id(traffic, ordinal) for ordinal in dict.fromkeys(liking.families))
        yield kind.category[0], kind.name[0], f"{(KINDS - place) / total:.2f}", brands, families


def _user(number: int) -> str:
    return f"U{number:06d}"


def _item_id(traffic: Traffic, ordinal: int) -> str:
    return f"{SHOP.source}:{traffic.id(ordinal)}"
