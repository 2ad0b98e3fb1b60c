"""Computes the vectors the lake lacks: one for each (model, text), once ever.

Only texts that are new under this model are encoded, on the executors, by workers that load the model once and keep it. Nothing is
visible before the one commit at the end. What the encoder does is not decided here but in `encoder`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs import encoder
from jobs.errors import ContractError
from jobs.lake import Lake
from jobs.night import Counts, Night
from jobs.session import progress
from jobs.settings import Settings
from jobs.tables import CLEAN_ITEMS, ITEM_VECTORS

if TYPE_CHECKING:
    import pyarrow as pa

TEXTS_A_TASK = 2000  # titles: some twenty seconds on one core; enough to sort by length, small enough to show progress
TEXTS_OF_ONE_WORKER = 500  # loading the encoder takes a worker ten seconds: fewer texts are not worth a second one


def missing(items: DataFrame, vectors: DataFrame) -> DataFrame:
    """content_hash, text: each text of the night that has no vector yet, once."""
    return items.select("content_hash", "text").dropDuplicates(["content_hash"]).join(vectors, "content_hash", "left_anti")


def encoded(texts: DataFrame, folder: Path, model_id: str, batch_tokens: int, columns: str) -> DataFrame:
    """One row of item_vectors for each text."""

    def encode(batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        import numpy as np
        import pyarrow as pa

        received = list(batches)
        if not received:  # fewer texts than tasks
            return
        table = pa.Table.from_batches(received)
        texts = table["text"].to_pylist()
        vectors = encoder.load(folder).encode(texts, batch_tokens)
        said = np.array([bool(text) for text in texts])
        vectors[~said] = 0  # what an encoder makes of no text at all would be everybody's neighbour who has none either
        hashes = table["content_hash"].combine_chunks()
        bad = np.flatnonzero(~(np.abs(np.linalg.norm(vectors, axis=1) - said) < 1e-3))  # written so that nan is bad too
        if len(bad):
            text = table["text"][int(bad[0])].as_py()
            raise ContractError(
                f"{model_id} gave {len(bad)} vectors that are not of unit length, the first for the text {text[:80]!r}",
                "see that embed.model is a working encoder",
            )
        count, dimension = vectors.shape
        offsets = np.arange(0, 4 * dimension * (count + 1), 4 * dimension, dtype=np.int32)
        packed = pa.Array.from_buffers(
            pa.binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(vectors, dtype="<f4"))]
        )
        yield pa.RecordBatch.from_arrays(
            [pa.array([model_id] * count), hashes, pa.array(np.full(count, dimension, dtype=np.int32)), packed],
            names=["model_id", "content_hash", "dimension", "vector"],
        )

    return texts.mapInArrow(encode, columns)


def tasks_for(texts: int, cores: int) -> int:
    """As many tasks as keep every core at work to the end; one where the texts are few."""
    return 1 if texts <= TEXTS_OF_ONE_WORKER else cores * -(-texts // (TEXTS_A_TASK * cores))


def run(spark: SparkSession, lake: Lake, settings: Settings, night: Night) -> Counts:
    folder = encoder.folder_of(settings.embed.model)
    model_id = encoder.model_id(folder)
    items = lake.read(CLEAN_ITEMS, night)
    texts = missing(items, lake.read(ITEM_VECTORS, F.col("model_id") == model_id)).persist()
    total, new = items.count(), texts.count()
    if total == 0:
        raise ContractError(f"clean_items has no rows for {night.date}", "run ingest, validate and clean for this date first")
    if new:
        tasks = tasks_for(new, spark.sparkContext.defaultParallelism)
        print(f"embed: {new:,} new texts of {total:,} items with {model_id}", flush=True)
        with progress(spark, "embed", new, "texts"):
            vectors = encoded(
                texts.repartition(tasks, F.col("content_hash")), folder, model_id, settings.embed.batch_tokens, ITEM_VECTORS.ddl
            )
            lake.append(ITEM_VECTORS, vectors, night, {"model_id": model_id})
    texts.unpersist()
    return Counts(total, new, "new vectors", note=f"{total:,} items")
