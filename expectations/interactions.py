"""What a night's interactions must look like. The frame is `interactions` of one night, with `known`: true of items of the catalogue."""

from typing import TYPE_CHECKING

from expectations.suite import at_least, at_most
from jobs.decisions import INTERACTIONS

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

TABLE = INTERACTIONS.name

FIGURES = {
    "rows": "count(*)",
    "folded": "sum(folded)",
    "users": "count(DISTINCT user_id)",
    "null_keys": "count_if(user_id IS NULL OR item_id IS NULL OR event IS NULL OR happened_at IS NULL)",
    "lowest_quantity": "min(quantity)",
    "unknown_item_share": "count_if(known IS NULL) / count(*)",
}


def suite() -> list["Expectation"]:
    return [
        at_most("null_keys", 0, "fail", "an event names person, product and time"),
        at_least("lowest_quantity", 1, "fail", "quantities below 1 are quarantined"),
        at_most("unknown_item_share", 0.9, "fail", "hardly a product is in the catalogue: set interactions.source, whose ids they are"),
    ]
