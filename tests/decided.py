"""A published night by hand, for tests of what is made of it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from jobs.decisions import INTERACTIONS, USER_KEYS
from jobs.lake import Lake
from jobs.night import Night
from jobs.tables import AUDIT_RESULTS, CLEAN_ITEMS, NEIGHBOURS, QUARANTINED_ITEMS, RUNS
from tests.rows import clean_item, in_order

PARTS = {"semantic": 0.9, "lexical": 0.9}


def publish(lake: Lake, night: Night, items: dict[str, dict[str, Any]], lists: dict[str, dict[str, float]]) -> None:
    """Items by id, their titles and whatever else they have; and each one's neighbours with their similarities, the nearest first."""
    for table in (CLEAN_ITEMS, NEIGHBOURS, AUDIT_RESULTS, QUARANTINED_ITEMS, RUNS):
        lake.create(table)
    rows = [clean_item(night, item_id, **{"title": f"Product {item_id}", **values}) for item_id, values in items.items()]
    pairs = [
        {"item_id": item_id, "rank": rank, "neighbour_id": other, "similarity": similarity, "parts": PARTS, "model_id": "m", "run_id": "r"}
        for item_id, others in lists.items()
        for rank, (other, similarity) in enumerate(others.items(), 1)
    ]
    lake.replace(CLEAN_ITEMS, lake.frame(CLEAN_ITEMS, rows), night)
    lake.replace(NEIGHBOURS, lake.frame(NEIGHBOURS, [in_order(NEIGHBOURS, {"snapshot_date": night.date, **pair}) for pair in pairs]), night)


def act(lake: Lake, night: Night, rows: Sequence[tuple[Any, ...]]) -> None:
    """What people did, as rows of `interactions`; everybody is known."""
    for table in (INTERACTIONS, USER_KEYS):
        lake.create(table)
    lake.append(INTERACTIONS, lake.frame(INTERACTIONS, rows), night)
    users = [(f"hash of {user}", user, datetime(2026, 1, 1, tzinfo=UTC)) for user in sorted({row[1] for row in rows})]
    lake.append(USER_KEYS, lake.frame(USER_KEYS, users), night)
