"""Rows of tables for tests, with everything a test does not care about filled in."""

import hashlib
from typing import Any

from jobs.night import Night
from jobs.table import Table
from jobs.tables import CLEAN_ITEMS


def clean_item(night: Night, item_id: str, title: str, **values: Any) -> tuple[Any, ...]:
    """A row of clean_items whose text is its title."""
    row = {
        "snapshot_date": night.date,
        "item_id": item_id,
        "source": "shop",
        "title": title,
        "attributes": {},
        "text": title,
        "content_hash": hashlib.sha256(title.encode()).hexdigest(),
        "folded": 0,
    } | values
    return in_order(CLEAN_ITEMS, row)


def in_order(table: Table, row: dict[str, Any]) -> tuple[Any, ...]:
    """The row as a tuple in the table's order of columns; what it lacks is null."""
    return tuple(row.get(name) for name in table.column_names)
