"""The stage: each text once, under its model; a second night computes only what is new."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from jobs import embed, encoder
from jobs.lake import Lake
from jobs.night import Night
from jobs.settings import Settings
from jobs.tables import CLEAN_ITEMS, ITEM_VECTORS
from tests.conftest import MINIMAL
from tests.rows import clean_item


@pytest.mark.parametrize(("texts", "cores", "tasks"), [(13, 2, 1), (500, 8, 1), (501, 2, 2), (4001, 2, 4), (60_000, 2, 30)])
def test_every_core_works_to_the_end_unless_texts_are_few(texts: int, cores: int, tasks: int) -> None:
    assert embed.tasks_for(texts, cores) == tasks


def test_a_text_is_embedded_once_ever(lake: Lake, settings_of: Callable[[str], Settings], night: Night, tiny_model: Path) -> None:
    settings = settings_of(MINIMAL + f'[embed]\nmodel = "{tiny_model}"\n')
    for table in (CLEAN_ITEMS, ITEM_VECTORS):
        lake.create(table)
    titles = {"a": "red shoe", "b": "red shoe", "c": "pen"}
    lake.replace(CLEAN_ITEMS, lake.frame(CLEAN_ITEMS, [clean_item(night, i, t) for i, t in titles.items()]), night)
    counts = embed.run(lake.spark, lake, settings, night)
    assert (counts.rows_in, counts.rows_out) == (3, 2)  # two items share a text
    stored = {row["content_hash"]: row for row in lake.read(ITEM_VECTORS).collect()}
    (pen,) = encoder.load(tiny_model).encode(["pen"], 8192)
    row = stored[clean_item(night, "c", "pen")[CLEAN_ITEMS.column_names.index("content_hash")]]
    np.testing.assert_allclose(np.frombuffer(row["vector"], dtype="<f4"), pen, atol=1e-6)
    assert (row["model_id"], row["dimension"]) == (encoder.model_id(tiny_model), 32)

    later, version = Night(date(2026, 1, 6), "later"), lake.version(ITEM_VECTORS)
    lake.replace(CLEAN_ITEMS, lake.frame(CLEAN_ITEMS, [clean_item(later, "c", "pen")]), later)
    assert embed.run(lake.spark, lake, settings, later).rows_out == 0
    assert lake.version(ITEM_VECTORS) == version  # nothing new, no commit


def test_a_text_that_says_nothing_has_the_zero_vector(
    lake: Lake, settings_of: Callable[[str], Settings], night: Night, tiny_model: Path
) -> None:
    """Of an empty text an encoder makes some vector too, the same for all: it would make their items each other's neighbours."""
    assert np.linalg.norm(encoder.load(tiny_model).encode([""], 8192)[0]) == pytest.approx(1, abs=1e-3)
    settings = settings_of(MINIMAL + f'[embed]\nmodel = "{tiny_model}"\n')
    for table in (CLEAN_ITEMS, ITEM_VECTORS):
        lake.create(table)
    items = [clean_item(night, i, t) for i, t in {"a": "", "b": "", "c": "red shoe", "d": "pen"}.items()]
    lake.replace(CLEAN_ITEMS, lake.frame(CLEAN_ITEMS, items), night)
    assert embed.run(lake.spark, lake, settings, night).rows_out == 3
    named = lake.read(CLEAN_ITEMS, night).join(lake.read(ITEM_VECTORS), "content_hash").orderBy("item_id").collect()
    norms = [np.linalg.norm(np.frombuffer(row["vector"], dtype="<f4")) for row in named]
    assert [row["dimension"] for row in named] == [32] * 4
    assert norms[:2] == [0, 0]
    assert norms[2:] == pytest.approx([1, 1], abs=1e-3)

    version = lake.version(ITEM_VECTORS)
    assert embed.run(lake.spark, lake, settings, night).rows_out == 0
    assert lake.version(ITEM_VECTORS) == version
