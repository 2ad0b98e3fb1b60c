"""One product as one source lists it: the source's own id, wording and price.

`shop` describes products in full. `market` is a second seller: reordered and shortened titles, typos, missing brands, German categories.
What is broken on purpose does not belong here: every record made here is sound.
"""

import math
from collections.abc import Callable
from functools import cache
from random import Random

from jobs.assortment import BLOCK, JOINTS, MARKET_SLOTS, SHARED_SLOTS, SHOP_SLOTS, Product, block, ending
from jobs.chance import draw, pick
from jobs.dialect import SHOP, Dialect
from jobs.history import Life
from jobs.vocabulary import LANGUAGES, vocabulary

Record = dict[str, str]  # field of the program (and colour, size) -> text, in the order of the file's columns

_MOVES = (0.8, 0.88, 0.93, 0.96, 1.04, 1.07, 1.12, 1.2)  # factors of one price move
_DOLLARS = 1.08  # of a euro; a third of the shop's blocks are priced in euros
_ENGLISH = LANGUAGES.index("en")
_WESTERN = tuple(LANGUAGES.index(language) for language in ("en", "de", "fr", "es"))  # what cp1252 can write
_CASES: tuple[Callable[[str], str], ...] = (*[str] * 10, str.upper, str.lower)  # most titles stay as they are
_COLOURS = ("colour", "shade", "ink")


def first_night(dialect: Dialect, items: int) -> int:
    """How many products the source lists on the first night of a catalogue of that size."""
    return items if dialect is SHOP else items * MARKET_SLOTS // SHOP_SLOTS


def product_at(dialect: Dialect, seed: int, ordinal: int) -> Product:
    """The source's `ordinal`-th product."""
    index, slot = divmod(ordinal, SHOP_SLOTS if dialect is SHOP else MARKET_SLOTS)
    of = block(seed, index)
    return of.products[(of.shop if dialect is SHOP else of.market)[slot]]


def shop_ordinal(seed: int, market_ordinal: int) -> int | None:
    """Where the shop lists the market's product, or None if it never does."""
    index, slot = divmod(market_ordinal, MARKET_SLOTS)
    of = block(seed, index)
    return index * SHOP_SLOTS + of.shop.index(of.market[slot]) if slot < SHARED_SLOTS else None


def own_id(dialect: Dialect, seed: int, ordinal: int) -> str:
    """The source's own id: unique, and without a hint of the product's place or of the other source's id."""
    if dialect is SHOP:
        return shop_id(seed, ordinal, product_at(dialect, seed, ordinal).family.kind.department.prefix)
    return str(10**8 + (ordinal * 38_196_601 + _offset(seed, dialect.source)) % (9 * 10**8))


def shop_id(seed: int, ordinal: int, prefix: str) -> str:
    """The shop's own id, for whoever knows the department's prefix. The factors share no divisor with the range: no two ordinals meet."""
    return f"{prefix}-{(ordinal * 61_803_399 + _offset(seed, SHOP.source)) % 10**8:08d}"


def record(dialect: Dialect, seed: int, ordinal: int, life: Life) -> Record:
    """What the source says about its `ordinal`-th product at this point of its life."""
    product = product_at(dialect, seed, ordinal)
    own = own_id(dialect, seed, ordinal)
    wording, cents = _by_shop(product, life) if dialect is SHOP else _by_market(product, life, Random(f"{seed} wording {ordinal}"))
    cents = _moved(cents, f"{seed} {dialect.source} {ordinal} price", life.moves)
    wording |= {"id": own, "price": dialect.price(cents), "image": f"https://{dialect.source}.example.com/{own}.jpg"}
    return {field: wording[field] for field in dialect.columns}


@cache
def _offset(seed: int, source: str) -> int:
    return draw(f"{seed} {source} ids", 10**8)


