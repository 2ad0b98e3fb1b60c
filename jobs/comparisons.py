"""Published pairs with what two products agree on: how each stands in the other's list, prices, codes, brand, model number and GTIN.

Each comparison has levels, UNKNOWN and then the more they agree the higher, as `match` judges them.
"""

from collections.abc import Mapping
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.match import UNKNOWN

FIELDS = ("source", "price", "currency", "brand", "gtin", "model", "content_hash")
MUTUAL, FIRST_OF_ONE, LISTED_BY_BOTH, LISTED_BY_ONE = 4, 3, 2, 1  # levels of `standing`
BOUNDS: Mapping[str, tuple[float, ...]] = {
    "margin": (-0.2, -0.1, -0.05, 0.0, 0.05, 0.1, 0.2),
    "codes": (0.05, 0.3, 0.6, 0.9),
    "price": (0.5, 0.75, 0.9, 0.98),  # the lower over the higher
}
SIZES = {"standing": MUTUAL, **{name: len(bounds) + 1 for name, bounds in BOUNDS.items()}, "brand": 2, "model": 2, "gtin": 2}


def level(value: Column, bounds: tuple[float, ...]) -> Column:
    """1 and the bounds that the value reaches; UNKNOWN where there is none."""
    reached = reduce(Column.__add__, (F.when(value >= bound, 1).otherwise(0) for bound in bounds), F.lit(1))
    return F.when(value.isNull(), UNKNOWN).otherwise(reached)


def equal(one: Column, other: Column) -> Column:
    """2 where both are given and the same, 1 where they differ."""
    return F.when(one.isNull() | other.isNull(), UNKNOWN).when(F.lower(one) == F.lower(other), 2).otherwise(1)


def sides(neighbours: DataFrame, items: DataFrame) -> DataFrame:
    """Every directed pair with its place in the list of its item among those of the neighbour's source, and `next`, the highest similarity
    there that is not its own."""
    sources = items.select(F.col("item_id").alias("neighbour_id"), F.col("source").alias("of"))
    listed = neighbours.select("item_id", "neighbour_id", "rank", "similarity", F.col("parts.codes").alias("codes")).join(
        sources, "neighbour_id"
    )
    by = Window.partitionBy("item_id", "of").orderBy("rank")
    whole = by.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    first, second = F.first("similarity").over(whole), F.nth_value("similarity", 2).over(whole)
    placed = listed.withColumn("place", F.row_number().over(by)).withColumn("first", first).withColumn("second", second)
    return placed.withColumn("next", F.when(F.col("place") == 1, F.col("second")).otherwise(F.col("first")))


def pairs(neighbours: DataFrame, items: DataFrame) -> DataFrame:
    """One row a pair that either lists: item_id before other_id, similarity, what both say of each field, the level of every comparison."""
    directed = sides(neighbours, items)
    forward = F.col("item_id") < F.col("neighbour_id")
    of_pair = {
        "place": F.max(F.when(forward, F.col("place"))),
        "other_place": F.max(F.when(~forward, F.col("place"))),
        "next": F.max(F.when(forward, F.col("next"))),
        "other_next": F.max(F.when(~forward, F.col("next"))),
        "similarity": F.max("similarity"),
        "codes": F.max("codes"),
    }
    one, other = F.least("item_id", "neighbour_id").alias("item_id"), F.greatest("item_id", "neighbour_id").alias("other_id")
    both = directed.groupBy(one, other).agg(*(column.alias(name) for name, column in of_pair.items()))
    fields = items.select("item_id", *FIELDS)
    others = items.select(F.col("item_id").alias("other_id"), *(F.col(name).alias(f"other_{name}") for name in FIELDS))
    nearest = directed.groupBy("item_id", "of").agg(F.max("first").alias("nearest"))  # of a list that lacks the other
    found = (
        both.join(fields, "item_id")
        .join(others, "other_id")
        .join(nearest.select("item_id", F.col("of").alias("other_source"), F.col("nearest")), ["item_id", "other_source"], "left")
        .join(
            nearest.select(F.col("item_id").alias("other_id"), F.col("of").alias("source"), F.col("nearest").alias("other_nearest")),
            ["other_id", "source"],
            "left",
        )
    )
    return found.select("*", *(column.alias(f"{name}_level") for name, column in levels().items()))


def levels() -> dict[str, Column]:
    """The comparisons of a pair, in the order of SIZES."""
    col = F.col
    standing = (
        F.when((col("place") == 1) & (col("other_place") == 1), MUTUAL)
        .when(col("place").isNull() | col("other_place").isNull(), LISTED_BY_ONE)
        .when(F.least("place", "other_place") == 1, FIRST_OF_ONE)
        .otherwise(LISTED_BY_BOTH)
    )
    after = F.when(col("place").isNull(), col("nearest")).otherwise(col("next"))
    other_after = F.when(col("other_place").isNull(), col("other_nearest")).otherwise(col("other_next"))
    margin = col("similarity") - F.greatest(F.coalesce(after, F.lit(0.0)), F.coalesce(other_after, F.lit(0.0)))
    prices = [col(name).cast("double") for name in ("price", "other_price")]
    ratio = F.when(col("currency").eqNullSafe(col("other_currency")), F.least(*prices) / F.greatest(*prices))
    return {
        "standing": standing,
        "margin": level(margin, BOUNDS["margin"]),
        "codes": level(col("codes"), BOUNDS["codes"]),
        "price": level(ratio, BOUNDS["price"]),
        **{name: equal(col(name), col(f"other_{name}")) for name in ("brand", "model", "gtin")},
    }
