"""A night by 1, 2 and 3 workers, each pinned to an equal slice of CPU: seconds by stage, what was shuffled, and how even the work was.

The driver and the store have what the slices leave. Airflow stands still meanwhile. Blocks are cut into cells of 5,000 nodes, so that three
workers have something to share: as a whole, 20,000 are one task.
"""

import json
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from tests.cluster.catalogue import Catalogue
from tests.cluster.cluster import AIRFLOW, WORKERS, Cluster, ClusterError
from tests.cluster.events import Application, applications, skew
from tests.cluster.slices import sliced, throttled

SLICE = 0.5  # cores
STAGES = ("ingest", "validate", "clean", "weigh", "embed", "neighbours", "audit", "publish")
QUERY = "SELECT stage, started_at, seconds FROM runs ORDER BY started_at"
CELLS = {"SHELFMATES__NEIGHBOURS__CELL_ROWS": "5000"}


@dataclass(frozen=True)
class Measured:
    """Of one stage of a night: `shuffled` in bytes, `skew` of its longest Spark stage."""

    seconds: float
    shuffled: int
    skew: float


def section(cluster: Cluster, large: Catalogue, small: Catalogue) -> str:
    """The verdict. Raises ClusterError or NoSlicesError if anything is not as it should be."""
    found: dict[int, dict[str, Measured]] = {}
    try:
        with sliced(list(WORKERS), SLICE) as groups, ExitStack() as still:
            for host in AIRFLOW:
                still.enter_context(cluster.hosts[host].paused())
            for worker in WORKERS:
                cluster.off(worker)
            still.callback(lambda: [cluster.off(worker) for worker in WORKERS])  # before their slices are removed
            for number, worker in enumerate(WORKERS, 1):
                cluster.hosts[worker].cpu = groups[worker]
                cluster.on(worker)
                found[number] = measured(cluster, large.nights[0], number)
            if not all(throttled(group) for group in groups.values()):
                raise ClusterError("a worker never wanted more than its slice: the slices measure nothing")
    finally:
        for worker in WORKERS:
            cluster.off(worker)
            cluster.hosts[worker].cpu = None
            cluster.on(worker)
    print(table(found), flush=True)
    one, most = (sum(stage.seconds for stage in found[number].values()) for number in (1, len(WORKERS)))
    return f"{one:.0f} s with 1 worker, {most:.0f} s with {len(WORKERS)}, each of {SLICE} cores: {one / most:.2f} times as fast"


def measured(cluster: Cluster, night: date, workers: int) -> dict[str, Measured]:
    """A night into a lake of its own, by stage."""
    began, lake = datetime.now(UTC), {"SHELFMATES__LAKE__ROOT": f"s3a://shelfmates/scaling-{workers}"}
    cluster.worked("driver-1", "shelfmates", "run", "--date", str(night), name=f"scaling-{workers}", further=lake | CELLS)
    rows = json.loads(cluster.run("analyst", "shelfmates", "sql", "--format", "json", QUERY, further=lake))
    (application,) = applications(cluster.store, began)
    print(f"  {workers} workers: {(datetime.now(UTC) - began).total_seconds():.0f} s with all that is around", flush=True)
    return {row["stage"]: _of_stage(application, row) for row in rows if row["stage"] in STAGES}


def _of_stage(application: Application, row: dict[str, str]) -> Measured:
    start, seconds = datetime.fromisoformat(row["started_at"]), float(row["seconds"])
    start = start.replace(tzinfo=start.tzinfo or UTC)
    tasks = [task for task in application.tasks if start <= task.began <= start + timedelta(seconds=seconds)]
    return Measured(seconds, sum(task.shuffled for task in tasks), skew(tasks))


def table(found: dict[int, dict[str, Measured]]) -> str:
    """A line a stage, three columns a number of workers."""
    lines = [f"{'':12}" + "".join(f"{f'{number} worker' + 's' * (number > 1):>28}" for number in found)]
    lines.append(f"{'stage':12}" + f"{'s':>9}{'MB':>10}{'skew':>9}" * len(found))
    for stage in STAGES:
        of_stage = [measures[stage] for measures in found.values()]
        lines.append(f"{stage:12}" + "".join(f"{m.seconds:>9.1f}{m.shuffled / 1e6:>10.1f}{m.skew:>9.2f}" for m in of_stage))
    return "\n".join(lines)
