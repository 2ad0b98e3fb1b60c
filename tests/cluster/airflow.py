"""The cluster's Airflow: its API as the admin of its first user, nights asked for and followed."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any
from urllib.error import HTTPError

from shelfmates.rest import answer, token

from tests.cluster.cluster import Cluster
from tests.soak.airflow_home import Airflow, AirflowError, Run, until

DAG_ID, ADMIN = "catalogue", "admin"
EVERY = 2.0  # seconds between two looks


@dataclass(frozen=True)
class ClustersAirflow(Airflow):
    """`home` is the scheduler's, in its host's root: with LocalExecutor the logs of tasks at work lie there."""

    cluster: Cluster = field(kw_only=True)

    def command(self, *arguments: str) -> None:
        self.cluster.run("scheduler", "airflow", *arguments)

    def asked(self, method: str, path: str, payload: Mapping[str, Any] | None, user: str) -> dict[str, Any]:
        with self.cluster.hosts["analyst"].network():
            return answer(f"{self.url}/api/v2/{path}", _token(self.url, user, self.cluster.values["ADMIN_PASSWORD"]), payload, method)

    def page(self, path: str) -> dict[str, Any]:
        """What a page of a plugin tells the admin."""
        with self.cluster.hosts["analyst"].network():
            return answer(f"{self.url}/{path}", _token(self.url, self.user, self.cluster.values["ADMIN_PASSWORD"]))


@lru_cache
def _token(url: str, user: str, password: str) -> str:
    """One for all that is asked: making one takes the server longer than most answers."""
    return token(url, user, password)


def airflow_of(cluster: Cluster) -> ClustersAirflow:
    home = cluster.services["scheduler"].environment["AIRFLOW_HOME"].lstrip("/")
    url = f"http://{cluster.hosts['api-server'].address}:8080"
    return ClustersAirflow(cluster.folder / "hosts" / "scheduler" / home, url, {}, ADMIN, cluster=cluster)


def asked_for(airflow: ClustersAirflow, run_id: str, night: date) -> None:
    """Starts a run of the DAG."""
    until("the DAG", lambda: _known(airflow), EVERY)
    airflow.asked("PATCH", f"dags/{DAG_ID}", {"is_paused": False}, ADMIN)
    payload = {"dag_run_id": run_id, "logical_date": None, "conf": {"date": str(night)}}
    airflow.asked("POST", f"dags/{DAG_ID}/dagRuns", payload, ADMIN)


def _known(airflow: ClustersAirflow) -> bool:
    """Whether the DAG has been read. Raises AirflowError if it cannot be."""
    if failed := airflow.answer("importErrors")["import_errors"]:
        raise AirflowError("\n".join(f"{error['filename']}: {error['stack_trace'][-1000:]}" for error in failed))
    try:
        return bool(airflow.answer(f"dags/{DAG_ID}"))
    except HTTPError:  # not yet
        return False


def ended(airflow: ClustersAirflow, run_id: str) -> Run:
    """Follows the run to its end, with a line for every task that comes or goes. Raises AirflowError if it fails."""
    began, states = time.monotonic(), dict[str, str]()

    def look() -> str:
        try:
            tasks = [task for task in airflow.tasks(DAG_ID) if task["dag_run_id"] == run_id]
            state = str(airflow.answer(f"dags/{DAG_ID}/dagRuns/{run_id}")["state"])
        except OSError:  # the API server may be without its database for a while
            return ""
        for task in tasks:
            if states.get(task["task_id"]) != task["state"] and task["state"] not in (None, "scheduled", "queued"):
                print(f"{time.monotonic() - began:6.0f} s  {task['task_id']}: {task['state']}", flush=True)
            states[task["task_id"]] = task["state"]
        return state if state in ("success", "failed") else ""

    run = Run(date.min, run_id, until(f"the run {run_id}", look, EVERY))
    if run.state != "success":
        raise AirflowError(f"the run {run_id} failed:\n{airflow.last_words(DAG_ID, run)}")
    return run


def idle(airflow: ClustersAirflow) -> bool:
    """Whether no run and no backfill is at work."""
    states = {run["state"] for run in airflow.answer(f"dags/{DAG_ID}/dagRuns?limit=100")["dag_runs"]}
    return not airflow.has_backfill(DAG_ID) and not states & {"queued", "running"}


def tries(airflow: ClustersAirflow, run_id: str) -> dict[str, int]:
    """How often each task of the run was begun."""
    return {task["task_id"]: task["try_number"] for task in airflow.tasks(DAG_ID) if task["dag_run_id"] == run_id}


def logs(airflow: ClustersAirflow, run_id: str, task_id: str) -> str:
    """What the API server shows of a task's newest try, which it reads from the store."""
    number = tries(airflow, run_id)[task_id]
    return json.dumps(airflow.answer(f"dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{number}?full_content=true"))
