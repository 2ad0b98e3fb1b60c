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

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.accumulators import AccumulatorParam
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs import cells, encoder, fusion, increment, lexicon, measure, neighbour_list, published, sample, script, task
from jobs.errors import ContractError
from jobs.increment import Base
from jobs.lake import Lake
from jobs.night import Counts, Night
from jobs.nodes import BLANK, NAME, counted, few, items_of, known_items, nodes_of, others, read, sampled, with_vectors
from jobs.recall import coverage, nearest_of_sample, recall
from jobs.session import at_once, gpu_of_task, progress, readied
from jobs.settings import Neighbours, Settings
from jobs.tables import AUDIT_RESULTS, CLEAN_ITEMS, ITEM_VECTORS, LEXICONS, PARTS, STAGED_NEIGHBOURS

# shares of what the target allows to miss: because signatures are sketches, the same in every cell; by the search of one cell; of a covered
# block in all. What is left keeps the interval of what is measured above the target.
SKETCH_MISSES, SEARCH_MISSES, COVER_MISSES = 0.3, 0.6, 0.8
PAIRS_OF_A_PART = 10_000_000  # of what one task merges and writes: 400 MB
COVER_SAMPLE = 20_000  # vectors of a large block, from which its cells are made: 30 MB
COVER_ASKED = 500  # of these, whose true neighbours tell how far its cells have to overlap; others tell the recall


