"""A season of nights in one process: whether time, files and logs stay as they are from month to month.

    make season-test                365 nights of 2,000 generated products, or 90 where the first nights take longer than 8 s each
    make season-test NIGHTS=30 ITEMS=300

Every night goes through all stages, every seventh maintenance; lists are brought up to date from night to night where that is worth it.

Prints a line a night, and a table by month: the median seconds of a night, those of maintenance, and by table its bytes, its files and
those of its log.
"""

import argparse
import importlib
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

from jobs import settings as settings_file
from jobs.claims import claimed
from jobs.cli import STAGES
from jobs.generate import generate
from jobs.lake import Lake
from jobs.night import Night
from jobs.session import open_session
from jobs.settings import Settings
from jobs.tables import TABLES
from tests.tiny_encoder import save

START = date(2026, 1, 1)
WARM, FAST = 5, 8.0  # nights until Spark is warm; seconds of a night below which a whole year is run
MONTH, WEEK = 30, 7
YEAR, QUARTER = 365, 90


def seconds_of(lake: Lake, settings: Settings, night: Night, stages: Sequence[str]) -> float:
    began = time.perf_counter()
    mine = replace(lake, fence=claimed(lake, night, begins="ingest" in stages)) if "ingest" in stages else lake
    for stage in stages:
        importlib.import_module(f"jobs.{stage}").run(lake.spark, mine, settings, night)
    return time.perf_counter() - began


def sizes(root: Path) -> dict[str, tuple[float, int, int]]:
    """By table: MB in its folder, files of rows, files of the log."""
    found = {}
    for name in TABLES:
        files = [file for file in (root / name).rglob("*") if file.is_file() and not file.name.endswith(".crc")]
        log = [file for file in files if "_delta_log" in file.parts]
        found[name] = sum(file.stat().st_size for file in files) / 1e6, len(files) - len(log), len(log)
    return found


def table(months: list[tuple[int, list[float], list[float], dict[str, tuple[float, int, int]]]]) -> str:
    lines = []
    for nights, seconds, maintenance, stored in months:
        took = f"median {statistics.median(seconds):.1f} s a night, maintenance {statistics.median(maintenance or [0]):.1f} s"
        whole = f"{sum(size for size, _, _ in stored.values()):.1f} MB in {sum(files for _, files, _ in stored.values()):,} files"
        lines.append(f"{nights:>4} nights: {took}, {whole}")
        lines += [f"     {name:20}{size:>9.2f} MB{files:>7,} files{log:>6,} of the log" for name, (size, files, log) in stored.items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--nights", type=int, help=f"(default: {YEAR}, or {QUARTER} where a night takes more than {FAST:.0f} s)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="shelfmates-season-") as made:
        folder = Path(made)
        generate(folder, given.items, given.nights or YEAR, START)
        environment = {"SHELFMATES__EMBED__MODEL": str(save(folder / "tiny")), "SHELFMATES__NEIGHBOURS__INCREMENTS": "true"}
        settings = settings_file.load(folder / "shelfmates.toml", environment)
        lake = Lake(open_session(settings, name="shelfmates-season"), settings.lake.root)
        season(lake, settings, given.nights)
        lake.spark.stop()


def season(lake: Lake, settings: Settings, nights: int | None) -> None:
    months, seconds, maintenance = [], list[float](), list[float]()
    day = 0
    while day < (nights or (QUARTER if len(seconds) >= WARM and statistics.median(seconds[1:]) > FAST else YEAR)):
        night = Night(START + timedelta(days=day), "season")
        seconds.append(seconds_of(lake, settings, night, list(STAGES)))
        print(f"{night.date}: {seconds[-1]:.1f} s", flush=True)
        day += 1
        if day % WEEK == 0:
            maintenance.append(seconds_of(lake, settings, night, ["maintain"]))
        if day % MONTH == 0 or day == nights:
            months.append((day, seconds[-MONTH:], maintenance[-MONTH // WEEK :], sizes(Path(settings.lake.root))))
    print(f"{os.cpu_count()} cores")
    print(table(months))


if __name__ == "__main__":
    main()
