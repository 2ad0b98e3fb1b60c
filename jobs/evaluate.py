"""recall@k of the published neighbours against pairs that are known to belong together."""

import csv
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from jobs.errors import ContractError, SettingsError, SourceError
from jobs.settings import Settings
from jobs.sql import connect, rows

COLUMNS = ["query_id", "match_id"]
SHOWN = 5  # nights in an error


def evaluate(settings: Settings, truth: Path, ks: Sequence[int], night: date | None = None) -> str:
    """A line per k: the share of true pairs whose match_id is among the k nearest published neighbours of query_id.

    A pair whose query is not in the night (quarantined, say) counts as missed, and is told. Raises SettingsError for a night that is not
    published and a k beyond its ranks, ContractError where none is published.
    """
    if min(ks) < 1:
        raise SettingsError(f"--k {min(ks)}: k must be at least 1", "write it like 1,5,10")
    pairs = read_pairs(truth)
    connection = connect(settings)
    published = [row[0] for row in rows(connection, "SELECT DISTINCT snapshot_date FROM neighbours ORDER BY 1")]
    night = _among(published, night, settings.lake.root)
    ((last,),) = rows(connection, "SELECT max(rank) FROM neighbours WHERE snapshot_date = $1", night)
    if too_far := [k for k in ks if k > last]:
        raise SettingsError(
            f"--k {too_far[0]}: the lists of {night} end at rank {last}", f"ask for 1 to {last}, or publish more with neighbours.k"
        )
    connection.execute("CREATE TABLE truth (query_id VARCHAR, match_id VARCHAR)")
    connection.executemany("INSERT INTO truth VALUES (?, ?)", pairs)
    query = """
        SELECT n.rank, t.query_id IN (SELECT item_id FROM clean_items WHERE snapshot_date = $1)
        FROM truth t LEFT JOIN (SELECT * FROM neighbours WHERE snapshot_date = $1) n
          ON n.item_id = t.query_id AND n.neighbour_id = t.match_id"""
    ranks = rows(connection, query, night)
    absent = sum(not present for _, present in ranks)
    lines = [
        f"night {night}, {len(pairs):,} true pairs" + (f", {absent:,} of them with a query that is not in the night" if absent else "")
    ]
    for k in ks:
        hits = sum(rank is not None and rank <= k for rank, _ in ranks)
        lines.append(f"recall@{k:<3} {hits / len(pairs):.4f}  ({hits:,} of {len(pairs):,})")
    return "\n".join(lines)


def _among(published: list[date], night: date | None, root: str) -> date:
    """The night, or the newest of those published."""
    if not published:
        raise ContractError(f"no night is published under {root}", "run one first, for instance `shelfmates run --date YYYY-MM-DD`")
    if night is None:
        return published[-1]
    if night not in published:
        near = sorted(sorted(published, key=lambda other: abs(other - night))[:SHOWN])
        raise SettingsError(
            f"--date {night}: this night is not published",
            f"name one that is; the nearest of {len(published)}: {', '.join(map(str, near))}",
        )
    return night


def read_pairs(truth: Path) -> list[tuple[str, str]]:
    if not truth.is_file():
        raise SourceError(f"no truth file at {truth}", "name a CSV file with the columns query_id and match_id")
    with truth.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if not set(COLUMNS) <= set(reader.fieldnames or []):
            raise SourceError(f"{truth} has the columns {reader.fieldnames}", "it needs query_id and match_id")
        pairs = [(row["query_id"], row["match_id"]) for row in reader]
    if not pairs:
        raise SourceError(f"{truth} has no pairs", "give at least one")
    return pairs
