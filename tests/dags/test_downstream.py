"""The downstream DAG: its tasks, the nights that events tell of, and the commands it renders."""

import json
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
    made = {task.label: task for task in downstream.tasks if task.task_id != "nights"}
    after = {label: {name.partition(".")[2] for name in task.downstream_task_ids} for label, task in made.items()}
    assert after == {"collect": {"recommend", "bundle"}} | {stage: set() for stage in OUTLETS if stage != "collect"}
    assert {label: task.stages for label, task in made.items()} == {stage: [stage] for stage in OUTLETS}
    assert {label: [asset.name for asset in task.outlets] for label, task in made.items()} == OUTLETS
    assert [asset.name for asset in downstream.timetable.asset_condition.objects] == ["neighbours"]


def test_every_night_is_a_group_of_its_own(dags: dict[str, "DAG"]) -> None:
    from airflow.sdk.definitions.taskgroup import MappedTaskGroup

    group = dags["downstream"].task_group.get_child_by_label("night")
    assert isinstance(group, MappedTaskGroup)
    assert {task.partition(".")[2] for task in group.children} == set(OUTLETS)


def test_the_stages_are_those_of_the_program(dags: dict[str, "DAG"]) -> None:
    from jobs.stages import DOWNSTREAM

    assert sorted(task.label for task in dags["downstream"].tasks if task.task_id != "nights") == sorted(DOWNSTREAM)


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
    check_golden(dags["downstream"], f"night.{task}")


@pytest.mark.parametrize(
    ("host", "extra"),
    [
        ("local[2]", {}),
        ("spark://master:7077", {}),
        ("yarn", {}),
        ("yarn", {"deploy-mode": "cluster"}),
    ],
)
def test_keys_are_in_the_environment_and_not_in_the_command(
    dags: dict[str, "DAG"], monkeypatch: pytest.MonkeyPatch, host: str, extra: dict[str, str]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", json.dumps({"conn_type": "spark", "host": host, "extra": extra}))
    task = dags["downstream"].get_task("night.collect").prepare_for_execution()
    task.date = "2026-11-20"
    hook = task._get_hook()
    hook._build_spark_submit_command(task.application)
    assert not {"SHELFMATES_USER_KEY", "AWS_SECRET_ACCESS_KEY"} & set(hook._env or {})  # a worker's own variables count
    monkeypatch.setenv("AIRFLOW_CONN_SHELFMATES_USERS", '{"conn_type": "generic", "password": "a key of the tests alone"}')
    store = {"conn_type": "aws", "login": "an-id", "password": "a secret", "extra": {"endpoint_url": "http://s3:7070", "region_name": "eu"}}
    monkeypatch.setenv("AIRFLOW_CONN_SHELFMATES_S3", json.dumps(store))
    hook = task._get_hook()
    command = " ".join(hook._build_spark_submit_command(task.application))
    secrets = {
        "SHELFMATES_USER_KEY": "a key of the tests alone",
        "AWS_ACCESS_KEY_ID": "an-id",
        "AWS_SECRET_ACCESS_KEY": "a secret",
        "AWS_SESSION_TOKEN": "",  # one of the worker's own would not fit
        "AWS_ENDPOINT_URL_S3": "http://s3:7070",
        "AWS_REGION": "eu",
    }
    assert not [secret for secret in filter(None, secrets.values()) if secret in command]
    there = {name: (hook._env or {}).get(name) for name in secrets}
    assert there == (dict.fromkeys(secrets) if "deploy-mode" in extra else secrets)  # there the machine has them
