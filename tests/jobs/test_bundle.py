"""What is bought together, counted by hand: chance, substitutes, wholesalers and what few people did are no bundles."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from jobs import bundle
from jobs.decisions import BUNDLES
from jobs.lake import Lake
from jobs.night import Night
from jobs.settings import Settings
from tests.conftest import MINIMAL
from tests.decided import act, publish

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SETTINGS = MINIMAL + '[interactions]\npath = "events.csv"\ncolumns = { user = "user", item = "item", time = "time" }\n'
ITEMS = ("lamp", "bulb", "candle", "lantern", "milk", "oil", "wick", "rare", "gone", *(f"other{n}" for n in range(60)))


def baskets() -> Iterator[tuple[str, list[str]]]:
    """A user and what is in one basket."""
    for n in range(20):
        yield f"u{n}", ["lamp", "bulb"]
        yield f"u{n}", ["candle", "lantern"]  # neighbours of each other
        yield "u1", ["oil", "wick"]  # one person's habit
        yield f"u{n}", ["milk", f"other{n}"]  # milk goes with everything
    for n in range(5):
        yield f"u{n}", ["lamp", "gone"]  # not to be had any more
    yield "wholesaler", [f"other{n}" for n in range(60)]
    for n in range(200):
        yield f"v{n}", [f"other{n % 60}"]


@pytest.fixture
def done(spark: "SparkSession", lake: Lake, night: Night, settings_of: Callable[[str], Settings]) -> Lake:
    publish(lake, night, {name: {"in_stock": name != "gone"} for name in ITEMS}, {"candle": {"lantern": 0.9}, "lamp": {"candle": 0.2}})
    at = datetime(2026, 1, 5, 10, tzinfo=UTC)
    rows = [(night.date, user, item, "purchase", at, number, 1, 0) for number, (user, items) in enumerate(baskets()) for item in items]
    rows += [(night.date, f"u{n}", "rare", "view", at, None, 1, 0) for n in range(20)]  # looked at, not bought
    old = night.date - timedelta(days=90)
    rows += [(old, f"u{n}", item, "purchase", at, 1, 1, 0) for n in range(20) for item in ("rare", "bulb")]  # too long ago
    act(lake, night, rows)
    bundle.run(spark, lake, settings_of(SETTINGS), night)
    return lake


def test_bundles(done: Lake, night: Night) -> None:
    rows = {(row["item_id"], row["other_id"]): row for row in done.read(BUNDLES, night).collect()}
    assert set(rows) == {("lamp", "bulb"), ("bulb", "lamp"), ("gone", "lamp")}  # what cannot be had is not offered
    found, count = rows["lamp", "bulb"], 20 * 4 + 5 + 200  # without the wholesaler's
    assert (found["baskets"], found["users"], found["rank"]) == (20, 20, 1)
    assert found["confidence"] == 20 / 25
    assert found["lift"] == pytest.approx((20 / count) / (25 / count * 20 / count))
    assert 1.5 < found["lift_low"] < found["lift"]


def test_without_interactions(spark: "SparkSession", lake: Lake, night: Night, settings_of: Callable[..., Settings]) -> None:
    assert bundle.run(spark, lake, settings_of(), night).note == "the settings have no section [interactions]"


def test_without_orders_a_basket_is_what_a_user_buys_in_a_day(
    spark: "SparkSession", lake: Lake, night: Night, settings_of: Callable[[str], Settings]
) -> None:
    at = datetime(2026, 1, 5, 10, tzinfo=UTC)
    days = [(at, "a"), (at + timedelta(hours=1), "b"), (at - timedelta(days=1), "c")]
    rows = [(night.date, "u", item, "purchase", when, None, 1, 0) for when, item in days]
    act(lake, night, rows)
    how = settings_of(SETTINGS).interactions
    assert how is not None
    found = {(row["basket"], row["item_id"]) for row in bundle.baskets(lake, night, how, 50).collect()}
    assert found == {("u 2026-01-05", "a"), ("u 2026-01-05", "b"), ("u 2026-01-04", "c")}
