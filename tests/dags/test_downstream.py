"""The downstream DAG: its tasks, the nights that events tell of, and the commands it renders."""

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.commands import check_golden

if TYPE_CHECKING:
    from airflow.sdk import DAG

OUTLETS = {
    "deduplicate": ["matches", "duplicates"],
    "position": ["price_positions"],
    "substitute": ["substitutes"],
    "collect": ["interactions"],
    "recommend": ["recommendations"],
    "bundle": ["bundles"],
}


def nights(date: str | None = None, *extras: dict[str, Any] | None) -> list[str]:
    from shelfmates.events import nights as task

    events = {"neighbours": [SimpleNamespace(extra=extra) for extra in extras]}
    found: list[str] = task.function(params={"date": date}, triggering_asset_events=events)
    return found


def test_flow(dags: dict[str, "DAG"]) -> None:
    downstream = dags["downstream"]
    after = {task.task_id: task.downstream_task_ids for task in downstream.tasks}
    assert after == {"nights": set(OUTLETS), "collect": {"recommend", "bundle"}} | {stage: set() for stage in OUTLETS if stage != "collect"}
    made = {task.task_id: task for task in downstream.tasks if task.task_id != "nights"}
    assert {name: task.partial_kwargs["stages"] for name, task in made.items()} == {stage: [stage] for stage in OUTLETS}
    assert {name: [asset.name for asset in task.outlets] for name, task in made.items()} == OUTLETS
    assert [asset.name for asset in downstream.timetable.asset_condition.objects] == ["neighbours"]


def test_the_stages_are_those_of_the_program(dags: dict[str, "DAG"]) -> None:
    from jobs.stages import DOWNSTREAM

    assert sorted(task.task_id for task in dags["downstream"].tasks if task.task_id != "nights") == sorted(DOWNSTREAM)


def test_events_that_came_together_are_nights_in_order() -> None:
    assert nights(None, {"snapshot_date": "2026-11-21"}, {"snapshot_date": "2026-11-20"}, {"snapshot_date": "2026-11-21"}) == [
        "2026-11-20",
        "2026-11-21",
    ]


def test_the_forms_date_wins() -> None:
    assert nights("2026-11-19", {"snapshot_date": "2026-11-20"}) == ["2026-11-19"]


@pytest.mark.parametrize(
    ("extras", "message"),
    [([], "this run has no night: no event started it"), ([{"snapshot_date": "2026-11-20"}, None], "1 of 2 events tell no night")],
)
def test_no_night(extras: list[dict[str, Any] | None], message: str) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises(AirflowFailException, match=message):
        nights(None, *extras)


@pytest.mark.parametrize("task", OUTLETS)
@pytest.mark.usefixtures("spark_connection")
def test_rendered_command(dags: dict[str, "DAG"], task: str) -> None:
    check_golden(dags["downstream"], task)


def test_the_users_key_is_in_the_environment_and_not_in_the_command(dags: dict[str, "DAG"], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", '{"conn_type": "spark", "host": "local[2]"}')
    task = dags["downstream"].get_task("collect").unmap({"date": "2026-11-20"}).prepare_for_execution()
    assert "SHELFMATES_USER_KEY" not in task._get_hook()._env_vars  # a worker's own variable counts
    monkeypatch.setenv("AIRFLOW_CONN_SHELFMATES_USERS", '{"conn_type": "generic", "password": "a key of the tests alone"}')
    hook = task._get_hook()
    assert hook._env_vars["SHELFMATES_USER_KEY"] == "a key of the tests alone"
    assert "a key of the tests alone" not in " ".join(hook._build_spark_submit_command(task.application))
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", '{"conn_type": "spark", "host": "yarn", "extra": {"deploy-mode": "cluster"}}')
    hook = task._get_hook()
    assert "a key of the tests alone" not in " ".join(hook._build_spark_submit_command(task.application))
