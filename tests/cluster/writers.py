"""Several drivers that write one table of a lake in S3 at once: every commit of each has to be there.

Two drivers, on two hosts, append 40 rows each to one table, a commit a row. Then two nights are made, and published by two drivers at the
same moment, three times: both have to be there, whole, whatever the order in which they came.
"""

import json
from datetime import date

from tests.cluster.catalogue import Catalogue, with_spark
from tests.cluster.cluster import Cluster, ClusterError
from tests.cluster.night import equal

DRIVERS, COMMITS, ROUNDS = ("driver-1", "driver-2"), 40, 3
LAKE = "shelfmates/writers"
STAGES = ("prepare", "ingest", "validate", "clean", "weigh", "embed", "neighbours")


def section(cluster: Cluster, large: Catalogue, small: Catalogue) -> str:
    """The verdict. Raises ClusterError if anything is not as it should be."""
    # each takes a core: the first one would take them all
    further = with_spark(cluster.folder / "settings" / "shelfmates.toml", {"spark.cores.max": "1"})
    turns = appended(cluster, further | {"SHELFMATES__LAKE__ROOT": "s3a://shelfmates/appends"})
    lake = {"SHELFMATES__LAKE__ROOT": f"s3a://{LAKE}"}
    further |= lake
    for night in small.nights:
        command = ["shelfmates", *STAGES, "--date", str(night), "--run-id", "staged"]
        cluster.worked("driver-1", *command, name=f"staged-{night}", further=lake)
        print(f"  {night} is staged", flush=True)
    for number in range(1, ROUNDS + 1):
        published(cluster, small.nights, number, further)
        pairs = equal(cluster, small, f"s3://{LAKE}", *(small.nights if number < ROUNDS else ()))
        print(f"  published at once, {number} of {ROUNDS}: {pairs} pairs, all there", flush=True)
    return (
        f"{2 * COMMITS} commits of two drivers to one table, all there ({turns} times it was the other's turn); "
        f"two nights published at once, {ROUNDS} times: both whole"
    )


def appended(cluster: Cluster, further: dict[str, str]) -> int:
    """How often it was the other's turn. Raises ClusterError if a commit is lost, or if they have not been at it at once."""
    at_work = [
        cluster.begun(driver, "python", "-m", "tests.cluster.append", driver, str(COMMITS), name=f"append-{driver}", further=further)
        for driver in DRIVERS
    ]
    for driver, process in zip(DRIVERS, at_work, strict=True):
        cluster.ended(process, f"append-{driver}")
    found = json.loads(cluster.run("analyst", "python", "-m", "tests.cluster.append", "--told", further=further))
    print(f"  {found}", flush=True)
    if (found["rows"], found["commits"]) != (2 * COMMITS, 2 * COMMITS):
        raise ClusterError(f"{found['rows']} rows in {found['commits']} commits, expected {2 * COMMITS} of each")
    if found["turns"] < COMMITS // 4:
        raise ClusterError(f"the drivers took turns {found['turns']} times: one after the other they had no chance to get in the way")
    return int(found["turns"])


def published(cluster: Cluster, nights: tuple[date, ...], number: int, further: dict[str, str]) -> None:
    """Publishes every night at once, each by a driver of its own. Raises ClusterError if one fails."""
    at_work = {}
    for driver, night in zip(DRIVERS, nights, strict=True):
        name = f"publish-{night}-{number}"
        command = ["shelfmates", "audit", "publish", "--date", str(night), "--run-id", "staged"]
        at_work[name] = cluster.begun(driver, *command, name=name, further=further)
    for name, process in at_work.items():
        cluster.ended(process, name)
