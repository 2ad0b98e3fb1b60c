"""What maintenance takes away, what it leaves to coming nights, and what it does beside others who write and read."""

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from jobs import encoder, freshness, ingest, maintain
from jobs.errors import TransientError
from jobs.lake import Lake
from jobs.night import Night
from jobs.sections import Maintenance
from jobs.settings import Settings
from jobs.table import Table
from jobs.tables import AUDIT_RESULTS, CLEAN_ITEMS, ITEM_VECTORS, NEIGHBOURS, RAW_ITEMS, STAGED_NEIGHBOURS, TABLES
from tests.rows import clean_item, in_order

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

NIGHTS = [Night(date(2026, 1, day), "test") for day in range(1, 8)]
PUBLISHED, WAITING, NEXT = NIGHTS[4], NIGHTS[5], NIGHTS[6]
FORGOTTEN, KEPT = {night.date for night in NIGHTS[:2]}, {night.date for night in NIGHTS[2:6]}  # depot was last there on the third
LATER = Night(date(2027, 1, 1), "maintenance")
AGO = datetime.now(UTC) - timedelta(days=1)
SETTINGS = """
[sources.shop]
path = "feeds/{date}.csv"
columns = { id = "id", title = "title" }
[sources.depot]
path = "feeds/{date}-depot.csv"
missing = "last"
columns = { id = "id", title = "title" }
[maintenance]
audit_results = 30
neighbours = "for ever"
"""


def rows_of(night: Night) -> dict[Table, list[tuple[Any, ...]]]:
    """A row of each table for the night; the sixth night is not published, and depot sends nothing after the third."""
    n, pair = night.date.day, {"snapshot_date": night.date, "item_id": "a", "rank": 1, "neighbour_id": "b", "similarity": 0.5}
    pair |= {"parts": {}, "model_id": "m", "run_id": "test"}
    return {
        RAW_ITEMS: [(night.date, source, "f", 1, "0", None, {"id": source}) for source in ("shop", "depot") if source == "shop" or n <= 3],
        CLEAN_ITEMS: [clean_item(night, "a", f"Lamp {n}")],
        STAGED_NEIGHBOURS: [in_order(STAGED_NEIGHBOURS, pair)],
        NEIGHBOURS: [in_order(NEIGHBOURS, pair)] if n <= 5 else [],
        AUDIT_RESULTS: [(night.date, "test", freshness.missing("depot"), "fail", True, 2.0, "<= 3", "all: of a test")],
    }


def vectors(lake: Lake, model_id: str, *titles: str) -> "DataFrame":
    hashes = [clean_item(PUBLISHED, "a", title)[CLEAN_ITEMS.column_names.index("content_hash")] for title in titles]
    return lake.frame(ITEM_VECTORS, [(model_id, content_hash, 1, b"1234") for content_hash in hashes])


def files_of(lake: Lake, nights: set[date]) -> set[str]:
    """The files of these nights, of all tables."""
    tables = [table for table in TABLES.values() if table.partition == ("snapshot_date",)]
    files = {file for table in tables for file in lake.read(table).inputFiles()}
    return {file for file in files if any(f"snapshot_date={night}" in file for night in nights)}


def commits(lake: Lake) -> int:
    return len(list(Path(lake.root).glob("*/_delta_log/*.json")))


