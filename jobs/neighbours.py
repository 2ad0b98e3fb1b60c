"""The k most similar items of every item of the night, staged for the audit, with the recall measured on a random sample.

Items of one text are searched as one node. Hard blocks (`block_by`) are never crossed; small ones share a cell, large ones are covered by
overlapping cells (`cells`), and one task searches one cell (`knn`): its rows, and so its memory, are bounded by `cell_rows`. Vectors
travel once to their items and once to every cell they are in; what a cell finds leaves it packed. k + slack pairs are kept; an item is
never its own neighbour, told by id; equal similarities are ordered by id: reruns, and other partitionings, give the same table on one kind
of CPU.

A random sample of items is compared with everything it may be matched with: by the task that holds its block, or, of a block that is cut
into cells, before they are made, since it decides how far they have to overlap. What was published of the sample gives the recall. Recall
and coverage go to `audit_results`, where audit judges them. Staging a night anew takes the old verdict away.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.accumulators import AccumulatorParam
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs import cells, encoder, fusion, lexicon, measure, neighbour_list, sample, script, task
from jobs.errors import ContractError
from jobs.item import all_fields_sql
from jobs.lake import Lake
from jobs.night import Counts, Night
from jobs.session import at_once, progress, readied
from jobs.settings import Neighbours, Settings, Weigh, Weights
from jobs.tables import AUDIT_RESULTS, CLEAN_ITEMS, ITEM_VECTORS, LEXICONS, PARTS, STAGED_NEIGHBOURS

# shares of what the target allows to miss: because signatures are sketches, the same in every cell; by the search of one cell; of a covered
# block in all. What is left keeps the interval of what is measured above the target.
SKETCH_MISSES, SEARCH_MISSES, COVER_MISSES = 0.3, 0.6, 0.8
PAIRS_OF_A_PART = 10_000_000  # of what one task merges and writes: 400 MB
COVER_SAMPLE = 20_000  # vectors of a large block, from which its cells are made: 30 MB
COVER_ASKED = 500  # of these, whose true neighbours tell how far its cells have to overlap; others tell the recall
BLANK = hashlib.sha256(b"").hexdigest()  # content_hash of an item without text: embed gives it the zero vector, which is near nothing


def block_of(block_by: tuple[str, ...]) -> Column:
    """The hard block an item belongs to; items without a value share a block of their own."""
    return F.to_json(F.array(*[F.coalesce(F.col(column), F.lit("")) for column in block_by])) if block_by else F.lit("")


def nodes_of(items: DataFrame, how: Neighbours, weigh: Weigh) -> DataFrame:
    """One row a node, the items of one block that read the same (and, across sources, have one source): block, source, content_hash, the
    columns of `fusion.READ`, members (their ids, sorted; the first is the node's name)."""
    side = (F.col("source") if how.across else F.lit("")).alias("source")
    blocked = items.select("item_id", block_of(how.block_by).alias("block"), side, "content_hash", *columns_read(how.weights, weigh))
    columns = [F.min(name).alias(name) for name in fusion.READ]
    members = F.array_sort(F.collect_list("item_id")).alias("members")
    return blocked.groupBy("block", "source", "content_hash", F.xxhash64(*fusion.READ).alias("same")).agg(members, *columns).drop("same")


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
    name = F.element_at("members", 1).alias("node")
    items = nodes.select(F.explode("members").alias("item_id"), name, "block", "source", "content_hash")
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
            raise task.odd_size(row["item_id"], len(row["vector"]), size)
    vectors = np.array([np.frombuffer(row["vector"], dtype="<f4") for row in rows]).reshape(-1, reading.dimension)
    columns = {name: pa.array([row[name] for row in rows], kind) for name, kind in fusion.READ.items()}
    return fusion.items(vectors, columns, reading)


def with_vectors(nodes: DataFrame, vectors: DataFrame) -> DataFrame:
    """NODE rows; of a text that has been stored twice, two."""
    key, same = F.xxhash64("content_hash", *fusion.READ).alias("key"), F.xxhash64("vector", *fusion.READ).alias("print")
    whole = nodes.join(vectors.select("content_hash", "vector"), "content_hash", "left")
    return whole.select("block", "source", "members", key, same, *fusion.READ, "vector")


def nearest_of_sample(
    nodes: DataFrame, vectors: DataFrame, rows: list[Any], own: fusion.Items, reading: fusion.Reading, how: Neighbours
) -> list[tuple[sample.Names, sample.Vectors]]:
    """Of each sampled item the nodes and the similarities of its true k nearest, by comparing it with every node."""
    ids, node, block, source = (np.array([row[name] for row in rows], dtype=object) for name in ("item_id", "node", "block", "source"))
    asked = sample.Sample(ids, node, block, source, own, reading.weights, across=bool(how.across))
    once = with_vectors(nodes, vectors).dropDuplicates(["block", "source", "key"])
    found = once.mapInArrow(task.compared(asked, reading, how.k), task.TRUE).toPandas()
    near = sample.Nearest(*(found[name].to_numpy() for name in ("item", "node", "similarity", "copies")))
    return [near.of(i, how.k) for i in range(len(rows))]


def cover_of(
    nodes: DataFrame, vectors: DataFrame, size: int, asked: list[Any], reading: fusion.Reading, how: Neighbours, misses: float
) -> tuple[cells.Cover, dict[str, sample.Vectors]]:
    """The cover of one block, of `size` nodes, and the true similarities of the sampled items in it."""
    name = F.element_at("members", 1).alias("name")
    chosen, others = at_once(
        nodes.select(name).orderBy(F.xxhash64("name", F.lit(how.seed)), "name").limit(COVER_SAMPLE).collect,
        lambda: sampled(nodes, COVER_ASKED, how.seed + 1),  # the recall is not measured by the items that the cover was chosen by
    )
    names, rows = [row["name"] for row in chosen], {row["item_id"]: row for row in [*asked, *others]}
    known = known_items(nodes, vectors, [*names, *rows])
    if lacking := {*names, *rows} - known.keys():
        raise ContractError(f"item {min(lacking)} has no vector of this encoder", "run clean and embed for this date first")

    def signatures(of: Iterable[str]) -> sample.Vectors:
        return fusion.signatures(read([known[name] for name in of], reading), reading.weights)

    of_block = signatures(names)
    own = read([known[item] for item in rows], reading)
    found = dict(zip(rows, nearest_of_sample(nodes, vectors, list(rows.values()), own, reading, how), strict=True))
    full = {row["item_id"]: near for row in others if len(near := found[row["item_id"]][0]) == how.k}
    known |= known_items(nodes, vectors, (name for near in full.values() for name in near))
    theirs = signatures(name for near in full.values() for name in near).reshape(-1, how.k, of_block.shape[1])
    target, missed = 1 - COVER_MISSES * misses, (SKETCH_MISSES * misses, SEARCH_MISSES * misses)
    cover = cells.cover(of_block, size, how.cell_rows, signatures(full), theirs, target, missed, how.seed)
    return cover, {row["item_id"]: found[row["item_id"]][1] for row in asked}


def covers_of(
    nodes: DataFrame,
    vectors: DataFrame,
    sizes: Mapping[str, int],
    asked: list[Any],
    reading: fusion.Reading,
    how: Neighbours,
    misses: float,
) -> tuple[dict[str, cells.Cover], dict[str, sample.Vectors]]:
    """The cover of every block that is too large for one cell, and the true similarities of the sampled items in these."""
    covers: dict[str, cells.Cover] = {}
    true: dict[str, sample.Vectors] = {}
    for block in sorted(block for block, size in sizes.items() if size > how.cell_rows):
        of_block, mine = nodes.where(F.col("block") == block), [row for row in asked if row["block"] == block]
        covers[block], known = cover_of(of_block, vectors, sizes[block], mine, reading, how, misses)
        true |= known
        print(f"neighbours: {sizes[block]:,} nodes{f' of block {block}' if block else ''} in {covers[block]}", flush=True)
    return covers, true


class _Log(AccumulatorParam[list[Any]]):
    """What the tasks tell: see `task.search_cell`."""

    def zero(self, value: list[Any]) -> list[Any]:
        return []

    def addInPlace(self, value1: list[Any], value2: list[Any]) -> list[Any]:  # noqa: N802  Spark's own name
        return value1 + value2


def threads_of(spark: SparkSession, work: list[int]) -> list[int]:
    """Cores for each cell, of which this is the work: a task's own, and its share of all, but of one machine."""
    cores, own = spark.sparkContext.defaultParallelism, int(spark.conf.get("spark.task.cpus", "1") or 1)
    local = (spark.sparkContext.master or "").split("[")[0] == "local"
    room = cores if local else int(spark.conf.get("spark.executor.cores", "1") or 1)
    return [max(own, min(room, round(cores * of_cell / sum(work)))) for of_cell in work]


def pairs(
    nodes: DataFrame,
    vectors: DataFrame,
    sizes: Mapping[str, int],
    covers: dict[str, cells.Cover],
    asked: dict[str, list[str]],
    reading: fusion.Reading,
    how: Neighbours,
    misses: float,
    log: Any,
) -> DataFrame:
    """The PAIR rows of all nodes, of which there are `sizes` in each block."""
    spark = nodes.sparkSession
    cores = spark.sparkContext.defaultParallelism
    plan = cells.packed({block: size for block, size in sizes.items() if block not in covers}, how.cell_rows, cores)
    narrow = 1 + max(plan.values(), default=-1)
    work = [0] * narrow  # of a block it grows with the square of its size
    for block, cell in plan.items():
        work[cell] += sizes[block] ** 2
    listed = few(spark, block=pa.array(plan, pa.string()), cell=pa.array(plan.values(), pa.int32()))
    whole = with_vectors(nodes, vectors)
    cut = whole.join(listed, "block").select("cell", *whole.columns)
    for block, cover in covers.items():
        of_block = with_vectors(nodes.where(F.col("block") == block), vectors)
        cut = cut.unionByName(of_block.mapInArrow(task.placed(cover, reading, len(work)), task.CELL))
        work += [(sizes[block] * cover.overlap // len(cover.leaders)) ** 2] * len(cover.leaders)
    count = len(work)
    parts = max(count, cores, sum(sizes.values()) * (how.k + how.slack) // PAIRS_OF_A_PART)
    promised = 1 - (SKETCH_MISSES + SEARCH_MISSES) * misses
    search = task.Search(how, reading, 1 - SEARCH_MISSES * misses, promised, narrow, threads_of(spark, work), parts, asked)
    packed = cut.repartitionById(count, "cell").mapInArrow(task.search_cell(search, log), neighbour_list.PACKED)
    return packed.repartitionById(parts, "part").mapInArrow(neighbour_list.told(search.kept), neighbour_list.PAIR)


def staged(found: DataFrame, night: Night, model_id: str) -> DataFrame:
    return found.select(
        F.lit(night.date).alias("snapshot_date"),
        "item_id",
        "rank",
        "neighbour_id",
        "similarity",
        F.struct(*PARTS).alias("parts"),
        F.lit(model_id).alias("model_id"),
        F.lit(night.run_id).alias("run_id"),
    )


def coverage(published: DataFrame, nodes: DataFrame, groups: list[Any], how: Neighbours) -> tuple[float, int]:
    """The share of items that have all the neighbours they could have, up to k, and the number of all pairs.

    groups: block, source and items of each group of nodes.
    """
    size = Counter[str]()
    for group in groups:
        size[group["block"]] += group["items"]
    could = [(group, size[group["block"]] - (group["items"] if how.across else 1)) for group in groups]
    limited = [(group["block"], group["source"], most) for group, most in could if 0 < most < how.k]
    items = published.groupBy("item_id").agg(F.count("*").alias("pairs"), F.count_if(F.col("rank") <= how.k).alias("found"))
    if limited:
        limits = few(nodes.sparkSession, **dict(zip(("block", "source", "most"), zip(*limited, strict=True), strict=True)))
        theirs = nodes.join(limits, ["block", "source"]).select(F.explode("members").alias("item_id"), "most")
        items = items.join(theirs, "item_id", "left").fillna(how.k, "most")
    else:
        items = items.withColumn("most", F.lit(how.k))
    row = items.agg(F.count_if(F.col("found") >= F.col("most")).alias("complete"), F.sum("pairs").alias("pairs")).collect()[0]
    complete = row["complete"] + sum(group["items"] for group, most in could if most == 0)
    return complete / max(1, sum(size.values())), row["pairs"] or 0


def recall(
    nodes: DataFrame,
    vectors: DataFrame,
    published: DataFrame,
    asked: list[Any],
    true: dict[str, sample.Vectors],
    reading: fusion.Reading,
    how: Neighbours,
) -> tuple[float, int]:
    """Mean recall@k of the sampled items, and the number of them it was taken from: those that have anything to be matched with.

    The published pairs' similarities are computed anew here: a wrong one would not count, and a pair that may not be counts as a miss.
    """
    own = {row["item_id"]: row for row in asked}
    top = published.where(F.col("rank") <= how.k).select("item_id", "neighbour_id")
    listed = top.join(few(nodes.sparkSession, item_id=list(own)), "item_id", "left_semi").collect()
    known = known_items(nodes, vectors, [*own, *(row["neighbour_id"] for row in listed)])
    neighbours: dict[str, list[str]] = {item_id: [] for item_id in own}
    for item_id, neighbour_id in listed:
        mine, other = known[item_id], known.get(neighbour_id)
        if other is not None and other["block"] == mine["block"] and not (how.across and other["source"] == mine["source"]):
            neighbours[item_id].append(neighbour_id)
    place = {item_id: row for row, item_id in enumerate(known)}
    every = read(list(known.values()), reading)
    of_item: dict[str, sample.Vectors] = {}
    for item_id, theirs in neighbours.items():
        near = every[np.array([place[name] for name in theirs], dtype=np.int64)]
        of_item[item_id] = fusion.compared(every[np.array([place[item_id]])], near, reading.weights)[0]
    recalls = measure.recall_of_items(list(of_item.values()), [true[item_id] for item_id in of_item], how.k)
    counted = recalls[~np.isnan(recalls)]
    return (float(counted.mean()) if len(counted) else 1.0), len(counted)


def reading_of(lake: Lake, settings: Settings, folder: Path, nodes: DataFrame, dimension: int) -> tuple[fusion.Reading, str]:
    """How the night's items are read, and the lexicon's id. Raises ContractError if no lexicon has been counted that fits them."""
    weights = np.array(settings.neighbours.weights.scaled, dtype=np.float32)
    scripts = script.weights(script.known_to(folder) if weights[0] and weights[1] else {})
    if not weights[1:3].any():
        return fusion.Reading(weights, lexicon.counted(pa.array([], pa.string())), scripts, dimension), ""
    texts, reading = nodes.select("fields").distinct().count(), settings.weigh.reading
    newest = lake.read(LEXICONS, lexicon.fitting_sql(reading, texts)).orderBy(F.desc("counted_at")).head()
    if newest is None:
        raise ContractError(f"there is no lexicon of {reading} for {texts:,} texts", "run weigh for this date first")
    counts = (np.frombuffer(newest[name], dtype="<i4") for name in ("grams", "codes"))
    return fusion.Reading(weights, lexicon.Lexicon(newest["texts"], *counts), scripts, dimension), newest["lexicon_id"]


def run(spark: SparkSession, lake: Lake, settings: Settings, night: Night) -> Counts:
    how, log = settings.neighbours, spark.sparkContext.accumulator([], _Log())
    misses = 1 - settings.audit.target_recall
    folder = encoder.folder_of(settings.embed.model)
    model_id = encoder.model_id(folder)
    with readied(spark, "jobs.knn:warm_up"):
        vectors = lake.read(ITEM_VECTORS, F.col("model_id") == model_id)

        def nodes_and_groups() -> tuple[DataFrame, list[Any]]:
            nodes = nodes_of(lake.read(CLEAN_ITEMS, night), how, settings.weigh).persist()
            return nodes, counted(nodes, night)

        (nodes, grouped), one, *_ = at_once(
            nodes_and_groups,
            vectors.agg(F.mode("dimension").alias("dimension")).head,
            lambda: lake.delete(AUDIT_RESULTS, night, night.verdict),
            lambda: lake.read(STAGED_NEIGHBOURS),  # what cannot be written is told before it is searched for
        )
        if one["dimension"] is None:
            raise ContractError(f"item_vectors has none of {model_id}", "run embed for this date first")
        read_as, lexicon_id = reading_of(lake, settings, folder, nodes, one["dimension"])
        speaking = nodes.where(F.col("content_hash") != BLANK)
        asked = sampled(speaking, how.recall_sample, how.seed)
    heard = [row for row in grouped if not row["blank"]]
    total, silent = sum(row["items"] for row in grouped), sum(row["items"] for row in grouped if row["blank"])
    sizes = Counter[str]()
    for row in heard:
        sizes[row["block"]] += row["nodes"]
    covers, true = covers_of(speaking, vectors, sizes, asked, read_as, how, misses)
    in_cells: dict[str, list[str]] = {}
    for row in asked:
        if row["block"] not in covers:
            in_cells.setdefault(row["node"], []).append(row["item_id"])
    with progress(spark, "neighbours", total, "items"):
        found = pairs(speaking, vectors, sizes, covers, in_cells, read_as, how, misses, log)
        lake.replace(
            STAGED_NEIGHBOURS, staged(found, night, model_id), night, empty=True, note={"lexicon_id": lexicon_id}
        )  # coverage tells: a look would search twice
    for *_, best in log.value:
        true |= best
    if missed := {item for items in in_cells.values() for item in items} - true.keys():
        raise ContractError(
            f"no cell has searched item {min(missed)}", "run neighbours again, and report it: this is a fault of the program"
        )
    published = lake.read(STAGED_NEIGHBOURS, night)
    (covered, kept), (figure, judged) = at_once(
        lambda: coverage(published, speaking, heard, how), lambda: recall(speaking, vectors, published, asked, true, read_as, how)
    )
    nodes.unpersist()
    low, high = measure.wilson(figure, judged)
    told = f"{judged:,} random items, 95 % interval {low:.4f} to {high:.4f}"
    lake.append(AUDIT_RESULTS, lake.frame(AUDIT_RESULTS, measured(settings, night, figure, told, covered)), night)
    figures = {
        "recall": figure,
        "recall_low": low,
        "recall_high": high,
        "recall_sample": judged,
        "coverage": covered,
        "blocks": len(sizes),
        "items_without_text": silent,
        "overlap_max": max((cover.overlap for cover in covers.values()), default=1),
    }
    note = f"recall@{how.k} {figure:.3f} ({low:.3f} to {high:.3f})" + (f", {silent:,} items without text" if silent else "")
    return Counts(total, kept, "pairs", figures | of_cells(log.value), note=note)


def of_cells(told: list[Any]) -> dict[str, float]:
    """Figures of the cells, from what their tasks told; a task that was run twice tells twice, and counts once."""
    cell = {key: (rows, seconds, rounds) for key, rows, _, seconds, rounds, _ in told}
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
    """The audit_results rows of what only this stage can measure, for this k; audit judges them again, by its own bounds."""
    k = settings.neighbours.k
    why_recall = "neighbours missed by the search are missing for every reader"
    why_coverage = "items without all the neighbours they could have leave gaps in every list built on them"
    return [
        (night.date, night.run_id, f"{STAGED_NEIGHBOURS.name}: {name}", "fail", figure >= bound, figure, f">= {bound:g}", reason)
        for name, figure, bound, reason in (
            (f"recall@{k}", recall, settings.audit.target_recall, f"{sample}: {why_recall}"),
            (f"coverage@{k}", coverage, settings.audit.coverage_min, f"all: {why_coverage}"),
        )
    ]
