"""Computes the vectors the lake lacks: one for each (model, text), once ever.

Only texts that are new under this model are encoded, on the executors, by workers that load the model once and keep it. A long first
embed is committed in several parts, each of them whole vectors of whole texts: a night that is killed goes on from the last one. What the
encoder does is not decided here but in `encoder`.

Which texts a task has, and in which order, depends on the texts alone that were missing, not on the machines: what is computed beside a
text can be seen in the last digits of its vector, so a laptop and a cluster of the same CPUs make the same vectors, unless one of them was
interrupted between two parts.
"""

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark import TaskContext
from pyspark.accumulators import AddingAccumulatorParam
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs import encoder
from jobs.errors import ContractError, ToolchainError
from jobs.lake import Lake
from jobs.night import Counts, Night
from jobs.session import at_once, gpu_of_task, progress, readied
from jobs.settings import Settings
from jobs.tables import CLEAN_ITEMS, ITEM_VECTORS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

TEXTS_A_TASK = 1000  # titles: some seconds of one core; enough to sort by length, few enough for many cores
TEXTS_A_GPU_TASK = 20_000  # of which some are tokenised while others are computed
TASKS_A_COMMIT = 50  # of each core: some minutes, beside which a commit's second is little


@dataclass(frozen=True)
class Told:
    """What a task tells of its work; `task` is the same should it be run twice."""

    task: tuple[int, int]  # part and partition
    texts: int
    tokens: int
    padding: int
    truncated: int
    unknown: int
    began: float  # seconds since the epoch, the encoder loaded
    ended: float
    by: str


def missing(items: DataFrame, vectors: DataFrame) -> DataFrame:
    """content_hash, text: each text of the night that has no vector yet, once."""
    return items.select("content_hash", "text").dropDuplicates(["content_hash"]).join(vectors, "content_hash", "left_anti")


def encoded(texts: DataFrame, folder: Path, model_id: str, batch_tokens: int | None, part: int, log: Any) -> DataFrame:
    """One row of item_vectors for each text."""

    def encode(batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        import pyarrow as pa

        received = list(batches)
        if not received:  # fewer texts than tasks
            return
        table = pa.Table.from_batches(received).sort_by("content_hash")
        texts = table["text"].to_pylist()
        context: Any = TaskContext.get()  # there is one: this is a task
        loaded = loaded_as(model_id, folder, gpu_of_task())
        began = time.time()
        found = loaded.encode(texts, batch_tokens, threads=context.cpus())
        by, task = f"{loaded.precision} on {loaded.kind}", (part, context.partitionId())
        log.add([Told(task, len(texts), found.tokens, found.padding, found.truncated, found.unknown, began, time.time(), by)])
        yield rows(table["content_hash"].combine_chunks(), sound(found.vectors, texts, model_id), model_id)

    return texts.mapInArrow(encode, ITEM_VECTORS.ddl)


@lru_cache(maxsize=1)
def loaded_as(model_id: str, folder: Path, device: str | None) -> encoder.Encoder:
    """The folder's encoder; kept as `encoder.load` keeps it. Raises ToolchainError if on this machine it is not the one of that id: its
    vectors would be stored as those of another."""
    if (here := encoder.model_id(encoder.folder_of(str(folder)))) != model_id:
        raise ToolchainError(
            f"the model in {folder} on {socket.gethostname()} is {here}, the driver's is {model_id}",
            "put the same folder on every machine, and run embed again",
        )
    return encoder.load(folder, device)


def sound(vectors: "npt.NDArray[np.float32]", texts: list[str], model_id: str) -> "npt.NDArray[np.float32]":
    """The vectors, zero for texts that are empty. Raises ContractError where one is neither zero nor of unit length."""
    import numpy as np

    said = np.array([bool(text) for text in texts])
    found = np.where(said[:, None], vectors, np.float32(0))  # what an encoder makes of no text would be near all others that have none
    norms = np.linalg.norm(found, axis=1)  # 0 is what a table of words makes of a text that has none of them
    bad = np.flatnonzero(~((np.abs(norms - 1) < 1e-3) | (norms == 0)))  # written so that nan is bad too
    if len(bad):
        raise ContractError(
            f"{model_id} gave {len(bad)} vectors that are not of unit length, the first for the text {texts[int(bad[0])][:80]!r}",
            "see that embed.model is a working encoder",
        )
    return found


def rows(hashes: "pa.Array", vectors: "npt.NDArray[np.float32]", model_id: str) -> "pa.RecordBatch":
    """Rows of item_vectors: vectors (n, d) cross into Spark as one buffer."""
    import numpy as np
    import pyarrow as pa

    count, dimension = vectors.shape
    packed = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(4 * dimension), count, [None, pa.py_buffer(np.ascontiguousarray(vectors, dtype="<f4"))]
    )
    columns = [pa.array([model_id] * count), hashes, pa.array(np.full(count, dimension, dtype=np.int32)), packed.cast(pa.binary())]
    return pa.RecordBatch.from_arrays(columns, names=list(ITEM_VECTORS.column_names))


