"""The maintenance DAG: its only task, its days, and the command it renders."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.commands import check_golden, context_of, rendered

if TYPE_CHECKING:
    from airflow.sdk import DAG


def test_flow(dags: dict[str, "DAG"]) -> None:
    assert {task.task_id: task.stages for task in dags["maintenance"].tasks} == {"maintain": ["maintain"]}


@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")  # Airflow's own
def test_a_weeks_run_carries_its_own_day(dags: dict[str, "DAG"]) -> None:
    """Ages are counted back from the Sunday it runs on, not from the one before."""
    from airflow.serialization.serialized_objects import DagSerialization

    scheduled = DagSerialization.from_dict(DagSerialization.to_dict(dags["maintenance"]))
    weeks = scheduled.iter_dagrun_infos_between(datetime(2026, 11, 14, tzinfo=UTC), datetime(2026, 11, 28, tzinfo=UTC))
    assert [info.logical_date.isoformat() for info in weeks] == ["2026-11-15T12:00:00+00:00", "2026-11-22T12:00:00+00:00"]


@pytest.mark.usefixtures("spark_connection")
def test_rendered_command(dags: dict[str, "DAG"]) -> None:
    check_golden(dags["maintenance"], "maintain")


@pytest.mark.usefixtures("spark_connection")
def test_another_day(dags: dict[str, "DAG"]) -> None:
    assert rendered(dags["maintenance"], "maintain", context_of("2026-11-29", ds="2026-11-22"))[-6] == "2026-11-29"


@pytest.mark.usefixtures("spark_connection")
def test_erasing_is_the_forms_choice(dags: dict[str, "DAG"]) -> None:
    command = rendered(dags["maintenance"], "maintain", context_of(ds="2026-11-22", erase=True))
    assert command[command.index("maintain") + 1] == "--erase"
    assert "--erase" not in rendered(dags["maintenance"], "maintain", context_of(ds="2026-11-22", erase=False))