def cover_of(
    nodes: DataFrame, vectors: DataFrame, size: int, asked: list[Any], reading: fusion.Reading, how: Neighbours, misses: float
) -> tuple[cells.Cover, dict[str, sample.Vectors]]:
    """The cover of one block, of `size` nodes, and the true similarities of the sampled items in it."""
    chosen, others = at_once(
        nodes.select(F.expr(NAME).alias("name")).orderBy(F.xxhash64("name", F.lit(how.seed)), "name").limit(COVER_SAMPLE).collect,
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
    search = task.Search(how, reading, 1 - SEARCH_MISSES * misses, promised, narrow, threads_of(spark, work), parts, asked, gpu_of_task)
    packed = cut.repartitionById(count, "cell").mapInArrow(task.search_cell(search, log), neighbour_list.PACKED)
    return packed.repartitionById(parts, "part").mapInArrow(neighbour_list.told(search.kept), neighbour_list.PAIR)


def staged(found: DataFrame, night: Night, model_id: str, fingerprint: str, items_read: str, made_on: date) -> DataFrame:
    """The rows of staged_neighbours of PAIR rows."""
    return found.select(
        F.lit(night.date).alias("snapshot_date"),
        "item_id",
        "rank",
        "neighbour_id",
        "similarity",
        F.struct(*PARTS).alias("parts"),
        F.lit(model_id).alias("model_id"),
        F.lit(night.run_id).alias("run_id"),
        F.lit(fingerprint).alias("fingerprint"),
        F.lit(items_read).alias("items_read"),
        F.lit(made_on).alias("made_on"),
    )


def reading_of(lake: Lake, settings: Settings, folder: Path, nodes: DataFrame, dimension: int) -> tuple[fusion.Reading, str]:
    """How the night's items are read, and the lexicon's id. Raises ContractError if no lexicon has been counted that fits them."""
    weights = np.array(settings.neighbours.weights.scaled, dtype=np.float32)
    scripts = script.weights(script.known_to(folder) if weights[0] and weights[1] else {})
    if not weights[1:3].any():
        return fusion.Reading(weights, lexicon.counted(pa.array([], pa.string())), scripts, dimension), ""
    texts, reading = nodes.select("fields").distinct().count(), settings.weigh.reading
    first = lake.read(LEXICONS, lexicon.fitting_sql(reading, texts)).orderBy(*lexicon.FIRST).head()
    if first is None:
        raise ContractError(f"there is no lexicon of {reading} for {texts:,} texts", "run weigh for this date first")
    counts = (np.frombuffer(first[name], dtype="<i4") for name in ("grams", "codes"))
    return fusion.Reading(weights, lexicon.Lexicon(first["texts"], *counts), scripts, dimension), first["lexicon_id"]


def nodes_by_block(groups: list[Any]) -> Counter[str]:
    found = Counter[str]()
    for group in groups:
        found[group["block"]] += group["nodes"]
    return found


@dataclass(frozen=True)
class Work:
    """All that the night's lists are made of: `items` and `nodes` that have a text, the vectors, the groups of nodes, the sampled items,
    and how they are read."""

    items: DataFrame
    nodes: DataFrame
    vectors: DataFrame
    groups: list[Any]
    asked: list[Any]
    reading: fusion.Reading
    how: Neighbours
    misses: float

    @cached_property
    def sizes(self) -> Counter[str]:
        """Nodes of each block."""
        return nodes_by_block(self.groups)

    def asked_of(self, blocks: Iterable[str]) -> dict[str, list[str]]:
        """The sampled items of the blocks, by node."""
        within, found = set(blocks), dict[str, list[str]]()
        for row in self.asked:
            if row["block"] in within:
                found.setdefault(row["node"], []).append(row["item_id"])
        return found


@dataclass(frozen=True)
class Made:
    """PAIR rows of all items, not computed yet; the night whose lists were last all made anew; what the tasks tell of it; true similarities
    of sampled items that are known; figures; frames that are cached for it."""

    pairs: DataFrame
    made_on: date
    log: Any
    true: dict[str, sample.Vectors]
    figures: dict[str, float]
    note: str
    cached: tuple[DataFrame, ...] = ()


def made_anew(work: Work, night: Night, why: str) -> Made:
    """All lists, by searching all blocks."""
    log = work.nodes.sparkSession.sparkContext.accumulator([], _Log())
    covers, true = covers_of(work.nodes, work.vectors, work.sizes, work.asked, work.reading, work.how, work.misses)
    asked = work.asked_of(work.sizes.keys() - covers.keys())
    found = pairs(work.nodes, work.vectors, work.sizes, covers, asked, work.reading, work.how, work.misses, log)
    figures = {"increment": 0.0, "overlap_max": max((cover.overlap for cover in covers.values()), default=1)}
    return Made(found, night.date, log, true, figures, f"all anew: {why}")


def base_of(lake: Lake, settings: Settings, night: Night, items: DataFrame, groups: list[Any], fingerprint: str) -> tuple[Base | None, str]:
    """The night whose lists can be brought up to date, else why there is none."""
    total, sizes = sum(group["items"] for group in groups), nodes_by_block(groups)
    if not settings.neighbours.increments:
        return None, "neighbours.increments is off, or --full was asked for"
    if total < increment.FEWEST:
        return None, "so few items are searched sooner than compared with another night"
    if max(sizes.values()) > settings.neighbours.cell_rows:
        return None, "a block is too large for one cell"
    last = published.last(lake, night)
    if last is None:
        return None, "no night before it is published"
    then = spoken(lake, settings, last)
    stamp = increment.stamp(lake, last)
    if why := increment.refusal(stamp, last, night, fingerprint, increment.checksum(then), settings.neighbours.full_days):
        return None, why
    changes = increment.between(then, items, increment.most(total))
    if changes is None:
        return None, f"too many of the items are not what they were on {last.date}"
    return Base(last, stamp["made_on"], *changes), ""


def spoken(lake: Lake, settings: Settings, night: Night) -> DataFrame:
    """`nodes.items_of` of the night's items that have a text."""
    items = lake.read(CLEAN_ITEMS, night).where(F.col("content_hash") != BLANK)
    return items_of(items, settings.neighbours, settings.weigh)


def brought_up_to_date(lake: Lake, work: Work, base: Base, then: DataFrame) -> Made | str:
    """The lists of the base, with what has changed since; or why they have to be made anew. then: items of the base, as `Work.items`."""
    how, spark = work.how, lake.spark
    log, kept = spark.sparkContext.accumulator([], _Log()), how.k + how.slack
    parts = [F.col(f"parts.{part}").alias(part) for part in PARTS]
    lists = lake.read(STAGED_NEIGHBOURS, base.night).select("item_id", "rank", "neighbour_id", "similarity", *parts)
    groups_then = then.groupBy("block", "source").agg(F.count("*").alias("items")).collect()
    ended = increment.ends(lists, base, work.items, how, groups_then, work.groups).persist()
    most = increment.most(sum(group["items"] for group in work.groups))
    short = [row["item_id"] for row in ended.where("short").select("item_id").limit(most + 1).collect()]
    if len(base.changed) + len(short) > most:
        ended.unpersist()
        return f"too many of the lists have lost their neighbours since {base.night.date}"
    flags = increment.flags(work.nodes, base, ended, short).persist()
    nodes = work.nodes.withColumn("name", F.expr(NAME)).join(flags, "name").drop("name")
    blocks = {row["block"] for row in nodes.where("wanted").select("block").distinct().collect()} | {row["block"] for row in work.asked}
    sizes = {block: work.sizes[block] for block in blocks}
    plan = cells.packed(sizes, how.cell_rows, spark.sparkContext.defaultParallelism)
    loads = [0] * (1 + max(plan.values()))
    for block, cell in plan.items():
        loads[cell] += sizes[block]
    threads, asked = threads_of(spark, loads), work.asked_of(blocks)
    search = task.Search(how, work.reading, 1, 1, len(loads), threads, len(loads), asked, gpu_of_task)
    met = increment.compared(nodes, work.vectors, plan, search, log).persist()
    replaced = nodes.where("wanted").select(F.explode("members").alias("item_id"))
    found = increment.merged(lists, met, replaced, base, ended, kept)
    figures = {"increment": 1.0, "items_changed": len(base.changed), "items_removed": len(base.removed), "lists_refilled": len(short)}
    told = f"{len(base.changed):,} items new or changed, {len(base.removed):,} gone or changed, {len(short):,} lists refilled"
    return Made(found, base.made_on, log, {}, figures, f"up to date since {base.night.date}: {told}", (ended, flags, met))


def judged(work: Work, made: Made, found: DataFrame) -> dict[str, float]:
    """Recall and coverage of what was staged, and the cells it was found in."""
    true = dict(made.true)
    for told in made.log.value:
        true |= told.true
    if missed := {row["item_id"] for row in work.asked} - true.keys():
        raise ContractError(
            f"no cell has searched item {min(missed)}", "run neighbours again, and report it: this is a fault of the program"
        )
    (covered, kept), (figure, count) = at_once(
        lambda: coverage(found, work.nodes, work.groups, work.how),
        lambda: recall(work.nodes, work.vectors, found, work.asked, true, work.reading, work.how),
    )
    every = sum(group["items"] for group in work.groups) <= len(work.asked)
    low, high = (figure, figure) if every else measure.wilson(figure, count)
    return {
        "pairs": kept,
        "recall": figure,
        "recall_low": low,
        "recall_high": high,
        "recall_sample": count,
        "coverage": covered,
        "items_alone": sum(
            group["items"] for group, (*_, most) in zip(work.groups, others(work.groups, work.how), strict=True) if not most
        ),
        "blocks": len(work.sizes),
        **of_cells(made.log.value),
    }


def run(spark: SparkSession, lake: Lake, settings: Settings, night: Night) -> Counts:
    how = settings.neighbours
    folder = encoder.folder_of(settings.embed.model)
    model_id = encoder.model_id(folder)
    with readied(spark, "jobs.knn:warm_up"):
        vectors = lake.read(ITEM_VECTORS, F.col("model_id") == model_id)

        def nodes_and_groups() -> tuple[DataFrame, list[Any]]:
            nodes = nodes_of(items_of(lake.read(CLEAN_ITEMS, night), how, settings.weigh)).persist()
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
        items, decided = spoken(lake, settings, night), increment.fingerprint(how, model_id, lexicon_id)
        heard = [row for row in grouped if not row["blank"]]
        asked, items_read, (base, why) = at_once(
            lambda: sampled(speaking, how.recall_sample, how.seed),
            lambda: increment.checksum(items),
            lambda: base_of(lake, settings, night, items, heard, decided),
        )
    work = Work(items, speaking, vectors, heard, asked, read_as, how, 1 - settings.audit.target_recall)
    total, silent = sum(row["items"] for row in grouped), sum(row["items"] for row in grouped if row["blank"])

    def figures_of(made: Made) -> dict[str, float]:
        print(f"neighbours: lists {made.note}", flush=True)
        with progress(spark, "neighbours", total, "items"):
            rows = staged(made.pairs, night, model_id, decided, items_read, made.made_on)
            lake.replace(STAGED_NEIGHBOURS, rows, night, empty=True)  # coverage tells: a look would search twice
        figures = judged(work, made, lake.read(STAGED_NEIGHBOURS, night))
        for frame in made.cached:
            frame.unpersist()
        return figures

    made = brought_up_to_date(lake, work, base, spoken(lake, settings, base.night)) if base else why
    if isinstance(made, Made):
        figures = figures_of(made)
        if figures["recall"] < settings.audit.target_recall:
            made = f"brought up to date they had a recall of {figures['recall']:.3f}"
    if isinstance(made, str):
        made = made_anew(work, night, made)
        figures = figures_of(made)
    nodes.unpersist()
    figure, low, high = (figures[name] for name in ("recall", "recall_low", "recall_high"))
    random = f"random items, 95 % interval {low:.4f} to {high:.4f}" if low < high else "items, all that may have neighbours"
    told = f"{figures['recall_sample']:,} {random}"
    lake.append(AUDIT_RESULTS, lake.frame(AUDIT_RESULTS, measured(settings, night, figure, told, figures["coverage"])), night)
    interval = f" ({low:.3f} to {high:.3f})" if low < high else ""
    note = f"recall@{how.k} {figure:.3f}{interval}, {made.note}" + (f", {silent:,} items without text" if silent else "")
    if alone := int(figures["items_alone"]):
        note += f", {alone:,} items with none that they may be matched with"
    if searched_in := {entry.effort.precision for entry in made.log.value} - {""}:
        note += f", searched in {' and '.join(sorted(searched_in))}"
    settled = {"k": how.k, "slack": how.slack} | {f"weight_{part}": weight for part, weight in how.weights.model_dump().items()}
    figures |= made.figures | settled | {"items_without_text": silent}
    return Counts(total, int(figures.pop("pairs")), "pairs", figures, note=note)


def of_cells(told: list[task.Told]) -> dict[str, float]:
    """Figures of the cells, from what their tasks told; a task that was run twice tells twice, and counts once."""
    searched = {entry.cell: entry for entry in told}.values()
    if not searched:
        return {}
    rows, seconds = (np.array(column, dtype=float) for column in zip(*((cell.nodes, cell.seconds) for cell in searched), strict=True))
    effort = task.Effort.most(cell.effort for cell in searched)
    return {
        "cells": len(searched),
        "cell_nodes_max": rows.max(),
        "cell_skew": rows.max() / rows.mean(),
        "cell_seconds_median": round(float(np.median(seconds)), 3),
        "cell_seconds_max": round(seconds.max(), 3),
        "search_rounds_max": effort.rounds,
    } | ({"candidates_max": effort.candidates, "pilot_recall_min": effort.pilot_recall} if effort.candidates else {})


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
