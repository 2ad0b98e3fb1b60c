"""What can be had in place of what cannot: of products out of stock tonight, and of those that no feed has any more."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from jobs import substitute
from jobs.decisions import SUBSTITUTES
from jobs.lake import Lake
from jobs.night import Night
from jobs.settings import Settings
from jobs.tables import QUARANTINED_ITEMS
from tests.decided import publish

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def item(price: float | None = 10, in_stock: bool | None = True, currency: str = "EUR", brand: str | None = None) -> dict[str, Any]:
    return {
        "price": Decimal(f"{price:.2f}") if price else None,
        "currency": currency if price else None,
        "in_stock": in_stock,
        "brand": brand,
    }


TONIGHT = {
    "out": item(in_stock=False, brand="Acme"),
    "same": item(brand="acme"),
    "unsaid": item(9.6, in_stock=None),
    "dear": item(14),
    "empty": item(in_stock=False),
    "other": item(currency="USD"),
    "unpriced": item(None),
    "unlike": item(),
}
LISTS = {
    "out": {"empty": 0.95, "dear": 0.93, "same": 0.9, "unsaid": 0.85, "other": 0.8, "unpriced": 0.7, "unlike": 0.4},
    "same": {"out": 0.9},  # it can be had: nothing is to stand in for it
    "empty": {"out": 0.95},  # whose only neighbour cannot be had either
}


def test_substitutes(spark: "SparkSession", lake: Lake, night: Night, settings_of: Callable[..., Settings]) -> None:
    before = replace(night, date=night.date - timedelta(days=3))
    lists = {"gone": {"out": 0.9, "same": 0.8}, "out": {"same": 0.9}, "refused": {"same": 0.9}}
    publish(lake, before, {name: item() for name in ("gone", "out", "same", "refused")}, lists)
    refusal = (night.date, "shop", "f", 1, "refused", ["price is negative"], "{}")  # tonight's feed has it
    long_ago = replace(night, date=night.date - timedelta(days=15))
    publish(lake, long_ago, {"forgotten": item(), "same": item()}, {"forgotten": {"same": 0.9}})
    publish(lake, night, TONIGHT, LISTS)
    lake.append(QUARANTINED_ITEMS, lake.frame(QUARANTINED_ITEMS, [refusal]), night)
    counts = substitute.run(spark, lake, settings_of(), night)
    rows = {(row["item_id"], row["rank"]): row for row in lake.read(SUBSTITUTES, night).collect()}
    assert {key: row["substitute_id"] for key, row in rows.items()} == {
        ("out", 1): "same",
        ("out", 2): "unsaid",
        ("out", 3): "other",  # there is no comparing prices of two currencies
        ("out", 4): "unpriced",
        ("gone", 1): "same",
    }
    assert rows["out", 1]["reason"] == "same brand (acme), means the same, named alike, same price"
    assert rows["out", 2]["reason"] == "means the same, named alike, 4 % cheaper"
    assert rows["out", 3]["price_ratio"] is None
    assert (rows["out", 1]["last_listed"], rows["gone", 1]["last_listed"]) == (night.date, before.date)
    assert (counts.rows_in, counts.rows_out) == (3, 5)  # out, empty and gone


def test_no_more_than_asked_for(spark: "SparkSession", lake: Lake, night: Night, settings_of: Callable[..., Settings]) -> None:
    publish(lake, night, TONIGHT, LISTS)
    settings = settings_of()
    few = settings.model_copy(update={"substitutes": settings.substitutes.model_copy(update={"n": 1})})
    substitute.run(spark, lake, few, night)
    assert [row["substitute_id"] for row in lake.read(SUBSTITUTES, night).collect()] == ["same"]
    substitute.run(spark, lake, settings, night)  # again: the night is replaced
    assert lake.read(SUBSTITUTES, night).count() == 4
