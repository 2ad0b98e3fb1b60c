"""A real Airflow of this checkout in a home of its own: API server, scheduler and DAG processor as child processes, and none left behind.

The scheduler makes no runs by itself: those that there are have been asked for. Everything listens on 127.0.0.1 or not at all.
"""

import json
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from shelfmates import components
from shelfmates.components import AIRFLOW, API_SERVER, DAG_PROCESSOR, SCHEDULER, end_all
from shelfmates.rest import answer, token

COMPONENTS = (API_SERVER, SCHEDULER, DAG_PROCESSOR)
PATIENCE = 300.0  # seconds until the DAG has to be there: everything is imported for the first time
LONGEST = 3600.0  # seconds for whatever else is waited for: Spark takes minutes to give up a host that says nothing
LOG_LINES = 15  # of a failed task
MOST = 1000  # runs or tasks in one answer


class AirflowError(Exception):
    """Airflow did not do what it was asked for."""


@dataclass(frozen=True)
class Run:
    night: date
    run_id: str
    state: str


@dataclass(frozen=True)
class Airflow:
    home: Path
    url: str
    environment: Mapping[str, str]
    user: str = ""  # who asks for what there is, with the same word as password; nobody where everybody is an admin

    def command(self, *arguments: str) -> None:
        """Runs `airflow …`. Raises AirflowError with the end of what it said if it fails."""
        said = subprocess.run([AIRFLOW, *arguments], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if said.returncode:
            raise AirflowError(f"airflow {' '.join(arguments)} failed:\n{said.stdout[-2000:]}")

    def start(self, component: Sequence[str]) -> None:
        """Starts one of COMPONENTS; what it says goes to a file of the home."""
        components.started(component, self.home, self.environment)

    def answer(self, path: str) -> dict[str, Any]:
        """What the REST API says to a GET."""
        return self.asked("GET", path, None, self.user)

    def asked(self, method: str, path: str, payload: Mapping[str, Any] | None, user: str) -> dict[str, Any]:
        """What the REST API says to this user."""
        return answer(f"{self.url}/api/v2/{path}", token(self.url, user, user), payload, method)

    def runs(self, dag_id: str) -> list[Run]:
        """All runs of the DAG, in the order of their nights."""
        found = self.answer(f"dags/{dag_id}/dagRuns?limit={MOST}")["dag_runs"]
        return sorted(
            (Run(date.fromisoformat(r["logical_date"][:10]), r["dag_run_id"], r["state"]) for r in found), key=lambda run: run.night
        )

    def tasks(self, dag_id: str) -> list[dict[str, Any]]:
        """The tasks of all runs, as the REST API gives them."""
        found: list[dict[str, Any]] = self.answer(f"dags/{dag_id}/dagRuns/~/taskInstances?limit={MOST}")["task_instances"]
        return found

    def has_backfill(self, dag_id: str) -> bool:
        """Whether a backfill is at work: Airflow takes no other one until the scheduler has noticed that it is done."""
        return any(backfill["completed_at"] is None for backfill in self.answer(f"backfills?dag_id={dag_id}")["backfills"])

    def said(self, task: Mapping[str, Any]) -> list[str]:
        """The log of a task's newest try, line by line."""
        folder = self.home / "logs" / f"dag_id={task['dag_id']}" / f"run_id={task['dag_run_id']}" / f"task_id={task['task_id']}"
        log = folder / f"attempt={task['try_number']}.log"
        whole = log.read_text(encoding="utf-8").rpartition("\n")[0] if log.is_file() else ""  # a last line may be half written
        return [str(json.loads(line)["event"]) for line in whole.splitlines()]

    def last_words(self, dag_id: str, run: Run) -> str:
        """The end of what every failed task of the run wrote."""
        told = []
        for task in self.tasks(dag_id):
            if (task["dag_run_id"], task["state"]) == (run.run_id, "failed"):
                said = self.said(task) or ["it was never begun"]
                told += [f"{run.night} {task['task_id']}:", *(f"  {line}" for line in said[-LOG_LINES:])]
        return "\n".join(told)


@contextmanager
def running(home: Path, dag_id: str, further: Mapping[str, str], at_once: int, users: Mapping[str, str] | None = None) -> Iterator[Airflow]:
    """Airflow with the DAG switched on, so many of its tasks at once, `further` environment variables of its tasks, and these users with
    their roles, the first an admin; without any, everybody is one. At the end of the `with` every process that was started for it is ended,
    whatever has happened."""
    home.mkdir(parents=True)
    home = home.resolve()  # as processes tell it
    known = with_users(home, users) if users else {}
    url = f"http://127.0.0.1:{free_port()}"
    airflow = Airflow(home, url, environment(home, url, at_once) | known | dict(further), next(iter(users or {}), ""))
    airflow.command("db", "migrate")
    with ExitStack() as at_end:
        at_end.callback(end_all, home)
        for component in COMPONENTS:
            airflow.start(component)
        wait_for_dag(airflow, dag_id)
        airflow.command("dags", "unpause", dag_id)
        yield airflow


def environment(home: Path, url: str, at_once: int) -> dict[str, str]:
    """This process's own, without what it says of another Airflow or of settings, and with what this Airflow needs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "SHELFMATES"))}
    return (
        kept
        | components.environment(home, int(url.rpartition(":")[2]), at_once)
        | {
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",  # a token without a password, for whoever reaches 127.0.0.1
            "AIRFLOW__API__MAXIMUM_PAGE_LIMIT": str(MOST),
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(),
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",  # else it takes a core some seconds every 30 s
            "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",  # a DAG that is switched on would run last night
            "AIRFLOW_CONN_SPARK_DEFAULT": '{"conn_type": "spark", "host": "local[2]"}',
        }
    )


def with_users(home: Path, users: Mapping[str, str]) -> dict[str, str]:
    """What tells Airflow of these users, each with their name as password."""
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps({name: name for name in users}), encoding="utf-8")
    return {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in users.items()),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
    }


def until(what: str, look: Callable[[], Any], every: float = 0.5) -> Any:
    """What `look` gives as soon as it gives anything. Raises AirflowError if it never does."""
    given_up = time.monotonic() + LONGEST
    while time.monotonic() < given_up:
        if seen := look():
            return seen
        time.sleep(every)
    raise AirflowError(f"waited {LONGEST:.0f} s for {what}")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def wait_for_dag(airflow: Airflow, dag_id: str) -> None:
    given_up = time.monotonic() + PATIENCE
    while time.monotonic() < given_up:
        with suppress(OSError):  # nobody listens yet, or the DAG has not been read
            airflow.answer(f"dags/{dag_id}")
            return
        time.sleep(1)
    logs = "\n".join(f"{log.name}: {log.read_text(errors='replace')[-1000:]}" for log in sorted(airflow.home.glob("*.log")))
    raise AirflowError(f"there was no DAG {dag_id} after {PATIENCE:.0f} s:\n{logs}")
