"""Where prices stand among those of the neighbours, and which causes explain one that is far off."""

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from jobs import position
from jobs.decisions import PRICE_POSITIONS
from jobs.lake import Lake
from jobs.night import Night
from jobs.settings import Settings
from tests.decided import publish

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PEERS = {"p1": 10, "p2": 11, "p3": 12, "p4": 11}


def priced(price: float, currency: str = "EUR", title: str = "Lamp") -> dict[str, Any]:
    return {"title": title, "price": Decimal(f"{price:.2f}"), "currency": currency}


ITEMS = {
    **{name: priced(price) for name, price in PEERS.items()},
    "usual": priced(11),
    "cheap": priced(5),  # half the others' price is cheap, not wrong
    "cents": priced(1099),  # 10.99 without its point
    "lonely": priced(500),  # only two peers: nobody can tell
    "strange": priced(57),  # five times the price, and nothing explains it
    "unpriced": {"title": "Lamp"},
    "yen": priced(11, "JPY"),  # the number is one of euros
    **{f"j{n}": priced(1700 + n, "JPY") for n in range(3)},
    "case": priced(3.3 * 24, title="Cola 24 x 330 ml"),
    **{f"c{n}": priced(3 + n / 10, title="Cola 330 ml") for n in range(4)},
    "far": priced(11),  # its neighbours are too dissimilar to be compared with
    "dollars": priced(11, "USD"),  # no peer in its currency
}
LISTS = {
    **{name: dict.fromkeys(PEERS, 0.9) for name in ("usual", "cheap", "cents", "strange", "unpriced", "dollars")},
    "lonely": {"p1": 0.9, "p2": 0.9},
    "yen": {"j0": 0.9, "j1": 0.9, "j2": 0.9, **dict.fromkeys(PEERS, 0.8)},
    "case": {f"c{n}": 0.9 for n in range(4)},
    "far": dict.fromkeys(PEERS, 0.3),
}


@pytest.fixture
def found(spark: "SparkSession", lake: Lake, night: Night, settings_of: Callable[..., Settings]) -> dict[str, Any]:
    publish(lake, night, ITEMS, LISTS)
    counts = position.run(spark, lake, settings_of(), night)
    rows = {row["item_id"]: row for row in lake.read(PRICE_POSITIONS, night).collect()}
    assert counts.rows_out == len(rows)
    return rows


def test_positions(found: dict[str, Any]) -> None:
    assert set(found) == set(LISTS) - {"unpriced", "far", "dollars"}
    assert (found["usual"]["peers"], found["usual"]["percentile"]) == (4, 0.5)  # one cheaper, two the same, one dearer
    assert found["usual"]["median"] == Decimal("11.00")
    assert found["cheap"]["gap"] == pytest.approx(5 / 11 - 1)
    assert found["cheap"]["percentile"] == 0
    outliers = {name: row["cause"] for name, row in found.items() if row["outlier"]}
    assert outliers == {"cents": "decimal point", "strange": None, "yen": "currency", "case": "pack size"}


def test_the_middle_is_that_of_numpy(spark: "SparkSession") -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=size).tolist() for size in range(1, 12)]
    frame = spark.createDataFrame([(one,) for one in [*arrays, []]], "values array<double>")
    assert [row[0] for row in frame.select(position.median(frame["values"])).collect()] == [*map(np.median, arrays), None]
