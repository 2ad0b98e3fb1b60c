"""The catalogue DAG: its tasks, its dates, and the commands it renders."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.commands import check_golden, context_of, rendered

if TYPE_CHECKING:
    from airflow.sdk import DAG

FLOW = {"load": {"embed"}, "embed": {"neighbours"}, "neighbours": {"publish"}, "publish": set()}
STAGES = {
    "load": ["prepare", "ingest", "validate", "clean", "weigh"],
    "embed": ["embed"],
    "neighbours": ["neighbours"],
    "publish": ["audit", "publish"],
}


def test_flow(dags: dict[str, "DAG"]) -> None:
    catalogue = dags["catalogue"]
    assert {task.task_id: task.downstream_task_ids for task in catalogue.tasks} == FLOW
    assert {task.task_id: task.stages for task in catalogue.tasks} == STAGES


def test_publish_updates_the_assets(dags: dict[str, "DAG"]) -> None:
    outlets = {task.task_id: [asset.name for asset in task.outlets] for task in dags["catalogue"].tasks if task.outlets}
    assert outlets == {"publish": ["neighbours", "current_neighbours"]}


@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")  # Airflow's own
def test_a_nights_run_carries_its_own_day(dags: dict[str, "DAG"]) -> None:
    """A night's logical date is the moment it is due, not the day before: `ds` is the date of the feed."""
    from airflow.serialization.serialized_objects import DagSerialization

    scheduled = DagSerialization.from_dict(DagSerialization.to_dict(dags["catalogue"]))
    nights = scheduled.iter_dagrun_infos_between(datetime(2026, 11, 14, tzinfo=UTC), datetime(2026, 11, 20, 23, 59, tzinfo=UTC))
    found = [info.logical_date.isoformat() for info in nights]
    assert found == [f"2026-11-{day}T03:00:00+00:00" for day in range(14, 21)]


@pytest.mark.parametrize(
    ("date", "partition", "ds", "night"),
    [
        ("2026-11-20", "2026-11-19", "2026-11-18", "2026-11-20"),  # the form wins
        (None, "2026-11-19", "2026-11-18", "2026-11-19"),  # then the partition
        (None, "2026-11-19T03:00:00", None, "2026-11-19"),  # Airflow's own partition keys are moments
        (None, None, "2026-11-18", "2026-11-18"),  # then the schedule
        ("", None, "2026-11-18", "2026-11-18"),  # a form field that was emptied
    ],
)
@pytest.mark.usefixtures("spark_connection")
def test_which_night(dags: dict[str, "DAG"], date: str | None, partition: str | None, ds: str | None, night: str) -> None:
    assert rendered(dags["catalogue"], "embed", context_of(date, partition, ds))[-6] == night


@pytest.mark.parametrize(
    ("partition", "message"),
    [(None, "the form's field Night .date. is empty"), ("eu-west", "'eu-west' is not a date")],
)
def test_no_night(dags: dict[str, "DAG"], partition: str | None, message: str) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises(AirflowFailException, match=message):
        rendered(dags["catalogue"], "embed", context_of(partition=partition))


@pytest.mark.parametrize("task", FLOW)
@pytest.mark.usefixtures("spark_connection")
def test_rendered_command(dags: dict[str, "DAG"], task: str) -> None:
    check_golden(dags["catalogue"], task)


@pytest.mark.parametrize("task", FLOW)
@pytest.mark.usefixtures("spark_connection")
def test_rendered_command_of_a_form_that_was_filled_in(dags: dict[str, "DAG"], task: str) -> None:
    check_golden(dags["catalogue"], task, "-chosen", lists="full", target_recall=0.97, dry_run=False)


@pytest.mark.parametrize(
    ("name", "value", "valid"),
    [
        ("date", "2026-11-20", True),
        ("date", "20 November", False),
        ("lists", "full", True),
        ("lists", "half", False),
        ("target_recall", 1, True),
        ("target_recall", None, True),
        ("target_recall", 0.4, False),
        ("target_recall", "0.97", False),
        ("dry_run", True, True),
        ("dry_run", "yes", False),
    ],
)
def test_the_form_is_checked_before_anything_starts(dags: dict[str, "DAG"], name: str, value: object, valid: bool) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    param = dags["catalogue"].params.get_param(name)
    if valid:
        assert param.resolve(value) == value
    else:
        with pytest.raises(ParamValidationError):
            param.resolve(value)


@pytest.mark.parametrize(("asked", "audits_only"), [(True, True), (False, False)])
def test_a_dry_run_is_the_forms_choice(dags: dict[str, "DAG"], asked: bool, audits_only: bool) -> None:
    task = dags["catalogue"].get_task("publish").prepare_for_execution()
    task.render_template_fields(context_of(ds="2026-11-20", dry_run=asked))
    assert bool(task.audit_only) is audits_only


def test_a_late_night_is_told_of(dags: dict[str, "DAG"]) -> None:
    (alert,) = dags["catalogue"].deadline
    assert (alert.callback.path, alert.interval) == ("shelfmates.alerts.deadline_missed", timedelta(hours=8))
    assert type(alert.reference).__name__ == "DagRunLogicalDateDeadline"  # with another one no task of the run can be cleared


def test_dags_test_knows_no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one, Airflow's own fails as the run succeeds; the rest of it is left as it is."""
    from airflow.sdk import DAG, AsyncCallback, DeadlineAlert, DeadlineReference
    from shelfmates.nightly import NightlyDAG

    alert = DeadlineAlert(DeadlineReference.DAGRUN_LOGICAL_DATE, timedelta(hours=8), AsyncCallback("shelfmates.alerts.deadline_missed"))
    monkeypatch.setattr(DAG, "test", lambda dag, **options: (dag.deadline, options))
    assert NightlyDAG("night", schedule=None, deadline=alert).test(run_conf={"a": 1}) == (None, {"run_conf": {"a": 1}})
