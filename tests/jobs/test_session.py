"""What a session says of its work."""

import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from jobs.session import progress

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def slowly() -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def wait(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            time.sleep(0.4)
            yield batch

    return wait  # of a function of this module the workers would look for the module


def test_progress_is_told_stage_by_stage(spark: "SparkSession", capsys: pytest.CaptureFixture[str]) -> None:
    """Of two Spark stages in turn, each from its first task on."""
    tasks = spark.range(0, 800, 1, 8).mapInArrow(slowly(), "id bigint")
    with progress(spark, "search", 800, "items", every=0.05):
        tasks.repartition(6, "id").mapInArrow(slowly(), "id bigint").collect()
    said = capsys.readouterr().out.splitlines()
    steps = [[line for line in said if line.startswith(start)] for start in ("search:", "search, step 2:")]
    assert len(said) == len(steps[0]) + len(steps[1])
    for lines, tasks_of_step in zip(steps, (8, 6), strict=True):
        told = [int(re.fullmatch(r".*: (\d+) of 800 items", line)[1]) for line in lines]  # type: ignore[index]
        assert told  # Spark itself says what has ended but a few times a second
        assert told == sorted(set(told))
        assert set(told) <= {800 * done // tasks_of_step for done in range(1, tasks_of_step + 1)}


def test_only_the_stage_that_is_meant_is_told_of(spark: "SparkSession", capsys: pytest.CaptureFixture[str]) -> None:
    tasks = spark.range(0, 800, 1, 8).mapInArrow(slowly(), "id bigint")
    with progress(spark, "search", 800, "items", tasks=6, every=0.05):
        tasks.repartition(6, "id").mapInArrow(slowly(), "id bigint").collect()
    told = re.findall(r"search: (\d+) of 800", capsys.readouterr().out)
    assert told
    assert {int(number) for number in told} <= {800 * done // 6 for done in range(1, 7)}


def test_one_large_task_is_said_to_be_at_work(spark: "SparkSession", capsys: pytest.CaptureFixture[str]) -> None:
    with progress(spark, "search", 800, "items", every=0.05, silence=0.1):
        spark.range(0, 800, 1, 1).mapInArrow(slowly(), "id bigint").collect()
    assert re.match(r"search: at work for \d s\n", capsys.readouterr().out)
