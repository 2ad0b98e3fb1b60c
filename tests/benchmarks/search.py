"""`shelfmates similar` on a large night: how long its index takes, and how long a query, beside comparing the query pair by pair.

    make bench-search                         100,000 names of foods, and as many generated products
    make bench-search DATA=generated ROWS=20000

200 queries are titles of which words are dropped and letters mistyped. `openfoodfacts`: names, and the vectors that the built-in encoder
makes of them (kept in build/bench). `generated`: titles, with brands, models and descriptions; their vectors are made up, as many numbers
as the encoder's, since encoding them would take minutes and the time of a query does not depend on them.

build: from texts and vectors to the index on the disk. load: from the disk, in a process of its own, whose memory is told; most of it is
the index's pages, which the system may take back. search: one query after the other; with its encoding where `encoded` says so. agreement:
the share of the ten most similar by `fusion.settled` of all pairs that a query finds.

Prints a table, and writes build/bench/search.json.
"""

import argparse
import csv
import json
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa

from jobs import encoder, fusion, index, item, lexicon, script
from jobs import settings as settings_file
from jobs.fusion import Reading, Vectors
from jobs.generate import generate
from jobs.pool import workers
from jobs.search import Index
from jobs.sections import Weights
from tests.benchmarks.vectors import FOLDER, names, stored

QUERIES, K = 200, 10
CORES = os.cpu_count() or 1
NAME = "2026-01-01-0123456789ab"  # of the index

Texts = list[tuple[str, str]]  # title, all fields


def openfoodfacts(rows: int) -> tuple[Texts, Vectors]:
    return [(name, name) for name in names(rows)], np.load(stored("openfoodfacts", rows))


def generated(rows: int) -> tuple[Texts, Vectors]:
    with tempfile.TemporaryDirectory(prefix="shelfmates-bench-") as folder:
        generate(Path(folder), rows, 1, date(2026, 1, 1), dirt=0)
        found = list(products(Path(folder)))[:rows]
    return found, np.load(stored("hard", rows))


def products(folder: Path) -> Iterator[tuple[str, str]]:
    """Titles and all fields of the generated feeds, as `clean` and `item.all_fields_sql` make them."""
    settings = settings_file.load(folder / "shelfmates.toml", {})
    for source in settings.sources.values():
        parse = item.parser(source, settings.clean)
        with Path(source.path.replace("{date}", "2026-01-01")).open(encoding=source.encoding, newline="") as file:
            for row in csv.DictReader(file, delimiter=source.separator):
                product = parse(row)
                told = [product.title, product.brand, product.model, product.description]
                yield product.title or "", " ".join(filter(None, told))[: settings.weigh.max_characters]


SETS: dict[str, Callable[[int], tuple[Texts, Vectors]]] = {"openfoodfacts": openfoodfacts, "generated": generated}


