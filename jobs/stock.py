"""How much of a product a generated source has on a night: now and then a product is out for some nights.

A function of (seed, source, ordinal, night). The shop writes a number, the market writes words.
"""

from jobs.chance import MILLION, draw
from jobs.dialect import SHOP, Dialect

SPELL = 5  # nights that a product is out, or is not; its own five
OUT = 30_000  # spells in a million
MOST = 60
COLUMNS = {"shop": "stock", "market": "verfuegbarkeit"}
THERE = ("in stock", "auf Lager", "sofort lieferbar", "In Stock")
GONE = ("out of stock", "ausverkauft", "nicht vorrätig", "Out of Stock")


def left(dialect: Dialect, seed: int, ordinal: int, night: int) -> int:
    """Pieces; 0 of what is out of stock."""
    spell = (night + ordinal) // SPELL
    if draw(f"{seed} {dialect.source} stock {ordinal} {spell}", MILLION) < OUT:
        return 0
    return 1 + draw(f"{seed} {dialect.source} pieces {ordinal} {night}", MOST)


def written(dialect: Dialect, seed: int, ordinal: int, night: int) -> str:
    """As the source writes it: every seller at the market has his own words."""
    pieces = left(dialect, seed, ordinal, night)
    if dialect is SHOP:
        return str(pieces)
    return (THERE if pieces else GONE)[draw(f"{seed} {dialect.source} seller {ordinal}", len(THERE))]
