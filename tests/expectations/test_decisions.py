"""Suites of what is made of a published night: every expectation refuses a frame that is broken in its own way."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.sql.types import StructType

from expectations import bundles, duplicates, interactions, matches, price_positions, recommendations, substitutes, suite
from jobs.decisions import DECISIONS
from jobs.night import Night
from tests.rows import in_order

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation
    from pyspark.sql import DataFrame, SparkSession

AT = datetime(2026, 1, 5, tzinfo=UTC)
# table -> two sound rows, and by figure what the second has that breaks it; `None` of a row: it is not there
CASES: dict[str, tuple[list[dict[str, Any]], dict[str, dict[str, Any] | None]]] = {
    "matches": (
        [{"item_id": "a", "other_id": "b", "match_probability": 0.9}, {"item_id": "a", "other_id": "c", "match_probability": 0.1}],
        {
            "repeated_pairs": {"other_id": "b"},
            "out_of_order": {"item_id": "d"},
            "lowest_probability": {"match_probability": -0.1},
            "highest_probability": {"match_probability": 1.1},
            "null_probabilities": {"match_probability": None},
        },
    ),
    "duplicates": (
        [
            {"group_id": "a", "item_id": "a", "survivor": True, "match_probability": 0.9, "merged": {}},
            {"group_id": "a", "item_id": "b", "survivor": False, "match_probability": 0.9},
        ],
        {
            "repeated_items": {"item_id": "a"},
            "single": None,
            "without_one_survivor": {"survivor": True, "merged": {}},
            "lowest_probability": {"match_probability": -0.1},
            "highest_probability": {"match_probability": 1.1},
            "misnamed": {"item_id": "A"},
        },
    ),
    "price_positions": (
        [
            {"item_id": name, "price": Decimal(5), "peers": 3, "median": Decimal(5), "gap": 0.0, "percentile": 0.5, "outlier": False}
            for name in "ab"
        ],
        {
            "repeated_items": {"item_id": "a"},
            "lowest_price": {"price": Decimal(-1)},
            "lowest_peers": {"peers": 0},
            "lowest_percentile": {"percentile": -0.1},
            "highest_percentile": {"percentile": 1.1},
            "without_median": {"gap": float("nan")},
            "explained_without_outlier": {"cause": "currency"},
            "share_of_outliers": {"outlier": True},
        },
    ),
    "substitutes": (
        [
            {"item_id": "a", "rank": rank, "substitute_id": other, "price_ratio": 1.0, "reason": "same brand", "last_listed": True}
            for rank, other in ((1, "b"), (2, "c"))
        ],
        {
            "repeated_ranks": {"rank": 1},
            "repeated_pairs": {"substitute_id": "b"},
            "selves": {"substitute_id": "a"},
            "lowest_rank": {"rank": 0},
            "highest_rank": {"rank": 6},
            "without_reason": {"reason": ""},
            "without_night": {"last_listed": None},
            "lowest_price_ratio": {"price_ratio": -1.0},
        },
    ),
    "interactions": (
        [{"user_id": user, "item_id": "a", "event": "view", "happened_at": AT, "quantity": 1, "folded": 0, "known": True} for user in "uv"],
        {"null_keys": {"happened_at": None}, "lowest_quantity": {"quantity": 0}},
    ),
    "recommendations": (
        [
            {"user_id": "u", "rank": rank, "item_id": item, "score": 0.5, "reason": "history", "because_id": "c"}
            for rank, item in ((1, "a"), (2, "b"))
        ],
        {
            "repeated_ranks": {"rank": 1},
            "repeated_items": {"item_id": "a"},
            "lowest_rank": {"rank": 0},
            "highest_rank": {"rank": 11},
            "unexplained": {"because_id": None},
        },
    ),
    "bundles": (
        [
            {"item_id": "a", "rank": rank, "other_id": other, "users": 9, "confidence": 0.5, "lift": 3.0, "lift_low": 2.0}
            for rank, other in ((1, "b"), (2, "c"))
        ],
        {
            "repeated_ranks": {"rank": 1},
            "repeated_pairs": {"other_id": "b"},
            "selves": {"other_id": "a"},
            "highest_rank": {"rank": 6},
            "lowest_users": {"users": 4},
            "highest_confidence": {"confidence": 1.1},
            "lowest_lift": {"lift_low": 0.9},
            "uncertain": {"lift_low": 4.0},
        },
    ),
}
SUITES: dict[str, list["Expectation"]] = {
    "matches": matches.suite(),
    "duplicates": duplicates.suite(),
    "price_positions": price_positions.suite(),
    "substitutes": substitutes.suite(5),
    "interactions": interactions.suite(),
    "recommendations": recommendations.suite(10),
    "bundles": bundles.suite(5, 5),
}
# shown below
UNBROKEN = {
    "duplicates": {"without_a_record", "largest_group"},
    "interactions": {"unknown_item_share"},
    "recommendations": {"popular_share"},
}
BESIDE = {"interactions": " known boolean"}  # what a suite's frame has beside the table's columns


def frame(spark: "SparkSession", night: Night, name: str, rows: list[dict[str, Any]]) -> "DataFrame":
    table = DECISIONS[name]
    dated = [row | {"snapshot_date": night.date} | ({"last_listed": night.date} if row.get("last_listed") else {}) for row in rows]
    beside = StructType.fromDDL(BESIDE.get(name, ""))
    schema = StructType([*StructType.fromDDL(table.ddl.replace(" NOT NULL", "")), *beside])
    return spark.createDataFrame([(*in_order(table, row), *(row[field] for field in beside.names)) for row in dated], schema)


def missed(name: str, of: "DataFrame") -> set[str]:
    modules = (matches, price_positions, substitutes, interactions, recommendations, bundles)
    measure = {module.TABLE: module.FIGURES for module in modules}
    figures = duplicates.figures(of) if name == "duplicates" else suite.measured(of, measure[name])
    return {result.check.removeprefix(f"{name}: ") for result in suite.verdict(name, SUITES[name], figures) if not result.passed}


@pytest.mark.parametrize("name", CASES)
def test_suite(name: str, spark: "SparkSession", night: Night) -> None:
    (first, second), broken = CASES[name]
    assert missed(name, frame(spark, night, name, [first, second])) == set()
    assert missed(name, frame(spark, night, name, [])) == set()  # there may be nothing to decide
    for figure, change in broken.items():
        rows = [first] if change is None else [first, second | change]
        assert figure in missed(name, frame(spark, night, name, rows)), figure
    named = {expectation.column for expectation in SUITES[name]}  # type: ignore[attr-defined]
    assert named == set(broken) | UNBROKEN.get(name, set())


def test_recommendations_of_what_is_only_popular(spark: "SparkSession", night: Night) -> None:
    rows = [row | {"reason": "popular", "because_id": None} for row in CASES["recommendations"][0]]
    assert missed("recommendations", frame(spark, night, "recommendations", rows)) == {"popular_share"}


def test_interactions_with_products_of_another_shop(spark: "SparkSession", night: Night) -> None:
    rows = [row | {"known": None} for row in CASES["interactions"][0]]
    assert missed("interactions", frame(spark, night, "interactions", rows)) == {"unknown_item_share"}


def test_large_groups_and_groups_without_a_record(spark: "SparkSession", night: Night) -> None:
    row = CASES["duplicates"][0][0]
    members = [row | {"item_id": f"a{n:02}" if n else "a", "survivor": not n, "merged": None} for n in range(duplicates.LARGEST + 1)]
    assert missed("duplicates", frame(spark, night, "duplicates", members)) == {"largest_group", "without_a_record"}
