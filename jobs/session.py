"""The only Spark settings. Every value that is not Spark's default carries its reason."""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from jobs.keyboard import kept
from jobs.settings import Settings
from jobs.toolchain import use_jvm_options

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CONF = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.warehouse.dir": f"{tempfile.gettempdir()}/shelfmates-warehouse",  # never used, tables have addresses; the default litters
    "spark.sql.session.timeZone": "UTC",  # a night is a date of the feed, not of the machine
    "spark.ui.showConsoleProgress": "false",  # the stages print their own progress
    "spark.sql.execution.arrow.pyspark.enabled": "true",  # rows reach Python as columns
    "spark.sql.autoBroadcastJoinThreshold": str(
        64 << 20
    ),  # of 10 MB the ids and hashes of 70,000 items: their vectors would be shuffled instead
    "spark.sql.adaptive.maxShuffledHashJoinLocalMapThreshold": "64MB",  # hashing ids this small is faster than sorting their vectors
    "spark.python.daemon.module": "jobs.daemon",
    "spark.databricks.delta.optimize.minFileSize": str(128 << 20),  # of 1 GB a table's main file would be written anew every week
    "spark.databricks.delta.vacuum.logging.enabled": "false",  # two commits a table that change nothing, each seen by those who follow it
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "64",  # a vacuum lists its folders in so many tasks, 10,000 of them
    "spark.sql.execution.arrow.maxRecordsPerBatch": "2000",  # 3 MB of vectors a batch: steady memory in the Python workers
    "spark.sql.maxConcurrentOutputFileWriters": "2",  # nearly every task writes one night, and need not sort its rows by it first
}

LOCAL_CONF = {
    # one machine: Spark's 200 shuffle partitions and Delta's 50 snapshot partitions cost seconds a query and gain nothing
    "spark.sql.shuffle.partitions": "4",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "4",
    "spark.ui.enabled": "false",  # saves a second of start-up and a port that several drivers would fight for
    "spark.driver.host": "127.0.0.1",  # a laptop's own name often does not resolve
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.memory": "2g",  # the executors' too: locally they are one JVM
}


def open_session(settings: Settings, name: str = "shelfmates") -> "SparkSession":
    """The process's Spark session: `[spark]` of the settings over this file's values. What a submit names itself wins over both."""
    from pyspark import SparkConf
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # workers run in this very environment
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ  # spark-submit started this process, and has chosen the master already
    master = str(SparkConf().get("spark.master", settings.spark.master)) if submitted else settings.spark.master
    conf = CONF | (LOCAL_CONF if master.startswith("local") else {}) | settings.spark.conf
    builder = SparkSession.builder.appName(name)
    if not submitted:
        builder = builder.master(master)
        if master.startswith("local"):
            use_jvm_options()
    for key, value in conf.items():
        if not (submitted and SparkConf().contains(key)):
            builder = builder.config(key, value)
    with kept():
        return builder.getOrCreate()


def gpu_of_task() -> str | None:
    """The GPU that Spark has given to the task in which this is called, as torch names it."""
    from pyspark import TaskContext

    context: Any = TaskContext.get()  # there is one: this is a task
    gpu = context.resources().get("gpu")
    return f"cuda:{gpu.addresses[0]}" if gpu else None


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What the calls return, made in a thread each: Spark plans a query on one core, and most of a small one's time is planning."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


@contextmanager
def readied(spark: "SparkSession", named: str) -> Iterator[None]:
    """What is asked of Spark from here on is done by Python workers in which a function, `module:function`, has been called before they
    begin. It is called while the driver plans, once on each machine; the end of the `with` waits for it on one of them."""
    from jobs.daemon import READY

    spark.sparkContext.environment[READY] = named
    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(spark.range(0, 1, 1, 1).mapInArrow(lambda batches: batches, "id bigint").collect)
        yield
        started.result()


@contextmanager
def progress(spark: "SparkSession", stage: str, total: int, unit: str, every: float = 5.0, silence: float = 30.0) -> Iterator[None]:
    """Says how far the Spark jobs inside have come, in units of work, every few seconds: `embed: 8,000 of 19,406 texts`, and `neighbours,
    step 2: …` where the work goes round again; after a `silence`, as one large task makes it, at least that it is at work.

    Follows the largest Spark stage that runs, whose tasks are taken to be of equal size; a step is a stage that was seen to end a task.
    """
    tracker, over = spark.sparkContext.statusTracker(), Event()

    def watch() -> None:
        said: dict[int, int] = {}  # tasks that have ended, by Spark stage
        began = spoke = time.monotonic()
        while not over.wait(every):
            running = [info for number in tracker.getActiveStageIds() if (info := tracker.getStageInfo(number)) is not None]
            largest = max(running, key=lambda info: info.numTasks, default=None)
            if largest is not None and largest.numCompletedTasks > said.get(largest.stageId, 0):
                said[largest.stageId] = largest.numCompletedTasks
                step = f", step {len(said)}" if len(said) > 1 else ""
                print(f"{stage}{step}: {total * largest.numCompletedTasks // largest.numTasks:,} of {total:,} {unit}", flush=True)
                spoke = time.monotonic()
            elif time.monotonic() - spoke >= silence:
                spoke = time.monotonic()
                print(f"{stage}: at work for {spoke - began:.0f} s", flush=True)

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
