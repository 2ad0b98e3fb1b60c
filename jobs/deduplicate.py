"""Published neighbours -> `matches`, pairs that may be one product with the probability that they are, and `duplicates`, groups of rows
that probably are one, with the one that is to stay.

Between two sources a pair is judged by what it agrees on: how each stands in the other's list, by how much it is nearer than what comes
next, the codes and prices, brand, model number and GTIN. What each of these is worth is learnt from the night's own pairs (`match`), of
which only the kinds are counted: the driver sees thousands of rows, however many pairs there are. Within a source, which lists siblings
side by side, only rows that nothing tells apart count as one product: those of one GTIN, or of one text, price and model number.

Groups are made without chains (`group`) on the driver, of pairs above `[duplicates] least`: about 1 s for 100,000 of them.
"""

from collections.abc import Mapping
from functools import reduce

import numpy as np
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from jobs import group, match
from jobs.lake import Lake
from jobs.night import Counts, Night
from jobs.settings import Settings
from jobs.tables import CLEAN_ITEMS, DUPLICATES, MATCHES, NEIGHBOURS

FIELDS = ("source", "price", "currency", "brand", "gtin", "model", "content_hash")
MUTUAL, FIRST_OF_ONE, LISTED_BY_BOTH, LISTED_BY_ONE = 4, 3, 2, 1  # levels of `standing`
BOUNDS: Mapping[str, tuple[float, ...]] = {
    "margin": (-0.2, -0.1, -0.05, 0.0, 0.05, 0.1, 0.2),
    "codes": (0.05, 0.3, 0.6, 0.9),
    "price": (0.5, 0.75, 0.9, 0.98),  # the lower over the higher
}
SIZES = {"standing": MUTUAL, **{name: len(bounds) + 1 for name, bounds in BOUNDS.items()}, "brand": 2, "model": 2, "gtin": 2}
SUPPOSED = {MUTUAL: 0.9}  # that a pair matches, by its standing, before anything is learnt; of others:
RARE = 0.02
MERGED = ("title", "description", "brand", "category", "price", "currency", "gtin", "model", "image")
IDENTICAL = {"gtin": 0.98, "all": 0.9}  # within a source


def level(value: Column, bounds: tuple[float, ...]) -> Column:
    """1 and the bounds that the value reaches; UNKNOWN where there is none."""
    reached = reduce(Column.__add__, (F.when(value >= bound, 1).otherwise(0) for bound in bounds), F.lit(1))
    return F.when(value.isNull(), match.UNKNOWN).otherwise(reached)


def equal(one: Column, other: Column) -> Column:
    """2 where both are given and the same, 1 where they differ."""
    return F.when(one.isNull() | other.isNull(), match.UNKNOWN).when(F.lower(one) == F.lower(other), 2).otherwise(1)


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
    ratio = F.when(col("currency") == col("other_currency"), F.least(*prices) / F.greatest(*prices))
    return {
        "standing": standing,
        "margin": level(margin, BOUNDS["margin"]),
        "codes": level(col("codes"), BOUNDS["codes"]),
        "price": level(ratio, BOUNDS["price"]),
        **{name: equal(col(name), col(f"other_{name}")) for name in ("brand", "model", "gtin")},
    }


def across(found: DataFrame) -> DataFrame:
    """Pairs of two sources with their probability."""
    names = [f"{name}_level" for name in SIZES]
    between = found.where("source <> other_source")
    kinds = between.groupBy(*names).count().toPandas().sort_values(names)
    if kinds.empty:
        return between.withColumn("probability", F.lit(0.0))
    of, counts = kinds[names].to_numpy(np.int8), kinds["count"].to_numpy(np.int64)
    supposed = np.array([SUPPOSED.get(int(standing), RARE) for standing in of[:, 0]])
    model = match.learnt(of, counts, list(SIZES.values()), supposed)
    weights = (F.array(*map(F.lit, row.tolist()))[F.col(name)] for name, row in zip(names, model.weights, strict=True))
    odds = reduce(Column.__add__, weights, F.lit(model.prior))
    return between.withColumn("probability", 1 / (1 + F.exp(-odds)))


