"""Feeds of changes, night after night, against a dictionary that the same changes are made to."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from jobs import ingest
from jobs.errors import SettingsError, TransientError
from jobs.lake import Lake
from jobs.night import Night
from jobs.settings import Settings
from jobs.tables import AUDIT_RESULTS, RAW_ITEMS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SHOP = """
[sources.shop]
path = "feeds/{date}.csv"
mode = "changes"
deleted = { column = "action", values = ["delete", "D"] }
columns = { id = "id", title = "title" }
"""

Change = tuple[str, str, str]  # id, title, action


@pytest.fixture
def lake(lake: Lake) -> Lake:
    for table in (RAW_ITEMS, AUDIT_RESULTS):
        lake.create(table)
    return lake


@pytest.fixture
def settings(settings_of: Callable[[str], Settings], tmp_path: Path) -> Settings:
    (tmp_path / "feeds").mkdir()
    return settings_of(SHOP)


def send(folder: Path, night: Night, changes: list[Change]) -> None:
    lines = ["id,title,action", *(",".join(change) for change in changes)]
    (folder / "feeds" / f"{night.date}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def titles_of(lake: Lake, night: Night) -> dict[str, str]:
    rows = lake.read(RAW_ITEMS, night).collect()
    found = {row["values"]["id"]: row["values"]["title"] for row in rows}
    assert len(found) == len(rows)
    return found


def test_random_changes_make_the_catalogue_that_a_dictionary_has(
    spark: "SparkSession", lake: Lake, settings: Settings, tmp_path: Path, night: Night
) -> None:
    random, expected = np.random.default_rng(5), dict[str, str]()
    for day in range(4):
        one = Night(night.date + timedelta(days=day), "test")
        changes: list[Change] = []
        for n in range(25):
            item = f"{random.choice(list('spZ'))}{random.integers(0, 10)}s"  # letters that name kinds of space in a pattern
            if random.random() < 0.3 and day:
                changes.append((item, "", str(random.choice(["delete", "D"]))))
                expected.pop(item, None)
            else:
                changes.append((item, f"title {day} {n}", "update"))
                expected[item] = changes[-1][1]
        send(tmp_path, one, changes)
        counts = ingest.run(spark, lake, settings, one)
        assert (counts.rows_in, counts.rows_out) == (25, len(expected))
        assert titles_of(lake, one) == expected
    assert ingest.run(spark, lake, settings, one).rows_out == len(expected)  # a night that is run again
    item, title = next(iter(expected.items()))
    quiet, spaced = (Night(night.date + timedelta(days=day), "test") for day in (4, 5))
    send(tmp_path, quiet, [])
    assert ingest.run(spark, lake, settings, quiet).rows_in == 0
    assert titles_of(lake, quiet) == expected
    send(tmp_path, spaced, [(f"\t{item} ", title, "update")])  # white space around an id is not part of it
    assert ingest.run(spark, lake, settings, spaced).rows_out == len(expected)


def test_nights_of_changes_are_read_in_their_order(
    spark: "SparkSession", lake: Lake, settings: Settings, tmp_path: Path, night: Night
) -> None:
    nights = [Night(night.date + timedelta(days=day), "test") for day in range(3)]
    for n, one in enumerate(nights):
        send(tmp_path, one, [(f"i{n}", "Lamp", "update")])
    ingest.run(spark, lake, settings, nights[0])
    with pytest.raises(TransientError, match=r"those of 1 nights before 2026-01-07 have not been read: 2026-01-06\n  → run these nights"):
        ingest.run(spark, lake, settings, nights[2])
    ingest.run(spark, lake, settings, nights[1])
    ingest.run(spark, lake, settings, nights[2])
    assert titles_of(lake, nights[2]).keys() == {"i0", "i1", "i2"}
    again = ingest.run(spark, lake, settings, nights[1])
    assert "later nights were built on what this one was before, run them again in their order: 2026-01-07" in again.note
    assert titles_of(lake, nights[2]).keys() == {"i0", "i1", "i2"}  # it is left alone


def test_what_a_feed_has_deleted_to_the_last_product_stays_deleted(
    spark: "SparkSession", lake: Lake, settings: Settings, tmp_path: Path, night: Night
) -> None:
    """The night that has none is on record, until it is run again and has some."""
    nights = [Night(night.date + timedelta(days=day), "test") for day in range(3)]
    for one, changes in zip(nights, ([("i0", "Lamp", "update")], [("i0", "", "delete")], [("i1", "Desk", "update")]), strict=True):
        send(tmp_path, one, changes)
    ingest.run(spark, lake, settings, nights[0])
    emptied = ingest.run(spark, lake, settings, nights[1])
    assert (emptied.rows_out, emptied.note) == (0, "1 read, of shop what has changed, shop has no products left")
    ingest.run(spark, lake, settings, nights[2])
    assert titles_of(lake, nights[2]) == {"i1": "Desk"}
    send(tmp_path, nights[1], [("i2", "Pen", "update")])
    ingest.run(spark, lake, settings, nights[1])
    ingest.run(spark, lake, settings, nights[2])
    assert titles_of(lake, nights[2]) == {"i0": "Lamp", "i1": "Desk", "i2": "Pen"}
    assert lake.read(AUDIT_RESULTS, "check LIKE 'changes:%'").count() == 0


def test_changes_that_came_late_are_not_lost(
    spark: "SparkSession", lake: Lake, settings_of: Callable[[str], Settings], tmp_path: Path, night: Night
) -> None:
    """A night that was stood in for has to be run again once its feed is there."""
    (tmp_path / "feeds").mkdir()
    settings = settings_of(SHOP.replace('mode = "changes"', 'mode = "changes"\nmissing = "last"'))
    nights = [Night(night.date + timedelta(days=day), f"run {day}") for day in range(3)]
    send(tmp_path, nights[0], [("i0", "Lamp", "update")])
    ingest.run(spark, lake, settings, nights[0])
    assert ingest.run(spark, lake, settings, nights[1]).note == "of an earlier night those of shop"
    for n in (1, 2):
        send(tmp_path, nights[n], [(f"i{n}", "Lamp", "update")])
    with pytest.raises(TransientError, match="have not been read: 2026-01-06"):
        ingest.run(spark, lake, settings, nights[2])
    ingest.run(spark, lake, settings, Night(nights[1].date, "again"))
    ingest.run(spark, lake, settings, nights[2])
    assert titles_of(lake, nights[2]).keys() == {"i0", "i1", "i2"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("feeds/{date}.csv", "feeds/today.csv", "its path has to hold {date}"),
        ('mode = "changes"', 'mode = "full"', "'deleted' is for mode"),
        ('values = ["delete", "D"]', "values = []", "sources.shop.deleted.values"),
    ],
)
def test_settings_that_cannot_be(settings_of: Callable[[str], Settings], old: str, new: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        settings_of(SHOP.replace(old, new))