def test_a_lake_is_kept_small_and_the_next_night_finds_what_it_needs(
    spark: "SparkSession",
    lake: Lake,
    settings_of: Callable[[str], Settings],
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Lake, "vacuum", lambda *_: 0)  # it has a test of its own
    settings = settings_of(f'{SETTINGS}[embed]\nmodel = "{tiny_model}"\n')
    for table in TABLES.values():
        lake.create(table)
    for table in rows_of(PUBLISHED):
        rows = lake.frame(table, [row for night in NIGHTS[:6] for row in rows_of(night)[table]]).coalesce(1)
        for _ in range(2 if table is NEIGHBOURS else 1):  # files a night
            lake.append(table, rows, PUBLISHED)
    for _ in range(2):
        lake.append(ITEM_VECTORS, vectors(lake, "m", "unread"), PUBLISHED)
    needed = files_of(lake, KEPT)
    counts = maintain.run(spark, lake, settings, LATER)
    held = {table: lake.nights(table) for table in rows_of(PUBLISHED)}
    assert {table.name for table, nights in held.items() if FORGOTTEN & nights.keys()} == {"neighbours"}
    assert [held[NEIGHBOURS][night] for night in FORGOTTEN] == [1, 1]  # two files were put together
    assert files_of(lake, KEPT) == needed  # whatever their age, and nobody has touched them
    assert lake.read(ITEM_VECTORS).count() == 2
    told = f"of raw_items 2, of clean_items 2, of staged_neighbours 2, of audit_results 2, no vectors dropped while {WAITING.date} is not"
    assert told in counts.note
    assert (counts.rows_out, counts.figures["files_before"] - counts.figures["files_after"]) == (2, 4 * 2 + 2 + 1)
    before = commits(lake)
    assert maintain.run(spark, lake, settings, LATER).rows_out == 0
    assert commits(lake) == before  # there was nothing to do
    (tmp_path / "feeds").mkdir()
    (tmp_path / "feeds" / f"{NEXT.date}.csv").write_text("id,title\n1,Lamp\n", encoding="utf-8")
    assert ingest.run(spark, lake, settings, NEXT).note == "of an earlier night those of depot"
    check = f"check = '{freshness.missing('depot')}'"
    assert lake.read(AUDIT_RESULTS, NEXT).where(check).collect()[0]["figure"] == 4 + 2  # on the third, its rows were two days old


def test_how_old_a_night_may_get() -> None:
    held = {"staged_neighbours": {date(2026, 1, day): 1 for day in (1, 2, 3)}, "runs": {date(2000, 1, 1): 1}}
    how = Maintenance.model_validate({"staged_neighbours": 10, "runs": "for ever"})
    assert maintain.outdated(held, set(), how, date(2026, 1, 12)) == {"staged_neighbours": [date(2026, 1, 1)], "runs": []}
    assert maintain.outdated(held, {date(2026, 1, 1)}, how, date(2026, 1, 12))["staged_neighbours"] == []


def test_a_night_that_is_run_again_is_left_alone(lake: Lake) -> None:
    """As of a backfill: older than all that is needed, and written to an hour ago."""
    for table in (RAW_ITEMS, NEIGHBOURS):
        lake.create(table)
    for night in (NIGHTS[3], NIGHTS[0]):
        lake.append(RAW_ITEMS, lake.frame(RAW_ITEMS, rows_of(night)[RAW_ITEMS][:1]), night)
    held = {"neighbours": {night.date: 1 for night in NIGHTS[:5]}, "raw_items": {NIGHTS[3].date: 1, NIGHTS[0].date: 1}}
    assert maintain.needed(lake, held, AGO) == {NIGHTS[n].date for n in (0, 2, 3, 4)}  # the third is what the fourth is compared with
    assert maintain.needed(lake, held, datetime.now(UTC) + timedelta(days=1)) == {NIGHTS[n].date for n in (3, 4)}


def test_vectors_are_dropped_that_nobody_reads(lake: Lake, settings_of: Callable[[str], Settings], tiny_model: Path) -> None:
    settings, mine = settings_of(f'{SETTINGS}[embed]\nmodel = "{tiny_model}"\n'), encoder.model_id(tiny_model)
    for table in (CLEAN_ITEMS, ITEM_VECTORS, STAGED_NEIGHBOURS):
        lake.create(table)
    lake.append(CLEAN_ITEMS, lake.frame(CLEAN_ITEMS, [clean_item(PUBLISHED, title, title) for title in "abcdefg"]), PUBLISHED)
    lake.append(STAGED_NEIGHBOURS, lake.frame(STAGED_NEIGHBOURS, rows_of(PUBLISHED)[STAGED_NEIGHBOURS]), PUBLISHED)  # of model m
    lake.append(ITEM_VECTORS, vectors(lake, mine, *"abcdefg", "gone"), PUBLISHED)
    lake.append(ITEM_VECTORS, vectors(lake, "m", "a").unionAll(vectors(lake, "old", "a", "gone")), PUBLISHED)
    lake.append(ITEM_VECTORS, vectors(lake, "tried", "a"), PUBLISHED, {"model_id": "tried"})
    assert maintain.drop_vectors(lake, settings, LATER, AGO) == 2  # of the model that nobody uses; one in eight is not worth it
    lake.append(ITEM_VECTORS, vectors(lake, mine, "a", "b"), PUBLISHED)  # by a second run at once
    before = lake.version(ITEM_VECTORS)
    assert maintain.drop_vectors(lake, settings, LATER, AGO) == 3
    assert {row["model_id"]: row["count"] for row in lake.read(ITEM_VECTORS).groupBy("model_id").count().collect()} == {
        mine: 7,
        "m": 1,
        "tried": 1,
    }
    assert maintain.drop_vectors(lake, settings, LATER, AGO) == 0
    assert lake.version(ITEM_VECTORS) == before + 1
    lake.append(CLEAN_ITEMS, lake.frame(CLEAN_ITEMS, [clean_item(NEXT, "x", "gone")]), NEXT)  # while they were dropped
    assert maintain.put_back(lake, f"model_id = '{mine}'", before, LATER) == 1
    assert lake.read(ITEM_VECTORS).join(vectors(lake, mine, "gone"), ITEM_VECTORS.column_names).count() == 1


