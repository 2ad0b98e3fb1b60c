"""What a night's feeds must look like as a whole. Rows are judged one by one in `validate`; here a source is, by what its rows gave.

The frame has a row for every raw row, with `source` and the flags of FLAGS.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from expectations.suite import at_least, at_most, measured
from jobs.tables import RAW_ITEMS

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation
    from pyspark.sql import DataFrame

TABLE = RAW_ITEMS.name

# flag of a parsed row -> its Spark SQL; what is kept of a row once its texts are gone
FLAGS = {
    "has_id": "id IS NOT NULL",
    "has_title": "title IS NOT NULL",
    "has_description": "description IS NOT NULL",
    "has_brand": "brand IS NOT NULL",
    "has_category": "category IS NOT NULL",
    "has_price": "price IS NOT NULL",
    "has_currency": "currency IS NOT NULL",
    "has_gtin": "gtin IS NOT NULL",
    "has_fault": "fault IS NOT NULL",
    "has_price_fault": "price_fault IS NOT NULL",
    "is_free": "price = 0",
    "is_repaired": "repaired",
    "title_length": "length(title)",
}

# figure -> its Spark SQL over the flags; `quarantined` and `repeated` (another valid row has the same id) come from the row rules
FIGURES = {
    "rows": "count(*)",
    "quarantined": "count_if(quarantined)",
    "quarantined_share": "avg(int(quarantined))",
    "missing_id_share": "avg(int(NOT has_id))",
    "repeated_id_share": "avg(int(repeated))",
    "broken_row_share": "avg(int(has_fault))",
    "title_length": "avg(title_length)",
    "repaired_title_share": "avg(int(is_repaired))",
    "description_share": "avg(int(has_description))",
    "brand_share": "avg(int(has_brand))",
    "category_share": "avg(int(has_category))",
    "gtin_share": "avg(int(has_gtin))",
    "price_share": "avg(int(has_price))",
    "price_fault_share": "avg(int(has_price_fault))",
    "zero_price_share": "avg(int(is_free))",  # of the rows that have a price
    "no_currency_share": "avg(if(has_price, int(NOT has_currency AND NOT has_price_fault), NULL))",
}

# what a source that maps no such column can't be measured by
_FIELD_OF = {
    "description_share": "description",
    "brand_share": "brand",
    "category_share": "category",
    "gtin_share": "gtin",
    "price_share": "price",
    "price_fault_share": "price",
}


def figures(frame: "DataFrame", mapped: Mapping[str, Iterable[str]]) -> list[dict[str, Any]]:
    """The figures of every source in `mapped`, which names the fields that each one maps to a column. One Spark job."""
    found = {row["group"]: row for row in measured(frame, FIGURES, by="source")}
    rows = [found.get(source) or {"group": source, **dict.fromkeys(FIGURES), "rows": 0.0, "quarantined": 0.0} for source in mapped]
    return [{name: None if _FIELD_OF.get(name, "id") not in mapped[row["group"]] else value for name, value in row.items()} for row in rows]


def suite(quarantine_max: float) -> list["Expectation"]:
    """The bounds of one source's figures. Only two of them hold a night: the others are for the person who maps the columns."""
    return [
        at_least("rows", 1, "fail", "a source without a single row is a broken feed, and its products would vanish"),
        at_most("quarantined_share", quarantine_max, "fail", "so many rows are refused that the whole feed is suspect"),
        at_most("missing_id_share", 0.01, "warn", "rows without an id can't be followed from night to night"),
        at_most("repeated_id_share", 0.1, "warn", "ids come several times: is the right column mapped?"),
        at_most("broken_row_share", 0.01, "warn", "rows don't fit their header: is the separator or the quote right?"),
        at_least("title_length", 5, "warn", "titles this short, in characters, are codes: is the right column mapped?"),
        at_most("repaired_title_share", 0.3, "warn", "titles hold markup or broken characters: is the encoding right?"),
        at_least("description_share", 0.1, "warn", "the description is nearly always empty"),
        at_least("brand_share", 0.1, "warn", "the brand is nearly always empty"),
        at_least("category_share", 0.1, "warn", "the category is nearly always empty"),
        at_least("gtin_share", 0.5, "warn", "most GTINs are missing or have a wrong check digit"),
        at_least("price_share", 0.1, "warn", "the price is nearly always empty"),
        at_most("price_fault_share", 0.05, "warn", "prices can't be read: is the decimal mark or the currency right?"),
        at_most("zero_price_share", 0.2, "warn", "prices of 0 mean that none was given; they are stored as missing"),
        at_most("no_currency_share", 0, "warn", "prices without a currency can't be compared: set the source's `currency`"),
    ]
