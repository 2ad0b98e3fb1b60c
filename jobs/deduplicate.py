"""Published neighbours -> `matches`, pairs that may be one product with the probability that they are, and `duplicates`, groups of rows
that probably are one, with the one that is to stay.

Between two sources a pair is judged by what it agrees on (`comparisons`). What each agreement is worth is learnt from the night's own pairs
(`match`), of which only the kinds are counted: the driver sees thousands of rows, however many pairs there are. Within a source, which
lists siblings side by side, only rows that nothing tells apart count as one product: those of one GTIN, or of one text, price and model
number; with `[duplicates] within = "similar"` its pairs are judged like others.

Groups are made without chains (`group`) on the driver, of pairs above `[duplicates] least`: about 1 s for 100,000 of them.
"""

from collections.abc import Iterable
from functools import reduce

import numpy as np
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from expectations import duplicates, matches
from expectations.suite import load_ahead, measured
from jobs import group, match
from jobs.comparisons import MUTUAL, SIZES, pairs
from jobs.decisions import DUPLICATES, MATCHES
from jobs.downstream import audited, published, put
from jobs.lake import Lake
from jobs.night import Counts, Night
from jobs.sections import Duplicates
from jobs.settings import Settings

SUPPOSED = {MUTUAL: 0.9}  # that a pair matches, by its standing, before anything is learnt; of others:
RARE = 0.02
IDENTICAL = {"gtin": 0.98, "all": 0.9}  # that two rows of one source match: makers give a GTIN once, and shops list some products twice
MERGED = ("title", "description", "brand", "category", "price", "currency", "gtin", "model", "image")
MOST_SOURCES = 2**31 - 1
LEVELS = [f"{name}_level" for name in SIZES]


def learnt(pairs: DataFrame) -> DataFrame:
    """The pairs with their match_probability, of which nothing is known but how often each kind of pair is met."""
    kinds = pairs.groupBy(*LEVELS).count().toPandas().sort_values(LEVELS)
    if kinds.empty:
        return pairs.withColumn("match_probability", F.lit(0.0))
    levels = kinds[LEVELS].to_numpy(np.int8)
    supposed = np.array([SUPPOSED.get(int(standing), RARE) for standing in levels[:, 0]])
    model = match.learnt(levels, kinds["count"].to_numpy(np.int64), list(SIZES.values()), supposed)
    weights = (F.array(*map(F.lit, row.tolist()))[F.col(name)] for name, row in zip(LEVELS, model.weights, strict=True))
    return pairs.withColumn("match_probability", 1 / (1 + F.exp(-reduce(Column.__add__, weights, F.lit(model.prior)))))


def identical(pairs: DataFrame) -> DataFrame:
    """Those that nothing tells apart, with their match_probability."""
    col = F.col
    same = [col(name).eqNullSafe(col(f"other_{name}")) for name in ("content_hash", "price", "currency", "model")]
    nothing_differs = reduce(Column.__and__, same) & (col("gtin_level") != 1) & (col("brand_level") != 1)
    probability = F.when(col("gtin_level") == 2, IDENTICAL["gtin"]).when(nothing_differs, IDENTICAL["all"])
    return pairs.withColumn("match_probability", probability).where("match_probability IS NOT NULL")


def judged_by(found: DataFrame, how: Duplicates) -> DataFrame:
    """Pairs that may match with their match_probability. Whether rows of one source match is learnt only where the settings say so: of
    siblings that are told apart by a word some are always nearest to each other."""
    if how.within == "similar":
        judged = learnt(found)
    else:
        judged = learnt(found.where("source <> other_source")).unionByName(identical(found.where("source = other_source")))
    return judged.where(F.col("match_probability") >= how.least)


def members(judged: DataFrame, threshold: float) -> DataFrame:
    """One row a product of a group: group_id, item_id, and match_probability, the mean over the other members; a pair that is not judged
    counts as 0."""
    told = judged.select("item_id", "other_id", "match_probability").toArrow()
    found = group.groups(zip(*(told[name].to_pylist() for name in told.column_names), strict=True), threshold)
    rows = [(of[0], one, len(of)) for of in found for one in of]
    member = judged.sparkSession.createDataFrame(rows, "group_id string, item_id string, size int")
    other = member.select("group_id", F.col("item_id").alias("other_id"))
    pair = judged.select("item_id", "other_id", "match_probability")
    both = pair.unionAll(pair.select("other_id", "item_id", "match_probability"))
    sums = (
        both.join(member, "item_id").join(other, ["group_id", "other_id"]).groupBy("item_id").agg(F.sum("match_probability").alias("sum"))
    )
    mean = F.coalesce("sum", F.lit(0.0)) / (F.col("size") - 1)
    return member.join(sums, "item_id", "left").select("group_id", "item_id", mean.alias("match_probability"))


def merged(member: DataFrame, items: DataFrame, sources: Iterable[str]) -> DataFrame:
    """The members, with which of each group survives, the one that says most, of equal ones that of the source named first; and of that
    one the record `merged` of all: where it lacks a field, the next best's."""
    named = F.create_map(*(F.lit(of) for pair in enumerate(sources) for of in reversed(pair)))[F.col("source")]
    place = F.coalesce(named, F.lit(MOST_SOURCES))  # of a source that the settings do not name any more
    filled = reduce(Column.__add__, (F.col(name).isNotNull().cast("int") for name in MERGED))
    best = Window.partitionBy("group_id").orderBy(F.desc(filled), place, "item_id")
    whole = best.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    # an amount goes with its own currency
    priced = F.first(F.when(F.col("price").isNotNull(), F.struct("price", "currency")), ignorenulls=True).over(whole)
    of = {name: priced[name] if name in ("price", "currency") else F.first(name, ignorenulls=True).over(whole) for name in MERGED}
    fields = [(F.lit(name), value.cast("string")) for name, value in of.items()]
    record = F.map_filter(F.create_map(*(of for field in fields for of in field)), lambda _, value: value.isNotNull())
    rows = member.join(items.select("item_id", "source", *MERGED), "item_id")
    rows = rows.withColumns({"survivor": F.row_number().over(best) == 1, "record": record})
    return rows.select("group_id", "item_id", "survivor", "match_probability", F.when(F.col("survivor"), F.col("record")).alias("merged"))


def run(spark: SparkSession, lake: Lake, settings: Settings, night: Night) -> Counts:
    load_ahead()
    neighbours, items = published(lake, night)
    found = pairs(neighbours, items).persist()
    judged = judged_by(found, settings.duplicates).persist()
    levels = F.create_map(*(of for name in SIZES for of in (F.lit(name), F.col(f"{name}_level").cast("int"))))
    groups = merged(members(judged, settings.duplicates.threshold), items, settings.sources).persist()
    figures = duplicates.figures(groups)
    warnings = [
        *audited(lake, MATCHES, night, matches.suite(), measured(judged, matches.FIGURES)),
        *audited(lake, DUPLICATES, night, duplicates.suite(), figures),
    ]
    put(lake, MATCHES, judged.withColumn("levels", levels), night)
    put(lake, DUPLICATES, groups, night)
    read, rows = found.count(), int(figures[0]["rows"]) if figures else 0
    told = {"pairs": judged.count(), "groups": groups.where("survivor").count()}
    for frame in (found, judged, groups):
        frame.unpersist()
    note = ", ".join([f"in {told['groups']:,} groups", *warnings])
    return Counts(read, rows, "products", {name: float(value) for name, value in told.items()}, note=note)
