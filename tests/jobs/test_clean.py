"""Cleaning: what rows become (golden tables), and that every raw row is accounted for."""

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING

import pytest

from jobs import clean, item
from jobs.errors import ContractError
from jobs.lake import Lake
from jobs.night import Night
from jobs.settings import Settings
from jobs.tables import AUDIT_RESULTS, CLEAN_ITEMS, QUARANTINED_ITEMS, RAW_ITEMS
from tests import cases

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SHOP = """
[sources.shop]
path = "shop.csv"
columns = { id = "id", title = "name" }
"""


def stored(lake: Lake, night: Night, *titles: tuple[str, str]) -> None:
    """Raw rows of one shop, of which the third is quarantined."""
    for table in (RAW_ITEMS, QUARANTINED_ITEMS, CLEAN_ITEMS, AUDIT_RESULTS):
        lake.create(table)
    rows: list[tuple[object, ...]] = [
        (night.date, "shop", "shop.csv", row, "0", None, {"id": key, "name": title}) for row, (key, title) in enumerate(titles, 1)
    ]
    lake.replace(RAW_ITEMS, lake.frame(RAW_ITEMS, rows), night)
    refused: list[tuple[object, ...]] = [(night.date, "shop", "shop.csv", 3, None, ["because"], "{}")]
    lake.replace(QUARANTINED_ITEMS, lake.frame(QUARANTINED_ITEMS, refused), night)


@pytest.mark.parametrize("case", cases.of("clean"), ids=lambda case: case.folder.name)
def test_golden(case: cases.Case, lake: Lake, night: Night) -> None:
    raw = lake.frame(RAW_ITEMS, case.raw(night))
    found = clean.products(item.parsed(raw, case.settings), case.settings, night)
    assert found.columns == CLEAN_ITEMS.column_names
    rows = [row.asDict() for row in found.collect()]
    assert {len(row.pop("content_hash")) for row in rows} == {64}
    told = {
        row["item_id"]: {k: str(v) if k == "price" else v for k, v in row.items() if v is not None and k != "snapshot_date"} for row in rows
    }
    assert told == {row["item_id"]: row for row in case.expected}


def test_every_row_is_accounted_for(spark: "SparkSession", lake: Lake, settings_of: Callable[[str], Settings], night: Night) -> None:
    stored(lake, night, ("1", "Chair"), ("1", "Chair "), ("", "?"), ("2", "Table"))
    counts = clean.run(spark, lake, settings_of(SHOP), night)
    assert (counts.rows_in, counts.rows_out, counts.figures["folded"]) == (4, 2, 1)
    first = lake.read(CLEAN_ITEMS, night).orderBy("item_id").collect()
    assert [(row.item_id, row.folded) for row in first] == [("1", 1), ("2", 0)]
    assert clean.run(spark, lake, settings_of(SHOP), night) == counts
    assert lake.read(CLEAN_ITEMS, night).orderBy("item_id").collect() == first


def test_rows_that_validate_should_have_refused(
    spark: "SparkSession", lake: Lake, settings_of: Callable[[str], Settings], night: Night
) -> None:
    stored(lake, night, ("1", "Chair"), ("1", "Table"), ("", "?"), ("2", ""), ("", "Sofa"))
    with pytest.raises(ContractError, match="3 products have no id, no title or rows that contradict each other"):
        clean.run(spark, lake, settings_of(SHOP), night)
    assert lake.read(CLEAN_ITEMS, night).isEmpty()


def test_a_night_that_was_not_ingested(spark: "SparkSession", lake: Lake, settings_of: Callable[[str], Settings], night: Night) -> None:
    stored(lake, Night(date(2026, 1, 4), "before"), ("1", "Chair"))
    with pytest.raises(ContractError, match=r"raw_items has no rows of 2026-01-05\n  → run ingest and validate for this date first"):
        clean.run(spark, lake, settings_of(SHOP), night)


def test_a_sum_that_does_not_come_out(night: Night) -> None:
    with pytest.raises(ContractError, match=r"10 raw rows, but 1 quarantined \+ 2 folded \+ 6 clean"):
        clean.check(night, 10, 1, {"items": 6, "folded": 2, "unfit": 0})
