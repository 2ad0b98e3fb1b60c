"""The stage against brute force, in and across blocks; its order, its recall, what it refuses.

The vectors are random and written straight to `item_vectors`: what an encoder would say is not this stage's business.
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pyspark.errors import PythonException

from jobs import covers, encoder, lists, neighbours, recall, weigh
from jobs.errors import ContractError
from jobs.lake import Lake
from jobs.night import Night
from jobs.nodes import counted, items_of, known_items, nodes_of, read, sampled
from jobs.sections import Neighbours, Weigh, Weights
from jobs.settings import Settings
from jobs.tables import AUDIT_RESULTS, CLEAN_ITEMS, ITEM_VECTORS, LEXICONS, NEIGHBOURS, STAGED_NEIGHBOURS
from tests.conftest import MINIMAL
from tests.jobs.test_fusion import expected
from tests.readings import by_meaning
from tests.rows import clean_item

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

TITLES = [f"{colour} {thing}" for colour in ("red", "blue", "green", "black") for thing in ("shoe", "car", "lamp", "chair", "desk", "pen")]
VECTORS = {title: v / np.linalg.norm(v) for title, v in zip(TITLES, np.random.default_rng(7).normal(size=(24, 16)), strict=True)}
DAYS = count()
MEANING = "weights = { lexical = 0, codes = 0 }\n"

Staged = list[tuple[str, int, str, float]]


@pytest.fixture(scope="module")
def lake(spark: "SparkSession", tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Lake:
    """One lake for the module, with a vector for every title: each test works on a night of its own."""
    found = Lake(spark, str(tmp_path_factory.mktemp("lake")))
    for table in (CLEAN_ITEMS, ITEM_VECTORS, LEXICONS, STAGED_NEIGHBOURS, NEIGHBOURS, AUDIT_RESULTS):
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


def with_cells_of(rows: int, settings: Settings) -> Settings:
    """Smaller cells than a settings file may ask for."""
    return settings.model_copy(update={"neighbours": settings.neighbours.model_copy(update={"cell_rows": rows})})


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
    shop = MINIMAL.replace('title = "title"', 'title = "title", brand = "brand", category = "category"')
    return lambda how: settings_of(shop + f'[embed]\nmodel = "{tiny_model}"\n[neighbours]\nk = 3\nslack = 2\n{MEANING}{how}\n')


def test_one_block_is_brute_force(lake: Lake, settings: Callable[[str], Settings], night: Night) -> None:
    items = {f"i{n:02}": title for n, title in enumerate([*TITLES, "red shoe", "red shoe"])}  # three items share one text
    found = stage(lake, settings(""), night, [clean_item(night, i, t) for i, t in items.items()])
    assert found == brute(items, 5, lambda a, b: True)
    assert [row[2] for row in found if row[0] == "i00"][:2] == ["i24", "i25"]


@pytest.mark.parametrize(("rows", "weights"), [(200_000, Weights(price=2, category=1)), (10, Weights())], ids=["one cell", "cells"])
def test_all_channels_are_fused(
    lake: Lake, settings: Callable[[str], Settings], night: Night, monkeypatch: pytest.MonkeyPatch, rows: int, weights: Weights
) -> None:
    """Every pair and its parts are those of the obvious loop, in one cell and in many; descriptions are read, and items of one title that
    they or the price tell apart are."""
    monkeypatch.setattr(covers, "COVER_MISSES", 0.0)
    titles = [f"{title} {n % 5}x" if n % 2 else title for n, title in enumerate([*TITLES, "red shoe"])]
    vectors = np.array([VECTORS[title] for title in [*TITLES, "red shoe"]])
    descriptions = [None if n % 3 else f"Sold with B-{n % 7}00 {TITLES[n // 2]}" for n in range(25)]
    offers = [(n % 4 * 2.5, "EUR" if n % 3 else "USD", ["", "Home", "Home > Light"][n % 3]) for n in range(25)]
    items = [
        clean_item(
            night,
            f"i{n:02}",
            title,
            description=descriptions[n],
            content_hash=hash_of([*TITLES, "red shoe"][n]),
            price=Decimal(price) if price else None,
            currency=currency if price else None,
            category=category or None,
        )
        for n, (title, (price, currency, category)) in enumerate(zip(titles, offers, strict=True))
    ]
    how = with_cells_of(rows, settings("").model_copy(update={"neighbours": Neighbours(k=3, slack=2, weights=weights)}))
    lake.replace(CLEAN_ITEMS, lake.frame(CLEAN_ITEMS, items), night)
    weigh.run(lake.spark, lake, how, night)
    found = stage(lake, how, night, items)
    fields = [" ".join(filter(None, [title, description])) for title, description in zip(titles, descriptions, strict=True)]
    truth = expected(vectors, titles, fields, np.array(weights.scaled), offers)
    for item in range(25):
        near = sorted((-truth[item, other, 0], other) for other in range(25) if other != item)[:3]
        mine = [row for row in found if row[0] == f"i{item:02}"]
        assert [row[2] for row in mine[:3]] == [f"i{other:02}" for _, other in near]
        assert [row[3] for row in mine[:3]] == pytest.approx([-negative for negative, _ in near], abs=5e-5)
    for row in lake.read(STAGED_NEIGHBOURS, night).collect():
        parts = truth[int(row["item_id"][1:]), int(row["neighbour_id"][1:]), 1:]
        assert [np.nan if part is None else part for part in row["parts"]] == pytest.approx(parts, abs=5e-5, nan_ok=True)


def test_without_a_lexicon_spelling_cannot_be_compared(lake: Lake, settings: Callable[[str], Settings], night: Night) -> None:
    how = settings("").model_copy(update={"neighbours": Neighbours(), "weigh": Weigh(max_characters=77)})
    with pytest.raises(
        ContractError, match=r"there is no lexicon of title, brand, model, description; 77 characters for 1 texts\n  → run weigh"
    ):
        stage(lake, how, night, [clean_item(night, "a", TITLES[0])])


def test_covered_by_cells_and_across_sources_it_is_brute_force_still(
    lake: Lake, settings: Callable[[str], Settings], night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cells of a few items, each item in every cell that any true neighbour may be in: nothing is lost, nothing is twice, and the 16 bits
    a coordinate travels in show in the fifth digit at most."""
    monkeypatch.setattr(covers, "COVER_MISSES", 0.0)  # every known pair has to meet, and all pairs are known
    items = {f"{'a' if n % 3 else 'b'}:{n:02}": title for n, title in enumerate([*TITLES, "red shoe", "red shoe"])}
    rows = [clean_item(night, i, t, source=i[0]) for i, t in items.items()]
    how = 'across = "source"\n[sources.b]\npath = "b.csv"\ncolumns = { id = "id", title = "title" }'
    settled = with_cells_of(10, settings(how))
    found = stage(lake, settled, night, rows)
    best = brute(items, 5, lambda a, b: a[0] != b[0])
    truly = {(row[0], row[2]): row[3] for row in brute(items, 26, lambda a, b: a[0] != b[0])}
    assert [row[:2] for row in found] == [row[:2] for row in best]
    assert [row[2] for row in found if row[1] <= 3] == [row[2] for row in best if row[1] <= 3]  # of the slack nothing was promised
    assert all(abs(row[3] - truly[row[0], row[2]]) < 5e-5 for row in found)
    assert stage(lake, settled, night, rows[::-1]) == found


