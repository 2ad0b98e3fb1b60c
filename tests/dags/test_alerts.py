"""Who is told, by a web server and a mail server that listen for real: once for each event, and nothing but what was meant."""

import asyncio
import json
import logging
import os
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email import message_from_string
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow.sdk import DAG

RUN = "scheduled__2026-11-20T03:00:00+00:00"
PAGE = "http://localhost:8080/dags/catalogue/runs/scheduled__2026-11-20T03%3A00%3A00%2B00%3A00"
DIRTY = "source 'shop'\r\nBcc: all@example.com\r\n\r\n<!channel> <b>bold</b> 茶"


class Hook(BaseHTTPRequestHandler):
    """Keeps what is posted to it; answers 404 to all paths but two, one of which has moved."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, dict(self.headers), json.loads(body)))  # type: ignore[attr-defined]
        self.send_response({"/services/secret": 200, "/moved": 302}.get(self.path, 404))
        self.send_header("Location", "/services/secret")
        self.end_headers()

    def log_message(self, *said: object) -> None:
        pass


class MailServer(socketserver.StreamRequestHandler):
    """As much SMTP as it takes to be handed a mail: keeps the envelope and the message."""

    def handle(self) -> None:
        self.say("220 here")
        to: list[str] = []
        while line := self.rfile.readline().decode().strip():
            verb = line[:4].upper()
            if verb == "RCPT":
                to.append(line[len("RCPT TO:") :])
            if verb == "DATA":
                self.say("354 go on")
                lines = []
                while (said := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                    lines.append(said)
                self.server.got.append((to, "\n".join(lines)))  # type: ignore[attr-defined]
            self.say("221 bye" if verb == "QUIT" else "250 ok")

    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


@contextmanager
def listening(server: socketserver.TCPServer) -> Iterator[tuple[int, list[Any]]]:
    """The server's port, and what it gets."""
    server.got = []  # type: ignore[attr-defined]
    with server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1], server.got  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


@pytest.fixture
def posted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    with listening(ThreadingHTTPServer(("127.0.0.1", 0), Hook)) as (port, got):
        told = {"conn_type": "http", "host": f"http://127.0.0.1:{port}", "password": "services/secret", "extra": {"X-Team": "shop"}}
        monkeypatch.setenv("AIRFLOW_CONN_SHELFMATES_WEBHOOK", json.dumps(told))
        yield got


@pytest.fixture
def mailed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    with listening(socketserver.ThreadingTCPServer(("127.0.0.1", 0), MailServer)) as (port, got):
        extra = {"from_email": "shelf@example.com", "to": ["ada@example.com", "bob@example.com"], "disable_ssl": True, "disable_tls": True}
        told = {"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_SHELFMATES_MAIL", json.dumps(told))
        yield got


def failed(reason: object = DIRTY, date: str = "2026-11-20") -> dict[str, Any]:
    """What Airflow calls `on_failure_callback` with."""
    run = SimpleNamespace(dag_id="catalogue", run_id=RUN, partition_key=None)
    return {"task": SimpleNamespace(task_id="load", date=date), "dag_run": run, "ds": "2026-11-20", "exception": reason}


def test_a_failed_task_is_told_once_to_each_channel(posted: list[Any], mailed: list[Any]) -> None:
    from shelfmates.alerts import task_failed

    task_failed(failed())
    ((path, headers, told),) = posted
    assert (path, headers["Content-Type"], headers["X-Team"]) == ("/services/secret", "application/json", "shop")
    assert told == {
        "event": "failed",
        "night": "2026-11-20",
        "stage": "load",
        "reason": DIRTY,
        "dag_id": "catalogue",
        "run_id": RUN,
        "link": f"{PAGE}/tasks/load",
        "text": "*Shelfmates: catalogue 2026-11-20 failed in load*\n"
        "source 'shop'\r\nBcc: all@example.com\r\n\r\n&lt;!channel&gt; &lt;b&gt;bold&lt;/b&gt; 茶\n"
        f"{PAGE}/tasks/load",
    }
    ((to, mail),) = mailed
    assert to == ["<ada@example.com>", "<bob@example.com>"]
    read = message_from_string(mail)
    assert (read["Subject"], read["From"], read["Bcc"]) == ("Shelfmates: catalogue 2026-11-20 failed in load", "shelf@example.com", None)
    (part,) = read.get_payload()
    body = part.get_payload(decode=True).decode()
    assert "&lt;b&gt;bold&lt;/b&gt; 茶" in body
    assert f"href='{PAGE}/tasks/load'" in body


@pytest.mark.usefixtures("posted")
def test_no_header_comes_from_a_date_or_a_run(mailed: list[Any]) -> None:
    """Of what stands in the subject, a person who triggers a run may choose these two."""
    from shelfmates.alerts import Alert, send

    send(Alert("failed", "", "load", "why", "catalogue", "r1\r\nBcc: all@example.com\n\nbody", "http://x"))
    ((to, mail),) = mailed
    assert len(to) == 2
    assert message_from_string(mail)["Bcc"] is None
    assert message_from_string(mail)["Subject"] == "Shelfmates: catalogue r1 Bcc: all@example.com body failed in load"


