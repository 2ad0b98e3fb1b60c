"""How each generated source writes its files: encoding, separators, column names, prices."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Dialect:
    """`columns` maps each field of a record to its name in the header, in the file's order."""

    source: str
    encoding: str
    separator: str
    newline: str
    decimal: str
    thousands: str
    unit: str  # after every price
    currency: str  # of a record that names none
    columns: dict[str, str]

    def price(self, cents: int) -> str:
        return f"{cents // 100:,}".replace(",", self.thousands) + f"{self.decimal}{cents % 100:02d}{self.unit}"

    def plain(self, price: str) -> str:
        """The amount of a price that this dialect wrote, as 1234.50."""
        digits = price.removesuffix(self.unit)
        return (digits.replace(self.thousands, "") if self.thousands else digits).replace(self.decimal, ".")


SHOP = Dialect(
    source="shop",
    encoding="utf-8",
    separator=",",
    newline="\n",
    decimal=".",
    thousands="",
    unit="",
    currency="",
    columns={
        "id": "sku",
        "title": "name",
        "description": "description",
        "brand": "brand",
        "category": "category",
        "price": "price",
        "currency": "currency",
        "gtin": "ean",
        "model": "mpn",
        "colour": "colour",
        "size": "size",
        "image": "image_url",
    },
)

MARKET = Dialect(
    source="market",
    encoding="cp1252",
    separator=";",
    newline="\r\n",
    decimal=",",
    thousands=".",
    unit=" €",
    currency="EUR",
    columns={
        "id": "artikelnummer",
        "title": "bezeichnung",
        "description": "beschreibung",
        "brand": "hersteller",
        "category": "warengruppe",
        "price": "preis",
        "gtin": "ean",
        "colour": "farbe",
        "size": "ausfuehrung",
        "image": "bild",
    },
)

DIALECTS = (SHOP, MARKET)
