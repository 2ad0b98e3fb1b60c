"""The stage: each text once, under its model; a second night computes only what is new."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pyspark.accumulators import AddingAccumulatorParam
from pyspark.errors import PythonException

from jobs import embed, encoder
from jobs.errors import ContractError
from jobs.lake import Lake
from jobs.night import Night
from jobs.settings import Settings
from jobs.tables import CLEAN_ITEMS, ITEM_VECTORS
from tests.conftest import MINIMAL
from tests.rows import clean_item

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from pyspark.sql import SparkSession


def test_a_text_is_embedded_once_ever(lake: Lake, settings_of: Callable[[str], Settings], night: Night, tiny_model: Path) -> None:
    settings = settings_of(MINIMAL + f'[embed]\nmodel = "{tiny_model}"\n')
    for table in (CLEAN_ITEMS, ITEM_VECTORS):
        lake.create(table)
    lake.replace(CLEAN_ITEMS, lake.frame(CLEAN_ITEMS, [clean_item(night, str(i), "pen") for i in range(50)]), night)
    of_another = ("another", clean_item(night, "", "pen")[CLEAN_ITEMS.column_names.index("content_hash")], 1, b"\0\0\0\0")
    lake.append(ITEM_VECTORS, lake.frame(ITEM_VECTORS, [of_another]), night)
    counts = embed.run(lake.spark, lake, settings, night)
    assert (counts.rows_in, counts.rows_out) == (50, 1)  # a catalogue of one title, which another model has read

    later = Night(date(2026, 1, 6), "later")
    titles = {"a": "red shoe", "b": "red shoe", "c": "pen"}
    lake.replace(CLEAN_ITEMS, lake.frame(CLEAN_ITEMS, [clean_item(later, i, t) for i, t in titles.items()]), later)
    counts = embed.run(lake.spark, lake, settings, later)
    assert (counts.rows_in, counts.rows_out) == (3, 1)
    assert counts.figures["items_per_s"] > 0
    assert counts.figures["tokens_per_s"] / counts.figures["items_per_s"] == pytest.approx(9, rel=0.1)  # letters, and two special tokens
    assert counts.figures["texts_truncated"] == 0

    stored = {row["content_hash"]: row for row in lake.read(ITEM_VECTORS).where("model_id != 'another'").collect()}
    for title in ("pen", "red shoe"):
        row = stored[clean_item(night, "", title)[CLEAN_ITEMS.column_names.index("content_hash")]]
        (expected,) = encoder.in_float32(tiny_model).encode([title]).vectors
        np.testing.assert_allclose(np.frombuffer(row["vector"], dtype="<f4"), expected, atol=0.01)  # the worker's may be half a precision
        assert (row["model_id"], row["dimension"]) == (encoder.model_id(tiny_model), 32)


def test_a_text_that_says_nothing_has_the_zero_vector(
    lake: Lake, settings_of: Callable[[str], Settings], night: Night, tiny_model: Path
) -> None:
    """Of an empty text, and of one it knows nothing of, an encoder makes some vector too, the same for all: it would make their items each
    other's neighbours."""
    settings = settings_of(MINIMAL + f'[embed]\nmodel = "{tiny_model}"\n')
    for table in (CLEAN_ITEMS, ITEM_VECTORS):
        lake.create(table)
    items = [clean_item(night, i, t) for i, t in {"a": "", "b": "🎸🎺", "c": "red shoe", "d": "pen"}.items()]
    lake.replace(CLEAN_ITEMS, lake.frame(CLEAN_ITEMS, items), night)
    counts = embed.run(lake.spark, lake, settings, night)
    assert (counts.rows_out, counts.figures["texts_unknown"]) == (4, 2)  # the empty one is no better known
    assert counts.note.endswith(", 2 texts of which the model knows nothing")
    named = lake.read(CLEAN_ITEMS, night).join(lake.read(ITEM_VECTORS), "content_hash").orderBy("item_id").collect()
    norms = [np.linalg.norm(np.frombuffer(row["vector"], dtype="<f4")) for row in named]
    assert [row["dimension"] for row in named] == [32] * 4
    assert norms[:2] == [0, 0]
    assert norms[2:] == pytest.approx([1, 1], abs=1e-3)

    version = lake.version(ITEM_VECTORS)
    assert embed.run(lake.spark, lake, settings, night).rows_out == 0
    assert lake.version(ITEM_VECTORS) == version


