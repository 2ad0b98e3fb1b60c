"""A night under a real scheduler whose processes are killed: whether Airflow tries again by itself, and what the night holds then.

    make scheduled-kill-test             five kills in one night
    make scheduled-kill-test APART=1     a night for each of them

A night of a small generated catalogue goes through the DAG, into an empty lake. One after the other get SIGKILL: the task itself, its
supervisor and its runner, with a driver that is held still until the next try is at work and then goes on as an orphan; a Python worker;
the JVM of Spark's driver; spark-submit before there is a driver; and the scheduler, which is started again. Nobody clears anything: each
task has to be tried again by Airflow, and the night to end. The tables have to hold the same rows as those of the same night where nobody
disturbs it, run by the command line's own program. No process of the night may be left.

A task that says nothing is given up after 20 s instead of minutes, and tried again after 5 s: by Airflow's settings and a policy of its
own, not by the DAG. The encoder is a table of letters, as in the backfill.

Prints a line a kill, and `kills 5, wrong tables 0`.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import psutil
from shelfmates.components import processes_of

from jobs import settings as settings_file
from jobs.generate import generate
from jobs.night import Night
from jobs.shift import work
from jobs.stages import STAGES
from tests.soak.airflow_home import COMPONENTS, Airflow, AirflowError, Run, running, until
from tests.soak.backfill import DAG_ID, variables
from tests.soak.published import faults
from tests.tiny_encoder import save_table

ITEMS, NIGHT, AT_ONCE = 300, date(2026, 1, 5), 2
SCHEDULER = next(component for component in COMPONENTS if component[0] == "scheduler")
HASTE = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
}
POLICY = """from datetime import timedelta


def task_policy(task):
    task.retry_delay = timedelta(seconds=5)
