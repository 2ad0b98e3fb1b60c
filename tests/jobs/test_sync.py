"""A real SQLite file beside the table it follows."""

import json
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobs.errors import ContractError, SettingsError
from jobs.lake import Lake
from jobs.night import Night
from jobs.settings import Settings
from jobs.sync import sync
from jobs.tables import CURRENT_NEIGHBOURS
from tests.conftest import MINIMAL
from tests.rows import in_order

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Pairs = dict[tuple[str, int], str]  # neighbour_id by item_id and rank

FIRST: Pairs = {("a", 1): "b", ("a", 2): "c", ("b", 1): "a", ("c", 1): "a"}
SECOND: Pairs = {("a", 1): "c", ("a", 2): "b", ("b", 1): "a", ("d", 1): "a"}
THIRD: Pairs = {("a", 1): "d"}


@pytest.fixture
def settings(settings_of: Callable[[str], Settings]) -> Settings:
    return settings_of(MINIMAL + '[lake]\nroot = "lake"\n')


def frame(lake: Lake, pairs: Pairs) -> "DataFrame":
    rows = [
        in_order(
            CURRENT_NEIGHBOURS,
            {"item_id": item, "rank": rank, "neighbour_id": other, "similarity": 0.5, "parts": {"semantic": 0.5}, "model_id": "model"},
        )
        for (item, rank), other in pairs.items()
    ]
    return lake.frame(CURRENT_NEIGHBOURS, rows)


def stored(store: Path) -> Pairs:
    with sqlite3.connect(store) as database:
        rows = database.execute("SELECT item_id, rank, neighbour_id, similarity, parts, model_id FROM neighbours").fetchall()
    assert all((row[3], json.loads(row[4]), row[5]) == (0.5, {"semantic": 0.5}, "model") for row in rows)
    return {(row[0], row[1]): row[2] for row in rows}


def test_a_store_follows_night_by_night(lake: Lake, settings: Settings, tmp_path: Path, night: Night) -> None:
    """Also one that has missed some nights, and one that starts late."""
    lake.create(CURRENT_NEIGHBOURS)
    lazy, eager = tmp_path / "lazy.db", tmp_path / "eager.db"
    for day, pairs in enumerate([FIRST, SECOND, THIRD, SECOND]):
        lake.synchronise(CURRENT_NEIGHBOURS, frame(lake, pairs), Night(night.date + timedelta(days=day), "test"))
        assert "rows written" in sync(settings, eager)
        assert stored(eager) == pairs
        if day == 0:
            assert "4 rows written, 0 taken out, at version 1, the whole table" in sync(settings, lazy)
    assert sync(settings, eager) == "sync: at version 4 already"
    assert "since version 1" in sync(settings, lazy)
    assert stored(lazy) == SECOND


def test_a_sync_that_is_cut_off_has_done_nothing(lake: Lake, settings: Settings, tmp_path: Path, night: Night) -> None:
    lake.create(CURRENT_NEIGHBOURS)
    store = tmp_path / "store.db"
    lake.synchronise(CURRENT_NEIGHBOURS, frame(lake, FIRST), night)
    sync(settings, store)
    lake.synchronise(CURRENT_NEIGHBOURS, frame(lake, SECOND), night)
    with sqlite3.connect(store) as database:  # the last row of the second night cannot be written
        database.execute(
            "CREATE TRIGGER full BEFORE INSERT ON neighbours WHEN new.item_id = 'd' BEGIN SELECT RAISE(FAIL, 'disk full'); END"
        )
    with pytest.raises(SettingsError, match="cannot be written: disk full"):
        sync(settings, store)
    assert stored(store) == FIRST
    with sqlite3.connect(store) as database:
        database.execute("DROP TRIGGER full")
    assert "since version 1" in sync(settings, store)
    assert stored(store) == SECOND


def test_where_the_changes_are_gone_the_whole_table_is_taken(lake: Lake, settings: Settings, tmp_path: Path, night: Night) -> None:
    lake.create(CURRENT_NEIGHBOURS)
    store = tmp_path / "store.db"
    for pairs in (FIRST, SECOND, THIRD):
        lake.synchronise(CURRENT_NEIGHBOURS, frame(lake, pairs), night)
        if pairs is FIRST:
            sync(settings, store)
    changes = Path(lake.path(CURRENT_NEIGHBOURS)) / "_change_data"
    for file in changes.glob("*.parquet"):  # as a vacuum does after its retention
        file.unlink()
    assert "at version 3, the whole table" in sync(settings, store)
    assert stored(store) == THIRD


def test_what_is_not_there_is_told(lake: Lake, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"there is no table current_neighbours under .*\n  → publish a night first"):
        sync(settings, tmp_path / "store.db")
    lake.create(CURRENT_NEIGHBOURS)
    with pytest.raises(SettingsError, match="cannot be written"):
        sync(settings, tmp_path / "nowhere" / "store.db")
