"""The k most similar items of every item of the night, staged for the audit, with the recall measured on a random sample.

Items of one text are searched as one node. Hard blocks (`block_by`) are never crossed; small ones share a cell, large ones are covered by
overlapping cells (`cells`), and one task searches one cell (`knn`): its rows, and so its memory, are bounded by `cell_rows`. Vectors
travel once to their items and once to every cell they are in; what a cell finds leaves it packed. k + slack pairs are kept; an item is
never its own neighbour, told by id; equal similarities are ordered by id: reruns, and other partitionings, give the same table on one kind
of CPU.

A random sample of items is compared with everything it may be matched with: by the task that holds its block, or, of a block that is cut
into cells, before they are made, since it decides how far they have to overlap. What was published of the sample gives the recall. Recall
and coverage go to `audit_results`, where audit judges them. Staging a night anew takes the old verdict away.
"""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs import encoder, fusion, increment, lexicon, measure, published, script, task
from jobs.block_search import Effort
from jobs.carried import Since
from jobs.errors import ContractError
from jobs.increment import Base, Read
from jobs.item import BLANK
from jobs.lake import Lake
from jobs.lists import Made, brought_up_to_date, carried_on, made_anew
from jobs.night import Counts, Night
from jobs.nodes import counted, items_of, nodes_of, others, sampled
from jobs.recall import coverage, recall
from jobs.session import at_once, progress, readied
from jobs.settings import Settings
from jobs.tables import AUDIT_RESULTS, CLEAN_ITEMS, ITEM_VECTORS, LEXICONS, PARTS, STAGED_NEIGHBOURS
from jobs.work import Work, by_block


def staged(found: DataFrame, night: Night, model_id: str, fingerprint: str, items_read: str, made_on: date) -> DataFrame:
    """The rows of staged_neighbours of PAIR rows."""
    return found.select(
        F.lit(night.date).alias("snapshot_date"),
        "item_id",
        "rank",
        "neighbour_id",
        "similarity",
        F.struct(*PARTS).alias("parts"),
        F.lit(model_id).alias("model_id"),
        F.lit(night.run_id).alias("run_id"),
        F.lit(fingerprint).alias("fingerprint"),
        F.lit(items_read).alias("items_read"),
        F.lit(made_on).alias("made_on"),
    )


def reading_of(lake: Lake, settings: Settings, folder: Path, nodes: DataFrame, dimension: int) -> tuple[fusion.Reading, str]:
    """How the night's items are read, and the lexicon's id. Raises ContractError if no lexicon has been counted that fits them."""
    weights = np.array(settings.neighbours.weights.scaled, dtype=np.float32)
    scripts = script.weights(script.known_to(folder) if weights[0] and weights[1] else {})
    if not weights[1:3].any():
        return fusion.Reading(weights, lexicon.counted(pa.array([], pa.string())), scripts, dimension), ""
    texts, reading = nodes.select("fields").distinct().count(), settings.weigh.reading
    first = lake.read(LEXICONS, lexicon.fitting_sql(reading, texts)).orderBy(*lexicon.FIRST).head()
    if first is None:
        raise ContractError(f"there is no lexicon of {reading} for {texts:,} texts", "run weigh for this date first")
    counts = (np.frombuffer(first[name], dtype="<i4") for name in ("grams", "codes"))
    return fusion.Reading(weights, lexicon.Lexicon(first["texts"], *counts), scripts, dimension), first["lexicon_id"]


def base_of(lake: Lake, settings: Settings, night: Night, now: Read, groups: list[Any], fingerprint: str) -> tuple[Base | None, str]:
    """The night whose lists can be brought up to date, else why there is none."""
    total = sum(group["items"] for group in groups)
    if not settings.neighbours.increments:
        return None, "neighbours.increments is off for this run"
    if total < increment.FEWEST:
        return None, "so few items are searched sooner than compared with another night"
    if max(by_block(groups, "nodes").values()) > settings.neighbours.cell_rows:
        return None, "a block is too large for one cell"
    if not carried_on(groups, settings.neighbours):
        return None, "no block is so large that carrying its lists on would be sooner done"
    last = published.last(lake, night)
    if last is None:
        return None, "no night before it is published"
    then, stamp = at_once(lambda: Read.of(spoken(lake, settings, last)), lambda: increment.stamp(lake, last))
    why = increment.refusal(stamp, last, night, fingerprint, then.checksum, settings.neighbours.full_days)
    changes = None if why else increment.between(then.prints, now.prints, increment.most(total))
    then.prints.unpersist()
    if changes is None:
        return None, why or f"too many of the items are not what they were on {last.date}"
    changed, removed = changes
    return Base(last, stamp["made_on"], Since(pa.array(changed, pa.string()), then.items, increment.SHARE), removed), ""


