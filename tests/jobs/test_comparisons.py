"""What two products agree on, level by level."""

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from jobs.comparisons import NEAREST, SIZES, pairs, read
from jobs.lake import Lake
from jobs.night import Night
from jobs.tables import CLEAN_ITEMS, NEIGHBOURS
from tests.decided import publish

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# what the shop's item and the market's say, and the levels at which they agree
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, int]]] = {
    "the same": ({"title": "Oak desk 120 cm"}, {"title": "oak DESK, 120 cm"}, {"words": 5, "numbers": 3}),
    "more words": ({"title": "Oak desk 120 cm"}, {"title": "Oak desk 120 cm with 2 drawers"}, {"words": 5, "numbers": 2}),
    "a word differs": ({"title": "Tea pot of steel in red"}, {"title": "Tea pot of steel in blue"}, {"words": 3, "numbers": 0}),
    "all words differ": ({"title": "急須"}, {"title": "Tea pot"}, {"words": 1, "numbers": 0}),
    "numbers differ": ({"title": "Tea 1,5 kg"}, {"title": "Tea 1.25 kg"}, {"words": 2, "numbers": 1}),
    "a decimal point": ({"title": "Tea 1,5 kg"}, {"title": "Tea 1.50 kg"}, {"words": 2, "numbers": 3}),
    "no words": ({"title": "???"}, {"title": "!!!"}, {"words": 0, "numbers": 0}),
    "their own code": ({"title": "Camera DSC-W120"}, {"title": "Camera", "model": "dsc/w120"}, {"codes": 3, "model": 0}),
    "a code of others": ({"title": "Lens 18-55mm"}, {"title": "Lens 18-55mm", "description": "fits 18-55mm"}, {"codes": 2}),
    "other codes": ({"title": "TV E321VL"}, {"title": "TV E320VL"}, {"codes": 1}),
    "no codes": ({"title": "TV E321VL"}, {"title": "TV 32 inch"}, {"codes": 0}),
    "one model": ({"model": "1EN5.019-02"}, {"model": "1en501902"}, {"model": 2}),
    "another model": ({"model": "1EN5"}, {"model": "1EN6"}, {"model": 1}),
    "no model": ({"model": "-"}, {"model": "1EN6"}, {"model": 0}),
    "one price": ({"price": Decimal(10), "currency": "EUR"}, {"price": Decimal(9), "currency": "EUR"}, {"price": 4}),
    "no currencies": ({"price": Decimal(10)}, {"price": Decimal(1)}, {"price": 1}),
    "two currencies": ({"price": Decimal(10), "currency": "EUR"}, {"price": Decimal(10), "currency": "USD"}, {"price": 0}),
    "no price": ({"price": Decimal(10)}, {}, {"price": 0}),
    "a title of stars": ({"title": "★★★"}, {"title": "Tea pot"}, {"words": 0}),
    "a UPC and its EAN": ({"gtin": "036000291452"}, {"gtin": "0036000291452"}, {"gtin": 2}),
    "one brand": ({"brand": "Acme"}, {"brand": "ACME"}, {"brand": 2}),
}


@pytest.fixture(scope="module")
def levels(spark: "SparkSession", tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, int]]:
    night, lake = Night(date(2026, 1, 5), "test"), Lake(spark, str(tmp_path_factory.mktemp("lake")))
    items = {"shop:another": {"source": "shop", "title": "Lens 18-55mm of somebody else"}}
    for name, (one, other, _) in CASES.items():
        items |= {f"market:{name}": other | {"source": "market"}, f"shop:{name}": one | {"source": "shop"}}
    publish(lake, night, items, {f"market:{name}": {f"shop:{name}": 0.9} for name in CASES})
    found = pairs(lake.read(NEIGHBOURS, night), read(lake.read(CLEAN_ITEMS, night))).collect()
    return {row["item_id"].removeprefix("market:"): {of: row[f"{of}_level"] for of in SIZES} for row in found}


def test_the_margin_of_a_list_that_is_cut(spark: "SparkSession", lake: Lake, night: Night) -> None:
    """What a full list does not show may be as near as the last that it shows; of one that is not full there is no more."""
    items = {name: {"source": name[0]} for name in ("s1", "s2", "s3", "m1", "m2")}
    publish(lake, night, items, {"s1": {"s2": 0.75, "m1": 0.5}, "m1": {"m2": 0.75, "s1": 0.5}, "s3": {"m2": 0.5}})
    found = pairs(lake.read(NEIGHBOURS, night), read(lake.read(CLEAN_ITEMS, night))).collect()
    margins = {(row["item_id"], row["other_id"]): row["margin_level"] for row in found}
    assert (margins["m1", "s1"], margins["m2", "s3"]) == (NEAREST, SIZES["margin"])


@pytest.mark.parametrize("name", CASES)
def test_levels(name: str, levels: dict[str, dict[str, int]]) -> None:
    expected = CASES[name][2]
    assert {of: levels[name][of] for of in expected} == expected
