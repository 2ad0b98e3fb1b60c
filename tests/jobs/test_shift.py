"""What a stage leaves behind when it works and when it fails, whoever raised."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobs import shift
from jobs.errors import ContractError, ShelfmatesError
from jobs.generate import generate
from jobs.keyboard import STOPPED
from jobs.lake import Lake
from jobs.night import Night
from jobs.settings import Settings
from jobs.tables import AUDIT_RESULTS, RAW_ITEMS, RUNS
from tests.conftest import MINIMAL

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture
def entry(lake: Lake) -> shift.Entry:
    for table in (RAW_ITEMS, AUDIT_RESULTS, RUNS):
        lake.create(table)
    return shift.Entry("validate", datetime.now(UTC))


@pytest.mark.parametrize(
    "wrapped", ["{}", "An error occurred\n\nJVM stacktrace:\nCaused by: [PYTHON_EXCEPTION] Traceback:\n{}\n SQLSTATE: 38000\n\tat org"]
)
def test_an_error_of_ours_is_found_in_javas_words_around_it(wrapped: str) -> None:
    found = ShelfmatesError.told_in(wrapped.format('  File "x.py", line 1\njobs.errors.ContractError: a thing: is\nwrong\n  → mend it'))
    assert isinstance(found, ContractError)
    assert (found.found, found.remedy) == ("a thing: is\nwrong", "mend it")
    assert ShelfmatesError.told_in("ValueError: of another kind") is None


def test_an_error_of_ours_in_a_python_worker_is_told_as_ours(
    spark: "SparkSession", lake: Lake, entry: shift.Entry, settings_of: Callable[[str], Settings], night: Night
) -> None:
    rows = [(night.date, "depot", "depot.csv", 1, "0", None, {"id": "1"})]
    lake.replace(RAW_ITEMS, lake.frame(RAW_ITEMS, rows), night)
    with pytest.raises(ContractError) as raised:
        shift._run(entry, lake, settings_of(MINIMAL), night)
    said = "raw_items holds rows of source 'depot', which the settings do not name"
    assert str(raised.value) == f"{said}\n  → run `shelfmates ingest` with these settings"
    assert entry.outcome == f"ContractError: {said}"
    shift._record(lake, settings_of(MINIMAL), night, [entry])
    (row,) = lake.read(RUNS, night).collect()
    assert (row["stage"], row["outcome"]) == ("validate", entry.outcome)
    assert row["seconds"] > 0
    assert row["peak_memory_mb"] > 100
    assert row["versions"]["pyspark"] == spark.version


def test_ctrl_c_ends_a_night_in_two_lines(spark: "SparkSession", tiny_model: Path, tmp_path: Path) -> None:
    """Of a whole process group, as a terminal does: in mid-stage, whatever Spark is at."""
    generate(tmp_path, 100, 1, date(2026, 11, 20))
    program = [sys.executable, "-m", "jobs", "run", "--date", "2026-11-20", "--settings", str(tmp_path / "shelfmates.toml")]
    command = ["env", "--default-signal=INT", *program]  # these tests may have been begun to pass over it
    environment = os.environ | {"SHELFMATES__EMBED__MODEL": str(tiny_model)}
    with subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as night:
        assert night.stdout is not None
        assert any(line.startswith("embed: ") for line in night.stdout)  # so many new texts
        os.killpg(night.pid, signal.SIGINT)
        said = night.communicate(timeout=60)[1]
    assert said.endswith(
        "\nshelfmates: stopped from the keyboard\n  → every table is as it was or has all that it was to have; run it again\n"
    )
    assert "Traceback" not in said
    assert night.returncode == STOPPED
    runs = {row["stage"]: row for row in Lake(spark, str(tmp_path / "lake")).read(RUNS).collect()}
    stopped = runs.pop("embed")
    assert (stopped["outcome"], stopped["seconds"] > 0, stopped["peak_memory_mb"] > 100) == ("stopped from the keyboard", True, True)
    assert {row["outcome"] for row in runs.values()} == {"ok"}
