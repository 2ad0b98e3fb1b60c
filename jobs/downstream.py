"""What every stage after publishing does: it looks that the night is published, and puts its table in place once it is audited.

A decision is checked by its suite before it is seen: figures go to `audit_results` first, a broken check graded fail leaves the table as it
was. Nobody claims a night for this: of two runs at once the later commit stands, and each is whole.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from expectations.suite import Figures, Result, verdict
from jobs.decisions import INTERACTIONS, USER_KEYS
from jobs.errors import ConflictError, ContractError, HeldError
from jobs.lake import Lake
from jobs.night import Night
from jobs.table import Table
from jobs.tables import AUDIT_RESULTS, CLEAN_ITEMS, NEIGHBOURS, RUNS

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

TRIES = 10  # of putting checks on record


def published(lake: Lake, night: Night) -> tuple[DataFrame, DataFrame]:
    """The night's pairs and its items. Raises ContractError if it is not published, or its items are others by now or kept no more."""
    unpublished = f"run it first: `shelfmates run --date {night.date}`"
    if not lake.exists(NEIGHBOURS):
        raise ContractError("no night is published here", unpublished)
    times = lake.read(RUNS, (F.col("snapshot_date") == F.lit(night.date)) & (F.col("outcome") == "ok"))
    last = times.groupBy().pivot("stage", ["clean", "publish"]).agg(F.max("started_at")).head()
    if last and last["clean"] and last["publish"] and last["clean"] > last["publish"]:
        raise ContractError(
            f"the night of {night.date} has been cleaned again and is not published since: its products are not those of its neighbours",
            f"publish it first: `shelfmates run --date {night.date}`, or release it",
        )
    found = []
    for table, remedy in (
        (NEIGHBOURS, unpublished),
        (CLEAN_ITEMS, "name a later night: [maintenance] of the settings says for how many days each table keeps its nights"),
    ):
        rows = lake.read(table, night)
        if rows.isEmpty():
            raise ContractError(f"the night of {night.date} has no rows in {table.name}", remedy)
        found.append(rows)
    return found[0], found[1]


def interactions(lake: Lake, night: Night, days: int | None = None) -> DataFrame:
    """What people did up to the night's end, in the last so many days or all that are kept; nothing of those who are forgotten. Raises
    ContractError where nothing was collected yet."""
    if not lake.exists(INTERACTIONS):
        raise ContractError("there are no interactions yet", f"collect them first: `shelfmates collect --date {night.date}`")
    until = F.col("snapshot_date") <= F.lit(night.date)
    since = until if days is None else until & (F.col("snapshot_date") > F.lit(night.date - timedelta(days=days)))
    return lake.read(INTERACTIONS, since).join(lake.read(USER_KEYS).select("user_id"), "user_id", "left_semi")


def record_of(lake: Lake, table: Table, night: Night, results: Sequence[Result]) -> None:
    """Puts the checks of the table on record. Stages beside this one write to the same night: that is no reason to do its work again."""
    rows = lake.frame(AUDIT_RESULTS, [result.row(night.date, night.run_id) for result in results])
    for left in reversed(range(TRIES)):
        try:
            return lake.replace(AUDIT_RESULTS, rows, night, within=f"{night.of_this_run} AND check LIKE '{table.name}: %'")
        except ConflictError:
            if not left:
                raise
            time.sleep(random.random())  # else those that met here would meet again


def audited(lake: Lake, table: Table, night: Night, suite: Sequence["Expectation"], figures: Sequence[Figures]) -> list[str]:
    """What the suite warns of in the rows that are to be put in the table. Raises HeldError where a check graded fail is broken; what was
    found is in `audit_results` in any case."""
    results = verdict(table.name, suite, figures)
    record_of(lake, table, night, results)
    if held := [result for result in results if result.grade == "fail" and not result.passed]:
        told = "".join(f"\n  {result}" for result in held)
        raise HeldError(
            f"{table.name} of {night.date} are held back, the table is as it was:{told}", "mend the cause, and run the stage again"
        )
    return [f"warned of {result}" for result in results if not result.passed]


def put(lake: Lake, table: Table, rows: DataFrame, night: Night) -> None:
    """Replaces the table's night by the rows, stamped with night and run."""
    stamped = rows.withColumns({"snapshot_date": F.lit(night.date), "run_id": F.lit(night.run_id)}).select(*table.column_names)
    made(lake, table)
    lake.replace(table, stamped, night, empty=True)


def made(lake: Lake, table: Table) -> None:
    """Creates the table, or extends that of an earlier version."""
    if not lake.create(table):
        lake.extend(table)


def of_people(lake: Lake) -> Lake:
    """The lake, where nothing is written any more once users have been forgotten: what was read before may be of them. `fence` is to be
    asked once more at the end, since the last commit may have been made at the same moment."""
    before, fence = lake.purged(USER_KEYS), lake.fence

    def check() -> None:
        fence()
        if lake.purged(USER_KEYS) != before:
            raise ConflictError("users were forgotten meanwhile", "run the stage again")

    return replace(lake, fence=check)
