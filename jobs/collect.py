"""Files of the night's interactions -> `interactions`, what people did with products, and `quarantined_interactions`, what is no event.

A person is known by a pseudonym alone: a random number, which `user_keys` keeps beside a keyed hash of the user's id. Whoever destroys that
row has cut the person off from all that was done. Every row read is an event, folded into one that says the same, or quarantined with its
reasons. Raw ids leave no process that reads the files; about 40 µs a row.
"""

import secrets
from collections.abc import Iterator
from datetime import UTC, date, datetime
from itertools import islice

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from expectations import interactions
from expectations.suite import load_ahead, measured
from jobs import feed, interaction
from jobs.address import shown
from jobs.decisions import INTERACTIONS, QUARANTINED_INTERACTIONS, USER_KEYS
from jobs.downstream import audited, made, of_people, put
from jobs.errors import ConflictError, ContractError, HeldError
from jobs.feeds import Interactions
from jobs.lake import Lake
from jobs.night import Counts, Night
from jobs.settings import Settings
from jobs.tables import CLEAN_ITEMS
from jobs.user_key import user_key, wrong_key

NAME = "interactions"  # of the feed, in messages
KEY = "0" * 32  # user_id of the hash by which a key is told from another
BATCH_ROWS = 10_000
EVENTS = {
    "file": pa.string(),
    "row": pa.int64(),
    "person": pa.string(),
    "item_id": pa.string(),
    "event": pa.string(),
    "happened_at": pa.timestamp("us", "UTC"),
    "order_id": pa.string(),
    "quantity": pa.int32(),
    "reasons": pa.list_(pa.string()),
    "values": pa.string(),
}
EVENTS_DDL = (
    "file string, row bigint, person string, item_id string, event string, happened_at timestamp, order_id string, quantity int, "
    "reasons array<string>, `values` string"
)


def events(spark: SparkSession, how: Interactions, key: bytes, night: date) -> DataFrame:
    """Rows of EVENTS_DDL, one a row of the night's files; one task a file."""
    files = feed.files(NAME, how, night)

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        parse = interaction.parser(how, key, night)
        for batch in batches:
            for place in batch.column(0).to_pylist():
                rows = feed.rows(NAME, how, files[place])
                while taken := list(islice(rows, BATCH_ROWS)):
                    yield _batch(shown(files[place]), taken, [parse(row.values, row.fault) for row in taken])

    return spark.range(0, len(files), 1, len(files)).mapInArrow(read, EVENTS_DDL)


def _batch(file: str, rows: list[feed.Row], found: list[interaction.Event]) -> pa.RecordBatch:
    columns = [[file] * len(rows), [row.number for row in rows], *map(list, zip(*found, strict=True))]
    return pa.RecordBatch.from_arrays(
        [pa.array(column, kind) for column, kind in zip(columns, EVENTS.values(), strict=True)], names=list(EVENTS)
    )


def pseudonyms(lake: Lake) -> DataFrame:
    """person and user_id, each person once: of two that were given at once the first."""
    first = F.min(F.struct("created_at", "user_id"))["user_id"]
    return lake.read(USER_KEYS).groupBy("person").agg(first.alias("user_id"))


