"""What every test may ask for: one Spark session for all tests of a process, an empty lake, settings from a few lines of TOML."""

import logging
import os
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from jobs.night import Night
from jobs.settings import Settings, load
from jobs.toolchain import files

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from jobs.lake import Lake

REAL_DATA = Path(__file__).parents[2] / "shared" / "data"  # real catalogues, where the machine has them

MINIMAL = """
[sources.shop]
path = "feeds/{date}/shop.csv"
columns = { id = "id", title = "title" }
"""

# Compiling a query, and cutting its rows into parts, costs more than it spares where a test asks for a few rows.
SPARK = """
[spark]
master = "local[2]"

[spark.conf]
"spark.sql.codegen.wholeStage" = "false"
"spark.sql.codegen.factoryMode" = "NO_CODEGEN"
"spark.sql.shuffle.partitions" = "1"
"spark.databricks.delta.snapshotPartitions" = "1"
"""


@pytest.fixture
def settings_of(tmp_path: Path) -> Callable[[str], Settings]:
    """Settings read from TOML text that lies in the test's own folder."""

    def of(text: str = MINIMAL) -> Settings:
        file = tmp_path / "shelfmates.toml"
        file.write_text(text, encoding="utf-8")
        return load(file, environment={})

    return of


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator["SparkSession"]:
    from jobs.session import open_session

    folder = tmp_path_factory.mktemp("settings")
    (folder / "shelfmates.toml").write_text(MINIMAL + SPARK, encoding="utf-8")
    # one JVM plans thousands of queries: here the full compiler pays, and the program's own choice is overridden
    options = f"{(files() / 'jvm-options').read_text(encoding='utf-8')} -XX:TieredStopAtLevel=4"
    with patch.dict(os.environ, SPARK_SUBMIT_OPTS=options):
        session = open_session(load(folder / "shelfmates.toml", environment={}), name="shelfmates-tests")
    yield session
    session.stop()
    logging.getLogger("py4j").setLevel(logging.WARNING)  # it says goodbye when pytest has closed the streams already


@pytest.fixture
def lake(spark: "SparkSession", tmp_path: Path) -> "Lake":
    """A lake without tables: a test creates those it needs with `lake.create(TABLE)`."""
    from jobs.lake import Lake

    return Lake(spark, str(tmp_path / "lake"))


@pytest.fixture
def night() -> Night:
    return Night(date(2026, 1, 5), "test")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real catalogues; tests that ask for it are marked `real` and skip without it."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real catalogues at {REAL_DATA}")
    return REAL_DATA


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a real sentence-transformers model that is made in a second."""
    from tests.tiny_encoder import save

    return save(tmp_path_factory.mktemp("model") / "tiny")
