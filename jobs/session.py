"""The only Spark settings. Every value that is not Spark's default carries its reason."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from jobs import object_store, program
from jobs.keyboard import kept
from jobs.sections import SECRET
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


REMOTE_CONF = {
    "spark.task.maxFailures": "8",  # of Spark's 4: hosts are lost, and a night goes on with those that are left
    "spark.databricks.delta.snapshotPartitions": "8",  # of 50, for logs of some thousand files: each is a task, many times a night
    "spark.sql.shuffle.partitions": "32",  # of 200, which a night of a million products has no use for, twenty times over
    "spark.redaction.regex": SECRET,
}

ARCHIVES = "spark.archives"  # Spark's property


def open_session(settings: Settings, name: str = "shelfmates") -> "SparkSession":
    """The process's Spark session: `[spark]` of the settings over this file's values. What a submit names itself wins over both.

    On other machines than this one the program travels with the driver. So does, where anything lies in S3, what the environment has of its
    keys: no property of Spark's holds it.
    """
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import SparkSession

    # workers run in this very environment, or in one at the same path, unless the settings name another
    os.environ.setdefault("PYSPARK_PYTHON", settings.spark.conf.get("spark.pyspark.python", sys.executable))
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ  # spark-submit started this process, and has chosen the master already
    if submitted:
        SparkContext._ensure_initialized()  # without its JVM a SparkConf knows nothing of the submit
    chosen = SparkConf() if submitted else None
    master = str(chosen.get("spark.master", settings.spark.master)) if chosen else settings.spark.master
    local = master.startswith("local")
    builder = SparkSession.builder.appName(name)
    if not submitted:
        builder = builder.master(master)
        use_jvm_options(local=local)
    s3 = any(map(object_store.in_s3, addresses(settings)))
    conf = (
        CONF
        | (LOCAL_CONF if local else REMOTE_CONF)
        | (object_store.spark_conf(os.environ, single_writer=settings.lake.single_writer) if s3 else {})
        | settings.spark.conf
    )
    for key, value in conf.items():
        if not (chosen and chosen.contains(key)):
            builder = builder.config(key, value)
    if local:
        return _started(builder)
    others = (chosen and chosen.get(ARCHIVES, None)) or conf.get(ARCHIVES)
    session = _started_elsewhere(builder, others)
    environment: dict[str, str] = session.sparkContext.environment  # of Python workers
    environment |= {"PYTHONPATH": program.FOLDER} | (object_store.worker_variables(os.environ) if s3 else {})
    return session


def _started_elsewhere(builder: "SparkSession.Builder", archives: str | None) -> "SparkSession":
    """With this program beside the other archives."""
    archive = program.packed()
    try:
        session = _started(builder.config(ARCHIVES, ",".join(filter(None, (archives, f"{archive}#{program.FOLDER}")))))
    except BaseException:
        shutil.rmtree(archive.parent)
        raise
    jvm: Any = session.sparkContext._jvm
    for made in (archive.parent, archive):  # removed in the other order, by the JVM: it outlives a process that ends at once
        jvm.java.io.File(str(made)).deleteOnExit()
    return session


def _started(builder: "SparkSession.Builder") -> "SparkSession":
    with kept():
        return builder.getOrCreate()


def addresses(settings: Settings) -> list[str]:
    """Where the lake and the feeds are."""
    feeds = [*settings.sources.values(), *([settings.interactions] if settings.interactions else [])]
    return [settings.lake.root, *(feed.path for feed in feeds)]


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
def progress(
    spark: "SparkSession", stage: str, total: int, unit: str, tasks: int | None = None, every: float = 5.0, silence: float = 30.0
) -> Iterator[None]:
    """Says how far the Spark jobs inside have come, in units of work, every few seconds: `embed: 8,000 of 19,406 texts`, and `neighbours,
    step 2: …` where the work goes round again; after a `silence`, as one large task makes it, at least that it is at work.

    Follows the largest Spark stage that runs, where it is known the one of so many tasks, which are taken to be of equal size; a step is a
    stage that was seen to end a task.
    """
    tracker, over = spark.sparkContext.statusTracker(), Event()

    def watch() -> None:
        said: dict[int, int] = {}  # tasks that have ended, by Spark stage
        began = spoke = time.monotonic()
        while not over.wait(every):
            running = [info for number in tracker.getActiveStageIds() if (info := tracker.getStageInfo(number)) is not None]
            largest = max((info for info in running if tasks in (None, info.numTasks)), key=lambda info: info.numTasks, default=None)
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
