"""Our encoder and what one would otherwise encode with, in one run: texts of three kinds to vectors.

    make bench-embed                                   all texts, 2,000 of each
    make bench-embed DATA=names ITEMS=500 SYSTEMS=shelfmates REPEATS=1

Systems take turns over the same texts in one process, `REPEATS` times, with two threads each; one that needs more than SLOW seconds runs
once. sentence-transformers runs at batch sizes of 32, 128 and 512, in float32 and bfloat16, onnxruntime and openvino in the batches it
would make, openvino also with two batches at once, a thread each; bfloat16 is left out where the CPU emulates it. Items and tokens a second
are medians; tokens are those of the texts, without padding. The ratio is to the fastest of the others. Agreement is with the float32 of
sentence-transformers at its defaults: mean cosine, and how many of the 10 nearest among the same texts are the same, all or but for
similarities within .001.

Prints a table, writes build/bench/embed.json (the rows of this run).
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
from typing import Any

import numpy as np
import torch

from jobs import encoder, gemm
from jobs.batch import batches
from tests.benchmarks import texts as texts_of
from tests.benchmarks.encoders import SYSTEMS, Encode
from tests.benchmarks.systems import THREADS, K
from tests.benchmarks.vectors import FOLDER, Vectors

WARM_UP_ITEMS = 200
SLOW = 120.0  # seconds
TIE = 1e-3
REFERENCE = next(iter(SYSTEMS))


def agreement(vectors: Vectors, reference: Vectors) -> dict[str, float]:
    """Mean cosine with the reference, and the share of the K nearest of every text that are among the reference's K nearest, or, with ties,
    not more than TIE less similar than the K-th of them; of the texts that have a vector."""
    among, within, said = [], [], vectors.any(axis=1)
    vectors, reference = vectors[said], reference[said]
    for i in range(len(vectors)):
        similar, true = vectors @ vectors[i], reference @ reference[i]
        similar[i] = true[i] = -np.inf
        nearest = np.argpartition(-similar, K)[:K]
        among.append(len(np.intersect1d(nearest, np.argpartition(-true, K)[:K])) / K)
        within.append((true[nearest] >= np.partition(true, -K)[-K] - TIE).mean())
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(reference, axis=1)
    cosine = ((vectors * reference).sum(axis=1) / lengths).mean()
    return {
        "mean_cosine": round(float(cosine), 6),
        "overlap_at_10": round(float(np.mean(among)), 4),
        "overlap_with_ties": round(float(np.mean(within)), 4),
    }


def compare(encoders: dict[str, Encode], data: str, items: int, repeats: int) -> list[dict[str, Any]]:
    texts = texts_of.MIXES[data](items)
    tokens = sum(int(batch.lengths.sum()) for batch in batches(encoder.load(encoder.folder_of(None)).reader, texts, 1))
    for encode in encoders.values():
        encode(sorted(texts, key=len)[:WARM_UP_ITEMS])
    seconds: dict[str, list[float]] = {system: [] for system in encoders}
    vectors: dict[str, Vectors] = {}
    for turn in range(repeats):
        for system, encode in encoders.items():
            if turn and seconds[system][0] > SLOW:
                continue
            vectors[system], last = encode(texts)
            seconds[system].append(last)
            print(f"  {data} {items:,}, turn {turn + 1}: {system}: {last:.2f} s", flush=True)
    return [
        {
            "system": system,
            "data": data,
            "items": items,
            "items_per_s": round(items / statistics.median(taken), 1),
            "tokens_per_s": round(tokens / statistics.median(taken), 1),
            "runs": len(taken),
        }
        | (agreement(vectors[system], vectors[REFERENCE]) if REFERENCE in vectors else {})
        for system, taken in seconds.items()
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """Every row, with its speed against the fastest of the others."""
    lines = [f"{'data':12} {'system':34} {'items/s':>8} {'tokens/s':>9} {'ratio':>6} {'cosine':>8} {'overlap':>8} {'ties':>7}"]
    for row in rows:
        others = [o["items_per_s"] for o in rows if o["data"] == row["data"] and not o["system"].startswith("shelfmates")]
        ratio = f"{row['items_per_s'] / max(others):.2f}" if others else ""
        speed = f"{row['items_per_s']:>8,.0f} {row['tokens_per_s']:>9,.0f} {ratio:>6}"
        agrees = f"{row['mean_cosine']:>8.5f} {row['overlap_at_10']:>8.4f} {row['overlap_with_ties']:>7.4f}" if "mean_cosine" in row else ""
        lines.append(f"{row['data']:12} {row['system']:34} {speed} {agrees}")
    return "\n".join(lines)


def chosen(asked: str) -> list[str]:
    """Every system whose name is one of those between commas, or else begins with it. All if empty, but for bfloat16 where it is emulated.

    Raises ValueError for a name of nothing.
    """
    if not asked:
        emulated = gemm.seconds(torch.bfloat16) > gemm.seconds(torch.float32)
        if emulated:
            print("bfloat16 is left out: this CPU has no instructions for it (SYSTEMS names it all the same)", flush=True)
        return [system for system in SYSTEMS if not (emulated and " bfloat16 " in system)]
    found: set[str] = set()
    for name in filter(None, map(str.strip, asked.split(","))):
        named = {name} & SYSTEMS.keys() or {system for system in SYSTEMS if system.startswith(f"{name} ")}
        if not named:
            raise ValueError(f"there is no system {name!r}; there are {', '.join(SYSTEMS)}")
        found |= named
    return [system for system in SYSTEMS if system in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=",".join(texts_of.MIXES), help="kinds of texts, separated by commas")
    parser.add_argument("--items", type=int, default=2_000)
    parser.add_argument("--systems", default="", help=f"of {', '.join(SYSTEMS)}, or what their names begin with; all if empty")
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    kinds = asked.data.split(",")
    if unknown := [data for data in kinds if data not in texts_of.MIXES]:
        parser.error(f"there are no texts {unknown[0]!r}; there are {', '.join(texts_of.MIXES)}")
    try:
        systems = chosen(asked.systems)
    except ValueError as error:
        parser.error(str(error))
    packages = "sentence-transformers", "torch", "onnxruntime", "openvino", "pyspark"
    peers = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    loaded = encoder.load(encoder.folder_of(None))
    print(f"{os.cpu_count()} cores, {platform.machine()}, {THREADS} threads, ours in {loaded.precision}; {peers}", flush=True)
    encoders = {system: SYSTEMS[system]() for system in systems}
    rows = [row for data in kinds for row in compare(encoders, data, asked.items, asked.repeats)]
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "embed.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
