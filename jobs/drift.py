"""What has become of the columns of a night's feeds since the last published one: new and vanished ones, numbers that became words.

What a column holds decides what it is, not what its source calls its type.
"""

from collections.abc import Mapping
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from expectations import raw_items
from expectations.suite import WHOLE, Grade, Result
from jobs import published
from jobs.lake import Lake
from jobs.night import Night
from jobs.tables import RAW_ITEMS

NUMBERS, WORDS = 0.95, 0.05  # of a column's values that are numbers: as many at least, or at most
COMMON = 0.01  # of a source's rows that have a column: rarer ones come and go

Columns = Mapping[str, Mapping[str, tuple[float, float | None]]]  # by source and column: share of rows that have it, and of values, numbers


def columns(rows: DataFrame) -> Columns:
    """The columns of raw rows."""
    values = rows.select("source", F.explode("values").alias("column", "value"))
    named = values.where("column <> '' AND column NOT RLIKE '^[+][0-9]+$'")  # what a row has beyond its header
    number = F.when(F.trim("value") != "", F.expr("try_cast(value AS double) IS NOT NULL").cast("int"))
    counted = named.groupBy("source", "column").agg(F.count("*").alias("rows"), F.avg(number).alias("numbers")).collect()
    most = {row["source"]: 0 for row in counted}
    for row in counted:
        most[row["source"]] = max(most[row["source"]], row["rows"])
    found: dict[str, dict[str, tuple[float, float | None]]] = {source: {} for source in most}
    for row in counted:
        found[row["source"]][row["column"]] = row["rows"] / most[row["source"]], row["numbers"]
    return found


def compared(then: Columns, now: Columns) -> dict[str, list[str]]:
    """What is different, by kind: columns with their source. A source that was not there before is not different."""
    found: dict[str, list[str]] = {"new columns": [], "vanished columns": [], "columns of another type": []}
    for source in sorted(then.keys() & now.keys()):
        before, after = then[source], now[source]
        found["new columns"] += [f"{source}.{column}" for column in _common(after) if column not in before]
        found["vanished columns"] += [f"{source}.{column}" for column in _common(before) if column not in after]
        for column in sorted(before.keys() & after.keys()):
            shares = sorted(share for _, share in (before[column], after[column]) if share is not None)
            if len(shares) == 2 and shares[0] <= WORDS and shares[1] >= NUMBERS:
                found["columns of another type"].append(f"{source}.{column}")
    return found


def _common(columns: Mapping[str, tuple[float, float | None]]) -> list[str]:
    return sorted(column for column, (share, _) in columns.items() if share >= COMMON)


def results(lake: Lake, night: Night, grade: Grade) -> list[Result]:
    """The checks of the night's columns against those of the last published night; none where there is none."""
    last = published.last(lake, night)
    if last is None:
        return []
    different = compared(columns(lake.read(RAW_ITEMS, last)), columns(lake.read(RAW_ITEMS, night)))
    return [
        Result(f"{raw_items.TABLE}: {kind}", grade, not names, float(len(names)), "<= 0", _reason(names, last.date), WHOLE)
        for kind, names in different.items()
    ]


def _reason(names: list[str], last: date) -> str:
    told = f"{', '.join(names)} against {last}; " if names else ""
    return f"{told}what reads a column by its name or as a number should know"
