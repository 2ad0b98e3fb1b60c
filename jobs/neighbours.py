"""The k most similar items of every item of the night, staged for the audit, with the recall measured on a random sample.

Items of one text are searched as one node. Hard blocks (`block_by`) are never crossed; small ones share a cell, large ones are covered by
overlapping cells (`cells`), and one task searches one cell (`knn`): its rows, and so its memory, are bounded by `cell_rows`. Vectors
travel once for every cell they are in; what a cell finds leaves it as one row a node. k + slack pairs are kept; an item is never its own
neighbour, told by id; equal similarities are ordered by id: reruns, and other partitionings, give the same table on one kind of CPU.

Before the search, a random sample is compared with everything it may be matched with: it decides how far cells have to overlap, and after
the search it gives the recall. Recall and coverage go to `audit_results`, where audit judges them. Staging a night anew takes the old
verdict away.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.accumulators import AccumulatorParam
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from jobs import cells, encoder, measure, sample, task
from jobs.errors import ContractError
from jobs.lake import Lake
from jobs.night import Counts, Night
from jobs.session import progress
from jobs.settings import Neighbours, Settings
from jobs.tables import AUDIT_RESULTS, CLEAN_ITEMS, ITEM_VECTORS, STAGED_NEIGHBOURS

if TYPE_CHECKING:
    import pyarrow as pa

SEARCH_MISSES, COVER_MISSES = 0.6, 0.3  # shares of the recall that may be lost, so that what is measured is above the target
COVER_SAMPLE = 20_000  # vectors of a large block, from which its cells are made: 30 MB
EXACT = "item int, node string, similarity float, copies int"


def block_of(block_by: tuple[str, ...]) -> Column:
    """The hard block an item belongs to; items without a value share a block of their own."""
    return F.to_json(F.array(*[F.coalesce(F.col(column), F.lit("")) for column in block_by])) if block_by else F.lit("")


def with_nodes(items: DataFrame, how: Neighbours) -> DataFrame:
    """item_id, source, block, content_hash, node: the first of the items that are searched as one."""
    blocked = items.select("item_id", "source", "content_hash", block_of(how.block_by).alias("block"))
    alike = Window.partitionBy("block", "content_hash", *(["source"] if how.across else []))
    return blocked.withColumn("node", F.min("item_id").over(alike))


def searchable(items: DataFrame, vectors: DataFrame, width: int) -> DataFrame:
    """One row a node: node, source, block, items, members (the first `width` of them), vector (null where it was never computed), blank
    (the vector is zero: the text says nothing)."""
    nodes = items.groupBy("block", "content_hash", "node").agg(
        F.min("source").alias("source"),
        F.count("*").cast("int").alias("items"),
        F.slice(F.array_sort(F.collect_list("item_id")), 1, width).alias("members"),
    )
    found = vectors.select("content_hash", "vector").dropDuplicates(["content_hash"])
    blank = F.expr("vector = cast(repeat(char(0), length(vector)) AS binary)").alias("blank")
    return nodes.join(found, "content_hash", "left").select("node", "source", "block", "items", "members", "vector", blank)


class _Log(AccumulatorParam[list[Any]]):
    """What the tasks tell: (cell, nodes, blocks, seconds, rounds)."""

    def zero(self, value: list[Any]) -> list[Any]:
        return []

    def addInPlace(self, value1: list[Any], value2: list[Any]) -> list[Any]:  # noqa: N802  Spark's own name
        return value1 + value2


def sampled(items: DataFrame, nodes: DataFrame, how: Neighbours) -> sample.Sample:
    """A seeded random sample of the items that have something to say. nodes: all of them, the blank ones too."""
    speaking = items.join(nodes.where("blank").select("node"), "node", "left_anti")
    chosen = speaking.orderBy(F.xxhash64("item_id", F.lit(how.seed)), "item_id").limit(how.recall_sample)
    own = chosen.select("item_id", "source", "node").join(nodes.select("node", "block", "vector"), "node")
    rows = own.orderBy("item_id").collect()
    ids, node, block, source = (np.array([row[name] for row in rows], dtype=object) for name in ("item_id", "node", "block", "source"))
    return sample.Sample(ids, node, block, source, np.stack([vector_of(row) for row in rows]), across=bool(how.across))


def vector_of(row: Any) -> sample.Vectors:
    return np.frombuffer(row["vector"], dtype="<f4")


def nearest_of_sample(nodes: DataFrame, items: sample.Sample, k: int, dimension: int) -> sample.Nearest:
    """The true k nearest of each sampled item, by comparing it with every node."""

    def search(batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        import pyarrow as pa

        columns = (
            (
                *(batch[name].to_numpy(zero_copy_only=False) for name in ("node", "block", "source", "items")),
                task.unpacked(batch["vector"], dimension),
            )
            for batch in batches
            if batch.num_rows
        )
        found = sample.nearest(items, columns, k)
        yield pa.RecordBatch.from_pydict(
            {"item": found.item, "node": pa.array(found.node, pa.string()), "similarity": found.similarity, "copies": found.copies}
        )

    rows = nodes.select("node", "block", "source", "items", "vector").mapInArrow(search, EXACT).toPandas()
    return sample.Nearest(*(rows[name].to_numpy() for name in ("item", "node", "similarity", "copies")))


def vectors_of(nodes: DataFrame, wanted: DataFrame) -> dict[str, Any]:
    """Rows of (name, block, source, vector) by name, for the few names wanted."""
    named = nodes.select(F.explode("members").alias("name"), "block", "source", "vector")
    return {row["name"]: row for row in named.join(F.broadcast(wanted), "name", "left_semi").collect()}


def recall(
    spark: SparkSession, nodes: DataFrame, published: DataFrame, items: sample.Sample, true: sample.Nearest, k: int
) -> tuple[float, int]:
    """Mean recall@k of the sampled items, and the number of them it was taken from: those that have anything to be matched with.

    The published pairs' similarities are computed anew here: a wrong one would not count, and a pair that may not be counts as a miss.
    """
    place = {item_id: i for i, item_id in enumerate(items.item_ids)}
    ids = spark.createDataFrame([(item_id,) for item_id in place], "item_id string")
    listed = published.where(F.col("rank") <= k).join(F.broadcast(ids), "item_id", "left_semi").select("item_id", "neighbour_id").collect()
    wanted = spark.createDataFrame([(name,) for name in {row["neighbour_id"] for row in listed}], "name string")
    known = vectors_of(nodes, wanted)
    by_item: list[list[float]] = [[] for _ in place]
    for row in listed:
        other, mine = known.get(row["neighbour_id"]), place[row["item_id"]]
        if other is None or other["block"] != items.blocks[mine] or (items.across and other["source"] == items.sources[mine]):
            continue
        by_item[mine].append(float(vector_of(other).astype(np.float64) @ items.vectors[mine]))
    recalls = measure.recall_of_items([np.array(found) for found in by_item], [true.of(i, k)[1] for i in range(len(place))], k)
    counted = recalls[~np.isnan(recalls)]
    return (float(counted.mean()) if len(counted) else 1.0), len(counted)


def covers(
    spark: SparkSession, nodes: DataFrame, sizes: dict[str, int], items: sample.Sample, true: sample.Nearest, how: Neighbours, target: float
) -> dict[str, cells.Cover]:
    """Of every block that is too large for one cell, its cover."""
    found = {}
    for block in sorted(block for block, size in sizes.items() if size > how.cell_rows):
        of_block = nodes.where(F.col("block") == block)
        rows = of_block.orderBy(F.xxhash64("node", F.lit(how.seed)), "node").limit(COVER_SAMPLE).select("vector").collect()
        mine = np.flatnonzero(items.blocks == block).tolist()
        near = {i: true.of(i, how.k)[0] for i in mine}
        full = [i for i in mine if len(near[i]) == how.k]
        wanted = spark.createDataFrame([(name,) for name in {name for i in full for name in near[i]}], "name string")
        known = vectors_of(nodes, wanted)
        dimension = items.vectors.shape[1]
        theirs = np.array([[vector_of(known[name]) for name in near[i]] for i in full], dtype=np.float32).reshape(-1, how.k, dimension)
        sampled = np.stack([vector_of(row) for row in rows])
        found[block] = cells.cover(sampled, sizes[block], how.cell_rows, items.vectors[full], theirs, target, how.seed)
    return found


def partition_keys(spark: SparkSession, count: int) -> list[int]:
    """A number for each of `count` partitions that Spark's hash sends there: a cell for each partition, and none that gets two."""
    if count == 1:
        return [0]
    rows = spark.range(40 * count).select(F.col("id").cast("int").alias("id"), F.pmod(F.hash(F.col("id").cast("int")), F.lit(count)))
    taken: dict[int, int] = {}
    for number, partition in rows.collect():
        taken.setdefault(partition, number)
    return [taken[partition] for partition in range(count)]


