"""Airflow for tests: a home of its own, nothing of the user's, no examples. Set before anything imports Airflow, which reads it once."""

import atexit
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow.sdk import DAG

ROOT = Path(__file__).parents[2]

_home = tempfile.TemporaryDirectory(prefix="shelfmates-airflow-")
atexit.register(_home.cleanup)
os.environ.update(
    AIRFLOW_HOME=_home.name,
    AIRFLOW__CORE__DAGS_FOLDER=str(ROOT / "dags"),
    AIRFLOW__CORE__PLUGINS_FOLDER=str(ROOT / "plugins"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
)
for _users in ("SHELFMATES_HOME", "SPARK_HOME"):
    os.environ.pop(_users, None)
(Path(_home.name) / "shelfmates.toml").write_text('[spark.conf]\n"spark.driver.memory" = "3g"\n', encoding="utf-8")
os.environ["SHELFMATES_SETTINGS"] = f"{_home.name}/shelfmates.toml"


@pytest.fixture(scope="session")
def dags() -> dict[str, "DAG"]:
    """Every DAG of the folder, by id."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(ROOT / "dags", bundle_name="dags-folder")
    assert bag.import_errors == {}
    return dict(bag.dags)


@pytest.fixture
def spark_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", '{"conn_type": "spark", "host": "local[2]"}')