def test_a_covered_block_whose_sampled_items_have_few_matches(lake: Lake, settings: Callable[[str], Settings], night: Night) -> None:
    """One sampled item, which can be matched with two others: nothing to measure a cover by, and no reason to stop."""
    rows = [clean_item(night, f"i{n:02}", t, source="b" if n in (3, 9) else "a") for n, t in enumerate(TITLES)]
    how = 'recall_sample = 1\nacross = "source"\n[sources.b]\npath = "b.csv"\ncolumns = { id = "id", title = "title" }'
    found = stage(lake, with_cells_of(10, settings(how)), night, rows)
    assert {row[2] for row in found if row[0] == "i00"} <= {"i03", "i09"}
    assert {row[2] for row in found if row[0] == "i03"} & {"i03", "i09"} == set()


def test_shuffled_rows_and_other_partitions_give_the_same_table(
    lake: Lake, settings: Callable[[str], Settings], night: Night, spark: "SparkSession"
) -> None:
    rows = [clean_item(night, f"i{n:02}", t, brand=t.split()[0]) for n, t in enumerate(TITLES)]
    how = with_cells_of(4, settings('block_by = ["brand"]'))
    first = stage(lake, how, night, rows)
    spark.conf.set("spark.sql.shuffle.partitions", "7")
    try:
        assert stage(lake, how, night, [rows[i] for i in np.random.default_rng(3).permutation(len(rows))]) == first
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", "4")


