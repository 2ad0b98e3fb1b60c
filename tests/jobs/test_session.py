"""What a session says of its work."""

import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from jobs.session import progress

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_progress_is_told_stage_by_stage(spark: "SparkSession", capsys: pytest.CaptureFixture[str]) -> None:
    """Of two Spark stages in turn, each from its first task on."""

    def slowly(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            time.sleep(0.4)
            yield batch

    tasks = spark.range(0, 800, 1, 8).mapInArrow(slowly, "id bigint")
    with progress(spark, "search", 800, "items", every=0.05):
        tasks.repartition(6, "id").mapInArrow(slowly, "id bigint").collect()
    said = capsys.readouterr().out.splitlines()
    steps = [[line for line in said if line.startswith(start)] for start in ("search:", "search, step 2:")]
    assert len(said) == len(steps[0]) + len(steps[1])
    for lines, tasks_of_step in zip(steps, (8, 6), strict=True):
        told = [int(re.fullmatch(r".*: (\d+) of 800 items", line)[1]) for line in lines]  # type: ignore[index]
        assert told  # Spark itself says what has ended but a few times a second
        assert told == sorted(set(told))
        assert set(told) <= {800 * done // tasks_of_step for done in range(1, tasks_of_step + 1)}
