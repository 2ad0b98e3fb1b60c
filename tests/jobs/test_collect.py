"""Interactions as they come: pseudonyms that stay, rows that are no event, and ids that are nowhere to be found."""

from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobs import collect, commands, downstream
from jobs.decisions import INTERACTIONS, QUARANTINED_INTERACTIONS, USER_KEYS
from jobs.errors import ConflictError, HeldError, SettingsError, SourceError
from jobs.feed import rows
from jobs.forget import forgotten
from jobs.interaction import Reason, keyed
from jobs.lake import Lake
from jobs.night import Night
from jobs.settings import Settings
from jobs.stages import DOWNSTREAM
from jobs.table import Table
from jobs.user_key import user_key
from tests.conftest import MINIMAL
from tests.decided import publish

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SETTINGS = (
    MINIMAL
    + """
[interactions]
path = "feeds/{date}/events.csv"
columns = { user = "user", item = "item", time = "time", event = "event", order = "order" }
"""
)
HEADER = "user,item,time,event,order\n"
ROWS = [
    "ann@example.com,a,2026-01-05T10:00,purchase,o1",
    "ann@example.com,a,2026-01-05T10:00,purchase,o1",  # sent twice
    "ann@example.com,b,2026-01-05T10:01,view,",
    "bob@example.com,z,2026-01-05T10:02,view,",  # not in the catalogue
    "bob@example.com,a,soon,view,",
    ",a,2026-01-05T10:00,like,",
]


@pytest.fixture
def settings(settings_of: Callable[[str], Settings], monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("SHELFMATES_USER_KEY", "a key of the tests alone")
    return settings_of(SETTINGS)


def feed(folder: Path, night: Night, rows: list[str]) -> None:
    file = folder / "feeds" / str(night.date) / "events.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(HEADER + "\n".join(rows) + "\n", encoding="utf-8")


def test_collect(spark: "SparkSession", lake: Lake, night: Night, settings: Settings, tmp_path: Path) -> None:
    publish(lake, night, {"a": {}, "b": {}}, {"a": {"b": 0.9}})
    feed(tmp_path, night, ROWS)
    counts = collect.run(spark, lake, settings, night)
    assert (counts.rows_in, counts.rows_out) == (6, 3)
    assert counts.note == "of 2 users (2 new), 2 rows quarantined, 1 folded"
    events = {(row["item_id"], row["event"]): row for row in lake.read(INTERACTIONS, night).collect()}
    assert events["a", "purchase"]["folded"] == 1
    assert events["a", "purchase"]["user_id"] == events["b", "view"]["user_id"] != events["z", "view"]["user_id"]
    refused = {row["row"]: row for row in lake.read(QUARANTINED_INTERACTIONS, night).collect()}
    assert {row: found["reasons"] for row, found in refused.items()} == {5: [Reason.NO_TIME], 6: [Reason.NO_USER, Reason.UNKNOWN_EVENT]}
    assert refused[5]["user_id"] == events["z", "view"]["user_id"]  # so that it goes when Bob goes

    # another night: who is known keeps the pseudonym; the same night again: the same rows
    later = replace(night, date=night.date + timedelta(days=1))
    publish(lake, later, {"a": {}, "b": {}}, {"a": {"b": 0.9}})
    feed(tmp_path, later, ["ann@example.com,b,2026-01-06T10:00,view,", "eve@example.com,b,2026-01-06T10:00,view,"])
    assert "(1 new)" in collect.run(spark, lake, settings, later).note
    assert events["b", "view"]["user_id"] in {row["user_id"] for row in lake.read(INTERACTIONS, later).collect()}
    collect.run(spark, lake, settings, night)
    assert {row["user_id"] for row in lake.read(INTERACTIONS, night).collect()} == {row["user_id"] for row in events.values()}
    assert lake.read(USER_KEYS).count() == 4  # and the hash by which the key is known again
    stored = b"".join(file.read_bytes() for file in Path(lake.root).rglob("*") if file.is_file())
    assert b"example.com" not in stored


def test_the_key_is_asked_for_before_other_stages_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHELFMATES_USER_KEY", raising=False)
    file = tmp_path / "shelfmates.toml"
    file.write_text(SETTINGS, encoding="utf-8")
    given = Namespace(settings=file, set=[], stages=[*DOWNSTREAM], then=[], date=date(2026, 1, 5), run_id=None, figures=False)
    with pytest.raises(SettingsError, match="there is no SHELFMATES_USER_KEY in the environment"):
        commands.downstream(given)


def test_another_key_is_refused(
    spark: "SparkSession", lake: Lake, night: Night, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With it everybody would be somebody new, and forgetting would find nobody."""
    publish(lake, night, {"a": {}, "b": {}}, {"a": {"b": 0.9}})
    feed(tmp_path, night, ROWS)
    collect.run(spark, lake, settings, night)
    monkeypatch.setenv("SHELFMATES_USER_KEY", "another key than before")
    with pytest.raises(SettingsError, match="SHELFMATES_USER_KEY is not the key that the users of this lake are known by"):
        collect.run(spark, lake, settings, night)
    with pytest.raises(SettingsError, match="is not the key"):
        forgotten(lake, ["ann@example.com"], user_key())


def test_a_pseudonym_that_another_night_gave_at_once(
    spark: "SparkSession", lake: Lake, night: Night, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two the first counts: who has used the other one begins again, and then everybody has one."""
    publish(lake, night, {"a": {}, "b": {}}, {"a": {"b": 0.9}})
    feed(tmp_path, night, ROWS)
    first = (keyed(user_key(), "ann@example.com"), "f" * 32, datetime(2026, 1, 1, tzinfo=UTC))
    put = downstream.put

    def after_another(on: Lake, table: Table, rows: "DataFrame", of: Night) -> None:
        put(on, table, rows, of)
        lake.append(USER_KEYS, lake.frame(USER_KEYS, [first]), night)

    monkeypatch.setattr(collect, "put", after_another)
    with pytest.raises(ConflictError, match="another night has given a user a pseudonym at the same moment"):
        collect.run(spark, lake, settings, night)
    monkeypatch.setattr(collect, "put", put)
    collect.run(spark, lake, settings, night)
    assert lake.read(INTERACTIONS, night).where("item_id = 'a'").collect()[0]["user_id"] == "f" * 32


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("csv", "ann@example.com,a,2026-01-05T10:00,view,\n"),  # no header
        ("jsonl", '{"user": "x", "item": "a", "time": "0"}\n{"user": "ann@example.com'),  # cut
        ("json", '["ann@example.com"]'),
        ("csv", HEADER + "ann\udce9@example.com,a,2026-01-05T10:00,view,\n"),  # another encoding
    ],
)
def test_no_error_tells_what_stands_in_the_feed(
    spark: "SparkSession", settings: Settings, night: Night, tmp_path: Path, form: str, text: str
) -> None:
    """Errors go to logs, to messages, and to the table `runs`."""
    file = tmp_path / "feeds" / str(night.date) / "events.csv"
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8", errors="surrogateescape")
    assert settings.interactions is not None
    how = settings.interactions.model_copy(update={"format": form})
    with pytest.raises(SourceError) as refused:
        list(rows(collect.NAME, how, str(file)))
    assert "ann" not in str(refused.value)
    assert "source 'interactions'" in str(refused.value)


