"""A night's items as they are searched: the frames of nodes, of samples of them, and of what is compared of each.

A node is all the items of one block that read the same (and, across sources, have one source).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs import fusion
from jobs.block import odd_size
from jobs.errors import ContractError
from jobs.item import BLANK, all_fields_sql
from jobs.night import Night
from jobs.sections import Neighbours, Weigh, Weights

NAME = "element_at(members, 1)"  # SQL of a node, by which it is told from all others


def block_of(block_by: tuple[str, ...]) -> Column:
    """The hard block an item belongs to; case does not count, and items without a value share a block of their own."""
    return F.to_json(F.array(*[F.coalesce(F.lower(column), F.lit("")) for column in block_by])) if block_by else F.lit("")


def items_of(items: DataFrame, how: Neighbours, weigh: Weigh) -> DataFrame:
    """One row an item, with all that decides what it is matched with: item_id, block, source (empty if it does not count), content_hash,
    the columns of `fusion.READ`."""
    side = (F.col("source") if how.across else F.lit("")).alias("source")
    return items.select("item_id", block_of(how.block_by).alias("block"), side, "content_hash", *columns_read(how.weights, weigh))


def nodes_of(items: DataFrame) -> DataFrame:
    """One row a node: block, source, content_hash, the columns of `fusion.READ`, members (their ids, sorted; the first is the node's
    name)."""
    columns = [F.min(name).alias(name) for name in fusion.READ]
    members = F.array_sort(F.collect_list("item_id")).alias("members")
    same = F.xxhash64(*fusion.READ).alias("same")
    return items.groupBy("block", "source", "content_hash", same).agg(members, *columns).drop("same")


def columns_read(weights: Weights, weigh: Weigh) -> list[Column]:
    """The columns of `fusion.READ` of clean items; those of channels that weigh nothing are alike in all."""
    spelt, priced, placed = weights.lexical + weights.codes > 0, weights.price > 0, weights.category > 0
    no_text, nothing = F.lit(None).cast("string"), F.lit("")
    columns = {
        "title": F.col("title") if spelt else no_text,
        "fields": F.expr(all_fields_sql(weigh)) if spelt else no_text,
        "price": F.coalesce(F.col("price").cast("double"), F.lit(0.0)) if priced else F.lit(0.0),
        "currency": F.coalesce("currency", nothing) if priced else nothing,
        "category": F.coalesce("category", nothing) if placed else nothing,
    }
    return [columns[name].alias(name) for name in fusion.READ]


def counted(nodes: DataFrame, night: Night) -> list[Any]:
    """Items and nodes by block, source and blank. Raises ContractError where there is nothing to search."""
    blank = (F.col("content_hash") == BLANK).alias("blank")
    sums = F.sum(F.size("members")).alias("items"), F.count("*").alias("nodes")
    groups = nodes.groupBy("block", "source", blank).agg(*sums).collect()
    if not groups:
        raise ContractError(f"clean_items has no rows for {night.date}", "run ingest, validate, clean, weigh and embed for this date first")
    if all(group["blank"] for group in groups):
        raise ContractError(
            f"none of the {sum(group['items'] for group in groups):,} items of {night.date} has a text that could be compared",
            "name columns in embed.fields that the feeds fill",
        )
    return groups


def sampled(nodes: DataFrame, count: int, seed: int) -> list[Any]:
    """A seeded random sample of the nodes' items: item_id, node, block, source, content_hash."""
    items = nodes.select(F.explode("members").alias("item_id"), F.expr(NAME).alias("node"), "block", "source", "content_hash")
    return items.orderBy(F.xxhash64("item_id", F.lit(seed)), "item_id").limit(count).collect()


def few(spark: SparkSession, **columns: "list[Any] | pa.Array") -> DataFrame:
    """A few rows made by the driver, to be joined with many. They go as one Arrow table: Spark needs no job to look at them."""
    frame: DataFrame = spark.createDataFrame(pa.table(columns))
    return F.broadcast(frame)


def known_items(nodes: DataFrame, vectors: DataFrame, item_ids: Iterable[str]) -> dict[str, Any]:
    """Rows of (item_id, block, source, vector, and the columns of `fusion.READ`) by item_id, of the few items that are wanted, if known."""
    if not (ids := set(item_ids)):
        return {}
    items = nodes.select(F.explode("members").alias("item_id"), "block", "source", "content_hash", *fusion.READ)
    wanted = items.join(few(nodes.sparkSession, item_id=list(ids)), "item_id", "left_semi")
    found = vectors.join(F.broadcast(wanted), "content_hash").select("item_id", "block", "source", *fusion.READ, "vector")
    return {row["item_id"]: row for row in found.collect()}


def read(rows: Sequence[Any], reading: fusion.Reading) -> fusion.Items:
    """What is compared of rows of `known_items`."""
    size = 4 * reading.dimension
    for row in rows:
        if len(row["vector"]) != size:
            raise odd_size(row["item_id"], len(row["vector"]), size)
    vectors = np.array([np.frombuffer(row["vector"], dtype="<f4") for row in rows]).reshape(-1, reading.dimension)
    columns = {name: pa.array([row[name] for row in rows], kind) for name, kind in fusion.READ.items()}
    return fusion.items(vectors, columns, reading)


def with_vectors(nodes: DataFrame, vectors: DataFrame) -> DataFrame:
    """NODE rows; of a text that has been stored twice, two."""
    key, same = F.xxhash64("content_hash", *fusion.READ).alias("key"), F.xxhash64("vector", *fusion.READ).alias("print")
    whole = nodes.join(vectors.select("content_hash", "vector"), "content_hash", "left")
    return whole.select("block", "source", "members", key, same, *fusion.READ, "vector")


def others(groups: list[Any], how: Neighbours) -> list[tuple[str, str, int]]:
    """Of each block and source, how many other items one of its items may be matched with. groups: rows of block, source, items."""
    size = Counter[str]()
    for group in groups:
        size[group["block"]] += group["items"]
    return [(group["block"], group["source"], size[group["block"]] - (group["items"] if how.across else 1)) for group in groups]