def test_what_is_appended_while_a_table_is_reduced_is_not_lost(lake: Lake, tmp_path: Path) -> None:
    lake.create(ITEM_VECTORS)
    lake.append(ITEM_VECTORS, vectors(lake, "m", "a", "b").coalesce(1), PUBLISHED)
    reading, go = str(tmp_path / "reading"), str(tmp_path / "go")

    def waiting(batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        open(reading, "w").close()
        while not os.path.exists(go):
            time.sleep(0.01)
        yield from batches

    stay = lake.read(ITEM_VECTORS).coalesce(1).mapInArrow(waiting, ITEM_VECTORS.ddl)
    raised: list[BaseException] = []

    def reduce() -> None:
        try:
            lake.reduce(ITEM_VECTORS, stay, "model_id = 'm'", LATER)
        except TransientError as error:
            raised.append(error)

    thread = Thread(target=reduce)
    thread.start()
    while not os.path.exists(reading):
        time.sleep(0.01)
    lake.append(ITEM_VECTORS, vectors(lake, "m", "c").coalesce(1), NEXT)
    open(go, "w").close()
    thread.join()
    assert str(raised[0]).startswith("another writer changed item_vectors at the same moment")
    assert lake.read(ITEM_VECTORS).count() == 3


def test_a_reader_goes_on_while_files_are_put_together_and_removed(lake: Lake) -> None:
    from deltalake import DeltaTable

    lake.create(AUDIT_RESULTS)
    for _ in range(2):
        lake.append(AUDIT_RESULTS, lake.frame(AUDIT_RESULTS, rows_of(PUBLISHED)[AUDIT_RESULTS]).coalesce(1), PUBLISHED)
    lake.append(AUDIT_RESULTS, lake.frame(AUDIT_RESULTS, rows_of(NIGHTS[0])[AUDIT_RESULTS]), NIGHTS[0])
    before = DeltaTable(lake.path(AUDIT_RESULTS))  # opens its files only when it is asked
    assert lake.vacuum(AUDIT_RESULTS, 7) == 0  # without a look: there are no others
    lake.compact(AUDIT_RESULTS, LATER, f"snapshot_date = DATE'{PUBLISHED.date}'")
    lake.drop(AUDIT_RESULTS, f"snapshot_date = DATE'{NIGHTS[0].date}'", LATER)
    folder = Path(lake.path(AUDIT_RESULTS)) / f"snapshot_date={PUBLISHED.date}"
    for name, days in (("killed", 8), ("at_work", 6)):  # files of writers that have not committed
        (folder / f"{name}.parquet").write_bytes(b"12345")
        os.utime(folder / f"{name}.parquet", (time.time() - 86_400 * days,) * 2)
    assert lake.vacuum(AUDIT_RESULTS, 7) == 5
    assert {file.stem for file in folder.glob("[ka]*.parquet")} == {"at_work"}
    assert before.to_pyarrow_table().num_rows == 3
    assert lake.nights(AUDIT_RESULTS) == {PUBLISHED.date: 1}
    assert lake.read(AUDIT_RESULTS).count() == 2
