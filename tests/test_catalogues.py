"""The settings of the real catalogues: they load, and ingest reads every row of every source, each of sound shape."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobs import ingest
from jobs.lake import Lake
from jobs.night import Night
from jobs.settings import load
from jobs.tables import AUDIT_RESULTS, RAW_ITEMS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FOLDER = Path(__file__).parent / "catalogues"
ROWS = {
    "abt_buy": {"abt": 1081, "buy": 1092},
    "abt_buy_d2": {"abt": 1076, "buy": 1076},
    "amazon_google": {"amazon": 1363, "google": 3226},
    "amazon_google_d3": {"amazon": 1354, "google": 3039},
    "icecat": {"icecat": 19_406},
    "openfoodfacts": {"openfoodfacts": 60_000},
    "walmart_amazon": {"walmart": 2554, "amazon": 22_074},
    "walmart_amazon_d8": {"walmart": 2554, "amazon": 22_074},
    "walmart_amazon_dirty": {"walmart": 2554, "amazon": 22_074},
}


def test_every_settings_file_is_listed_and_keeps_its_tables_apart() -> None:
    loaded = {file.stem: load(file, environment={}) for file in FOLDER.glob("*.toml")}
    assert {name: list(settings.sources) for name, settings in loaded.items()} == {name: list(rows) for name, rows in ROWS.items()}
    build = Path(__file__).parents[1] / "build"
    assert {name: settings.lake.root for name, settings in loaded.items()} == {name: str(build / "lake" / name) for name in ROWS}
    assert {name: settings.validate_.docs for name, settings in loaded.items()} == {name: str(build / "data_docs" / name) for name in ROWS}
    assert {name for name, settings in loaded.items() if settings.neighbours.across} == {
        name for name, rows in ROWS.items() if len(rows) == 2
    }


@pytest.mark.real
@pytest.mark.parametrize("name", ROWS)
def test_every_row_is_read(name: str, real_data: Path, spark: "SparkSession", lake: Lake, night: Night) -> None:
    for table in (RAW_ITEMS, AUDIT_RESULTS):
        lake.create(table)
    settings = load(FOLDER / f"{name}.toml", environment={})
    counts = ingest.run(spark, lake, settings, night)
    assert {source: counts.figures[f"rows_{source}"] for source in ROWS[name]} == ROWS[name]
    rows = lake.read(RAW_ITEMS, night)
    assert rows.count() == counts.rows_out == sum(ROWS[name].values())
    assert rows.where("fault IS NOT NULL").isEmpty()
