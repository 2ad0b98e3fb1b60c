"""Tables as delta-rs reads them, and where they differ. Which run has written a row does not count."""

from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from jobs.table import Table
from jobs.tables import CLEAN_ITEMS, CURRENT_NEIGHBOURS, NEIGHBOURS, QUARANTINED_ITEMS, RUNS

COMPARED = (CLEAN_ITEMS, QUARANTINED_ITEMS, NEIGHBOURS, CURRENT_NEIGHBOURS)
SHOWN = 5  # differences of a table

Rows = dict[tuple[Any, ...], dict[str, Any]]  # by key


def rows_of(lake: Path, table: Table, night: date | None = None) -> Rows:
    """All rows, or those of one night where the table has nights."""
    columns = [name for name in table.column_names if name != "run_id"]
    of_night = [("snapshot_date", "=", night)] if night and "snapshot_date" in table.partition else None
    rows = DeltaTable(lake / table.name).to_pyarrow_table(columns=columns, filters=of_night).to_pylist()
    found = {tuple(row[name] for name in table.key): row for row in rows}
    if len(found) < len(rows):
        raise ValueError(f"{table.name} has {len(rows) - len(found)} rows of a key that another row has")
    return found


def differences(expected: Rows, found: Rows) -> Iterator[str]:
    """One line for each row that one side lacks or that is another one, both sides told."""
    for key in sorted(expected.keys() | found.keys(), key=str):
        one, other = expected.get(key), found.get(key)
        name = ", ".join(map(str, key))
        if one is None or other is None:
            yield f"{name}: {'expected' if other is None else 'not expected'}: {one or other}"
        elif one != other:
            yield f"{name}: " + "; ".join(f"{c} is {other[c]!r}, expected {one[c]!r}" for c in one if one[c] != other[c])


def told(table: Table, expected: Rows, found: Rows) -> list[str]:
    """How many rows of the table differ, and the first of them; nothing if none does."""
    lines = list(differences(expected, found))
    return [f"{table.name}: {len(lines):,} rows differ, the first:", *(f"  {line}" for line in lines[:SHOWN])] if lines else []


def faults(expected: Path, found: Path) -> list[str]:
    """The first differences of every table of two lakes, and of current_neighbours from the newest night's."""
    lines = [line for table in COMPARED for line in told(table, rows_of(expected, table), rows_of(found, table))]
    nights = rows_of(found, NEIGHBOURS)
    newest = max(night for night, *_ in nights)
    of_newest = {key[1:]: {n: v for n, v in row.items() if n != "snapshot_date"} for key, row in nights.items() if key[0] == newest}
    if of_newest != rows_of(found, CURRENT_NEIGHBOURS):
        lines.append(f"current_neighbours are not those of {newest}")
    return lines


def version(lake: Path, table: Table) -> int:
    return DeltaTable(lake / table.name).version()


def times_published(lake: Path) -> Counter[date]:
    """How often each night has been published."""
    rows = DeltaTable(lake / RUNS.name).to_pyarrow_table(columns=["snapshot_date", "stage", "outcome"]).to_pylist()
    return Counter(row["snapshot_date"] for row in rows if (row["stage"], row["outcome"]) == ("publish", "ok"))
