"""What bundles must look like. The frame is `bundles` of one night."""

from typing import TYPE_CHECKING

from expectations.suite import at_least, at_most
from jobs.decisions import BUNDLES

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

TABLE = BUNDLES.name

FIGURES = {
    "rows": "count(*)",
    "items": "count(DISTINCT item_id)",
    "repeated_ranks": "count(*) - count(DISTINCT item_id, rank)",
    "repeated_pairs": "count(*) - count(DISTINCT item_id, other_id)",
    "selves": "count_if(item_id = other_id)",
    "highest_rank": "max(rank)",
    "lowest_users": "min(users)",
    "highest_confidence": "max(confidence)",
    "lowest_lift": "min(lift_low)",
    "uncertain": "count_if(lift_low > lift OR isnan(lift))",
}


def suite(ranks_max: int, users_min: int) -> list["Expectation"]:
    """The bounds are `n` and `users_min` of [bundles] of the settings."""
    return [
        at_most("repeated_ranks", 0, "fail", "a product has one bundle a rank"),
        at_most("repeated_pairs", 0, "fail", "two products are told together once"),
        at_most("selves", 0, "fail", "no product goes with itself"),
        at_most("highest_rank", ranks_max, "fail", "a product has no more bundles than the settings ask for"),
        at_least("lowest_users", users_min, "fail", "what few people did could tell who they are"),
        at_most("highest_confidence", 1, "fail", "a confidence is a share"),
        at_least("lowest_lift", 1, "fail", "what is bought together by chance is no bundle"),
        at_most("uncertain", 0, "fail", "what is certain is less than what was counted"),
    ]
