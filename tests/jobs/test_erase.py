"""Whoever is forgotten is nobody at once, and after erasing nowhere: in no table, no version and no file. Others stay as they were."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from jobs import downstream, erase
from jobs.decisions import ANYONE, INTERACTIONS, QUARANTINED_INTERACTIONS, RECOMMENDATIONS, USER_KEYS
from jobs.errors import ConflictError, SettingsError, ToolchainError
from jobs.forget import forget, forgotten
from jobs.interaction import keyed, of_key
from jobs.lake import Lake
from jobs.night import Night
from jobs.settings import Settings
from jobs.table import Table
from tests.conftest import MINIMAL

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

KEY, AT = b"a key of the tests alone", datetime(2026, 1, 5, tzinfo=UTC)
ANN, BOB, NOBODY = "0" * 31 + "a", "0" * 31 + "b", "0" * 32


@pytest.fixture
def filled(lake: Lake, night: Night) -> Lake:
    """Ann and Bob, each in both tables, written more than once."""
    for table in (USER_KEYS, INTERACTIONS, QUARANTINED_INTERACTIONS, RECOMMENDATIONS):
        lake.create(table)
    keys = [(keyed(KEY, user), pseudonym, AT) for user, pseudonym in (("ann", ANN), ("bob", BOB))] + [(of_key(KEY), NOBODY, AT)]
    lake.append(USER_KEYS, lake.frame(USER_KEYS, keys), night)
    refused = [(night.date, "f", row, user, ["time is missing"], "{}") for row, user in enumerate([ANN, BOB, None])]
    listed = [(night.date, user, 1, "a", 0.5, "history", "b", "test") for user in (ANN, BOB, ANYONE)]
    lake.replace(RECOMMENDATIONS, lake.frame(RECOMMENDATIONS, listed), night)
    for item in ("a", "b"):  # the first version has files that the second has replaced
        rows = [(night.date, user, item, "view", AT, None, 1, 0) for user in (ANN, BOB)]
        lake.replace(INTERACTIONS, lake.frame(INTERACTIONS, rows), night)
        lake.replace(QUARANTINED_INTERACTIONS, lake.frame(QUARANTINED_INTERACTIONS, refused), night)
    return lake


def told(lake: Lake, *texts: str) -> list[str]:
    """Files of the lake in which one of the texts stands, whatever version they are of."""
    found = []
    for file in Path(lake.root).rglob("*"):
        if file.is_file():
            content = str(pq.read_table(file).to_pylist()) if file.suffix == ".parquet" else file.read_text("utf-8", errors="replace")
            if any(text in content for text in texts):
                found.append(str(file))
    return found


def test_forget_and_erase(filled: Lake, spark: "SparkSession", night: Night, settings_of: Callable[..., Settings]) -> None:
    assert told(filled, ANN, keyed(KEY, "ann"))
    assert forgotten(filled, ["ann", "ann", "eve"], KEY).startswith("forget: 1 of 2 users cut off from what they did, 1 were not known\n")
    assert forgotten(filled, ["eve"], KEY).startswith("forget: none of 1 users is known here")
    assert not told(filled, keyed(KEY, "ann"))  # at once: nobody finds the pseudonym any more, in no version
    assert {row["user_id"] for row in filled.read(USER_KEYS).collect()} == {BOB, NOBODY}
    counts = erase.run(spark, filled, settings_of(), night)
    assert counts.rows_out == 3
    assert not told(filled, ANN)
    assert [row["user_id"] for row in filled.read(INTERACTIONS, night).collect()] == [BOB]
    assert {row["user_id"] for row in filled.read(QUARANTINED_INTERACTIONS, night).collect()} == {BOB, None}
    assert {row["user_id"] for row in filled.read(RECOMMENDATIONS, night).collect()} == {BOB, ANYONE}
    assert erase.run(spark, filled, settings_of(), night).rows_out == 0  # there is nothing left to do


def test_a_writer_that_began_before_has_to_begin_again(filled: Lake, night: Night, tmp_path: Path) -> None:
    """Its files may be gone: a commit that names them would break the table."""
    began, purged = str(tmp_path / "began"), str(tmp_path / "purged")
    os.mkfifo(began)
    os.mkfifo(purged)

    def while_another_purges(value: str) -> str:
        Path(began).write_text("the transaction has begun", encoding="utf-8")
        Path(purged).read_text(encoding="utf-8")  # which waits for somebody to write there
        return value

    def purge() -> None:
        Path(began).read_text(encoding="utf-8")
        try:
            filled.purge(INTERACTIONS, "user_id", filled.spark.createDataFrame([], "user_id string"), night)
        finally:
            Path(purged).write_text("done", encoding="utf-8")

    rows = filled.frame(INTERACTIONS, [(night.date, BOB, "c", "view", AT, None, 1, 0)])
    other = Thread(target=purge)
    other.start()
    slow = rows.withColumn("item_id", F.udf(lambda value: while_another_purges(value), "string")("item_id"))
    with pytest.raises(ConflictError):
        filled.replace(INTERACTIONS, slow, night, empty=True)
    other.join()
    assert filled.read(INTERACTIONS, night).count() == 2


def test_a_writer_that_begins_meanwhile_keeps_its_files(filled: Lake, night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has written, and not committed yet, is younger than what the purge may remove."""
    inventory, late = Lake._files_before, Path(filled.root) / "interactions" / "snapshot_date=2026-01-05" / "part-of-another.parquet"

    def after_another(lake: Lake, table: Table, version: int) -> "DataFrame":
        late.write_bytes(b"rows of another writer")
        return inventory(lake, table, version)

    monkeypatch.setattr(Lake, "_files_before", after_another)
    early = late.with_name("part-of-a-writer-that-was-killed.parquet")
    early.write_bytes(b"rows of Ann")
    os.utime(early, (0, 0))
    filled.purge(INTERACTIONS, "user_id", filled.spark.createDataFrame([], "user_id string"), night)
    assert (late.exists(), early.exists()) == (True, False)


def test_a_stage_that_has_read_who_was_forgotten_begins_again(filled: Lake, night: Night) -> None:
    lake = downstream.of_people(filled)
    rows = lake.frame(INTERACTIONS, [(night.date, ANN, "c", "view", AT, None, 1, 0)])
    forgotten(filled, ["ann"], KEY)
    with pytest.raises(ConflictError, match="users were forgotten meanwhile"):
        lake.replace(INTERACTIONS, rows, night)


def test_nobody_is_named(lake: Lake) -> None:
    with pytest.raises(SettingsError, match="no user is named"):
        forgotten(lake, [], KEY)
    assert forgotten(lake, ["ann"], KEY) == "forget: nobody is known here"


def test_nobody_is_forgotten_where_there_can_be_no_lake(settings_of: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELFMATES_USER_KEY", KEY.decode())
    with pytest.raises(ToolchainError, match="Spark knows no s3://"):
        forget(settings_of(MINIMAL + '[lake]\nroot = "s3://bucket/lake"\n'), ["ann"])