def spoken(lake: Lake, settings: Settings, night: Night) -> DataFrame:
    """`nodes.items_of` of the night's items that have a text."""
    items = lake.read(CLEAN_ITEMS, night).where(F.col("content_hash") != BLANK)
    return items_of(items, settings.neighbours, settings.weigh)


def judged(work: Work, made: Made, found: DataFrame) -> dict[str, float]:
    """Recall and coverage of what was staged, and the cells it was found in."""
    true = dict(made.true)
    for told in made.log.value:
        true |= told.true
    if missed := {row["item_id"] for row in work.asked} - true.keys():
        raise ContractError(
            f"no cell has searched item {min(missed)}", "run neighbours again, and report it: this is a fault of the program"
        )
    (covered, kept), (figure, count) = at_once(
        lambda: coverage(found, work.nodes, work.groups, work.how),
        lambda: recall(work.nodes, work.vectors, found, work.asked, true, work.reading, work.how),
    )
    every = sum(group["items"] for group in work.groups) <= len(work.asked)
    low, high = (figure, figure) if every else measure.wilson(figure, count)
    return {
        "pairs": kept,
        "recall": figure,
        "recall_low": low,
        "recall_high": high,
        "recall_sample": count,
        "coverage": covered,
        "items_alone": sum(
            group["items"] for group, (*_, most) in zip(work.groups, others(work.groups, work.how), strict=True) if not most
        ),
        "blocks": len(work.sizes),
        **of_cells(made.log.value),
    }


def run(spark: SparkSession, lake: Lake, settings: Settings, night: Night) -> Counts:
    how = settings.neighbours
    folder = encoder.folder_of(settings.embed.model)
    model_id = encoder.model_id(folder)
    with readied(spark, "jobs.knn:warm_up"):
        vectors = lake.read(ITEM_VECTORS, F.col("model_id") == model_id)

        def nodes_and_groups() -> tuple[DataFrame, list[Any]]:
            nodes = nodes_of(items_of(lake.read(CLEAN_ITEMS, night), how, settings.weigh)).persist()
            return nodes, counted(nodes, night)

        (nodes, grouped), one, *_ = at_once(
            nodes_and_groups,
            vectors.agg(F.mode("dimension").alias("dimension")).head,
            lambda: lake.delete(AUDIT_RESULTS, night, night.verdict),
            lambda: lake.read(STAGED_NEIGHBOURS),  # what cannot be written is told before it is searched for
        )
        if one["dimension"] is None:
            raise ContractError(f"item_vectors has none of {model_id}", "run embed for this date first")
        read_as, lexicon_id = reading_of(lake, settings, folder, nodes, one["dimension"])
        speaking = nodes.where(F.col("content_hash") != BLANK)
        heard, decided = [row for row in grouped if not row["blank"]], increment.fingerprint(how, model_id, lexicon_id)

        def read_and_base() -> tuple[Read, Base | None, str]:
            now = Read.of(spoken(lake, settings, night))
            return now, *base_of(lake, settings, night, now, heard, decided)

        asked, (now, base, why) = at_once(lambda: sampled(speaking, how.recall_sample, how.seed), read_and_base)
        if not base:
            now.prints.unpersist()
    work = Work(speaking, vectors, heard, asked, read_as, how, 1 - settings.audit.target_recall)
    total, silent = sum(row["items"] for row in grouped), sum(row["items"] for row in grouped if row["blank"])

    def figures_of(made: Made) -> dict[str, float]:
        print(f"neighbours: lists {made.note}", flush=True)
        with progress(spark, "neighbours", total, "items"):
            rows = staged(made.pairs, night, model_id, decided, now.checksum, made.made_on)
            lake.replace(STAGED_NEIGHBOURS, rows, night, empty=True)  # coverage tells: a look would search twice
        return judged(work, made, lake.read(STAGED_NEIGHBOURS, night))

    made = brought_up_to_date(lake, work, base, now.prints) if base else made_anew(work, night, why)
    figures = figures_of(made)
    if base and figures["recall"] < settings.audit.target_recall:
        made = made_anew(work, night, f"brought up to date they had a recall of {figures['recall']:.3f}")
        figures = figures_of(made)
    for cached in (nodes, now.prints):
        cached.unpersist()
    lake.append(AUDIT_RESULTS, lake.frame(AUDIT_RESULTS, measured(settings, night, figures)), night)
    note = closing(made, figures, how.k, silent)
    settled = {"k": how.k, "slack": how.slack} | {f"weight_{part}": weight for part, weight in how.weights.model_dump().items()}
    figures |= made.figures | settled | {"items_without_text": silent}
    return Counts(total, int(figures.pop("pairs")), "pairs", figures, note=note)


