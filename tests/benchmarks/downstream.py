"""What is made of a published night of a large shop: seconds and memory by stage, and whether substitutes and bundles are right.

    make bench-downstream                            100,000 products, 50,000 shoppers, 2,000,000 things they did
    make bench-downstream ROWS=10000                 a tenth of it all

A generated catalogue with shoppers (`jobs.shopper`), one night, all by the program's defaults. The truth lies beside it: which products
replace each other, being of one family, and which are sold together. precision@5: the share of what is said, five a product at most, that
is true; of substitutes, `at best`: what it would be if every true one were named before others, most products having fewer than five, and
`recall`: the share of the true ones on sale that is named. coverage: of the products that are out of stock and have true substitutes on
sale, the share for which some are named; of the pairs of products sold together that enough people bought (`[bundles] users_min`), the
share that is named.

Prints a table; writes build/bench/downstream.json. Memory is the largest resident size so far, of the driver, its JVM and its workers.
"""

import argparse
import csv
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import patch

import duckdb

from jobs import settings as settings_file
from jobs.generate import generate
from jobs.night import Night
from jobs.shift import work
from jobs.sql import connect, rows
from jobs.stages import DOWNSTREAM, STAGES
from jobs.user_key import VARIABLE
from tests.benchmarks.vectors import FOLDER

NIGHT = Night(date(2026, 1, 5), "bench")
KEY = "a key of the benchmark alone"
USERS, EVENTS = 0.5, 20.0  # for a product
TOP = 5

Pairs = set[tuple[str, str]]


def read(file: Path, *names: str) -> list[tuple[str, ...]]:
    with file.open(encoding="utf-8") as opened:
        return [tuple(row[name] for name in names) for row in csv.DictReader(opened)]


def share(found: Iterable[Any], true: Iterable[Any]) -> float:
    found, true = set(found), set(true)
    return len(found & true) / len(found) if found else 0.0


def of_substitutes(lake: duckdb.DuckDBPyConnection, truth: Path) -> dict[str, float]:
    true = {(one, other) for one, other in read(truth, "item_id", "substitute_id")}
    stock = dict(rows(lake, "SELECT item_id, in_stock FROM items_now"))
    said = {(one, other) for one, other in rows(lake, f"SELECT item_id, substitute_id FROM substitutes WHERE rank <= {TOP}")}
    shop = {(one, other) for one, other in said if one.startswith("shop:") and other.startswith("shop:")}  # the truth is of the shop alone
    to_be_had = {(one, other) for one, other in true if stock.get(one) is False and stock.get(other)}
    listed, right = (Counter(one for one, _ in pairs) for pairs in (shop, to_be_had))
    return {
        "precision@5": share(shop, true),
        "at best": sum(min(count, right[one]) for one, count in listed.items()) / len(shop),
        "recall": share(to_be_had, said),
        "coverage": share({one for one, _ in to_be_had}, {one for one, _ in said}),
        "said": len(said),
    }


def of_bundles(lake: duckdb.DuckDBPyConnection, truth: Path, users_min: int) -> dict[str, float]:
    told = read(truth, "item_id", "with_id", "together")
    true = {tuple(sorted((one, other))) for one, other, _ in told}
    often = {tuple(sorted((one, other))) for one, other, together in told if int(together) >= users_min}
    said = {tuple(sorted((one, other))) for one, other in rows(lake, f"SELECT item_id, other_id FROM bundles WHERE rank <= {TOP}")}
    return {"precision@5": share(said, true), "coverage": share(often, said), "said": len(said)}


def table(stages: list[tuple[Any, ...]], quality: dict[str, dict[str, float]]) -> str:
    lines = [f"{'stage':14}{'seconds':>9}{'rows in':>13}{'rows out':>13}{'peak MB':>9}"]
    lines += [f"{stage:14}{seconds:9.1f}{read:13,}{written:13,}{memory:9,.0f}" for stage, seconds, read, written, memory in stages]
    lines.append(f"{'all':14}{sum(row[1] for row in stages):9.1f}")
    lines += [f"{name}: " + ", ".join(f"{what} {value:,.3g}" for what, value in found.items()) for name, found in quality.items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000, help="products in the shop")
    asked = parser.parse_args()
    print(f"{os.cpu_count()} cores", flush=True)
    with tempfile.TemporaryDirectory(prefix="shelfmates-bench-") as made, patch.dict(os.environ, {VARIABLE: KEY}):
        folder, users, events = Path(made), round(USERS * asked.rows), round(EVENTS * asked.rows)
        print(generate(folder, asked.rows, 1, NIGHT.date, users=users, events=events), flush=True)
        settings = settings_file.load(folder / "shelfmates.toml", {})
        work(settings, NIGHT, list(STAGES))
        work(settings, NIGHT, list(DOWNSTREAM))
        lake, names = connect(settings), ", ".join(f"'{stage}'" for stage in DOWNSTREAM)
        query = f"SELECT stage, seconds, rows_in, rows_out, peak_memory_mb FROM runs WHERE stage IN ({names}) ORDER BY started_at"
        stages = rows(lake, query)
        quality = {
            "substitutes": of_substitutes(lake, folder / "truth" / "substitutes.csv"),
            "bundles": of_bundles(lake, folder / "truth" / "bundles.csv", settings.bundles.users_min),
        }
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "downstream.json").write_text(json.dumps({"stages": stages, "quality": quality}, indent=1, default=str), encoding="utf-8")
    print(table(stages, quality))


if __name__ == "__main__":
    main()
