"""Published neighbours -> `price_positions`: where each price stands among those of the neighbours, and which ones are probably wrong.

Prices are compared as logarithms: half and double are equally far. An outlier is further from the median than `outlier_ratio`, and than
three of the peers' own robust standard deviations (1.4826 times the median absolute deviation; Rousseeuw and Croux, 1993). Its likely
cause is one that explains the distance: another quantity in the title, a decimal point in another place, the currency of other neighbours.
"""

import math
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from expectations import price_positions
from expectations.suite import load_ahead, measured
from jobs import quantity
from jobs.decisions import PRICE_POSITIONS
from jobs.downstream import audited, published, put
from jobs.lake import Lake
from jobs.night import Counts, Night
from jobs.sections import PricePositions
from jobs.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

DEVIATIONS = 3 * 1.4826  # of the median absolute deviation: three standard deviations of a normal distribution
NEAR = math.log(1.5)  # a cause explains a price that it brings so near to the median
QUANTITY = "item_id string, amount double, unit string"


def quantities(batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
    """Rows of item_id and title -> rows of QUANTITY."""
    for batch in batches:
        found = [quantity.parse(title) for title in batch["title"].to_pylist()]
        columns = {
            "item_id": batch["item_id"],
            "amount": pa.array([one and one.amount for one in found], pa.float64()),
            "unit": pa.array([one and one.unit for one in found], pa.string()),
        }
        yield pa.RecordBatch.from_pydict(columns)


def median(values: Column) -> Column:
    """The middle of an array of numbers; null of an empty one."""
    ordered, size = F.array_sort(values), F.size(values)
    at = [F.get(ordered, F.floor((size + more) / 2).cast("int") - 1) for more in (1, 2)]
    return (at[0] + at[1]) / 2


def beside_peers(neighbours: DataFrame, items: DataFrame, how: PricePositions) -> DataFrame:
    """One row a priced item: its fields, and of its priced neighbours the arrays `same`, logarithms of prices in its currency, `unit_same`,
    of those over the quantity where it is of the item's unit, and `foreign`, of prices in other currencies."""
    priced = items.where("price > 0").select("item_id", "title", "price", "currency", F.ln(F.col("price").cast("double")).alias("log"))
    held = priced.join(priced.select("item_id", "title").mapInArrow(quantities, QUANTITY), "item_id")
    peer = held.select(*(F.col(name).alias(f"peer_{name}") for name in ("item_id", "currency", "log", "amount", "unit")))
    pairs = neighbours.where(F.col("similarity") >= how.similarity_min).select("item_id", F.col("neighbour_id").alias("peer_item_id"))
    same, of_unit = F.col("currency").eqNullSafe(F.col("peer_currency")), F.col("unit") == F.col("peer_unit")
    arrays = {
        "same": F.collect_list(F.when(same, F.col("peer_log"))),
        "unit_same": F.collect_list(F.when(same & of_unit, F.col("peer_log") - F.ln("peer_amount"))),
        "foreign": F.collect_list(F.when(~same, F.col("peer_log"))),
    }
    found = pairs.join(held, "item_id").join(peer, "peer_item_id")
    return found.groupBy("item_id", "price", "currency", "log", "amount").agg(*(column.alias(name) for name, column in arrays.items()))


def positions(beside: DataFrame, how: PricePositions) -> DataFrame:
    """Rows of `beside_peers` that have peers in their own currency -> rows of price_positions."""
    col = F.col
    centred = beside.where(F.size("same") > 0).withColumn("middle", F.ln(median(F.transform("same", F.exp))))
    spread = median(F.transform("same", lambda log: F.abs(log - F.col("middle"))))
    far = F.greatest(F.lit(math.log(how.outlier_ratio)), DEVIATIONS * spread)
    beyond = col("log") - col("middle")
    steps = F.abs(beyond / math.log(10))
    per_unit = col("log") - F.ln("amount") - median(col("unit_same"))
    cause = (
        F.when((F.abs(per_unit) <= NEAR) & (2 * F.size("unit_same") >= F.size("same")), "pack size")
        .when((F.round(steps) >= 1) & (F.abs(steps - F.round(steps)) * math.log(10) <= NEAR), "decimal point")
        .when((F.size("foreign") >= how.peers_min) & (F.abs(col("log") - median(col("foreign"))) <= NEAR), "currency")
    )
    cheaper = F.size(F.filter("same", lambda log: log < F.col("log"))) + F.size(F.filter("same", lambda log: log == F.col("log"))) / 2
    outlier = (F.size("same") >= how.peers_min) & (F.abs(beyond) > far)
    return centred.select(
        "item_id",
        "price",
        "currency",
        F.size("same").alias("peers"),
        F.exp("middle").cast("decimal(18,2)").alias("median"),
        (F.exp(beyond) - 1).alias("gap"),
        (cheaper / F.size("same")).alias("percentile"),
        outlier.alias("outlier"),
        F.when(outlier, cause).alias("cause"),
    )


def run(spark: SparkSession, lake: Lake, settings: Settings, night: Night) -> Counts:
    load_ahead()
    neighbours, items = published(lake, night)
    rows = positions(beside_peers(neighbours, items, settings.price_positions), settings.price_positions).persist()
    figures = measured(rows, price_positions.FIGURES)
    warnings = audited(lake, PRICE_POSITIONS, night, price_positions.suite(), figures)
    put(lake, PRICE_POSITIONS, rows, night)
    rows.unpersist()
    found = figures[0] if figures else {"rows": 0.0, "outliers": 0.0}
    told = ", ".join([f"{found['outliers']:,.0f} outliers", *warnings])
    return Counts(neighbours.count(), int(found["rows"]), "prices", {"outliers": found["outliers"]}, note=told)