def test_a_feed_of_nonsense_is_refused(spark: "SparkSession", lake: Lake, night: Night, settings: Settings, tmp_path: Path) -> None:
    publish(lake, night, {"a": {}, "b": {}}, {"a": {"b": 0.9}})
    feed(tmp_path, night, ["ann,a,never,view,"] * 3 + ROWS[:1])
    with pytest.raises(
        HeldError, match="3 of 4 rows of the interactions are refused, most of them because time is missing, or neither ISO 8601"
    ):
        collect.run(spark, lake, settings, night)
    assert not lake.exists(INTERACTIONS)
    assert lake.read(QUARANTINED_INTERACTIONS, night).count() == 3


def test_without_a_key_nobody_is_read(
    spark: "SparkSession", lake: Lake, night: Night, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELFMATES_USER_KEY", "secret")
    with pytest.raises(SettingsError, match="SHELFMATES_USER_KEY has 6 bytes, expected 16 or more") as refused:
        collect.run(spark, lake, settings, night)
    assert "secret" not in str(refused.value)
    monkeypatch.delenv("SHELFMATES_USER_KEY")
    with pytest.raises(SettingsError, match="there is no SHELFMATES_USER_KEY in the environment"):
        collect.run(spark, lake, settings, night)


def test_without_a_section_there_is_nothing_to_collect(
    spark: "SparkSession", lake: Lake, night: Night, settings_of: Callable[..., Settings]
) -> None:
    assert collect.run(spark, lake, settings_of(), night).note == "the settings have no section [interactions]"
    assert not lake.exists(USER_KEYS)
