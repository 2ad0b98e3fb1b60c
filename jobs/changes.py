"""A feed that sends what has changed since its last file, put together with what was there before: the rows of the whole catalogue.

Of rows of one id the last of the night's feed counts. A row that says that its product is deleted takes it out. What the feed does not
mention stays as it last came, with its file and row.
"""

import datetime

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs import address, freshness
from jobs.errors import TransientError
from jobs.feeds import Source
from jobs.lake import Lake
from jobs.night import Night

SHOWN = 5  # nights in an error


def whole(lake: Lake, night: Night, name: str, source: Source, sent: DataFrame) -> DataFrame:
    """The rows of the source's catalogue as of the night, of the rows that were sent for it, in the columns of these.

    Raises TransientError if there are files of nights before that were not read.
    """
    last = freshness.last_night(lake, night, name)
    refuse_gap(lake, night, name, source, last)
    order = Window.partitionBy(_id(source)).orderBy(F.desc("file"), F.desc("row"))
    latest = sent.withColumn("place", F.row_number().over(order)).where((F.col("place") == 1) | _id(source).isNull()).drop("place")
    rows = latest.where(~_deleted(source))
    if last is None:
        return rows
    before = freshness.rows_of(lake, name, last).select(*sent.columns)
    before = before.where(_id(source).isNotNull())  # broken rows are told once
    return rows.unionByName(before.join(latest.select(_id(source).alias("mentioned")), _id(source) == F.col("mentioned"), "left_anti"))


def refuse_gap(lake: Lake, night: Night, name: str, source: Source, last: datetime.date | None) -> None:
    """Raises TransientError if the source has files of nights before this one whose changes would be lost: nights that were not run, and
    nights up to `last`, its newest, whose feed came only after its rows had been stood in for."""
    read = night.date - datetime.timedelta(days=freshness.days_missing(lake, night, name, last)) if last else datetime.date.min
    unread = [date for date in address.dates(source.path) if read < date < night.date]
    if unread:
        listed = ", ".join(map(str, unread[:SHOWN]))
        raise TransientError(
            f"source {name!r} sends changes, and those of {len(unread)} nights before {night.date} have not been read: {listed}",
            "run these nights first, in their order",
        )


def _id(source: Source) -> Column:
    text = F.regexp_replace(F.col("values")[source.columns.id], r"^[\s\p{Z}]+|[\s\p{Z}]+$", "")
    return F.when(text != "", text)


def _deleted(source: Source) -> Column:
    if source.deleted is None:
        return F.lit(False)
    return F.coalesce(F.trim(F.col("values")[source.deleted.column]).isin(*source.deleted.values), F.lit(False))