def test_one_large_block_beside_many_tiny_ones(lake: Lake, settings: Callable[[str], Settings], night: Night) -> None:
    """60 % of all items in one block, the others in 1,000 blocks of one and two: all are searched, within their block."""
    brand = ["large"] * 2400 + [f"tiny {n // 2 if n < 1200 else n}" for n in range(1600)]
    names = [f"i{n:04}" for n in range(4000)]
    rows = [clean_item(night, name, TITLES[n % 24], brand=brand[n]) for n, name in enumerate(names)]
    found = stage(lake, settings('block_by = ["brand"]'), night, rows)
    brand_of, counted = dict(zip(names, brand, strict=True)), Counter(row[0] for row in found)
    assert all(brand_of[row[0]] == brand_of[row[2]] for row in found)
    assert [counted[name] for name in names] == [5] * 2400 + [1] * 1200 + [0] * 400


def test_the_cores_go_to_the_cells_that_have_the_work(lake: Lake) -> None:
    """Of the tests' two: a large cell beside many tiny ones has both."""
    assert lists.threads_of(lake.spark, [180_000**2, *[12_000] * 30]) == [2] + [1] * 30
    assert lists.threads_of(lake.spark, [100, 100]) == [1, 1]
    assert lists.threads_of(lake.spark, [100]) == [2]


def test_a_cover_does_not_rest_on_the_sample_that_it_is_measured_by(lake: Lake, settings: Callable[[str], Settings], night: Night) -> None:
    """A large block that none of the sampled items is in has cells that overlap as far as it needs."""
    rows = [clean_item(night, f"i{n:02}", t, category="large" if n else "tiny") for n, t in enumerate(TITLES)]
    how = with_cells_of(10, settings('block_by = ["category"]\nrecall_sample = 1'))
    nodes = nodes_of(items_of(lake.frame(CLEAN_ITEMS, rows), how.neighbours, how.weigh))
    seed = next(seed for seed in range(99) if sampled(nodes, 1, seed)[0]["item_id"] == "i00")
    how = how.model_copy(update={"neighbours": how.neighbours.model_copy(update={"seed": seed})})
    found = stage(lake, how, night, rows)
    best = brute({f"i{n:02}": t for n, t in enumerate(TITLES) if n}, 5, lambda a, b: True)
    assert len({row[:3:2] for row in found} & {row[:3:2] for row in best}) / len(best) > 0.9


def test_an_item_without_text_has_no_neighbours_and_is_counted(lake: Lake, settings: Callable[[str], Settings], night: Night) -> None:
    model_id = encoder.model_id(Path(settings("").embed.model or ""))
    lake.append(ITEM_VECTORS, lake.frame(ITEM_VECTORS, [(model_id, hash_of(""), 16, bytes(64))]), night)
    rows = [clean_item(night, f"i{n:02}", t) for n, t in enumerate(TITLES)] + [clean_item(night, f"z{n}", "") for n in range(3)]
    found = stage(lake, settings(""), night, rows)
    assert found == brute({f"i{n:02}": t for n, t in enumerate(TITLES)}, 5, lambda a, b: True)
    counts = neighbours.run(lake.spark, lake, settings(""), night)
    assert counts.figures["items_without_text"] == 3
    assert counts.figures["coverage"] == 1.0
    assert "3 items without text" in counts.note


