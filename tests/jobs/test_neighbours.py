"""The stage against brute force, in and across blocks; its order, its recall, what it refuses."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from jobs import embed, encoder, neighbours
from jobs.errors import ContractError
from jobs.lake import Lake
from jobs.night import Night
from jobs.settings import Settings
from jobs.tables import AUDIT_RESULTS, CLEAN_ITEMS, ITEM_VECTORS, STAGED_NEIGHBOURS
from tests.conftest import MINIMAL
from tests.rows import clean_item

COLOURS, THINGS = ["red", "blue", "green", "black"], ["shoe", "car", "lamp", "chair", "desk", "pen"]
TITLES = [f"{colour} {thing}" for colour in COLOURS for thing in THINGS]

Staged = list[tuple[str, int, str, float]]


def stage(lake: Lake, settings: Settings, night: Night, items: list[tuple[object, ...]]) -> Staged:
    for table in (CLEAN_ITEMS, ITEM_VECTORS, STAGED_NEIGHBOURS, AUDIT_RESULTS):
        lake.create(table)
    lake.replace(CLEAN_ITEMS, lake.frame(CLEAN_ITEMS, items), night)
    embed.run(lake.spark, lake, settings, night)
    neighbours.run(lake.spark, lake, settings, night)
    rows = lake.read(STAGED_NEIGHBOURS, night).orderBy("item_id", "rank").collect()
    return [(row["item_id"], row["rank"], row["neighbour_id"], row["similarity"]) for row in rows]


def brute(model: Path, items: dict[str, str], kept: int, may_pair: Callable[[str, str], bool]) -> Staged:
    """Every pair scored on its own, sorted by similarity, then by id."""
    texts = sorted(set(items.values()))
    by_text = dict(zip(texts, encoder.load(model).encode(texts, 8192).astype(np.float64), strict=True))
    rows: Staged = []
    for item in sorted(items):
        scored = sorted(
            (-np.float32((by_text[items[item]] * by_text[items[other]]).sum()), other)
            for other in items
            if other != item and may_pair(item, other)
        )
        rows += [(item, rank, other, -float(score)) for rank, (score, other) in enumerate(scored[:kept], start=1)]
    return rows


def agree(found: Staged, expected: Staged) -> None:
    assert [(i, r) for i, r, _, _ in found] == [(i, r) for i, r, _, _ in expected]
    # vectors that were encoded in other batches differ in the seventh digit, which may swap neighbours that are as good as equal
    np.testing.assert_allclose([s for *_, s in found], [s for *_, s in expected], atol=2e-6)
    assert np.mean([f[2] == e[2] for f, e in zip(found, expected, strict=True)]) > 0.95


@pytest.fixture
def settings(settings_of: Callable[[str], Settings], tiny_model: Path) -> Callable[[str], Settings]:
    return lambda how: settings_of(MINIMAL + f'[embed]\nmodel = "{tiny_model}"\n[neighbours]\nk = 3\nslack = 2\n{how}\n')


@pytest.mark.parametrize("parts", [8192, 7])
def test_one_block_is_brute_force_however_it_is_cut(
    lake: Lake, settings: Callable[[str], Settings], night: Night, tiny_model: Path, parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "PART_ROWS", parts)
    items = {f"i{n:02}": title for n, title in enumerate([*TITLES, "red shoe", "red shoe"])}  # three items share one text
    found = stage(lake, settings(""), night, [clean_item(night, i, t) for i, t in items.items()])
    agree(found, brute(tiny_model, items, 5, lambda a, b: True))
    assert [row[2] for row in found if row[0] == "i00"][:2] == ["i24", "i25"]


def test_pairs_never_cross_a_block(lake: Lake, settings: Callable[[str], Settings], night: Night, tiny_model: Path) -> None:
    items = {f"i{n:02}": title for n, title in enumerate(TITLES)}
    brand = {i: t.split()[0] if t.split()[0] != "black" else None for i, t in items.items()}  # items without a brand: a block of their own
    rows = [clean_item(night, i, t, brand=brand[i]) for i, t in items.items()]
    found = stage(lake, settings('block_by = ["brand"]'), night, rows)
    agree(found, brute(tiny_model, items, 5, lambda a, b: brand[a] == brand[b]))
    assert len(found) == 24 * 5


def test_across_gives_neighbours_from_other_sources_only(
    lake: Lake, settings: Callable[[str], Settings], night: Night, tiny_model: Path
) -> None:
    items = {f"{'a' if n % 4 else 'b'}:{n:02}": title for n, title in enumerate(TITLES)}
    rows = [clean_item(night, i, t, source=i[0]) for i, t in items.items()]
    found = stage(lake, settings('across = "source"'), night, rows)
    agree(found, brute(tiny_model, items, 5, lambda a, b: a[0] != b[0]))
    assert len(found) == 24 * 5  # an item whose nearest are all its own source's still gets its five


def test_the_verdict_names_recall_with_its_interval(lake: Lake, settings: Callable[[str], Settings], night: Night) -> None:
    stage(lake, settings("recall_sample = 10"), night, [clean_item(night, f"i{n}", t) for n, t in enumerate(TITLES)])
    rows = {row["check"]: row for row in lake.read(AUDIT_RESULTS, night).collect()}
    assert rows["staged_neighbours: recall"]["figure"] == 1.0
    assert "10 random items, 95 % interval 0.72" in rows["staged_neighbours: recall"]["reason"]  # Wilson for 10 of 10
    assert rows["staged_neighbours: coverage"]["figure"] == 1.0


def test_recall_falls_when_neighbours_are_wrong(lake: Lake, settings: Callable[[str], Settings], night: Night) -> None:
    """The measure can fail: with every pair replaced by the item's last candidates, few true neighbours are left."""
    from pyspark.sql import functions as F

    how = settings("").neighbours
    stage(lake, settings(""), night, [clean_item(night, f"i{n:02}", t) for n, t in enumerate(TITLES)])
    items = neighbours.searchable(lake.read(CLEAN_ITEMS, night), lake.read(ITEM_VECTORS), how)
    staged = lake.read(STAGED_NEIGHBOURS, night)
    assert neighbours.recall(items, staged, how) == (1.0, 24)
    shifted = staged.withColumn("rank", F.col("rank") - 2).where("rank >= 1")  # the best two of each item are lost
    figure, _ = neighbours.recall(items, shifted, how)
    assert figure <= 0.4


