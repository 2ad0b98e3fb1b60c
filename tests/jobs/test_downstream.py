"""What is made of a published night is checked before it is seen, and needs a published night."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from expectations.suite import at_most
from jobs import downstream, publish
from jobs.decisions import SUBSTITUTES
from jobs.errors import ContractError, HeldError
from jobs.lake import Lake
from jobs.night import Night
from jobs.tables import AUDIT_RESULTS, CLEAN_ITEMS, RUNS
from tests.decided import publish as published
from tests.rows import in_order

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ROW = {"item_id": "a", "rank": 1, "substitute_id": "b", "similarity": 0.9, "reason": "same brand"}


@pytest.fixture
def rows(lake: Lake, night: Night) -> Callable[[str], "DataFrame"]:
    published(lake, night, {"a": {}, "b": {}}, {"a": {"b": 0.9}})

    def of(substitute: str) -> "DataFrame":
        row = in_order(
            SUBSTITUTES, ROW | {"snapshot_date": night.date, "last_listed": night.date, "run_id": "", "substitute_id": substitute}
        )
        return lake.frame(SUBSTITUTES, [row])

    return of


def test_a_broken_check_leaves_the_table_as_it_was(lake: Lake, night: Night, rows: Callable[[str], "DataFrame"]) -> None:
    """What a check finds is on record all the same; it does not hold the night itself."""
    checks = [at_most("wrong", 0, "fail", "because"), at_most("odd", 0, "warn", "because")]
    warnings = downstream.audited(lake, SUBSTITUTES, night, checks, [{"group": "all", "wrong": 0.0, "odd": 2.0}])
    assert warnings == ["warned of substitutes: odd is 2, expected <= 0: because"]
    downstream.put(lake, SUBSTITUTES, rows("b"), night)
    assert [(row["substitute_id"], row["run_id"]) for row in lake.read(SUBSTITUTES, night).collect()] == [("b", "test")]
    with pytest.raises(HeldError, match="substitutes of 2026-01-05 are held back, the table is as it was:\n  substitutes: wrong is 1"):
        downstream.audited(lake, SUBSTITUTES, night, checks, [{"group": "all", "wrong": 1.0, "odd": 0.0}])
    record = lake.read(AUDIT_RESULTS, night)
    assert {(row["check"], row["passed"]) for row in record.collect()} == {("substitutes: wrong", False), ("substitutes: odd", True)}
    audited = lake.frame(AUDIT_RESULTS, [(night.date, "test", "night: validated", "fail", True, 1.0, ">= 1", "all: because")])
    assert publish.holding(record.unionByName(audited), night) == []


@pytest.mark.usefixtures("rows")
def test_a_night_that_is_cleaned_again_and_not_published_since(lake: Lake, night: Night) -> None:
    """Its items may be those of a feed that the audit has refused."""
    for hour, stage in enumerate(("clean", "publish", "clean")):
        assert downstream.published(lake, night)
        row = {"snapshot_date": night.date, "stage": stage, "started_at": datetime(2026, 1, 5, hour, tzinfo=UTC), "outcome": "ok"}
        lake.append(RUNS, lake.frame(RUNS, [in_order(RUNS, row | {"run_id": "", "seconds": 1.0, "figures": {}, "versions": {}})]), night)
    with pytest.raises(ContractError, match="has been cleaned again and is not published since"):
        downstream.published(lake, night)


def test_a_lake_without_nights(lake: Lake, night: Night) -> None:
    with pytest.raises(ContractError, match="no night is published here\n  → run it first: `shelfmates run --date 2026-01-05`"):
        downstream.published(lake, night)


@pytest.mark.usefixtures("rows")
def test_a_night_that_is_not_published(lake: Lake, night: Night) -> None:
    with pytest.raises(ContractError, match="the night of 2026-01-06 has no rows in neighbours\n  → run it first: `shelfmates run --date"):
        downstream.published(lake, Night(night.date.replace(day=6), "test"))
    lake.drop(CLEAN_ITEMS, night.predicate, night)
    with pytest.raises(ContractError, match="no rows in clean_items\n  → name a later night"):
        downstream.published(lake, night)
