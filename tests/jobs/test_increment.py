"""Lists that are brought up to date night after night against lists that are made anew: they are the same.

Every block is a history of its own, and pairs never cross a block: many random histories are one catalogue.
"""

import hashlib
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from jobs import encoder, fusion, increment, lists, neighbours, publish, weigh
from jobs.lake import Lake
from jobs.night import Counts, Night
from jobs.settings import Settings
from jobs.tables import AUDIT_RESULTS, CLEAN_ITEMS, CURRENT_NEIGHBOURS, ITEM_VECTORS, LEXICONS, NEIGHBOURS, STAGED_NEIGHBOURS
from tests.conftest import MINIMAL
from tests.rows import clean_item

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

HISTORIES, SIZE = 20, 12  # of each of two ways to compare; test_carried has more of them
WORDS = ("red", "blue", "steel", "oak", "shoe", "lamp", "desk", "pen", "7x", "B-200", "5l", "XL", "茶", "кофе")
TABLES = (CLEAN_ITEMS, ITEM_VECTORS, LEXICONS, STAGED_NEIGHBOURS, NEIGHBOURS, CURRENT_NEIGHBOURS, AUDIT_RESULTS)
SHOP = MINIMAL.replace('title = "title"', 'title = "title", brand = "brand", price = "price"')
SOURCES = '[sources.b]\npath = "b.csv"\ncolumns = { id = "id", title = "title", brand = "brand" }\n'
START = date(2026, 1, 1)

Items = dict[str, dict[str, Any]]  # by item_id, the columns of clean_items that matter here


@pytest.fixture
def lake(lake: Lake) -> Lake:
    for table in TABLES:
        lake.create(table)
    return lake


@pytest.fixture
def settings(settings_of: Callable[[str], Settings], tiny_model: Path) -> Callable[[str], Settings]:
    return lambda how: settings_of(
        f'{SHOP}[embed]\nmodel = "{tiny_model}"\n[neighbours]\nk = 3\nslack = 2\nrecall_sample = 300\nincrements = true\n{how}\n'
    )


def random_item(random: np.random.Generator, block: str) -> dict[str, Any]:
    title = " ".join(random.choice(WORDS, random.integers(1, 4)))
    description = " ".join(random.choice(WORDS, 3)) if random.random() < 0.3 else None
    price = Decimal(int(random.integers(1, 9))) if random.random() < 0.8 else None
    return {
        "title": title,
        "description": description,
        "brand": block,
        "price": price,
        "currency": "EUR" if price else None,
        "source": str(random.choice(["shop", "b"])),
    }


def next_night(items: Items, random: np.random.Generator, names: Callable[[], str]) -> Items:
    """Some items are added, deleted, edited, repriced or moved to another block; in some blocks nothing happens."""
    found = dict(items)
    blocks = sorted({str(item["brand"]) for item in items.values()})
    for block in blocks:
        if random.random() < 0.3:
            continue
        mine = [name for name, item in found.items() if item["brand"] == block]
        for _ in range(random.integers(0, 4)):
            found[names()] = random_item(random, block)
        for name in random.permutation(mine)[: random.integers(0, 5)]:
            match random.integers(0, 4):
                case 0:
                    del found[str(name)]
                case 1:
                    found[str(name)] = random_item(random, block)
                case 2:
                    found[str(name)] = found[str(name)] | {"price": Decimal(int(random.integers(1, 9))), "currency": "EUR"}
                case _:
                    found[str(name)] = found[str(name)] | {"brand": str(random.choice(blocks))}
    return found


def stage(lake: Lake, settings: Settings, night: Night, items: Items) -> Counts:
    """The night's lists, staged; of texts that are new the vectors are made up, a fixed one for each text."""
    model_id = encoder.model_id(Path(settings.embed.model or ""))
    texts = {hashlib.sha256(item["title"].encode()).hexdigest(): item["title"] for item in items.values()}
    known = {row["content_hash"] for row in lake.read(ITEM_VECTORS).select("content_hash").collect()}
    vectors = []
    for content_hash in texts.keys() - known:
        vector = np.random.default_rng(int(content_hash[:8], 16)).normal(size=16)
        vectors.append((model_id, content_hash, 16, (vector / np.linalg.norm(vector)).astype("<f4").tobytes()))
    if vectors:
        lake.append(ITEM_VECTORS, lake.frame(ITEM_VECTORS, vectors), night)
    lake.replace(CLEAN_ITEMS, lake.frame(CLEAN_ITEMS, [clean_item(night, name, **item) for name, item in items.items()]), night)
    weigh.run(lake.spark, lake, settings, night)
    return neighbours.run(lake.spark, lake, settings, night)


def publish_unaudited(lake: Lake, settings: Settings, night: Night) -> None:
    verdict = [(night.date, night.run_id, "night: validated", "fail", True, 1.0, ">= 1", "all: of this test")]
    lake.append(AUDIT_RESULTS, lake.frame(AUDIT_RESULTS, verdict), night)
    publish.run(lake.spark, lake, settings, night)


