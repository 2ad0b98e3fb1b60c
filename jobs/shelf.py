"""What stands on the generated shop's shelves: its products by kind and brand, how popular each one is, and what replaces it.

Products are ordinals, in the order in which the shop has come to list them: those that were listed by some night are the first ones of
every shelf. About 20 bytes a product, and 30 µs to put it there.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from jobs.assortment import Product
from jobs.chance import draw
from jobs.dialect import SHOP
from jobs.offer import product_at
from jobs.vocabulary import Kind, vocabulary

SKEW = 0.8  # the product of rank r sells r^-SKEW as well as the first one, as in Zipf's law
BEST = 500  # times what sells least: no product is so lucky that a shop lives on it
LUCK = 2**32
REPLACEABLE = frozenset(  # axes: colours, amounts and packs; on all others two products have to be equal to do for one another
    ("colour", "shade", "weight", "volume", "millilitres", "bags", "tablets", "feed", "kilograms", "pack", "edition")
)
DEARER = 2  # times the price: more is not paid for the same use


@dataclass(frozen=True)
class Shelf:
    """Ordinals, ascending, and the sums of their popularities up to each."""

    ordinals: "array[int]"
    sums: "array[float]"

    def best(self, count: int, listed: int) -> list[int]:
        """The most popular of those before `listed`."""
        end = bisect_left(self.ordinals, listed)
        popularity = [after - before for before, after in zip([0.0, *self.sums[: end - 1]], self.sums[:end], strict=True)] if end else []
        return [self.ordinals[at] for at in sorted(range(end), key=lambda at: -popularity[at])[:count]]

    def add(self, ordinal: int, popularity: float) -> None:
        self.ordinals.append(ordinal)
        self.sums.append(popularity + (self.sums[-1] if self.sums else 0.0))

    def drawn(self, chance: Random, listed: int, since: int = 0) -> int | None:
        """One by popularity, of those from ordinal `since` to before `listed`; None where there is none."""
        first, end = bisect_left(self.ordinals, since), bisect_left(self.ordinals, listed)
        if first == end:
            return None
        below = self.sums[first - 1] if first else 0.0
        at = bisect_right(self.sums, below + chance.random() * (self.sums[end - 1] - below), first, end - 1)
        return self.ordinals[at]


def empty() -> Shelf:
    return Shelf(array("i"), array("d"))


@dataclass(frozen=True)
class Shelves:
    """`of` has a shelf for everything (), each kind (kind,) and each of its brands (kind, brand), by their positions in the vocabulary.
    departments: the kinds of each, by its prefix. kinds, families: the kind of each product, and the first of its siblings.
    replacing[bounds[i]:bounds[i + 1]]: what does for product i."""

    of: dict[tuple[int, ...], Shelf]
    departments: dict[str, list[int]]
    kinds: "array[int]"
    families: "array[int]"
    bounds: "array[int]"
    replacing: "array[int]"

    def siblings(self, ordinal: int, listed: int) -> Sequence[int]:
        """Of its family, by that time, itself among them."""
        first = self.families[ordinal]
        return range(first, bisect_right(self.families, first, first, listed))

    def substitutes(self, ordinal: int) -> Sequence[int]:
        return self.replacing[self.bounds[ordinal] : self.bounds[ordinal + 1]]


def kind_of(position: int) -> Kind:
    return vocabulary().kinds[position]


def stocked(seed: int, count: int) -> Shelves:
    """The first `count` products that the shop lists."""
    of = defaultdict[tuple[int, ...], Shelf](empty)
    shelves = Shelves(of, {}, array("h"), array("i"), array("q", [0]), array("i"))
    places = {id(kind): place for place, kind in enumerate(vocabulary().kinds)}
    for first, family in _families(seed, count):
        kind = family[0].family.kind
        place, brand = places[id(kind)], kind.department.brands.index(family[0].family.brand)
        for ordinal, product in enumerate(family, start=first):
            popularity = min(BEST, ((1 + draw(f"{seed} popularity {ordinal}", LUCK)) / LUCK) ** -SKEW)
            for key in ((), (place,), (place, brand)):
                of[key].add(ordinal, popularity)
            shelves.kinds.append(place)
            shelves.families.append(first)
            shelves.replacing.extend(first + at for at, other in enumerate(family) if _replaces(other, product))
            shelves.bounds.append(len(shelves.replacing))
    of.default_factory = None
    for place in sorted(key[0] for key in of if len(key) == 1):
        shelves.departments.setdefault(kind_of(place).department.prefix, []).append(place)
    return shelves


def _families(seed: int, count: int) -> Iterator[tuple[int, list[Product]]]:
    """Siblings as the shop lists them, and the ordinal of the first."""
    family: list[Product] = []
    for ordinal in range(count):
        product = product_at(SHOP, seed, ordinal)
        if family and product.family is not family[0].family:
            yield ordinal - len(family), family
            family = []
        family.append(product)
    if family:
        yield count - len(family), family


def _replaces(other: Product, product: Product) -> bool:
    if other.rank == product.rank or max(other.cents, product.cents) > DEARER * min(other.cents, product.cents):
        return False
    mine, theirs = (some.family.variants[some.rank] for some in (product, other))
    axes = product.family.kind.axes
    return all(axis in REPLACEABLE or one is another for axis, one, another in zip(axes, mine, theirs, strict=True))