"""

Processes = dict[str, list[psutil.Process]]  # by kind


@dataclass(frozen=True)
class Kill:
    """Of a kind of process, in a task, once its log has a line that begins like this."""

    kind: str
    task_id: str
    after: str
    told: str


KILLS = (
    Kill("task", "load", "ingest: ", "supervisor and runner of the task"),
    Kill("worker", "embed", "shelfmates: night", "a Python worker"),
    Kill("jvm", "neighbours", "neighbours: ", "the JVM of the driver"),
    Kill("submit", "publish", "", "spark-submit, before there is a driver"),
    Kill("scheduler", "publish", "shelfmates: night", "the scheduler"),
)


def found(airflow: Airflow) -> Processes:
    """The processes of a task at work, and the scheduler."""
    kinds: Processes = {kind: [] for kind in ("jvm", "driver", "worker", "task", "submit", "scheduler")}
    for process in (everything := processes_of(airflow.home)):
        with suppress(psutil.Error):
            command = " ".join(process.cmdline())
            if process.ppid() == os.getpid():
                kinds["scheduler"] += [process] if "scheduler" in command else []
            elif "SparkSubmit" in command and process.name() == "java":
                kinds["jvm"].append(process)
                kinds["task"] = [parent for parent in reversed(process.parents()) if parent in everything]  # the supervisor first
            elif "spark-submit" in command or "spark-class" in command:
                kinds["submit"].append(process)
            elif "jobs.daemon" in command:
                kinds["worker"] += [process] if "jobs.daemon" in " ".join(process.parent().cmdline()) else []  # not what forks them
            elif "__main__.py" in command:
                kinds["driver"].append(process)
    kinds["submit"] += [] if kinds["driver"] else kinds["jvm"]
    schedulers = {process.pid for process in kinds["scheduler"]}
    kinds["task"] = [process for process in kinds["task"] if process.pid not in schedulers]
    return kinds


def task_of(airflow: Airflow, run_id: str, task_id: str) -> Mapping[str, Any]:
    return next((t for t in airflow.tasks(DAG_ID) if (t["dag_run_id"], t["task_id"]) == (run_id, task_id)), {"state": None})


def victims(airflow: Airflow, run_id: str, kill: Kill) -> Processes | None:
    """Everything at work, as soon as it is time to kill and there is what to kill."""
    task = task_of(airflow, run_id, kill.task_id)
    if task["state"] != "running" or not any(line.startswith(kill.after) for line in airflow.said(task)):
        if task["state"] in ("success", "failed"):
            raise AirflowError(f"{kill.task_id} was over before {kill.told} could be killed:\n" + "\n".join(airflow.said(task)[-5:]))
        return None
    now = found(airflow)
    return now if now[kill.kind] else None


def killed(airflow: Airflow, kill: Kill, now: Processes) -> list[psutil.Process]:
    """Those that are held still: what a killed task leaves behind."""
    still = [*now["jvm"], *now["driver"], *now["worker"]] if kill.kind == "task" else []
    for process in still:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    for process in now[kill.kind][:1] if kill.kind == "worker" else now[kill.kind]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    if kill.kind == "scheduler":
        airflow.start(SCHEDULER)
    return still


def tried_again(airflow: Airflow, run_id: str, kill: Kill, tries: int) -> str:
    """What became of the task: `retried`, or `went on` where it was not killed itself, but the scheduler. Empty as long as it is not known.
    Raises AirflowError if it is another."""
    task = task_of(airflow, run_id, kill.task_id)
    if task["state"] == "running" and task["try_number"] > tries:
        return "retried"
    if task["state"] == "failed":
        raise AirflowError(f"{kill.task_id} was not tried again:\n" + "\n".join(airflow.said(task)[-10:]))
    if task["state"] == "success" and kill.kind != "scheduler":
        raise AirflowError(f"{kill.task_id} went on: {kill.told} was not what it needed")
    return "went on" if task["state"] == "success" else ""


def outcome(airflow: Airflow, run_id: str, kill: Kill) -> str:
    """Kills, and tells what became of it. Raises AirflowError unless the task is tried again, or goes on."""
    now = until(f"{kill.told} in {kill.task_id}", lambda: victims(airflow, run_id, kill), 0.1)
    task = task_of(airflow, run_id, kill.task_id)
    line = airflow.said(task)[-1]
    still, began = killed(airflow, kill, now), time.monotonic()
    became = until("the next try", lambda: tried_again(airflow, run_id, kill, task["try_number"]))
    told = f"{kill.told} in {kill.task_id} (after `{line:.40}`), {became} after {time.monotonic() - began:.0f} s"
    if still:
        until("its first stage", lambda: any(line.startswith("prepare: ") for line in airflow.said(task_of(airflow, run_id, kill.task_id))))
        for process in still:
            with suppress(psutil.NoSuchProcess):
                process.resume()
        woken = time.monotonic()
        until("the orphan's end", lambda: not set(still) & set(processes_of(airflow.home)))
        told += f", its orphan ended {time.monotonic() - woken:.0f} s after it went on"
    return told


def ended(airflow: Airflow, run_id: str) -> Run | None:
    state = airflow.answer(f"dags/{DAG_ID}/dagRuns/{run_id}")["state"]
    return Run(NIGHT, run_id, state) if state in ("success", "failed") else None


def worked(airflow: Airflow, run_id: str, kills: Sequence[Kill], before: int, expected: Path, lake: Path) -> tuple[int, list[str]]:
    """Through a night: how many kills there have been by its end, and what was wrong with it."""
    airflow.command("dags", "trigger", DAG_ID, "--run-id", run_id, "--conf", json.dumps({"date": str(NIGHT)}))
    done = before
    try:
        for kill in kills:
            print(f"kill {done + 1}: {outcome(airflow, run_id, kill)}", flush=True)
            done += 1
        run = until("the night", lambda: ended(airflow, run_id))
    except AirflowError as error:
        return done, [str(error)]
    left = found(airflow)
    wrong = [f"{kind} {process.pid} is left" for kind in ("jvm", "driver", "worker") for process in left[kind]]
    wrong += faults(expected, lake) if run.state == "success" else [f"the night failed: {airflow.last_words(DAG_ID, run)}"]
    return done, wrong


def soak(folder: Path, nights: Sequence[Sequence[Kill]]) -> int:
    """The number of nights that went wrong."""
    print(generate(folder, ITEMS, 1, NIGHT), flush=True)
    save_table(folder / "model")
    (folder / "policy").mkdir()
    (folder / "policy" / "airflow_local_settings.py").write_text(POLICY, encoding="utf-8")
    expected, lake, failed, done = folder / "undisturbed", folder / "killed", 0, 0
    work(settings_file.load(environment=variables(folder, expected)), Night(NIGHT, "expected"), list(STAGES))
    path = os.pathsep.join([str(folder / "policy"), *filter(None, [os.environ.get("PYTHONPATH")])])
    with running(folder / "airflow", DAG_ID, variables(folder, lake) | HASTE | {"PYTHONPATH": path}, AT_ONCE) as airflow:
        for number, kills in enumerate(nights, 1):
            shutil.rmtree(lake, ignore_errors=True)
            done, wrong = worked(airflow, f"killed-{number}", kills, done, expected, lake)
            print(f"night {number} has ended: {'WRONG' if wrong else 'tables equal, no process left'}", *wrong, sep="\n  ", flush=True)
            failed += bool(wrong)
    print(f"kills {done}, wrong tables {failed}")
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--apart", action="store_true", help="a night for each kill")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("scheduled kills: told to end"))  # what was started is ended on the way out
    with tempfile.TemporaryDirectory(prefix="shelfmates-scheduled-kills-", ignore_cleanup_errors=True) as made:
        sys.exit(1 if soak(Path(made), [[kill] for kill in KILLS] if given.apart else [KILLS]) else 0)


if __name__ == "__main__":
    main()
