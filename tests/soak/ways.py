"""Every way in which a night is started: the same tables.

    make ways-test

Five nights of a small generated catalogue are run into one lake by the command line's own program, one after the other: what is expected.
Into another lake each of them goes another way: the newest by the schedule of the DAG, as soon as it is switched on; then one by
`airflow dags test`, one by the form of Airflow's pages in a headless Chromium, one by the backfill of that form, and one by the REST API.
The published tables of both lakes have to hold the same rows, similarities to the last bit.

The other lake's first night is weighed before, as in `tests/soak/backfill.py`. Prints a line a night, and `ways 5, wrong tables 0`.
"""

import signal
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from jobs import settings as settings_file
from jobs.generate import generate
from jobs.night import Night
from jobs.shift import work
from jobs.stages import STAGES
from tests.browser.pages import backfilled, chromium, field, form, opened, ranged, triggered
from tests.soak.airflow_home import Airflow, AirflowError, running, until
from tests.soak.backfill import DAG_ID, STAGES_TO_WEIGH, variables
from tests.soak.published import faults, times_published
from tests.tiny_encoder import save_table

ITEMS, AT_ONCE = 300, 2
HOUR = 3  # UTC, of the DAG's schedule
MARGIN = timedelta(minutes=20)  # from the schedule: else one more night might begin


def newest() -> date:
    """The night that the schedule starts first."""
    now = datetime.now(UTC)
    due = now.replace(hour=HOUR, minute=0, second=0, microsecond=0)
    if due - MARGIN < now < due:
        raise AirflowError(f"the schedule starts another night at {HOUR}:00 UTC\n  → begin after that")
    return (now - timedelta(hours=HOUR)).date()


def by_dags_test(airflow: Airflow, night: date) -> None:
    airflow.command("dags", "test", DAG_ID, str(night))


def by_form(airflow: Airflow, night: date) -> None:
    with opened(str(chromium())) as page:
        filled = form(page, airflow.url, DAG_ID)
        field(filled, "date").fill(str(night))
        print(f"  run {triggered(filled)}", flush=True)


def by_backfill_of_the_form(airflow: Airflow, night: date) -> None:
    with opened(str(chromium())) as page:
        print(f"  backfill {backfilled(ranged(form(page, airflow.url, DAG_ID), night, night))}", flush=True)


def by_rest(airflow: Airflow, night: date) -> None:
    asked = {"logical_date": f"{night}T{HOUR:02}:00:00Z"}
    print(f"  run {airflow.asked('POST', f'dags/{DAG_ID}/dagRuns', asked, '')['dag_run_id']}", flush=True)


WAYS: dict[str, Callable[[Airflow, date], None]] = {
    "airflow dags test": by_dags_test,
    "the form": by_form,
    "the backfill of the form": by_backfill_of_the_form,
    "the REST API": by_rest,
}
SCHEDULED = "the schedule", lambda airflow, night: None  # nobody does anything


def finished(airflow: Airflow, lake: Path, night: date) -> bool:
    """Whether the night is published and no run is at work. Raises AirflowError if one has failed."""
    runs = airflow.runs(DAG_ID)
    for run in runs:
        if run.state == "failed":
            raise AirflowError(airflow.last_words(DAG_ID, run))
    at_work = any(run.state in ("queued", "running") for run in runs)
    return bool(runs) and not at_work and not airflow.has_backfill(DAG_ID) and times_published(lake)[night] == 1


def soak(folder: Path) -> None:
    last = newest()
    nights = [last - timedelta(days=day) for day in reversed(range(len(WAYS) + 1))]
    print(generate(folder, ITEMS, len(nights), nights[0]), flush=True)
    save_table(folder / "model")
    expected, found = folder / "by-command", folder / "by-airflow"
    settings = [settings_file.load(environment=variables(folder, lake)) for lake in (expected, found)]
    for night in nights:
        work(settings[0], Night(night, "expected"), list(STAGES))
    work(settings[1], Night(nights[0], "first"), STAGES_TO_WEIGH)
    further = variables(folder, found) | {"AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "True"}
    with running(folder / "airflow", DAG_ID, further, AT_ONCE) as airflow:
        for night, (way, start) in [(last, SCHEDULED), *zip(nights[:-1], WAYS.items(), strict=True)]:
            began = time.monotonic()
            print(f"{night} by {way}", flush=True)
            start(airflow, night)
            until(f"the night {night}", lambda night=night: finished(airflow, found, night), 2.0)
            print(f"  published after {time.monotonic() - began:.0f} s", flush=True)
    if wrong := faults(expected, found):
        raise AirflowError("\n  ".join(wrong))
    print(f"ways {len(nights)}, wrong tables 0")


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ways: told to end"))  # what was started is ended on the way out
    if not chromium():
        sys.exit("ways: no Chromium\n  → install one (Debian: apt-get install --no-install-recommends chromium)")
    with tempfile.TemporaryDirectory(prefix="shelfmates-ways-", ignore_cleanup_errors=True) as made:
        try:
            soak(Path(made))
        except AirflowError as error:
            sys.exit(f"ways: {error}")


if __name__ == "__main__":
    main()