def given(persons: DataFrame) -> DataFrame:
    """A pseudonym for each person: rows of user_keys."""

    def drawn(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            numbers = pa.array([secrets.token_hex(16) for _ in range(len(batch))], pa.string())
            yield pa.RecordBatch.from_pydict({"person": batch["person"], "user_id": numbers})

    return persons.select("person").mapInArrow(drawn, "person string, user_id string").withColumn("created_at", F.current_timestamp())


def new_users(lake: Lake, read: DataFrame, key: bytes, night: Night) -> int:
    """Gives a pseudonym to everyone who is met for the first time, and returns how many they are. Raises SettingsError where those who are
    known were hashed with another key."""
    check_key(lake, key, night)
    known = read.where(F.size("reasons") == 0).select("person").distinct()
    new = known.join(pseudonyms(lake), "person", "left_anti")
    count = new.count()  # before they are known
    if count:
        lake.append(USER_KEYS, given(new), night)
    return count


def check_key(lake: Lake, key: bytes, night: Night) -> None:
    """A hash that is no person's is kept with the others: with another key it would be another."""
    kept = lake.read(USER_KEYS)
    if kept.isEmpty():
        lake.append(USER_KEYS, lake.frame(USER_KEYS, [(interaction.of_key(key), KEY, datetime.now(UTC))]), night)
    elif kept.where(F.col("person") == interaction.of_key(key)).isEmpty():
        raise wrong_key()


def judged(told: DataFrame) -> tuple[DataFrame, DataFrame]:
    """Events with their user_id -> rows of interactions, the same ones folded, and rows of quarantined_interactions."""
    by_order = Window.partitionBy("user_id").orderBy(F.asc_nulls_last("order_id"))  # a hash would tell the person to who knows the order
    number = F.when(F.col("order_id").isNotNull(), F.dense_rank().over(by_order))
    said = told.where(F.size("reasons") == 0).withColumn("order_number", number)
    same = said.groupBy("user_id", "item_id", "event", "happened_at", "order_number", "quantity")
    refused = told.where(F.size("reasons") > 0).select("file", "row", "user_id", "reasons", "values")
    return same.agg((F.count("*") - 1).cast("int").alias("folded")), refused


def check_share(refused: DataFrame, quarantined: int, rows: int, most: float) -> None:
    """Raises HeldError where so many rows are refused that the feed is suspect."""
    if quarantined > most * rows:
        reasons = refused.select(F.explode("reasons").alias("reason")).groupBy("reason").count()
        worst = reasons.orderBy(F.desc("count"), "reason").collect()[0]["reason"]
        raise HeldError(
            f"{quarantined:,} of {rows:,} rows of the interactions are refused, most of them because {worst}",
            "see `quarantined_interactions`; mend the feed or interactions.columns, or raise interactions.quarantine_max",
        )


def check_users(lake: Lake, night: Night) -> None:
    """Raises ConflictError where what was written is of somebody whom `user_keys` does not have: another night has met a user for the first
    time at the same moment, and of two pseudonyms the first counts."""
    known = pseudonyms(lake)
    for table in (INTERACTIONS, QUARANTINED_INTERACTIONS):
        if not lake.read(table, night).where("user_id IS NOT NULL").join(known, "user_id", "left_anti").isEmpty():
            raise ConflictError("another night has given a user a pseudonym at the same moment", "run the stage again")


def run(spark: SparkSession, lake: Lake, settings: Settings, night: Night) -> Counts:
    how = settings.interactions
    if how is None:
        return Counts(0, 0, "events", note="the settings have no section [interactions]", idle=True)
    key = user_key()
    load_ahead()
    for table in (USER_KEYS, QUARANTINED_INTERACTIONS):
        made(lake, table)
    lake = of_people(lake)
    read = events(spark, how, key, night.date).persist()
    persons = new_users(lake, read, key, night)
    told = read.join(pseudonyms(lake), "person", "left").persist()
    kept, refused = judged(told)
    rows, quarantined = told.count(), refused.count()
    stamped = refused.withColumn("snapshot_date", F.lit(night.date)).select(*QUARANTINED_INTERACTIONS.column_names)
    lake.replace(QUARANTINED_INTERACTIONS, stamped, night, empty=True)
    check_share(refused, quarantined, rows, how.quarantine_max)
    items = lake.read(CLEAN_ITEMS, night).select("item_id").withColumn("known", F.lit(True))
    measures = measured(kept.join(items, "item_id", "left"), interactions.FIGURES)
    found = measures[0] if measures else dict.fromkeys(("rows", "folded", "users"), 0.0)
    if rows != quarantined + found["folded"] + found["rows"]:
        accounted = f"{quarantined:,} quarantined + {found['folded']:,.0f} folded + {found['rows']:,.0f} events"
        raise ContractError(f"{rows:,} rows, but {accounted}", "run collect again; if they still differ, report it: it is a bug")
    warnings = audited(lake, INTERACTIONS, night, interactions.suite(), measures)
    put(lake, INTERACTIONS, kept, night)
    check_users(lake, night)
    lake.fence()
    for frame in (read, told):
        frame.unpersist()
    seen = f"of {found['users']:,.0f} users ({persons:,} new), {quarantined:,} rows quarantined, {found['folded']:,.0f} folded"
    figures = {"users": found["users"], "new_users": float(persons), "quarantined": float(quarantined)}
    return Counts(rows, int(found["rows"]), "events", figures, note=", ".join([seen, *warnings]))
