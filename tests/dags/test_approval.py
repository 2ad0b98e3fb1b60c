"""A held night and the person who is asked: what the question says, and what becomes of every answer.

The program is a stand-in of a few lines under the real spark-submit; `make approval-test` asks the real one, under a real scheduler.
"""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

if TYPE_CHECKING:
    from shelfmates.publish import PublishOperator

CHECK = {"check": "night: churn", "of": "night 2026-11-19", "figure": "0.9", "bound": "<= 0.5", "reason": "texts *changed* [x](http://y)"}
PROGRAM = """
import json, os, sys
held = os.environ.get("HELD")
if "audit" in sys.argv and held:
    print("shelfmates-held " + held)
    print("shelfmates: the night of 2026-11-20 is held back\\n  → mend the cause", file=sys.stderr)
    sys.exit(int(os.environ["CODE"]))
print("arguments: " + json.dumps(sys.argv[1:]))
print('shelfmates-figures {"publish": {"rows_out": 20}}')
"""


class Comms:
    """What a task says to its supervisor, who knows no connections."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, msg: Any) -> Any:
        from airflow.sdk.exceptions import ErrorType
        from airflow.sdk.execution_time.comms import ErrorResponse, GetConnection

        if isinstance(msg, GetConnection):
            return ErrorResponse(error=ErrorType.CONNECTION_NOT_FOUND)
        self.sent.append(msg)
        return None


@pytest.fixture
def comms(monkeypatch: pytest.MonkeyPatch) -> Comms:
    from airflow.sdk.execution_time import task_runner

    found = Comms()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", found, raising=False)
    return found


@pytest.fixture
def alerts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from shelfmates import publish

    told: list[str] = []
    monkeypatch.setattr(publish, "night_held", lambda context, reason: told.append(reason))
    return told


@pytest.fixture
def context() -> dict[str, Any]:
    from airflow.sdk.execution_time.context import OutletEventAccessors

    run = SimpleNamespace(triggering_user_name="ada")
    return {"dag_run": run, "task_instance": SimpleNamespace(id=UUID(int=7)), "outlet_events": OutletEventAccessors()}


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spark_connection: None) -> Callable[..., "PublishOperator"]:
    """The task with its templates rendered, whose night is held if `HELD` lists checks."""
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "__main__.py").write_text(PROGRAM, encoding="utf-8")
    monkeypatch.setenv("SHELFMATES_HOME", str(tmp_path))
    monkeypatch.setenv("HELD", json.dumps([CHECK]))
    monkeypatch.setenv("CODE", "4")

    def of(**arguments: Any) -> "PublishOperator":
        from shelfmates.assets import NEIGHBOURS
        from shelfmates.publish import PublishOperator

        return PublishOperator(task_id="publish", date="2026-11-20", run_id="r1", outlets=[NEIGHBOURS], **arguments)

    return of


def answer(option: str, reason: object = "the range was cut", name: str = "ada") -> dict[str, Any]:
    return {"chosen_options": [option], "params_input": {"reason": reason}, "responded_by_user": {"id": "1", "name": name}}


UNTIL = "2100-01-01T00:00:00+00:00"


def test_a_held_night_asks_and_is_told_of(
    task: Callable[..., "PublishOperator"], context: dict[str, Any], comms: Comms, alerts: list[str]
) -> None:
    from airflow.sdk.exceptions import TaskAwaitingInput

    with pytest.raises(TaskAwaitingInput) as waits:
        task().execute(context)
    (asked,) = comms.sent
    assert (asked.ti_id, asked.options, asked.subject) == (
        UUID(int=7),
        ["Publish", "Reject"],
        "The night of 2026-11-20 is held. Publish it all the same?",
    )
    assert r"* **night\: churn** (night 2026\-11\-19): 0\.9, expected \<\= 0\.5." in asked.body
    assert r"texts \*changed\* \[x\]\(http\:\/\/y\)" in asked.body, "a feed's text is no Markdown"
    assert asked.params["reason"]["schema"]["minLength"] == 1
    assert alerts == [waits.value.kwargs["message"]] == ["the night of 2026-11-20 is held back\n  → mend the cause"]
    assert waits.value.method_name == "answered"
    assert timedelta(hours=19) < waits.value.timeout <= timedelta(hours=20)
    assert not context["outlet_events"]._dict, "nobody is told of a night that is not published"


@pytest.mark.parametrize(("code", "held"), [("3", json.dumps([CHECK])), ("4", "[]")])
def test_any_other_failure_asks_nobody(
    task: Callable[..., "PublishOperator"],
    context: dict[str, Any],
    comms: Comms,
    alerts: list[str],
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    held: str,
) -> None:
    """A code of another error, and a night that no release would help, as one that another run has staged anew."""
    from airflow.sdk.exceptions import AirflowFailException

    monkeypatch.setenv("CODE", code)
    monkeypatch.setenv("HELD", held)
    with pytest.raises(AirflowFailException, match="is held back"):
        task().execute(context)
    assert (comms.sent, alerts) == ([], [])


def test_in_a_test_of_the_dag_nobody_is_asked(task: Callable[..., "PublishOperator"], context: dict[str, Any], comms: Comms) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    context["dag_run"].triggering_user_name = "dag_test"
    with pytest.raises(AirflowFailException, match=r"is held back\n  → mend the cause"):
        task().execute(context)
    assert comms.sent == []


@pytest.mark.parametrize("name", ["ada", "Łucja --by mallory"])
def test_publish_releases_the_night_in_the_persons_name(task: Callable[..., "PublishOperator"], context: dict[str, Any], name: str) -> None:
    from shelfmates.assets import NEIGHBOURS

    job = task()
    job.answered(context, answer("Publish", "größer\nas\x00 planned 茶", name), "held", UNTIL)
    assert job._hook is not None
    said = next(line for line in job._hook._said if line.startswith("arguments: "))
    arguments = json.loads(said.removeprefix("arguments: "))
    assert arguments[:3] == ["publish", "--override=größer as planned 茶", f"--by={name}"]
    assert context["outlet_events"][NEIGHBOURS].extra == {
        "snapshot_date": "2026-11-20",
        "run_id": "r1",
        "rows_out": 20,
        "released_by": name,
        "released_why": "größer as planned 茶",
    }


@pytest.mark.parametrize("reason", ["", " \n\x00", None, "x" * 1001])
def test_without_a_reason_it_is_asked_again(
    task: Callable[..., "PublishOperator"], context: dict[str, Any], comms: Comms, alerts: list[str], reason: str | None
) -> None:
    from airflow.sdk.exceptions import TaskAwaitingInput

    with pytest.raises(TaskAwaitingInput) as waits:
        task().answered(context, answer("Publish", reason), "held", UNTIL)
    assert waits.value.kwargs == {"message": "held", "until": UNTIL}, "no longer than the first time"
    assert len(comms.sent) == 1
    assert alerts == []


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (answer("Reject"), r"ada rejected the night: the range was cut\nheld by churn"),
        (answer("Reject", ""), r"ada rejected the night\nheld by churn"),
        ({"error": "timed out", "error_type": "timeout"}, r"nobody has answered in time\.\nheld by churn"),
    ],
)
def test_a_night_that_is_not_released_fails_for_good(
    task: Callable[..., "PublishOperator"], context: dict[str, Any], event: dict[str, Any], said: str
) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises(AirflowFailException, match=said):
        task().answered(context, event, "held by churn", UNTIL)
    assert not context["outlet_events"]._dict


def test_a_dry_run_audits_and_tells_nobody(
    task: Callable[..., "PublishOperator"], context: dict[str, Any], comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

    with pytest.raises(AirflowFailException, match="is held back"):
        task(audit_only="True").execute(context)
    monkeypatch.delenv("HELD")
    job = task(audit_only="True")
    with pytest.raises(AirflowSkipException, match="2026-11-20 passed its audit, and is not published"):
        job.execute(context)
    assert job._hook is not None
    assert any(line.startswith('arguments: ["audit", "--date"') for line in job._hook._said)
    assert comms.sent == []