def lists(
    spark: SparkSession,
    nodes: DataFrame,
    sizes: dict[str, int],
    found: dict[str, cells.Cover],
    how: Neighbours,
    dimension: int,
    target: float,
    log: Any,
) -> DataFrame:
    """The LIST rows of every node, nearest first: k + slack + 1 items, its own among them."""
    cores = spark.sparkContext.defaultParallelism
    small = {block: size for block, size in sizes.items() if block not in found}
    plan = cells.packed(small, how.cell_rows, cores)
    parts = 1 + max(plan.values(), default=-1)
    listed = spark.createDataFrame(list(plan.items()), "block string, cell int")
    cut = nodes.join(F.broadcast(listed), "block").select("cell", "block", "node", "source", "members", "vector")
    for block, cover in found.items():
        cut = cut.unionByName(nodes.where(F.col("block") == block).mapInArrow(task.placed(cover, parts, dimension), task.CELL))
        parts += len(cover.leaders)
    keys = partition_keys(spark, parts)
    key = F.element_at(F.array(*map(F.lit, keys)), F.col("cell") + 1).alias("key")
    own_cores = int(spark.conf.get("spark.task.cpus", "1") or 1)
    local = (spark.sparkContext.master or "").split("[")[0] == "local"
    room = cores if local else int(spark.conf.get("spark.executor.cores", "1") or 1)
    threads = max(own_cores, min(cores // parts, room))  # cores that no other cell wants, but of one machine
    searched = (
        cut.select("*", key)
        .repartition(parts, "key")
        .groupBy("key")
        .applyInArrow(task.search_cell(how, target, dimension, threads, log), task.LIST)
    )
    if not found:
        return searched.repartition(cores, "node") if parts < cores else searched  # one cell, but many cores to write what it found
    return searched.repartition(parts, "node").mapInArrow(task.merged(how.k + how.slack + 1), task.LIST)


def pairs(items: DataFrame, lists_of_nodes: DataFrame, how: Neighbours) -> DataFrame:
    """item_id, rank, neighbour_id, similarity: every item's k + slack nearest, from the lists of the nodes."""
    itself = F.array_position("edges.neighbour", F.col("item_id"))  # 0 where the list does not name it
    edges = items.select("item_id", "node").join(lists_of_nodes, "node").select("item_id", itself.alias("itself"), F.posexplode("edges"))
    place = F.col("pos") + 1
    rank = F.when((F.col("itself") > 0) & (F.col("itself") < place), place - 1).otherwise(place).cast("int")
    others = edges.where(place != F.col("itself")).select("item_id", rank.alias("rank"), "col")
    return others.where(F.col("rank") <= how.k + how.slack).select(
        "item_id", "rank", F.col("col.neighbour").alias("neighbour_id"), (-F.col("col.distance")).alias("similarity")
    )


def staged(found: DataFrame, night: Night, model_id: str) -> DataFrame:
    return found.select(
        F.lit(night.date).alias("snapshot_date"),
        "item_id",
        "rank",
        "neighbour_id",
        "similarity",
        F.struct(F.col("similarity").alias("semantic")).alias("parts"),
        F.lit(model_id).alias("model_id"),
        F.lit(night.run_id).alias("run_id"),
    )


def coverage(
    published: DataFrame, items: DataFrame, counts: dict[tuple[str, str], int], possible: dict[tuple[str, str], int], k: int
) -> tuple[float, int]:
    """The share of items that have all the neighbours they could have, up to k, and the number of all pairs. One Spark job.

    items: item_id, block, source; counts and possible: of each (block, source), its items and the neighbours one of them can have.
    """
    per_item = published.groupBy("item_id").agg(F.count("*").alias("pairs"), F.count_if(F.col("rank") <= k).alias("found"))
    of_items = items.join(per_item, "item_id").groupBy("block", "source", "found")
    rows = of_items.agg(F.count("*").alias("items"), F.sum("pairs").alias("pairs")).collect()
    complete = sum(row["items"] for row in rows if row["found"] >= possible[row["block"], row["source"]])
    complete += sum(count for group, count in counts.items() if possible[group] == 0)
    return complete / max(1, sum(counts.values())), sum(row["pairs"] for row in rows)


def possible_neighbours(counts: dict[tuple[str, str], int], how: Neighbours) -> dict[tuple[str, str], int]:
    """How many neighbours of rank ≤ k an item of a (block, source) can have, from the items of each."""
    size: dict[str, int] = {}
    for (block, _), n in counts.items():
        size[block] = size.get(block, 0) + n
    return {(block, source): min(how.k, size[block] - (n if how.across == "source" else 1)) for (block, source), n in counts.items()}


def counted(nodes: DataFrame, how: Neighbours) -> list[Any]:
    """Items, nodes and what there is to say of their vectors, by block, source (where that matters) and blank."""
    length = F.length("vector")
    side = (F.col("source") if how.across else F.lit("")).alias("source")
    return (
        nodes.groupBy("block", side, "blank")
        .agg(
            F.sum("items").alias("items"),
            F.count("*").alias("nodes"),
            F.min(length).alias("shortest"),
            F.max(length).alias("longest"),
            F.min_by("node", length).alias("short"),
        )
        .collect()
    )


def check_searchable(groups: list[Any], model_id: str, night: Night) -> int:
    """The dimension of the vectors. Raises ContractError where one is missing, or not as long as the others."""
    total, bare = sum(group["items"] for group in groups), sum(group["items"] for group in groups if group["blank"] is None)
    if bare or not total:
        raise ContractError(
            f"{bare:,} of {total:,} items of {night.date} have no vector of {model_id}", "run clean and embed for this date first"
        )
    if all(group["blank"] for group in groups):
        raise ContractError(
            f"none of the {total:,} items of {night.date} has a text that could be compared",
            "name columns in embed.fields that the feeds fill",
        )
    least, longest = min(groups, key=lambda group: group["shortest"]), max(group["longest"] for group in groups)
    if least["shortest"] != longest:
        raise ContractError(
            f"the vector of item {least['short']} has {least['shortest'] // 4} dimensions, others of {model_id} have {longest // 4}",
            "delete it from item_vectors and run embed",
        )
    return int(longest) // 4


def run(spark: SparkSession, lake: Lake, settings: Settings, night: Night) -> Counts:
    how, log = settings.neighbours, spark.sparkContext.accumulator([], _Log())
    misses = 1 - settings.audit.target_recall
    model_id = encoder.model_id(encoder.folder_of(settings.embed.model))
    vectors = lake.read(ITEM_VECTORS, F.col("model_id") == model_id)
    items = with_nodes(lake.read(CLEAN_ITEMS, night), how)
    nodes = searchable(items, vectors, how.k + how.slack + 1).persist()
    grouped = counted(nodes, how)
    dimension = check_searchable(grouped, model_id, night)
    lake.delete(AUDIT_RESULTS, night, night.verdict)
    speaking = nodes.where("NOT blank")
    heard = [row for row in grouped if not row["blank"]]
    total, silent = sum(row["items"] for row in grouped), sum(row["items"] for row in grouped if row["blank"])
    sizes: dict[str, int] = {}
    for row in heard:
        sizes[row["block"]] = sizes.get(row["block"], 0) + row["nodes"]
    chosen = sampled(items, nodes, how)
    true = nearest_of_sample(speaking, chosen, how.k, dimension)
    found = covers(spark, speaking, sizes, chosen, true, how, 1 - COVER_MISSES * misses)
    for block, cover in found.items():
        print(
            f"neighbours: {sizes[block]:,} nodes{f' of block {block}' if block else ''} in {len(cover.leaders)} cells, each node in "
            f"{cover.overlap}: {cover.shared:.1%} of true neighbours share one",
            flush=True,
        )
    with progress(spark, "neighbours", total, "items"):
        searched = lists(spark, speaking, sizes, found, how, dimension, 1 - SEARCH_MISSES * misses, log)
        staged_rows = staged(pairs(items, searched, how), night, model_id)
        lake.replace(STAGED_NEIGHBOURS, staged_rows, night, empty=True)  # coverage tells: a look would search twice
    published = lake.read(STAGED_NEIGHBOURS, night)
    counts = {(row["block"], row["source"]): row["items"] for row in heard}
    placed_items = items.select("item_id", "block", (F.col("source") if how.across else F.lit("")).alias("source"))
    covered, kept = coverage(published, placed_items, counts, possible_neighbours(counts, how), how.k)
    figure, asked = recall(spark, speaking, published, chosen, true, how.k)
    nodes.unpersist()
    low, high = measure.wilson(figure, asked)
    told = f"{asked:,} random items, 95 % interval {low:.4f} to {high:.4f}"
    lake.append(AUDIT_RESULTS, lake.frame(AUDIT_RESULTS, measured(settings, night, figure, told, covered)), night)
    figures = {
        "recall": figure,
        "recall_low": low,
        "recall_high": high,
        "recall_sample": asked,
        "coverage": covered,
        "blocks": len(sizes),
        "items_without_text": silent,
        "overlap_max": max((cover.overlap for cover in found.values()), default=1),
    }
    note = f"recall@{how.k} {figure:.3f} ({low:.3f} to {high:.3f})" + (f", {silent:,} items without text" if silent else "")
    return Counts(total, kept, "pairs", figures | of_cells(log.value), note=note)


def of_cells(told: list[Any]) -> dict[str, float]:
    """Figures of the cells, from what their tasks told; a task that was run twice tells twice, and counts once."""
    cell = {key: (rows, seconds, rounds) for key, rows, _, seconds, rounds in told}
    if not cell:
        return {}
    rows, seconds, rounds = (np.array(column, dtype=float) for column in zip(*cell.values(), strict=True))
    return {
        "cells": len(cell),
        "cell_nodes_max": rows.max(),
        "cell_skew": rows.max() / rows.mean(),
        "cell_seconds_median": round(float(np.median(seconds)), 3),
        "cell_seconds_max": round(seconds.max(), 3),
        "search_rounds_max": rounds.max(),
    }


def measured(settings: Settings, night: Night, recall: float, sample: str, coverage: float) -> list[tuple[object, ...]]:
    """The audit_results rows of what only this stage can measure; audit judges them again, by the bounds of its own settings."""
    why_recall = "neighbours missed by the search are missing for every reader"
    why_coverage = "items without all the neighbours they could have leave gaps in every list built on them"
    return [
        (night.date, night.run_id, f"{STAGED_NEIGHBOURS.name}: {name}", "fail", figure >= bound, figure, f">= {bound:g}", reason)
        for name, figure, bound, reason in (
            ("recall", recall, settings.audit.target_recall, f"{sample}: {why_recall}"),
            ("coverage", coverage, settings.audit.coverage_min, f"all: {why_coverage}"),
        )
    ]
