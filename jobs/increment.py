"""Brings the lists of a published night up to date, instead of making all of them anew.

What an item is matched with is decided by what is read of it. The items that are read otherwise than in the night before, and new ones, are
compared with everything they may be matched with: that gives their own lists, and tells in whose lists they belong. Items that are gone
leave the lists they were in.

A list is the beginning of all that its item could be matched with, in the order of similarity. So of new neighbours only those count that
come before its old end: beyond it there may be others, which nobody has kept. k + slack are kept, and a list that has become shorter than k
is made anew, by comparing its item with everything.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs import fusion, neighbour_list, task
from jobs.lake import Lake
from jobs.night import Night
from jobs.nodes import NAME, few, with_most, with_vectors
from jobs.settings import Neighbours
from jobs.tables import STAGED_NEIGHBOURS

SHARE, MOST = 0.1, 20_000  # of the items, and of all: where more have to be compared with everything, a full search is faster
FEWEST = 20_000  # items of a night that is worth it: the lists of fewer are found sooner than compared with the last night's
COMPLETE = -2.0  # floor of a list that has all there is: below every similarity


@dataclass(frozen=True)
class Base:
    """A published night, the one whose lists it carries on, and what has changed since: ids of items that are new or read otherwise, and of
    those that are not read as they were any more."""

    night: Night
    made_on: date
    changed: list[str]
    removed: list[str]


def fingerprint(how: Neighbours, model_id: str, lexicon_id: str) -> str:
    """12 hex digits that change with all that decides a list, but for the items: lists of one fingerprint can continue each other."""
    decided = [fusion.VERSION, model_id, lexicon_id, how.weights.scaled, how.k, how.slack, how.block_by, how.across]
    return hashlib.sha256(json.dumps(decided).encode()).hexdigest()[:12]


def most(items: int) -> int:
    """How many of the items may be compared with everything."""
    return min(int(SHARE * items), MOST)


def stamp(lake: Lake, night: Night) -> Any:
    """What is stored with all lists of the night, if there are any: run_id, fingerprint, items_read, made_on."""
    return lake.read(STAGED_NEIGHBOURS, night).select("run_id", "fingerprint", "items_read", "made_on").head()


def refusal(staged: Any, last: Night, night: Night, fingerprint: str, items_read: str, full_days: int) -> str | None:
    """Why the last night's lists cannot be continued, if they cannot. staged: their `stamp`. items_read: `checksum` of its items as they
    are now."""
    if staged is not None and staged["fingerprint"] != fingerprint:
        return f"{last.date} was made with another encoder, lexicon or other settings"
    if staged is None or staged["run_id"] != last.run_id or staged["items_read"] != items_read:
        return f"items or lists of {last.date} are not those that were published any more"
    if staged["made_on"] is None:
        return f"{last.date} does not tell when its lists were last all made anew"
    if (night.date - staged["made_on"]).days >= full_days:
        return f"they were last on {staged['made_on']}, {(night.date - staged['made_on']).days} days ago"
    return None


def _print() -> Column:
    return F.xxhash64("item_id", "block", "source", "content_hash", *fusion.READ)


def checksum(items: DataFrame) -> str:
    """Of rows of `nodes.items_of`, in any order."""
    return str(items.agg(F.sum(_print().cast("decimal(38,0)")).alias("sum")).collect()[0]["sum"])


def between(then: DataFrame, now: DataFrame, most: int) -> tuple[list[str], list[str]] | None:
    """From items of `nodes.items_of` of two nights: ids of those that are new or read otherwise now, and of those that are not read as they
    were. None if there are more than `most`."""
    before, after = then.select("item_id", _print().alias("before")), now.select("item_id", _print().alias("after"))
    unlike = before.join(after, "item_id", "full_outer").where("NOT (before <=> after)").limit(most + 1)
    rows = unlike.select("item_id", F.isnotnull("after").alias("changed"), F.isnotnull("before").alias("removed")).collect()
    if len(rows) > most:
        return None
    return [row["item_id"] for row in rows if row["changed"]], [row["item_id"] for row in rows if row["removed"]]


def ends(lists: DataFrame, base: Base, now: DataFrame, how: Neighbours, groups_then: list[Any], groups: list[Any]) -> DataFrame:
    """One row an item that is read as it was: item_id; whether its list has to be made anew (short) or has neighbours that are gone (lost);
    the similarity from which on new neighbours count (floor)."""
    kept, spark = how.k + how.slack, now.sparkSession
    gone = few(spark, neighbour_id=pa.array(base.removed, pa.string()), gone=pa.array([True] * len(base.removed), pa.bool_()))
    of_item = lists.join(gone, "neighbour_id", "left").groupBy("item_id")
    had = of_item.agg(F.count("*").alias("pairs"), F.count("gone").alias("lost"), F.min("similarity").alias("floor"))
    same = now.select("item_id", "block", "source").join(few(spark, item_id=pa.array(base.changed, pa.string())), "item_id", "left_anti")
    found = same.join(had, "item_id", "left").fillna(0, ["pairs", "lost"])
    found = with_most(with_most(found, groups_then, how, kept, "could_then"), groups, how, how.k, "could")
    complete = (F.col("pairs") == F.col("could_then")) & (F.col("could_then") < kept)
    return found.select(
        "item_id",
        (F.col("pairs") - F.col("lost") < F.col("could")).alias("short"),
        (F.col("lost") > 0).alias("lost"),
        F.when(complete | (F.col("pairs") == 0), F.lit(COMPLETE)).otherwise(F.col("floor")).cast("float").alias("floor"),
    )


def flags(nodes: DataFrame, base: Base, ended: DataFrame, short: list[str]) -> DataFrame:
    """One row a node: its name, wanted, changed and floor as in `task.CHANGED`."""
    wanted = [*base.changed, *short]
    changed = pa.array([True] * len(base.changed) + [False] * len(short), pa.bool_())
    listed = few(nodes.sparkSession, item_id=pa.array(wanted, pa.string()), changed=changed)
    items = nodes.select(F.expr(NAME).alias("name"), F.explode("members").alias("item_id"))
    of_item = items.join(listed, "item_id", "left").join(ended.select("item_id", "floor"), "item_id", "left")
    flagged = F.coalesce(F.max("changed"), F.lit(False)).alias("changed")
    return of_item.groupBy("name").agg(F.max(F.isnotnull("changed")).alias("wanted"), flagged, F.min("floor").alias("floor"))


def compared(nodes: DataFrame, vectors: DataFrame, plan: Mapping[str, int], search: task.Search, log: Any) -> DataFrame:
    """The PAIR rows of the wanted nodes, and of the others those of changed ones that come before their floor.

    plan: the cell of each block that has to be looked at.
    """
    listed = few(nodes.sparkSession, block=pa.array(plan, pa.string()), cell=pa.array(plan.values(), pa.int32()))
    cut = with_vectors(nodes, vectors, "wanted", "changed", "floor").join(listed, "block")
    packed = cut.repartitionById(len(search.threads), "cell").mapInArrow(task.compare_cell(search, log), neighbour_list.PACKED)
    return packed.repartitionById(search.parts, "part").mapInArrow(neighbour_list.told(search.kept), neighbour_list.PAIR)


def merged(lists: DataFrame, met: DataFrame, replaced: DataFrame, base: Base, ended: DataFrame, kept: int) -> DataFrame:
    """PAIR rows of the night: the lists of the base without what is gone, with what was met.

    lists: PAIR rows of the base. met: of `compared`; whole lists of the items that are `replaced`, of others new neighbours.
    """
    spark, columns = lists.sparkSession, lists.columns
    removed, changed = (few(spark, name=pa.array(ids, pa.string())) for ids in (base.removed, base.changed))
    replaced = F.broadcast(replaced)
    old = lists.join(removed, F.col("item_id") == F.col("name"), "left_anti").join(replaced, "item_id", "left_anti")
    new = met.join(replaced, "item_id", "left_semi").unionByName(
        met.join(replaced, "item_id", "left_anti").join(changed, F.col("neighbour_id") == F.col("name"), "left_semi")
    )
    touched = ended.where("lost").select("item_id").unionByName(new.select("item_id")).distinct()
    gone = few(spark, neighbour_id=pa.array(base.removed, pa.string()), gone=pa.array([True] * len(base.removed), pa.bool_()))
    both = (
        old.join(touched, "item_id", "left_semi")
        .join(gone, "neighbour_id", "left")
        .select(*columns, "gone", F.lit(True).alias("old"))
        .unionByName(new.select(*columns, F.lit(None).cast("boolean").alias("gone"), F.lit(False).alias("old")))
        .join(ended.where(F.col("floor") == COMPLETE).select("item_id", F.lit(True).alias("complete")), "item_id", "left")
    )
    item = Window.partitionBy("item_id")
    order = item.orderBy(F.desc("similarity"), "neighbour_id")
    placed = both.withColumn("n", F.row_number().over(order)).withColumn("end", F.max(F.when(F.col("old"), F.col("n"))).over(item))
    known = placed.where("gone IS NULL AND (complete OR end IS NULL OR n <= end)")
    ranked = known.withColumn("rank", F.row_number().over(order)).where(F.col("rank") <= kept)
    return old.join(touched, "item_id", "left_anti").select(*columns).unionByName(ranked.select(*columns))
