"""The k most similar items of every item of the night, staged for the audit, with the recall measured on a random sample.

Exact search inside hard blocks (`block_by`): a block's items are cut into parts, and one task compares one part with the whole block, so
a task's memory is its block. k + slack pairs are kept; an item is never its own neighbour, told by id; equal similarities are ordered by
id: reruns, and other partitionings, give the same table.

Every pair of a block is compared, so time grows with the square of the largest block: 60,000 products take half a minute of two cores, a
million would take hours. Smaller blocks are the way to larger catalogues.

Recall and coverage go to `audit_results`, where audit judges them. Staging a night anew takes the old verdict away.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs import encoder, knn, measure
from jobs.errors import ContractError, SettingsError
from jobs.lake import Lake
from jobs.night import Counts, Night
from jobs.session import progress
from jobs.settings import Neighbours, Settings
from jobs.tables import AUDIT_RESULTS, CLEAN_ITEMS, ITEM_VECTORS, STAGED_NEIGHBOURS

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_BYTES = 2**31 - 1  # of a block's vectors, which travel in one Arrow column: 1.4 million items of 384 dimensions
PART_ROWS = 8192  # items of one task: its block travels once for each
CORES_ABOVE = 1000  # rows of a block that is worth a task for every core
PAIRS = "item_id string, rank int, neighbour_id string, similarity float"
EXACT = "sample int, published boolean, similarity double"


def block_of(block_by: tuple[str, ...]) -> Column:
    """The hard block an item belongs to; items without a value share a block of their own."""
    return F.to_json(F.array(*[F.coalesce(F.col(column), F.lit("")) for column in block_by])) if block_by else F.lit("")


def searchable(items: DataFrame, vectors: DataFrame, how: Neighbours) -> DataFrame:
    """item_id, source, block, vector (null where it was never computed) of every item of the night."""
    blocked = items.select("item_id", "source", "content_hash", block_of(how.block_by).alias("block"))
    found = vectors.select("content_hash", "vector").dropDuplicates(["content_hash"])
    return blocked.join(found, "content_hash", "left").select("item_id", "source", "block", "vector")


def pairs(items: DataFrame, sizes: DataFrame, how: Neighbours, cores: int) -> DataFrame:
    """The PAIRS rows of every item: its k + slack nearest."""
    parts = F.greatest(F.ceil(F.col("size") / PART_ROWS), F.when(F.col("size") > CORES_ABOVE, cores).otherwise(1))
    cut = items.join(F.broadcast(sizes), "block").withColumn("parts", parts.cast("int"))
    own = F.pmod(F.xxhash64("item_id"), "parts").cast("int").alias("own")
    travelling = cut.select("block", own, F.explode(F.sequence(F.lit(0), F.col("parts") - 1)).alias("part"), "item_id", "source", "vector")
    asked = (F.col("own") == F.col("part")).alias("asked")
    return (
        travelling.select("block", "part", asked, "item_id", "source", "vector")
        .groupBy("block", "part")
        .applyInArrow(pairs_of_part(how), PAIRS)
    )


def pairs_of_part(how: Neighbours) -> "Callable[[pa.Table], pa.Table]":
    """From a whole block, in which the items of one part are marked `asked`, to the PAIRS rows of these items."""

    def of_part(block: "pa.Table") -> "pa.Table":
        import pyarrow as pa

        block = block.sort_by("item_id")
        ids = block["item_id"].to_numpy()
        sources = block["source"].to_numpy()
        packed = block["vector"].combine_chunks()
        groups = packed.dictionary_encode().indices.to_numpy().astype(np.int64)  # items of one vector are searched once
        asked = np.flatnonzero(block["asked"].to_numpy())
        rounds = [(asked, np.arange(len(ids)))]
        if how.across == "source":
            rounds = [(asked[sources[asked] == source], np.flatnonzero(sources != source)) for source in np.unique(sources[asked])]
        vectors = unpacked(packed)
        found = [knn.nearest(vectors, groups, mine, others, how.k + how.slack) for mine, others in rounds if len(others)]
        tables = [
            pa.table({"item_id": ids[item], "rank": rank.astype(np.int32), "neighbour_id": ids[neighbour], "similarity": similarity})
            for item, rank, neighbour, similarity in found
        ]
        schema = pa.schema([("item_id", pa.string()), ("rank", pa.int32()), ("neighbour_id", pa.string()), ("similarity", pa.float32())])
        return pa.concat_tables(table.cast(schema) for table in tables) if tables else schema.empty_table()

    return of_part


def unpacked(vectors: "pa.BinaryArray") -> knn.Vectors:
    """(n, d) float32 from a binary column without nulls whose values are all of one length, as `item_vectors` guarantees."""
    flat = np.frombuffer(vectors.buffers()[2], dtype="<f4")
    offsets = np.frombuffer(vectors.buffers()[1], dtype=np.int32)[vectors.offset : vectors.offset + len(vectors) + 1] // 4
    return flat[offsets[0] : offsets[-1]].reshape(len(vectors), -1)


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


def recall(items: DataFrame, published: DataFrame, how: Neighbours) -> tuple[float, int]:
    """Mean recall@k of a seeded random sample of items against exact search over everything they may be matched with, and the number
    of items it was taken from (those that have anything to be matched with).

    The published pairs' similarities are computed anew here: a wrong one would not count.
    """
    sample = items.orderBy(F.xxhash64("item_id", F.lit(how.seed)), "item_id").limit(how.recall_sample).collect()
    ids = [row["item_id"] for row in sample]
    listed = published.where(F.col("rank") <= how.k).where(F.col("item_id").isin(ids)).select("item_id", "neighbour_id").collect()
    rows = items.select("item_id", "source", "block", "vector").mapInArrow(similarities_to(sample, listed, how), EXACT).collect()
    by_item: dict[tuple[int, bool], list[float]] = {}
    for row in rows:
        by_item.setdefault((row["sample"], row["published"]), []).append(row["similarity"])
    exact = [np.sort(by_item.get((i, False), []))[::-1][: how.k] for i in range(len(ids))]
    recalls = measure.recall_of_items([np.array(by_item.get((i, True), [])) for i in range(len(ids))], exact, how.k)
    counted = recalls[~np.isnan(recalls)]
    return (float(counted.mean()) if len(counted) else 1.0), len(counted)


def similarities_to(
    sample: list[Any], listed: list[Any], how: Neighbours
) -> "Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]":
    """Of each batch of items, for each sampled item: the k largest similarities it may have, and those of its published pairs."""
    ids = np.array([row["item_id"] for row in sample], dtype=object)
    sources = np.array([row["source"] for row in sample], dtype=object)
    blocks = np.array([row["block"] for row in sample], dtype=object)
    vectors = np.stack([np.frombuffer(row["vector"], dtype="<f4") for row in sample]).astype(np.float64)
    place = {item_id: i for i, item_id in enumerate(ids)}
    askers: dict[str, list[int]] = {}
    for row in listed:
        askers.setdefault(row["neighbour_id"], []).append(place[row["item_id"]])

    def similarities(batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        import pyarrow as pa

        for batch in batches:
            if batch.num_rows == 0:
                continue
            theirs = batch["item_id"].to_numpy(zero_copy_only=False)
            similarity = vectors @ unpacked(batch["vector"]).astype(np.float64).T
            pairs = [(asker, column) for column, other in enumerate(theirs) for asker in askers.get(other, ())]
            askers_here, columns = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
            allowed = (blocks[:, None] == batch["block"].to_numpy(zero_copy_only=False)) & (ids[:, None] != theirs)
            if how.across == "source":
                allowed &= sources[:, None] != batch["source"].to_numpy(zero_copy_only=False)
            similarity[~allowed] = -np.inf
            published = similarity[askers_here, columns]  # a pair that may not be counts as a miss
            best = -np.partition(-similarity, min(how.k, similarity.shape[1]) - 1, axis=1)[:, : how.k]
            rows, places = np.nonzero(np.isfinite(best))
            yield pa.RecordBatch.from_pydict(
                {
                    "sample": np.concatenate([askers_here, rows]).astype(np.int32),
                    "published": np.repeat([True, False], [len(askers_here), len(rows)]),
                    "similarity": np.concatenate([published, best[rows, places]]),
                }
            )

    return similarities


def coverage(published: DataFrame, items: DataFrame, possible: dict[tuple[str, str], int], k: int) -> tuple[float, int]:
    """The share of items that have all the neighbours they could have, up to k, and the number of all pairs. One Spark job."""
    per_item = published.groupBy("item_id").agg(F.count("*").alias("pairs"), F.count_if(F.col("rank") <= k).alias("found"))
    of_items = items.join(per_item, "item_id", "left").groupBy("block", "source", F.coalesce("found", F.lit(0)).alias("found"))
    rows = of_items.agg(F.count("*").alias("items"), F.sum("pairs").alias("pairs")).collect()
    complete = sum(row["items"] for row in rows if row["found"] >= possible[row["block"], row["source"]])
    return complete / sum(row["items"] for row in rows), sum(row["pairs"] or 0 for row in rows)


def possible_neighbours(counts: dict[tuple[str, str], int], how: Neighbours) -> dict[tuple[str, str], int]:
    """How many neighbours of rank ≤ k an item of a (block, source) can have, from the items of each."""
    size: dict[str, int] = {}
    for (block, _), n in counts.items():
        size[block] = size.get(block, 0) + n
    return {(block, source): min(how.k, size[block] - (n if how.across == "source" else 1)) for (block, source), n in counts.items()}


def check_searchable(grouped: list[Any], model_id: str, night: Night) -> None:
    """Raises ContractError where a vector is missing, SettingsError for a block that is too large to be searched."""
    total, bare = sum(g["items"] for g in grouped), sum(g["items"] - g["vectors"] for g in grouped)
    if bare or not total:
        raise ContractError(
            f"{bare:,} of {total:,} items of {night.date} have no vector of {model_id}", "run clean and embed for this date first"
        )
    size: dict[str, int] = {}
    for g in grouped:
        size[g["block"]] = size.get(g["block"], 0) + g["bytes"]
    if (largest := max(size.values())) > BLOCK_BYTES:
        raise SettingsError(
            f"items that are all compared with each other have vectors of {largest / 1e9:.1f} GB; exact search takes up to 2.1 GB",
            "set neighbours.block_by, so that an item is compared with those of its category or brand only",
        )


def run(spark: SparkSession, lake: Lake, settings: Settings, night: Night) -> Counts:
    how = settings.neighbours
    model_id = encoder.model_id(encoder.folder_of(settings.embed.model))
    items = searchable(lake.read(CLEAN_ITEMS, night), lake.read(ITEM_VECTORS, F.col("model_id") == model_id), how).persist()
    counts = (F.count("*").alias("items"), F.count("vector").alias("vectors"), F.sum(F.length("vector")).alias("bytes"))
    grouped = items.groupBy("block", "source").agg(*counts).collect()
    check_searchable(grouped, model_id, night)
    total = sum(g["items"] for g in grouped)
    sizes = items.groupBy("block").agg(F.count("*").alias("size"))
    lake.delete(AUDIT_RESULTS, night, night.verdict)
    with progress(spark, "neighbours", total, "items"):
        found = pairs(items, sizes, how, spark.sparkContext.defaultParallelism)
        lake.replace(STAGED_NEIGHBOURS, staged(found, night, model_id), night, empty=True)  # coverage tells: a look would search twice
    published = lake.read(STAGED_NEIGHBOURS, night)
    possible = possible_neighbours({(g["block"], g["source"]): g["items"] for g in grouped}, how)
    covered, kept = coverage(published, items, possible, how.k)
    figure, sampled = recall(items, published, how)
    items.unpersist()
    low, high = measure.wilson(figure, sampled)
    told = f"{sampled:,} random items, 95 % interval {low:.4f} to {high:.4f}"
    lake.append(AUDIT_RESULTS, lake.frame(AUDIT_RESULTS, measured(settings, night, figure, told, covered)), night)
    figures = {
        "recall": figure,
        "recall_low": low,
        "recall_high": high,
        "recall_sample": sampled,
        "coverage": covered,
        "blocks": len({g["block"] for g in grouped}),
    }
    return Counts(total, kept, "pairs", figures, note=f"recall@{how.k} {figure:.3f} ({low:.3f} to {high:.3f})")


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
