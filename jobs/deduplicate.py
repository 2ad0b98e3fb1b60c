"""Published neighbours -> `matches`, pairs that may be one product with the probability that they are, and `duplicates`, groups of rows
that probably are one, with the one that is to stay.

Between two sources a pair is judged by what it agrees on (`comparisons`). What each agreement is worth is learnt from the night's own pairs
(`match`), of which only the kinds are counted: the driver sees thousands of rows, however many pairs there are. Within a source, which
lists siblings side by side, only rows that nothing tells apart count as one product: those of one GTIN, or of one text, price and model
number. The others that are nearest to each other show what the nearest looks like where the product itself is not there. With
`[duplicates] within = "similar"` the pairs of a source are judged like others.

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
from jobs.comparisons import NEAREST, SIZES, pairs, read
from jobs.decisions import DUPLICATES, MATCHES
from jobs.downstream import audited, published, put
from jobs.lake import Lake
from jobs.match import UNKNOWN
from jobs.night import Counts, Night
from jobs.sections import Duplicates
from jobs.settings import Settings

LIKELY, RARE = 0.9, 0.02  # that a pair matches, before anything is learnt: if each is the other's nearest, and if not
IDENTICAL = {"gtin": 0.98, "all": 0.9}  # that two rows of one source match: makers give a GTIN once, and shops list some products twice
MERGED = ("title", "description", "brand", "category", "price", "currency", "gtin", "model", "image")
MOST_SOURCES = 2**31 - 1
LEVELS = [f"{name}_level" for name in SIZES]


def known(pairs: DataFrame, how: Duplicates) -> DataFrame:
    """The pairs with `known`, their match probability where nothing has to be learnt: of the rows of a source only those that nothing tells
    apart are one product. Null between sources; and of every pair where the settings say that a source lists products many times."""
    if how.within == "similar":
        return pairs.withColumn("known", F.lit(None).cast("double"))
    col = F.col
    same = [col(name).eqNullSafe(col(f"other_{name}")) for name in ("text_hash", "price", "currency", "model")]
    nothing_differs = reduce(Column.__and__, same) & (col("gtin_level") != 1) & (col("brand_level") != 1)
    within = F.when(col("gtin_level") == 2, IDENTICAL["gtin"]).when(nothing_differs, IDENTICAL["all"]).otherwise(0.0)
    return pairs.withColumn("known", F.when(col("source") == col("other_source"), within))


def judged_by(pairs: DataFrame, how: Duplicates) -> DataFrame:
    """The pairs that may match, with their match_probability; of those that are not known, by how often each kind of pair is met."""
    given = known(pairs, how)
    unknown, nearest_apart = F.col("known").isNull(), (F.col("known") == 0) & ((F.col("place") == 1) | (F.col("other_place") == 1))
    margin = F.when(unknown, F.col("margin_level")).otherwise(UNKNOWN)  # how far siblings stand out says nothing of two sources
    of_kind = {"count": F.count_if(unknown), "apart": F.count_if(nearest_apart)}
    told = given.where(unknown | nearest_apart).withColumn("margin_level", margin).groupBy(*LEVELS)
    kinds = told.agg(*(column.alias(name) for name, column in of_kind.items())).toPandas().sort_values(LEVELS)
    levels, (counts, apart) = kinds[LEVELS].to_numpy(np.int8), (kinds[name].to_numpy(np.int64) for name in of_kind)
    supposed = np.where(levels[:, LEVELS.index("margin_level")] >= NEAREST, LIKELY, RARE)
    model = match.learnt(levels, counts, list(SIZES.values()), supposed, apart)
    weights = (F.array(*map(F.lit, row.tolist()))[F.col(name)] for name, row in zip(LEVELS, model.weights, strict=True))
    learnt = 1 / (1 + F.exp(-reduce(Column.__add__, weights, F.lit(model.prior))))
    return given.withColumn("match_probability", F.coalesce("known", learnt)).where(F.col("match_probability") >= how.least)


def members(judged: DataFrame, threshold: float) -> DataFrame:
    """One row a product of a group: group_id, item_id, and match_probability, the mean over the other members; a pair that is not judged
    counts as 0."""
    told = judged.select("item_id", "other_id", "match_probability", "source", "other_source").toArrow()
    one, other, probability, *sources = (told[name].to_pylist() for name in told.column_names)
    found = group.groups(zip(one, other, probability, strict=True), threshold, dict(zip(one + other, sources[0] + sources[1], strict=True)))
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
    described = read(items).persist()
    found = pairs(neighbours, described).persist()
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
    compared, rows = found.count(), int(figures[0]["rows"]) if figures else 0
    told = {"pairs": judged.count(), "groups": groups.where("survivor").count()}
    for frame in (described, found, judged, groups):
        frame.unpersist()
    note = ", ".join([f"in {told['groups']:,} groups", *warnings])
    return Counts(compared, rows, "products", {name: float(value) for name, value in told.items()}, note=note)
