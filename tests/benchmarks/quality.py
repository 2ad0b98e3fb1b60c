"""Whether the neighbours are right: known pairs found by the whole program, by meaning alone, by spelling alone, and fused.

    make bench-quality                        Abt-Buy D2, a generated catalogue, Icecat and names of foods
    make bench-quality DATA=d2

Every catalogue is read by its settings in tests/catalogues and the program's defaults; only what the channels weigh differs. recall@k is
the share of true pairs whose match is among the query's k nearest, of D2 by the protocol of the published figures, which are shown beside
ours where they are to be had. `found` is the stage's own measure: the share of the ten most similar by exact comparison with everything
that the search on sketches has found, of 1,000 random items. `seconds` are those of the neighbours stage, the other stages having gone
before in the same Spark session.

Prints a table, and writes build/bench/quality.json.
"""

import argparse
import csv
import importlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from jobs import settings as settings_file
from jobs.evaluate import read_pairs
from jobs.generate import generate
from jobs.lake import Lake
from jobs.night import Night
from jobs.sections import Weights
from jobs.session import open_session
from jobs.settings import Settings
from jobs.tables import STAGED_NEIGHBOURS
from tests.benchmarks.vectors import FOLDER, names

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("CATALOGUES", ROOT / "../shared/data"))
NIGHT = Night(date(2026, 1, 5), "bench")
BEFORE = ("prepare", "ingest", "validate", "clean", "weigh", "embed")
KS = (1, 5, 10)
SYSTEMS = {
    "shelfmates, meaning alone": Weights(lexical=0, codes=0),
    "shelfmates, spelling alone": Weights(semantic=0, codes=0),
    "shelfmates": Weights(),
}

Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class Catalogue:
    settings: Settings
    truth: Pairs  # item and its match; none where nobody knows
    published: dict[str, tuple[float, ...]]  # recall at KS by system


def of_file(name: str, folder: Path) -> Settings:
    """A catalogue's settings of tests/catalogues, its lake in the folder."""
    overrides = {"SHELFMATES__LAKE__ROOT": str(folder / "lake"), "SHELFMATES__VALIDATE__DOCS": str(folder / "docs")}
    return settings_file.load(ROOT / "tests" / "catalogues" / f"{name}.toml", overrides)


def d2(folder: Path, rows: int) -> Catalogue:
    """Queries are the rows of Buy, matches those of Abt."""
    with (DATA / "abt-buy/D2/gt.csv").open(encoding="utf-8") as file:
        truth = [(f"buy:{row['D2']}", f"abt:{row['D1']}") for row in csv.DictReader(file, delimiter="|")]
    return Catalogue(of_file("abt_buy_d2", folder), truth, published("D2"))


def published(case: str) -> dict[str, tuple[float, ...]]:
    """recall at KS of published systems, nearest neighbours among all rows of the other table."""
    found: dict[str, tuple[float, ...]] = {}
    with (DATA / "published-figures/zeakis_recall_at_k_from_ranks.csv").open(encoding="utf-8") as file:
        found |= {row["vec"]: tuple(float(row[f"R@{k}"]) for k in KS) for row in csv.DictReader(file) if row["case"] == case}
    with (DATA / "published-figures/zeakis_baselines.csv").open(encoding="utf-8") as file:
        rows = {(row["method"], int(row["k"])): float(row["recall"]) for row in csv.DictReader(file) if row["case"] == case}
    return found | {method: tuple(rows[method, k] for k in KS) for method, _ in rows}


def generated(folder: Path, rows: int) -> Catalogue:
    generate(folder, items=20_000, nights=1, start=NIGHT.date)
    settings = settings_file.load(folder / "shelfmates.toml", {"SHELFMATES__NEIGHBOURS__ACROSS": "source"})
    return Catalogue(settings, read_pairs(folder / "truth" / "matches.csv"), {})


