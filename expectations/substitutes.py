"""What substitutes must look like. The frame is `substitutes` of one night."""

from typing import TYPE_CHECKING

from expectations.suite import at_least, at_most
from jobs.decisions import SUBSTITUTES

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

TABLE = SUBSTITUTES.name

FIGURES = {
    "rows": "count(*)",
    "items": "count(DISTINCT item_id)",
    "repeated_ranks": "count(*) - count(DISTINCT item_id, rank)",
    "repeated_pairs": "count(*) - count(DISTINCT item_id, substitute_id)",
    "selves": "count_if(item_id = substitute_id)",
    "lowest_rank": "min(rank)",
    "highest_rank": "max(rank)",
    "without_reason": "count_if(reason IS NULL OR reason = '')",
    "without_night": "count_if(last_listed IS NULL)",
    "lowest_price_ratio": "min(price_ratio)",
}


def suite(ranks_max: int) -> list["Expectation"]:
    """`ranks_max` is [substitutes] n of the settings."""
    return [
        at_most("repeated_ranks", 0, "fail", "a product has one substitute a rank"),
        at_most("repeated_pairs", 0, "fail", "a substitute is named once"),
        at_most("selves", 0, "fail", "no product stands in for itself"),
        at_least("lowest_rank", 1, "fail", "ranks begin with 1"),
        at_most("highest_rank", ranks_max, "fail", "a product has no more substitutes than the settings ask for"),
        at_most("without_reason", 0, "fail", "every substitute says why"),
        at_most("without_night", 0, "fail", "the night of the pair is told"),
        at_least("lowest_price_ratio", 0, "fail", "prices are positive"),
    ]
