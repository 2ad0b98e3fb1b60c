"""How much a title says that a product holds: "6 x 330 ml" is 1,980 ml, "Tea, 20 bags, pack of 3" is 60 pieces. Sizes are no quantities."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple


class Quantity(NamedTuple):
    """An amount of g, ml or pieces."""

    amount: float
    unit: str


# unit as written -> base unit and how many of it; an ounce is one of weight unless it says that it is fluid
_UNITS = {
    "mg": ("g", 0.001),
    "g": ("g", 1.0),
    "gr": ("g", 1.0),
    "kg": ("g", 1000.0),
    "oz": ("g", 28.3495),
    "lb": ("g", 453.592),
    "lbs": ("g", 453.592),
    "ml": ("ml", 1.0),
    "cl": ("ml", 10.0),
    "dl": ("ml", 100.0),
    "l": ("ml", 1000.0),
    "ltr": ("ml", 1000.0),
    "fl oz": ("ml", 29.5735),
}  # fmt: skip  a dimension a line
_NUMBER = r"(\d{1,6}(?:[.,]\d{1,3})?)"
# a lone G is a network or a memory, never grams
_SYMBOLS = "g|gr|(?i:" + "|".join(sorted(_UNITS.keys() - {"g", "gr"}, key=len, reverse=True)) + ")"
_CONTENT = re.compile(rf"(?:(\d{{1,4}})\s*[x×*]\s*)?\b{_NUMBER}\s*({_SYMBOLS})\b")
_PIECES = re.compile(
    r"\b(?:pack|box|set|case|lot|bundle|packung)\s*(?:of|à|de|mit)\s*(\d{1,4})\b"
    r"|\b(\d{1,4})\s*(?:-\s*)?(?:er[- ]?(?:pack|packung|set)|pack|pk|pcs?|pieces?|count|ct|stück|stk|bags?|tabs?|tablets?|capsules?|rolls?|"
    r"beutel|rollen|kapseln|tabletten|pièces|unidades)\b",
    re.IGNORECASE,
)


@lru_cache(maxsize=65536)  # an item is the peer of many
def parse(title: str) -> Quantity | None:
    """What all packs hold together; None where the title says nothing of it."""
    packs = [int(one or other) for one, other in _PIECES.findall(title)]
    times = _product([pack for pack in packs if pack])
    content = _CONTENT.search(title)
    if content is None:
        return Quantity(float(times), "piece") if packs and times else None
    count, number, unit = content.groups()
    base, factor = _UNITS[unit.lower()]
    amount = float(number.replace(",", ".")) * factor * int(count or 1) * times
    return Quantity(amount, base) if amount else None


def _product(numbers: Sequence[int]) -> int:
    found = 1
    for number in numbers:
        found *= number
    return found
