"""Creates every table of a night with its constraints, once, and extends those of earlier versions. Costs a look or two per table
afterwards.

Two first runs at the same moment cannot race: the second finds the table made. Tables of `decisions` are made by those that write them.
"""

from pyspark.sql import SparkSession

from jobs.decisions import DECISIONS
from jobs.lake import Lake
from jobs.night import Counts, Night
from jobs.settings import Settings
from jobs.tables import TABLES


def run(spark: SparkSession, lake: Lake, settings: Settings, night: Night) -> Counts:
    of_night = [table for table in TABLES.values() if table.name not in DECISIONS]
    created = [table for table in of_night if lake.create(table)]
    extended = [table for table in of_night if table not in created and lake.extend(table)]
    note = f"{len(of_night) - len(created)} there already" + (f", {len(extended)} of them extended" if extended else "")
    return Counts(rows_in=0, rows_out=len(created), unit="tables", note=note)
