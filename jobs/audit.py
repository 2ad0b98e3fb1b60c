"""Checks the staged night against its bounds, writes every figure to `audit_results`, and only then fails if one graded fail is broken.

What ingest and validate found of the feeds and what neighbours measured stands in `audit_results` already, under the same run: a run that
lacks it has skipped a stage, and is held. Ages, recall and coverage are judged here, so that a loosened bound needs no new search.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from expectations import clean_items, raw_items, staged_neighbours, suite
from expectations.suite import WHOLE, Grade, Result
from jobs import published
from jobs.errors import HeldError
from jobs.lake import Lake
from jobs.night import Counts, Night
from jobs.sections import Audit
from jobs.session import at_once
from jobs.settings import Settings
from jobs.tables import AUDIT_RESULTS, CLEAN_ITEMS, NEIGHBOURS, STAGED_NEIGHBOURS

if TYPE_CHECKING:
    import pandas as pd

COMPARED = 10_000  # items, at random, of which the pairs of two nights are held against each other
CHURN_REASON = "products that have not changed should keep their neighbours: else a feed, a column or an encoder is not what it was"
SHIFT_REASON = "similarities that are distributed otherwise than last night come from other texts or another encoder"
RATIO_REASON = "a feed much smaller or larger than the last published night is more often a broken export than a changed shop"


def items_against_last_night(items: int, last_items: int, last: date | None, bounds: Audit) -> Result:
    """The products that have neighbours, over those of the last published night, whose `clean_items` may be of a later, held run."""
    ratio = items / last_items if last_items else None
    passed = ratio is None or bounds.rows_ratio_min <= ratio <= bounds.rows_ratio_max
    bound = f"{bounds.rows_ratio_min:g} to {bounds.rows_ratio_max:g}"
    against = f"night {last}" if last else "no night before"
    return Result("night: items against last night", "fail", passed, ratio, bound, RATIO_REASON, against)


def pairs_of_both(lake: Lake, night: Night, last: Night, items: int, k: int) -> "pd.DataFrame":
    """The k nearest of the same random items in this night and, of those still listed, in the last: item_id, neighbour_id, `before`, `now`
    (the similarity, nan of a pair that one of them lacks), and whether the item's text is the `same`."""
    drawn = F.pmod(F.xxhash64("item_id"), F.lit(max(1, -(-items // COMPARED)))) == 0
    texts = [lake.read(CLEAN_ITEMS, of).where(drawn).select("item_id", "content_hash") for of in (last, night)]
    same = texts[0].join(texts[1], ["item_id", "content_hash"]).select("item_id", F.lit(True).alias("same"))
    listed = lake.read(CLEAN_ITEMS, night).select(F.col("item_id").alias("neighbour_id"))
    before = lake.read(NEIGHBOURS, last).where(drawn).select("item_id", "neighbour_id", F.col("similarity").alias("before"))
    before = before.join(listed, "neighbour_id", "left_semi")  # what is not sold any more is nobody's neighbour
    now = lake.read(STAGED_NEIGHBOURS, night).where(drawn & (F.col("rank") <= k))
    both = before.join(now.select("item_id", "neighbour_id", F.col("similarity").alias("now")), ["item_id", "neighbour_id"], "full_outer")
    return both.join(same, "item_id", "left").fillna(False, "same").toPandas()


def churn(pairs: "pd.DataFrame") -> float | None:
    """Of the last night's pairs of items whose text is the same, the share that is not there any more."""
    stayed = pairs[pairs["same"] & pairs["before"].notna()]
    return float(stayed["now"].isna().mean()) if len(stayed) else None


def shift(pairs: "pd.DataFrame") -> float | None:
    """The largest difference between the shares of two nights' similarities that lie below any one (Kolmogorov and Smirnov's distance)."""
    before, now = (np.sort(pairs[night].dropna().to_numpy()) for night in ("before", "now"))
    if not len(before) or not len(now):
        return None
    every = np.concatenate([before, now])
    below = [np.searchsorted(night, every, side="right") / len(night) for night in (before, now)]
    return float(np.abs(below[0] - below[1]).max())


def against_last_night(lake: Lake, night: Night, settings: Settings, items: int) -> list[Result]:
    """What must not change much from one published night to the next. Pairs of two nights that were made in different ways may: of them
    it is only told."""
    last = published.last(lake, night)
    if last is None:
        return [items_against_last_night(items, 0, None, settings.audit)]
    last_items, then, now, pairs = at_once(
        lambda: lake.read(NEIGHBOURS, last).agg(F.count_distinct("item_id")).collect()[0][0],
        lake.read(STAGED_NEIGHBOURS, last).select("fingerprint").head,
        lake.read(STAGED_NEIGHBOURS, night).select("fingerprint").head,
        lambda: pairs_of_both(lake, night, last, items, settings.neighbours.k),
    )
    ratio = items_against_last_night(items, last_items, last.date, settings.audit)
    if not items:
        return [ratio]
    grade: Grade = "fail" if then == now else "warn"
    return [
        ratio,
        *(
            Result(f"night: {name}", grade, figure is None or figure <= bound, figure, f"<= {bound:g}", reason, f"night {last.date}")
            for name, figure, bound, reason in (
                ("churn", churn(pairs), settings.audit.churn_max, CHURN_REASON),
                ("similarity shift", shift(pairs), settings.audit.shift_max, SHIFT_REASON),
            )
        ),
    ]


def measured(found: Mapping[str, Result], name: str, at_least: float) -> Result:
    """A figure that neighbours measured, judged by tonight's bound. `found` is what the run has on record, by check."""
    check, bound = f"{staged_neighbours.TABLE}: {name}", f">= {at_least:g}"
    if check not in found:
        return Result(check, "fail", False, None, bound, "run neighbours for this date and run id, then audit", WHOLE)
    figure = found[check].figure
    return replace(found[check], passed=figure is not None and figure >= at_least, bound=bound)


def fresh(found: Result, bounds: Audit) -> Result:
    """What ingest measured of a feed's age, judged by tonight's bound."""
    most = bounds.missing_days_max if found.grade == "fail" else bounds.unchanged_days_max
    return replace(found, passed=found.figure is not None and found.figure <= most, bound=f"<= {most}")


def validated(checks: Sequence[Result]) -> Result:
    """Whether this run has validated its rows, and validate has not held them."""
    broken = [result.check for result in checks if result.grade == "fail" and not result.passed]
    reason = f"validate held the night by {', '.join(broken)}" if broken else "run validate, and all after it, for this date and run id"
    return Result("night: validated", "fail", bool(checks) and not broken, float(len(checks)), ">= 1 check, none failed", reason, WHOLE)


def run(spark: SparkSession, lake: Lake, settings: Settings, night: Night) -> Counts:
    suite.load_ahead()
    item_figures, pair_figures, record = at_once(
        lambda: clean_items.figures(lake.read(CLEAN_ITEMS, night)),
        lambda: staged_neighbours.figures(lake.read(STAGED_NEIGHBOURS, night)),
        lambda: lake.read(AUDIT_RESULTS, night).where(night.of_this_run).collect(),
    )
    found = {row["check"]: Result.stored(row) for row in record}
    of_validate = [result for check, result in found.items() if check.startswith(f"{raw_items.TABLE}:")]
    of_feeds = [fresh(result, settings.audit) for check, result in found.items() if check.startswith("feeds:")]
    ranks_max = settings.neighbours.k + settings.neighbours.slack
    recall = measured(found, f"recall@{settings.neighbours.k}", settings.audit.target_recall)
    coverage = measured(found, f"coverage@{settings.neighbours.k}", settings.audit.coverage_min)
    results = [
        validated(of_validate),
        *of_feeds,
        *against_last_night(lake, night, settings, int(pair_figures[0]["items"]) if pair_figures else 0),
        *suite.verdict(clean_items.TABLE, clean_items.suite(), item_figures),
        *suite.verdict(staged_neighbours.TABLE, staged_neighbours.suite(ranks_max), pair_figures),
        recall,
        coverage,
    ]
    rows = lake.frame(AUDIT_RESULTS, [result.row(night.date, night.run_id) for result in results])
    judged = "', '".join(result.check.replace("\\", "\\\\").replace("'", "\\'") for result in results)
    lake.replace(AUDIT_RESULTS, rows, night, within=f"{night.of_this_run} AND check IN ('{judged}')")
    if held := [result for result in results if result.grade == "fail" and not result.passed]:
        told = "".join(f"\n  {result}" for result in held)
        raise HeldError(
            f"the night of {night.date} is held back, the published tables are as they were:{told}",
            "mend the cause and run the night again, or loosen the bound if it is one of [audit] in the settings; to publish it as it is: "
            f"`shelfmates publish --date {night.date} --run-id {night.run_id} --override REASON`",
            [result.told for result in held],
        )
    checks = [*of_validate, *results]
    broken = [result for result in checks if not result.passed]
    warned = "".join(f", warned of {result.check} ({result.shown}, expected {result.bound})" for result in broken)
    figures = {name: result.figure for name, result in (("recall", recall), ("coverage", coverage)) if result.figure is not None}
    return Counts(len(checks), len(checks), "checks", figures, note=f"{len(checks) - len(broken)} passed{warned}")