def figures(told: list[Told]) -> dict[str, float]:
    """Figures of the stage, from what its tasks told; a task that was run twice tells twice, and counts once. Speed is taken from the
    first encoder's being ready to the last text, part by part: starting workers and commits are apart."""
    tasks = list({task.task: task for task in told}.values())
    seconds = 0.0
    for part in {task.task[0] for task in tasks}:
        mine = [task for task in tasks if task.task[0] == part]
        seconds += max(task.ended for task in mine) - min(task.began for task in mine)
    texts, tokens, padding = (sum(getattr(task, name) for task in tasks) for name in ("texts", "tokens", "padding"))
    found = {"items_per_s": round(texts / max(seconds, 1e-3), 1)}
    if not tokens:  # of a model that does not read tokens one by one nothing is known of them
        return found
    return found | {
        "tokens_per_s": round(tokens / max(seconds, 1e-3), 1),
        "texts_truncated": sum(task.truncated for task in tasks),
        "texts_unknown": sum(task.unknown for task in tasks),
        "padding_share": round(padding / max(1, tokens + padding), 4),
    }


def in_lots(texts: int, most: int) -> int:
    """How many lots of at most about so many they make."""
    return -(-texts // most)


def part_of(texts: DataFrame, part: int, parts: int, lots: int) -> DataFrame:
    """The texts of one of so many parts, each of its lots a task: which lot a text is in depends on no part."""
    lot = F.pmod(F.xxhash64("content_hash"), F.lit(lots))
    mine = texts.where(lot % parts == part)
    return mine.repartitionById(len(range(part, lots, parts)), F.floor(lot / parts).cast("int"))


def written(lake: Lake, texts: DataFrame, count: int, settings: Settings, night: Night, model_id: str) -> list[Told]:
    """Appends the vectors of `count` texts to item_vectors; what the tasks have told of it."""
    spark, model, batch_tokens = lake.spark, encoder.folder_of(settings.embed.model), settings.embed.batch_tokens
    on_gpus = spark.conf.get("spark.task.resource.gpu.amount", None) is not None
    lots = in_lots(count, TEXTS_A_GPU_TASK if on_gpus else TEXTS_A_TASK)
    parts = in_lots(lots, TASKS_A_COMMIT * spark.sparkContext.defaultParallelism)
    log: Any = spark.sparkContext.accumulator([], AddingAccumulatorParam([]))
    for part in range(parts):
        shuffled = part_of(texts, part, parts, lots)
        tasks = len(range(part, lots, parts))
        with progress(spark, "embed" if parts == 1 else f"embed, part {part + 1} of {parts}", count // parts, "texts", tasks):
            lake.append(ITEM_VECTORS, encoded(shuffled, model, model_id, batch_tokens, part, log), night, {"model_id": model_id})
    return list(log.value)


def run(spark: SparkSession, lake: Lake, settings: Settings, night: Night) -> Counts:
    model_id = encoder.model_id(encoder.folder_of(settings.embed.model))
    items = lake.read(CLEAN_ITEMS, night)
    texts = missing(items, lake.read(ITEM_VECTORS, F.col("model_id") == model_id)).persist()
    total, new = at_once(items.count, texts.count)
    if total == 0:
        raise ContractError(f"clean_items has no rows for {night.date}", "run ingest, validate and clean for this date first")
    note, found = f"{total:,} items", {}
    if new:
        print(f"embed: {new:,} new texts of {total:,} items with {model_id}", flush=True)
        with readied(spark, "jobs.encoder:warm_up"):
            told = written(lake, texts, new, settings, night, model_id)
        note, found = f"{note}, {' and '.join(sorted({task.by for task in told}))}", figures(told)
        if unknown := found.get("texts_unknown"):
            note += f", {unknown:,} texts of which the model knows nothing"
    texts.unpersist()
    return Counts(total, new, "new vectors", found, note=note)
