"""Published neighbours -> `substitutes`: what can be had in place of what cannot.

Of a product that is out of stock tonight its neighbours of tonight are looked at; of one that is in no feed any more, those of the last
night that had it. A substitute is in stock tonight, or its source does not say; it is similar enough, and no more than a band dearer or
cheaper where both have a price in one currency.
"""

from datetime import timedelta

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from expectations import substitutes
from expectations.suite import load_ahead, measured
from jobs.decisions import SUBSTITUTES
from jobs.downstream import audited, published, put
from jobs.lake import Lake
from jobs.night import Counts, Night
from jobs.sections import Substitutes
from jobs.settings import Settings
from jobs.tables import CLEAN_ITEMS, NEIGHBOURS, QUARANTINED_ITEMS

FIELDS = ("source", "brand", "category", "price", "currency")
CLOSE = 0.8  # parts from which two products are said to be alike in meaning, or spelt alike


def gone(lake: Lake, night: Night, items: DataFrame, days: int) -> DataFrame:
    """Items of published nights before this one that no feed of tonight has: their fields, and the last night that had them. What is in
    quarantine tonight is in a feed."""
    since = night.date - timedelta(days=days)
    before = (F.col("snapshot_date") >= F.lit(since)) & (F.col("snapshot_date") < F.lit(night.date))
    last = lake.read(NEIGHBOURS, before & (F.col("rank") == 1)).groupBy("item_id").agg(F.max("snapshot_date").alias("snapshot_date"))
    refused = lake.read(QUARANTINED_ITEMS, night).where("item_id IS NOT NULL")
    away = last.join(items, "item_id", "left_anti").join(refused, "item_id", "left_anti")
    return lake.read(CLEAN_ITEMS, before).join(away, ["item_id", "snapshot_date"])


def chosen(wanted: DataFrame, pairs: DataFrame, items: DataFrame, how: Substitutes) -> DataFrame:
    """Rows of substitutes. wanted: items that cannot be had, of any night; pairs: of these nights; items: of tonight."""
    col = F.col
    wanted = wanted.select("item_id", col("snapshot_date").alias("last_listed"), *FIELDS)
    others = items.where("in_stock IS NOT FALSE")
    other = others.select(col("item_id").alias("substitute_id"), *(col(name).alias(f"other_{name}") for name in FIELDS))
    pair = pairs.where(col("similarity") >= how.similarity_min).select(
        "item_id", col("snapshot_date").alias("last_listed"), col("neighbour_id").alias("substitute_id"), "similarity", "parts"
    )
    found = pair.join(wanted, ["item_id", "last_listed"]).join(other, "substitute_id")
    ratio = F.when(col("currency").eqNullSafe(col("other_currency")), col("other_price").cast("double") / col("price").cast("double"))
    fits = col("price_ratio").isNull() | col("price_ratio").between(1 - how.price_band, 1 + how.price_band)
    best = Window.partitionBy("item_id").orderBy(F.desc("similarity"), "substitute_id")
    ranked = found.withColumn("price_ratio", ratio).where(fits).withColumn("rank", F.row_number().over(best)).where(col("rank") <= how.n)
    return ranked.select("item_id", "rank", "substitute_id", "similarity", "price_ratio", "last_listed", reason().alias("reason"))


def reason() -> Column:
    """In words, for instance `same brand (Acme), same category, means the same, 4 % cheaper`."""
    col = F.col
    percent = F.round(100 * F.abs(col("price_ratio") - 1)).cast("int")
    told = [
        F.when(F.lower("brand") == F.lower("other_brand"), F.concat(F.lit("same brand ("), "other_brand", F.lit(")"))),
        F.when(F.lower("category") == F.lower("other_category"), F.lit("same category")),
        F.when(col("parts.semantic") >= CLOSE, F.lit("means the same")),
        F.when(col("parts.lexical") >= CLOSE, F.lit("named alike")),
        F.when(percent == 0, F.lit("same price"))
        .when(col("price_ratio") < 1, F.concat(percent, F.lit(" % cheaper")))
        .when(col("price_ratio") > 1, F.concat(percent, F.lit(" % dearer"))),
    ]
    nothing = F.concat(F.lit("similar by "), F.format_number("similarity", 2))
    return F.coalesce(F.nullif(F.concat_ws(", ", *told), F.lit("")), nothing)


def run(spark: SparkSession, lake: Lake, settings: Settings, night: Night) -> Counts:
    load_ahead()
    how = settings.substitutes
    neighbours, items = published(lake, night)
    out, away = items.where("in_stock = FALSE"), gone(lake, night, items, how.gone_days).persist()
    nights = [row[0] for row in away.select("snapshot_date").distinct().collect()]
    pairs = neighbours.unionByName(lake.read(NEIGHBOURS, F.col("snapshot_date").isin(nights)))
    wanted = out.unionByName(away).persist()
    rows = chosen(wanted, pairs, items, how).persist()
    count, figures = wanted.count(), measured(rows, substitutes.FIGURES)
    warnings = audited(lake, SUBSTITUTES, night, substitutes.suite(how.n), figures)
    put(lake, SUBSTITUTES, rows, night)
    for frame in (away, wanted, rows):
        frame.unpersist()
    found = figures[0] if figures else {"rows": 0.0, "items": 0.0}
    told = ", ".join([f"for {found['items']:,.0f} of {count:,} products", *warnings])
    return Counts(count, int(found["rows"]), "substitutes", {"items": found["items"]}, note=told)
