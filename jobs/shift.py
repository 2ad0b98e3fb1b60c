"""Works through consecutive stages of one night in one Spark session, with a closing line and a row of `runs` for each."""

import importlib
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

import psutil

from jobs import toolchain
from jobs.encoder import folder_of
from jobs.errors import ConflictError, HeldError, ShelfmatesError
from jobs.keyboard import heeded
from jobs.night import Counts, Night
from jobs.plain_words import in_plain_words
from jobs.settings import Settings
from jobs.stages import OF_NO_NIGHT
from jobs.submitter import leave_with_submitter
from jobs.tables import RUNS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from jobs.lake import Lake

FIGURES_LINE = "shelfmates-figures "  # begins the line that carries every figure to a scheduler
HELD_LINE = "shelfmates-held "  # begins the line that carries what a person may release the night from
TRIES = 3  # of a stage that others get in the way of
PARTS = ("shelfmates", "pyspark", "delta-spark", "torch", "transformers", "great-expectations")


@dataclass
class Entry:
    """One stage's row of `runs`, as it comes about."""

    stage: str
    started_at: datetime
    seconds: float = 0.0
    outcome: str = "started"
    counts: Counts = field(default_factory=lambda: Counts(0, 0, "rows"))
    peak_memory_mb: float = 0.0

    @property
    def figures(self) -> dict[str, float]:
        counted = {"rows_in": self.counts.rows_in, "rows_out": self.counts.rows_out, "seconds": round(self.seconds, 2)}
        idle = {"idle": 1.0} if self.counts.idle else {}
        return counted | {"peak_memory_mb": round(self.peak_memory_mb)} | idle | self.counts.figures

    @property
    def closing_line(self) -> str:
        """For instance `embed: 1,204 new vectors, 19,406 items, 3.1 s, 6,260 rows/s`; what has read no rows has no speed."""
        counts, noted = self.counts, f", {self.counts.note}" if self.counts.note else ""
        handled = max(counts.rows_in, counts.rows_out)
        rate = f", {handled / self.seconds:,.0f} rows/s" if counts.rows_in else ""
        return f"{self.stage}: {counts.rows_out:,} {counts.unit}{noted}, {self.seconds:.1f} s{rate}"


def work(settings: Settings, night: Night, stages: Sequence[str], *, say_figures: bool = False) -> None:
    """Runs the stages in order and stops at the first error; every stage begun leaves its row in `runs`, written as the session ends."""
    began = time.monotonic()
    leave_with_submitter()
    toolchain.check()
    from jobs.claims import claimed
    from jobs.lake import Lake
    from jobs.lake_root import check_root, open_lake
    from jobs.session import open_session

    check_root(settings)
    folder_of(settings.embed.model)  # a night that embed would end is not begun
    with in_plain_words():
        spark = open_session(settings)
    print(f"shelfmates: night {night.date}, run {night.run_id}, Spark up in {time.monotonic() - began:.1f} s", flush=True)
    entries: list[Entry] = []
    try:
        with heeded(
            lambda: _stop(spark, settings, night, entries), "every table is as it was or has all that it was to have; run it again"
        ):
            with in_plain_words():
                lake = open_lake(spark, settings)
                if not OF_NO_NIGHT.issuperset(stages):
                    lake = replace(lake, fence=claimed(lake, night, begins="ingest" in stages))
            for stage in stages:
                _work_on(stage, lake, settings, night, entries)
                print(entries[-1].closing_line, flush=True)
    except HeldError as error:
        if say_figures and error.checks:
            print(HELD_LINE + json.dumps(error.checks), flush=True)
        raise
    finally:
        with in_plain_words():
            _record(Lake(spark, settings.lake.root), settings, night, entries)  # of a run that was overtaken too
        spark.stop()
    if say_figures:
        print(FIGURES_LINE + json.dumps({entry.stage: entry.figures for entry in entries}), flush=True)


def _stop(spark: "SparkSession", settings: Settings, night: Night, entries: list[Entry]) -> None:
    """Ends what Spark is at, and puts on record where the night was stopped."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    from jobs.lake import Lake

    with suppress(Py4JError, PySparkException, OSError):  # the same Ctrl-C may have ended the JVM
        spark.sparkContext.cancelAllJobs()
        for entry in entries[-1:]:
            if entry.outcome == "started":
                entry.outcome = "stopped from the keyboard"
                entry.seconds, entry.peak_memory_mb = (datetime.now(UTC) - entry.started_at).total_seconds(), peak_memory_mb()
        _record(Lake(spark, settings.lake.root), settings, night, entries)


def _work_on(stage: str, lake: "Lake", settings: Settings, night: Night, entries: list[Entry]) -> None:
    """Runs the stage, once more where another writer got in its way: a night beside this one, or a process that this one has superseded."""
    for left in reversed(range(TRIES)):
        entries.append(Entry(stage, datetime.now(UTC)))
        try:
            return _run(entries[-1], lake, settings, night)
        except ConflictError:
            if not left:
                raise
            print(f"{stage}: {entries[-1].outcome}; once more", flush=True)


def _run(entry: Entry, lake: "Lake", settings: Settings, night: Night) -> None:
    began = time.monotonic()
    try:
        with in_plain_words():
            entry.counts = importlib.import_module(f"jobs.{entry.stage}").run(lake.spark, lake, settings, night)
        entry.outcome = "ok"
    except Exception as error:
        entry.outcome = f"{type(error).__name__}: {_told(error)}"
        raise
    finally:
        entry.seconds = time.monotonic() - began
        entry.peak_memory_mb = peak_memory_mb()


def _told(error: Exception) -> str:
    """All that an error of ours found, on one line; the first line of any other."""
    return " ".join(error.found.split()) if isinstance(error, ShelfmatesError) else (str(error).splitlines() or [""])[0]


def _record(lake: "Lake", settings: Settings, night: Night, entries: list[Entry]) -> None:
    """Appends the entries to `runs`; on a lake that was never prepared there is nowhere to write them yet."""
    if not entries or not lake.exists(RUNS):
        return
    versions = {part: version(part) for part in PARTS} | {"settings": settings.fingerprint}
    rows = [
        (
            night.date,
            night.run_id,
            e.stage,
            e.started_at,
            e.seconds,
            e.outcome,
            e.counts.rows_in,
            e.counts.rows_out,
            e.peak_memory_mb,
            {name: float(value) for name, value in e.counts.figures.items()},
            versions,
        )
        for e in entries
    ]  # fmt: skip  one line a row is easier to hold against the schema
    lake.append(RUNS, lake.frame(RUNS, rows), night)


def peak_memory_mb() -> float:
    """Sum of the largest resident sizes that this driver, its JVM and its Python workers have had, MB; 0 where there is no /proc."""
    driver = psutil.Process()
    parent = driver.parent()
    root = parent if parent is not None and parent.name() == "java" else driver  # under spark-submit the JVM is the driver's parent
    total = 0
    for process in [root, *root.children(recursive=True)]:
        try:
            with open(f"/proc/{process.pid}/status", encoding="ascii", errors="replace") as status:
                total += sum(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
        except FileNotFoundError:  # it has just ended, or this system has no /proc
            continue
    return total / 1024
