"""The stage against brute force, in and across blocks; its order, its recall, what it refuses.

The vectors are random and written straight to `item_vectors`: what an encoder would say is not this stage's business.
"""

import hashlib
from collections.abc import Callable
from datetime import date, timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from jobs import encoder, neighbours
from jobs.errors import ContractError, SettingsError
from jobs.lake import Lake
from jobs.night import Night
from jobs.settings import Settings
from jobs.tables import AUDIT_RESULTS, CLEAN_ITEMS, ITEM_VECTORS, STAGED_NEIGHBOURS
from tests.conftest import MINIMAL
from tests.rows import clean_item

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TITLES = [f"{colour} {thing}" for colour in ("red", "blue", "green", "black") for thing in ("shoe", "car", "lamp", "chair", "desk", "pen")]
VECTORS = {title: v / np.linalg.norm(v) for title, v in zip(TITLES, np.random.default_rng(7).normal(size=(24, 16)), strict=True)}
DAYS = count()

Staged = list[tuple[str, int, str, float]]


@pytest.fixture(scope="module")
def lake(spark: "SparkSession", tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Lake:
    """One lake for the module, with a vector for every title: each test works on a night of its own."""
    found = Lake(spark, str(tmp_path_factory.mktemp("lake")))
    for table in (CLEAN_ITEMS, ITEM_VECTORS, STAGED_NEIGHBOURS, AUDIT_RESULTS):
        found.create(table)
    rows = [(encoder.model_id(tiny_model), hash_of(title), 16, vector.astype("<f4").tobytes()) for title, vector in VECTORS.items()]
    found.append(ITEM_VECTORS, found.frame(ITEM_VECTORS, rows), Night(date(2026, 1, 1), "vectors"))
    return found


@pytest.fixture
def night() -> Night:
    return Night(date(2026, 1, 1) + timedelta(days=next(DAYS)), "test")


def hash_of(title: str) -> str:
    return hashlib.sha256(title.encode()).hexdigest()


def stage(lake: Lake, settings: Settings, night: Night, items: list[tuple[object, ...]]) -> Staged:
    lake.replace(CLEAN_ITEMS, lake.frame(CLEAN_ITEMS, items), night)
    neighbours.run(lake.spark, lake, settings, night)
    rows = lake.read(STAGED_NEIGHBOURS, night).orderBy("item_id", "rank").collect()
    return [(row["item_id"], row["rank"], row["neighbour_id"], row["similarity"]) for row in rows]


def brute(items: dict[str, str], kept: int, may_pair: Callable[[str, str], bool]) -> Staged:
    """Every pair scored on its own, sorted by similarity, then by id."""
    vectors = {title: vector.astype(np.float32).astype(np.float64) for title, vector in VECTORS.items()}
    rows: Staged = []
    for item in sorted(items):
        scored = sorted(
            (-np.float32((vectors[items[item]] * vectors[items[other]]).sum()), other)
            for other in items
            if other != item and may_pair(item, other)
        )
        rows += [(item, rank, other, -float(score)) for rank, (score, other) in enumerate(scored[:kept], start=1)]
    return rows


@pytest.fixture
def settings(settings_of: Callable[[str], Settings], tiny_model: Path) -> Callable[[str], Settings]:
    return lambda how: settings_of(MINIMAL + f'[embed]\nmodel = "{tiny_model}"\n[neighbours]\nk = 3\nslack = 2\n{how}\n')


@pytest.mark.parametrize("parts", [8192, 7])
def test_one_block_is_brute_force_however_it_is_cut(
    lake: Lake, settings: Callable[[str], Settings], night: Night, parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "PART_ROWS", parts)
    items = {f"i{n:02}": title for n, title in enumerate([*TITLES, "red shoe", "red shoe"])}  # three items share one text
    found = stage(lake, settings(""), night, [clean_item(night, i, t) for i, t in items.items()])
    assert found == brute(items, 5, lambda a, b: True)
    assert [row[2] for row in found if row[0] == "i00"][:2] == ["i24", "i25"]


def test_pairs_never_cross_a_block(lake: Lake, settings: Callable[[str], Settings], night: Night) -> None:
    items = {f"i{n:02}": title for n, title in enumerate(TITLES)}
    brand = {i: t.split()[0] if t.split()[0] != "black" else None for i, t in items.items()}  # items without a brand: a block of their own
    rows = [clean_item(night, i, t, brand=brand[i]) for i, t in items.items()]
    found = stage(lake, settings('block_by = ["brand"]'), night, rows)
    assert found == brute(items, 5, lambda a, b: brand[a] == brand[b])
    assert len(found) == 24 * 5


def test_across_gives_neighbours_from_other_sources_only(lake: Lake, settings: Callable[[str], Settings], night: Night) -> None:
    items = {f"{'a' if n % 4 else 'b'}:{n:02}": title for n, title in enumerate(TITLES)}
    rows = [clean_item(night, i, t, source=i[0]) for i, t in items.items()]
    found = stage(lake, settings('across = "source"\n[sources.b]\npath = "b.csv"\ncolumns = { id = "id", title = "title" }'), night, rows)
    assert found == brute(items, 5, lambda a, b: a[0] != b[0])
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
    old = [
        (night.date, run_id, check, "fail", True, 1.0, ">= 1", "all: of a run before")
        for run_id, check in ((night.run_id, "night: validated"), ("another", "night: validated"), (night.run_id, "raw_items: rows"))
    ]
    lake.append(AUDIT_RESULTS, lake.frame(AUDIT_RESULTS, old), night)
    assert stage(lake, settings(""), night, rows[::-1]) == first
    checks = [row["check"] for row in lake.read(AUDIT_RESULTS, night).collect()]
    assert sorted(checks) == ["raw_items: rows", "staged_neighbours: coverage", "staged_neighbours: recall"]


def test_coverage_counts_items_that_have_all_they_could_have(lake: Lake, settings: Callable[[str], Settings], night: Night) -> None:
    stage(lake, settings(""), night, [clean_item(night, f"i{n:02}", t) for n, t in enumerate(TITLES)])
    items = neighbours.searchable(lake.read(CLEAN_ITEMS, night), lake.read(ITEM_VECTORS), settings("").neighbours)
    staged = lake.read(STAGED_NEIGHBOURS, night).where("rank < 3 OR item_id > 'i05'")  # six items lack their third neighbour
    assert neighbours.coverage(staged, items, {("", "shop"): 3}, 3) == (18 / 24, 6 * 2 + 18 * 5)


def test_a_pair_that_may_not_be_counts_as_a_miss(lake: Lake, settings: Callable[[str], Settings], night: Night) -> None:
    """Pairs across blocks may be nearer than any within: to the recall of blocked neighbours they are worth nothing."""
    stage(lake, settings(""), night, [clean_item(night, f"i{n:02}", t, brand=t.split()[0]) for n, t in enumerate(TITLES)])
    how = settings('block_by = ["brand"]').neighbours
    items = neighbours.searchable(lake.read(CLEAN_ITEMS, night), lake.read(ITEM_VECTORS), how)
    figure, _ = neighbours.recall(items, lake.read(STAGED_NEIGHBOURS, night), how)
    assert figure < 0.6


def test_a_block_too_large_for_exact_search_is_refused(
    lake: Lake, settings: Callable[[str], Settings], night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "BLOCK_BYTES", 24 * 16 * 4 - 1)
    with pytest.raises(SettingsError, match=r"exact search takes up to .*\n  → set neighbours.block_by"):
        stage(lake, settings(""), night, [clean_item(night, f"i{n:02}", t) for n, t in enumerate(TITLES)])


def test_items_of_one_vector_stand_in_the_order_of_their_ids(lake: Lake, settings: Callable[[str], Settings], night: Night) -> None:
    """Many texts, one vector, as an encoder that knows no capitals gives them."""
    texts = [f"{'Red' if n % 2 else 'red'} SHOE {n}" for n in range(40)]
    vector = VECTORS["red shoe"].astype("<f4").tobytes()
    rows = [(encoder.model_id(Path(settings("").embed.model or "")), hash_of(text), 16, vector) for text in texts]
    lake.append(ITEM_VECTORS, lake.frame(ITEM_VECTORS, rows), night)
    found = stage(lake, settings(""), night, [clean_item(night, f"i{n:02}", t) for n, t in enumerate(texts)])
    assert [row[2] for row in found if row[0] == "i00"] == ["i01", "i02", "i03", "i04", "i05"]
    assert [row[2] for row in found if row[0] == "i30"] == ["i00", "i01", "i02", "i03", "i04"]


def test_a_single_item_has_no_neighbours(lake: Lake, settings: Callable[[str], Settings], night: Night) -> None:
    assert stage(lake, settings(""), night, [clean_item(night, "only", "red shoe")]) == []


def test_items_without_vectors_are_refused(lake: Lake, settings: Callable[[str], Settings], night: Night) -> None:
    rows = [clean_item(night, "a", TITLES[0]), clean_item(night, "b", "never embedded")]
    with pytest.raises(ContractError, match=r"1 of 2 items .* have no vector.*\n  → run clean and embed"):
        stage(lake, settings(""), night, rows)
