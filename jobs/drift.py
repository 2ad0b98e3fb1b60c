"""What has become of the columns of a night's feeds, against the night before: new ones, vanished ones, numbers that became words.

Looks at a random sample of the rows as they came. What a column holds decides what it is, not what its source calls its type.
"""

from collections.abc import Mapping
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from expectations import raw_items
from expectations.suite import WHOLE, Grade, Result
from jobs.lake import Lake
from jobs.night import Night
from jobs.tables import RAW_ITEMS

SAMPLED = 20_000  # rows of a night
NUMBERS, WORDS = 0.95, 0.05  # of a column's values that are numbers: as many at least, or at most

Columns = Mapping[str, Mapping[str, float | None]]  # by source and column, the share of numbers among its values, None where it has none


def columns(rows: DataFrame, count: int) -> Columns:
    """The columns of raw rows, of which there are `count`."""
    drawn = rows.where(F.pmod(F.xxhash64("source", "file", "row"), F.lit(-(-count // SAMPLED))) == 0)
    values = drawn.select("source", F.explode("values").alias("column", "value"))
    named = values.where("column <> '' AND column NOT RLIKE '^[+][0-9]+$'")  # what a row has beyond its header
    number = F.when(F.trim("value") != "", F.expr("try_cast(value AS double) IS NOT NULL").cast("int"))
    found: dict[str, dict[str, float | None]] = {}
    for row in named.groupBy("source", "column").agg(F.avg(number).alias("numbers")).collect():
        found.setdefault(row["source"], {})[row["column"]] = row["numbers"]
    return found


def compared(then: Columns, now: Columns) -> dict[str, list[str]]:
    """What is different, by kind: columns with their source. A source that was not there before is not different."""
    found: dict[str, list[str]] = {"new columns": [], "vanished columns": [], "columns of another type": []}
    for source in sorted(then.keys() & now.keys()):
        before, after = then[source], now[source]
        found["new columns"] += [f"{source}.{column}" for column in sorted(after.keys() - before.keys())]
        found["vanished columns"] += [f"{source}.{column}" for column in sorted(before.keys() - after.keys())]
        for column in sorted(before.keys() & after.keys()):
            shares = sorted(share for share in (before[column], after[column]) if share is not None)
            if len(shares) == 2 and shares[0] <= WORDS and shares[1] >= NUMBERS:
                found["columns of another type"].append(f"{source}.{column}")
    return found


def results(lake: Lake, night: Night, count: int, grade: Grade) -> list[Result]:
    """The checks of the night's columns against those of the newest night before it; none where there is none."""
    last: date | None = lake.read(RAW_ITEMS, F.col("snapshot_date") < F.lit(night.date)).agg(F.max("snapshot_date")).collect()[0][0]
    if last is None:
        return []
    before = lake.read(RAW_ITEMS, F.col("snapshot_date") == F.lit(last))
    different = compared(columns(before, before.count()), columns(lake.read(RAW_ITEMS, night), count))
    return [
        Result(f"{raw_items.TABLE}: {kind}", grade, not names, float(len(names)), "<= 0", _reason(names, last), WHOLE)
        for kind, names in different.items()
    ]


def _reason(names: list[str], last: date) -> str:
    told = f"{', '.join(names)} against {last}; " if names else ""
    return f"{told}what reads a column by its name or as a number should know"
