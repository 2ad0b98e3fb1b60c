"""What groups of rows that are one product must look like. The frame is `duplicates` of one night."""

from typing import TYPE_CHECKING, Any

from expectations.suite import at_least, at_most, measured
from jobs.decisions import DUPLICATES

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation
    from pyspark.sql import DataFrame

TABLE = DUPLICATES.name
LARGEST = 50  # products; beyond it a group is more often a chain, or a field that all of a range share, than one product

PER_GROUP = {
    "members": "count(*)",
    "survivors": "count_if(survivor)",
    "unmerged": "count_if(survivor AND merged IS NULL)",
    "lowest": "min(match_probability)",
    "highest": "max(match_probability)",
    "first": "min(item_id)",
}

FIGURES = {
    "single": "count_if(members < 2)",
    "without_one_survivor": "count_if(survivors <> 1)",
    "without_a_record": "sum(unmerged)",
    "misnamed": "count_if(group_id <> first)",
    "lowest_probability": "min(lowest)",
    "highest_probability": "max(highest)",
    "largest_group": "max(members)",
}

WHOLE = {"rows": "count(*)", "repeated_items": "count(*) - count(DISTINCT item_id)"}


def figures(frame: "DataFrame") -> list[dict[str, Any]]:
    from pyspark.sql import functions as F

    groups = frame.groupBy("group_id").agg(*(F.expr(sql).alias(name) for name, sql in PER_GROUP.items()))
    return [whole | of_groups for whole, of_groups in zip(measured(frame, WHOLE), measured(groups, FIGURES), strict=True)]


def suite() -> list["Expectation"]:
    return [
        at_most("repeated_items", 0, "fail", "a product is in a group once"),
        at_most("single", 0, "fail", "a group has two products or more"),
        at_most("without_one_survivor", 0, "fail", "of every group one product stays"),
        at_most("without_a_record", 0, "fail", "the product that stays has the record merged of all"),
        at_most("misnamed", 0, "fail", "a group is named by the first of its ids, whatever else has changed"),
        at_least("lowest_probability", 0, "fail", "a probability is 0 to 1"),
        at_most("highest_probability", 1, "fail", "a probability is 0 to 1"),
        at_most("largest_group", LARGEST, "warn", "a large group is more often a field that a whole range shares than one product"),
    ]
