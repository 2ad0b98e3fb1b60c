"""What a night of a million products takes, and one of a billion: a model fitted to three measured nights, tried on a fourth.

    make bench-sizing                     nights of 10,000, 20,000 and 40,000 generated products; the fourth has 80,000

Each night is the first of its lake, by the command line's own program on two cores of this machine, after one that is not counted. A cell
has 5,000 rows, so that these nights too are searched in overlapping cells, as large ones are. What tasks do, and what they shuffle, is
taken from Spark's event log; what the driver does alone is the rest of a stage's time.

Prints what was measured beside what the model says of it, its error on the fourth night, and a table of sizes; writes
build/bench/sizing.json. Sizes beyond the fourth night are extrapolated.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from jobs import settings as settings_file
from jobs.address import delta_table
from jobs.generate import generate
from jobs.stages import STAGES
from jobs.tables import TABLES
from tests.benchmarks.cost_model import Measured, Model, model_of
from tests.benchmarks.vectors import FOLDER
from tests.cluster.events import Task, applications

NIGHT = date(2026, 1, 1)
CORES = 2
CELL_ROWS = 5_000
FITTED, HELD_OUT = (10_000, 20_000, 40_000), 80_000
SIZES = (1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
WITHIN = 4 * 3600.0  # seconds of a night
CORES_OF_EXECUTOR = 8
GB_OF_EXECUTOR = 32  # 8 tasks of a cell each: 200,000 rows of 12 kB
TEXTS_OF_GPU = 26_000  # a second: names, on an H200 (`make bench-gpu`)


def measured(folder: Path, products: int) -> tuple[dict[str, Measured], dict[str, float]]:
    """The stages of a first night of so many products, and the bytes of what it has stored, by table."""
    generate(folder, products, 1, NIGHT)
    events = folder / "lake" / "spark-events"  # where `applications` looks
    events.mkdir(parents=True)
    conf = f'{{"spark.eventLog.enabled" = "true", "spark.eventLog.dir" = "file://{events}", "spark.eventLog.compress" = "false"}}'
    of_night = {
        "SHELFMATES__SPARK__MASTER": f"local[{CORES}]",
        "SHELFMATES__SPARK__CONF": conf,
        "SHELFMATES__NEIGHBOURS__CELL_ROWS": str(CELL_ROWS),
    }
    command = [sys.executable, "-m", "jobs", "run", "--date", str(NIGHT), "--settings", str(folder / "shelfmates.toml")]
    subprocess.run(command, env=os.environ | of_night, check=True, stdout=subprocess.DEVNULL)
    lake = settings_file.load(folder / "shelfmates.toml", environment={}).lake.root
    (application,) = applications(Path(lake), datetime.min.replace(tzinfo=UTC))
    runs = {row["stage"]: row for row in delta_table(f"{lake}/runs").to_pyarrow_table().to_pylist()}
    stages = {stage: _stage(runs[stage], application.tasks) for stage in STAGES}
    return stages, {name: _stored(Path(lake, name)) for name in TABLES if Path(lake, name).is_dir()}


def _stage(run: dict[str, Any], tasks: list[Task]) -> Measured:
    began, ended = run["started_at"].timestamp(), run["started_at"].timestamp() + run["seconds"]
    mine = [task for task in tasks if began <= task.began.timestamp() < ended]
    busy, until = 0.0, began
    for start, end in sorted((task.began.timestamp(), task.began.timestamp() + task.seconds) for task in mine):
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    return Measured(sum(task.seconds for task in mine), max(0.0, run["seconds"] - busy), sum(task.shuffled for task in mine))


def _stored(table: Path) -> float:
    return float(sum(file.stat().st_size for file in table.rglob("*.parquet")))


def beside(model: Model, products: int, night: dict[str, Measured], stored: dict[str, float]) -> str:
    """A line a stage: what was measured on CORES cores, and what the model says."""
    said = model.seconds(products, CORES)
    lines = [f"{products:,} products{'':8}{'measured s':>12}{'model s':>10}{'measured MB':>13}{'model MB':>10}  shuffled"]
    for stage, figures in night.items():
        seconds = figures.tasks / CORES + figures.alone
        lines.append(
            f"  {stage:20}{seconds:12.1f}{said[stage]:10.1f}{figures.shuffled / 1e6:13.1f}{model.shuffled[stage](products) / 1e6:10.1f}"
        )
    for name, (found, expected) in totals(model, products, night, stored).items():
        lines.append(f"  {name:20}{found:12,.1f}{expected:10,.1f}   error {100 * (expected / found - 1):+.0f} %")
    return "\n".join(lines)


def totals(model: Model, products: int, night: dict[str, Measured], stored: dict[str, float]) -> dict[str, tuple[float, float]]:
    """What was measured of the whole night, and what the model says."""
    return {
        "seconds": (sum(f.tasks / CORES + f.alone for f in night.values()), sum(model.seconds(products, CORES).values())),
        "shuffled MB": (sum(f.shuffled for f in night.values()) / 1e6, sum(of(products) for of in model.shuffled.values()) / 1e6),
        "stored MB": (sum(stored[name] for name in model.stored) / 1e6, sum(of(products) for of in model.stored.values()) / 1e6),
    }


def sizes(model: Model) -> str:
    """The table of docker/README.md."""
    lines = [
        "| products | cores | executors | memory | embed, core hours | or GPU hours | the rest, core hours | shuffled | stored a night |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for products in SIZES:
        cores = model.cores_for(products, WITHIN)
        embed = model.tasks["embed"](products) / 3600
        rest = sum(of(products) for stage, of in model.tasks.items() if stage != "embed") / 3600
        shuffled, stored = (sum(of(products) for of in figures.values()) / 1e9 for figures in (model.shuffled, model.stored))
        executors = -(-cores // CORES_OF_EXECUTOR)
        lines.append(
            f"| {products:,} | {cores} | {executors} | {executors * GB_OF_EXECUTOR:,} GB | {embed:,.1f} | "
            f"{products / TEXTS_OF_GPU / 3600:,.2f} | {rest:,.1f} | {shuffled:,.0f} GB | {stored:,.1f} GB |"
        )
    return "\n".join(lines)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    nights: dict[int, dict[str, Measured]] = {}
    stored: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="shelfmates-bench-") as made:
        measured(Path(made) / "warm-up", 2_000)
        for products in (*FITTED, HELD_OUT):
            nights[products], stored[products] = measured(Path(made) / str(products), products)
            print(f"{products:,} products: {sum(f.tasks / CORES + f.alone for f in nights[products].values()):.1f} s", flush=True)
    model = model_of({n: nights[n] for n in FITTED}, {n: stored[n] for n in FITTED})
    for products in nights:
        print(f"\n{beside(model, products, nights[products], stored[products])}{'  (not fitted)' if products == HELD_OUT else ''}")
    print(f"\na night within {WITHIN / 3600:.0f} hours, by cores like this machine's:\n\n{sizes(model)}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    told = {figure: {stage: vars(line) for stage, line in getattr(model, figure).items()} for figure in vars(model)}
    (FOLDER / "sizing.json").write_text(json.dumps({"cores": CORES, "cell_rows": CELL_ROWS, "model": told}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
