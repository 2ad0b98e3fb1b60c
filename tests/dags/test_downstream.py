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
}


def nights(date: str | None = None, *extras: dict[str, Any] | None) -> list[str]:
    from shelfmates.events import nights as task

    events = {"neighbours": [SimpleNamespace(extra=extra) for extra in extras]}
    found: list[str] = task.function(params={"date": date}, triggering_asset_events=events)
    return found


def test_flow(dags: dict[str, "DAG"]) -> None:
    downstream = dags["downstream"]
    assert {task.task_id: task.downstream_task_ids for task in downstream.tasks} == {"nights": set(OUTLETS)} | {
        stage: set() for stage in OUTLETS
    }
    made = {task.task_id: task for task in downstream.tasks if task.task_id != "nights"}
    assert {name: task.partial_kwargs["stages"] for name, task in made.items()} == {stage: [stage] for stage in OUTLETS}
    assert {name: [asset.name for asset in task.outlets] for name, task in made.items()} == OUTLETS
    assert [asset.name for _, asset in downstream.timetable.asset_condition.iter_assets()] == ["neighbours"]


def test_the_stages_are_those_of_the_program(dags: dict[str, "DAG"]) -> None:
    from jobs.stages import DOWNSTREAM

    assert [task.task_id for task in dags["downstream"].tasks if task.task_id != "nights"] == list(DOWNSTREAM)


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
