"""The tables in SQL without Spark: every table of the lake as a DuckDB view of its own name.

`item_vectors` keeps its vectors as bytes; the view `item_vectors_unpacked` has them as FLOAT[]. `similar('…')` is a table too: the items
that are most like a text, or like the item of an id (`jobs.similar`).
"""

import csv
import io
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.address import delta_options, delta_table, shown
from jobs.decisions import DECISIONS
from jobs.errors import ContractError, SettingsError, ShelfmatesError, ToolchainError
from jobs.object_store import amazons, endpoint, in_s3, region, store_of
from jobs.settings import Settings
from jobs.table import Table
from jobs.tables import ITEM_VECTORS, PARTS, TABLES
from jobs.views import VIEWS

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

    from jobs.similar import Shelf

SHOWN = 5  # nights in an error
_PARTS = ", ".join(f"{part} FLOAT" for part in PARTS)
SIMILAR = (  # what `similar` gives: `similar.Similar` as DuckDB calls it
    f"STRUCT(rank INTEGER, item_id VARCHAR, similarity FLOAT, parts STRUCT({_PARTS}), title VARCHAR, brand VARCHAR, price DECIMAL(18,2), "
    "currency VARCHAR)[]"
)


def answer(settings: Settings, query: str, at: str | None = None, form: str = "table") -> str:
    """The query's rows as text: a table for people, csv or json for programs.

    Raises SettingsError for SQL that DuckDB refuses, and for a version that a table of the query has not reached.
    """
    import duckdb

    connection = connect(settings, at)
    failed = _offer_similar(connection, settings, at)
    if at is not None and at.isdecimal():
        _check_reached(settings, query, int(at))
    try:
        result = connection.sql(query)
        if result is None:  # a statement without rows
            return "done"
        return _text(result, form)
    except duckdb.Error as error:
        if failed:
            raise failed[0] from error
        raise SettingsError(f"DuckDB says: {error}", f"tables here: {', '.join(TABLES)}; views: {', '.join(VIEWS)}") from error


def connect(settings: Settings, at: str | None = None) -> "DuckDBPyConnection":
    """A DuckDB connection that sees the lake's tables: the newest, the night of a date, or those of a version number, where a table that
    has not reached it is its newest. Raises ContractError where one cannot be read."""
    import duckdb
    import duckdb_extension_delta
    from duckdb import func

    connection = duckdb.connect()
    (extension,) = Path(duckdb_extension_delta.__path__[0]).rglob("delta.duckdb_extension")
    connection.load_extension(str(extension))  # the installed file: nothing is downloaded
    root = settings.lake.root.rstrip("/")
    if in_s3(root):
        _introduce_s3(connection)
    elif store_of(root):
        raise ToolchainError(f"{shown(root)} cannot be asked without Spark", "read its tables with Spark or delta-rs")
    present = [table for table in TABLES.values() if _is_there(root, table)]
    if not present:
        raise ToolchainError(
            f"there are no tables under {root}", "run a night first, for instance `shelfmates run --date YYYY-MM-DD`, or set lake.root"
        )
    # a function that Spark calls otherwise, in SQL that is written for both
    connection.execute("CREATE MACRO startswith(text, beginning) AS starts_with(text, beginning)")
    for table in present:
        with _readable():
            connection.execute(f'CREATE VIEW "{table.name}" AS {_selection(f"{root}/{table.name}", table, at)}')
    connection.create_function("floats", _floats, ["BLOB"], "FLOAT[]", type=func.ARROW)
    if ITEM_VECTORS in present:
        connection.execute("CREATE VIEW item_vectors_unpacked AS SELECT * REPLACE (floats(vector) AS vector) FROM item_vectors")
    names = {table.name for table in present}
    for view in VIEWS.values():
        if names.issuperset(view.tables):
            connection.execute(f"CREATE VIEW {view.name} AS {view.sql}")
    return connection


def _introduce_s3(connection: "DuckDBPyConnection") -> None:
    """Lets DuckDB read S3, with the environment's keys or those that the platform gives (botocore finds them as others do). Raises
    ToolchainError where the extra is not installed, or nothing gives keys."""
    try:
        import duckdb_extension_httpfs
        from botocore.session import Session
    except ModuleNotFoundError as error:
        raise ToolchainError(f"the lake is in S3, and {error.name} is not installed", "run `uv sync --extra s3`") from error
    (extension,) = Path(duckdb_extension_httpfs.__path__[0]).rglob("httpfs.duckdb_extension")
    connection.load_extension(str(extension))
    if (keys := Session().get_credentials()) is None:
        raise ToolchainError(
            "nothing gives keys of S3: neither the environment, nor a profile, nor this machine's role", "set AWS_ACCESS_KEY_ID and others"
        )
    now = keys.get_frozen_credentials()
    scheme, _, host = endpoint(os.environ).rpartition("://")
    told = {"KEY_ID": now.access_key, "SECRET": now.secret_key, "SESSION_TOKEN": now.token, "REGION": region(os.environ)}
    if host:
        told |= {"ENDPOINT": host, "URL_STYLE": "path", "USE_SSL": str(scheme != "http").lower()}
    listed = ", ".join(f"{name} '{_quoted(value)}'" for name, value in told.items() if value)
    connection.execute(f"CREATE SECRET lake (TYPE s3, {listed})")


def _is_there(root: str, table: Table) -> bool:
    """On other storage than a disk a night's tables are taken to be there: looking takes as long as reading."""
    if "://" not in root:
        return Path(root, table.name, "_delta_log").is_dir()
    if table.name not in DECISIONS:
        return True
    from deltalake import DeltaTable

    path = f"{root}/{table.name}"
    return DeltaTable.is_deltatable(path, storage_options=delta_options(path))


