"""Columns that come, go and change from night to night."""

from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest

from jobs import drift
from jobs.lake import Lake
from jobs.night import Night
from jobs.tables import NEIGHBOURS, RAW_ITEMS
from tests.rows import in_order

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def raw(night: Night, source: str, values: list[dict[str, str]]) -> list[tuple[object, ...]]:
    same = {"snapshot_date": night.date, "source": source, "file": "feed.csv", "file_sha256": "0"}
    return [in_order(RAW_ITEMS, same | {"row": n, "values": value}) for n, value in enumerate(values, start=1)]


@pytest.mark.parametrize(
    ("then", "now", "different"),
    [
        ({"id": "1", "size": "7"}, {"id": "1", "colour": "red"}, (["shop.colour"], ["shop.size"], [])),
        ({"id": "1", "size": "7"}, {"id": "2", "size": "small"}, ([], [], ["shop.size"])),
        ({"id": "x1", "size": " "}, {"id": "x1", "size": "small"}, ([], [], [])),  # an empty column is of every type
        ({"id": "1"}, {"id": "2", "+3": "too many", "": "broken"}, ([], [], [])),  # what a broken row holds is no column
    ],
)
def test_what_has_become_of_the_columns(
    spark: "SparkSession", lake: Lake, night: Night, then: dict[str, str], now: dict[str, str], different: tuple[list[str], ...]
) -> None:
    before, held = (Night(night.date - timedelta(days=days), "test") for days in (2, 1))
    for table in (RAW_ITEMS, NEIGHBOURS):
        lake.create(table)
    lake.append(RAW_ITEMS, lake.frame(RAW_ITEMS, raw(before, "shop", [then] * 5)), before)
    assert drift.results(lake, before, "warn") == []
    pair = {"snapshot_date": before.date, "item_id": "1", "rank": 1, "neighbour_id": "2", "similarity": 0.5, "parts": {}, "model_id": "m"}
    lake.append(NEIGHBOURS, lake.frame(NEIGHBOURS, [in_order(NEIGHBOURS, pair | {"run_id": "test"})]), before)
    for later in (held, night):  # a night that was not published is no yardstick
        lake.append(RAW_ITEMS, lake.frame(RAW_ITEMS, [*raw(later, "shop", [now] * 5), *raw(later, "new", [{"id": "1"}])]), later)
    found = drift.results(lake, night, "fail")
    assert [result.check for result in found] == [
        "raw_items: new columns",
        "raw_items: vanished columns",
        "raw_items: columns of another type",
    ]
    for result, names in zip(found, different, strict=True):
        assert (result.passed, result.figure, result.grade) == (not names, len(names), "fail")
        assert all(f"{name} against {date(2026, 1, 3)}" in result.reason for name in names)
