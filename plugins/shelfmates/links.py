"""Where a task's page in Airflow leads on to. A link with nowhere to lead isn't shown. Airflow keeps each as the task ends."""

import os
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowFailException

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

HISTORY = "spark.yarn.historyServer.address"  # of Spark's own settings the one that names its history server


def base_url() -> str:
    """Of Airflow's pages, as people reach them."""
    return str(conf.get("api", "base_url", fallback="http://localhost:8080")).rstrip("/")


class ExplorerLink(BaseOperatorLink):
    """The night in the explorer of neighbours."""

    name = "Explorer"

    def get_link(self, operator: "BaseOperator", *, ti_key: "TaskInstanceKey") -> str:
        night = _night(operator)
        return night and f"{base_url()}/shelfmates/?night={night}"


class DataDocsLink(BaseOperatorLink):
    """What validate says of the night's feeds. Its page lies in the folder `[validate] docs`, which a browser sees where somebody serves
    it: $SHELFMATES_DOCS_URL is that address."""

    name = "Data Docs"

    def get_link(self, operator: "BaseOperator", *, ti_key: "TaskInstanceKey") -> str:
        night, served = _night(operator), os.environ.get("SHELFMATES_DOCS_URL", "").rstrip("/")
        return night and served and f"{served}/{night}/index.html"


class SparkHistoryLink(BaseOperatorLink):
    """Spark's history server, where the submit's settings name one."""

    name = "Spark history"

    def get_link(self, operator: "BaseOperator", *, ti_key: "TaskInstanceKey") -> str:
        hook: Any = getattr(operator, "_hook", None)  # none if the task ended before there was a command
        address = str(hook.conf.get(HISTORY, "")) if hook else ""
        return address if not address or "://" in address else f"http://{address}"


def _night(operator: "BaseOperator") -> str:
    from shelfmates.operator import night_of

    try:
        return night_of(str(getattr(operator, "date", "")))
    except AirflowFailException:  # the task has said so
        return ""
