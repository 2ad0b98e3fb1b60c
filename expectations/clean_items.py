"""What the cleaned products of a night must look like before neighbours of them are published. The frame is `clean_items` of one night."""

from typing import TYPE_CHECKING, Any

from expectations.suite import at_least, at_most, measured
from jobs.tables import CLEAN_ITEMS

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation
    from pyspark.sql import DataFrame

TABLE = CLEAN_ITEMS.name

FIGURES = {
    "rows": "count(*)",
    "null_ids": "count_if(item_id IS NULL)",
    "repeated_ids": "count(item_id) - count(DISTINCT item_id)",
    "blank_titles": "count_if(title IS NULL OR trim(title) = '')",
    "unclean_titles": "count_if(title RLIKE '[\\\\x00-\\\\x1f\\\\x7f]|  |^ | $')",
    "negative_prices": "count_if(price < 0)",
    "zero_prices": "count_if(price = 0)",
    "prices_without_currency": "count_if(price IS NOT NULL AND currency IS NULL)",
    "strange_currencies": "count_if(currency NOT RLIKE '^[A-Z]{3}$')",
    "strange_gtins": "count_if(gtin NOT RLIKE '^[0-9]{8}([0-9]{4,6})?$')",
    "blank_texts": "count_if(text IS NULL OR trim(text) = '')",
    "strange_hashes": "count_if(content_hash IS NULL OR content_hash NOT RLIKE '^[0-9a-f]{64}$')",
    "same_text_share": "1 - count(DISTINCT content_hash) / count(content_hash)",
}


def figures(frame: "DataFrame") -> list[dict[str, Any]]:
    return measured(frame, FIGURES)


def suite() -> list["Expectation"]:
    return [
        at_least("rows", 1, "fail", "a night without products would empty the published tables"),
        at_most("null_ids", 0, "fail", "every product has its id"),
        at_most("repeated_ids", 0, "fail", "an id names one product of a night"),
        at_most("blank_titles", 0, "fail", "every product has a title"),
        at_most("unclean_titles", 0, "fail", "titles are one line without control characters"),
        at_most("negative_prices", 0, "fail", "a price is not negative"),
        at_most("zero_prices", 0, "fail", "a price of 0 is stored as missing"),
        at_most("prices_without_currency", 0, "warn", "prices without a currency can't be compared: set the source's `currency`"),
        at_most("strange_currencies", 0, "fail", "currencies are ISO 4217 codes"),
        at_most("strange_gtins", 0, "fail", "a GTIN is 8, 12, 13 or 14 digits"),
        at_most("blank_texts", 0, "fail", "the encoder has something to read of every product"),
        at_most("strange_hashes", 0, "fail", "the content hash finds the vector of a text"),
        at_most("same_text_share", 0.5, "warn", "most products share their text with another one: are variants told apart by a field?"),
    ]