def _by_shop(product: Product, life: Life) -> tuple[Record, int]:
    """The shop's wording, and its price in cents of its currency."""
    family, language = product.family, product.family.language
    euros = product.number // BLOCK % 3 == 0
    wording = {
        "title": _edited_title(product.title(language), language, life),
        "description": _edited_description(product.sentences(language), language, life),
        "brand": family.brand,
        "category": " > ".join(family.kind.category),
        "currency": "EUR" if euros else "USD",
        "gtin": product.gtin,
        "model": product.model,
        **_colour_and_size(product, language),
    }
    return wording, product.cents if euros else ending(product.cents * _DOLLARS / 100, product.number - product.rank)


def _by_market(product: Product, life: Life, chance: Random) -> tuple[Record, int]:
    """The market's wording, in English where cp1252 lacks the product's own letters, and its price in euro cents."""
    family = product.family
    language = family.language if family.language in _WESTERN else _ENGLISH
    sentences = product.sentences(language)
    wording = {
        "title": _edited_title(_reworded(product, language, chance), language, life),
        "description": _edited_description(sentences[pick(chance, range(3)) :] if chance.random() < 0.65 else (), language, life),
        "brand": family.brand if chance.random() < 0.7 else "",
        "category": " > ".join(family.kind.market_category),
        "gtin": product.gtin if chance.random() < 0.5 else "",
        **_colour_and_size(product, language),
    }
    return wording, ending(product.cents / 100 * math.exp(chance.gauss(0, 0.06)), pick(chance, range(4)))


def _reworded(product: Product, language: int, chance: Random) -> str:
    """The title as another seller would put it: same facts, other order, some of them left out or misspelt."""
    family = product.family
    brand = family.brand if chance.random() < 0.75 else ""
    kind, spec = family.kind.name[language], family.spec[language] if chance.random() < 0.8 else ""
    model = family.model if chance.random() < 0.9 else ""
    variant = pick(chance, JOINTS) + " ".join(product.options(language)) if chance.random() < 0.9 else ""
    line = family.line
    orders = ((kind, brand, line, model, spec), (brand, kind, line, spec, model), (line, model, brand, kind, spec))
    title = " ".join(filter(None, pick(chance, orders))) + variant
    if chance.random() < 0.5:
        title = " ".join(vocabulary().abbreviations.get(word, word) for word in title.split(" "))
    if chance.random() < 0.12:
        title = _misspelt(title, chance)
    return pick(chance, _CASES)(title)


def _misspelt(title: str, chance: Random) -> str:
    """With two neighbouring letters of the longest word swapped."""
    word = max(title.split(" "), key=len)
    at = pick(chance, range(1, len(word) - 1)) if len(word) > 3 else 0
    return title.replace(word, word[:at] + word[at : at + 2][::-1] + word[at + 2 :], 1)


def _edited_title(title: str, language: int, life: Life) -> str:
    """Every second edit shows in the title too."""
    return f"{title} ({vocabulary().edition[language]})" if life.edits % 2 else title


def _edited_description(sentences: tuple[str, ...], language: int, life: Life) -> str:
    if not life.edits:
        return " ".join(sentences)
    notices = vocabulary().notices
    return " ".join((*sentences, notices[life.edits % len(notices)][language]))


def _colour_and_size(product: Product, language: int) -> Record:
    """At most one axis is a colour; whatever else sets siblings apart goes by the name of size."""
    (first, second), (first_axis, second_axis) = product.options(language), product.family.kind.axes
    if first_axis in _COLOURS:
        return {"colour": first, "size": second}
    if second_axis in _COLOURS:
        return {"colour": second, "size": first}
    return {"colour": "", "size": f"{first} / {second}"}


def _moved(cents: int, key: str, moves: int) -> int:
    """The price after so many moves, each of which changes it."""
    for move in range(moves):
        moved = max(1, round(cents * _MOVES[draw(f"{key} {move}", len(_MOVES))]))
        cents = moved if moved != cents else cents + 10
    return cents
