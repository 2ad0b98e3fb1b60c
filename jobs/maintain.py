"""Keeps the lake small: forgets old nights, drops vectors that nobody reads, puts small files together, removes files no reader can need.

Nothing that a night may read or write meanwhile is touched, so it can be run beside one. Nights are forgotten as whole partitions, without
rewriting a file, and older than the settings say, counted back from the day this is done as of. Which nights stay whatever their age is
decided in `needed`. Storage is given back by the first maintenance that finds the files unread for `vacuum_days`.

`current_neighbours` is only vacuumed: a compaction between a publish's look and its commit would make that begin again, and every publish
writes the files anew in which it changes rows. Logs need no care: Delta cuts them off after 30 days, as it writes a checkpoint every few
commits. Where there is nothing to do no commit is made.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs import encoder
from jobs.decisions import DECISIONS, USER_KEYS
from jobs.lake import Lake, among
from jobs.night import Counts, Night
from jobs.sections import Maintenance
from jobs.session import at_once
from jobs.settings import Settings
from jobs.table import Table
from jobs.tables import CLEAN_ITEMS, ITEM_VECTORS, LEXICONS, NEIGHBOURS, OVERRIDES, RAW_ITEMS, STAGED_NEIGHBOURS, TABLES

APPENDED = (ITEM_VECTORS, LEXICONS, OVERRIDES, USER_KEYS)  # what is added to these never conflicts with their compaction
AT_WORK = timedelta(days=1)  # since the last write: so long a night, a backfill's too, may be between two of its stages
SURPLUS = 0.2  # of a model's vectors: to drop fewer, all others would be read and written for little

Held = Mapping[str, Mapping[date, int]]  # by table, the nights it holds and the files of each


def needed(lake: Lake, held: Held, since: datetime) -> set[date]:
    """The nights that may be at work, or be run again, and those that these and the next night may read: they stay in every table.

    A night that is newer than the newest published one may yet be published, and that one is the likeliest to be run again; one that was
    written to lately may be part of a backfill. Each reads the newest published night before it (its columns, items, lists, pairs), and of
    a source that sends changes, or nothing, the newest night before it that has its rows; `audit_results` tells how old they were then.
    """
    published, by_source = held[NEIGHBOURS.name], dict[str, list[date]]()
    newest = max(published, default=date.min)
    found = {night for nights in held.values() for night in nights if night >= newest}
    for notes in at_once(*(partial(lake.notes, TABLES[name], since) for name in held)):
        found |= {date.fromisoformat(note["snapshot_date"]) for note in notes if "snapshot_date" in note}
    for row in lake.read(RAW_ITEMS).select("source", "snapshot_date").distinct().collect():
        by_source.setdefault(row["source"], []).append(row["snapshot_date"])
    for night in [*found, date.max]:
        found |= {max(before) for nights in (published, *by_source.values()) if (before := [one for one in nights if one < night])}
    return found


def outdated(held: Held, kept: set[date], how: Maintenance, day: date) -> dict[str, list[date]]:
    """By table, the nights that are to be forgotten."""
    found: dict[str, list[date]] = {}
    for table, nights in held.items():
        days: int | None = getattr(how, table)
        found[table] = sorted(night for night in nights if days is not None and (day - night).days > days and night not in kept)
    return found


def read_texts(lake: Lake) -> DataFrame:
    """content_hash of each text that an item of any night has."""
    return lake.read(CLEAN_ITEMS).select("content_hash").distinct()


def surplus(stored: DataFrame, texts: DataFrame) -> DataFrame:
    """By model_id: how many vectors there are, and how many of them are of texts that no item has, or stored a second time."""
    each = stored.groupBy("model_id", "content_hash").count().join(texts.withColumn("read", F.lit(True)), "content_hash", "left")
    needless = F.when(F.col("read"), F.col("count") - 1).otherwise(F.col("count"))
    return each.groupBy("model_id").agg(F.sum("count").alias("vectors"), F.sum(needless).alias("surplus"))


def models_in_use(lake: Lake, settings: Settings, since: datetime) -> set[str]:
    """The encoder of the settings, those of nights that are still staged, and any that has lately been at work."""
    staged = lake.read(STAGED_NEIGHBOURS).select("model_id").distinct().collect()
    lately = {note["model_id"] for note in lake.notes(ITEM_VECTORS, since) if "model_id" in note}
    return lately | {row["model_id"] for row in staged} | {encoder.model_id(encoder.folder_of(settings.embed.model))}


def drop_vectors(lake: Lake, settings: Settings, night: Night, since: datetime) -> int:
    """Drops vectors of models that are not in use, and of the others those that are not read, if they are many; how many were dropped."""
    found, in_use = surplus(lake.read(ITEM_VECTORS), read_texts(lake)).collect(), models_in_use(lake, settings, since)
    dropped = 0
    for row in found:
        of_model = among("model_id", [row["model_id"]])
        if row["model_id"] not in in_use:
            lake.drop(ITEM_VECTORS, of_model, night)
            dropped += row["vectors"]
        elif row["surplus"] >= SURPLUS * row["vectors"] and row["surplus"]:
            before = lake.version(ITEM_VECTORS)
            stay = lake.read(ITEM_VECTORS, of_model).join(read_texts(lake), "content_hash", "left_semi").select(*ITEM_VECTORS.column_names)
            lake.reduce(ITEM_VECTORS, stay.dropDuplicates(["content_hash"]), of_model, night)
            dropped += row["surplus"] - put_back(lake, of_model, before, night)
    return dropped


def put_back(lake: Lake, of_model: str, before: int, night: Night) -> int:
    """Vectors are appended again whose texts have come back while they were dropped: a night at work has counted on them."""
    there = lake.read(ITEM_VECTORS, of_model).select("content_hash")
    missed = (
        lake.read(ITEM_VECTORS, of_model, before)
        .join(read_texts(lake), "content_hash", "left_semi")
        .join(there, "content_hash", "left_anti")
    )
    rows = missed.select(*ITEM_VECTORS.column_names).dropDuplicates(["content_hash"]).persist()  # so embed's appends don't conflict with it
    count = rows.count()
    if count:
        lake.append(ITEM_VECTORS, rows, night)
    rows.unpersist()
    return count


def compact(lake: Lake, present: Sequence[Table], held: Held, kept: set[date], night: Night) -> None:
    """Puts small files of past nights together, and of what is only ever appended to."""
    for name, nights in held.items():
        scattered = sorted(one for one, files in nights.items() if files > 1 and one not in kept)
        if scattered and name != STAGED_NEIGHBOURS.name:  # its nights are forgotten soon, and hardly read until then
            lake.compact(TABLES[name], night, among("snapshot_date", scattered))
    for table in APPENDED:
        if table in present and lake.files(table) > 1:
            lake.compact(table, night)


def files(lake: Lake, present: Sequence[Table]) -> int:
    """What readers of all tables would open."""
    return sum(at_once(*(partial(lake.files, table) for table in present)))


def run(spark: SparkSession, lake: Lake, settings: Settings, night: Night) -> Counts:
    present = [table for table in TABLES.values() if table.name not in DECISIONS or lake.exists(table)]
    since, before = datetime.now(UTC) - AT_WORK, files(lake, present)
    nightly = [table for table in present if table.partition == ("snapshot_date",)]  # [maintenance] has a key for each
    held: Held = {table.name: nights for table, nights in zip(nightly, at_once(*(partial(lake.nights, t) for t in nightly)), strict=True)}
    kept = needed(lake, held, since)
    old = outdated(held, kept, settings.maintenance, night.date)
    for name, forgotten in old.items():
        if forgotten:
            lake.drop(TABLES[name], among("snapshot_date", forgotten), night)
    left = {table: {one: files for one, files in nights.items() if one not in old[table]} for table, nights in held.items()}
    published = max(left[NEIGHBOURS.name], default=date.min)
    waiting = max((one for table in (RAW_ITEMS, CLEAN_ITEMS) for one in left[table.name] if one > published), default=None)
    dropped = 0 if waiting else drop_vectors(lake, settings, night, since)
    compact(lake, present, left, kept, night)
    days = settings.maintenance.vacuum_days
    freed = sum(at_once(*(partial(lake.vacuum, table, days) for table in present)))
    figures = {"vectors_dropped": dropped, "files_before": before, "files_after": files(lake, present), "bytes_freed": freed}
    return counts(old, figures, waiting)


def counts(old: Mapping[str, list[date]], figures: dict[str, float], waiting: date | None) -> Counts:
    """What was done. waiting: a night that is not published yet, for which all vectors were left."""
    by_table = {table: len(nights) for table, nights in old.items() if nights}
    told = [f"of {table} {count:,}" for table, count in by_table.items()]
    told.append(f"no vectors dropped while {waiting} is not published" if waiting else f"{figures['vectors_dropped']:,} vectors dropped")
    told.append(f"{figures['files_before']:,} files are {figures['files_after']:,} now, {figures['bytes_freed'] / 1e6:,.1f} MB freed")
    figures = figures | {f"nights_forgotten_{table}": count for table, count in by_table.items()}
    return Counts(0, len(set().union(*old.values())), "nights forgotten", figures, note=", ".join(told))
