"""The picture of a benchmark: recall against items per second, one panel a data set, one line a system."""

import os
from pathlib import Path
from typing import Any

from tests.benchmarks.systems import SYSTEMS, THREADS

OURS = "#c23b22"
# Paul Tol's "muted" colours, told apart by the colour-blind too; a system has its own in every picture
MUTED = ("#332288", "#44aa99", "#88ccee", "#117733", "#999933", "#666666")
MARKERS = "sD^vPX"
PANEL = (5.2, 4.2)  # inches


def style(system: str) -> dict[str, Any]:
    if system.startswith("shelfmates"):
        stage = system != "shelfmates"
        shown = {"color": OURS, "marker": "o", "zorder": 3, "markerfacecolor": "white" if stage else OURS}
        return shown | {"linestyle": "--" if stage else "-", "linewidth": 1.2 if stage else 2}
    place = [name for name in SYSTEMS if not name.startswith("shelfmates")].index(system)
    return {"color": MUTED[place], "marker": MARKERS[place], "linewidth": 1.2, "zorder": 2}


def recall_and_speed(rows: list[dict[str, Any]], files: list[Path]) -> None:
    """Draws the rows of a run (of one number of vectors) and writes the picture to every file."""
    import matplotlib

    matplotlib.use("Agg")  # no display is needed
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    sets = list(dict.fromkeys(row["data"] for row in rows))
    figure, axes = plt.subplots(
        1, len(sets), figsize=(PANEL[0] * len(sets), PANEL[1]), sharex=True, sharey=True, squeeze=False, layout="constrained", dpi=150
    )
    lines = {}
    for panel, data in zip(axes[0], sets, strict=True):
        for system in SYSTEMS:
            points = sorted((row["recall"], row["rows"] / row["seconds"]) for row in rows if (row["system"], row["data"]) == (system, data))
            if points:
                (lines[system],) = panel.plot(*zip(*points, strict=True), markersize=5, **style(system))
        panel.set_title(data, fontsize=9)
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda speed, _: f"{speed:,.0f}"))
        panel.yaxis.set_minor_formatter(NullFormatter())
        panel.set_xlabel(f"recall@{rows[0]['k']} (share of the true neighbours found)")
        panel.grid(True, which="major", color="#e3e3e3", linewidth=0.6)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    least = min(row["recall"] for row in rows)
    margin = 0.06 * (1.01 - least)  # nothing lies beyond 1, but a marker needs room
    axes[0][0].set_xlim(least - margin, 1 + margin)
    axes[0][0].set_ylabel("items per second (log scale)")
    figure.suptitle(
        f"All {rows[0]['k']} nearest neighbours of {rows[0]['rows']:,} rows, {THREADS} threads on {os.cpu_count()} cores", fontsize=10
    )
    figure.legend(lines.values(), lines, loc="outside lower center", ncols=min(4, 2 + len(sets)), frameon=False, fontsize=9)
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file)
    plt.close(figure)
