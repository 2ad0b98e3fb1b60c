"""A Python worker, or Spark itself, that is killed: worth another try, and said so."""

import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from py4j.protocol import Py4JNetworkError

from jobs.errors import TransientError
from jobs.lost_process import lost_process

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession


def test_a_worker_that_is_killed_is_worth_another_try(spark: "SparkSession") -> None:
    def killed(batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        os.kill(os.getpid(), signal.SIGKILL)
        yield from batches

    with pytest.raises(Exception, match="Job aborted") as raised:
        spark.range(1).mapInArrow(killed, "id bigint").collect()
    error = lost_process(raised.value)
    assert isinstance(error, TransientError)
    assert str(error).startswith("a Python worker of Spark was killed, or crashed; no table holds a part")
    assert "dmesg" in error.remedy


@pytest.mark.parametrize("error", [Py4JNetworkError("Answer from Java side is empty"), ConnectionRefusedError(111, "Connection refused")])
def test_so_is_spark_itself(error: Exception) -> None:
    """As py4j tells of it: where it waited for an answer, and wherever it asks afterwards."""
    assert "Spark's Java process was killed, or crashed" in str(lost_process(error))


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (
            "Job aborted due to stage failure: … ExecutorLostFailure (executor 2 exited)",
            "an executor of Spark",
        ),
        ("Application has been killed. Reason: All masters are unresponsive! Giving up.", "Spark's master does not answer"),
    ],
)
def test_so_are_a_cluster_s_parts(said: str, found: str) -> None:
    assert str(lost_process(RuntimeError(said))).startswith(found)


@pytest.mark.parametrize("error", [ValueError("a bug"), BrokenPipeError("the reader of what is printed has left")])
def test_another_failure_is_left_as_it_is(error: Exception) -> None:
    assert lost_process(error) is None
