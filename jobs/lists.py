"""The lists of a night, made anew by searching, or brought up to date from those of a night before: not computed before they are read."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
from pyspark.accumulators import AddingAccumulatorParam
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs import cells, neighbour_list, sample, task
from jobs.block_search import Search
from jobs.carried import Since
from jobs.covers import SEARCH_MISSES, SKETCH_MISSES, covers_of
from jobs.increment import Base
from jobs.lake import Lake
from jobs.night import Night
from jobs.nodes import few, with_vectors
from jobs.sections import Neighbours
from jobs.session import gpu_of_task
from jobs.tables import PARTS, STAGED_NEIGHBOURS
from jobs.work import Work, by_block

PAIRS_OF_A_PART = 10_000_000  # of what one task merges and writes: 400 MB
FEWEST_NODES = 256  # of a block whose lists are carried on: those of fewer are found sooner by comparing all


@dataclass(frozen=True)
class Made:
    """PAIR rows of all items, not computed yet; the night whose lists were last all made anew; what the tasks tell of it; true similarities
    of sampled items that are known; figures."""

    pairs: DataFrame
    made_on: date
    log: Any
    true: dict[str, sample.Vectors]
    figures: dict[str, float]
    note: str


@dataclass(frozen=True)
class Old:
    """The lists of a night before: rows of `task.OLD`, of items that are there still; what has changed since."""

    since: Since
    pairs: DataFrame


def threads_of(spark: SparkSession, loads: list[int]) -> list[int]:
    """Cores for each cell, of which this is the load: a task's own, and its share of all, but of one machine."""
    cores, own = spark.sparkContext.defaultParallelism, int(spark.conf.get("spark.task.cpus", "1") or 1)
    local = (spark.sparkContext.master or "").split("[")[0] == "local"
    room = cores if local else int(spark.conf.get("spark.executor.cores", "1") or 1)
    return [max(own, min(room, round(cores * load / sum(loads)))) for load in loads]


def carried_on(groups: list[Any], how: Neighbours) -> list[str]:
    """The blocks whose lists are carried on: neither so small that all are sooner compared, nor of more items than a cell may hold."""
    nodes, items = by_block(groups, "nodes"), by_block(groups, "items")
    return [block for block in nodes if nodes[block] >= FEWEST_NODES and items[block] <= how.cell_rows]


def pairs(work: Work, covers: dict[str, cells.Cover], log: Any, old: Old | None = None) -> DataFrame:
    """The PAIR rows of all nodes, by searching all blocks, or by carrying on their old lists."""
    spark, how, sizes = work.nodes.sparkSession, work.how, work.sizes
    cores = spark.sparkContext.defaultParallelism
    plan = cells.packed({block: size for block, size in sizes.items() if block not in covers}, how.cell_rows, cores)
    narrow = 1 + max(plan.values(), default=-1)
    loads = [0] * narrow  # of a block it grows with the square of its size
    for block, cell in plan.items():
        loads[cell] += sizes[block] ** 2
    listed = few(spark, block=pa.array(plan, pa.string()), cell=pa.array(plan.values(), pa.int32()))
    whole = with_vectors(work.nodes, work.vectors)
    cut = whole.join(listed, "block").select("cell", *whole.columns)
    for block, cover in covers.items():
        of_block = with_vectors(work.nodes.where(F.col("block") == block), work.vectors)
        cut = cut.unionByName(of_block.mapInArrow(task.placed(cover, work.reading, len(loads)), task.CELL))
        loads += [(sizes[block] * cover.overlap // len(cover.leaders)) ** 2] * len(cover.leaders)
    if old:
        carried = {block: plan[block] for block in carried_on(work.groups, how)}
        going_on = few(spark, block=pa.array(carried, pa.string()), cell=pa.array(carried.values(), pa.int32()))
        packed = old.pairs.join(going_on, "block").select("cell", *task.OLD).mapInArrow(task.packed_old, neighbour_list.PACKED)
        cut = cut.unionByName(packed.select(F.col("part").alias("cell"), F.col("lists").alias("old")), allowMissingColumns=True)
    count = len(loads)
    parts = max(count, cores, sum(sizes.values()) * (how.k + how.slack) // PAIRS_OF_A_PART)
    asked = work.asked_of(sizes.keys() - covers.keys())
    threads, promised = threads_of(spark, loads), 1 - (SKETCH_MISSES + SEARCH_MISSES) * work.misses
    target = 1 - SEARCH_MISSES * work.misses
    search = Search(how, work.reading, target, promised, narrow, threads, parts, asked, gpu_of_task)
    search_cell = task.search_cell(search, log, old.since if old else None)
    packed = cut.repartitionById(count, "cell").mapInArrow(search_cell, neighbour_list.PACKED)
    return packed.repartitionById(parts, "part").mapInArrow(neighbour_list.told(search.kept), neighbour_list.PAIR)


def made_anew(work: Work, night: Night, why: str) -> Made:
    """All lists, by searching all blocks."""
    log: Any = work.nodes.sparkSession.sparkContext.accumulator([], AddingAccumulatorParam([]))
    covers, true = covers_of(work)
    found = pairs(work, covers, log)
    figures = {
        "increment": 0.0,
        "overlap_max": max((cover.overlap for cover in covers.values()), default=1),
        "cover_seconds": sum(cover.seconds for cover in covers.values()),
    }
    return Made(found, night.date, log, true, figures, f"all anew: {why}")


def brought_up_to_date(lake: Lake, work: Work, base: Base, now: DataFrame) -> Made:
    """The lists of the base, with what has changed since. now: the `increment.Read.prints` of the night."""
    log: Any = lake.spark.sparkContext.accumulator([], AddingAccumulatorParam([]))
    parts = [F.col(f"parts.{part}").alias(part) for part in PARTS]
    lists = lake.read(STAGED_NEIGHBOURS, base.night).select("item_id", "neighbour_id", "similarity", *parts)
    found = pairs(work, {}, log, Old(base.since, lists.join(now.select("item_id", "block"), "item_id")))
    figures = {"increment": 1.0, "items_changed": len(base.since.changed), "items_removed": base.removed}
    told = f"{len(base.since.changed):,} items new or changed, {base.removed:,} gone or changed"
    return Made(found, base.made_on, log, {}, figures, f"up to date since {base.night.date}: {told}")
