"""A backfill through a real Airflow, several nights at once, against the same nights one after the other: the same tables.

    make backfill-test
    make backfill-test NIGHTS=3

Seven nights of a small generated catalogue are run into one lake, in their order: what is expected. Airflow then backfills another lake,
three nights at once; works again on all of them; and, after one has failed for want of its feed, on that one alone. Each time the published
tables of both lakes hold the same rows, similarities to the last bit.

The other lake's first night is weighed before: into an empty lake any night might be the one whose terms are counted. The encoder is a
table of letters, since what a transformer makes of a text differs in the last bits with what else is in its batch.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

from jobs import settings as settings_file
from jobs.generate import generate
from jobs.night import Night
from jobs.shift import work
from jobs.stages import STAGES
from jobs.tables import CURRENT_NEIGHBOURS
from tests.soak.airflow_home import Airflow, AirflowError, Run, running
from tests.soak.published import faults, times_published, version
from tests.tiny_encoder import save_table

DAG_ID = "catalogue"
ITEMS, START, AT_ONCE = 300, date(2026, 1, 1), 3
STAGES_TO_WEIGH = ["prepare", "ingest", "validate", "clean", "weigh"]
POLL = 2.0  # seconds


class UnequalError(Exception):
    """What was found, in as many lines as it takes."""


def variables(folder: Path, lake: Path) -> dict[str, str]:
    """What names the settings of the catalogue in the folder, with this lake."""
    return {
        "SHELFMATES_SETTINGS": str(folder / "shelfmates.toml"),
        "SHELFMATES__LAKE__ROOT": str(lake),
        "SHELFMATES__VALIDATE__DOCS": f"{lake}-docs",
        "SHELFMATES__EMBED__MODEL": str(folder / "model"),
    }


def progress(airflow: Airflow, runs: list[Run]) -> str:
    """For instance `3 running, 4 queued; 2 of 28 tasks done`."""
    ids = {run.run_id for run in runs}
    tasks = [task["state"] for task in airflow.tasks(DAG_ID) if task["dag_run_id"] in ids]
    states = Counter(run.state for run in runs).most_common()
    return f"{', '.join(f'{count} {state}' for state, count in states)}; {tasks.count('success')} of {len(tasks)} tasks done"


def backfilled(airflow: Airflow, nights: Sequence[date], behaviour: str) -> list[Run]:
    """The runs of a backfill over these nights, once it is done. Raises UnequalError if fewer were at work at once than there might be."""
    print(f"backfill: {nights[0]} to {nights[-1]}, --reprocess-behavior {behaviour}", flush=True)
    asked = ["--from-date", str(nights[0]), "--to-date", f"{nights[-1]}T23:59", "--max-active-runs", str(AT_ONCE)]
    airflow.command("backfill", "create", "--dag-id", DAG_ID, *asked, "--reprocess-behavior", behaviour)
    began, last, most, done = time.monotonic(), "", 0, False
    while not done:
        done = not airflow.has_backfill(DAG_ID)  # asked first: what the runs are then, they stay
        runs = [run for run in airflow.runs(DAG_ID) if run.night in nights]
        most = max(most, sum(run.state == "running" for run in runs))
        if (now := progress(airflow, runs)) != last:
            print(f"{time.monotonic() - began:5.0f} s  {now}", flush=True)
        last = now
        time.sleep(POLL)
    if most < min(AT_ONCE, len(nights)) and behaviour != "failed":
        raise UnequalError(f"{most} nights were at work at once at most, expected {AT_ONCE}")
    return runs


def check(airflow: Airflow, runs: list[Run], expected: Path, found: Path, times: Mapping[date, int]) -> None:
    """Raises UnequalError unless all runs are done, both lakes hold the same, and every night of the second was published so often."""
    told = [airflow.last_words(DAG_ID, run) for run in runs if run.state != "success"]
    told += faults(expected, found)
    if (counted := times_published(found)) != times:
        told += [f"{night} was published {counted[night]} times, expected {times[night]}" for night in sorted(times)]
    if told:
        raise UnequalError("\n".join(told))


def soak(folder: Path, count: int) -> None:
    """Raises UnequalError with what differs."""
    nights = [START + timedelta(days=day) for day in range(count)]
    broken = nights[count // 2]
    print(generate(folder, ITEMS, len(nights), nights[0]), flush=True)
    save_table(folder / "model")
    expected, found = folder / "one-after-the-other", folder / "backfilled"
    settings = [settings_file.load(environment=variables(folder, lake)) for lake in (expected, found)]
    for night in nights:
        work(settings[0], Night(night, "expected"), list(STAGES))
    work(settings[1], Night(nights[0], "first"), STAGES_TO_WEIGH)
    with running(folder / "airflow", DAG_ID, variables(folder, found), AT_ONCE) as airflow:
        check(airflow, backfilled(airflow, nights, "none"), expected, found, dict.fromkeys(nights, 1))
        current = version(found, CURRENT_NEIGHBOURS)
        check(airflow, backfilled(airflow, nights, "completed"), expected, found, dict.fromkeys(nights, 2))
        if (now := version(found, CURRENT_NEIGHBOURS)) != current:
            raise UnequalError(f"current_neighbours had {now - current} commits from nights that were published before")
        feed = folder / "feeds" / str(broken)
        feed.rename(folder / "away")
        (run,) = backfilled(airflow, [broken], "completed")
        (folder / "away").rename(feed)
        if run.state != "failed":
            raise UnequalError(f"{broken} is {run.state} without its feed")
        check(airflow, [], expected, found, dict.fromkeys(nights, 2))
        check(airflow, backfilled(airflow, nights, "failed"), expected, found, dict.fromkeys(nights, 2) | {broken: 3})
    print(f"backfill: {len(nights)} nights, {AT_ONCE} at once, reprocess completed and failed: tables equal")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work in this new folder, and leave it")
    parser.add_argument("--nights", type=int, default=7)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("backfill: told to end"))  # what was started is ended on the way out
    try:
        if given.keep:
            soak(given.keep.absolute(), given.nights)
        else:
            with tempfile.TemporaryDirectory(prefix="shelfmates-backfill-", ignore_cleanup_errors=True) as made:
                soak(Path(made), given.nights)
    except (UnequalError, AirflowError) as error:
        sys.exit(f"backfill: {error}")


if __name__ == "__main__":
    main()
