"""A season of nights in one process: whether time, files and logs stay as they are from month to month.

    make season-test                365 nights of 2,000 generated products, or 90 where the first nights take longer than 8 s each
    make season-test NIGHTS=30 ITEMS=300

Every night goes through all stages, every seventh maintenance; lists are brought up to date from night to night where that is worth it.
The clock goes on by a day from night to night, for Python and for the JVM (libfaketime; Debian: `apt-get install faketime`), and every file
has the time of its night: what maintenance forgets and removes by age comes of age.

Prints a line a night, and a table by month: the median seconds of a night, those of maintenance, and by table its bytes, its files and
those of its log.
"""

import argparse
import importlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from jobs import settings as settings_file
from jobs.claims import claimed
from jobs.generate import generate
from jobs.lake import Lake
from jobs.night import Night
from jobs.session import open_session
from jobs.settings import Settings
from jobs.stages import STAGES
from jobs.tables import TABLES
from tests.tiny_encoder import save

START = date(2026, 1, 1)
WARM, FAST = 5, 8.0  # nights until Spark is warm; seconds of a night below which a whole year is run
MONTH, WEEK = 30, 7
YEAR, QUARTER = 365, 90
BEGAN = datetime.now(UTC)
CLOCK = "FAKETIME_TIMESTAMP_FILE"  # variable that names the file with the days by which the clock is ahead
SETTINGS = {
    "SHELFMATES__NEIGHBOURS__INCREMENTS": "true",
    "SHELFMATES__MAINTENANCE__NEIGHBOURS": "60",  # days; a season is shorter than 400
    "SHELFMATES__MAINTENANCE__AUDIT_RESULTS": "60",
    "SHELFMATES__SPARK__CONF": '{"spark.network.timeout" = "1000d"}',  # an executor that was not heard of for a day is not lost
}


def seconds_of(lake: Lake, settings: Settings, night: Night, stages: Sequence[str]) -> float:
    began = time.perf_counter()
    mine = replace(lake, fence=claimed(lake, night, begins="ingest" in stages)) if "ingest" in stages else lake
    for stage in stages:
        importlib.import_module(f"jobs.{stage}").run(lake.spark, mine, settings, night)
    return time.perf_counter() - began


def begun_again() -> None:
    """Runs this very command once more, with a clock that can be put forward."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        sys.exit("season: there is no libfaketime\n  → install it (Debian: apt-get install faketime)")
    with tempfile.NamedTemporaryFile("w", prefix="shelfmates-clock-", encoding="ascii", delete=False) as clock:
        clock.write("+0")
    # files have real times until `dated` gives them others
    told = {"LD_PRELOAD": str(library), CLOCK: clock.name, "FAKETIME_CACHE_DURATION": "1", "NO_FAKE_STAT": "1"}
    os.execve(sys.executable, [sys.executable, "-m", "tests.soak.season", *sys.argv[1:]], os.environ | told)


def put_forward(days: int) -> None:
    """Puts the clock so many days ahead, and waits until every process has seen it."""
    Path(os.environ[CLOCK]).write_text(f"+{days}d", encoding="ascii")
    time.sleep(2 * float(os.environ["FAKETIME_CACHE_DURATION"]))
    if datetime.now(UTC) < BEGAN + timedelta(days=days):
        raise SystemExit("season: the clock does not go forward")


def dated(root: Path, known: set[Path]) -> None:
    """Gives the files that are not known yet the time that the clock shows."""
    for file in set(root.rglob("*")) - known:
        os.utime(file, (time.time(), time.time()))
        known.add(file)


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
    if CLOCK not in os.environ:
        begun_again()
    with tempfile.TemporaryDirectory(prefix="shelfmates-season-") as made:
        folder = Path(made)
        generate(folder, given.items, given.nights or YEAR, START)
        environment = SETTINGS | {"SHELFMATES__EMBED__MODEL": str(save(folder / "tiny"))}
        settings = settings_file.load(folder / "shelfmates.toml", environment)
        lake = Lake(open_session(settings, name="shelfmates-season"), settings.lake.root)
        season(lake, settings, given.nights)
        lake.spark.stop()
    Path(os.environ[CLOCK]).unlink()


def season(lake: Lake, settings: Settings, nights: int | None) -> None:
    months, seconds, maintenance = [], list[float](), list[float]()
    root, known, day = Path(settings.lake.root), set[Path](), 0
    while day < (nights or (QUARTER if len(seconds) >= WARM and statistics.median(seconds[1:]) > FAST else YEAR)):
        put_forward(day)
        night = Night(START + timedelta(days=day), "season")
        seconds.append(seconds_of(lake, settings, night, list(STAGES)))
        print(f"{night.date}: {seconds[-1]:.1f} s", flush=True)
        dated(root, known)
        day += 1
        if day % WEEK == 0:
            maintenance.append(seconds_of(lake, settings, night, ["maintain"]))
            dated(root, known)
        if day % MONTH == 0 or day == nights:
            months.append((day, seconds[-MONTH:], maintenance[-MONTH // WEEK :], sizes(root)))
    print(f"{os.cpu_count()} cores")
    print(table(months))


if __name__ == "__main__":
    main()
