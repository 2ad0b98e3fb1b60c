"""Two nights of the DAG while hosts fail: what they hold in the end, and what had to be computed again.

The first night loses a worker host in the middle of `embed` and another one in the middle of `neighbours`, for good: power cuts, of which
nobody is told. They are switched on again after it. In the second night PostgreSQL and Spark's master are restarted while `load` is at
work, and the S3 server stands still for 20 s while `neighbours` is.
"""

import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from tests.cluster.airflow import ClustersAirflow, airflow_of, asked_for, ended, tries
from tests.cluster.catalogue import Catalogue
from tests.cluster.cluster import Cluster, ClusterError
from tests.cluster.events import Application, applications
from tests.cluster.night import emptied, equal
from tests.cluster.pages import APPLICATIONS, asked
from tests.soak.airflow_home import AirflowError, until
from tests.soak.scheduled_kills import task_of

STANDSTILL = 20.0  # seconds
MIDST = 2.0  # seconds that a task has worked for at least when its host is lost
OF_EMBED, OF_NEIGHBOURS = ("embed: ", 2), ("neighbours: lists ", 1)  # what the log says before, and tasks of the Spark stage at least


def section(cluster: Cluster, large: Catalogue, small: Catalogue) -> str:
    """The verdict. Raises ClusterError or AirflowError if anything is not as it should be."""
    emptied(cluster)
    airflow, first, second = airflow_of(cluster), *large.nights
    began = datetime.now(UTC)
    lost = [*hosts_lost(cluster, airflow, f"faults-{first}", first)]
    again = told(cluster, began)
    for host in lost:
        cluster.on(host)
    stood_still(cluster, airflow, f"faults-{second}", second)
    pairs = equal(cluster, large)
    return (
        f"{pairs} pairs, the same tables as on one machine, though {' and '.join(lost)} were lost ({again} tasks done again), "
        f"PostgreSQL and the master were restarted and S3 stood still for {STANDSTILL:.0f} s"
    )


def hosts_lost(cluster: Cluster, airflow: ClustersAirflow, run_id: str, night: Any) -> list[str]:
    """The hosts that the night has lost."""
    print(f"night {night}, which loses two hosts:", flush=True)
    asked_for(airflow, run_id, night)
    found = []
    for task_id, (line, tasks) in {"embed": OF_EMBED, "neighbours": OF_NEIGHBOURS}.items():
        host = until(f"a task of {task_id}", lambda task=(task_id, line, tasks): busy(cluster, airflow, run_id, *task), 0.5)
        cluster.off(host)
        print(f"  {host} is off, in the middle of {task_id}", flush=True)
        found.append(host)
    ended(airflow, run_id)
    print(f"  tries: {tries(airflow, run_id)}", flush=True)
    return found


def stood_still(cluster: Cluster, airflow: ClustersAirflow, run_id: str, night: Any) -> None:
    """Through a night whose database is restarted, and whose store answers nobody for a while."""
    print(f"night {night}, with a database and a store that are away for a while:", flush=True)
    asked_for(airflow, run_id, night)
    until("ingest", lambda: said(airflow, run_id, "load", "ingest: "), 0.5)
    for service in ("postgres", "spark-master"):
        cluster.restarted(service)
        print(f"  {service} was restarted in the middle of load", flush=True)
    until("a task of neighbours", lambda: busy(cluster, airflow, run_id, "neighbours", *OF_NEIGHBOURS), 0.5)
    with cluster.hosts["s3"].paused():
        time.sleep(STANDSTILL)
    print(f"  S3 stood still for {STANDSTILL:.0f} s in the middle of neighbours", flush=True)
    ended(airflow, run_id)
    print(f"  tries: {tries(airflow, run_id)}; services that have ended and were started again: {cluster.restarts or 'none'}", flush=True)


def said(airflow: ClustersAirflow, run_id: str, task_id: str, line: str) -> bool:
    """Whether the task at work has said a line that begins so. Raises AirflowError if it is over."""
    with suppress(OSError):
        task = task_of(airflow, run_id, task_id)
        if task["state"] in ("success", "failed", "upstream_failed"):
            raise AirflowError(f"{task_id} is {task['state']} already:\n" + "\n".join(airflow.said(task)[-10:]))
        return task["state"] == "running" and any(said.startswith(line) for said in airflow.said(task))
    return False


def busy(cluster: Cluster, airflow: ClustersAirflow, run_id: str, task_id: str, line: str, tasks: int) -> str:
    """The worker host that has been at a task of a Spark stage of so many tasks for a while; empty as long as there is none."""
    if not said(airflow, run_id, task_id, line):
        return ""
    with suppress(OSError):  # the driver may just have ended
        for application in asked(cluster, APPLICATIONS):
            for stage in asked(cluster, f"{APPLICATIONS}/{application['id']}/stages?status=active"):
                if stage["numTasks"] >= tasks:
                    number = f"{stage['stageId']}/{stage['attemptId']}"
                    for task in asked(cluster, f"{APPLICATIONS}/{application['id']}/stages/{number}/taskList?status=running"):
                        if age(task["launchTime"]) >= MIDST and task["host"] in cluster.hosts:
                            return str(task["host"])
    return ""


def age(launched: str) -> float:
    """Seconds since a moment as Spark writes it, `2026-11-20T03:00:00.000GMT`."""
    return time.time() - datetime.strptime(launched.removesuffix("GMT") + "+0000", "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()


def told(cluster: Cluster, since: datetime) -> int:
    """Prints what was lost and done again; how many tasks were. Raises ClusterError if no executor was lost: then nothing was tried."""
    found: list[Application] = applications(cluster.store, since)
    for application in found:
        print(f"  {application.told()}", flush=True)
    if not any(application.removed for application in found):
        raise ClusterError(f"none of {len(found)} event logs tells of an executor that was lost")
    return sum(application.done_again + sum(bool(task.lost) for task in application.tasks) for application in found)
