"""What recommendations must look like. The frame is `recommendations` of one night."""

from typing import TYPE_CHECKING

from expectations.suite import at_least, at_most
from jobs.decisions import RECOMMENDATIONS

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

TABLE = RECOMMENDATIONS.name

FIGURES = {
    "rows": "count(*)",
    "users": "count(DISTINCT user_id) FILTER (WHERE user_id <> 'anyone')",
    "popular_share": "count_if(reason = 'popular') / count(*)",
    "repeated_ranks": "count(*) - count(DISTINCT user_id, rank)",
    "repeated_items": "count(*) - count(DISTINCT user_id, item_id)",
    "lowest_rank": "min(rank)",
    "highest_rank": "max(rank)",
    "unexplained": "count_if(reason IS NULL OR (reason = 'history') <> (because_id IS NOT NULL))",
}


def suite(ranks_max: int) -> list["Expectation"]:
    """`ranks_max` is `n` of [recommendations] of the settings."""
    return [
        at_most("repeated_ranks", 0, "fail", "a person has one product a rank"),
        at_most("repeated_items", 0, "fail", "a product is recommended to a person once"),
        at_least("lowest_rank", 1, "fail", "ranks begin with 1"),
        at_most("highest_rank", ranks_max, "fail", "a person has no more products than the settings ask for"),
        at_most("unexplained", 0, "fail", "what is not popular names the product it was recommended for"),
        at_most("popular_share", 0.9, "warn", "next to nothing was known of people: the interactions may be another shop's"),
    ]