def mistyped(title: str, chance: random.Random) -> str:
    """The title as somebody types it who knows it half: a third of its words dropped, and in one of two queries two letters exchanged."""
    words = title.split()
    kept = sorted(chance.sample(range(len(words)), max(1, len(words) * 2 // 3)))
    found = " ".join(words[place] for place in kept)
    if len(found) > 4 and chance.random() < 0.5:
        at = chance.randrange(1, len(found) - 2)
        found = found[:at] + found[at + 1] + found[at] + found[at + 2 :]
    return found


def columns(texts: Texts) -> pa.Table:
    values = *zip(*texts, strict=True), [0.0] * len(texts), [""] * len(texts), [""] * len(texts)
    return pa.table({name: pa.array(of, kind) for (name, kind), of in zip(fusion.READ.items(), values, strict=True)})


def reading_of(texts: Texts, dimension: int) -> Reading:
    book = lexicon.counted(pa.array([fields for _, fields in texts]))
    return Reading(np.array(Weights().scaled, np.float32), book, script.weights(script.known_to(encoder.folder_of(None))), dimension)


def asked(folder: Path, reading: Reading, queries: list[str]) -> dict[str, Any]:
    """Loads the index, and searches for every query."""
    model = encoder.in_float32(encoder.folder_of(None))
    model.encode(queries[:1])
    before, began = psutil.Process().memory_info().rss, time.perf_counter()
    of, _ = index.read(folder, lambda dimension: reading)
    of.nearest_of(0, K)  # which reads all vectors
    load = time.perf_counter() - began
    searched, encoded, told = [], [], []
    for query in queries:
        began = time.perf_counter()
        vector = model.encode([query]).vectors[0]
        read = time.perf_counter()
        near = of.nearest(vector, columns([(query, query)]), K)
        searched.append(1e3 * (time.perf_counter() - read))
        encoded.append(1e3 * (time.perf_counter() - began))
        told.append((vector, near.positions[0].tolist()))
    memory = (psutil.Process().memory_info().rss - before) / 1e6
    return {"load": load, "search": searched, "encoded": encoded, "memory_mb": memory, "told": told}


def agreement(texts: Texts, vectors: Vectors, reading: Reading, queries: list[str], told: list[Any]) -> float:
    """The share of the K most similar of each query, by comparing it pair by pair, that was found."""
    read = columns([(query, query) for query in queries] + texts)
    of = fusion.items(np.vstack([*(vector for vector, _ in told), vectors]), read, reading, CORES)
    every = np.tile(np.arange(len(queries), len(of), dtype=np.int32), (len(queries), 1))
    with workers(1) as pool:
        true = fusion.settled(of, reading.weights, np.arange(len(queries)), every, K, pool).positions - len(queries)
    return float(np.mean([len(set(row) & set(found)) / K for row, (_, found) in zip(true.tolist(), told, strict=True)]))


def measured(data: str, rows: int) -> dict[str, Any]:
    texts, vectors = SETS[data](rows)
    reading, chance = reading_of(texts, vectors.shape[1]), random.Random(0)
    queries = [mistyped(title, chance) for title, _ in chance.sample(texts, QUERIES)]
    with tempfile.TemporaryDirectory(prefix="shelfmates-bench-") as made:
        folder, began = Path(made) / NAME, time.perf_counter()
        of = Index.of(vectors, columns(texts), reading, CORES)
        index.write(folder, of, pa.table({"item_id": [f"{row:07}" for row in range(rows)]}))
        build = time.perf_counter() - began
        size = sum(file.stat().st_size for file in folder.iterdir())
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            found = pool.submit(asked, folder, reading, queries).result()
    agreed = agreement(texts, vectors, reading, queries, found.pop("told"))
    figures = {name: np.percentile(found.pop(name), (50, 95)).round(1).tolist() for name in ("search", "encoded")}
    return {"data": data, "rows": rows, "build": build, "index_mb": size / 1e6, **found, **figures, "agreement": agreed}


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        f"{'':14}{'':>9}{'seconds':>14}{'MB':>14}{'search, ms':>16}{'encoded, ms':>16}",
        f"{'data':14}{'items':>9}{'build':>7}{'load':>7}{'disk':>7}{'memory':>7}{'p50':>8}{'p95':>8}{'p50':>8}{'p95':>8}{'agreement@10':>14}",
    ]
    for row in rows:
        times = "".join(f"{value:>8.1f}" for value in [*row["search"], *row["encoded"]])
        sizes = f"{row['index_mb']:>7.0f}{row['memory_mb']:>7.0f}"
        lines.append(f"{row['data']:14}{row['rows']:>9,}{row['build']:>7.1f}{row['load']:>7.2f}{sizes}{times}{row['agreement']:>14.4f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=",".join(SETS), help="sets, separated by commas")
    parser.add_argument("--rows", type=int, default=100_000)
    given = parser.parse_args()
    if unknown := [data for data in given.data.split(",") if data not in SETS]:
        parser.error(f"there is no set {unknown[0]!r}; there are {', '.join(SETS)}")
    rows = [measured(data, given.rows) for data in given.data.split(",")]
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "search.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    print(f"{CORES} cores, {QUERIES} queries\n{table(rows)}")


if __name__ == "__main__":
    main()
