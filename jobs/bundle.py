"""Interactions and published neighbours -> `bundles`: what is bought together oftener than by chance, and does not stand in for each other.

Lift is the share of baskets with both over what it would be if each were bought without regard to the other. That of few baskets is chance:
bundles are chosen by the lower end of its 95 % interval, the count of baskets being one of Poisson's, so its logarithm has the deviation
1 / sqrt(count). What fewer people did than `users_min` is not told: it could tell who they are.
"""

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from expectations import bundles
from expectations.suite import load_ahead, measured
from jobs.decisions import BUNDLES
from jobs.downstream import audited, interactions, published, put
from jobs.feeds import Interactions
from jobs.lake import Lake
from jobs.night import Counts, Night
from jobs.settings import Settings

CERTAIN = 1.96  # standard deviations


def baskets(lake: Lake, night: Night, how: Interactions, largest: int) -> DataFrame:
    """basket, user_id and item_id of what was bought in the days before, each once; baskets of more than `largest` items are left out."""
    bought = interactions(lake, night, how.days).where(F.col("event").isin(*how.purchases))
    day = F.concat_ws(" ", "user_id", F.to_date("happened_at").cast("string"))
    order = F.when(F.col("order_number").isNotNull(), F.concat_ws(" ", "user_id", "snapshot_date", "order_number"))
    each = bought.select(F.coalesce(order, day).alias("basket"), "user_id", "item_id").distinct()
    return each.withColumn("size", F.count("*").over(Window.partitionBy("basket"))).where(F.col("size") <= largest).drop("size")


def together(bought: DataFrame) -> DataFrame:
    """item_id, other_id and how often they were bought in one basket, and by how many people: both ways."""
    other = bought.select("basket", F.col("item_id").alias("other_id"))
    pairs = bought.join(other, "basket").where("item_id < other_id").groupBy("item_id", "other_id")
    counted = pairs.agg(F.count("*").alias("baskets"), F.count_distinct("user_id").alias("users"))
    return counted.unionByName(turned(counted))


def turned(pairs: DataFrame) -> DataFrame:
    """The pairs from the other one's side."""
    names = {"item_id": "other_id", "other_id": "item_id"}
    return pairs.select(*(F.col(names.get(name, name)).alias(name) for name in pairs.columns))


def chosen(pairs: DataFrame, bought: DataFrame, neighbours: DataFrame, items: DataFrame, settings: Settings) -> DataFrame:
    """Rows of bundles. Products that are neighbours of each other stand in for each other, and those not to be had are not offered."""
    how, whole = settings.bundles, bought.select("basket").distinct().count()
    each = bought.groupBy("item_id").agg(F.count("*").alias("of_item"))
    alike = neighbours.where(F.col("similarity") >= settings.substitutes.similarity_min).select(
        "item_id", F.col("neighbour_id").alias("other_id")
    )
    either = alike.unionByName(turned(alike)).distinct()
    sold = items.where("in_stock IS NOT FALSE").select("item_id")
    found = (
        pairs.where((F.col("baskets") >= how.baskets_min) & (F.col("users") >= how.users_min))
        .join(either, ["item_id", "other_id"], "left_anti")
        .join(items.select("item_id"), "item_id", "left_semi")
        .join(sold.withColumnRenamed("item_id", "other_id"), "other_id", "left_semi")
        .join(each, "item_id")
        .join(each.withColumnsRenamed({"item_id": "other_id", "of_item": "of_other"}), "other_id")
        .withColumn("confidence", F.col("baskets") / F.col("of_item"))
        .withColumn("lift", F.col("confidence") * whole / F.col("of_other"))
        .withColumn("lift_low", F.col("lift") * F.exp(-CERTAIN / F.sqrt("baskets")))
    )
    best = Window.partitionBy("item_id").orderBy(F.desc("lift_low"), "other_id")
    ranked = found.where(F.col("lift_low") >= how.lift_min).withColumn("rank", F.row_number().over(best)).where(F.col("rank") <= how.n)
    return ranked.select("item_id", "rank", "other_id", "baskets", "users", "confidence", "lift", "lift_low")


def run(spark: SparkSession, lake: Lake, settings: Settings, night: Night) -> Counts:
    if settings.interactions is None:
        return Counts(0, 0, "bundles", note="the settings have no section [interactions]", idle=True)
    load_ahead()
    neighbours, items = published(lake, night)
    bought = baskets(lake, night, settings.interactions, settings.bundles.basket_items_max).persist()
    pairs = together(bought).persist()
    rows = chosen(pairs, bought, neighbours, items, settings).persist()
    read, figures = bought.count(), measured(rows, bundles.FIGURES)
    warnings = audited(lake, BUNDLES, night, bundles.suite(settings.bundles.n, settings.bundles.users_min), figures)
    put(lake, BUNDLES, rows, night)
    for frame in (bought, pairs, rows):
        frame.unpersist()
    found = figures[0] if figures else {"rows": 0.0, "items": 0.0}
    told = ", ".join([f"for {found['items']:,.0f} products", *warnings])
    return Counts(read, int(found["rows"]), "bundles", {"items": found["items"]}, note=told)
