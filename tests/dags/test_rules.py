"""Rules that every DAG of the house keeps."""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow.sdk import DAG

ROOT = Path(__file__).parents[2]
HEAVY = ("pyspark", "py4j", "delta", "torch", "transformers", "great_expectations", "pandas", "numpy", "duckdb", "jobs")


def test_these_are_the_dags(dags: dict[str, "DAG"]) -> None:
    assert sorted(dags) == ["catalogue", "downstream", "maintenance"]


def test_one_file_a_dag_of_the_same_name(dags: dict[str, "DAG"]) -> None:
    assert sorted(file.stem for file in (ROOT / "dags").glob("*.py")) == sorted(dags)


def test_a_dag_documents_itself(dags: dict[str, "DAG"]) -> None:
    for dag in dags.values():
        text = Path(dag.fileloc).read_text(encoding="utf-8")
        assert dag.doc_md, f"{dag.dag_id}: no doc_md"
        assert dag.doc_md.strip() in text, f"{dag.dag_id}: doc_md is not the file's docstring"
        assert dag.description, f"{dag.dag_id}: no description"
        missing = [task.label for task in dag.tasks if f"**{task.label}**" not in dag.doc_md]
        assert not missing, f"{dag.dag_id}: doc_md says nothing of {missing}"


def test_tags_owner_retries(dags: dict[str, "DAG"]) -> None:
    for dag in dags.values():
        assert "shelfmates" in dag.tags, f"{dag.dag_id}: not tagged shelfmates"
        assert not dag.catchup, f"{dag.dag_id}: would start every night since its start date"
        for task in dag.tasks:
            assert task.owner == "shelfmates", f"{task}: owner"
            assert task.retries == 2, f"{task}: retries"
            assert task.retry_exponential_backoff == 2.0, f"{task}: backoff"


def test_params_explain_themselves(dags: dict[str, "DAG"]) -> None:
    for dag in dags.values():
        for name in dag.params:
            schema = dag.params.get_param(name).schema
            assert schema.get("title"), f"{dag.dag_id}: parameter {name} has no title"
            assert dag.params.get_param(name).description, f"{dag.dag_id}: parameter {name} has no description"


def test_only_the_house_operator_submits_spark(dags: dict[str, "DAG"]) -> None:
    from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
    from shelfmates.operator import SparkJobOperator
    from shelfmates.publish import PublishOperator

    submits = [task for dag in dags.values() for task in dag.tasks if isinstance(task, SparkSubmitOperator)]
    assert submits, "no task submits Spark"
    assert [task for task in submits if type(task) not in (SparkJobOperator, PublishOperator)] == []
    for file in (ROOT / "dags").glob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert not [word for word in ("airflow.providers.apache.spark", "spark-submit ", "subprocess") if word in text], f"{file.name}"


@pytest.mark.parametrize("module", ["catalogue", "downstream", "maintenance"])
def test_importing_a_dag_loads_nothing_heavy(module: str) -> None:
    """In a process of its own, so that what other tests import doesn't count."""
    program = f"import {module}, sys; print([name for name in {HEAVY} if name in sys.modules])"
    path = [str(ROOT / "dags"), str(ROOT / "plugins")]
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path}; {program}"], capture_output=True, text=True, check=True, cwd="/"
    )
    assert run.stdout.strip() == "[]"


def test_plugins_load_and_leave_pythons_modules_alone() -> None:
    """Airflow imports plugin files under their bare names: without .airflowignore, ours would become Python's `operator`."""
    program = (
        "import operator\n"
        "from airflow import plugins_manager\n"
        "plugins, errors = plugins_manager._get_plugins()\n"
        "import sys\n"
        "print([p.name for p in plugins if 'shelfmates' in str(p.source)], errors, sys.modules['operator'] is operator)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "['shelfmates'] {} True"