def icecat(folder: Path, rows: int) -> Catalogue:
    return Catalogue(of_file("icecat", folder), [], {})


def foods(folder: Path, rows: int) -> Catalogue:
    """Distinct names, and nothing else: the scale set."""
    with (folder / "names.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", "title"), *enumerate(names(rows))])
    (folder / "shelfmates.toml").write_text(
        '[sources.foods]\npath = "names.csv"\ncolumns = { id = "id", title = "title" }\n[lake]\nroot = "lake"\n', encoding="utf-8"
    )
    return Catalogue(settings_file.load(folder / "shelfmates.toml", {}), [], {})


CATALOGUES: dict[str, Callable[[Path, int], Catalogue]] = {"d2": d2, "generated": generated, "icecat": icecat, "openfoodfacts": foods}


def recalls(lake: Lake, truth: Pairs) -> list[float]:
    """recall at KS of the night that is staged."""
    staged = lake.read(STAGED_NEIGHBOURS, NIGHT).where(f"rank <= {max(KS)}").select("item_id", "neighbour_id", "rank").toArrow()
    rank = {(item, other): place for item, other, place in zip(*(column.to_pylist() for column in staged.columns), strict=True)}
    return [sum(rank.get(pair, max(KS) + 1) <= k for pair in truth) / len(truth) for k in KS]


def measured(data: str, rows: int) -> list[dict[str, Any]]:
    """Ours, and what is published, on one catalogue."""
    with tempfile.TemporaryDirectory(prefix="shelfmates-bench-") as folder:
        catalogue = CATALOGUES[data](Path(folder), rows)
        lake = Lake(open_session(catalogue.settings, name="shelfmates-bench"), catalogue.settings.lake.root)

        def run(stage: str, settings: Settings) -> Any:
            counts = importlib.import_module(f"jobs.{stage}").run(lake.spark, lake, settings, NIGHT)
            print(f"  {data}: {stage}: {counts.rows_out:,} {counts.unit}, {counts.note}", flush=True)
            return counts

        for stage in BEFORE:
            run(stage, catalogue.settings)
        found = []
        for system, weights in SYSTEMS.items():
            how = catalogue.settings.neighbours.model_copy(update={"weights": weights})
            began = time.perf_counter()
            counts = run("neighbours", catalogue.settings.model_copy(update={"neighbours": how}))
            row = {"system": system, "data": data, "seconds": time.perf_counter() - began, "found": counts.figures["recall"]}
            known = recalls(lake, catalogue.truth) if catalogue.truth else []
            found.append(row | {f"recall_at_{k}": recall for k, recall in zip(KS, known, strict=False)})
    others = [
        {"system": name, "data": data} | {f"recall_at_{k}": r for k, r in zip(KS, at, strict=True)}
        for name, at in catalogue.published.items()
    ]
    return others + found


def table(rows: list[dict[str, Any]]) -> str:
    lines = [f"{'data':14} {'system':28}" + "".join(f"{f'recall@{k}':>10}" for k in KS) + f"{'found':>8} {'seconds':>8}"]
    for row in rows:
        cells = [f"{row[f'recall_at_{k}']:10.4f}" if f"recall_at_{k}" in row else " " * 10 for k in KS]
        own = f"{row['found']:8.4f} {row['seconds']:8.1f}" if "found" in row else ""
        lines.append(f"{row['data']:14} {row['system']:28}{''.join(cells)}{own}".rstrip())
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=",".join(CATALOGUES), help="catalogues, separated by commas")
    parser.add_argument("--rows", type=int, default=100_000, help="names of foods")
    asked = parser.parse_args()
    if unknown := [data for data in asked.data.split(",") if data not in CATALOGUES]:
        parser.error(f"there is no catalogue {unknown[0]!r}; there are {', '.join(CATALOGUES)}")
    print(f"{os.cpu_count()} cores", flush=True)
    rows = [row for data in asked.data.split(",") for row in measured(data, asked.rows)]
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "quality.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
