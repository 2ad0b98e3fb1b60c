"""Who is told when a night fails, is held or is late: one message for each, by webhook and by mail.

Both are Airflow connections, and none is needed: `shelfmates_webhook` (host: the address, https://…; password: the secret end of its path,
if it has one; extra: further headers) gets JSON whose `text` Slack, Mattermost and their like understand; `shelfmates_mail` (smtp, with
`from_email` and `to` in its extra) gets a mail. A message that can't be sent is an error in the log and changes nothing else.
"""

import html
import json
import logging
import smtplib
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseHook, timezone
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException
from asgiref.sync import sync_to_async

from shelfmates.links import base_url

if TYPE_CHECKING:
    from airflow.sdk import Connection, Context

WEBHOOK, MAIL = "shelfmates_webhook", "shelfmates_mail"
PATIENCE = 15  # seconds for a webhook to answer
REASON_LENGTH = 3000  # characters of a reason that are sent; the whole is in the task's log
# what a wrong address, a refusing server or a network does; ValueError, TypeError: an address, header or extra that is none
UNSENT = (OSError, HTTPException, smtplib.SMTPException, ValueError, TypeError, RuntimeError, AirflowException)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Alert:
    """`event` is failed, held or late; `reason` the program's own last message."""

    event: str
    night: str
    stage: str
    reason: str
    dag_id: str
    run_id: str
    link: str

    @property
    def title(self) -> str:
        """One line, whatever the night and the run are named."""
        where = f" in {self.stage}" if self.stage else ""
        return " ".join(f"Shelfmates: {self.dag_id} {self.night or self.run_id} {self.event}{where}".split())


def task_failed(context: "Context") -> None:
    """As `on_failure_callback`: Airflow calls it once, when no retry follows."""
    reason = context.get("exception") or "the task ended without a word: its process was lost, or a person marked it failed"
    send(of_task(context, "failed", str(reason)))


def night_held(context: "Context", reason: str) -> None:
    """A check holds the night, and a person is asked."""
    send(of_task(context, "held", reason, page="/required_actions"))


async def deadline_missed(context: Mapping[str, Any]) -> None:
    """As the callback of a DAG's deadline, with the run as REST tells it. A run that has failed has been told of already, and one that was
    asked for after its deadline, as a backfill's are, is not late. In the triggerer: in an executor a callback may not read connections."""
    run, deadline = context["dag_run"], context["deadline"]["deadline_time"]  # the one as JSON, the other a datetime
    if run["state"] == "failed" or run["run_type"] == "backfill" or timezone.parse(run["run_after"]) > deadline:
        return
    night = (run.get("conf") or {}).get("date") or run.get("partition_key") or run.get("logical_date") or ""
    link = f"{base_url()}/dags/{run['dag_id']}/runs/{quote(run['dag_run_id'], safe='')}"
    reason = f"not done by {deadline.isoformat()}: look which task is at work, waits for an answer or for a slot"
    alert = Alert("late", night[:10], "", reason, run["dag_id"], run["dag_run_id"], link)
    await sync_to_async(send)(alert)  # others' triggers go on meanwhile


def of_task(context: "Context", event: str, reason: str, page: str = "") -> Alert:
    """What has become of a task of a night, with the link to its page."""
    task, run = context["task"], context["dag_run"]
    night = str(getattr(task, "date", ""))
    if "{{" in night:  # the task's process was lost, and this is another one, which renders nothing
        night = str(run.partition_key or context.get("ds") or "")
    link = f"{base_url()}/dags/{run.dag_id}/runs/{quote(run.run_id, safe='')}/tasks/{task.task_id}{page}"
    return Alert(event, night[:10], task.task_id, reason, run.dag_id, run.run_id, link)


def send(alert: Alert) -> None:
    """To every channel that there is."""
    sent = [_sent(alert, name, by) for name, by in ((WEBHOOK, _post), (MAIL, _mail))]
    if not any(sent):
        log.debug("nobody was told: there is no connection %s or %s", WEBHOOK, MAIL)


def _sent(alert: Alert, name: str, by: Any) -> bool:
    """Whether there is such a channel. One that is broken is told of in the log."""
    try:
        connection = BaseHook.get_connection(name)
    except AirflowNotFoundException:
        return False
    try:
        by(alert, connection)
    except UNSENT as error:
        log.error("nobody was told through the connection %s: %s\n  → mend it: `airflow connections get %s` shows it", name, error, name)
    return True


def _post(alert: Alert, connection: "Connection") -> None:
    secret = f"/{connection.password.lstrip('/')}" if connection.password else ""
    address = f"{(connection.host or '').rstrip('/')}{secret}"
    if not address.startswith(("https://", "http://")):
        raise ValueError("its host is not an address that begins with https:// or http://")
    short = alert.reason[:REASON_LENGTH]
    text = f"*{alert.title}*\n{short}\n{alert.link}"
    told = asdict(alert) | {"reason": short, "text": html.escape(text, quote=False)}  # <!channel> in a title would call everybody
    headers = {"Content-Type": "application/json"} | {str(name): str(value) for name, value in _extra(connection).items()}
    request = urllib.request.Request(address, json.dumps(told).encode(), headers)
    with urllib.request.build_opener(_NoRedirect).open(request, timeout=PATIENCE):  # raises for every answer but 2xx
        pass


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What is told goes nowhere but to the address that was given: urllib would send its headers elsewhere, without the message."""

    def redirect_request(self, *told: Any) -> None:
        return None


def _extra(connection: "Connection") -> Mapping[str, Any]:
    found = connection.extra_dejson
    if not isinstance(found, Mapping):
        raise ValueError('its extra is not an object, {"…": "…"}')
    return found


def _mail(alert: Alert, connection: "Connection") -> None:
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    to = _extra(connection).get("to")
    if not to:
        raise ValueError('its extra lacks the address to write to, {"to": "…", "from_email": "…"}')
    body = f"<pre>{html.escape(alert.reason[:REASON_LENGTH])}</pre><p><a href='{html.escape(alert.link)}'>{html.escape(alert.link)}</a></p>"
    with SmtpHook(MAIL) as server:
        server.send_email_smtp(to=to, subject=alert.title, html_content=body)
