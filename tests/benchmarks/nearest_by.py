"""What Spark itself offers: its `NEAREST BY` join, which in 4.2 compares every row with every other."""

import time

import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession

from tests.benchmarks.systems import THREADS, Ids, K
from tests.benchmarks.vectors import Vectors

# APPROX leaves Spark the choice of a faster way, should it have one. The row itself is one of the k + 1.
JOIN = f"""
SELECT asked.id, near.id AS neighbour
FROM asked INNER JOIN near
APPROX NEAREST {K + 1} BY SIMILARITY vector_inner_product(asked.vector, near.vector)
"""
# It sorts all pairs of a task, both vectors in each: 620 MB at 384 dimensions, two tasks at once in 4 GB. Left to itself, in a task a core,
# it writes them to disk, 160 GB at 10,000 rows, and takes twice as long.
PAIRS_OF_A_TASK = 200_000


def spark_nearest_by(vectors: Vectors) -> tuple[Ids, float]:
    """(n, k + 1) ids, and the seconds from the query to its rows in the driver. The session stays open: its memory is still to be asked."""
    spark = (
        SparkSession.builder.master(f"local[{THREADS}]")
        .config("spark.driver.memory", "4g")
        .config("spark.driver.host", "127.0.0.1")  # a laptop's own name often does not resolve
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.shuffle.partitions", str(THREADS))  # its 200 would cost it a second
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    ids = pa.array(np.arange(len(vectors), dtype=np.int32))
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]).cast(pa.list_(pa.float32()))
    items = spark.createDataFrame(pa.table({"id": ids, "vector": lists}))
    items.createOrReplaceTempView("near")
    items.repartition(1 + len(vectors) ** 2 // PAIRS_OF_A_TASK).createOrReplaceTempView("asked")
    began = time.perf_counter()
    pairs = spark.sql(JOIN).toArrow()
    seconds = time.perf_counter() - began
    asked = pairs["id"].to_numpy()
    by_item = np.argsort(asked, kind="stable")  # an item's rows come together and best first
    return pairs["neighbour"].to_numpy()[by_item].reshape(len(vectors), K + 1), seconds
