"""The lexicon is counted once, kept, and counted anew where the catalogue has become another one."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from jobs import lexicon, weigh
from jobs.errors import ContractError
from jobs.lake import Lake
from jobs.night import Night
from jobs.settings import Settings
from jobs.tables import CLEAN_ITEMS, LEXICONS
from tests.conftest import MINIMAL
from tests.rows import clean_item

TITLES = [f"{colour} {thing} {size}" for colour in ("red", "blue") for thing in ("shoe", "car", "lamp") for size in ("500ml", "x2", "")]


@pytest.fixture
def lake(lake: Lake) -> Lake:
    for table in (CLEAN_ITEMS, LEXICONS):
        lake.create(table)
    return lake


def weighed(lake: Lake, settings: Settings, night: Night, items: list[tuple[object, ...]]) -> str:
    lake.replace(CLEAN_ITEMS, lake.frame(CLEAN_ITEMS, items), night)
    return weigh.run(lake.spark, lake, settings, night).note


def test_every_text_is_counted_once(lake: Lake, settings_of: Callable[[str], Settings], night: Night) -> None:
    """Two items of one text; a description that begins with the title; fields that are missing."""
    items = [clean_item(night, f"i{n:02}", title) for n, title in enumerate([*TITLES, TITLES[0]])]
    items += [clean_item(night, "d", "Red shoe", description="red shoe of 12 oz", brand="Acme"), clean_item(night, "m", "lamp", model="x9")]
    assert weighed(lake, settings_of(MINIMAL), night, items).endswith("of 20 texts")
    stored = lake.read(LEXICONS).collect()
    assert [(row["reading"], row["texts"]) for row in stored] == [
        ("title, brand, model, description; 1000 characters; terms of version 1", 20)
    ]
    expected = lexicon.counted(pa.array([*TITLES, "Acme red shoe of 12 oz", "lamp x9"]))
    np.testing.assert_array_equal(np.frombuffer(stored[0]["grams"], "<i4"), expected.grams)
    np.testing.assert_array_equal(np.frombuffer(stored[0]["codes"], "<i4"), expected.codes)


def test_a_lexicon_stays_until_the_catalogue_is_another_one(lake: Lake, settings_of: Callable[[str], Settings], night: Night) -> None:
    items = [clean_item(night, f"i{n:02}", title) for n, title in enumerate(TITLES)]
    first = weighed(lake, settings_of(MINIMAL), night, items)
    assert weighed(lake, settings_of(MINIMAL), night, items[:12]) == f"{first} stays"
    assert weighed(lake, settings_of(MINIMAL), night, items[:9]).endswith("of 9 texts")
    assert weighed(lake, settings_of(MINIMAL), night, items) == f"{first} stays"  # a smaller night between two does not count
    assert lake.read(LEXICONS).count() == 2
    weighed(lake, settings_of(MINIMAL + "[weigh]\nfields = []\n"), night, items[:9])
    assert sorted(row["reading"] for row in lake.read(LEXICONS).collect()) == [
        "title, brand, model, description; 1000 characters; terms of version 1",
        "title, brand, model, description; 1000 characters; terms of version 1",
        "title; 1000 characters; terms of version 1",
    ]


def test_a_night_without_products_is_refused(lake: Lake, settings_of: Callable[[str], Settings], night: Night) -> None:
    with pytest.raises(ContractError, match=r"clean_items has no rows for .*\n  → run ingest, validate and clean"):
        weigh.run(lake.spark, lake, settings_of(MINIMAL), night)
