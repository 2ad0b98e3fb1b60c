"""What a night costs of which little has changed: the seconds of every stage, beside those of a full build.

    make bench-increments                     100,000 generated products; 0.1, 1, 10 and 50 % of them changed
    make bench-increments ROWS=10000

A first night of the generated catalogue is made anew and published, in a Spark session in which a small catalogue went before. Then, each
from a copy of that lake, come second nights of which more and more differs: a quarter each of the changes are additions, edits, deletions
and prices. The ratio is of embed and neighbours together, to the full build's.

Prints a table, and writes build/bench/increments.json.
"""

import argparse
import importlib
import json
import os
import shutil
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from jobs import settings as settings_file
from jobs.generate import generate
from jobs.lake import Lake
from jobs.night import Counts, Night
from jobs.session import open_session
from jobs.settings import Settings
from jobs.stages import STAGES
from tests.benchmarks.vectors import FOLDER

START = date(2026, 1, 1)
WARM_UP_ROWS = 2_000
SHARES = (0.001, 0.01, 0.1, 0.5)


def settings_of(folder: Path, rows: int, change: float) -> Settings:
    """Two nights of a generated catalogue of which this share of products differs."""
    generate(folder, rows, 2, START, change=change)
    return settings_file.load(folder / "shelfmates.toml", environment={"SHELFMATES__NEIGHBOURS__INCREMENTS": "true"})


def worked(lake: Lake, settings: Settings, night: Night) -> dict[str, tuple[float, Counts]]:
    """All stages of the night, with the seconds each took."""
    found = {}
    for stage in STAGES:
        began = time.perf_counter()
        counts = importlib.import_module(f"jobs.{stage}").run(lake.spark, lake, settings, night)
        found[stage] = time.perf_counter() - began, counts
        print(f"  {night.date} {stage}: {found[stage][0]:.1f} s, {counts.note}", flush=True)
    return found


def row(name: str, stages: dict[str, tuple[float, Counts]]) -> dict[str, Any]:
    figures = stages["neighbours"][1].figures
    compared = {key: figures[key] for key in ("increment", "recall", "items_changed", "lists_refilled") if key in figures}
    seconds = {stage: round(seconds, 2) for stage, (seconds, _) in stages.items()}
    return {"night": name, **seconds, "new_vectors": stages["embed"][1].rows_out, **compared}


def table(rows: list[dict[str, Any]]) -> str:
    lines = [f"{'night':16}" + "".join(f"{stage:>11}" for stage in STAGES) + f"{'vectors':>9}{'recall':>8}{'ratio':>7}"]
    full = rows[0]["embed"] + rows[0]["neighbours"]
    for found in rows:
        ratio = (found["embed"] + found["neighbours"]) / full
        seconds = "".join(f"{found[stage]:>11.1f}" for stage in STAGES)
        lines.append(f"{found['night']:16}{seconds}{found['new_vectors']:>9,}{found['recall']:>8.4f}{ratio:>7.3f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory(prefix="shelfmates-bench-") as made:
        folder = Path(made)
        small = settings_of(folder / "small", WARM_UP_ROWS, 0.01)
        spark = open_session(small, name="shelfmates-bench")
        for day in range(2):
            worked(Lake(spark, small.lake.root), small, Night(START + timedelta(days=day), "bench"))
        settings = settings_of(folder / "full", rows, SHARES[0])
        print(f"{os.cpu_count()} cores, {rows:,} products", flush=True)
        found = [row("full build", worked(Lake(spark, settings.lake.root), settings, Night(START, "bench")))]
        for share in SHARES:
            settings = settings_of(folder / f"{share}", rows, share)
            shutil.copytree(folder / "full" / Path(settings.lake.root).relative_to(folder / f"{share}"), settings.lake.root)
            stages = worked(Lake(spark, settings.lake.root), settings, Night(START + timedelta(days=1), "bench"))
            found.append(row(f"{share:.1%} changed", stages))
            shutil.rmtree(folder / f"{share}")
        spark.stop()
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "increments.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(table(found))


if __name__ == "__main__":
    main()
