"""The explorer under its readers: how long every route takes in Airflow's own API server, and how much memory that needs.

    make bench-explorer                  100,000 generated products, 30 nights, 20 readers at once
    make bench-explorer ROWS=10000

One night of a generated catalogue is worked through all stages; the others are copies of it of which some pairs differ. Readers look at
random nights, products and words from the catalogue's titles, one request after the other, all of them at once with what is measured; each
night is looked at once before, which is told apart: `first` is the slowest of these.

Prints a table, milliseconds by route.
"""

import argparse
import http.client
import json
import os
import random
import statistics
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections import defaultdict
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import functions as F
from shelfmates.components import API_SERVER, end_all, processes_of

from jobs.lake import Lake
from jobs.night import Night
from jobs.session import open_session
from jobs.tables import QUARANTINED_ITEMS
from tests.benchmarks.increments import START, settings_of, worked
from tests.dags.explorer_lake import check, stages, write
from tests.soak.airflow_home import Airflow, environment, free_port

CHANGED = 0.01  # of the pairs, from night to night
STAGES = ("prepare", "ingest", "validate", "clean", "weigh", "embed", "neighbours", "audit", "publish")
CHECKS = 50  # of a night


def make_lake(folder: Path, rows: int, nights: int) -> Path:
    """A lake of so many nights."""
    settings = settings_of(folder, rows, CHANGED)
    spark = open_session(settings, name="shelfmates-bench")
    lake = Lake(spark, settings.lake.root)
    worked(lake, settings, Night(START, "bench"))
    for night in range(1, nights):  # by Spark, since the table has a check that delta-rs does not know
        day = START + timedelta(days=night)
        refused = lake.read(QUARANTINED_ITEMS, Night(START, "bench")).withColumn("snapshot_date", F.lit(day))
        lake.replace(QUARANTINED_ITEMS, refused, Night(day, "bench"))
    spark.stop()
    root = Path(settings.lake.root)
    for name in ("clean_items", "neighbours"):
        table = DeltaTable(str(root / name)).to_pyarrow_table()
        for night in range(1, nights):
            write_deltalake(str(root / name), copied(table, START + timedelta(days=night), night), mode="append")
    for night in range(nights):
        day = START + timedelta(days=night)
        write(root, "runs", stages(day, "bench", dict.fromkeys(STAGES, "ok"), rows))
        write(root, "audit_results", [check(day, "bench", f"night: check {at}", 0.1, "<= 0.5", True) for at in range(CHECKS)])
    return root


def copied(table: pa.Table, night: date, seed: int) -> pa.Table:
    """The rows as another night's; of pairs some have another neighbour."""
    table = table.set_column(table.schema.get_field_index("snapshot_date"), "snapshot_date", pa.array([night] * len(table), pa.date32()))
    if "neighbour_id" not in table.column_names:
        return table
    names = table["neighbour_id"]
    others = names.take(pa.array(range(len(table) - 1, -1, -1)))
    drawn = pc.less(pc.random(len(table), initializer=seed), CHANGED)
    mixed = pc.if_else(pc.and_(drawn, pc.not_equal(others, table["item_id"])), others, names)
    return table.set_column(table.schema.get_field_index("neighbour_id"), "neighbour_id", mixed)


def requests_of(root: Path, nights: int, chance: random.Random) -> list[tuple[str, str]]:
    """Of every route as many requests: its name, and its path."""
    items = DeltaTable(str(root / "clean_items")).to_pyarrow_dataset(file_pruning_predicate=[("snapshot_date", "=", str(START))])
    products = duckdb.from_arrow(items).query("items", "SELECT item_id, title FROM items USING SAMPLE 2000 (reservoir, 0)").fetchall()
    found = []
    for _ in range(100):
        item_id, title = chance.choice(products)
        night = chance.randrange(1, nights)
        day, before = START + timedelta(days=night), START + timedelta(days=night - 1)
        words = " ".join(chance.sample(title.split(), min(2, len(title.split()))))
        found += [
            ("nights", "nights?count=30"),
            ("audit", f"nights/{day}/audit"),
            ("search", f"nights/{day}/items?{urllib.parse.urlencode({'text': words})}"),
            ("product", f"nights/{day}/item?{urllib.parse.urlencode({'item_id': item_id})}"),
            ("product, beside another night's", f"nights/{day}/item?{urllib.parse.urlencode({'item_id': item_id, 'before': before})}"),
            ("refused rows", f"nights/{day}/quarantine"),
            ("changes", f"nights/{day}/changes?before={before}"),
        ]
    return found


