"""What the pairs that may be one product must look like. The frame is `matches` of one night."""

from typing import TYPE_CHECKING

from expectations.suite import at_least, at_most
from jobs.decisions import MATCHES

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

TABLE = MATCHES.name

FIGURES = {
    "rows": "count(*)",
    "repeated_pairs": "count(*) - count(DISTINCT item_id, other_id)",
    "out_of_order": "count_if(NOT item_id < other_id)",
    "lowest_probability": "min(match_probability)",
    "highest_probability": "max(match_probability)",
    "null_probabilities": "count_if(match_probability IS NULL OR isnan(match_probability))",
}


def suite() -> list["Expectation"]:
    return [
        at_most("repeated_pairs", 0, "fail", "a pair is judged once"),
        at_most("out_of_order", 0, "fail", "the product whose id comes first is named first: else a pair could be there twice"),
        at_least("lowest_probability", 0, "fail", "a probability is 0 to 1"),
        at_most("highest_probability", 1, "fail", "a probability is 0 to 1"),
        at_most("null_probabilities", 0, "fail", "every pair has a probability"),
    ]