def test_rerunning_gives_the_same_rows_and_takes_the_old_verdict_away(
    lake: Lake, settings: Callable[[str], Settings], night: Night
) -> None:
    rows = [clean_item(night, f"i{n}", t) for n, t in enumerate(TITLES)]
    first = stage(lake, settings(""), night, rows)
    old = (night.date, night.run_id, "night: rows against last night", "fail", True, 1.0, "0.5 to 2", "of an audit before")
    lake.append(AUDIT_RESULTS, lake.frame(AUDIT_RESULTS, [old]), night)
    assert stage(lake, settings(""), night, rows[::-1]) == first
    checks = [row["check"] for row in lake.read(AUDIT_RESULTS, night).collect()]
    assert sorted(checks) == ["staged_neighbours: coverage", "staged_neighbours: recall"]


def test_a_single_item_has_no_neighbours(lake: Lake, settings: Callable[[str], Settings], night: Night) -> None:
    assert stage(lake, settings(""), night, [clean_item(night, "only", "red shoe")]) == []


def test_items_without_vectors_are_refused(lake: Lake, settings: Callable[[str], Settings], night: Night) -> None:
    stage(lake, settings(""), night, [clean_item(night, "a", "red shoe"), clean_item(night, "b", "blue car")])
    later = replace(night, date=night.date + timedelta(days=1))
    lake.replace(CLEAN_ITEMS, lake.frame(CLEAN_ITEMS, [clean_item(later, "c", "green lamp")]), later)
    with pytest.raises(ContractError, match=r"1 of 1 items .* have no vector.*\n  → run clean and embed"):
        neighbours.run(lake.spark, lake, settings(""), later)


def test_embedding_is_done_once_for_a_text(lake: Lake, settings: Callable[[str], Settings], night: Night) -> None:
    stage(lake, settings(""), night, [clean_item(night, "a", "red shoe"), clean_item(night, "b", "red shoe"), clean_item(night, "c", "pen")])
    assert lake.read(ITEM_VECTORS).count() == 2
    version = lake.version(ITEM_VECTORS)
    counts = embed.run(lake.spark, lake, settings(""), night)
    assert (counts.rows_in, counts.rows_out) == (3, 0)
    assert lake.version(ITEM_VECTORS) == version
