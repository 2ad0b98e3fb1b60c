"""Keeps a serving store in step with `current_neighbours`, by its change data feed: a worked example, with SQLite as the store.

Everything from the version the store is at to the newest is applied in one transaction, together with the version's number. So a sync that
is cut off has done nothing, and the next one takes it up; to run it twice changes nothing. A store that has no version yet, or one whose
changes are not kept any more, gets the whole table. Another store needs the same three steps: read the version, delete and insert rows,
write the version.
"""

import json
import sqlite3
from contextlib import closing, suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from jobs.address import delta_table
from jobs.errors import ContractError, SettingsError
from jobs.settings import Settings
from jobs.tables import CURRENT_NEIGHBOURS

SCHEMA = """
CREATE TABLE IF NOT EXISTS neighbours (
    item_id TEXT, rank INTEGER, neighbour_id TEXT NOT NULL, similarity REAL NOT NULL, parts TEXT NOT NULL, model_id TEXT NOT NULL,
    PRIMARY KEY (item_id, rank)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS synchronised (table_id TEXT NOT NULL, version INTEGER NOT NULL);
"""
GONE, COME = ("delete", "update_preimage"), ("insert", "update_postimage")  # kinds of change, as Delta names them


def sync(settings: Settings, store: Path) -> str:
    """Brings the store up to the newest version of the table; what was done, in a line. Raises ContractError where there is no table,
    SettingsError where the store cannot be written."""
    try:
        with closing(sqlite3.connect(store, isolation_level=None)) as database:
            database.executescript(SCHEMA)
            database.execute("BEGIN IMMEDIATE")  # from here on no other sync is at work
            try:
                told = _brought_up(_table(settings), database)
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")
            return told
    except sqlite3.Error as error:
        raise SettingsError(
            f"the store {store} cannot be written: {error}", "name another file with --to, or see who else writes it"
        ) from error


def _table(settings: Settings) -> Any:
    from deltalake.exceptions import DeltaError

    try:
        return delta_table(f"{settings.lake.root.rstrip('/')}/{CURRENT_NEIGHBOURS.name}")
    except DeltaError as error:
        raise ContractError(f"there is no table {CURRENT_NEIGHBOURS.name} under {settings.lake.root}", "publish a night first") from error


def _brought_up(table: Any, database: sqlite3.Connection) -> str:
    from deltalake.exceptions import DeltaError

    newest, table_id = table.version(), str(table.metadata().id)
    known = database.execute("SELECT version FROM synchronised WHERE table_id = ?", (table_id,)).fetchone()
    if known is not None and known[0] >= newest:
        return f"sync: at version {known[0]} already"
    changes = None
    if known is not None:
        with suppress(DeltaError, pa.ArrowInvalid):  # the changes since then are not kept any more
            changes = pa.table(table.load_cdf(known[0] + 1, newest)).to_pylist()
    gone = come = 0
    if changes is None:
        gone = database.execute("DELETE FROM neighbours").rowcount
        come = sum(_written(database, batch.to_pylist()) for batch in table.to_pyarrow_dataset().to_batches())
    else:
        for _, of_version in groupby(sorted(changes, key=_version), _version):
            rows = list(of_version)
            keys = [(change["item_id"], change["rank"]) for change in rows if change["_change_type"] in GONE]
            gone += database.executemany("DELETE FROM neighbours WHERE item_id = ? AND rank = ?", keys).rowcount
            come += _written(database, [change for change in rows if change["_change_type"] in COME])
    database.execute("DELETE FROM synchronised")
    database.execute("INSERT INTO synchronised VALUES (?, ?)", (table_id, newest))
    since = "the whole table" if changes is None else f"since version {known[0]}"
    return f"sync: {come:,} rows written, {gone:,} taken out, at version {newest}, {since}"


def _version(change: dict[str, Any]) -> int:
    return int(change["_commit_version"])


def _written(database: sqlite3.Connection, rows: list[dict[str, Any]]) -> int:
    values = (
        (
            *(row[name] for name in ("item_id", "rank", "neighbour_id", "similarity")),
            json.dumps({name: value for name, value in row["parts"].items() if value is not None}),
            row["model_id"],
        )
        for row in rows
    )
    database.executemany("INSERT INTO neighbours VALUES (?, ?, ?, ?, ?, ?)", values)
    return len(rows)
