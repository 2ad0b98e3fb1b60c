"""Held nights under a real scheduler, and the people who are asked: what is published then, in whose name, and who is told.

    make approval-test

Three nights of a small generated catalogue go through the DAG with a bound that no second night can meet. The first is published. The
second is held: a viewer's answer is refused, an admin's without a reason is asked again, and with one the night is published. The third is
rejected. A web server here listens as the webhook: it has to be told of two held nights and of one that failed, once each, and once that
tonight's is late, which here it is after a few seconds; the nights before it were asked for when they had long been due.

Prints a line a step, and `approval: 3 nights, 1 released, 1 rejected`.
"""

import json
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.error import HTTPError
from urllib.parse import quote

from deltalake import DeltaTable

from jobs.generate import generate
from jobs.tables import NEIGHBOURS, OVERRIDES
from tests.soak.airflow_home import Airflow, AirflowError, Run, running, until
from tests.soak.backfill import DAG_ID, variables
from tests.soak.scheduled_kills import task_of
from tests.tiny_encoder import save_table

ITEMS, AT_ONCE = 300, 2
READS = 15  # seconds before an answer: one that comes in the same moment finds a scheduler that takes the task's pause for its end
ADMIN, VIEWER, REASON = "ada", "vera", "größer: the range was cut"
HELD = {"SHELFMATES__AUDIT__CHURN_MAX": "0", "SHELFMATES__AUDIT__SHIFT_MAX": "0"}
POLICY = """from datetime import timedelta


def dag_policy(dag):
    for alert in dag.deadline or []:
        alert.interval = timedelta(seconds=10)
"""


class WrongError(Exception):
    """What was found, and what was expected."""


