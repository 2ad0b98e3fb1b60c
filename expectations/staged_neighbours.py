"""What a night's pairs must look like before they are published. The frame is `staged_neighbours` of one night."""

from typing import TYPE_CHECKING, Any

from expectations.suite import at_least, at_most, measured
from jobs.tables import STAGED_NEIGHBOURS

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation
    from pyspark.sql import DataFrame

TABLE = STAGED_NEIGHBOURS.name

# what is kept of an item's pairs; distinct counts over all pairs at once would write each of them once a count
PER_ITEM = {
    "pairs": "count(*)",
    "ranks": "size(collect_set(rank))",
    "neighbours": "size(collect_set(neighbour_id))",
    "nulls": "count_if(item_id IS NULL OR neighbour_id IS NULL OR rank IS NULL)",
    "selves": "count_if(item_id = neighbour_id)",
    "first": "min(rank)",
    "last": "max(rank)",
    "lowest": "min(similarity)",
    "highest": "max(if(isnan(similarity), NULL, similarity))",
    "blank": "count_if(similarity IS NULL OR isnan(similarity))",
    "first_model": "min(model_id)",
    "last_model": "max(model_id)",
}

FIGURES = {
    "rows": "sum(pairs)",
    "items": "count(*)",
    "null_keys": "sum(nulls)",
    "repeated_ranks": "sum(pairs - ranks)",
    "repeated_pairs": "sum(pairs - neighbours)",
    "items_with_gaps": "count_if(first <> 1 OR last <> ranks)",
    "selves": "sum(selves)",
    "highest_rank": "max(last)",
    "lowest_similarity": "min(lowest)",
    "highest_similarity": "max(highest)",
    "null_similarities": "sum(blank)",
    "models": "if(min(first_model) = max(last_model), 1, 2)",  # or more
}

_ROUNDING = 1e-4  # of a float32 cosine of two unit vectors


def figures(frame: "DataFrame") -> list[dict[str, Any]]:
    from pyspark.sql import functions as F

    items = frame.groupBy("item_id").agg(*(F.expr(sql).alias(name) for name, sql in PER_ITEM.items()))
    return measured(items, FIGURES)


def suite(ranks_max: int) -> list["Expectation"]:
    """`ranks_max` is k + slack of the settings."""
    return [
        at_least("rows", 1, "fail", "a night without pairs would empty the published tables"),
        at_most("null_keys", 0, "fail", "a pair names both products and its rank"),
        at_most("repeated_ranks", 0, "fail", "an item has one neighbour a rank"),
        at_most("repeated_pairs", 0, "fail", "an item has a neighbour once"),
        at_most("items_with_gaps", 0, "fail", "an item's ranks begin with 1 and follow each other"),
        at_most("selves", 0, "fail", "no product is its own neighbour"),
        at_most("highest_rank", ranks_max, "fail", "an item keeps k + slack neighbours"),
        at_least("lowest_similarity", -1 - _ROUNDING, "fail", "a similarity is a mean of cosines"),
        at_most("highest_similarity", 1 + _ROUNDING, "fail", "a similarity is a mean of cosines"),
        at_most("null_similarities", 0, "fail", "every pair has a similarity"),
        at_most("models", 1, "fail", "similarities of two models can't be ranked together"),
    ]
