"""Spark's event logs, as they lie in the store: what ran where, for how long, what it shuffled, what was lost and done again."""

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

FOLDER = "spark-events"
NEVER = datetime.min.replace(tzinfo=UTC)
ZSTD = (".zstd", ".zst")


@dataclass(frozen=True)
class Task:
    """One try. `stage`: Spark's number and attempt; `lost`: why it failed, empty if it did not."""

    stage: tuple[int, int]
    partition: int
    host: str
    began: datetime
    seconds: float
    lost: str
    shuffled: int  # bytes written


@dataclass
class Application:
    """`name`: what was submitted, `shelfmates-embed` for instance. `added` and `removed` executors, each with when, number and reason."""

    file: Path
    name: str = ""
    began: datetime = NEVER
    stages: set[tuple[int, int]] = field(default_factory=set)
    tasks: list[Task] = field(default_factory=list)
    added: list[tuple[datetime, str]] = field(default_factory=list)
    removed: list[tuple[datetime, str, str]] = field(default_factory=list)

    @property
    def done_again(self) -> int:
        """Partitions that were computed again though they had been: what they had written was lost with its host."""
        done = Counter((task.stage[0], task.partition) for task in self.tasks if not task.lost)
        return sum(count - 1 for count in done.values())

    def told(self) -> str:
        """For instance `neighbours: 2 executors lost, 3 tasks lost (ExecutorLostFailure), 8 done again, 1 stage begun again`."""
        lost = Counter(task.lost for task in self.tasks if task.lost)
        again = sum(attempt > 0 for _, attempt in self.stages)
        reasons = f" ({', '.join(f'{count} {why}' for why, count in lost.most_common())})" if lost else ""
        return (
            f"{self.name}: {len(self.tasks):,} tasks, {len(self.removed)} executors lost, {sum(lost.values())} tasks lost{reasons}, "
            f"{self.done_again} done again, {again} stages begun again"
        )


def applications(store: Path, since: datetime) -> list[Application]:
    """Those that have begun since, and ended, in their order."""
    files: dict[Path, list[Path]] = {}
    for file in sorted((store / FOLDER).rglob("*")):
        if file.is_file() and not file.name.startswith(("appstatus", ".")):  # a disk has checksums beside them
            files.setdefault(file.parent if file.name.startswith("events_") else file, []).append(file)
    found = [_read(Application(of), lines(parts)) for of, parts in files.items()]
    return sorted((application for application in found if application.began >= since), key=lambda application: application.began)


def lines(files: Iterable[Path]) -> Iterator[str]:
    """The lines of files that may be compressed, in their numbers' order: events_2_… comes before events_10_…"""
    for file in sorted(files, key=lambda file: (len(file.name), file.name)):
        yield from content(file).decode("utf-8", errors="replace").splitlines()


def content(file: Path) -> bytes:
    """The file's bytes, decompressed."""
    if file.suffix not in ZSTD:
        return file.read_bytes()
    with pa.CompressedInputStream(pa.OSFile(str(file)), "zstd") as stream:
        return stream.read()


def _read(application: Application, told: Iterator[str]) -> Application:
    for line in told:
        event = json.loads(line) if line.startswith("{") else {}
        match event.get("Event"):
            case "SparkListenerApplicationStart":
                application.began, application.name = _at(event["Timestamp"]), application.name or event["App Name"]
            case "SparkListenerEnvironmentUpdate":
                words = event["System Properties"].get("sun.java.command", "").split()
                if "--name" in words:  # what the submit has named itself
                    application.name = words[words.index("--name") + 1]
            case "SparkListenerStageSubmitted":
                application.stages.add(_stage(event["Stage Info"]))
            case "SparkListenerTaskEnd":
                application.tasks.append(_task(event))
            case "SparkListenerExecutorAdded":
                application.added.append((_at(event["Timestamp"]), event["Executor ID"]))
            case "SparkListenerExecutorRemoved":
                application.removed.append((_at(event["Timestamp"]), event["Executor ID"], event["Removed Reason"]))
    return application


def _task(event: dict[str, Any]) -> Task:
    info, metrics, why = event["Task Info"], event.get("Task Metrics") or {}, event["Task End Reason"]["Reason"]
    return Task(
        _stage(event),
        info["Index"],
        info["Host"],
        _at(info["Launch Time"]),
        (info["Finish Time"] - info["Launch Time"]) / 1000,
        "" if why == "Success" else why,
        metrics.get("Shuffle Write Metrics", {}).get("Shuffle Bytes Written", 0),
    )


def _stage(told: dict[str, Any]) -> tuple[int, int]:
    return told["Stage ID"], told["Stage Attempt ID"]


def _at(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def skew(tasks: Iterable[Task]) -> float:
    """The longest task over the median one, of the Spark stage that has worked longest; 1 where it has one task."""
    by_stage: dict[tuple[int, int], list[float]] = {}
    for task in tasks:
        by_stage.setdefault(task.stage, []).append(task.seconds)
    longest = max(by_stage.values(), key=sum, default=[1.0])
    return max(longest) / max(statistics.median(longest), 1e-3)