class Webhook(BaseHTTPRequestHandler):
    """Keeps the events that it is told of."""

    got: ClassVar[list[tuple[str, str, str]]] = []

    def do_POST(self) -> None:
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.got.append((told["night"], told["event"], told["stage"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *said: object) -> None:
        pass


@contextmanager
def webhook() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Webhook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def expect(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise WrongError(f"{what}: {found}, expected {expected}")
    print(f"{what}: {found}", flush=True)


def begun(airflow: Airflow, night: date) -> Run:
    now = datetime.now(UTC)
    airflow.command("dags", "trigger", DAG_ID, "--logical-date", f"{datetime.combine(night, now.timetz())}")
    return next(run for run in airflow.runs(DAG_ID) if run.night == night)


def state(airflow: Airflow, run: Run, *states: str) -> str:
    """The run's publish task, once it is in one of these states. Raises AirflowError if the run ends before it is."""

    def look() -> str:
        found = str(task_of(airflow, run.run_id, "publish")["state"])
        ended = next(r.state for r in airflow.runs(DAG_ID) if r.run_id == run.run_id) in ("failed", "success")
        if ended and found not in states:
            raise AirflowError(f"publish of {run.night} is {found}:\n{airflow.last_words(DAG_ID, run)}")
        return found if found in states else ""

    return str(until(f"publish of {run.night} to be {' or '.join(states)}", look, 2.0))


def question(airflow: Airflow, run: Run) -> dict[str, Any]:
    return airflow.answer(address(run))


def address(run: Run) -> str:
    return f"dags/{DAG_ID}/dagRuns/{quote(run.run_id, safe='')}/taskInstances/publish/-1/hitlDetails"


def answered(airflow: Airflow, run: Run, user: str, option: str, reason: str) -> int:
    """The HTTP status of the answer, which is given after a while."""
    time.sleep(READS)
    try:
        airflow.asked("PATCH", address(run), {"chosen_options": [option], "params_input": {"reason": reason}}, user)
    except HTTPError as error:
        return error.code
    return 200


def column(lake: Path, table: Any, name: str) -> list[Any]:
    return sorted(set(DeltaTable(lake / table.name).to_pyarrow_table(columns=[name])[name].to_pylist()))


def soak(folder: Path) -> None:
    nights = [datetime.now(UTC).date() - timedelta(days=n) for n in (2, 1, 0)]
    generate(folder, ITEMS, len(nights), nights[0], change=0.05)
    save_table(folder / "model")
    lake, home = folder / "lake", folder / "airflow"
    with webhook() as port:
        policy = folder / "policy"
        policy.mkdir()
        (policy / "airflow_local_settings.py").write_text(POLICY, encoding="utf-8")
        further = variables(folder, lake) | HELD | {"PYTHONPATH": str(policy)}
        with running(home, DAG_ID, further, AT_ONCE, {ADMIN: "admin", VIEWER: "viewer"}) as airflow:
            airflow.start(("triggerer", "--skip-serve-logs"))  # tells of late nights
            address = f"http://127.0.0.1:{port}"
            airflow.command("connections", "add", "shelfmates_webhook", "--conn-type", "generic", "--conn-host", address)
            expect("first night", state(airflow, begun(airflow, nights[0]), "success", "awaiting_input"), "success")
            released(airflow, begun(airflow, nights[1]), lake)
            rejected(airflow, begun(airflow, nights[2]))
            held, tonight = [(str(night), "held", "publish") for night in nights[1:]], str(nights[2])
            expected = sorted([*held, (tonight, "failed", "publish"), (tonight, "late", "")])
            until("every message", lambda: len(Webhook.got) >= len(expected))
            expect("told", sorted(Webhook.got), expected)
            events = airflow.answer("assets/events")["asset_events"]
            expect("events of the assets", len(events), 2 * 2)
    expect("nights published", column(lake, NEIGHBOURS, "snapshot_date"), nights[:2])


def released(airflow: Airflow, run: Run, lake: Path) -> None:
    state(airflow, run, "awaiting_input")
    asked = question(airflow, run)
    print(asked["subject"], asked["body"], sep="\n", flush=True)
    expect("a viewer's answer", answered(airflow, run, VIEWER, "Publish", REASON), 403)
    expect("an answer without a reason", answered(airflow, run, ADMIN, "Publish", " "), 200)
    until("the question to be put again", lambda: not question(airflow, run)["response_received"])
    state(airflow, run, "awaiting_input")
    expect("published as of yet", column(lake, NEIGHBOURS, "snapshot_date"), [run.night - timedelta(days=1)])
    expect("an admin's answer", answered(airflow, run, ADMIN, "Publish", REASON), 200)
    expect("second night", state(airflow, run, "success", "failed"), "success")
    rows = DeltaTable(lake / OVERRIDES.name).to_pyarrow_table(columns=["snapshot_date", "who", "why"]).to_pylist()
    expect("overrides", rows, [{"snapshot_date": run.night, "who": ADMIN, "why": REASON}])
    links = airflow.answer(f"dags/{DAG_ID}/dagRuns/{quote(run.run_id, safe='')}/taskInstances/publish/links")["extra_links"]
    expect("links", links["Explorer"], f"{airflow.url}/shelfmates/?night={run.night}")
    print(*airflow.said(task_of(airflow, run.run_id, "publish"))[-6:], sep="\n", flush=True)


def rejected(airflow: Airflow, run: Run) -> None:
    state(airflow, run, "awaiting_input")
    expect("an admin's answer", answered(airflow, run, ADMIN, "Reject", "wait for the feed"), 200)
    expect("third night", state(airflow, run, "success", "failed"), "failed")
    expect("tries", task_of(airflow, run.run_id, "publish")["try_number"], 1)
    until("the run to end", lambda: {r.run_id: r.state for r in airflow.runs(DAG_ID)}[run.run_id] == "failed")
    print(*airflow.said(task_of(airflow, run.run_id, "publish"))[-6:], sep="\n", flush=True)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("approval: told to end"))  # what was started is ended on the way out
    with tempfile.TemporaryDirectory(prefix="shelfmates-approval-", ignore_cleanup_errors=True) as made:
        try:
            soak(Path(made))
        except (WrongError, AirflowError) as error:
            sys.exit(f"approval: {error}")
    print("approval: 3 nights, 1 released, 1 rejected")


if __name__ == "__main__":
    main()
