"""Valid rows -> products: text, prices and codes as `item` parses them, identical rows of one id folded into one.

Nothing is refused here: every raw row of the night is quarantined, folded or clean, and the stage fails before it writes if they don't
add up. Two to three seconds of one core for 10,000 rows.
"""

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from jobs import item
from jobs.errors import ContractError
from jobs.lake import Lake
from jobs.night import Counts, Night
from jobs.settings import Settings
from jobs.tables import AUDIT_RESULTS, CLEAN_ITEMS, QUARANTINED_ITEMS, RAW_ITEMS


def products(parsed: DataFrame, settings: Settings, night: Night) -> DataFrame:
    """One row an id, the first by file and row, in the columns of `clean_items`. `folded` is null, which no table takes, where the further
    rows of the id differ from the first."""
    same_id = Window.partitionBy("item_id")
    identical = F.min("content").over(same_id) == F.max("content").over(same_id)
    given = F.col("price") != 0  # a price of zero says that there is none
    rows = (
        parsed.withColumn("item_id", F.expr(item.id_sql(settings)))
        .withColumn("folded", F.when(identical, F.count(F.lit(1)).over(same_id) - 1).cast("int"))
        .withColumn("n", F.row_number().over(same_id.orderBy("file", "row")))
        .where("n = 1")
        .withColumn("snapshot_date", F.lit(night.date))
        .withColumn("currency", F.when(given, F.col("currency")))
        .withColumn("price", F.when(given, F.col("price")))
        .withColumn("content_hash", F.sha2("text", 256))
    )
    return rows.select(*CLEAN_ITEMS.column_names)


def counted(found: DataFrame) -> dict[str, int]:
    """What the products add up to. One Spark job."""
    figures = {
        "items": "count(*)",
        "folded": "coalesce(sum(folded), 0)",
        "unfit": "count_if(item_id IS NULL OR title IS NULL OR folded IS NULL)",
        "with_price": "count(price)",
        "with_brand": "count(brand)",
        "with_category": "count(category)",
        "with_gtin": "count(gtin)",
        "texts": "count(DISTINCT content_hash)",
    }
    row = found.agg(*(F.expr(sql).alias(name) for name, sql in figures.items())).head()
    return {} if row is None else {name: int(row[name]) for name in figures}


def run(spark: SparkSession, lake: Lake, settings: Settings, night: Night) -> Counts:
    raw, refused = lake.read(RAW_ITEMS, night), lake.read(QUARANTINED_ITEMS, night)
    valid = raw.join(refused.select(*item.KEY), item.KEY, "left_anti")
    found = products(item.parsed(valid, settings), settings, night).persist()
    figures = counted(found)
    rows_in, rows_refused = raw.count(), refused.count()
    check(night, rows_in, rows_refused, figures)
    lake.delete(AUDIT_RESULTS, night, night.verdict)
    lake.replace(CLEAN_ITEMS, found, night)
    found.unpersist()
    items, folded = figures.pop("items"), figures["folded"]
    del figures["unfit"]
    return Counts(
        rows_in,
        items,
        "items",
        {name: float(value) for name, value in figures.items()},
        note=f"{rows_refused:,} quarantined, {folded:,} folded",
    )


def check(night: Night, rows_in: int, refused: int, figures: dict[str, int]) -> None:
    """Raises ContractError unless every raw row is accounted for and every product can be stored."""
    if rows_in == 0:
        raise ContractError(f"raw_items has no rows of {night.date}", "run ingest and validate for this date first")
    if figures["unfit"]:
        raise ContractError(
            f"{figures['unfit']:,} products have no id, no title or rows that contradict each other, which validate should have refused",
            "run validate and clean again with the same settings",
        )
    if rows_in != refused + figures["folded"] + figures["items"]:
        raise ContractError(
            f"{rows_in:,} raw rows, but {refused:,} quarantined + {figures['folded']:,} folded + {figures['items']:,} clean",
            "run validate and clean again; if they still differ, report it: it is a bug",
        )
