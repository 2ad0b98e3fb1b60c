"""Every expectation refuses a frame that is broken in its own way, and none refuses a sound one."""

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from expectations import clean_items, raw_items, staged_neighbours, suite
from jobs.item import PARSED_DDL
from jobs.lake import Lake
from jobs.night import Night
from jobs.table import Table
from jobs.tables import CLEAN_ITEMS, STAGED_NEIGHBOURS
from tests.rows import clean_item, in_order

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation
    from pyspark.sql import DataFrame, SparkSession

HASH = "0" * 64
PARSED: dict[str, Any] = {
    **{"source": "sound", "file": "f", "row": 1, "id": "1", "title": "Garden chair", "description": "Teak", "brand": "Hay"},
    **{"category": "Chairs", "currency": "EUR", "gtin": "96385074", "attributes": {}, "content": HASH, "repaired": False},
    **{"price": 5, "quarantined": False, "repeated": False},
}
# figure -> what every row of a source has that breaks it
BROKEN_SOURCES: dict[str, dict[str, Any]] = {
    "quarantined_share": {"quarantined": True},
    "missing_id_share": {"id": None},
    "repeated_id_share": {"repeated": True},
    "broken_row_share": {"fault": "3 fields under a header of 2"},
    "title_length": {"title": "AB1"},
    "repaired_title_share": {"repaired": True},
    "description_share": {"description": None},
    "brand_share": {"brand": None},
    "category_share": {"category": None},
    "gtin_share": {"gtin": None},
    "price_share": {"price": None},
    "price_fault_share": {"price_fault": "price is not a number"},
    "zero_price_share": {"price": 0},
    "no_currency_share": {"currency": None},
}
# figure -> what one of two products has that breaks it
BROKEN_ITEMS: dict[str, dict[str, Any]] = {
    "null_ids": {"item_id": None},
    "repeated_ids": {"item_id": "1"},
    "blank_titles": {"title": " "},
    "unclean_titles": {"title": "Garden\tchair"},
    "negative_prices": {"price": Decimal(-1), "currency": "EUR"},
    "zero_prices": {"price": Decimal(0), "currency": "EUR"},
    "prices_without_currency": {"price": Decimal(5)},
    "strange_currencies": {"price": Decimal(5), "currency": "€"},
    "strange_gtins": {"gtin": "123"},
    "blank_texts": {"text": ""},
    "strange_hashes": {"content_hash": "0"},
}
PAIR: dict[str, Any] = {"item_id": "a", "rank": 1, "neighbour_id": "b", "similarity": 0.9, "model_id": "m"}
# figure -> what the second of two pairs has that breaks it
BROKEN_PAIRS: dict[str, dict[str, Any]] = {
    "null_keys": {"neighbour_id": None},
    "repeated_ranks": {"rank": 1},
    "repeated_pairs": {"neighbour_id": "b"},
    "items_with_gaps": {"rank": 3},
    "selves": {"neighbour_id": "a"},
    "highest_rank": {"rank": 4},
    "lowest_similarity": {"similarity": -1.1},
    "highest_similarity": {"similarity": 1.1},
    "null_similarities": {"similarity": float("nan")},
    "models": {"model_id": "other"},
}


def missed(table: str, expectations: list["Expectation"], figures: dict[str, Any]) -> set[str]:
    return {result.check.removeprefix(f"{table}: ") for result in suite.verdict(table, expectations, [figures]) if not result.passed}


def names(expectations: list["Expectation"]) -> set[str]:
    return {expectation.column for expectation in expectations}  # type: ignore[attr-defined]


@pytest.fixture
def cased(spark: "SparkSession", night: Night) -> Callable[[Table, dict[str, list[dict[str, Any]]]], "DataFrame"]:
    """One frame of several cases, named in the column `case`, so that one Spark job measures them all."""

    def of(table: Table, cases: dict[str, list[dict[str, Any]]]) -> "DataFrame":
        rows = [(name, *in_order(table, {"snapshot_date": night.date, **row})) for name, rows in cases.items() for row in rows]
        schema = StructType.fromDDL(f"case string, {table.ddl.replace(' NOT NULL', '')}")
        return spark.createDataFrame(rows, schema)

    return of


