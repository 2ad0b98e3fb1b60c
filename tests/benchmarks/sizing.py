"""What a night of a million products takes, and one of a billion: a model fitted to measured nights, tried on one that it has not seen.

    make bench-sizing

First nights of 10,000, 20,000 and 40,000 generated products, in cells of 5,000 rows, so that they too are searched in overlapping cells as
large ones are; that of 20,000 in cells of 2,500 and 10,000 rows as well; covers of 100, 300 and 900 cells; and, not fitted, a night of
80,000 products in cells of 10,000 rows: half an hour in all. Each by the command line's own program on two cores of this machine, after one
that is not counted. What tasks do, and what they shuffle, is taken from Spark's event log; what the driver does alone is the rest of a
stage's time.

Prints what was measured beside what the model says, its error on the last night, and a table of sizes; writes what was measured, and the
model, to build/bench/sizing.json. Sizes are extrapolated far beyond the nights, which knew no network: of large clusters take half as much
again.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np

from jobs import cells
from jobs import settings as settings_file
from jobs.address import delta_table
from jobs.generate import generate
from jobs.stages import STAGES
from jobs.tables import TABLES
from tests.benchmarks.cost_model import Measured, Model, measured, model_of
from tests.benchmarks.vectors import FOLDER
from tests.cluster.events import applications

NIGHT = date(2026, 1, 1)
CORES = 2
FITTED, CELL_ROWS = (10_000, 20_000, 40_000), 5_000
OF_CELLS, CELLS = 20_000, (2_500, 5_000, 10_000)
HELD_OUT, HELD_OUT_CELL_ROWS = 80_000, 10_000
COVERS, SAMPLE, DIMENSIONS = (100, 300, 900), 20_000, 640  # cells; vectors of which they are made, of as many dimensions as a signature's
SIZES = {1_000_000: 200_000, 10_000_000: 200_000, 100_000_000: 500_000, 1_000_000_000: 1_000_000}  # products, and the rows of a cell
WITHIN = 4 * 3600.0  # seconds of a night
CORES_OF_EXECUTOR = 8
BYTES_OF_ROW, GB_OF_JVM = 12_000, 1.0  # of a cell, of each task; of the JVM and Python itself, for each core
TEXTS_OF_GPU = 26_000  # a second: names, on an H200 (`make bench-gpu`)


def night_of(folder: Path, products: int, cell_rows: int) -> tuple[dict[str, Measured], dict[str, float]]:
    """The stages of a first night of so many products, and the bytes of what it has stored, by table."""
    generate(folder, products, 1, NIGHT)
    events = folder / "lake" / "spark-events"  # where `applications` looks
    events.mkdir(parents=True)
    conf = f'{{"spark.eventLog.enabled" = "true", "spark.eventLog.dir" = "file://{events}", "spark.eventLog.compress" = "false"}}'
    of_night = {
        "SHELFMATES__SPARK__MASTER": f"local[{CORES}]",
        "SHELFMATES__SPARK__CONF": conf,
        "SHELFMATES__NEIGHBOURS__CELL_ROWS": str(cell_rows),
    }
    command = [sys.executable, "-m", "jobs", "run", "--date", str(NIGHT), "--settings", str(folder / "shelfmates.toml")]
    subprocess.run(command, env=os.environ | of_night, check=True, stdout=subprocess.DEVNULL)
    lake = settings_file.load(folder / "shelfmates.toml", environment={}).lake.root
    (application,) = applications(Path(lake), datetime.min.replace(tzinfo=UTC))
    runs = {row["stage"]: row for row in delta_table(f"{lake}/runs").to_pyarrow_table().to_pylist()}
    stages = {stage: measured(runs[stage]["started_at"], runs[stage]["seconds"], application.tasks) for stage in STAGES}
    figures, searched = dict(runs["neighbours"]["figures"]), stages["neighbours"]
    cover, overlap = figures["cover_seconds"], int(figures["overlap_max"])
    stages["neighbours"] = replace(searched, alone=searched.alone - cover, cover=cover, overlap=overlap)
    return stages, {name: _stored(Path(lake, name)) for name in TABLES if Path(lake, name).is_dir()}


def _stored(table: Path) -> float:
    return float(sum(file.stat().st_size for file in table.rglob("*.parquet")))


def cover_seconds(count: int) -> float:
    """Of a cover of so many cells, of clustered vectors."""
    random = np.random.default_rng(count)
    centres = random.normal(size=(2_000, DIMENSIONS))
    sample = (centres[random.integers(len(centres), size=SAMPLE)] + random.normal(size=(SAMPLE, DIMENSIONS))).astype(np.float32)
    sample /= np.linalg.norm(sample, axis=1, keepdims=True)
    rows, none = int(count * cells.FILLED * 200_000), np.empty((0, 1, DIMENSIONS), np.float32)
    began = time.perf_counter()
    cells.cover(sample, rows, 200_000, none[:, 0], none, 0.95, (0.0, 0.0), 0)
    return time.perf_counter() - began


def beside(model: Model, products: int, cell_rows: int, night: dict[str, Measured], stored: dict[str, float]) -> str:
    """A line a stage: what was measured on CORES cores, and what the model says."""
    said, moved = model.seconds(products, cell_rows, CORES), model.shuffled_bytes(products, cell_rows)
    head = f"{products:,} products, each in {night['neighbours'].overlap} cells of {cell_rows:,}"
    lines = [f"{head:46}{'measured s':>12}{'model s':>10}{'measured MB':>13}{'model MB':>10}  shuffled"]
    for stage, figures in night.items():
        shuffled = f"{figures.shuffled / 1e6:13.1f}{moved[stage] / 1e6:10.1f}"
        lines.append(f"  {stage:44}{figures.seconds(CORES):12.1f}{said[stage]:10.1f}{shuffled}")
    for name, (found, expected) in totals(model, products, cell_rows, night, stored).items():
        lines.append(f"  {name:44}{found:12,.1f}{expected:10,.1f}   error {100 * (expected / found - 1):+.0f} %")
    return "\n".join(lines)


def totals(
    model: Model, products: int, cell_rows: int, night: dict[str, Measured], stored: dict[str, float]
) -> dict[str, tuple[float, float]]:
    """What was measured of the whole night, and what the model says."""
    return {
        "seconds": (sum(f.seconds(CORES) for f in night.values()), sum(model.seconds(products, cell_rows, CORES).values())),
        "shuffled MB": (sum(f.shuffled for f in night.values()) / 1e6, sum(model.shuffled_bytes(products, cell_rows).values()) / 1e6),
        "stored MB": (sum(stored[name] for name in model.stored) / 1e6, sum(of(products) for of in model.stored.values()) / 1e6),
    }


def sizes(model: Model) -> str:
    """The table of docker/README.md."""
    lines = [
        "| products | rows of a cell | cores | executors | memory of each | embed, core hours | or GPU hours | the rest, core hours | "
        "not shared | shuffled | stored a night |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for products, cell_rows in SIZES.items():
        seconds = model.core_seconds(products, cell_rows)
        embed, rest = seconds["embed"] / 3600, (sum(seconds.values()) - seconds["embed"]) / 3600
        alone = sum(model.alone_seconds(products, cell_rows).values()) / 60
        shuffled = sum(model.shuffled_bytes(products, cell_rows).values()) / 1e9
        stored = sum(of(products) for of in model.stored.values()) / 1e9
        memory = CORES_OF_EXECUTOR * (cell_rows * BYTES_OF_ROW / 1e9 + GB_OF_JVM)
        cores = model.cores_for(products, cell_rows, WITHIN)
        machines = f"{cores:,} | {-(-cores // CORES_OF_EXECUTOR):,}" if cores else "no number would do | "
        lines.append(
            f"| {products:,} | {cell_rows:,} | {machines} | {memory:.0f} GB | {embed:,.1f} | "
            f"{products / TEXTS_OF_GPU / 3600:,.2f} | {rest:,.1f} | {alone:,.0f} min | {shuffled:,.0f} GB | {stored:,.1f} GB |"
        )
    return "\n".join(lines)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    nights: dict[tuple[int, int], tuple[dict[str, Measured], dict[str, float]]] = {}
    wanted = [*((products, CELL_ROWS) for products in FITTED), *((OF_CELLS, rows) for rows in CELLS), (HELD_OUT, HELD_OUT_CELL_ROWS)]
    with tempfile.TemporaryDirectory(prefix="shelfmates-bench-") as made:
        night_of(Path(made) / "warm-up", 2_000, CELL_ROWS)
        for products, cell_rows in dict.fromkeys(wanted):
            nights[products, cell_rows] = night_of(Path(made) / f"{products}-{cell_rows}", products, cell_rows)
            seconds = sum(f.seconds(CORES) for f in nights[products, cell_rows][0].values())
            print(f"{products:,} products in cells of {cell_rows:,} rows: {seconds:.1f} s", flush=True)
    covers = {count: cover_seconds(count) for count in COVERS}
    print(f"covers: {', '.join(f'{count:,} cells {seconds:.1f} s' for count, seconds in covers.items())}", flush=True)
    fitted = {products: nights[products, CELL_ROWS] for products in FITTED}
    searched = {rows: nights[OF_CELLS, rows][0]["neighbours"] for rows in CELLS}
    by_products = {n: night for n, (night, _) in fitted.items()}, {n: stored for n, (_, stored) in fitted.items()}
    model = model_of(CORES, CELL_ROWS, *by_products, searched, covers)
    for (products, cell_rows), (night, stored) in nights.items():
        unseen = products == HELD_OUT
        said = model if unseen else replace(model, overlap=night["neighbours"].overlap)
        print(f"\n{beside(said, products, cell_rows, night, stored)}{'  (not fitted)' if unseen else ''}")
    of_all = replace(model, overlap=max(night["neighbours"].overlap for night, _ in nights.values()))
    print(f"\na night within {WITHIN / 3600:.0f} hours, by cores like this machine's, each product in {of_all.overlap} cells:\n")
    print(sizes(of_all))
    FOLDER.mkdir(parents=True, exist_ok=True)
    measured_nights = [
        {"products": products, "cell_rows": cell_rows, "stored": stored, "stages": {name: asdict(stage) for name, stage in night.items()}}
        for (products, cell_rows), (night, stored) in nights.items()
    ]
    written = {"nights": measured_nights, "covers": covers, "fitted": asdict(model), "of_sizes": asdict(of_all)}
    (FOLDER / "sizing.json").write_text(json.dumps(written, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
