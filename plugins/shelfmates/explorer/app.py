"""The routes of the explorer, mounted in Airflow's API server behind its login, for whoever may read the runs of the DAG `catalogue`.

Everything is read-only: a held night is released through Airflow's own API, under its permissions. Routes are plain functions, which
FastAPI runs in threads: blocking ones must not stop the server's loop.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import date
from functools import cache, lru_cache
from pathlib import Path
from threading import Lock
from typing import Annotated, Any

import duckdb
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from deltalake.exceptions import DeltaError
from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from shelfmates.explorer import answers, decisions
from shelfmates.explorer.lake_cache import LakeCache, NotThereError
from shelfmates.place import settings_file

log = logging.getLogger(__name__)
DAG_ID = "catalogue"
PAGES = Path(__file__).parent / "static"
FILES = {"explorer.css": "text/css", "explorer.js": "text/javascript"}
# scripts and styles are the explorer's own; pictures come from wherever a catalogue keeps them, without a word of the page
# (a picture that leads on to Airflow itself, to sign out whoever looks, comes without their cookie)
POLICY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src http: https:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "Cross-Origin-Embedder-Policy": "credentialless",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-store",
}
PLACES = asyncio.Semaphore(8)  # a fifth of the threads; of 2, 4 and 8 the one with which twenty readers wait least on two cores

_making = Lock()


def lake_cache() -> LakeCache:
    """That of the lake which the settings name: those of the DAGs' tasks."""
    with _making:  # else each of many first readers would make one
        file = Path(settings_file())
        return _lake_cache(_root(str(file), file.stat().st_mtime_ns if file.is_file() else 0))


@cache
def _lake_cache(root: str) -> LakeCache:
    return LakeCache(root)


@lru_cache(maxsize=1)
def _root(file: str, changed: int) -> str:
    """Of the lake; looked up anew when the file has changed."""
    from jobs import errors, settings

    try:
        return settings.load(file).lake.root
    except errors.SettingsError as error:
        raise HTTPException(503, f"{error.found}\n  → mend what SHELFMATES_SETTINGS names where the API server runs") from None


app = FastAPI(
    title="Shelfmates explorer",
    docs_url=None,  # open to anybody unless switched off
    redoc_url=None,
    openapi_url=None,
    dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.RUN, DAG_ID))],
)


@app.middleware("http")
async def guarded(request: Request, call_next: Callable[[Request], Any]) -> Response:
    """Every answer with the policy, those of refused requests too. So many are made at once: others wait here, where they hold no thread
    that Airflow's own pages need."""
    async with PLACES:
        response: Response = await call_next(request)
    response.headers.update(POLICY)
    return response


@app.exception_handler(NotThereError)
def not_there(request: Request, error: NotThereError) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 404)


@app.exception_handler(DeltaError)
@app.exception_handler(duckdb.Error)
@app.exception_handler(OSError)
def unreadable(request: Request, error: Exception) -> JSONResponse:
    """A damaged table, a file that maintenance has just removed, storage that is out of reach."""
    from jobs.address import shown

    log.error("the explorer cannot read the lake", exc_info=error)
    return JSONResponse({"detail": f"the lake cannot be read just now: {shown(str(error))}"}, 503)


@app.exception_handler(HTTPException)
def refused(request: Request, error: HTTPException) -> Response:
    """Says it to people where a page was asked for."""
    if error.status_code in (401, 403) and "text/html" in request.headers.get("accept", ""):
        return Response(f"{error.detail}. Log in to Airflow, then open this page again.", error.status_code, media_type="text/plain")
    return JSONResponse({"detail": error.detail}, error.status_code, error.headers)


def _night(night: str) -> date:
    try:
        return answers.day(night)
    except ValueError as error:
        raise HTTPException(422, str(error)) from None


Night = Annotated[date, Depends(_night)]
Skip = Annotated[int, Query(ge=0, le=10_000_000)]
Count = Annotated[int, Query(ge=1, le=answers.MOST)]
Text = Annotated[str, Query(max_length=1000)]


@app.get("/")
def page() -> FileResponse:
    return FileResponse(PAGES / "index.html", media_type="text/html")


@app.get("/static/{name}")
def file(name: str) -> FileResponse:
    if name not in FILES:
        raise HTTPException(404, "there is no such file")
    return FileResponse(PAGES / name, media_type=FILES[name])


@app.get("/nights")
def nights(count: Count = 60) -> list[answers.Row]:
    return answers.nights(lake_cache(), count)


@app.get("/nights/{night}/audit")
def audit(night: Night) -> answers.Row:
    return answers.audit(lake_cache(), night)


@app.get("/nights/{night}/items")
def items(night: Night, text: Text = "", skip: Skip = 0, count: Count = answers.PAGE) -> answers.Row:
    return answers.search(lake_cache(), night, text, skip, count)


@app.get("/nights/{night}/item")
def item(night: Night, item_id: Text, before: str | None = None) -> answers.Row:
    return answers.item(lake_cache(), night, item_id, _night(before) if before else None)


@app.get("/nights/{night}/item/decisions")
def decisions_of_item(night: Night, item_id: Text) -> answers.Row:
    return decisions.of_item(lake_cache(), night, item_id)


@app.get("/nights/{night}/decisions/{table}")
def decisions_of_night(night: Night, table: str, skip: Skip = 0, count: Count = answers.PAGE) -> answers.Row:
    return decisions.page(lake_cache(), night, table, skip, count)


@app.get("/nights/{night}/quarantine")
def quarantine(
    night: Night, reason: Text | None = None, source: Text | None = None, skip: Skip = 0, count: Count = answers.PAGE
) -> answers.Row:
    return answers.quarantine(lake_cache(), night, reason, source, skip, count)


@app.get("/nights/{night}/changes")
def changes(night: Night, before: str) -> answers.Row:
    return answers.changes(lake_cache(), _night(before), night)
