"""Puts the explorer into Airflow: a page in the navigation, and a tab of every run."""

from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

PREFIX = "/shelfmates"
HREF = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/") + PREFIX  # as a browser sees it


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The explorer, loaded by the first request: schedulers and workers load plugins too, and have no use for it."""
    from shelfmates.explorer.app import app as explorer

    await explorer(scope, receive, send)


class ShelfmatesExplorer(AirflowPlugin):
    # RUF012 asks for ClassVar, which the class that Airflow wants it to be has not
    name = "shelfmates"
    fastapi_apps = [{"name": "shelfmates", "app": app, "url_prefix": PREFIX}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {"name": "Shelfmates", "href": f"{HREF}/", "destination": "nav", "category": "browse", "url_route": "shelfmates"},
        {
            "name": "Shelfmates",
            "href": f"{HREF}/?run_id={{RUN_ID}}",
            "destination": "dag_run",
            "url_route": "shelfmates_run",
        },
    ]