def of_cells(told: list[task.Told]) -> dict[str, float]:
    """Figures of the cells, from what their tasks told; a task that was run twice tells twice, and counts once."""
    searched = {entry.cell: entry for entry in told}.values()
    if not searched:
        return {}
    rows, seconds = (np.array(column, dtype=float) for column in zip(*((cell.nodes, cell.seconds) for cell in searched), strict=True))
    effort = Effort.of_all(cell.effort for cell in searched)
    return {
        "cells": len(searched),
        "cell_nodes_max": rows.max(),
        "cell_skew": rows.max() / rows.mean(),
        "cell_seconds_median": round(float(np.median(seconds)), 3),
        "cell_seconds_max": round(seconds.max(), 3),
        "search_rounds_max": effort.rounds,
        "blocks_carried": effort.carried,
        "lists_refilled": effort.refilled,
    } | ({"candidates_max": effort.candidates, "pilot_recall_min": effort.pilot_recall} if effort.candidates else {})


def closing(made: Made, figures: dict[str, float], k: int, silent: int) -> str:
    """What is said of the lists in the end. silent: items without text."""
    low, high = figures["recall_low"], figures["recall_high"]
    note = f"recall@{k} {figures['recall']:.3f}" + (f" ({low:.3f} to {high:.3f})" if low < high else "") + f", {made.note}"
    if silent:
        note += f", {silent:,} items without text"
    if made.figures["increment"]:
        anew, refilled = int(figures["blocks"] - figures["blocks_carried"]), int(figures["lists_refilled"])
        note += f", {anew:,} of {int(figures['blocks']):,} blocks searched anew, {refilled:,} lists of others refilled"
    if alone := int(figures["items_alone"]):
        note += f", {alone:,} items with none that they may be matched with"
    if searched_in := {entry.effort.precision for entry in made.log.value} - {""}:
        note += f", searched in {' and '.join(sorted(searched_in))}"
    return note


def measured(settings: Settings, night: Night, figures: dict[str, float]) -> list[tuple[object, ...]]:
    """The audit_results rows of what only this stage can measure, for this k; audit judges them again, by its own bounds."""
    k, recall, low, high = settings.neighbours.k, *(figures[name] for name in ("recall", "recall_low", "recall_high"))
    random = f"random items, 95 % interval {low:.4f} to {high:.4f}" if low < high else "items, all that may have neighbours"
    sample, coverage = f"{figures['recall_sample']:,} {random}", figures["coverage"]
    why_recall = "neighbours missed by the search are missing for every reader"
    why_coverage = "items without all the neighbours they could have leave gaps in every list built on them"
    return [
        (night.date, night.run_id, f"{STAGED_NEIGHBOURS.name}: {name}", "fail", figure >= bound, figure, f">= {bound:g}", reason)
        for name, figure, bound, reason in (
            (f"recall@{k}", recall, settings.audit.target_recall, f"{sample}: {why_recall}"),
            (f"coverage@{k}", coverage, settings.audit.coverage_min, f"all: {why_coverage}"),
        )
    ]
