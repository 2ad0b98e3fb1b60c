"""What the lake's last nights did, for people: stages, quarantine, examples of neighbours, where to look next."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs import sql
from jobs.settings import Settings
from jobs.stages import ERASURE, MAINTENANCE

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

EXAMPLES = 3  # products whose neighbours are shown
WIDTH = 72  # characters of a title


def report(settings: Settings, nights: int = 2) -> None:
    """Prints the report of the `nights` that were worked on last."""
    connection = sql.connect(settings)
    of_nights = f"FROM runs WHERE stage NOT IN ('{MAINTENANCE}', '{ERASURE}')"
    latest = f"SELECT snapshot_date {of_nights} GROUP BY 1 ORDER BY max(started_at) DESC LIMIT {nights}"
    dates = [row[0] for row in sql.rows(connection, latest)]
    for date in reversed(dates):
        _stages(connection, date)
    if dates:
        _quarantine(connection, dates[0])
        _neighbours(connection, dates[0])
    else:
        print("\nNo night has been run on this lake yet; `shelfmates run --date YYYY-MM-DD` runs one")
    _where_to_look(settings)


def _stages(connection: "DuckDBPyConnection", date: Any) -> None:
    print(f"\nNight {date}: what each stage did")
    print(f"  {'stage':<12}{'rows in':>10}{'rows out':>10}{'seconds':>9}{'peak MB':>9}  outcome")
    query = """
        SELECT stage, rows_in, rows_out, seconds, peak_memory_mb, outcome FROM runs WHERE snapshot_date = ?
        QUALIFY row_number() OVER (PARTITION BY stage ORDER BY started_at DESC) = 1 ORDER BY started_at"""
    total = 0.0
    for stage, rows_in, rows_out, seconds, peak, outcome in sql.rows(connection, query, date):
        print(f"  {stage:<12}{rows_in:>10,}{rows_out:>10,}{seconds:>9.1f}{peak:>9,.0f}  {outcome}")
        total += seconds
    print(f"  {'together':<12}{'':>20}{total:>9.1f}")


def _quarantine(connection: "DuckDBPyConnection", date: Any) -> None:
    query = """
        SELECT reason, source, count(*), min_by(file || ' row ' || row, row) FROM
          (SELECT unnest(reasons) AS reason, source, parse_filename(file) AS file, row FROM quarantined_items WHERE snapshot_date = ?)
        GROUP BY ALL ORDER BY 3 DESC, 1, 2"""
    rows = sql.rows(connection, query, date)
    print(f"\nNight {date}: what was quarantined, and why" if rows else f"\nNight {date}: nothing was quarantined")
    for reason, source, count, example in rows:
        print(f"  {count:>6,}  {reason}  ({source}, for instance {example})")


def _neighbours(connection: "DuckDBPyConnection", date: Any) -> None:
    query = f"""
        SELECT item_id, title FROM clean_items WHERE snapshot_date = ?
        AND item_id IN (SELECT item_id FROM neighbours WHERE snapshot_date = ?) ORDER BY md5(item_id) LIMIT {EXAMPLES}"""
    examples = sql.rows(connection, query, date, date)
    print(f"\nNight {date}: neighbours of {len(examples)} products" if examples else f"\nNight {date}: no neighbours are published")
    for item_id, title in examples:
        print(f"  {title[:WIDTH]}  [{item_id}]")
        query = """SELECT n.similarity, c.title, n.neighbour_id FROM neighbours n JOIN clean_items c
            ON c.item_id = n.neighbour_id AND c.snapshot_date = n.snapshot_date
            WHERE n.snapshot_date = ? AND n.item_id = ? AND n.rank <= 4 ORDER BY n.rank"""
        for similarity, other, other_id in sql.rows(connection, query, date, item_id):
            print(f"    {similarity:.3f}  {other[:WIDTH]}  [{other_id}]")


def _where_to_look(settings: Settings) -> None:
    pages = sorted(Path(settings.validate_.docs).glob("*/index.html"))
    print(f"\nTables     {settings.lake.root}")
    print(f"Data Docs  {pages[-1] if pages else settings.validate_.docs}")
    print("\nTo ask further (add --settings FILE if yours is not ./shelfmates.toml):")
    print('  shelfmates sql "SELECT * FROM current_neighbours WHERE rank = 1 ORDER BY similarity DESC LIMIT 10"')
    reasons = "SELECT unnest(reasons) AS reason FROM quarantined_items"
    print(f'  shelfmates sql "SELECT reason, count(*) FROM ({reasons}) GROUP BY 1 ORDER BY 2 DESC"')
    print('  shelfmates sql "SELECT snapshot_date, stage, rows_out, seconds FROM runs ORDER BY started_at DESC"')
