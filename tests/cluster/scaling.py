"""A night by 1, 2 and 3 workers, each pinned to an equal slice of CPU: seconds by stage, what was shuffled, and how even the work was.

Beside the seconds stands what the model of sizes says (`tests/benchmarks/cost_model.py`), fitted to two nights of one worker, of the small
catalogue and of the large one: the two and the three workers it has not seen. The driver and the store have what the slices leave; Airflow
stands still meanwhile. Blocks are cut into cells of 5,000 nodes, so that three workers have something to share: as a whole, 20,000 are one
task.
"""

import json
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tests.benchmarks import cost_model
from tests.cluster.catalogue import Catalogue
from tests.cluster.cluster import AIRFLOW, WORKERS, Cluster, ClusterError
from tests.cluster.events import Application, applications, skew
from tests.cluster.slices import sliced, throttled

SLICE = 0.5  # cores
STAGES = ("ingest", "validate", "clean", "weigh", "embed", "neighbours", "audit", "publish")
QUERY = "SELECT stage, started_at, seconds FROM runs ORDER BY started_at"
Model = tuple[cost_model.Line, ...]  # of what tasks take, and of what the driver does alone
CELLS = {"SHELFMATES__NEIGHBOURS__CELL_ROWS": "5000"}


@dataclass(frozen=True)
class Stage:
    """Of one night: what it cost, its seconds by the clock, and the skew of its longest Spark stage."""

    cost: cost_model.Measured
    seconds: float
    skew: float


def section(cluster: Cluster, large: Catalogue, small: Catalogue) -> str:
    """The verdict. Raises ClusterError or NoSlicesError if anything is not as it should be."""
    found: dict[int, dict[str, Stage]] = {}
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
                if number == 1:
                    of_small = measured(cluster, small, number)
                found[number] = measured(cluster, large, number)
            if not all(throttled(group) for group in groups.values()):
                raise ClusterError("a worker never wanted more than its slice: the slices measure nothing")
    finally:
        for worker in WORKERS:
            cluster.off(worker)
            cluster.hosts[worker].cpu = None
            cluster.on(worker)
    model = {name: shares({small.items: of_small[name].cost, large.items: found[1][name].cost}) for name in STAGES}
    print(table(found, model, large.items), flush=True)
    one, most = total(found[1]), total(found[len(WORKERS)])
    return f"{one:.0f} s with 1 worker, {most:.0f} s with {len(WORKERS)}, each of {SLICE} cores: {one / most:.2f} times as fast"


def shares(nights: dict[int, cost_model.Measured]) -> Model:
    """Of one stage of nights of one worker, by their items."""
    return tuple(cost_model.fitted([(items, getattr(cost, figure)) for items, cost in nights.items()]) for figure in ("tasks", "alone"))


def says(model: Model, items: int, workers: int) -> float:
    """Seconds of a stage: workers share what tasks take for the items, and get warm each by itself."""
    tasks, alone = model
    return alone(items) + tasks.constant + tasks.each * items / workers


def measured(cluster: Cluster, catalogue: Catalogue, workers: int) -> dict[str, Stage]:
    """The catalogue's first night into a lake of its own, by stage."""
    name = f"scaling-{catalogue.name}-{workers}"
    began, lake = datetime.now(UTC), {"SHELFMATES__LAKE__ROOT": f"s3a://shelfmates/{name}"}
    cluster.worked("driver-1", "shelfmates", "run", "--date", str(catalogue.nights[0]), name=name, further=lake | CELLS)
    rows = json.loads(cluster.run("analyst", "shelfmates", "sql", "--format", "json", QUERY, further=lake))
    (application,) = applications(cluster.store, began)
    print(f"  {catalogue.name}, {workers} workers: {(datetime.now(UTC) - began).total_seconds():.0f} s with all that is around", flush=True)
    return {row["stage"]: _of_stage(application, row) for row in rows if row["stage"] in STAGES}


def _of_stage(application: Application, row: dict[str, str]) -> Stage:
    start, seconds = datetime.fromisoformat(row["started_at"]), float(row["seconds"])
    start = start.replace(tzinfo=start.tzinfo or UTC)
    tasks = [task for task in application.tasks if start <= task.began <= start + timedelta(seconds=seconds)]
    return Stage(cost_model.measured(start, seconds, tasks), seconds, skew(tasks))


def table(found: dict[int, dict[str, Stage]], model: dict[str, Model], items: int) -> str:
    """A line a stage, four columns a number of workers; the last line is the whole night."""
    width = 4 * 9
    lines = [f"{'':12}" + "".join(f"{f'{number} worker' + 's' * (number > 1):>{width}}" for number in found)]
    lines.append(f"{'stage':12}" + f"{'s':>9}{'model s':>9}{'MB':>9}{'skew':>9}" * len(found))
    for name in STAGES:
        lines.append(f"{name:12}" + "".join(columns(of[name], says(model[name], items, number)) for number, of in found.items()))
    line = f"{'night':12}"
    for number, of in found.items():
        expected = sum(says(stage, items, number) for stage in model.values())
        line += f"{total(of):>9.1f}{expected:>9.1f}{f'model {100 * (expected / total(of) - 1):+.0f} %':>18}"
    return "\n".join([*lines, line])


def columns(stage: Stage, expected: float) -> str:
    return f"{stage.seconds:>9.1f}{expected:>9.1f}{stage.cost.shuffled / 1e6:>9.1f}{stage.skew:>9.2f}"


def total(night: dict[str, Stage]) -> float:
    """Seconds of all stages."""
    return sum(stage.seconds for stage in night.values())
