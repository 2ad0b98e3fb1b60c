"""What a stage leaves behind when it works and when it fails, whoever raised."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from jobs import shift
from jobs.errors import ContractError, ShelfmatesError
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
