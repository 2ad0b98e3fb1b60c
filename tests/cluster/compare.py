"""Compares the tables of a lake in the store with those of one machine, where both can be reached:

    python -m tests.cluster.compare FOLDER s3://shelfmates/lake [NIGHT …]

With nights, only theirs, and `current_neighbours` not at all. Prints every table that differs and ends with 1, or how many pairs there are,
all of them equal.
"""

import os
import sys
from datetime import date
from pathlib import Path

from jobs.address import delta_options
from jobs.table import Table
from jobs.tables import CURRENT_NEIGHBOURS, NEIGHBOURS, QUARANTINED_ITEMS
from tests.soak.published import COMPARED, Rows, rows_of, told

FEEDS = "/feeds/"  # from here on the address of a feed is the same everywhere


class Address(str):
    """Of a lake, in the place of a folder."""

    def __truediv__(self, name: str) -> str:
        return f"{self}/{name}"


def comparable(rows: Rows, table: Table) -> Rows:
    """The same, with files named by where they lie among the feeds."""
    if table is not QUARANTINED_ITEMS:
        return rows
    place = table.key.index("file")
    return {(*key[:place], _feed(key[place]), *key[place + 1 :]): row | {"file": _feed(row["file"])} for key, row in rows.items()}


def _feed(address: str) -> str:
    return address.partition(FEEDS)[2]


def rows(lake: Path | Address, table: Table, nights: list[date]) -> Rows:
    """Those of the nights; without nights all of them."""
    several = [rows_of(lake, table, night) for night in nights] or [rows_of(lake, table)]
    return comparable({key: row for found in several for key, row in found.items()}, table)


def main() -> None:
    folder, address, *nights = sys.argv[1:]
    os.environ |= delta_options(address) or {}  # rows_of knows folders alone
    asked, wrong, counts = [date.fromisoformat(night) for night in nights], [], {}
    for table in COMPARED:
        if not asked or table is not CURRENT_NEIGHBOURS:
            expected, found = rows(Path(folder), table, asked), rows(Address(address), table, asked)
            wrong += told(table, expected, found)
            counts[table] = len(found)
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{counts[NEIGHBOURS]:,}")


if __name__ == "__main__":
    main()
