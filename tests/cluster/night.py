"""The night on the cluster: the DAG `catalogue` from feeds in S3 to tables in S3, held against the tables of one machine."""

import json
import shutil
import time
from datetime import date
from urllib.error import HTTPError
from urllib.parse import quote

from shelfmates.rest import answer

from tests.cluster.airflow import ClustersAirflow, airflow_of, asked_for, ended, logs
from tests.cluster.catalogue import Catalogue
from tests.cluster.cluster import Cluster, ClusterError

LAKE = "s3://shelfmates/lake"
COUNT = "SELECT count(*) AS pairs FROM neighbours WHERE snapshot_date = DATE '{night}'"


def section(cluster: Cluster, large: Catalogue, small: Catalogue) -> str:
    """The verdict. Raises ClusterError or AirflowError if anything is not as it should be."""
    emptied(cluster)
    airflow, began = airflow_of(cluster), time.monotonic()
    for night in large.nights:
        worked(airflow, f"night-{night}", night)
    seconds = time.monotonic() - began
    pairs = equal(cluster, large)
    of_last = asked_of_duckdb(cluster, large.nights[-1])
    shown_by_the_explorer(airflow, large.nights[-1])
    if "publish: " not in logs(airflow, f"night-{large.nights[-1]}", "publish"):
        raise ClusterError("the API server does not show the log of publish")
    print(f"DuckDB counts {of_last} pairs of {large.nights[-1]}", flush=True)
    return f"{len(large.nights)} nights, {pairs} pairs in {seconds:.0f} s, the same tables as on one machine"


def worked(airflow: ClustersAirflow, run_id: str, night: date) -> None:
    """Through a night that nobody disturbs."""
    print(f"night {night}:", flush=True)
    asked_for(airflow, run_id, night)
    ended(airflow, run_id)


def emptied(cluster: Cluster) -> None:
    """Removes the lake, and what came of it."""
    shutil.rmtree(cluster.store / "lake", ignore_errors=True)


def equal(cluster: Cluster, catalogue: Catalogue, lake: str = LAKE, *nights: date) -> str:
    """The number of pairs, where the lake's tables are those of one machine. Raises ClusterError with what differs."""
    return cluster.run("analyst", "python", "-m", "tests.cluster.compare", f"/expected/{catalogue.name}", lake, *map(str, nights)).strip()


def asked_of_duckdb(cluster: Cluster, night: date) -> str:
    """The pairs of the night, as `shelfmates sql` counts them. Raises ClusterError if there are none."""
    pairs = cluster.run("analyst", "shelfmates", "sql", "--format", "csv", COUNT.format(night=night)).split()[-1]
    if not int(pairs):
        raise ClusterError(f"DuckDB finds no pairs of {night}")
    return f"{int(pairs):,}"


def shown_by_the_explorer(airflow: ClustersAirflow, night: date) -> None:
    """Raises ClusterError if the explorer does not know the night's products, or shows them to who has not signed in."""
    first = airflow.page(f"shelfmates/nights/{night}/items?count=1")
    (item,) = first["items"]
    shown = airflow.page(f"shelfmates/nights/{night}/item?item_id={quote(item['item_id'])}")
    if item["title"] not in json.dumps(shown, ensure_ascii=False):
        raise ClusterError(f"the explorer does not show {item['item_id']}: {str(shown)[:500]}")
    print(f"the explorer finds {first['found']:,} products of {night}", flush=True)
    try:
        with airflow.cluster.hosts["analyst"].network():
            answer(f"{airflow.url}/shelfmates/nights")
    except HTTPError as error:
        if error.code in (401, 403):
            return
    raise ClusterError("the explorer tells of nights without a login")
