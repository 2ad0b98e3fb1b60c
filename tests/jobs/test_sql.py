"""SQL over a small lake: the forms of an answer, looking back, and what is said of a lake or a version that is not there."""

import json
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.address import delta_table
from jobs.errors import ContractError, SettingsError, ToolchainError
from jobs.lake import Lake
from jobs.night import Night
from jobs.settings import Settings
from jobs.sql import answer
from jobs.tables import AUDIT_RESULTS, CLEAN_ITEMS, ITEM_VECTORS, QUARANTINED_ITEMS, RUNS, TABLES
from tests.conftest import MINIMAL
from tests.rows import clean_item, in_order
from tests.small_store import serving_apart

NIGHTS = (Night(date(2026, 1, 5), "first"), Night(date(2026, 1, 6), "second"))
TITLES = "SELECT item_id, title, price FROM clean_items ORDER BY snapshot_date, item_id"


@pytest.fixture
def settings(settings_of: Callable[[str], Settings]) -> Settings:
    return settings_of(MINIMAL + '[lake]\nroot = "lake"\n')


@pytest.fixture
def two_nights(lake: Lake) -> Lake:
    """clean_items with a commit a night, versions 1 and 2; item_vectors with one, version 1."""
    lake.create(CLEAN_ITEMS)
    lake.create(ITEM_VECTORS)
    for night, title in zip(NIGHTS, ('Lamp, "red"', "Café"), strict=True):
        lake.replace(CLEAN_ITEMS, lake.frame(CLEAN_ITEMS, [clean_item(night, "a", title)]), night)
    vector = {"model_id": "tiny", "content_hash": "0", "dimension": 2, "vector": np.array([0.6, 0.8], "<f4").tobytes()}
    lake.append(ITEM_VECTORS, lake.frame(ITEM_VECTORS, [in_order(ITEM_VECTORS, vector)]), NIGHTS[0])
    return lake


def asked(settings: Settings, query: str, at: str | None = None) -> Any:
    return json.loads(answer(settings, query, at=at, form="json"))


def test_an_answer_comes_as_table_csv_or_json(two_nights: Lake, settings: Settings) -> None:
    assert "│ a       │ Café" in answer(settings, TITLES)
    assert answer(settings, TITLES, form="csv") == 'item_id,title,price\na,"Lamp, ""red""",\na,Café,'
    assert answer(settings, TITLES, form="json") == (
        '[{"item_id": "a", "title": "Lamp, \\"red\\"", "price": null}, {"item_id": "a", "title": "Café", "price": null}]'
    )
    assert answer(settings, "SET threads = 1") == "done"
    assert asked(settings, "SELECT vector FROM item_vectors_unpacked") == [{"vector": pytest.approx([0.6, 0.8])}]


def test_it_looks_back_by_night_and_by_version(two_nights: Lake, settings: Settings) -> None:
    titles = "SELECT title FROM clean_items"
    assert asked(settings, titles, at="2026-01-05") == [{"title": 'Lamp, "red"'}]
    assert asked(settings, titles, at="1") == [{"title": 'Lamp, "red"'}]
    assert len(asked(settings, titles, at="2")) == 2
    assert asked(settings, titles, at="0") == []
    vectors = "SELECT count(*) AS n FROM item_vectors"  # a table without nights: as of the newest commit up to the night
    assert asked(settings, vectors, at="2026-01-06") == [{"n": 1}]
    assert asked(settings, vectors, at="2026-01-04") == [{"n": 0}]


def test_a_lake_in_s3_is_read_without_spark(
    two_nights: Lake, settings_of: Callable[[str], Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    for table in TABLES.values():
        two_nights.create(table)
    lake = Path(two_nights.root)
    with serving_apart(lake.parent) as url:
        told = {"ENDPOINT_URL_S3": url, "ACCESS_KEY_ID": "an-id", "SECRET_ACCESS_KEY": "a-secret", "REGION": "us-east-1"}
        for name, value in told.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        settings = settings_of(MINIMAL + f'[lake]\nroot = "s3a://bucket/{lake.name}"\n')
        assert [row["title"] for row in asked(settings, TITLES)] == ['Lamp, "red"', "Café"]
        assert asked(settings, TITLES, at="2026-01-05") == [{"item_id": "a", "title": 'Lamp, "red"', "price": None}]
        assert asked(settings, "SELECT vector FROM item_vectors_unpacked") == [{"vector": pytest.approx([0.6, 0.8])}]
        read = delta_table(f"s3a://bucket/{lake.name}/clean_items").to_pyarrow_table()
        assert sorted(read["title"].to_pylist()) == ["Café", 'Lamp, "red"']


@pytest.mark.parametrize(
    ("query", "at", "newest"),
    [
        (TITLES, "20260105", "clean_items has no such version, its newest is 2"),
        (TITLES, "999", "clean_items has no such version, its newest is 2"),
        ("SELECT * FROM Clean_Items JOIN item_vectors USING (content_hash)", "2", "item_vectors has no such version, its newest is 1"),
        ("SELECT * FROM item_vectors_unpacked", "2", "item_vectors has no such version, its newest is 1"),
    ],
)
def test_a_version_that_is_not_there_yet_is_refused(two_nights: Lake, settings: Settings, query: str, at: str, newest: str) -> None:
    with pytest.raises(SettingsError, match=rf"--at {at}: {newest}\n.*each table counts its own versions.* 2026-11-20"):
        answer(settings, query, at=at)


def test_only_the_tables_of_the_query_count(two_nights: Lake, settings: Settings) -> None:
    assert len(asked(settings, TITLES, at="2")) == 2  # item_vectors has no version 2


@pytest.mark.parametrize("at", ["tomorrow", "-1", "²"])
def test_neither_a_date_nor_a_version(two_nights: Lake, settings: Settings, at: str) -> None:
    with pytest.raises(SettingsError, match=f"--at '{at}' is neither a date nor a version number"):
        answer(settings, TITLES, at=at)


def test_wrong_sql_is_told_with_the_tables(two_nights: Lake, settings: Settings) -> None:
    with pytest.raises(SettingsError, match=r"(?s)DuckDB says: .*titel.*\n  → tables here: .*clean_items"):
        answer(settings, "SELECT titel FROM clean_items")


def test_what_the_readme_asks_is_sql(lake: Lake, settings: Settings) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    queries = [query for _, query in re.findall(r"shelfmates sql (['\"])(SELECT .+?)\1", readme)]
    assert len(queries) == 4
    for table in (AUDIT_RESULTS, QUARANTINED_ITEMS, RUNS):
        lake.create(table)
    for query in queries:
        assert asked(settings, query, at="2026-01-05") == []


def test_a_lake_without_tables(settings: Settings) -> None:
    with pytest.raises(ToolchainError, match=r"there are no tables under .*/lake\n  → run a night first"):
        answer(settings, TITLES)


def test_a_damaged_table_is_told(two_nights: Lake, settings: Settings) -> None:
    log = Path(two_nights.path(CLEAN_ITEMS)) / "_delta_log"
    for commit in log.glob("*.json"):
        commit.unlink()
    for at in (None, "1", "2026-01-05"):
        with pytest.raises(ContractError, match=r"the lake's tables cannot be read: .*\n  → .*lake\.root.*restored from a copy"):
            answer(settings, TITLES, at=at)
