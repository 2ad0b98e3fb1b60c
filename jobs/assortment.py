"""What products exist: families of near-identical siblings, each product a function of the seed and its number alone.

Numbers come in blocks. A block is computed whole (about 0.2 ms) and the last few are kept, so a catalogue of any size is read through
without holding it. How a source lists a product does not belong here. A language is a position in `vocabulary.LANGUAGES`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from jobs.chance import pick
from jobs.vocabulary import Kind, Option, Words, vocabulary

BLOCK = 22  # numbers: 17 the shop's alone, 3 of both sources, 2 the market's alone
SHOP_SLOTS = 20
MARKET_SLOTS = 5  # a quarter of the shop's
SHARED_SLOTS = 3  # 60 % of the market's
JOINTS = (" – ", ", ", " ")  # between a title's name and its variant

_FAMILY_SIZES = (1, 2, 3, 4, 5, 6, 8, 10)
_ENDINGS = (99, 95, 49, 90)  # cents


@dataclass(frozen=True, eq=False, slots=True)
class Family:
    """What siblings share."""

    kind: Kind
    language: int
    brand: str
    line: str
    spec: Words
    model: str  # empty where the department prints none
    joint: str
    price: float  # EUR, of the typical options
    sentences: tuple[Words, ...]  # none where the maker describes nothing
    variants: tuple[tuple[Option, Option], ...]


@dataclass(frozen=True, eq=False, slots=True)
class Product:
    number: int
    family: Family
    rank: int  # among its siblings
    has_gtin: bool

    @property
    def gtin(self) -> str:
        """An EAN-13, another for every number below 10^9; empty where the product has none."""
        body = f"400{self.number * 618_033_989 % 10**9:09d}"
        return body + check_digit(body) if self.has_gtin else ""

    @property
    def model(self) -> str:
        return f"{self.family.model}-{self.rank + 1:02d}" if self.family.model else ""

    @property
    def cents(self) -> int:
        """Recommended price in EUR cents, coherent among siblings."""
        first, second = self.family.variants[self.rank]
        return ending(self.family.price * first.worth * second.worth, self.number - self.rank)

    def options(self, language: int) -> tuple[str, str]:
        """This product's value of each of the kind's axes."""
        first, second = self.family.variants[self.rank]
        return first.text[language], second.text[language]

    def title(self, language: int) -> str:
        return _name(self.family, language) + self.family.joint + ", ".join(self.options(language))

    def sentences(self, language: int) -> tuple[str, ...]:
        """Three sentences of the family and one that names the variant; none where the family has none."""
        if not self.family.sentences:
            return ()
        variant = vocabulary().variant[language].format(variant=", ".join(self.options(language)))
        return (*_story(self.family, language), variant)


@dataclass(frozen=True, slots=True)
class Block:
    """Products whose numbers follow each other, and which of them each source lists, by position."""

    products: tuple[Product, ...]
    shop: tuple[int, ...]  # siblings together
    market: tuple[int, ...]  # in any order; the first SHARED_SLOTS are the shop's as well


@lru_cache(maxsize=8)
def block(seed: int, index: int) -> Block:
    chance = Random(f"{seed} block {index}")
    positions = sorted(range(BLOCK), key=lambda _: chance.random())
    products: list[Product] = []
    while len(products) < BLOCK:
        family = _family(chance)
        for rank in range(min(len(family.variants), BLOCK - len(products))):
            number = index * BLOCK + len(products)
            products.append(Product(number, family, rank, chance.random() < 0.8))
    return Block(tuple(products), tuple(sorted(positions[:SHOP_SLOTS])), tuple(positions[SHOP_SLOTS - SHARED_SLOTS :]))


def ending(euros: float, choice: int) -> int:
    """Cents near `euros`, ending as prices do: 99, 95, 49 or 90 by `choice`; above 200, tens of euros less a cent."""
    if euros > 200:
        return round(euros / 10) * 1000 - 1
    return math.floor(euros) * 100 + _ENDINGS[choice % len(_ENDINGS)]


def check_digit(body: str) -> str:
    """Of the first 12 digits of an EAN-13 (GS1 General Specifications: weights 1 and 3 from the left)."""
    return str(-(sum(map(int, body[::2])) + 3 * sum(map(int, body[1::2]))) % 10)


def _family(chance: Random) -> Family:
    words = vocabulary()
    kind = pick(chance, words.kinds)
    line = pick(chance, words.lines)
    described = chance.random() < 0.9
    return Family(
        kind=kind,
        language=pick(chance, words.languages),
        brand=pick(chance, kind.department.brands),
        line=line,
        spec=pick(chance, kind.specs),
        model=f"{line[:2].upper()}-{pick(chance, range(100, 10_000))}{pick(chance, 'ABEKLSTX')}" if kind.department.numbered else "",
        joint=pick(chance, JOINTS),
        price=kind.price * math.exp(chance.gauss(0, 0.35)),
        sentences=(pick(chance, words.openings), *pick(chance, kind.department.feature_pairs)) if described else (),
        variants=_variants(kind, chance),
    )


def _variants(kind: Kind, chance: Random) -> tuple[tuple[Option, Option], ...]:
    """As many siblings as were drawn, where the axes have so many: a grid of neighbouring options of both."""
    first, second = kind.options
    size = min(pick(chance, _FAMILY_SIZES), len(first) * len(second))
    columns = pick(chance, range(-(-size // len(first)), min(size, len(second)) + 1))
    grid = [(a, b) for a in _stretch(first, -(-size // columns), chance) for b in _stretch(second, columns, chance)]
    return tuple(grid[:size])


def _stretch(options: Sequence[Option], length: int, chance: Random) -> Sequence[Option]:
    start = pick(chance, range(len(options) - length + 1))
    return options[start : start + length]


@lru_cache(maxsize=64)
def _name(family: Family, language: int) -> str:
    parts = (family.brand, family.line, family.model, family.kind.name[language], family.spec[language])
    return " ".join(part for part in parts if part)


@lru_cache(maxsize=64)
def _story(family: Family, language: int) -> tuple[str, ...]:
    named = {"brand": family.brand, "line": family.line, "type": family.kind.name[language]}
    return tuple(sentence[language].format(**named) for sentence in family.sentences)
