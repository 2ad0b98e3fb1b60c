"""How old a night's feeds are: those that come unchanged, and those that did not come and are stood in for by their last night's rows."""

import itertools
from collections.abc import Mapping
from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.lake import Lake
from jobs.night import Night
from jobs.sections import Audit
from jobs.tables import AUDIT_RESULTS, RAW_ITEMS


def last_night(lake: Lake, night: Night, source: str) -> date | None:
    """The newest night before this one that has rows of the source, or of which it is on record that its changes left none."""
    before = F.col("snapshot_date") < F.lit(night.date)
    rows = lake.read(RAW_ITEMS, before & (F.col("source") == source)).select("snapshot_date")
    left_none = lake.read(AUDIT_RESULTS, before & (F.col("check") == emptied(source))).select("snapshot_date")
    found: date | None = rows.unionAll(left_none).agg(F.max("snapshot_date")).collect()[0][0]
    return found


def rows_of(lake: Lake, source: str, last: date) -> DataFrame:
    """The source's rows of that night."""
    return lake.read(RAW_ITEMS, (F.col("source") == source) & (F.col("snapshot_date") == F.lit(last)))


def days_missing(lake: Lake, night: Night, source: str, last: date) -> int:
    """How old the rows of that night, its newest, are: they may have stood in for a missing feed then."""
    then = lake.read(AUDIT_RESULTS, (F.col("snapshot_date") == F.lit(last)) & (F.col("check") == missing(source)))
    return (night.date - last).days + int(then.agg(F.max("figure")).collect()[0][0] or 0)


def days_unchanged(lake: Lake, night: Night, tonight: Mapping[str, frozenset[str]], most: int) -> dict[str, int]:
    """By source, for how many days its files have been those of tonight, given by their fingerprints: up to `most` days and one."""
    since = night.date - timedelta(days=most + 1)
    before = lake.read(RAW_ITEMS, F.col("snapshot_date").between(F.lit(since), F.lit(night.date - timedelta(days=1))))
    rows = before.groupBy("source", "snapshot_date").agg(F.collect_set("file_sha256").alias("files")).orderBy("snapshot_date").collect()
    found = dict.fromkeys(tonight, 0)
    for source, fingerprints in tonight.items():
        mine = [row for row in rows if row["source"] == source]
        same = itertools.takewhile(lambda row: frozenset(row["files"]) == fingerprints, reversed(mine))  # noqa: B023  used up at once
        found[source] = max(((night.date - row["snapshot_date"]).days for row in same), default=0)
    return found


def missing(source: str) -> str:
    """Name of the check."""
    return f"feeds: days {source} is missing"


def emptied(source: str) -> str:
    """Name of the check that a source's changes leave it with products; on record where they do not."""
    return f"changes: products of {source}"


def without_products(source: str, night: Night) -> tuple[object, ...]:
    """The row of audit_results of a source whose changes have deleted its last product."""
    return night.date, night.run_id, emptied(source), "warn", False, 0.0, ">= 1", "all: its changes have deleted every product it had"


def judged(unchanged: Mapping[str, int], absent: Mapping[str, int], bounds: Audit, night: Night) -> list[tuple[object, ...]]:
    """Rows of audit_results, of every source's days."""
    stuck = "a feed that comes unchanged for long is more often a stuck export than a still shop"
    stale = "the rows that stand in for a feed that does not come are less true every night"
    rows = [(f"feeds: days {source} is unchanged", "warn", days, bounds.unchanged_days_max, stuck) for source, days in unchanged.items()]
    rows += [(missing(source), "fail", days, bounds.missing_days_max, stale) for source, days in absent.items()]
    return [
        (night.date, night.run_id, check, grade, days <= most, float(days), f"<= {most}", f"all: {reason}")
        for check, grade, days, most, reason in rows
    ]
