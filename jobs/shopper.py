"""Who shops at the generated shop, what he likes, and what he does there on a day.

A shopper likes a few kinds of product of two departments, of each a few brands and families. A visit is about one kind: some products are
looked at, some of these put into the basket, and of these some bought. Now and then two products that do for one another are compared, and
of what is out of stock a substitute is taken, if there is one; with half of a bundle the other half is often bought. New products are found
by those who like their kind, from their first day on.

A taste is a function of (seed, user), a visit of (seed, user, day, number): the same in every process, however many others there are.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Literal

from jobs.chance import draw, pick
from jobs.shelf import LUCK, Shelves, kind_of

Action = Literal["view", "cart", "purchase"]

KINDS = 4  # that a shopper likes, less with each: 4 visits are about the first while 1 is about the last
BRANDS = 2  # of each
FAMILIES = 2  # of each
CURIOUS = 0.15  # looks that go to anything, by popularity
NEW = 0.2  # looks for what has been listed in the last NEW_DAYS, where there is any
NEW_DAYS = 7
FAITHFUL = 0.2  # looks at a family that he likes
BRANDED = 0.6  # looks at a brand that he likes; the others go to the kind
TRIES = 4  # what is gone is passed by for something else
LOOKS = 5  # at most, from 1, each as often
COMPARED = 0.25  # looks at what has a substitute
CARTED = 0.35
BOUGHT = 0.5  # of what is in the basket
BUNDLED = 0.4  # purchases of the first of a bundle that come with the second
EVENTS = 5.0  # of a visit, in the mean: measured, since it depends on how much can be compared
DAY = 86_400  # seconds


@dataclass(frozen=True)
class Liking:
    """A kind of product, by its position in the vocabulary, the brands liked of it, and one sibling of each family."""

    kind: int
    brands: tuple[int, ...]
    families: tuple[int, ...]


@dataclass(frozen=True)
class Taste:
    likings: tuple[Liking, ...]


@dataclass(frozen=True)
class Day:
    """How many products the shop has ever listed, how many NEW_DAYS before, those gone, the second of each bundle's first, and
    what is out of stock."""

    listed: int
    listed_before: int
    gone: frozenset[int]
    bundles: dict[int, int]
    is_out: Callable[[int], bool] = lambda ordinal: False


@dataclass(frozen=True, slots=True)
class Event:
    action: Action
    ordinal: int
    second: int  # of the day
    quantity: int  # 0 of a view


def taste(seed: int, user: int, shelves: Shelves, first: int) -> Taste:
    """Of the `first` products, which were there on the first day."""
    chance = Random(f"{seed} taste {user}")
    anchors = [shelves.of[()].drawn(chance, first) or 0 for _ in range(2)]
    departments = dict.fromkeys(kind_of(shelves.kinds[anchor]).department.prefix for anchor in anchors)
    kinds = [kind for department in departments for kind in shelves.departments[department] if shelves.of[kind,].ordinals[0] < first]
    return Taste(tuple(_liking(chance, kind, shelves, first) for kind in chance.sample(kinds, min(KINDS, len(kinds)))))


def _liking(chance: Random, kind: int, shelves: Shelves, first: int) -> Liking:
    brands = tuple(chance.sample(range(len(kind_of(kind).department.brands)), BRANDS))
    met = (_of_brand(chance, shelves, kind, pick(chance, brands), first) for _ in range(FAMILIES))
    return Liking(kind, brands, tuple(ordinal for ordinal in met if ordinal is not None))


def _of_brand(chance: Random, shelves: Shelves, kind: int, brand: int, listed: int) -> int | None:
    return shelves.of[kind, brand].drawn(chance, listed) if (kind, brand) in shelves.of else None


def visits(seed: int, user: int, night: int, mean: float) -> int:
    """How often a shopper comes on a day, when all together come `mean` times each; few of them come very often."""
    luck = (1 + draw(f"{seed} activity {user}", LUCK)) / LUCK
    return int(mean * 0.6 * max(luck, 1e-5) ** -0.4 + draw(f"{seed} day {night} {user}", LUCK) / LUCK)  # 0.6: the mean becomes 1


def visit(key: str, by: Taste, shelves: Shelves, day: Day) -> list[Event]:
    """What is done in the visit of that key, in its order; purchases, all at once, come last."""
    chance = Random(key)
    second = int(chance.triangular(6, 23.5, 20) * 3600)
    events, basket = list[Event](), dict[int, int]()

    def do(action: Action, ordinal: int, quantity: int = 0) -> None:
        events.append(Event(action, ordinal, min(DAY - 1, second), quantity))

    def put(ordinal: int) -> None:
        basket[ordinal] = 1 if chance.random() < 0.85 else 2
        do("cart", ordinal, basket[ordinal])

    for ordinal in _looks(chance, by, shelves, day):
        second += 10 + int(chance.random() * 80)
        do("view", ordinal)
        if chance.random() < CARTED:
            ordinal = _compared(chance, shelves, day, ordinal, lambda other: do("view", other))
            if ordinal not in basket and not day.is_out(ordinal):
                put(ordinal)
    bought = [ordinal for ordinal in basket if chance.random() < BOUGHT]
    for ordinal in bought[:]:
        other = day.bundles.get(ordinal)
        if other is not None and other not in basket and other not in day.gone and not day.is_out(other) and chance.random() < BUNDLED:
            do("view", other)
            put(other)
            bought.append(other)
    second += 60
    for ordinal in bought:
        do("purchase", ordinal, basket[ordinal])
    return events


def _looks(chance: Random, by: Taste, shelves: Shelves, day: Day) -> Iterator[int]:
    """What is looked at; no product that is gone."""
    weighed = [liking for place, liking in enumerate(by.likings) for _ in range(KINDS - place)]
    liking = pick(chance, weighed)
    for _ in range(1 + int(chance.random() * LOOKS)):
        wanted = (_wanted(chance, liking, shelves, day) for _ in range(TRIES))
        yield from islice((ordinal for ordinal in wanted if ordinal is not None and ordinal not in day.gone), 1)


def _wanted(chance: Random, liking: Liking, shelves: Shelves, day: Day) -> int | None:
    if chance.random() < CURIOUS:
        return shelves.of[()].drawn(chance, day.listed)
    if chance.random() < NEW:
        fresh = _branded(chance, liking, shelves, day, day.listed_before)
        if fresh is not None:
            return fresh
    if liking.families and chance.random() < FAITHFUL:
        return pick(chance, shelves.siblings(pick(chance, liking.families), day.listed))
    return _branded(chance, liking, shelves, day, 0)


def _branded(chance: Random, liking: Liking, shelves: Shelves, day: Day, since: int) -> int | None:
    """Of a brand that he likes, more often than not, else of the kind."""
    key = (liking.kind, pick(chance, liking.brands)) if chance.random() < BRANDED else (liking.kind,)
    found = shelves.of[key].drawn(chance, day.listed, since) if key in shelves.of else None
    return shelves.of[liking.kind,].drawn(chance, day.listed, since) if found is None else found


def _compared(chance: Random, shelves: Shelves, day: Day, ordinal: int, look: Callable[[int], None]) -> int:
    """The one that is taken, of the product and one that does for it, if they are compared: what is out of stock always is."""
    is_out = day.is_out(ordinal)
    others = [other for other in shelves.substitutes(ordinal) if other < day.listed and other not in day.gone and not day.is_out(other)]
    if not others or (chance.random() >= COMPARED and not is_out):
        return ordinal
    other = pick(chance, others)
    look(other)
    return other if is_out or chance.random() < 0.5 else ordinal
