"""The commands that DAGs render: what a template may use, and what spark-submit would get, against files."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow.sdk import DAG

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden" / "dags"


def context_of(date: str | None = None, partition: str | None = None, ds: str | None = None, **params: object) -> dict[str, Any]:
    """The names that a template may use. `ds` is defined only where the run has a logical date, as in Airflow."""
    context: dict[str, Any] = {
        "params": {"date": date, **params},
        "dag_run": SimpleNamespace(partition_key=partition),
        "run_id": "scheduled__2026-11-20T03:00:00+00:00",
    }
    return context | ({"ds": ds} if ds else {})


def rendered(dag: "DAG", task_id: str, context: dict[str, Any]) -> list[str]:
    """The command that the task would give to spark-submit, one argument an element; of a task that is mapped over nights, of `ds`."""
    from shelfmates.operator import SparkJobOperator

    task = dag.get_task(task_id)
    assert isinstance(task, SparkJobOperator)
    task = task.prepare_for_execution()
    if not isinstance(task.date, str):
        task.date = context["ds"]
    task.render_template_fields(context)
    hook = task._get_hook()
    return hook._build_spark_submit_command(task.application)


def check_golden(dag: "DAG", task_id: str, case: str = "", **params: object) -> None:
    """The command of a run whose form was filled in like this. `SHELFMATES_REBUILD_GOLDEN=1 pytest tests/dags` writes the files anew."""
    lines = "\n".join(rendered(dag, task_id, context_of(ds="2026-11-20", **params))) + "\n"
    placeholders = {
        os.environ["SHELFMATES_SETTINGS"]: "<settings>",
        f"{sys.prefix}/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages": "<packages>",
        sys.executable: "<python>",
        str(ROOT): "<home>",
    }
    for machines_own, placeholder in placeholders.items():
        lines = lines.replace(machines_own, placeholder)
    golden = GOLDEN / dag.dag_id / f"{task_id}{case}.txt"
    if os.environ.get("SHELFMATES_REBUILD_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(lines, encoding="utf-8")
        pytest.skip(f"{golden.name} rebuilt: look at the difference")
    assert lines == golden.read_text(encoding="utf-8")
