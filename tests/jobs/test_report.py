"""The report of a small lake: stages, refused rows, neighbours by their titles; and what it says where there is nothing to tell."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobs.errors import ContractError, ToolchainError
from jobs.lake import Lake
from jobs.night import Night
from jobs.report import report
from jobs.settings import Settings
from jobs.tables import CLEAN_ITEMS, NEIGHBOURS, QUARANTINED_ITEMS, RUNS
from tests.conftest import MINIMAL
from tests.rows import clean_item, in_order


@pytest.fixture
def settings(settings_of: Callable[[str], Settings]) -> Settings:
    return settings_of(MINIMAL + '[lake]\nroot = "lake"\n[validate]\ndocs = "docs"\n')


@pytest.fixture
def empty(lake: Lake) -> Lake:
    for table in (RUNS, QUARANTINED_ITEMS, CLEAN_ITEMS, NEIGHBOURS):
        lake.create(table)
    return lake


def run_row(night: Night, stage: str, rows_in: int, rows_out: int, outcome: str = "ok", hour: int = 3) -> tuple[object, ...]:
    values = {"rows_in": rows_in, "rows_out": rows_out, "outcome": outcome, "seconds": 1.5, "peak_memory_mb": 900.0}
    started = {"started_at": datetime(2026, 1, 5, hour, tzinfo=UTC), "figures": {}, "versions": {}}
    return in_order(RUNS, {"snapshot_date": night.date, "run_id": night.run_id, "stage": stage} | values | started)


def refused_row(night: Night, row: int, *reasons: str) -> tuple[object, ...]:
    where = {"snapshot_date": night.date, "source": "shop", "file": "/feeds/shop.csv", "row": row}
    return in_order(QUARANTINED_ITEMS, where | {"reasons": list(reasons), "values": "{}"})


def test_the_report_of_a_night(empty: Lake, settings: Settings, night: Night, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [
        run_row(night, "clean", 0, 0, "lost", 3),
        run_row(night, "clean", 12345, 12000, hour=4),
        run_row(night, "embed", 12000, 7, hour=5),
    ]
    empty.append(RUNS, empty.frame(RUNS, runs), night)
    refused = [refused_row(night, 9, "id is missing"), refused_row(night, 7, "id is missing", "price is negative")]
    empty.replace(QUARANTINED_ITEMS, empty.frame(QUARANTINED_ITEMS, refused), night)
    items = [clean_item(night, "a", "Red lamp"), clean_item(night, "b", "Blue lamp")]
    empty.replace(CLEAN_ITEMS, empty.frame(CLEAN_ITEMS, items), night)
    pair = {"snapshot_date": night.date, "item_id": "a", "rank": 1, "neighbour_id": "b", "similarity": 0.875}
    pair |= {"parts": {"semantic": 0.875}, "model_id": "tiny", "run_id": night.run_id}
    empty.replace(NEIGHBOURS, empty.frame(NEIGHBOURS, [in_order(NEIGHBOURS, pair)]), night)
    page = tmp_path / "docs" / "2026-01-05" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text("", encoding="utf-8")
    report(settings)
    said = capsys.readouterr().out
    lines = [line.split() for line in said.splitlines()]
    assert ["clean", "12,345", "12,000", "1.5", "900", "ok"] in lines  # the last try of a stage counts
    assert ["embed", "12,000", "7", "1.5", "900", "ok"] in lines
    assert ["together", "3.0"] in lines
    assert "lost" not in said
    assert "       2  id is missing  (shop, for instance shop.csv row 7)" in said
    assert "       1  price is negative  (shop, for instance shop.csv row 7)" in said
    assert "Night 2026-01-05: neighbours of 1 products\n  Red lamp  [a]\n    0.875  Blue lamp  [b]\n" in said
    assert f"Tables     {tmp_path}/lake\nData Docs  {page}\n" in said


def test_a_night_that_ended_early(empty: Lake, settings: Settings, night: Night, capsys: pytest.CaptureFixture[str]) -> None:
    empty.append(RUNS, empty.frame(RUNS, [run_row(night, "ingest", 0, 0, "source 'shop': there is no feed")]), night)
    report(settings)
    said = capsys.readouterr().out
    assert "source 'shop': there is no feed" in said
    assert "Night 2026-01-05: nothing was quarantined" in said
    assert "Night 2026-01-05: no neighbours are published" in said


def test_a_lake_without_a_night(empty: Lake, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    report(settings)
    said = capsys.readouterr().out
    assert "No night has been run on this lake yet; `shelfmates run --date YYYY-MM-DD` runs one" in said
    assert f"Tables     {empty.root}" in said


def test_a_lake_without_tables(settings: Settings) -> None:
    with pytest.raises(ToolchainError, match=r"there are no tables under .*\n  → run a night first"):
        report(settings)


def test_a_lake_that_lacks_a_table(lake: Lake, settings: Settings) -> None:
    lake.create(CLEAN_ITEMS)
    with pytest.raises(ContractError, match=r"cannot be read: .*runs does not exist.*\n.*shelfmates prepare"):
        report(settings)