def test_a_worker_killed_in_mid_partition_leaves_nothing_half_written(
    lake: Lake, settings_of: Callable[[str], Settings], night: Night, tiny_model: Path
) -> None:
    """The kernel ends a worker for its memory after it has read some of its texts, beside one that has ended well."""
    settings, model_id = settings_of(MINIMAL + f'[embed]\nmodel = "{tiny_model}"\n'), encoder.model_id(tiny_model)
    for table in (CLEAN_ITEMS, ITEM_VECTORS):
        lake.create(table)
    lake.replace(CLEAN_ITEMS, lake.frame(CLEAN_ITEMS, [clean_item(night, f"{i}", f"pen {i}") for i in range(60)]), night)
    version = lake.version(ITEM_VECTORS)

    def killed(batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        for batch in batches:
            yield batch
            if "pen 7" in batch["text"].to_pylist():
                os.kill(os.getpid(), signal.SIGKILL)

    texts = embed.missing(lake.read(CLEAN_ITEMS, night), lake.read(ITEM_VECTORS)).repartition(2, "content_hash")
    with pytest.raises(Exception, match="Python worker exited unexpectedly"):
        lake.append(ITEM_VECTORS, embed.encoded(texts.mapInArrow(killed, texts.schema), tiny_model, model_id, None, 0, log_of(lake)), night)
    assert lake.version(ITEM_VECTORS) == version
    assert embed.run(lake.spark, lake, settings, night).rows_out == 60


def test_an_executor_with_another_model_at_the_same_place_is_refused(lake: Lake, night: Night, tiny_model: Path) -> None:
    lake.create(CLEAN_ITEMS)
    lake.replace(CLEAN_ITEMS, lake.frame(CLEAN_ITEMS, [clean_item(night, "a", "pen")]), night)
    texts = lake.read(CLEAN_ITEMS, night).select("content_hash", "text")
    with pytest.raises(
        PythonException, match=r"model@\w{12}, the driver's is model@0123456789ab\n  → put the same folder on every machine"
    ):
        embed.encoded(texts, tiny_model, "model@0123456789ab", None, 0, log_of(lake)).collect()


def log_of(lake: Lake) -> Any:
    return lake.spark.sparkContext.accumulator([], AddingAccumulatorParam([]))


def told(task: tuple[int, int], began: float, ended: float) -> embed.Told:
    return embed.Told(task, texts=100, tokens=900, padding=100, truncated=1, unknown=2, began=began, ended=ended, by="float32 on cpu")


def test_speed_is_of_the_time_in_which_texts_are_encoded() -> None:
    first, beside, next_part = told((0, 0), 10.0, 12.0), told((0, 1), 11.0, 14.0), told((1, 0), 20.0, 22.0)
    expected = {"items_per_s": 300 / 6, "tokens_per_s": 2700 / 6, "texts_truncated": 3, "texts_unknown": 6, "padding_share": 0.1}
    assert embed.figures([first, beside, next_part]) == expected
    assert embed.figures([first, first, beside, next_part]) == expected  # a task that was run twice
    assert embed.figures([replace(first, tokens=0, padding=0, truncated=0, unknown=0)]) == {
        "items_per_s": 50.0
    }  # by a model without tokens


def test_vectors_do_not_depend_on_how_many_work_nor_on_the_order_of_rows(lake: Lake, night: Night) -> None:
    """To the last bit, by the built-in model: what is computed beside a text is the same."""
    folder = encoder.folder_of(None)
    texts = [(f"{n * 7919 % 300:04}", f"steel tea pot {n} {'with a lid ' * (n % 5)}") for n in range(300)]
    found = []
    for order, at_first in ((texts, 1), (texts[::-1], 5)):
        frame = lake.spark.createDataFrame(order, "content_hash string, text string").repartition(at_first)
        rows = embed.encoded(embed.part_of(frame, 0, 1, 3), folder, encoder.model_id(folder), None, 0, log_of(lake)).collect()
        found.append({row["content_hash"]: bytes(row["vector"]) for row in rows})
    assert len(found[0]) == 300
    assert found[0] == found[1]


@pytest.mark.parametrize("parts", [1, 3, 7])
def test_a_task_has_the_same_texts_however_many_there_are_at_once(spark: "SparkSession", parts: int) -> None:
    texts = spark.createDataFrame([(str(n), f"text {n}") for n in range(300)], "content_hash string, text string")

    def of_tasks(parts: int) -> list[list[str]]:
        found = []
        for part in range(parts):
            frame = embed.part_of(texts, part, parts, 7)
            found += [sorted(row["content_hash"] for row in rows) for rows in frame.rdd.glom().collect()]
        return sorted(found)

    tasks = of_tasks(parts)
    assert len(tasks) == 7
    assert sorted(text for task in tasks for text in task) == sorted(map(str, range(300)))
    assert min(map(len, tasks)) > 20
    assert tasks == of_tasks(1)


@pytest.mark.parametrize(("texts", "lots"), [(1, 1), (1000, 1), (1001, 2), (60_000, 60)])
def test_lots_are_small_enough(texts: int, lots: int) -> None:
    assert embed.in_lots(texts, embed.TEXTS_A_TASK) == lots


def test_vectors_are_zero_or_of_unit_length() -> None:
    unit = np.array([[0.6, 0.8], [1, 0], [0, 0]], dtype=np.float32)
    assert embed.sound(unit, ["pen", "", "???"], "tiny").tolist() == [pytest.approx([0.6, 0.8]), [0, 0], [0, 0]]
    with pytest.raises(ContractError, match=r"tiny gave 2 vectors that are not of unit length, the first for the text 'pen'"):
        embed.sound(np.array([[np.nan, 1], [1, 1]], dtype=np.float32), ["pen", "car"], "tiny")
