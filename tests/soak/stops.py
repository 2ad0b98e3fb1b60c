"""A night under a real Airflow whose tasks people stop and clear: what is left of their processes, and what the night holds then.

    make stop-test

A night of a small generated catalogue goes through the DAG. In the middle of `embed`, with a Python worker at work on a batch, the task is
set to failed, as the button of its page does: no process of it may be left. It is cleared with what comes after it, and goes on. In the
middle of `neighbours` that task is cleared, which stops it and begins it again: nothing may be left of the first try, and the second has to
end the night. The tables have to hold the same rows as those of the same night where nobody disturbs it, run by the command line's own
program.

The worker is held still from then on, as one would be that is in the middle of something long. Prints the processes before and after, and
`stops 2, processes left 0, wrong tables 0`.
"""

import json
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

from jobs import settings as settings_file
from jobs.generate import generate
from jobs.night import Night
from jobs.shift import work
from jobs.stages import STAGES
from tests.soak.airflow_home import Airflow, AirflowError, running, until
from tests.soak.backfill import DAG_ID, variables
from tests.soak.published import faults
from tests.soak.scheduled_kills import AT_ONCE, HASTE, ITEMS, NIGHT, Kill, ended, found, task_of, victims
from tests.tiny_encoder import save_table

RUN = "stopped"
OF_A_TASK = ("submit", "jvm", "driver", "worker")
SHOWN = 100  # characters of a process


def stop(airflow: Airflow) -> None:
    airflow.asked("PATCH", f"dags/{DAG_ID}/dagRuns/{RUN}/taskInstances/embed", {"new_state": "failed"}, "")


def clear(airflow: Airflow, task_id: str) -> None:
    asked = {"dag_run_id": RUN, "task_ids": [task_id], "include_downstream": True, "only_failed": False, "dry_run": False}
    airflow.asked("POST", f"dags/{DAG_ID}/clearTaskInstances", asked, "")


def held(airflow: Airflow, task_id: str) -> list[psutil.Process]:
    """The processes of the task, as soon as a worker of it is at work, which is held still."""
    kill = Kill("worker", task_id, "shelfmates: night", "a Python worker")
    at_work = until(f"a worker of {task_id}", lambda: victims(airflow, RUN, kill), 0.1)
    for worker in at_work["worker"]:
        with suppress(psutil.NoSuchProcess):
            worker.suspend()
    return list({process.pid: process for kind in OF_A_TASK for process in at_work[kind]}.values())


def shown(processes: list[psutil.Process]) -> str:
    lines = [f"  {p.pid:>8} {p.name():8} {' '.join(p.cmdline()):.{SHOWN}}" for p in processes if p.is_running()]
    return "\n".join(lines) or "  none"


def gone(what: str, processes: list[psutil.Process]) -> None:
    began = time.monotonic()
    until(f"the end of {what}", lambda: not any(process.is_running() for process in processes))
    print(f"gone after {time.monotonic() - began:.0f} s", flush=True)


def nothing_left(airflow: Airflow) -> None:
    """Raises AirflowError if a process of a task is."""
    left = [process for kind in OF_A_TASK for process in found(airflow)[kind]]
    print(f"left:\n{shown(left)}", flush=True)
    if left:
        raise AirflowError("processes are left")


def disturbed(airflow: Airflow) -> None:
    """Through the night. Raises AirflowError if it does not end as it should."""
    airflow.command("dags", "trigger", DAG_ID, "--run-id", RUN, "--conf", json.dumps({"date": str(NIGHT)}))

    processes = held(airflow, "embed")
    print(f"in the middle of embed:\n{shown(processes)}\nembed is stopped", flush=True)
    stop(airflow)
    gone("embed", processes)
    until("the run to fail", lambda: ended(airflow, RUN))
    print(f"the log ends: {airflow.said(task_of(airflow, RUN, 'embed'))[-1]}", flush=True)
    nothing_left(airflow)
    clear(airflow, "embed")

    processes = held(airflow, "neighbours")
    print(f"embed was cleared; in the middle of neighbours:\n{shown(processes)}\nneighbours is cleared", flush=True)
    clear(airflow, "neighbours")
    gone("the first try", processes)
    run = until("the night", lambda: ended(airflow, RUN))
    if run.state != "success":
        raise AirflowError(f"the night failed: {airflow.last_words(DAG_ID, run)}")
    print("the night has ended", flush=True)
    nothing_left(airflow)


def soak(folder: Path) -> None:
    print(generate(folder, ITEMS, 1, NIGHT), flush=True)
    save_table(folder / "model")
    expected, lake = folder / "undisturbed", folder / "stopped"
    work(settings_file.load(environment=variables(folder, expected)), Night(NIGHT, "expected"), list(STAGES))
    with running(folder / "airflow", DAG_ID, variables(folder, lake) | HASTE, AT_ONCE) as airflow:
        disturbed(airflow)
    if wrong := faults(expected, lake):
        raise AirflowError("\n  ".join(wrong))
    print("stops 2, processes left 0, wrong tables 0")


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stops: told to end"))  # what was started is ended on the way out
    with tempfile.TemporaryDirectory(prefix="shelfmates-stops-", ignore_cleanup_errors=True) as made:
        try:
            soak(Path(made))
        except AirflowError as error:
            sys.exit(f"stops: {error}")


if __name__ == "__main__":
    main()
