"""A night with Spark's dynamic allocation: executors come when there is work and go when there is none, and the tables are the same."""

from datetime import UTC, datetime

from tests.cluster.catalogue import Catalogue, with_spark
from tests.cluster.cluster import Cluster, ClusterError
from tests.cluster.events import applications
from tests.cluster.night import equal

LAKE = "shelfmates/elastic"
ELASTIC = {
    "spark.dynamicAllocation.enabled": "true",
    "spark.dynamicAllocation.shuffleTracking.enabled": "true",  # without a shuffle service: who holds what is still read stays
    "spark.dynamicAllocation.initialExecutors": "1",
    "spark.dynamicAllocation.minExecutors": "1",
    "spark.dynamicAllocation.maxExecutors": "3",
    "spark.dynamicAllocation.executorIdleTimeout": "10s",  # of 60 s none would go in a night this short
    "spark.dynamicAllocation.cachedExecutorIdleTimeout": "20s",
    "spark.dynamicAllocation.shuffleTracking.timeout": "20s",
    "spark.executor.cores": "1",
}


def section(cluster: Cluster, large: Catalogue, small: Catalogue) -> str:
    """The verdict. Raises ClusterError if anything is not as it should be."""
    began, night = datetime.now(UTC), large.nights[0]
    further = with_spark(cluster.folder / "settings" / "shelfmates.toml", ELASTIC) | {"SHELFMATES__LAKE__ROOT": f"s3a://{LAKE}"}
    cluster.worked("driver-1", "shelfmates", "run", "--date", str(night), name="elastic", further=further)
    (application,) = applications(cluster.store, began)
    changes = sorted([(at, 1) for at, _ in application.added] + [(at, -1) for at, *_ in application.removed])
    for at, change in changes:
        print(f"{(at - application.began).total_seconds():8.0f} s  {'an executor more' if change > 0 else 'an executor less'}", flush=True)
    came, went = len(application.added), len(application.removed)
    if came < 2 or not went:
        raise ClusterError(f"{came} executors came and {went} went: nothing was allocated by need")
    pairs = equal(cluster, large, f"s3://{LAKE}", night)
    return (
        f"{pairs} pairs, the same tables as on one machine; {came} executors came, {went} went, {application.done_again} tasks done again"
    )
