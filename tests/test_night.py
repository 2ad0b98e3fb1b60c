"""Two nights of a generated catalogue through every stage, and what its readers then see."""

import csv
import importlib
import json
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from jobs.evaluate import evaluate
from jobs.explain import explain
from jobs.generate import generate
from jobs.night import Counts, Night
from jobs.settings import Settings, load
from jobs.similar import shelf_of
from jobs.sql import answer
from jobs.stages import STAGES
from jobs.table import Table
from jobs.tables import CLEAN_ITEMS, CURRENT_NEIGHBOURS, NEIGHBOURS, QUARANTINED_ITEMS, RAW_ITEMS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from jobs.lake import Lake

FIRST = Night(date(2026, 1, 5), "manual__2026-01-05")
SECOND = Night(date(2026, 1, 6), "manual__2026-01-06")


class Nights(NamedTuple):
    folder: Path
    settings: Settings
    lake: "Lake"
    counts: dict[str, Counts]  # of the first night, by stage


def work(lake: "Lake", settings: Settings, night: Night, stages: list[str]) -> dict[str, Counts]:
    return {stage: importlib.import_module(f"jobs.{stage}").run(lake.spark, lake, settings, night) for stage in stages}


@pytest.fixture(scope="module")
def nights(spark: "SparkSession", tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Nights:
    from jobs.lake import Lake

    folder = tmp_path_factory.mktemp("catalogue")
    generate(folder, items=300, nights=2, start=FIRST.date, dirt=0.1)
    environment = {"SHELFMATES__EMBED__MODEL": str(tiny_model), "SHELFMATES__NEIGHBOURS__ACROSS": "source"}
    settings = load(folder / "shelfmates.toml", environment)
    lake = Lake(spark, settings.lake.root)
    counts = work(lake, settings, FIRST, list(STAGES))
    work(lake, settings, SECOND, list(STAGES))
    return Nights(folder, settings, lake, counts)


def contents(nights: Nights, table: Table, night: Night) -> list[tuple[object, ...]]:
    return sorted(tuple(row) for row in nights.lake.read(table, night).select(*table.key, "neighbour_id", "similarity").collect())


def test_every_raw_row_is_quarantined_folded_or_clean(nights: Nights) -> None:
    raw = nights.lake.read(RAW_ITEMS, FIRST).count()
    clean = nights.lake.read(CLEAN_ITEMS, FIRST)
    folded = clean.agg({"folded": "sum"}).collect()[0][0]
    assert raw == nights.lake.read(QUARANTINED_ITEMS, FIRST).count() + folded + clean.count()


def test_what_was_dirtied_came_out_as_the_truth_says(nights: Nights) -> None:
    """Every row the generator broke was quarantined, and no other."""
    with (nights.folder / "truth" / f"dirt-{FIRST.date}.csv").open(encoding="utf-8") as file:
        refused = {(row["source"], int(row["row"])) for row in csv.DictReader(file) if row["expected"] == "quarantined"}
    rows = nights.lake.read(QUARANTINED_ITEMS, FIRST).select("source", "row").collect()
    assert {(row["source"], row["row"]) for row in rows} == refused


def test_three_readers_see_the_same_rows(nights: Nights) -> None:
    from deltalake import DeltaTable

    columns = ["snapshot_date", "item_id", "rank", "neighbour_id", "similarity", "model_id", "run_id"]
    by_spark = sorted(tuple(row) for row in nights.lake.read(NEIGHBOURS).select(*columns).collect())
    by_delta_rs = DeltaTable(nights.lake.path(NEIGHBOURS)).to_pyarrow_table(columns=columns).to_pylist()
    by_duckdb = json.loads(answer(nights.settings, f"SELECT {', '.join(columns)} FROM neighbours", form="json"))
    assert len(by_spark) > 2000
    assert sorted(tuple(row.values()) for row in by_delta_rs) == by_spark
    assert sorted(tuple(row.values()) for row in by_duckdb) == [(str(day), *rest) for day, *rest in by_spark]


def test_a_night_run_twice_has_the_same_rows_and_one_more_commit(nights: Nights) -> None:
    before, version = contents(nights, NEIGHBOURS, SECOND), nights.lake.version(NEIGHBOURS)
    current = nights.lake.version(CURRENT_NEIGHBOURS)
    work(nights.lake, nights.settings, SECOND, list(STAGES))
    assert contents(nights, NEIGHBOURS, SECOND) == before
    assert nights.lake.version(NEIGHBOURS) == version + 1
    assert nights.lake.version(CURRENT_NEIGHBOURS) == current  # nothing changed, so the change feed stays silent


def test_neighbours_across_sources_find_known_matches(nights: Nights) -> None:
    printed = evaluate(nights.settings, nights.folder / "truth" / "matches.csv", [1, 10], SECOND.date)
    recall = {line.split()[0]: float(line.split()[1]) for line in printed.splitlines()[1:]}
    assert 0.2 < recall["recall@1"] <= recall["recall@10"]  # a random encoder of letters, over 300 candidates


def test_what_is_published_of_an_item_is_what_a_search_finds(nights: Nights) -> None:
    """By the SQL of two engines; a search looks in the item's own source too."""
    shelf = shelf_of(nights.settings, FIRST.date)
    rows = nights.lake.read(NEIGHBOURS, FIRST).select("item_id", "neighbour_id", "similarity", "parts").collect()
    of = {row["item_id"] for row in rows[::97]}
    found = {(item, row.item_id): row for item in of for row in shelf.similar(item, len(shelf.items))}
    assert of
    for row in rows:
        if row["item_id"] in of:
            same = found[row["item_id"], row["neighbour_id"]]
            assert (same.similarity, same.parts) == (row["similarity"], row["parts"].asDict())


def test_what_is_published_of_two_items_is_what_is_explained(nights: Nights) -> None:
    rows = nights.lake.read(NEIGHBOURS, SECOND).orderBy("rank", "item_id").limit(3).collect()
    for row in rows:
        found = explain(nights.settings, row["item_id"], row["neighbour_id"])
        assert found.explanation.similarity == row["similarity"]
        assert {channel.name: channel.part for channel in found.explanation.channels} == row["parts"].asDict()
        assert (found.listed[0].rank, found.listed[0].similarity) == (row["rank"], row["similarity"])


def test_sql_looks_back_by_date_and_by_version(nights: Nights) -> None:
    def asked(query: str, at: str | None = None) -> object:
        return json.loads(answer(nights.settings, query, at=at, form="json"))

    days = "SELECT count(DISTINCT snapshot_date) AS n FROM neighbours"
    assert asked(days) == [{"n": 2}]
    assert asked(days, at=FIRST.date.isoformat()) == [{"n": 1}]
    assert asked(days, at="0") == [{"n": 0}]
    unpacked = asked("SELECT list_sum(list_transform(vector, x -> x * x)) AS norm FROM item_vectors_unpacked LIMIT 1")
    assert unpacked == [{"norm": pytest.approx(1, abs=1e-5)}]