def within(found: DataFrame) -> DataFrame:
    """Pairs of one source that nothing tells apart, with their probability."""
    col = F.col
    same = {name: col(name).eqNullSafe(col(f"other_{name}")) for name in ("content_hash", "price", "currency", "model")}
    nothing_differs = reduce(Column.__and__, same.values()) & (col("gtin_level") != 1) & (col("brand_level") != 1)
    probability = F.when(col("gtin_level") == 2, IDENTICAL["gtin"]).when(nothing_differs, IDENTICAL["all"])
    return found.where("source = other_source").withColumn("probability", probability).where("probability IS NOT NULL")


def grouped(judged: DataFrame, items: DataFrame, settings: Settings) -> DataFrame:
    """One row an item of a group: group_id, item_id, whether it is the survivor, how probably it belongs there (the mean over the other
    members, of which a pair that is not judged counts as 0), and of the survivor the record merged of all."""
    told = judged.select("item_id", "other_id", "probability").toArrow().to_pydict()
    found = group.groups(zip(*told.values(), strict=True), settings.duplicates.threshold)
    rows = [(members[0], member) for members in found for member in members]
    member = judged.sparkSession.createDataFrame(rows, "group_id string, item_id string")
    other = member.select(F.col("group_id"), F.col("item_id").alias("other_id"))
    both = judged.select("item_id", "other_id", "probability")
    both = both.unionAll(both.select("other_id", "item_id", "probability"))
    sums = member.join(both, "item_id").join(other, ["group_id", "other_id"]).groupBy("item_id").agg(F.sum("probability").alias("sum"))
    order = {name: at for at, name in enumerate(settings.sources)}
    place = F.create_map(*(F.lit(of) for pair in order.items() for of in pair))[F.col("source")]
    filled = reduce(Column.__add__, (F.col(name).isNotNull().cast("int") for name in MERGED))
    best = Window.partitionBy("group_id").orderBy(F.desc(filled), place, "item_id")
    whole = best.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    of_all = [(name, F.first(F.col(name).cast("string"), ignorenulls=True).over(whole)) for name in MERGED]
    merged = F.map_filter(F.create_map(*(of for name, value in of_all for of in (F.lit(name), value))), lambda _, value: value.isNotNull())
    survives = F.row_number().over(best) == 1
    return (
        member.join(items, "item_id")
        .join(sums, "item_id", "left")
        .withColumn("size", F.count(F.lit(1)).over(Window.partitionBy("group_id")))
        .select(
            "group_id",
            "item_id",
            survives.alias("survivor"),
            (F.coalesce("sum", F.lit(0.0)) / (F.col("size") - 1)).alias("match_probability"),
            F.when(survives, merged).alias("merged"),
        )
    )


def run(spark: SparkSession, lake: Lake, settings: Settings, night: Night) -> Counts:
    items, neighbours = lake.read(CLEAN_ITEMS, night), lake.read(NEIGHBOURS, night)
    found = pairs(neighbours, items).persist()
    judged = across(found).unionByName(within(found)).where(F.col("probability") >= settings.duplicates.least).persist()
    groups = grouped(judged, items, settings)
    stamped = {"snapshot_date": F.lit(night.date), "run_id": F.lit(night.run_id)}
    kinds = F.create_map(*(of for name in SIZES for of in (F.lit(name), F.col(f"{name}_level").cast("int"))))
    matches = judged.withColumnRenamed("probability", "match_probability").withColumn("levels", kinds).withColumns(stamped)
    lake.replace(MATCHES, matches.select(*MATCHES.column_names), night, empty=True)
    lake.replace(DUPLICATES, groups.withColumns(stamped).select(*DUPLICATES.column_names), night, empty=True)
    count = lake.read(DUPLICATES, night).agg(F.count_distinct("group_id"), F.count("*")).collect()[0]
    for frame in (found, judged):
        frame.unpersist()
    return Counts(neighbours.count(), count[1], "rows", {"groups": count[0]}, note=f"in {count[0]:,} groups")
