"""What is broken in a feed, how, and what must become of it: every kind of fault that validation and cleaning know.

A kind takes one sound record and gives the rows that the source writes instead. A row's values are written in order, so a ragged row is
a record with a field too many or too few.
"""

import html
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from html.entities import codepoint2name
from random import Random
from typing import Literal

from jobs.assortment import check_digit
from jobs.dialect import Dialect
from jobs.offer import Record

Expected = Literal["quarantined", "cleaned", "folded"]
Soil = Callable[[Record, Dialect, Random], list[Record]]
Edit = Callable[[str, Dialect, Random], str]

_FULL_WIDTH = {ordinal: ordinal + 0xFEE0 for ordinal in range(ord("!"), ord("~") + 1)}
_CONTROLS = "\x00\x01\x07\x08\x1a\x7f"  # none of them a blank or a line break to any reader
_LONG = 1100  # characters; above the 1,000 that a title may have, also when its blanks are counted once
_ABSURD = 999_999_999  # cents; above the 1,000,000 that a price may be


@dataclass(frozen=True)
class Kind:
    """`expected` is what becomes of the rows; of identical rows it is said of the copies, since the first one stays. `clean` says what
    cleaning makes of a field, where that is not the sound record's value."""

    name: str
    expected: Expected
    soil: Soil
    clean: Record = field(default_factory=dict)


@dataclass(frozen=True)
class Soiled:
    """What a source writes instead of one sound record."""

    kind: Kind
    rows: list[Record]


def soiled(record: Record, dialect: Dialect, seed: int, rank: int) -> Soiled:
    """The record as the `rank`-th dirty one of its source. Every round of ranks has each kind once, in an order of its own; a kind that
    finds nothing to break (mojibake, in plain ASCII) gives way to the next."""
    turn, place = divmod(rank, len(KINDS))
    order = _order(f"{seed} {dialect.source} dirt {turn}")
    chance = Random(f"{seed} {dialect.source} dirt {rank}")
    every_kind = (Soiled(kind, kind.soil(record, dialect, chance)) for kind in order[place:] + order[:place])
    return next(dirty for dirty in every_kind if dirty.rows != [record])


@lru_cache(maxsize=8)
def _order(key: str) -> tuple[Kind, ...]:
    return tuple(Random(key).sample(KINDS, len(KINDS)))


def _edit(*fields: str, by: Edit) -> Soil:
    """Edits those fields that the row fills."""

    def soil(record: Record, dialect: Dialect, chance: Random) -> list[Record]:
        return [record | {name: by(record[name], dialect, chance) for name in fields if record[name]}]

    return soil


def _currency(name: str) -> Soil:
    """Writes a currency behind the amount, and none in the column for it."""

    def soil(record: Record, dialect: Dialect, chance: Random) -> list[Record]:
        named = record | {"price": f"{record['price'].removesuffix(dialect.unit)} {name}"}
        return [named | {"currency": ""} if "currency" in record else named]

    return soil


def _html(text: str, dialect: Dialect, chance: Random) -> str:
    first, blank, rest = text.partition(" ")
    return f"<b>{_entities(first)}</b>{blank}{_entities(rest)}<br/>"


def _entities(text: str) -> str:
    return "".join(f"&{codepoint2name[ord(c)]};" if ord(c) > 127 and ord(c) in codepoint2name else html.escape(c) for c in text)


def _mojibake(text: str, dialect: Dialect, chance: Random) -> str:
    """UTF-8 read as cp1252, unless some byte has no meaning there."""
    try:
        return text.encode("utf-8").decode("cp1252")
    except UnicodeDecodeError:
        return text


def _controls(text: str, dialect: Dialect, chance: Random) -> str:
    at = chance.randint(1, len(text))
    return text[:at] + "".join(chance.sample(_CONTROLS, 2)) + text[at:]


def _whitespace(text: str, dialect: Dialect, chance: Random) -> str:
    return f"\t {text.replace(' ', '   ', 1)} \n"


