"""Ours and what one would otherwise install, in one run: all k nearest neighbours of every vector, total time of building and asking.

    make bench-neighbours                      both data sets, 100,000 rows
    make bench-neighbours DATA=hard ROWS=20000 SYSTEMS=shelfmates,pynndescent REPEATS=3

Every run is a process of its own with the same normalised float32 vectors and two threads, after a warm-up on 5,000 rows. Systems take
turns, `REPEATS` times; one that needs more than SLOW seconds runs once. Recall is taken on 2,000 sampled rows against brute force in
float32, ties by similarity. What runs on Spark (our whole stage, cold and warm, and Spark's own join) is timed without Spark's start.

Prints a table, writes build/bench/neighbours.json (the rows of this run) and build/bench/neighbours.png.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.benchmarks import plot
from tests.benchmarks import vectors as data_of
from tests.benchmarks.systems import SYSTEMS, THREADS, Ids, K, chosen
from tests.benchmarks.vectors import Vectors

WARM_UP_ROWS = 5_000
SAMPLED = 2_000
SLOW = 30.0  # seconds
TIE = 1e-6


def truth(file: Path, vectors: Vectors) -> tuple[npt.NDArray[np.int64], Vectors]:
    """Sampled rows (q,) and the true similarity of each one's k-th neighbour (q,), by brute force; kept beside the vectors."""
    kept = file.with_suffix(".truth.npz")
    if kept.is_file():
        with np.load(kept) as stored:
            return stored["rows"], stored["kth"]
    rows = np.sort(np.random.default_rng(1).choice(len(vectors), min(SAMPLED, len(vectors)), replace=False))
    kth = np.empty(len(rows), dtype=np.float32)
    for start in range(0, len(rows), 100):
        part = rows[start : start + 100]
        similarities = vectors[part] @ vectors.T
        similarities[np.arange(len(part)), part] = -np.inf
        kth[start : start + 100] = np.partition(similarities, -K, axis=1)[:, -K]
    np.savez(kept, rows=rows, kth=kth)
    return rows, kth


def recall(vectors: Vectors, found: Ids, rows: npt.NDArray[np.int64], kth: Vectors) -> float:
    """Share of the sampled rows' k nearest that was found. The item itself is struck out; what is beyond the k-th place does not count."""
    hits = 0
    for row, least in zip(rows, kth, strict=True):
        others = [i for i in found[row] if i not in (row, -1)][:K]
        hits += int((vectors[others] @ vectors[row] >= least - TIE).sum())
    return hits / (K * len(rows))


def measure(system: str, setting: str, data: str, rows: int) -> dict[str, Any]:
    """One timed run, in this process."""
    file = data_of.stored(data, rows)
    vectors = np.load(file)
    search = SYSTEMS[system].settings[setting]
    if not SYSTEMS[system].on_spark:
        search(vectors[:WARM_UP_ROWS].copy())
    began = time.perf_counter()
    found = search(vectors)
    seconds = time.perf_counter() - began
    if isinstance(found, tuple):
        found, seconds = found
    from jobs.shift import peak_memory_mb  # not before: importing it takes memory of its own

    peak = peak_memory_mb()  # with the JVM and Python workers, which are still there
    return {"seconds": seconds, "peak_mb": round(peak), "recall": recall(vectors, found, *truth(file, vectors))}


def measured_apart(system: str, setting: str, data: str, rows: int) -> dict[str, Any]:
    """One timed run, in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.neighbours", "--one", system, setting, "--data", data, "--rows", str(rows)]
    threads = {"OMP_NUM_THREADS": str(THREADS), "NUMBA_NUM_THREADS": str(THREADS), "OPENBLAS_NUM_THREADS": str(THREADS)}
    if SYSTEMS[system].on_spark:
        threads = {}  # its workers would inherit them, and each of them take all threads
    ran = subprocess.run(command, env=os.environ | threads, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(ran.stdout.splitlines()[-1]))


def compare(systems: list[tuple[str, str]], data: str, rows: int, repeats: int) -> list[dict[str, Any]]:
    file = data_of.stored(data, rows)
    truth(file, np.load(file))
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {pair: [] for pair in systems}
    for turn in range(repeats):
        for pair in systems:
            if turn and runs[pair][0]["seconds"] > SLOW:
                continue
            runs[pair].append(measured_apart(*pair, data, rows))
            last = runs[pair][-1]
            name = " ".join(filter(None, pair))
            print(f"  {data} {rows:,}, turn {turn + 1}: {name}: {last['seconds']:.2f} s, recall {last['recall']:.4f}", flush=True)
    return [
        {
            "system": system,
            "setting": setting,
            "data": data,
            "rows": rows,
            "k": K,
            "recall": round(statistics.median(run["recall"] for run in done), 4),
            "seconds": round(statistics.median(run["seconds"] for run in done), 3),
            "peak_mb": max(run["peak_mb"] for run in done),
            "runs": len(done),
        }
        for (system, setting), done in runs.items()
    ]


def small_enough(systems: list[tuple[str, str]], rows: int) -> list[tuple[str, str]]:
    """The systems that take this many rows; says which are left out."""
    kept = []
    for system, setting in systems:
        most = SYSTEMS[system].most_rows
        if most is None or rows <= most:
            kept.append((system, setting))
        else:
            print(f"{system} is left out: it compares every pair, and runs at up to {most:,} rows only", flush=True)
    return kept


def table(rows: list[dict[str, Any]]) -> str:
    """Every row beside the fastest of ours that reaches its recall: `ratio` is our time over theirs."""
    lines = [f"{'data':14} {'rows':>8} {'system':20} {'recall':>7} {'seconds':>8} {'ratio':>6} {'peak MB':>8} {'runs':>4}"]
    for row in sorted(rows, key=lambda row: (row["data"], row["rows"], row["recall"])):
        same = [other for other in rows if (other["system"], other["data"], other["rows"]) == ("shelfmates", row["data"], row["rows"])]
        ours = [other["seconds"] for other in same if other["recall"] >= row["recall"]]
        ratio = f"{min(ours) / row['seconds']:.2f}" if ours and not row["system"].startswith("shelfmates") else ""
        name = f"{row['system']} {row['setting']}"
        found = f"{row['recall']:>7.4f} {row['seconds']:>8.2f} {ratio:>6} {row['peak_mb']:>8,} {row['runs']:>4}"
        lines.append(f"{row['data']:14} {row['rows']:>8,} {name:20} {found}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=",".join(data_of.SETS), help="data sets, separated by commas")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--systems", default="", help=f"of {', '.join(SYSTEMS)}; separated by commas; all if empty")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--plot", type=Path, help="write the picture to this file too")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure(*asked.one, asked.data, asked.rows)))
        return
    sets = asked.data.split(",")
    if unknown := [data for data in sets if data not in data_of.SETS]:
        parser.error(f"there is no data set {unknown[0]!r}; there are {', '.join(data_of.SETS)}")
    try:
        named = chosen(asked.systems)
    except ValueError as error:
        parser.error(str(error))
    packages = ("pynndescent", "faiss-cpu", "hnswlib", "pyspark", "torch", "numba")
    peers = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    print(f"{os.cpu_count()} cores, {platform.machine()}, {THREADS} threads; {peers}", flush=True)
    if not (systems := small_enough(named, asked.rows)):
        return
    rows = [row for data in sets for row in compare(systems, data, asked.rows, asked.repeats)]
    (data_of.FOLDER / "neighbours.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    print(table(rows))
    plot.recall_and_speed(rows, [data_of.FOLDER / "neighbours.png", *([asked.plot] if asked.plot else [])])


if __name__ == "__main__":
    main()
