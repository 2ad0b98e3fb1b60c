"""What was found of a night's neighbours, against what is true: the recall of a sample, and how many items have all they could have."""

from typing import Any

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs import fusion, measure, sample, task
from jobs.nodes import few, known_items, others, read, with_vectors
from jobs.sections import Neighbours

AT_ONCE = 32  # sampled items that are compared with all of their neighbours


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


def coverage(found: DataFrame, nodes: DataFrame, groups: list[Any], how: Neighbours) -> tuple[float, int]:
    """The share of items that have all the neighbours they could have, up to k, and the number of all pairs.

    groups: block, source and items of each group of nodes.
    """
    items = found.groupBy("item_id").agg(F.count("*").alias("pairs"), F.count_if(F.col("rank") <= how.k).alias("found"))
    if limited := [other for other in others(groups, how) if other[2] < how.k]:
        limits = few(nodes.sparkSession, **dict(zip(("block", "source", "most"), zip(*limited, strict=True), strict=True)))
        named = nodes.join(limits, ["block", "source"]).select(F.explode("members").alias("item_id"), "most")
        items = items.join(named, "item_id", "left").fillna(how.k, "most")
    else:
        items = items.withColumn("most", F.lit(how.k))
    row = items.agg(F.count_if(F.col("found") >= F.col("most")).alias("complete"), F.sum("pairs").alias("pairs")).collect()[0]
    alone = sum(group["items"] for group, (*_, most) in zip(groups, others(groups, how), strict=True) if not most)
    return (row["complete"] + alone) / max(1, sum(group["items"] for group in groups)), row["pairs"] or 0


def recall(
    nodes: DataFrame,
    vectors: DataFrame,
    found: DataFrame,
    asked: list[Any],
    true: dict[str, sample.Vectors],
    reading: fusion.Reading,
    how: Neighbours,
) -> tuple[float, int]:
    """Mean recall@k of the sampled items, and the number of them it was taken from: those that have anything to be matched with.

    The published pairs' similarities are computed anew here: a wrong one would not count, and a pair that may not be counts as a miss.
    """
    own = {row["item_id"]: row for row in asked}
    top = found.where(F.col("rank") <= how.k).select("item_id", "neighbour_id")
    listed = top.join(few(nodes.sparkSession, item_id=list(own)), "item_id", "left_semi").collect()
    known = known_items(nodes, vectors, [*own, *(row["neighbour_id"] for row in listed)])
    neighbours: dict[str, list[str]] = {item_id: [] for item_id in own}
    for item_id, neighbour_id in listed:
        mine, other = known[item_id], known.get(neighbour_id)
        if other is not None and other["block"] == mine["block"] and not (how.across and other["source"] == mine["source"]):
            neighbours[item_id].append(neighbour_id)
    place = {item_id: row for row, item_id in enumerate(known)}
    every = read(list(known.values()), reading)
    items, similarities = list(neighbours), list[sample.Vectors]()
    for start in range(0, len(items), AT_ONCE):
        some = items[start : start + AT_ONCE]
        near = [name for item_id in some for name in neighbours[item_id]]
        rows, columns = (np.array([place[name] for name in names], dtype=np.int64) for names in (some, near))
        values = fusion.compared(every[rows], every[columns], reading.weights)
        ends = np.cumsum([len(neighbours[item_id]) for item_id in some])
        similarities += [part[row] for row, part in enumerate(np.split(values, ends[:-1], axis=1))]
    recalls = measure.recall_of_items(similarities, [true[item_id] for item_id in items], how.k)
    counted = recalls[~np.isnan(recalls)]
    return (float(counted.mean()) if len(counted) else 1.0), len(counted)
