"""Removes for good what people did who are forgotten: every row whose pseudonym `user_keys` has no more, in all versions and files.

Older versions of these tables cannot be read any more. A reader that began before may have to begin again; a writer that did is told to.
Not part of every maintenance for that reason.
"""

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.decisions import ANYONE, OF_PEOPLE, USER_KEYS
from jobs.lake import Lake
from jobs.night import Counts, Night
from jobs.settings import Settings


def run(spark: SparkSession, lake: Lake, settings: Settings, night: Night) -> Counts:
    if not lake.exists(USER_KEYS):
        return Counts(0, 0, "rows", note="nobody is known here")
    known, present = lake.read(USER_KEYS), [table for table in OF_PEOPLE if lake.exists(table)]
    removed = {}
    for table in present:
        nobodys = lake.read(table).where(F.col("user_id") != ANYONE).select("user_id").distinct().join(known, "user_id", "left_anti")
        removed[table.name] = lake.purge(table, "user_id", nobodys, night)
    told = ", ".join(f"{count:,} of {name}" for name, count in removed.items())
    return Counts(0, sum(removed.values()), "rows", note=f"{told}; their older versions cannot be read any more")
