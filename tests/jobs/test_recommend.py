"""Recommendations as a table: who gets what, and why; what `taste` and `affinity` do is tested there."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from jobs import recommend
from jobs.decisions import RECOMMENDATIONS, USER_KEYS
from jobs.lake import Lake
from jobs.night import Night
from jobs.settings import Settings
from tests.conftest import MINIMAL
from tests.decided import act, publish

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SETTINGS = (
    MINIMAL
    + """
[interactions]
path = "events.csv"
columns = { user = "user", item = "item", time = "time" }
[recommendations]
n = 3
"""
)
ITEMS = {name: {"in_stock": name != "sold out"} for name in ("lamp", "shade", "bulb", "sold out", "new", "pan", "pot")}
# nobody names what is new; it names the lamp
LISTS = {
    "lamp": {"shade": 0.8, "sold out": 0.7},
    "shade": {"lamp": 0.8},
    "new": {"lamp": 0.9},
    "pan": {"pot": 0.9},
    "pot": {"pan": 0.9},
}


@pytest.fixture
def given(lake: Lake, night: Night) -> Lake:
    publish(lake, night, ITEMS, LISTS)
    at = datetime(2026, 1, 5, 10, tzinfo=UTC)
    done = [("ann", "lamp", "purchase"), ("bob", "pan", "view"), ("eve", "gone", "view")]
    done += [(f"u{n}", item, "purchase") for n in range(5) for item in ("gone", "pot")]
    rows = [(night.date, user, item, event, at, None, 1, 0) for user, item, event in done]
    old = night.date - timedelta(days=90)
    bought = (old, "bob", "pot", "purchase", at - timedelta(days=90), None, 1, 0)  # more than 90 days ago
    act(lake, night, [*rows, bought, (old, "long ago", "lamp", "view", at, None, 1, 0)])
    return lake


def test_recommendations(given: Lake, spark: "SparkSession", night: Night, settings_of: Callable[[str], Settings]) -> None:
    counts = recommend.run(spark, given, settings_of(SETTINGS), night)
    lists: dict[str, list[Any]] = {}
    for row in sorted(given.read(RECOMMENDATIONS, night).collect(), key=lambda row: (row["user_id"], row["rank"])):
        lists.setdefault(row["user_id"], []).append(row)
    assert set(lists) == {"ann", "bob", "eve", "anyone", *(f"u{n}" for n in range(5))}  # and nobody of long ago
    told = {user: [(row["item_id"], row["reason"], row["because_id"]) for row in rows] for user, rows in lists.items()}
    assert set(told["ann"][:2]) == {("new", "history", "lamp"), ("shade", "history", "lamp")}
    assert told["ann"][2][:2] == ("pot", "popular")  # no lamp, which she has, and nothing that cannot be had
    assert "pot" not in {item for item, _, _ in told["bob"]}  # like the pan that he looks at; he has it
    assert told["eve"][0] == ("pot", "history", "gone")  # bought by those who had what is gone
    assert {reason for _, reason, _ in told["anyone"]} == {"popular"}
    assert told["anyone"][0][0] == "pot"
    assert "gone" not in {item for rows in told.values() for item, _, _ in rows}
    assert counts.rows_out == sum(map(len, lists.values()))


def test_who_is_forgotten_gets_nothing(given: Lake, spark: "SparkSession", night: Night, settings_of: Callable[[str], Settings]) -> None:
    given.purge(USER_KEYS, "user_id", spark.createDataFrame([("ann",)], "user_id string"), night)
    recommend.run(spark, given, settings_of(SETTINGS), night)
    assert {"ann", "bob"} & {row["user_id"] for row in given.read(RECOMMENDATIONS, night).collect()} == {"bob"}


def test_only_what_the_shop_sells_itself(spark: "SparkSession", lake: Lake, night: Night, settings_of: Callable[[str], Settings]) -> None:
    """Ann has bought a lamp, which the market lists too."""
    items = {"shop:lamp": {}, "shop:shade": {}, "market:lamp": {"source": "market"}}
    publish(lake, night, items, {"shop:lamp": {"market:lamp": 0.99, "shop:shade": 0.6}})
    act(lake, night, [(night.date, "ann", "shop:lamp", "purchase", datetime(2026, 1, 5, 10, tzinfo=UTC), None, 1, 0)])
    market = '[sources.market]\npath = "m.csv"\ncolumns = { id = "id", title = "title" }\n'
    settings = settings_of(SETTINGS.replace("[interactions]", f'{market}[interactions]\nsource = "shop"'))
    recommend.run(spark, lake, settings, night)
    assert {row["item_id"] for row in lake.read(RECOMMENDATIONS, night).where("user_id = 'ann'").collect()} == {"shop:shade"}


def test_again_the_same(given: Lake, spark: "SparkSession", night: Night, settings_of: Callable[[str], Settings]) -> None:
    found = []
    for _ in range(2):
        recommend.run(spark, given, settings_of(SETTINGS), night)
        found.append(sorted(given.read(RECOMMENDATIONS, night).drop("run_id").collect()))
    assert found[0] == found[1]


def test_without_interactions(spark: "SparkSession", lake: Lake, night: Night, settings_of: Callable[..., Settings]) -> None:
    assert recommend.run(spark, lake, settings_of(), night).note == "the settings have no section [interactions]"
