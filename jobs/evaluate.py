"""recall@k of the published neighbours against pairs that are known to belong together."""

import csv
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.errors import SettingsError, SourceError
from jobs.settings import Settings
from jobs.sql import connect, published_night, rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

COLUMNS = ["query_id", "match_id"]
# clean_items forgets a night before neighbours does
PRESENT = """
    SELECT item_id FROM clean_items WHERE snapshot_date = $1 UNION SELECT item_id FROM neighbours WHERE snapshot_date = $1"""


def evaluate(settings: Settings, truth: Path, ks: Sequence[int], night: date | None = None) -> str:
    """A line per k: the share of true pairs whose match_id is among the k nearest published neighbours of query_id.

    A pair whose query or match is not in the night (quarantined, say) counts as missed, and is told. Raises SettingsError for a night that
    is not published and a k beyond its ranks, ContractError where none is published, SourceError where the night knows no pair.
    """
    if min(ks) < 1:
        raise SettingsError(f"--k {min(ks)}: k must be at least 1", "write it like 1,5,10")
    pairs = read_pairs(truth)
    connection = connect(settings)
    night = published_night(connection, settings.lake.root, night)
    ((last,),) = rows(connection, "SELECT max(rank) FROM neighbours WHERE snapshot_date = $1", night)
    if too_far := [k for k in ks if k > last]:
        raise SettingsError(
            f"--k {too_far[0]}: the lists of {night} end at rank {last}", f"ask for 1 to {last}, or publish more with neighbours.k"
        )
    connection.execute("CREATE TABLE truth (query_id VARCHAR, match_id VARCHAR)")
    connection.executemany("INSERT INTO truth VALUES (?, ?)", pairs)
    query = f"""
        WITH present AS ({PRESENT})
        SELECT n.rank, t.query_id IN (FROM present), t.match_id IN (FROM present)
        FROM truth t LEFT JOIN (SELECT * FROM neighbours WHERE snapshot_date = $1) n
          ON n.item_id = t.query_id AND n.neighbour_id = t.match_id"""
    ranks = rows(connection, query, night)
    if not any(query_present and match_present for _, query_present, match_present in ranks):
        raise _unknown(connection, truth, night)
    absent = {
        "query": sum(not query_present for _, query_present, _ in ranks),
        "match": sum(not match_present for _, _, match_present in ranks),
    }
    told = [f", {count:,} of them with a {side} that is not in the night" for side, count in absent.items() if count]
    lines = [f"night {night}, {len(pairs):,} true pairs{''.join(told)}"]
    for k in ks:
        hits = sum(rank is not None and rank <= k for rank, _, _ in ranks)
        lines.append(f"recall@{k:<3} {hits / len(pairs):.4f}  ({hits:,} of {len(pairs):,})")
    return "\n".join(lines)


def _unknown(connection: "DuckDBPyConnection", truth: Path, night: date) -> SourceError:
    """The error that shows an id of the file beside one of the night, the same but for its source where there is such."""
    foreign, own = rows(
        connection,
        f"""
        WITH present AS ({PRESENT}),
          given AS (SELECT unnest([query_id, match_id]) AS id FROM truth),
          unknown AS (SELECT DISTINCT id FROM given WHERE id NOT IN (FROM present))
        SELECT id, coalesce(item_id, (SELECT min(item_id) FROM present))
        FROM unknown LEFT JOIN present ON substr(item_id, instr(item_id, ':') + 1) = id ORDER BY item_id IS NULL, id LIMIT 1""",
        night,
    )[0]
    return SourceError(
        f"{truth}: the night {night} knows both ids of no pair; the file has {foreign!r}, ids of the night read like {own!r}",
        "write the ids as the night has them, with several sources <source>:<id>, or name the settings of the lake they are from",
    )


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