def _not_nfkc(text: str, dialect: Dialect, chance: Random) -> str:
    """Full-width letters, or no-break spaces where the encoding has no such letters."""
    return text.translate(_FULL_WIDTH) if dialect.encoding == "utf-8" else text.replace(" ", "\xa0")


def _long(text: str, dialect: Dialect, chance: Random) -> str:
    return " ".join([text] * (1 + _LONG // len(text)))


def _too_many_fields(record: Record, dialect: Dialect, chance: Random) -> list[Record]:
    """An unquoted separator cuts the title in two, so that everything behind it slips to the right."""
    first, _, rest = record["title"].partition(" ")
    return [
        {"id": record["id"], "title": first, "surplus": rest} | {name: text for name, text in record.items() if name not in ("id", "title")}
    ]


def _too_few_fields(record: Record, dialect: Dialect, chance: Random) -> list[Record]:
    return [dict(list(record.items())[: chance.randint(2, len(record) - 1)])]


def _identical(record: Record, dialect: Dialect, chance: Random) -> list[Record]:
    return [record, record]


def _conflicting(record: Record, dialect: Dialect, chance: Random) -> list[Record]:
    return [record, record | {"title": f"{record['title']} II"}]


def _other_decimal(price: str, dialect: Dialect, chance: Random) -> str:
    """1.234,50 where this source writes 1234.50, and the other way round."""
    whole, cents = dialect.plain(price).split(".")
    grouped = f"{int(whole):,}"
    return (f"{grouped.replace(',', '.')},{cents}" if dialect.decimal == "." else f"{grouped}.{cents}") + dialect.unit


def _wrong_digit(record: Record, dialect: Dialect, chance: Random) -> list[Record]:
    """A GTIN with another check digit than its own, also where the source otherwise gives none."""
    body = record["gtin"][:-1] or f"400{chance.randrange(10**9):09d}"
    return [record | {"gtin": body + str((int(check_digit(body)) + chance.randint(1, 9)) % 10)}]


def _instead(*texts: str) -> Edit:
    return lambda text, dialect, chance: chance.choice(texts)


KINDS = (
    Kind("html", "cleaned", _edit("title", "description", by=_html)),
    Kind("mojibake", "cleaned", _edit("title", "description", by=_mojibake)),
    Kind("control_characters", "cleaned", _edit("title", "description", by=_controls)),
    Kind("whitespace", "cleaned", _edit("title", "description", by=_whitespace)),
    Kind("not_nfkc", "cleaned", _edit("title", "description", by=_not_nfkc)),
    Kind("id_missing", "quarantined", _edit("id", by=_instead("", "   "))),
    Kind("title_missing", "quarantined", _edit("title", by=_instead("", " "))),
    Kind("title_of_one_character", "quarantined", _edit("title", by=lambda title, dialect, chance: title[0])),
    Kind("title_too_long", "quarantined", _edit("title", by=_long)),
    Kind("too_many_fields", "quarantined", _too_many_fields),
    Kind("too_few_fields", "quarantined", _too_few_fields),
    Kind("duplicate_identical", "folded", _identical),
    Kind("duplicate_conflicting", "quarantined", _conflicting),
    Kind("price_negative", "quarantined", _edit("price", by=lambda price, dialect, chance: f"-{price}")),
    Kind("price_zero", "cleaned", _edit("price", by=lambda price, dialect, chance: dialect.price(0)), {"price": ""}),
    Kind("price_absurd", "quarantined", _edit("price", by=lambda price, dialect, chance: dialect.price(_ABSURD))),
    Kind("price_not_given", "cleaned", _edit("price", by=_instead("N/A")), {"price": ""}),
    Kind("price_not_a_number", "quarantined", _edit("price", by=_instead("#REF!", "#VALUE!"))),
    Kind("price_with_currency", "cleaned", _currency("gbp"), {"currency": "GBP"}),
    Kind("price_with_unknown_currency", "quarantined", _currency("XYZ")),
    Kind("price_with_other_decimal", "cleaned", _edit("price", by=_other_decimal)),
    Kind("gtin_check_digit", "cleaned", _wrong_digit, {"gtin": ""}),
)
