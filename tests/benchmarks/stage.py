"""Our whole Spark stage, from tables to a table, over the vectors that the engines are given bare.

The lake is made for the occasion with the program's own tables; as many pairs are kept as the engines are asked for, so slack is 0. What is
timed is a night's `neighbours`, its measure of recall included; starting Spark and writing the items and vectors is not. Cold, it is the
first stage of its process, as in Airflow: Spark meets every kind of query for the first time. Warm, a small lake has gone before, as
earlier stages do in `shelfmates run`, and as the bare engines have.
"""

import hashlib
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from jobs import encoder, neighbours
from jobs.lake import Lake
from jobs.night import Night
from jobs.session import open_session
from jobs.settings import Settings, load
from jobs.table import Table
from jobs.tables import AUDIT_RESULTS, CLEAN_ITEMS, ITEM_VECTORS, NEIGHBOURS, STAGED_NEIGHBOURS
from tests.benchmarks.systems import THREADS, Ids, K
from tests.benchmarks.vectors import Vectors

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SETTINGS = f"""
[lake]
root = "lake"
[sources.bench]
path = "nothing.csv"
columns = {{ id = "id", title = "title" }}
[neighbours]
k = {K}
slack = 0
weights = {{ lexical = 0, codes = 0 }}
[spark]
master = "local[{THREADS}]"
"""
NIGHT = Night(date(2026, 1, 1), "bench")
ROWS_AT_ONCE = 50_000  # 77 MB of vectors: they pass through the driver's JVM, whose heap is 2 GB


def shelfmates_stage(vectors: Vectors, warm_up_rows: int) -> tuple[Ids, float]:
    """(n, k) ids, and the seconds of `neighbours.run`. The session stays open: its memory is still to be asked."""
    with tempfile.TemporaryDirectory(prefix="shelfmates-bench-") as folder:
        file = Path(folder) / "shelfmates.toml"
        file.write_text(SETTINGS, encoding="utf-8")
        settings = load(file, environment={})  # whoever runs this may have overrides
        spark = open_session(settings, name="shelfmates-bench")
        if warm_up_rows:
            timed(Lake(spark, f"{folder}/small"), settings, vectors[:warm_up_rows])
        lake = Lake(spark, settings.lake.root)
        seconds = timed(lake, settings, vectors)
        return staged(lake, len(vectors)), seconds


def timed(lake: Lake, settings: Settings, vectors: Vectors) -> float:
    """Seconds of the stage over vectors that are written first."""
    write(lake, vectors, encoder.model_id(encoder.folder_of(settings.embed.model)))
    began = time.perf_counter()
    neighbours.run(lake.spark, lake, settings, NIGHT)
    return time.perf_counter() - began


def write(lake: Lake, vectors: Vectors, model_id: str) -> None:
    """A clean item for every vector, named by its position."""
    for table in (CLEAN_ITEMS, ITEM_VECTORS, STAGED_NEIGHBOURS, NEIGHBOURS, AUDIT_RESULTS):
        lake.create(table)
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        part = np.ascontiguousarray(vectors[start : start + ROWS_AT_ONCE], dtype="<f4")
        ids = [f"{i:09d}" for i in range(start, start + len(part))]
        hashes = [hashlib.sha256(item_id.encode()).hexdigest() for item_id in ids]
        item = {"snapshot_date": NIGHT.date, "source": "bench", "attributes": [], "folded": 0}
        items = {"item_id": ids, "title": ids, "text": ids, "content_hash": hashes}
        width = 4 * part.shape[1]
        packed = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(part), [None, pa.py_buffer(part)]).cast(pa.binary())
        lake.append(CLEAN_ITEMS, frame(lake.spark, CLEAN_ITEMS, item, items), NIGHT)
        vector = {"model_id": model_id, "dimension": part.shape[1]}
        lake.append(ITEM_VECTORS, frame(lake.spark, ITEM_VECTORS, vector, {"content_hash": hashes, "vector": packed}), NIGHT)


def frame(spark: "SparkSession", table: Table, same: dict[str, Any], columns: dict[str, Any]) -> "DataFrame":
    """Rows in the table's schema: what is the `same` in all of them, and the columns in which they differ; what neither names is null."""
    from pyspark.sql.pandas.types import to_arrow_schema
    from pyspark.sql.types import StructType

    schema = StructType.fromDDL(table.ddl)
    arrow = to_arrow_schema(schema, timezone="UTC")
    count = len(next(iter(columns.values())))
    whole = {field.name: columns.get(field.name, [same.get(field.name)] * count) for field in arrow}
    return spark.createDataFrame(pa.table(whole, schema=arrow), schema)


def staged(lake: Lake, count: int) -> Ids:
    """(count, k) ids from the staged table; -1 where an item has fewer."""
    pairs = lake.read(STAGED_NEIGHBOURS, NIGHT).selectExpr("int(item_id) AS item", "rank - 1 AS place", "int(neighbour_id) AS neighbour")
    table = pairs.toArrow()
    ids = np.full((count, K), -1, dtype=np.int32)
    ids[table["item"].to_numpy(), table["place"].to_numpy()] = table["neighbour"].to_numpy()
    return ids