def test_raw_items(spark: "SparkSession") -> None:
    cases = {"sound": [PARSED]} | {name: [PARSED | change | {"source": name}] for name, change in BROKEN_SOURCES.items()}
    schema = StructType.fromDDL(f"{PARSED_DDL}, quarantined boolean, repeated boolean".replace("decimal(18,2)", "int"))
    rows = spark.createDataFrame([tuple(row.get(name) for name in schema.names) for rows in cases.values() for row in rows], schema)
    flagged = rows.select("source", "quarantined", "repeated", *(F.expr(sql).alias(flag) for flag, sql in raw_items.FLAGS.items()))
    mapped = {name: ["id", "title", "description", "brand", "category", "gtin", "price"] for name in [*cases, "rows"]}
    found = {row["group"]: missed("raw_items", raw_items.suite(0.5), row) for row in raw_items.figures(flagged, mapped)}
    assert found == {"sound": set()} | {name: {name} for name in [*BROKEN_SOURCES, "rows"]}  # no row at all: the source "rows"
    assert set(found) - {"sound"} == names(raw_items.suite(0.5))


def test_what_a_source_does_not_map_is_not_measured(spark: "SparkSession") -> None:
    schema = "source string, quarantined boolean, repeated boolean, " + ", ".join(f"{flag} boolean" for flag in raw_items.FLAGS)
    empty = spark.createDataFrame([], schema.replace("title_length boolean", "title_length int"))
    (figures,) = raw_items.figures(empty, {"shop": ["id", "title"]})
    assert figures["rows"] == 0
    assert figures["price_share"] is None


def test_clean_items(cased: Callable[[Table, dict[str, list[dict[str, Any]]]], "DataFrame"], night: Night) -> None:
    columns = CLEAN_ITEMS.column_names
    first, second = (dict(zip(columns, clean_item(night, key, f"Chair {key}"), strict=True)) for key in ("1", "2"))
    cases = {"sound": [first, second]} | {name: [first, second | change] for name, change in BROKEN_ITEMS.items()}
    cases["same_text_share"] = [first | {"item_id": key} for key in ("1", "2", "3")]
    found = {
        row["group"]: missed("clean_items", clean_items.suite(), row)
        for row in suite.measured(cased(CLEAN_ITEMS, cases), clean_items.FIGURES, by="case")
    }
    assert found.pop("sound") == set()
    assert found.pop("blank_titles") == {"blank_titles", "unclean_titles"}
    assert found == {name: {name} for name in found}
    assert set(cases) - {"sound"} | {"rows"} == names(clean_items.suite())


def test_staged_neighbours(cased: Callable[[Table, dict[str, list[dict[str, Any]]]], "DataFrame"]) -> None:
    second = PAIR | {"rank": 2, "neighbour_id": "c"}
    cases = {"sound": [PAIR, second]} | {name: [PAIR, second | change] for name, change in BROKEN_PAIRS.items()}
    per_item = (F.expr(sql).alias(name) for name, sql in staged_neighbours.PER_ITEM.items())
    items = cased(STAGED_NEIGHBOURS, cases).groupBy("case", "item_id").agg(*per_item)
    found = {
        row["group"]: missed("staged_neighbours", staged_neighbours.suite(3), row)
        for row in suite.measured(items, staged_neighbours.FIGURES, by="case")
    }
    assert found.pop("sound") == set()
    assert all(name in refused for name, refused in found.items())
    assert set(cases) - {"sound"} | {"rows"} == names(staged_neighbours.suite(3))


@pytest.mark.parametrize("module", [clean_items, staged_neighbours])
def test_an_empty_table_is_refused(module: Any, lake: Lake) -> None:
    table = {"clean_items": CLEAN_ITEMS, "staged_neighbours": STAGED_NEIGHBOURS}[module.TABLE]
    figures = module.figures(lake.frame(table, []))
    expectations = module.suite() if module is clean_items else module.suite(3)
    failed = [result for result in suite.verdict(module.TABLE, expectations, figures) if not result.passed]
    assert [result.check for result in failed] == [f"{module.TABLE}: rows"]
    assert failed[0].grade == "fail"


def test_the_worst_group_is_named() -> None:
    expectations = [suite.at_most("share", 0.5, "fail", "because"), suite.at_least("rows", 1, "warn", "because")]
    measured = [{"group": "a", "share": 0.4, "rows": 3.0}, {"group": "b", "share": 0.6, "rows": None}]
    first, second = suite.verdict("t", expectations, measured)
    assert first == suite.Result("t: share", "fail", False, 0.6, "<= 0.5", "because", "b")
    assert str(first) == "t: share (b) is 0.6, expected <= 0.5: because"
    assert second == suite.Result("t: rows", "warn", True, 3.0, ">= 1", "because", "a")
