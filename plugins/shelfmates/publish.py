"""A person in the loop: a night that a check holds waits for one, who publishes it all the same or rejects it.

The question and its answer are Airflow's own (the page Required Actions, and the REST API, to which viewers may not answer); no triggerer
is needed, and a night that waits takes no slot. Where a driver runs on the cluster, in deploy mode cluster, nothing of what it says
reaches the task: a held night fails there.
"""

import datetime
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskAwaitingInput
from airflow.sdk.execution_time.hitl import upsert_hitl_detail

from shelfmates.alerts import night_held
from shelfmates.operator import SparkJobOperator, night_of
from shelfmates.submit import NightHeldError

if TYPE_CHECKING:
    from airflow.sdk import Context

PUBLISH, REJECT = "Publish", "Reject"
WAIT = datetime.timedelta(hours=20)  # a night that waits holds up the next one, which is due a day after this one began
REASON_LENGTH = 1000  # characters
REASON = Param(
    "",
    type="string",
    minLength=1,
    maxLength=REASON_LENGTH,
    title="Reason",
    description="Why the night may be published as it is, or why not. With your name it goes to the table overrides.",
)
TESTER = "dag_test"  # as whom `airflow dags test` starts its runs


class PublishOperator(SparkJobOperator):
    """Audits a night and publishes it; asks a person where a check holds it.

    *Publish* runs `publish --override REASON --by NAME`, with the reason and the name of who has answered; without a reason it is asked
    again. *Reject*, or no answer within WAIT, fails the task without a retry. If publishing fails in a way that may pass, the next try
    audits again, and asks again. In `airflow dags test` nobody could answer: the held night fails at once.

    With `audit_only`, a template that gives anything, nothing is published: the task ends as skipped, since a success would tell the
    outlets' consumers of a night.
    """

    template_fields: Sequence[str] = (*SparkJobOperator.template_fields, "audit_only")

    def __init__(self, *, audit_only: str = "", **kwargs: Any) -> None:
        super().__init__(stages=["audit", "publish"], **kwargs)
        self.audit_only = audit_only

    def execute(self, context: "Context") -> None:
        """Audits and publishes, or asks."""
        if self.audit_only:
            self.stages = ["audit"]
        try:
            super().execute(context)
        except NightHeldError as held:
            if self.audit_only or context["dag_run"].triggering_user_name == TESTER:
                raise
            night_held(context, str(held))  # first: an answer before the task waits for one is not taken, and asked for again
            self._ask(context, held.checks)
            self._wait(str(held), datetime.datetime.now(datetime.UTC) + WAIT)
        if self.audit_only:
            raise AirflowSkipException(f"dry run: the night of {night_of(self.date)} passed its audit, and is not published")

    def answered(self, context: "Context", event: Mapping[str, Any], message: str, until: str) -> None:
        """What Airflow calls with the answer, or without one at the end of WAIT."""
        if "error" in event:
            raise AirflowFailException(f"nobody has answered in time.\n{message}")
        who = _line((event["responded_by_user"] or {}).get("name") or "unknown")
        reason = _line(str(event["params_input"].get("reason") or ""))
        if event["chosen_options"] != [PUBLISH]:
            raise AirflowFailException(f"{who} rejected the night{': ' if reason else ''}{reason}\n{message}")
        if not 1 <= len(reason) <= REASON_LENGTH:
            self.log.error("%s gave no reason, or one above %d characters: asked again", who, REASON_LENGTH)
            self._ask(context, [])
            self._wait(message, datetime.datetime.fromisoformat(until))
        self.stages = ["publish"]
        self.options = [*self.options, f"--override={reason}", f"--by={who}"]
        super().execute(context)
        for asset in self.outlets:
            context["outlet_events"][asset].extra |= {"released_by": who, "released_why": reason}

    def _ask(self, context: "Context", checks: Sequence[Mapping[str, str]]) -> None:
        """Puts the question. One that was answered already loses the answer and stays as it was."""
        upsert_hitl_detail(
            ti_id=context["task_instance"].id,
            options=[PUBLISH, REJECT],
            subject=f"The night of {night_of(self.date)} is held. Publish it all the same?",
            body=question(checks),
            params={"reason": REASON.serialize()},
        )

    def _wait(self, message: str, until: datetime.datetime) -> NoReturn:
        left = until - datetime.datetime.now(datetime.UTC)
        raise TaskAwaitingInput(method_name=self.answered.__name__, kwargs={"message": message, "until": until.isoformat()}, timeout=left)


def question(checks: Sequence[Mapping[str, str]]) -> str:
    """What holds the night, in Markdown; whatever a check tells is shown as it is."""
    told = [
        f"* **{_plain(c['check'])}** ({_plain(c['of'])}): {_plain(c['figure'] or 'not measured')}, expected {_plain(c['bound'])}. "
        f"{_plain(c['reason'])}"
        for c in checks
    ]
    hours = WAIT // datetime.timedelta(hours=1)
    return "\n".join(
        [
            "The published tables are as they were. What holds the night:",
            "",
            *told,
            "",
            "*Publish* publishes it as it is. *Reject* fails the run: mend the cause, then clear the tasks it needs.",
            f"Without an answer within {hours} hours the task fails, as if rejected.",
        ]
    )


def _plain(text: str) -> str:
    """The text with nothing left that Markdown would take for its own."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(text.split()))


def _line(text: str) -> str:
    """The text on one line, without what a command line can't carry."""
    return "".join(c for c in " ".join(text.split()) if c.isprintable())