@pytest.mark.parametrize(
    ("vector", "told"),
    [
        (np.full(16, np.nan, "<f4").tobytes(), r"the vector of item odd is not of unit length"),
        (np.full(16, 0.5, "<f4").tobytes(), r"the vector of item odd is not of unit length"),
        (np.ones(1, "<f4").tobytes(), r"the vector of item odd has 4 bytes, others of this encoder 64"),
    ],
)
def test_a_vector_that_is_none_is_refused_with_its_item(
    spark: "SparkSession", tmp_path: Path, settings: Callable[[str], Settings], night: Night, vector: bytes, told: str
) -> None:
    lake = Lake(spark, str(tmp_path / "lake"))
    for table in (CLEAN_ITEMS, ITEM_VECTORS, LEXICONS, STAGED_NEIGHBOURS, NEIGHBOURS, AUDIT_RESULTS):
        lake.create(table)
    model_id = encoder.model_id(Path(settings("").embed.model or ""))
    vectors = {**{t: v.astype("<f4").tobytes() for t, v in VECTORS.items()}, "odd": vector}
    stored = [(model_id, hash_of(title), len(raw) // 4, raw) for title, raw in vectors.items()]
    lake.append(ITEM_VECTORS, lake.frame(ITEM_VECTORS, stored), night)
    rows = [clean_item(night, f"i{n:02}", t) for n, t in enumerate(TITLES)] + [clean_item(night, "odd", "odd")]
    with pytest.raises((ContractError, PythonException), match=told):
        stage(lake, settings(""), night, rows)


def test_the_cells_are_told(lake: Lake, settings: Callable[[str], Settings], night: Night) -> None:
    lake.replace(CLEAN_ITEMS, lake.frame(CLEAN_ITEMS, [clean_item(night, f"i{n}", t) for n, t in enumerate(TITLES)]), night)
    figures = neighbours.run(lake.spark, lake, with_cells_of(10, settings("")), night).figures
    assert figures["cells"] >= 4
    assert figures["cell_nodes_max"] <= 24
    assert figures["cell_skew"] >= 1
    assert figures["cell_seconds_max"] >= figures["cell_seconds_median"] > 0
    assert figures["cover_seconds"] > 0


def test_pairs_never_cross_a_block(lake: Lake, settings: Callable[[str], Settings], night: Night) -> None:
    items = {f"i{n:02}": title for n, title in enumerate(TITLES)}
    brand = {i: t.split()[0] if t.split()[0] != "black" else None for i, t in items.items()}  # items without a brand: a block of their own
    spelt = {i: b.upper() if b and n % 2 else b for n, (i, b) in enumerate(brand.items())}  # case does not count
    rows = [clean_item(night, i, t, brand=spelt[i]) for i, t in items.items()]
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
    assert rows["staged_neighbours: recall@3"]["figure"] == 1.0
    assert "10 random items, 95 % interval 0.72" in rows["staged_neighbours: recall@3"]["reason"]  # Wilson for 10 of 10
    assert rows["staged_neighbours: coverage@3"]["figure"] == 1.0


def recall_of(lake: Lake, settings: Settings, night: Night, staged: "DataFrame") -> tuple[float, int]:
    how, vectors = settings.neighbours, lake.read(ITEM_VECTORS)
    nodes = nodes_of(items_of(lake.read(CLEAN_ITEMS, night), how, settings.weigh))
    asked, reading = sampled(nodes, how.recall_sample, how.seed), by_meaning(16)
    known = known_items(nodes, vectors, [row["item_id"] for row in asked])
    own = read([known[row["item_id"]] for row in asked], reading)
    near = recall.nearest_of_sample(nodes, vectors, asked, own, reading, how)
    true = {row["item_id"]: similarities for row, (_, similarities) in zip(asked, near, strict=True)}
    return recall.recall(nodes, vectors, staged, asked, true, reading, how)


def test_recall_falls_when_neighbours_are_wrong(lake: Lake, settings: Callable[[str], Settings], night: Night) -> None:
    """The measure can fail: with every pair replaced by the item's last candidates, few true neighbours are left."""
    from pyspark.sql import functions as F

    stage(lake, settings(""), night, [clean_item(night, f"i{n:02}", t) for n, t in enumerate([*TITLES, "red shoe"])])
    staged = lake.read(STAGED_NEIGHBOURS, night)
    assert recall_of(lake, settings(""), night, staged) == (1.0, 25)
    shifted = staged.withColumn("rank", F.col("rank") - 2).where("rank >= 1")  # the best two of each item are lost
    assert recall_of(lake, settings(""), night, shifted)[0] <= 0.4


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
    assert sorted(checks) == ["raw_items: rows", "staged_neighbours: coverage@3", "staged_neighbours: recall@3"]


@pytest.mark.parametrize("how", ["", 'block_by = ["brand"]'])
def test_coverage_counts_items_that_have_all_they_could_have(
    lake: Lake, settings: Callable[[str], Settings], night: Night, how: str
) -> None:
    """Blocked, four items have three others, two have one, two have none, and all of these are wanted. Who has none is told. All items were
    compared with everything: so the recall is known, and has no interval."""
    brands = ["a"] * 16 + ["b"] * 4 + ["c", "c", "d", "e"]
    items = [clean_item(night, f"i{n:02}", t, brand=brands[n]) for n, t in enumerate(TITLES)]
    lake.replace(CLEAN_ITEMS, lake.frame(CLEAN_ITEMS, items), night)
    told = neighbours.run(lake.spark, lake, settings(how), night)
    assert told.note.startswith("recall@3 1.000, ")
    assert told.note.endswith(", 2 items with none that they may be matched with") == bool(how)
    assert told.figures["recall_low"] == told.figures["recall_high"] == 1
    assert told.figures["items_alone"] == (2 if how else 0)
    nodes = nodes_of(items_of(lake.read(CLEAN_ITEMS, night), settings(how).neighbours, settings(how).weigh))
    groups = counted(nodes, night)
    staged = lake.read(STAGED_NEIGHBOURS, night)
    whole, pairs = recall.coverage(staged, nodes, groups, settings(how).neighbours)
    assert (whole, pairs) == (1.0, staged.count())
    fewer = staged.where("rank < 3 OR item_id > 'i05'")  # six items lack their third neighbour
    assert recall.coverage(fewer, nodes, groups, settings(how).neighbours) == (18 / 24, fewer.count())
    none = staged.where("item_id <> 'i20'")  # of a block of two, where there are blocks
    assert recall.coverage(none, nodes, groups, settings(how).neighbours) == (23 / 24, none.count())


def test_a_pair_that_may_not_be_counts_as_a_miss(lake: Lake, settings: Callable[[str], Settings], night: Night) -> None:
    """Pairs across blocks may be nearer than any within: to the recall of blocked neighbours they are worth nothing."""
    stage(lake, settings(""), night, [clean_item(night, f"i{n:02}", t, brand=t.split()[0]) for n, t in enumerate(TITLES)])
    figure, _ = recall_of(lake, settings('block_by = ["brand"]'), night, lake.read(STAGED_NEIGHBOURS, night))
    assert figure < 0.6


def test_items_of_one_vector_stand_in_the_order_of_their_ids(lake: Lake, settings: Callable[[str], Settings], night: Night) -> None:
    """Many texts, one vector, as an encoder that knows no capitals gives them."""
    texts = [f"{'Red' if n % 2 else 'red'} SHOE {n}" for n in range(40)]
    vector = VECTORS["red shoe"].astype("<f4").tobytes()
    rows = [(encoder.model_id(Path(settings("").embed.model or "")), hash_of(text), 16, vector) for text in texts]
    lake.append(ITEM_VECTORS, lake.frame(ITEM_VECTORS, rows), night)
    found = stage(lake, settings(""), night, [clean_item(night, f"i{n:02}", t) for n, t in enumerate(texts)])
    assert [row[2] for row in found if row[0] == "i00"] == ["i01", "i02", "i03", "i04", "i05"]
    assert [row[2] for row in found if row[0] == "i30"] == ["i00", "i01", "i02", "i03", "i04"]


@pytest.mark.parametrize("weights", [Weights(lexical=0, codes=0), Weights()], ids=["by meaning", "fused"])
@pytest.mark.parametrize("count", [1, 12])
def test_a_catalogue_of_one_title(lake: Lake, settings: Callable[[str], Settings], night: Night, count: int, weights: Weights) -> None:
    """Of a single item, which has no neighbours, or of many, which are each other's, by id."""
    how = settings("").model_copy(update={"neighbours": Neighbours(k=3, slack=2, weights=weights)})
    items = [clean_item(night, f"i{n:02}", TITLES[0]) for n in range(count)]
    lake.replace(CLEAN_ITEMS, lake.frame(CLEAN_ITEMS, items), night)
    weigh.run(lake.spark, lake, how, night)
    names = [f"i{n:02}" for n in range(count)]
    expected = [(own, rank, other) for own in names for rank, other in enumerate([name for name in names if name != own][:5], start=1)]
    found = stage(lake, how, night, items)
    assert [row[:3] for row in found] == expected
    assert [row[3] for row in found] == pytest.approx([1.0] * len(expected))


def test_another_model_in_the_lake_changes_nothing(lake: Lake, settings: Callable[[str], Settings], night: Night) -> None:
    """Its vectors of the same texts are others, and of another dimension."""
    vectors = np.random.default_rng(8).normal(size=(24, 8)).astype("<f4")
    rows = [("other@0123456789ab", hash_of(title), 8, vector.tobytes()) for title, vector in zip(TITLES, vectors, strict=True)]
    lake.append(ITEM_VECTORS, lake.frame(ITEM_VECTORS, rows), night)
    items = {f"i{n:02}": title for n, title in enumerate(TITLES)}
    assert stage(lake, settings(""), night, [clean_item(night, i, t) for i, t in items.items()]) == brute(items, 5, lambda a, b: True)
    assert {row["model_id"] for row in lake.read(STAGED_NEIGHBOURS, night).collect()} == {
        encoder.model_id(Path(settings("").embed.model or ""))
    }


def test_items_without_vectors_are_refused(lake: Lake, settings: Callable[[str], Settings], night: Night) -> None:
    rows = [clean_item(night, "a", TITLES[0]), clean_item(night, "b", "never embedded")]
    with pytest.raises(PythonException, match=r"1 of 2 items that were looked at have no vector.*\n  → run clean and embed"):
        stage(lake, settings(""), night, rows)


def test_a_model_that_has_embedded_nothing_is_refused(
    lake: Lake, settings: Callable[[str], Settings], night: Night, tiny_model: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(tiny_model, tmp_path / "other")
    (other / "note.txt").write_text("another fingerprint", encoding="utf-8")
    how = settings("").model_copy(update={"embed": settings("").embed.model_copy(update={"model": str(other)})})
    with pytest.raises(ContractError, match=r"item_vectors has none of other@\w{12}\n  → run embed"):
        stage(lake, how, night, [clean_item(night, "a", TITLES[0])])


def test_items_that_all_lack_a_text_are_refused(lake: Lake, settings: Callable[[str], Settings], night: Night) -> None:
    model_id = encoder.model_id(Path(settings("").embed.model or ""))
    lake.append(ITEM_VECTORS, lake.frame(ITEM_VECTORS, [(model_id, hash_of(""), 16, bytes(64))]), night)
    with pytest.raises(ContractError, match=r"none of the 2 items of .* has a text .*\n  → name columns in embed.fields"):
        stage(lake, settings(""), night, [clean_item(night, "a", ""), clean_item(night, "b", "")])


def test_the_sample_is_full_however_many_items_lack_a_text(lake: Lake, settings: Callable[[str], Settings], night: Night) -> None:
    model_id = encoder.model_id(Path(settings("").embed.model or ""))
    lake.append(ITEM_VECTORS, lake.frame(ITEM_VECTORS, [(model_id, hash_of(""), 16, bytes(64))]), night)
    rows = [clean_item(night, f"i{n:02}", t) for n, t in enumerate(TITLES)] + [clean_item(night, f"z{n}", "") for n in range(40)]
    lake.replace(CLEAN_ITEMS, lake.frame(CLEAN_ITEMS, rows), night)
    assert neighbours.run(lake.spark, lake, settings("recall_sample = 20"), night).figures["recall_sample"] == 20