def rows(connection: "DuckDBPyConnection", query: str, *values: Any) -> list[tuple[Any, ...]]:
    """The rows of a query of the program's own. Raises ContractError where a table of it is absent or damaged."""
    with _readable():
        return connection.execute(query, values).fetchall()


def table(connection: "DuckDBPyConnection", query: str, *values: Any) -> "pa.Table":
    """The same rows as one Arrow table."""
    with _readable():
        return connection.execute(query, values).to_arrow_table()


def published_night(connection: "DuckDBPyConnection", root: str, night: date | None) -> date:
    """The night, or the newest of those published. Raises SettingsError for one that is not, ContractError where none is."""
    nights: list[date] = [row[0] for row in rows(connection, "SELECT DISTINCT snapshot_date FROM neighbours ORDER BY 1")]
    if not nights:
        raise ContractError(f"no night is published under {root}", "run one first, for instance `shelfmates run --date YYYY-MM-DD`")
    if night is None:
        return nights[-1]
    if night not in nights:
        near = sorted(sorted(nights, key=lambda other: abs(other - night))[:SHOWN])
        raise SettingsError(
            f"--date {night}: this night is not published",
            f"name one that is; the nearest of {len(nights)}: {', '.join(map(str, near))}",
        )
    return night


@contextmanager
def _readable() -> Iterator[None]:
    import duckdb
    from deltalake.exceptions import DeltaError

    try:
        yield
    except (duckdb.Error, DeltaError) as error:
        raise ContractError(
            f"the lake's tables cannot be read: {str(error).splitlines()[0]}",
            "see that lake.root is right; a night, or `shelfmates prepare`, makes absent ones; damaged ones must be restored from a copy",
        ) from error


def _offer_similar(connection: "DuckDBPyConnection", settings: Settings, at: str | None) -> list[ShelfmatesError]:
    """Makes the table function `similar(query, k := 10)`, which loads what it needs when it is first called; where the errors will be that
    it has raised, which DuckDB tells in words of its own."""
    failed: list[ShelfmatesError] = []

    @cache
    def shelf() -> "Shelf":
        from jobs.similar import shelf_of

        if at is not None and at.isdecimal():
            raise SettingsError(f"--at {at}: similar() looks at a night, not at a version", "write the night's date like 2026-11-20")
        return shelf_of(settings, date.fromisoformat(at) if at else None)

    def similar_items(query: str, k: int) -> list[dict[str, Any]]:
        try:
            return [found._asdict() for found in shelf().similar(query, k)]
        except ShelfmatesError as error:
            failed.append(error)
            raise

    connection.create_function("similar_items", similar_items, ["VARCHAR", "INTEGER"], SIMILAR)
    connection.execute(
        'CREATE MACRO "similar"(query, k := 10) AS TABLE SELECT unnest(similar_items(query::VARCHAR, k::INTEGER), max_depth := 2)'
    )
    return failed


def _check_reached(settings: Settings, query: str, version: int) -> None:
    """Raises SettingsError where a table that the query names is younger than the version."""
    for name in TABLES:
        if not re.search(rf"\b{name}(_unpacked)?\b", query, re.IGNORECASE):
            continue
        with _readable():
            newest = _history(f"{settings.lake.root.rstrip('/')}/{name}")[0]["version"]
        if version > newest:
            raise SettingsError(
                f"--at {version}: {name} has no such version, its newest is {newest}",
                "each table counts its own versions, one a commit; for a night write its date like 2026-11-20",
            )


def _selection(path: str, table: Table, at: str | None) -> str:
    quoted = _quoted(amazons(path))
    if at is None:
        return f"SELECT * FROM delta_scan('{quoted}')"
    if at.isdecimal():
        return f"SELECT * FROM delta_scan('{quoted}', version = {min(int(at), _history(path)[0]['version'])})"
    try:
        night = date.fromisoformat(at)
    except ValueError:
        raise SettingsError(f"--at {at!r} is neither a date nor a version number", "write it like 2026-11-20, or like 3") from None
    if "snapshot_date" in table.column_names:
        return f"SELECT * FROM delta_scan('{quoted}') WHERE snapshot_date = DATE '{night}'"
    return f"SELECT * FROM delta_scan('{quoted}', version = {_version_of(path, night)})"


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _version_of(path: str, night: date) -> int:
    """The newest commit made for a night up to this one; 0, the empty table, before the first."""
    for commit in _history(path):
        made_for = json.loads(commit.get("userMetadata") or "{}").get("snapshot_date")
        if made_for is not None and date.fromisoformat(made_for) <= night:
            return int(commit["version"])
    return 0


def _history(path: str) -> list[dict[str, Any]]:
    """The table's commits, newest first."""
    return delta_table(path).history()


def _floats(vectors: Any) -> Any:  # DuckDB evaluates the annotations, so they can't name a lazy import
    """Little-endian float32 bytes as lists of float."""
    import numpy as np
    import pyarrow as pa

    return pa.array([None if v is None else np.frombuffer(v, dtype="<f4") for v in vectors.to_pylist()], type=pa.list_(pa.float32()))


def _text(result: Any, form: str) -> str:
    if form == "table":
        return str(result).rstrip()
    columns, rows = result.columns, result.fetchall()
    if form == "json":
        return json.dumps([dict(zip(columns, row, strict=True)) for row in rows], default=str, ensure_ascii=False)
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows([columns, *rows])
    return written.getvalue().rstrip("\n")