def pairs(lake: Lake, night: Night) -> list[Any]:
    """What would be published."""
    staged = lake.read(STAGED_NEIGHBOURS, night).where("rank <= 3").select(*NEIGHBOURS.column_names)
    return staged.orderBy("item_id", "rank").collect()


def anew(settings: Settings) -> Settings:
    return settings.model_copy(update={"neighbours": settings.neighbours.model_copy(update={"increments": False})})


@pytest.mark.parametrize(
    "how",
    ['block_by = ["brand"]\nweights = { price = 1 }', f'block_by = ["brand"]\nacross = "source"\n{SOURCES}'],
    ids=["all channels", "between sources"],
)
def test_random_histories_give_the_lists_of_a_full_build(
    lake: Lake, settings: Callable[[str], Settings], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(increment, "SHARE", 9.0)  # however much has changed
    monkeypatch.setattr(increment, "FEWEST", 0)
    monkeypatch.setattr(lists, "FEWEST_NODES", 0)
    random, number = np.random.default_rng(11), iter(range(10**6))

    def names() -> str:
        return f"i{next(number):05}"

    items = {
        names(): random_item(random, f"history {n % HISTORIES}") for n in range(HISTORIES * SIZE) if random.random() < n % HISTORIES / 15
    }
    first, second = (Night(START + timedelta(days=day), "test") for day in range(2))
    assert stage(lake, anew(settings(how)), first, items).figures["increment"] == 0
    publish_unaudited(lake, settings(how), first)
    figures = stage(lake, settings(how), second, next_night(items, random, names)).figures
    assert figures["increment"] == 1
    assert figures["blocks_carried"] > HISTORIES / 2
    assert figures["lists_refilled"] > 0
    grown = pairs(lake, second)
    assert neighbours.run(lake.spark, lake, anew(settings(how)), second).figures["increment"] == 0
    rebuilt = pairs(lake, second)
    assert [pair for pair in zip(grown, rebuilt, strict=False) if pair[0] != pair[1]] == []
    assert len(grown) == len(rebuilt) > 200


def read_of(items: dict[str, str]) -> Callable[["SparkSession"], increment.Read]:
    """What was read of items of these ids and titles."""
    read = ", ".join(f"{name} {kind}" for name, kind in fusion.READ.items())
    columns = f"item_id string, block string, source string, content_hash string, {read}"
    rows = [(i, "", "", title, title, title, 0.0, "", "") for i, title in items.items()]
    return lambda spark: increment.Read.of(spark.createDataFrame(rows, columns))


def test_what_differs_between_two_nights(spark: "SparkSession") -> None:
    then, now = read_of({"a": "Lamp", "b": "Desk", "c": "Pen"})(spark), read_of({"a": "Lamp", "b": "Sofa", "d": "Car"})(spark)
    changed, removed = increment.between(then.prints, now.prints, 3) or ([], 0)
    assert (sorted(changed), removed) == (["b", "d"], 2)
    assert increment.between(then.prints, now.prints, 2) is None  # two are new or changed, two gone or changed, three in all
    assert then.checksum == read_of({"c": "Pen", "b": "Desk", "a": "Lamp"})(spark).checksum != now.checksum
    assert then.items == now.items == {"": {"": 3}}


def test_why_a_night_makes_all_lists_anew(lake: Lake, settings: Callable[[str], Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    """Few items; too much changed; no recall; other settings; other lists or items in the night before; too long ago."""
    how, items = settings(""), {f"i{n:02}": random_item(np.random.default_rng(n), "block") for n in range(30)}
    first, second = (Night(START + timedelta(days=day), "test") for day in range(2))
    assert "so few items" in stage(lake, how, first, items).note
    publish_unaudited(lake, how, first)
    monkeypatch.setattr(increment, "FEWEST", 0)
    assert "no block is so large" in stage(lake, how, second, items).note
    monkeypatch.setattr(lists, "FEWEST_NODES", 0)
    assert "too many of the items are not what they were on 2026-01-01" in stage(lake, how, second, dict(list(items.items())[:20])).note
    note = stage(lake, how, second, items).note
    assert "up to date since 2026-01-01: 0 items new or changed, 0 gone or changed, 0 of 1 blocks searched anew, 0 lists of others" in note
    stamp = increment.stamp(lake, second)
    assert stamp["made_on"] == first.date  # the increment has carried it on
    measured = iter([(0.5, 20), (1.0, 20)])  # of the lists that are brought up to date, and of those made anew
    monkeypatch.setattr(neighbours, "recall", lambda *work: next(measured))
    assert "all anew: brought up to date they had a recall of 0.500" in neighbours.run(lake.spark, lake, how, second).note

    def why(day: int = 5, run_id: str = "test", fingerprint: str = stamp["fingerprint"], items_read: str = stamp["items_read"]) -> Any:
        return increment.refusal(
            stamp, Night(second.date, run_id), Night(START + timedelta(days=day), "test"), fingerprint, items_read, full_days=8
        )

    assert why() is why(day=7) is None
    assert why(day=8) == "they were last on 2026-01-01, 8 days ago"
    assert why(fingerprint="other") == "2026-01-02 was made with another encoder, lexicon or other settings"
    assert why(run_id="other") == why(items_read="0") == "items or lists of 2026-01-02 are not those that were published any more"
