"""Checks the staged night against its bounds, writes every figure to `audit_results`, and only then fails if one graded fail is broken.

Recall and coverage are measured by neighbours and stand in `audit_results` already: here they are judged with the rest. The checks of the
source rows were judged by validate, which held the night itself if one failed.
"""

from datetime import date

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from expectations import clean_items, staged_neighbours, suite
from expectations.suite import Result
from jobs.errors import HeldError
from jobs.lake import Lake
from jobs.night import Counts, Night
from jobs.settings import Audit, Settings
from jobs.tables import AUDIT_RESULTS, CLEAN_ITEMS, NEIGHBOURS, STAGED_NEIGHBOURS

RATIO_REASON = "a feed much smaller or larger than the last published night is more often a broken export than a changed shop"


def rows_against_last_night(rows: int, last_rows: int | None, last: date | None, bounds: Audit) -> Result:
    """The night's number of products over that of the last published night before it."""
    ratio = rows / last_rows if last_rows else None
    passed = ratio is None or bounds.rows_ratio_min <= ratio <= bounds.rows_ratio_max
    bound = f"{bounds.rows_ratio_min:g} to {bounds.rows_ratio_max:g}"
    against = f"night {last}" if last else "no night before"
    return Result("night: rows against last night", "fail", passed, ratio, bound, RATIO_REASON, against)


def last_published(lake: Lake, night: Night) -> tuple[date | None, int | None]:
    """The newest published night before this one, and its number of products."""
    last: date | None = lake.read(NEIGHBOURS).where(F.col("snapshot_date") < F.lit(night.date)).agg(F.max("snapshot_date")).collect()[0][0]
    return last, lake.read(CLEAN_ITEMS, Night(last, night.run_id)).count() if last else None


def run(spark: SparkSession, lake: Lake, settings: Settings, night: Night) -> Counts:
    suite.load_ahead()
    items, pairs = lake.read(CLEAN_ITEMS, night), lake.read(STAGED_NEIGHBOURS, night)
    item_figures, pair_figures = clean_items.figures(items), staged_neighbours.figures(pairs)
    last, last_rows = last_published(lake, night)
    ranks_max = settings.neighbours.k + settings.neighbours.slack
    results = [
        rows_against_last_night(int(item_figures[0]["rows"]), last_rows, last, settings.audit),
        *suite.verdict(clean_items.TABLE, clean_items.suite(), item_figures),
        *suite.verdict(staged_neighbours.TABLE, staged_neighbours.suite(ranks_max), pair_figures),
    ]
    rows = [(night.date, night.run_id, r.check, r.grade, r.passed, r.figure, r.bound, f"{r.group}: {r.reason}") for r in results]
    judged = "', '".join(r.check for r in results)
    within = f"{night.of_this_run} AND check IN ('{judged}')"
    lake.replace(AUDIT_RESULTS, lake.frame(AUDIT_RESULTS, rows), night, within=within)
    verdict = lake.read(AUDIT_RESULTS, night).where(night.of_this_run).collect()
    broken = [row for row in verdict if not row["passed"]]
    if held := [row for row in broken if row["grade"] == "fail"]:
        told = "\n".join(f"  {row['check']} is {row['figure']}, expected {row['bound']}: {row['reason']}" for row in held)
        raise HeldError(
            f"the night of {night.date} is held back, the published tables are as they were:\n{told}",
            "mend the cause and run the night again, or loosen the bound under [audit] in the settings if it is wrong",
        )
    if not any(row["check"] == "staged_neighbours: recall" for row in verdict):
        raise HeldError(f"the recall of run {night.run_id} was not measured", "run neighbours for this date and run id, then audit")
    warned = "".join(f", warned of {row['check']} ({row['figure']})" for row in broken)
    measured = {row["check"].partition(": ")[2]: row["figure"] for row in verdict if row["check"].startswith("staged_neighbours: ")}
    figures = {name: float(measured[name]) for name in ("recall", "coverage")}
    return Counts(len(verdict), len(verdict), "checks", figures, note=f"{len(verdict) - len(broken)} passed{warned}")
