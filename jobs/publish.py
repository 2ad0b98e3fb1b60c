"""Makes an audited night visible: one commit to `neighbours`, then one to `current_neighbours`.

A night that a check holds is published only if a person releases it, whose name and reason go to `overrides` first; one that was not
audited is not published at all. A reader sees the old night or the new one. The second commit can be repeated alone: if the first stands
and the second failed, running publish again makes it good. A night older than the newest published one leaves `current_neighbours` as it
is.
"""

from dataclasses import replace
from datetime import UTC, date, datetime

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.decisions import DECISIONS
from jobs.errors import HeldError
from jobs.lake import Lake
from jobs.night import Counts, Night
from jobs.settings import Settings
from jobs.tables import AUDIT_RESULTS, CURRENT_NEIGHBOURS, NEIGHBOURS, OVERRIDES, STAGED_NEIGHBOURS


def holding(checks: DataFrame, night: Night) -> list[str]:
    """What holds the night: the checks graded fail that this very run has broken. Raises HeldError if it has not been audited."""
    rows = checks.where(night.of_this_run).collect()
    if not any(row["check"].startswith("night:") for row in rows):  # audit writes them, with all that a run must have
        raise HeldError(
            f"run {night.run_id} of {night.date} has not been audited since it was staged",
            f"run `shelfmates audit --date {night.date} --run-id {night.run_id}` first",
        )
    broken = [row for row in rows if row["grade"] == "fail" and not row["passed"]]
    of_night = [
        row for row in broken if row["check"].partition(":")[0] not in DECISIONS
    ]  # made of the published night, by a run of any name
    return [f"{row['check']}: {row['figure']}, bound {row['bound']}" for row in of_night]


def release(lake: Lake, night: Night, broken: list[str]) -> None:
    """Puts the person's release of a held night on record. Raises HeldError if there is none."""
    if night.release is None:
        raise HeldError(
            f"run {night.run_id} of {night.date} is held: {'; '.join(broken)}",
            "mend the cause and run the night again; the published tables are as they were. To publish it all the same: "
            f"`shelfmates publish --date {night.date} --run-id {night.run_id} --override REASON`",
        )
    row = (night.date, night.run_id, night.release.who, night.release.why, datetime.now(UTC), broken)
    lake.append(OVERRIDES, lake.frame(OVERRIDES, [row]), night)


def newest_published(lake: Lake) -> date:
    newest: date = lake.read(NEIGHBOURS).agg(F.max("snapshot_date")).collect()[0][0]
    return newest


def run(spark: SparkSession, lake: Lake, settings: Settings, night: Night) -> Counts:
    broken = holding(lake.read(AUDIT_RESULTS, night), night)
    wanted = lake.read(STAGED_NEIGHBOURS, night).where(F.col("rank") <= settings.neighbours.k).select(*NEIGHBOURS.column_names).persist()
    by_run = {row["run_id"]: row["count"] for row in wanted.groupBy("run_id").count().collect()}
    if others := sorted(by_run.keys() - {night.run_id}):
        raise HeldError(
            f"{night.date} was staged anew by run {others[0]} after run {night.run_id}",
            f"run `shelfmates audit publish --date {night.date} --run-id {others[0]}`",
        )
    if broken:
        release(lake, night, broken)
    note: dict[str, object] = {"settings": settings.fingerprint}
    lake.replace(NEIGHBOURS, wanted, night, note=note)
    wanted.unpersist()
    changed, followed = 0, None
    while (newest := newest_published(lake)) >= night.date and newest != followed:  # a later night may be published meanwhile
        rows = lake.read(NEIGHBOURS, replace(night, date=newest)).select(*CURRENT_NEIGHBOURS.column_names)
        changed += lake.synchronise(CURRENT_NEIGHBOURS, rows, replace(night, date=newest), note)
        followed = newest
    released = f", released by {night.release.who}: {night.release.why}" if night.release and broken else ""
    told = f"{changed:,} rows of current_neighbours changed" if followed else f"current_neighbours stays at {newest}"
    pairs = by_run[night.run_id]
    return Counts(pairs, pairs, "pairs", {"changed": changed, "version": lake.version(NEIGHBOURS)}, note=told + released)
