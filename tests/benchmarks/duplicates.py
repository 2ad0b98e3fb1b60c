"""Whether rows that are called one product are one: pairs of groups against known pairs, and what match probabilities are worth.

    make bench-duplicates                        Abt-Buy D2 and a generated catalogue
    make bench-duplicates DATA=d2 PLOT=file.png  the calibration as a picture

Settings are the program's defaults; `across` also with neighbours of other sources alone, as tests/catalogues has it for D2. precision:
the share of the pairs within groups that are known; recall: the share of the known pairs that are within a group; F1: their harmonic mean.
The best published figure of D2 is that of a pipeline whose steps and parameters were tuned on it with the truth in hand (pyJedAI).

`said`: the mean match probability of the pairs of a tenth of the scale; `true`: the share of them that is known.
"""

import argparse
import importlib
import json
import os
import tempfile
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from jobs.decisions import DUPLICATES, MATCHES
from jobs.lake import Lake
from jobs.session import open_session
from jobs.settings import Settings
from jobs.tables import AUDIT_RESULTS, NEIGHBOURS, STAGED_NEIGHBOURS
from tests.benchmarks.quality import BEFORE, CATALOGUES, NIGHT
from tests.benchmarks.vectors import FOLDER

DATA = ("d2", "generated")
PUBLISHED = {"d2": 0.947}
BINS = 10


def measured(data: str, across: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="shelfmates-bench-") as folder:
        catalogue = CATALOGUES[data](Path(folder), 0)
        how = catalogue.settings.neighbours.model_copy(update={"across": "source" if across else None})
        settings = catalogue.settings.model_copy(update={"neighbours": how})
        lake = Lake(open_session(settings, name="shelfmates-bench"), settings.lake.root)
        for stage in (*BEFORE, "neighbours"):
            importlib.import_module(f"jobs.{stage}").run(lake.spark, lake, settings, NIGHT)
        published(lake, settings)
        counts = importlib.import_module("jobs.deduplicate").run(lake.spark, lake, settings, NIGHT)
        print(f"  {data}: {counts.rows_out:,} {counts.unit} {counts.note}", flush=True)
        truth = {tuple(sorted(pair)) for pair in catalogue.truth}
        judged = lake.read(MATCHES, NIGHT).select("item_id", "other_id", "match_probability").toPandas()
        groups = lake.read(DUPLICATES, NIGHT).select("group_id", "item_id").toPandas().groupby("group_id")["item_id"]
    called = {pair for _, members in groups for pair in combinations(sorted(members), 2)}
    known = np.array([tuple(pair) in truth for pair in judged[["item_id", "other_id"]].to_numpy()])
    said = judged["match_probability"].to_numpy()
    places = np.minimum((said * BINS).astype(int), BINS - 1)
    filled = [place for place in range(BINS) if (places == place).any()]
    curve = [(float(said[places == place].mean()), float(known[places == place].mean()), int((places == place).sum())) for place in filled]
    precision, recall = len(called & truth) / len(called), len(called & truth) / len(truth)
    return {
        "data": data,
        "system": "shelfmates, across" if across else "shelfmates",
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall),
        "calibration": curve,
    }


def published(lake: Lake, settings: Settings) -> None:
    """What publish would do, without the audit: a benchmark has only one night to be held against."""
    rows = lake.read(STAGED_NEIGHBOURS, NIGHT).where(f"rank <= {settings.neighbours.k}").select(*NEIGHBOURS.column_names)
    lake.replace(NEIGHBOURS, rows, NIGHT)
    lake.delete(AUDIT_RESULTS, NIGHT, "true")


def table(rows: list[dict[str, Any]]) -> str:
    lines = [f"{'data':12} {'system':24}{'precision':>10}{'recall':>10}{'F1':>10}"]
    for row in rows:
        lines.append(f"{row['data']:12} {row['system']:24}{row['precision']:10.3f}{row['recall']:10.3f}{row['f1']:10.3f}")
        if row["data"] in PUBLISHED:
            lines.append(f"{row['data']:12} {'best published, tuned':24}{'':20}{PUBLISHED[row['data']]:10.3f}")
    for row in rows:
        lines.append(f"{row['data']}, {row['system']}:")
        lines += [f"  said {said:.3f}, true {true:.3f} of {count:,} pairs" for said, true, count in row["calibration"]]
    return "\n".join(lines)


def picture(rows: list[dict[str, Any]], file: Path) -> None:
    """What match probabilities say against what is true, with the diagonal on which both agree."""
    import matplotlib

    matplotlib.use("Agg")  # no display is needed
    from matplotlib import pyplot as plt

    figure, panel = plt.subplots(figsize=(5.2, 4.6), layout="constrained", dpi=150)
    panel.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle="--", label="said = true")
    for row, colour in zip(rows, ("#c23b22", "#332288", "#44aa99", "#999933"), strict=False):
        said, true, counts = zip(*row["calibration"], strict=True)
        panel.plot(said, true, color=colour, linewidth=1.4, label=f"{row['data']}: {row['system']}")
        panel.scatter(said, true, s=[8 + 12 * np.log10(count) for count in counts], color=colour, zorder=3)
    panel.set_xlabel("match probability, mean of the pairs of a tenth")
    panel.set_ylabel("share of these pairs that are known to be one product")
    panel.grid(True, color="#e3e3e3", linewidth=0.6)
    panel.legend(fontsize=8)
    figure.savefig(file)
    print(f"picture: {file}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=",".join(DATA), help="catalogues, separated by commas")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the calibration as a picture")
    asked = parser.parse_args()
    if unknown := [data for data in asked.data.split(",") if data not in DATA]:
        parser.error(f"there is no catalogue {unknown[0]!r} with known pairs; there are {', '.join(DATA)}")
    print(f"{os.cpu_count()} cores", flush=True)
    rows = [measured(data, across) for data in asked.data.split(",") for across in (False, True)]
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "duplicates.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    print(table(rows))
    if asked.plot:
        picture(rows, asked.plot)


if __name__ == "__main__":
    main()
