"""The nights that are published: what a new one is compared with, and made of."""

from pyspark.sql import functions as F

from jobs.lake import Lake
from jobs.night import Night
from jobs.tables import NEIGHBOURS


def last(lake: Lake, night: Night) -> Night | None:
    """The newest published night before this one, with the run that was published."""
    rows = lake.read(NEIGHBOURS)
    newest = rows.where(F.col("snapshot_date") < F.lit(night.date)).agg(F.max("snapshot_date")).collect()[0][0]
    row = rows.where(F.col("snapshot_date") == F.lit(newest)).select("run_id").head() if newest else None
    return Night(newest, row["run_id"]) if row else None
