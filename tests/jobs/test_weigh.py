"""The lexicon is counted once, kept, and counted anew where the catalogue has become another one."""

from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from jobs import lexicon, neighbours, weigh
from jobs.errors import ContractError
from jobs.lake import Lake
from jobs.night import Night
from jobs.nodes import items_of, nodes_of
from jobs.session import at_once
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
        ("title, brand, model, description; 1000 characters; terms of version 2", 20)
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
    assert weighed(lake, settings_of(MINIMAL + "[weigh]\nedition = 2\n"), night, items) != f"{first} stays"
    assert sorted(row["reading"] for row in lake.read(LEXICONS).collect()) == [
        "title, brand, model, description; 1000 characters; edition 2; terms of version 2",
        "title, brand, model, description; 1000 characters; terms of version 2",
        "title, brand, model, description; 1000 characters; terms of version 2",
        "title; 1000 characters; terms of version 2",
    ]


def test_the_first_of_the_lexicons_that_fit_is_used_by_weigh_and_by_neighbours(
    lake: Lake, settings_of: Callable[[str], Settings], night: Night
) -> None:
    """What a night of 12 texts is weighed by does not depend on whether one of 9, whose lexicon fits it too, has run by then."""
    settings = settings_of(MINIMAL + "[neighbours]\nweights = { semantic = 0 }\n")
    items = [clean_item(night, f"i{n:02}", title) for n, title in enumerate(TITLES)]
    first = weighed(lake, settings, night, items)
    assert weighed(lake, settings, night, items[:9]).endswith("of 9 texts")
    assert weighed(lake, settings, night, items[:12]) == f"{first} stays"
    nodes = nodes_of(items_of(lake.read(CLEAN_ITEMS, night), settings.neighbours, settings.weigh))
    assert neighbours.reading_of(lake, settings, Path(), nodes, 0)[1] == first.split()[0]


def test_nights_that_count_at_once_agree_afterwards(lake: Lake, settings_of: Callable[[str], Settings]) -> None:
    nights = [Night(date(2026, 1, day), "test") for day in (1, 2, 3)]
    for n, of in enumerate(nights):
        lake.replace(CLEAN_ITEMS, lake.frame(CLEAN_ITEMS, [clean_item(of, f"i{i}", title) for i, title in enumerate(TITLES[n:])]), of)

    def notes() -> list[str]:
        return [counts.note for counts in at_once(*[partial(weigh.run, lake.spark, lake, settings_of(MINIMAL), of) for of in nights])]

    at_once_weighed, again = notes(), notes()
    assert len(set(again)) == 1
    assert again[0].endswith(" texts stays")
    assert again[0].removesuffix(" stays") in at_once_weighed


def test_a_night_without_products_is_refused(lake: Lake, settings_of: Callable[[str], Settings], night: Night) -> None:
    with pytest.raises(ContractError, match=r"clean_items has no rows for .*\n  → run ingest, validate and clean"):
        weigh.run(lake.spark, lake, settings_of(MINIMAL), night)