def test_a_lost_process_is_told_of_with_its_night(posted: list[Any]) -> None:
    """Airflow's DAG processor tells of it, with a task whose templates are not rendered."""
    from shelfmates.alerts import task_failed
    from shelfmates.operator import NIGHT

    task_failed(failed(None, NIGHT))
    ((_, _, told),) = posted
    assert told["night"] == "2026-11-20"
    assert told["reason"].startswith("the task ended without a word")


def test_a_held_night_links_to_where_it_is_answered(posted: list[Any]) -> None:
    from shelfmates.alerts import night_held

    night_held(failed(), "churn")
    ((_, _, told),) = posted
    assert (told["event"], told["link"]) == ("held", f"{PAGE}/tasks/load/required_actions")


@pytest.mark.parametrize(
    ("state", "kind", "asked_for", "messages"),
    [
        ("running", "scheduled", "03:00", 1),
        ("failed", "scheduled", "03:00", 0),
        ("running", "backfill", "03:00", 0),
        ("running", "manual", "12:00", 0),
    ],
)
def test_a_late_night_is_told_of_unless_it_has_failed_or_was_asked_for_later(
    posted: list[Any], state: str, kind: str, asked_for: str, messages: int
) -> None:
    from shelfmates.alerts import deadline_missed

    run = {"dag_id": "catalogue", "dag_run_id": RUN, "state": state, "run_type": kind, "logical_date": "2026-11-20T03:00:00Z", "conf": {}}
    run["run_after"] = f"2026-11-20T{asked_for}:00Z"
    asyncio.run(deadline_missed({"dag_run": run, "deadline": {"id": "1", "deadline_time": datetime(2026, 11, 20, 11, tzinfo=UTC)}}))
    assert [(told["event"], told["night"], told["link"]) for _, _, told in posted] == [("late", "2026-11-20", PAGE)] * messages


def test_without_connections_nothing_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    from shelfmates.alerts import task_failed

    with caplog.at_level(logging.DEBUG, logger="shelfmates.alerts"):
        task_failed(failed())
    (line,) = [record for record in caplog.records if record.name == "shelfmates.alerts"]
    assert (line.levelname, line.getMessage()) == (
        "DEBUG",
        "nobody was told: there is no connection shelfmates_webhook or shelfmates_mail",
    )


@pytest.mark.parametrize(
    ("name", "connection", "said"),
    [
        ("shelfmates_webhook", {"conn_type": "http", "host": "http://127.0.0.1:1"}, "refused"),
        ("shelfmates_webhook", {"conn_type": "http", "host": "file:///etc/passwd"}, "not an address"),
        ("shelfmates_mail", {"conn_type": "smtp", "host": "127.0.0.1", "port": 1}, 'lacks the address to write to, {"to"'),
        ("shelfmates_mail", {"conn_type": "smtp", "host": "127.0.0.1", "port": 1, "extra": {"to": "a@b.c"}}, "refused"),
        ("shelfmates_mail", {"conn_type": "smtp", "host": "127.0.0.1", "port": 1, "extra": {"to": 5}}, "nobody was told"),
        (
            "shelfmates_mail",
            {"conn_type": "smtp", "host": "127.0.0.1", "port": 1, "extra": {"to": "a@b.c", "retry_limit": None}},
            "nobody was told",
        ),
    ],
)
def test_a_broken_channel_is_an_error_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, connection: dict[str, Any], said: str
) -> None:
    from shelfmates.alerts import task_failed

    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
    task_failed(failed())
    (line,) = [record for record in caplog.records if record.name == "shelfmates.alerts"]
    assert line.levelname == "ERROR"
    assert f"through the connection {name}: " in line.getMessage()
    assert said in line.getMessage()
    assert f"`airflow connections get {name}`" in line.getMessage()


def test_a_refusing_webhook_is_an_error_in_the_log_that_keeps_its_secret(
    posted: list[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import os

    from shelfmates.alerts import task_failed

    told = json.loads(os.environ["AIRFLOW_CONN_SHELFMATES_WEBHOOK"]) | {"password": "services/revoked"}
    monkeypatch.setenv("AIRFLOW_CONN_SHELFMATES_WEBHOOK", json.dumps(told))
    task_failed(failed())
    assert len(posted) == 1
    assert "HTTP Error 404" in caplog.text
    assert "revoked" not in caplog.text


def test_every_task_tells_of_its_final_failure(dags: dict[str, "DAG"]) -> None:
    from shelfmates.alerts import task_failed

    for dag in dags.values():
        for task in dag.tasks:
            assert list(task.on_failure_callback) == [task_failed], f"{task}: fails in silence"
            assert not task.on_retry_callback, f"{task}: tells of a try that is not the last"


@pytest.mark.parametrize("broken", [{"extra": ["X-Team"]}, {"password": "moved"}], ids=["extra is a list", "moved"])
def test_a_webhook_that_is_not_what_it_should_be_is_told_in_the_log(
    posted: list[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, broken: dict[str, Any]
) -> None:
    from shelfmates.alerts import task_failed

    told = json.loads(os.environ["AIRFLOW_CONN_SHELFMATES_WEBHOOK"]) | broken
    monkeypatch.setenv("AIRFLOW_CONN_SHELFMATES_WEBHOOK", json.dumps(told))
    with caplog.at_level(logging.ERROR):
        task_failed(failed())
    assert "nobody was told through the connection shelfmates_webhook" in caplog.text
    assert [path for path, *_ in posted if path != "/moved"] == []
