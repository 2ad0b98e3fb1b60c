"""Where a task's page in Airflow leads on to."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.commands import ROOT, context_of

if TYPE_CHECKING:
    from airflow.sdk import DAG
    from airflow.sdk.types import TaskInstanceKey

NO_KEY = cast("TaskInstanceKey", None)  # none of them asks for it


@pytest.fixture
def links(dags: dict[str, "DAG"], spark_connection: None) -> Callable[..., dict[str, str]]:
    """What Airflow would keep of an embed task that has ended."""

    def of(context: dict[str, Any], submitted: bool = True) -> dict[str, str]:
        task: Any = dags["catalogue"].get_task("embed").prepare_for_execution()
        task.render_template_fields(context)
        task._hook = task._get_hook() if submitted else None
        return {link.name: link.get_link(task, ti_key=NO_KEY) for link in task.operator_extra_links}

    return of


def test_the_explorer_opens_on_the_night(links: Callable[..., dict[str, str]]) -> None:
    assert links(context_of(ds="2026-11-20")) == {
        "Explorer": "http://localhost:8080/shelfmates/?night=2026-11-20",
        "Data Docs": "",
        "Spark history": "",
    }


def test_data_docs_and_history_where_somebody_serves_them(
    links: Callable[..., dict[str, str]], dags: dict[str, "DAG"], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELFMATES_DOCS_URL", "https://docs.example.com/feeds/")
    monkeypatch.setattr(dags["catalogue"].get_task("embed"), "conf", {"spark.yarn.historyServer.address": "history:18080"})
    found = links(context_of(ds="2026-11-20"))
    assert found["Data Docs"] == "https://docs.example.com/feeds/2026-11-20/index.html"
    assert found["Spark history"] == "http://history:18080"


def test_a_task_without_a_night_has_no_links(links: Callable[..., dict[str, str]]) -> None:
    assert set(links(context_of(), submitted=False).values()) == {""}


@pytest.mark.parametrize(("variable", "pool"), [("", "default_pool"), ("spark", "spark")])
def test_tasks_take_the_pool_that_is_named(variable: str, pool: str) -> None:
    """In a process of its own, since the DAGs read it as they are imported."""
    program = "import catalogue, json; print(json.dumps([task.pool for task in catalogue.publish.dag.tasks]))"
    path = [str(ROOT / "dags"), str(ROOT / "plugins")]
    run = subprocess.run(
        [sys.executable, "-c", f"import os, sys; os.environ['SHELFMATES_POOL'] = {variable!r}; sys.path[:0] = {path}; {program}"],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    assert json.loads(run.stdout.splitlines()[-1]) == [pool] * 4
