"""Which rows are one product: between two sources by what is learnt of the night's own pairs, within one by what nothing tells apart."""

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from jobs import deduplicate
from jobs.decisions import DUPLICATES, MATCHES
from jobs.lake import Lake
from jobs.night import Night
from jobs.settings import Settings
from tests.decided import publish

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PRODUCTS = 40  # at the shop, of which the market has every second one, and as many of its own
SOURCES = """
[sources.shop]
path = "shop.csv"
columns = { id = "id", title = "title" }
[sources.market]
path = "market.csv"
columns = { id = "id", title = "title" }
"""


def product(source: str, price: float, **values: Any) -> dict[str, Any]:
    return {"source": source, "title": f"{source} {price}", "price": Decimal(f"{price:.2f}"), "currency": "EUR", **values}


def catalogue() -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, float]]]:
    """s0 is m0 and so on; each is listed first by the other and near to its sibling. What the market has of its own is near to something
    at the shop that has a nearer one, or none."""
    items = {f"s{n}": product("shop", 10 + n, brand="Acme") for n in range(PRODUCTS)}
    items |= {f"m{n}": product("market", 10 + n if n % 2 == 0 else 25 + n) for n in range(PRODUCTS)}
    items["m0"] |= {"description": "lamp", "gtin": "96385074"}
    lists: dict[str, dict[str, float]] = {}
    for n in range(PRODUCTS):
        same, sibling = n % 2 == 0, (n + 2) % PRODUCTS
        lists[f"s{n}"] = {f"m{n}": 0.9 if same else 0.55, f"m{sibling}": 0.5, f"s{sibling}": 0.7}
        lists[f"m{n}"] = {f"s{n}": 0.9, f"s{sibling}": 0.5} if same else {f"s{n - 1}": 0.56, f"s{n}": 0.55}
    items |= {"s100": product("shop", 500), "s101": product("shop", 500), "s102": product("shop", 500)}
    items["s102"] |= {"attributes": {"size": "M"}}  # else nothing tells them apart
    lists |= {"s100": {"s101": 1.0, "s102": 0.98}, "s101": {"s100": 1.0}, "s102": {"s100": 0.98}}
    return items, lists


@pytest.fixture
def done(spark: "SparkSession", lake: Lake, night: Night, settings_of: Callable[..., Settings]) -> Lake:
    publish(lake, night, *catalogue())
    deduplicate.run(spark, lake, settings_of(SOURCES), night)
    return lake


def test_duplicates(done: Lake, night: Night) -> None:
    rows = done.read(DUPLICATES, night).collect()
    groups: dict[str, set[str]] = {}
    for row in rows:
        groups.setdefault(row["group_id"], set()).add(row["item_id"])
    expected = [{f"m{n}", f"s{n}"} for n in range(0, PRODUCTS, 2)] + [{"s100", "s101"}]
    assert sorted(map(sorted, groups.values())) == sorted(map(sorted, expected))
    by_id = {row["item_id"]: row for row in rows}
    assert (by_id["m0"]["survivor"], by_id["s0"]["survivor"]) == (True, False)  # it says more
    assert by_id["m0"]["merged"]["brand"] == "Acme"  # what it lacks is the other's
    assert by_id["m0"]["merged"]["description"] == "lamp"
    assert by_id["s2"]["survivor"]  # they say as much, and the shop is named first
    assert by_id["m2"]["merged"] is None
    assert by_id["s0"]["match_probability"] > 0.9


def test_matches(done: Lake, night: Night) -> None:
    rows = {(row["item_id"], row["other_id"]): row for row in done.read(MATCHES, night).collect()}
    assert rows["m0", "s0"]["levels"] == {
        **{"margin": 8, "words": 1, "price": 5, "numbers": 3, "codes": 0, "brand": 0, "model": 0, "gtin": 0},
    }
    assert rows["s100", "s101"]["match_probability"] == deduplicate.IDENTICAL["all"]
    assert ("s100", "s102") not in rows  # a sibling of the same price
    assert all(row["match_probability"] < 0.5 for (one, other), row in rows.items() if one[1:] != other[1:] and one != "s100")


def test_one_source(spark: "SparkSession", lake: Lake, night: Night, settings_of: Callable[..., Settings]) -> None:
    """Nothing is learnt; a GTIN that two rows share makes them one product."""
    items = {name: product("shop", 10, gtin="96385074" if name != "c" else "4006381333931", title=name) for name in "abc"}
    publish(lake, night, items, {"a": {"b": 0.6, "c": 0.5}})
    counts = deduplicate.run(spark, lake, settings_of(), night)
    assert {row["item_id"] for row in lake.read(DUPLICATES, night).collect()} == {"a", "b"}
    assert counts.figures["groups"] == 1


def test_a_marketplace(spark: "SparkSession", lake: Lake, night: Night, settings_of: Callable[..., Settings]) -> None:
    """One source that lists products many times: only by the settings' word are its own pairs judged by what is learnt of them."""
    items, lists = catalogue()
    publish(lake, night, {name: item | {"source": "shop"} for name, item in items.items()}, lists)
    settings = settings_of()
    similar = settings.model_copy(update={"duplicates": settings.duplicates.model_copy(update={"within": "similar"})})
    found = []
    for how in (settings, similar):
        deduplicate.run(spark, lake, how, night)
        rows = lake.read(DUPLICATES, night).collect()
        found.append({row["item_id"] for row in rows if row["group_id"].startswith("m")})
    assert found == [set(), {f"{source}{n}" for n in range(0, PRODUCTS, 2) for source in "ms"}]


def test_no_duplicates(spark: "SparkSession", lake: Lake, night: Night, settings_of: Callable[..., Settings]) -> None:
    publish(lake, night, {"a": product("shop", 10), "b": product("shop", 20)}, {"a": {"b": 0.6}, "b": {"a": 0.6}})
    assert deduplicate.run(spark, lake, settings_of(), night).rows_out == 0
    assert lake.read(DUPLICATES, night).isEmpty()
