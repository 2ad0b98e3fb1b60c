"""The data dictionary is what the tables are, and every view and example is read by DuckDB and Spark alike."""

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jobs.dictionary import page
from jobs.lake import Lake
from jobs.night import Night
from jobs.settings import load
from jobs.sql import connect
from jobs.tables import TABLES
from jobs.views import EXAMPLES, VIEWS
from tests.conftest import MINIMAL
from tests.decided import publish
from tests.rows import in_order

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).parents[2]
NIGHT = Night(date(2026, 1, 5), "test")
NOW = {"snapshot_date": NIGHT.date, "run_id": "test"}
ITEMS = {
    "shop:1": {"source": "shop", "price": Decimal(10), "currency": "EUR", "category": "Lamps"},
    "shop:2": {"source": "shop", "price": Decimal(12), "currency": "EUR", "category": "Lamps"},
    "market:1": {"source": "market", "price": Decimal(8), "currency": "EUR", "category": "Lamps"},
}
ROWS: dict[str, list[dict[str, Any]]] = {
    "raw_items": [{"source": "shop", "file": "f", "row": row, "file_sha256": "0", "values": {}} for row in (1, 2)],
    "quarantined_items": [{"source": "shop", "file": "f", "row": 2, "reasons": ["title is missing"], "values": "{}"}],
    "current_neighbours": [
        {"item_id": one, "rank": 1, "neighbour_id": other, "similarity": 0.9, "parts": {"semantic": 0.9}, "model_id": "m"}
        for one, other in (("shop:1", "market:1"), ("market:1", "shop:1"))
    ],
    "duplicates": [
        {"group_id": "market:1", "item_id": one, "survivor": one == "shop:1", "match_probability": 0.9, "merged": {}}
        for one in ("market:1", "shop:1")
    ],
    "price_positions": [
        {"item_id": "shop:1", "price": Decimal(10), "peers": 3, "median": Decimal(100), "gap": -0.9, "percentile": 0.0}
        | {"outlier": True, "cause": "decimal point"}
    ],
    "substitutes": [
        {"item_id": "shop:3", "rank": 1, "substitute_id": "shop:2", "similarity": 0.9, "last_listed": NIGHT.date, "reason": "same brand"}
    ],
    "audit_results": [
        {"check": "night: churn", "grade": "fail", "passed": False, "figure": 0.9, "bound": "<= 0.5", "reason": "all: because"}
    ],
    "runs": [
        {"stage": stage, "started_at": datetime(2026, 1, 5, tzinfo=UTC), "seconds": 2.5, "outcome": "ok", "figures": {}, "versions": {}}
        for stage in ("deduplicate", "position", "substitute")
    ],
}


def test_the_page_is_what_the_tables_are() -> None:
    """`SHELFMATES_REBUILD_GOLDEN=1 pytest tests/jobs/test_dictionary.py` writes it anew."""
    file = ROOT / "jobs" / "tables.md"
    if os.environ.get("SHELFMATES_REBUILD_GOLDEN"):
        file.write_text(page(), encoding="utf-8")
        pytest.skip("tables.md rebuilt: look at the difference")
    assert page() == file.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def filled(spark: "SparkSession", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """A lake with a row or two wherever a view looks; its views are known to Spark too."""
    found = Lake(spark, str(tmp_path_factory.mktemp("lake")))
    publish(found, NIGHT, ITEMS, {"shop:1": {"market:1": 0.9}, "market:1": {"shop:1": 0.9}})
    for name, rows in ROWS.items():
        found.create(TABLES[name])
        found.append(TABLES[name], found.frame(TABLES[name], [in_order(TABLES[name], NOW | row) for row in rows]), NIGHT)
    read = {name for view in VIEWS.values() for name in view.tables}
    for name in read:
        found.read(TABLES[name]).createOrReplaceTempView(name)
    for view in VIEWS.values():
        spark.sql(f"CREATE OR REPLACE TEMPORARY VIEW {view.name} AS {view.sql}")
    yield found
    for name in [*VIEWS, *read]:
        spark.catalog.dropTempView(name)


@pytest.mark.parametrize("query", [*(f"SELECT * FROM {name}" for name in VIEWS), *EXAMPLES.values()], ids=[*VIEWS, *EXAMPLES])
def test_duckdb_and_spark_answer_alike(filled: Lake, spark: "SparkSession", tmp_path: Path, query: str) -> None:
    settings = tmp_path / "shelfmates.toml"
    settings.write_text(f'{MINIMAL}\n[lake]\nroot = "{filled.root}"\n', encoding="utf-8")
    answer = connect(load(settings, {})).sql(query)
    expected = spark.sql(query)
    assert answer.columns == expected.columns
    rows = [[_plain(value) for value in row] for row in answer.fetchall()]
    assert rows
    assert sorted(map(repr, rows)) == sorted(repr([_plain(value) for value in row]) for row in expected.collect())


def _plain(value: Any) -> Any:
    """Numbers as floats, moments without their zone: the two readers have types of their own."""
    if isinstance(value, (Decimal, float)):
        return round(float(value), 4)
    return value.replace(tzinfo=None) if hasattr(value, "tzinfo") else value


def test_there_are_ten_questions() -> None:
    assert len(EXAMPLES) == 10