class Reader:
    """One who asks one thing after the other."""

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        with urllib.request.urlopen(f"{url}/auth/token") as response:
            self.headers = {"Authorization": f"Bearer {json.load(response)['access_token']}"}

    def milliseconds(self, path: str) -> float:
        began = time.perf_counter()
        self.connection.request("GET", f"/shelfmates/{path}", headers=self.headers)
        response = self.connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise SystemExit(f"{path}: {response.status} {body[:200]!r}")
        return (time.perf_counter() - began) * 1e3


def measured(url: str, asked: list[tuple[str, str]], readers: int) -> dict[str, list[float]]:
    """Milliseconds of every request, by route."""
    found, lock = defaultdict[str, list[float]](list), threading.Lock()

    def read(mine: list[tuple[str, str]]) -> None:
        reader = Reader(url)
        for name, path in mine:
            took = reader.milliseconds(path)
            with lock:
                found[name].append(took)

    threads = [threading.Thread(target=read, args=[asked[at::readers]]) for at in range(readers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def megabytes(home: Path) -> float:
    """Of the API server's processes."""
    return sum(process.memory_info().rss for process in processes_of(home)) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--nights", type=int, default=30)
    parser.add_argument("--readers", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="shelfmates-bench-") as made:
        folder = Path(made).resolve()
        root = make_lake(folder / "shop", given.rows, given.nights)
        home, url = folder / "airflow", f"http://127.0.0.1:{free_port()}"
        home.mkdir()
        airflow = Airflow(home, url, environment(home, url, 1) | {"SHELFMATES_SETTINGS": str(folder / "shop" / "shelfmates.toml")})
        airflow.command("db", "migrate")
        try:
            airflow.start(API_SERVER)
            told(url, root, home, given.nights, given.readers)
        finally:
            end_all(home)


def told(url: str, root: Path, home: Path, nights: int, readers: int) -> None:
    """Measures, and prints."""
    for _ in range(300):
        with suppress(OSError), urllib.request.urlopen(f"{url}/api/v2/monitor/health"):
            break
        time.sleep(1)
    before = megabytes(home)
    chance = random.Random(0)
    days = [START + timedelta(days=at) for at in range(nights)]
    reader = Reader(url)
    first = {
        "nights": [reader.milliseconds("nights")],
        "search": [reader.milliseconds(f"nights/{day}/items?text=desk") for day in days],
        "changes": [reader.milliseconds(f"nights/{day}/changes?before={other}") for day, other in zip(days[1:], days, strict=False)],
        "refused rows": [reader.milliseconds(f"nights/{day}/quarantine") for day in days],
    }
    alone, all_at_once = (measured(url, requests_of(root, nights, chance), count) for count in (1, readers))
    print(f"{os.cpu_count()} cores, {nights} nights; milliseconds\n{'':34}{'first':>8}{'1 reader':>18}{f'{readers} readers':>18}")
    print(f"{'route':34}{'slowest':>8}{'p50':>9}{'p95':>9}{'p50':>9}{'p95':>9}")
    for name in alone:
        figures = [quantile(of[name], at) for of in (alone, all_at_once) for at in (50, 95)]
        slowest = f"{max(first[name]):>8.0f}" if name in first else " " * 8
        print(f"{name:34}{slowest}", end="")
        print("".join(f"{figure:>9.0f}" for figure in figures))
    every = [took for of in all_at_once.values() for took in of]
    print(f"{'all':34}{'':26}{quantile(every, 50):>9.0f}{quantile(every, 95):>9.0f}")
    print(f"memory of the API server: {before:,.0f} MB before, {megabytes(home):,.0f} MB after; lake {size(root):,.0f} MB")


def quantile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


def size(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*.parquet")) / 1e6


if __name__ == "__main__":
    main()
