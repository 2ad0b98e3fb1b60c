"""What a task does with its rows, without Spark."""

import zlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from jobs import block_search, cells, fusion, knn, lexicon, neighbour_list, script, task
from jobs.block_search import Search
from jobs.errors import ContractError
from jobs.pool import workers
from jobs.sections import Neighbours
from tests.readings import by_meaning
from tests.readings import columns as read

ROWS, DIMENSION, K = 3000, 24, 8


Told = tuple[Any, ...]


class Log:
    def __init__(self) -> None:
        self.told: list[Told] = []

    def add(self, entries: list[Told]) -> None:
        self.told += entries


def batches_of(
    members: list[list[str]], vectors: np.ndarray, size: int = 700, texts: list[str] | None = None, **columns: Any
) -> list[pa.RecordBatch]:
    """CELL rows; those of one vector and text have one print."""
    stored = [vector.astype("<f4").tobytes() for vector in vectors]
    same = {"cell": pa.array(np.zeros(len(members), np.int32)), "block": [""] * len(members), "source": ["shop"] * len(members)}
    spelt = texts or [None] * len(members)
    prints = pa.array([hash(both) for both in zip(stored, spelt, strict=True)], pa.int64())
    keys = pa.array([zlib.crc32(names[0].encode()) for names in members], pa.int64())
    nodes = {"members": pa.array(members), "key": keys, "print": prints} | read(spelt, spelt)
    nodes["vector"] = pa.array(stored, pa.binary())
    table = pa.table(same | columns | nodes)
    return table.to_batches(size)


def search_of(how: Neighbours, **values: Any) -> Search:
    return Search(
        **(
            {
                "how": how,
                "reading": by_meaning(DIMENSION),
                "target_recall": 0.95,
                "promised": 0.9,
                "narrow": 1,
                "threads": [2] * 10,
                "parts": 3,
                "asked": {},
            }
            | values
        )
    )


def pairs_of(packed: list[pa.RecordBatch], kept: int) -> dict[str, list[tuple[int, str, float]]]:
    """Of each item its (rank, neighbour, similarity), from PACKED rows: part by part, as Spark hands them to tasks."""
    found = defaultdict(list)
    rows = pa.Table.from_batches(packed)
    for part in np.unique(rows["part"].to_numpy()):
        for batch in neighbour_list.told(kept)(iter(rows.filter(pa.compute.equal(rows["part"], part)).to_batches())):
            for row in batch.to_pylist():
                found[row["item_id"]].append((row["rank"], row["neighbour_id"], row["similarity"]))
    return found


def normalised(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def families(random: np.random.Generator) -> np.ndarray:
    return normalised(np.repeat(random.normal(size=(ROWS // 10, DIMENSION)), 10, axis=0) + 0.5 * random.normal(size=(ROWS, DIMENSION)))


def test_a_large_block_is_searched_for_the_recall_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """By leaves, not by comparing everything; every third node is two items. What is said of the sampled items is the truth."""
    monkeypatch.setattr(knn, "EXACT_ROWS", 500)
    vectors = families(np.random.default_rng(5))
    ids = [f"i{n:04}" for n in range(ROWS)]
    members = [[name, f"{name}b"] if n % 3 == 0 else [name] for n, name in enumerate(ids)]
    asked, log = {ids[n]: members[n][-1:] for n in range(0, ROWS, 10)}, Log()
    packed = list(task.search_cell(search_of(Neighbours(k=K, slack=0), asked=asked), log)(iter(batches_of(members, vectors))))
    (cell, nodes, blocks, _, effort, true) = log.told[0]
    assert (cell, nodes, blocks) == (0, ROWS, 1)
    assert effort.rounds > 0
    assert (effort.candidates, effort.precision) == (K, knn.precision())
    assert 0.95 <= effort.pilot_recall <= 1
    found = pairs_of(packed, K)
    everyone = {name: row for row, name in enumerate(name for names in members for name in names)}
    vector_of = np.repeat(vectors, [len(names) for names in members], axis=0).astype(np.float64)
    assert found.keys() == everyone.keys()
    hits = 0
    for (item,) in asked.values():
        similarities = vector_of @ vector_of[everyone[item]]
        near = np.sort(np.delete(similarities, everyone[item]))[::-1][:K]
        assert true[item] == pytest.approx(near, abs=1e-6)
        assert [rank for rank, _, _ in found[item]] == list(range(1, K + 1))
        assert len({item, *(neighbour for _, neighbour, _ in found[item])}) == K + 1
        for _, neighbour, similarity in found[item]:
            assert similarity == pytest.approx(similarities[everyone[neighbour]], abs=1e-6)
        hits += sum(similarity >= near[-1] - 1e-6 for _, _, similarity in found[item])
    assert hits / (K * len(asked)) >= 0.94  # of 300 items


@pytest.mark.parametrize("across", [False, True])
def test_cells_that_share_nodes_are_told_as_one(across: bool) -> None:
    """Three overlapping cells, each of them complete: nothing is twice, and every item has the nearest that any cell has found."""
    random = np.random.default_rng(6)
    vectors = families(random)[:300].repeat(2, axis=0)  # two texts of each vector
    members = [[f"i{n:03}", f"j{n:03}"] if n % 7 == 0 else [f"i{n:03}"] for n in range(600)]
    source = ["a" if n % 3 else "b" for n in range(600)]
    cells_of = [np.flatnonzero(random.random(600) < 0.8) for _ in range(3)]
    packed, how = [], Neighbours(k=4, slack=2, across="source" if across else None)
    for number, rows in enumerate(cells_of):
        names = {"cell": pa.array(np.full(len(rows), number, np.int32)), "source": [source[n] for n in rows]}
        given = batches_of([members[n] for n in rows], vectors[rows], **names)
        packed += task.search_cell(search_of(how, narrow=9), Log())(iter(given))
    found = pairs_of(packed, 6)
    node_of = {name: n for n, names in enumerate(members) for name in names}
    for item, mine in node_of.items():
        met = set().union(*(rows for rows in cells_of if mine in rows))
        others = [name for name, n in node_of.items() if n in met and name != item and not (across and source[n] == source[mine])]
        scored = sorted((-np.float32(vectors[node_of[name]].astype(np.float64) @ vectors[mine]), name) for name in others)[:6]
        assert [(rank, name) for rank, name, _ in found[item]] == [(rank, name) for rank, (_, name) in enumerate(scored, start=1)]


def test_a_text_that_was_stored_twice_counts_once() -> None:
    vectors = families(np.random.default_rng(7))[:50]
    members = [[f"i{n:02}"] for n in range(50)]
    how, twice = search_of(Neighbours(k=5, slack=0)), np.concatenate([np.arange(50), np.arange(0, 50, 3)])
    once = pairs_of(list(task.search_cell(how, Log())(iter(batches_of(members, vectors)))), 5)
    assert pairs_of(list(task.search_cell(how, Log())(iter(batches_of([members[n] for n in twice], vectors[twice])))), 5) == once


def test_a_text_that_was_stored_twice_and_not_quite_alike_counts_once_in_all_cells() -> None:
    """Two runs at once have embedded it in batches of other shapes; each cell meets the copies in an order of its own, or one of them."""
    vectors = families(np.random.default_rng(7))[:50]
    near = normalised(vectors + 1e-7 * np.random.default_rng(8).normal(size=vectors.shape))
    stored, members = np.concatenate([vectors, near]), [[f"i{n:02}"] for n in range(50)] * 2
    packed = []
    for number, rows in enumerate((np.arange(100), np.arange(100)[::-1], np.arange(50), np.arange(50, 100))):
        given = batches_of([members[n] for n in rows], stored[rows], cell=pa.array(np.full(len(rows), number, np.int32)))
        packed += task.search_cell(search_of(Neighbours(k=5, slack=0), narrow=9), Log())(iter(given))
    found = pairs_of(packed, 5)
    assert found.keys() == {names[0] for names in members}
    for item, pairs in found.items():
        assert [rank for rank, _, _ in pairs] == [1, 2, 3, 4, 5]
        assert len({item, *(neighbour for _, neighbour, _ in pairs)}) == 6


@pytest.mark.parametrize("across", [False, True])
def test_the_truth_about_sampled_items_is_brute_force_in_their_block(across: bool) -> None:
    """Blocks of one and two beside a larger one; two texts of one vector; two items of one text."""
    random = np.random.default_rng(10)
    vectors = families(random)[:60].repeat(2, axis=0)
    members = [[f"i{n:03}", f"j{n:03}"] if n % 7 == 0 else [f"i{n:03}"] for n in range(120)]
    block = ["one"] + ["two"] * 2 + ["rest"] * 117
    source = ["a" if n % 3 else "b" for n in range(120)]
    asked = {members[n][0]: members[n] for n in (0, 1, 2, *range(3, 120, 5))}
    how, log = Neighbours(k=4, slack=0, across="source" if across else None), Log()
    order = random.permutation(120)
    columns = {"block": [block[n] for n in order], "source": [source[n] for n in order]}
    list(task.search_cell(search_of(how, asked=asked), log)(iter(batches_of([members[n] for n in order], vectors[order], **columns))))
    true = log.told[0][5]
    assert true.keys() == {item for items in asked.values() for item in items}
    node_of = {name: n for n, names in enumerate(members) for name in names}
    for item, best in true.items():
        mine = node_of[item]
        others = [
            n for name, n in node_of.items() if name != item and block[n] == block[mine] and not (across and source[n] == source[mine])
        ]
        assert best == pytest.approx(np.sort(vectors[others].astype(np.float64) @ vectors[mine])[::-1][:4], abs=1e-6)


def test_narrowed_vectors_are_widened_in_their_cells() -> None:
    """A cell of a covered block beside one of small blocks: what `placed` has narrowed, and only that."""
    vectors = families(np.random.default_rng(11))[:80]
    leaders = vectors[:1]
    rows = batches_of([[f"i{n:02}"] for n in range(80)], vectors)[0].drop_columns(["cell"])
    given = list(task.placed(cells.Cover(leaders, 1, 1.0), by_meaning(DIMENSION), 3)(iter([rows])))
    assert given[0]["cell"].to_pylist() == [3] * 80
    assert len(given[0]["vector"][0].as_py()) == 4 + 2 * DIMENSION
    how = search_of(Neighbours(k=5, slack=0), narrow=3)
    found = pairs_of(list(task.search_cell(how, Log())(iter(given))), 5)
    expected = pairs_of(list(task.search_cell(how, Log())(iter(batches_of([[f"i{n:02}"] for n in range(80)], vectors)))), 5)
    for item, pairs in expected.items():
        assert [name for _, name, _ in found[item]] == [name for _, name, _ in pairs]
        assert [value for *_, value in found[item]] == pytest.approx([value for *_, value in pairs], abs=1e-4)


@pytest.mark.parametrize("across", [False, True])
def test_a_large_fused_block_is_found_as_it_is_compared(monkeypatch: pytest.MonkeyPatch, across: bool) -> None:
    """Of vectors and titles that many items lack a signature says little: candidates, and in one catalogue a sweep, find what is promised.
    Rows that come in another order, and cut differently, have the same table."""
    monkeypatch.setattr(knn, "EXACT_ROWS", 500)
    random = np.random.default_rng(14)
    titles = [" ".join(f"word{w}" for w in random.integers(0, 900, random.integers(0, 5))) for _ in range(ROWS // 2)]
    titles += [f"{title} new" for title in titles]
    vectors, weights = families(random), np.array([0.5, 0.5, 0, 0, 0], np.float32)
    vectors[random.random(ROWS) < 0.3] = 0
    reading = fusion.Reading(weights, lexicon.counted(pa.array(titles)), np.ones(script.CODE_POINTS, np.float32), DIMENSION)
    sources, ids = [f"shop{n % 3}" for n in range(ROWS)], [f"i{n:04}" for n in range(ROWS)]
    how = search_of(Neighbours(k=K, slack=2, across="source" if across else None), reading=reading, promised=0.95)

    def rows(order: np.ndarray, size: int) -> Iterator[pa.RecordBatch]:
        given = [[list_[n] for n in order] for list_ in (ids, titles, sources)]
        return iter(batches_of([[name] for name in given[0]], vectors[order], size, given[1], source=given[2]))

    def told(order: np.ndarray, size: int) -> list[dict[str, Any]]:
        packed = pa.Table.from_batches(list(task.search_cell(how, Log())(rows(order, size))))
        parts = [packed.filter(pa.compute.equal(packed["part"], part)).to_batches() for part in range(how.parts)]
        pairs = [row for part in parts for batch in neighbour_list.told(how.kept)(iter(part)) for row in batch.to_pylist()]
        return sorted(pairs, key=lambda row: (row["item_id"], row["rank"]))

    found = told(np.arange(ROWS), 700)
    assert told(random.permutation(ROWS), 431) == found
    items = fusion.items(vectors, read(titles, titles), reading)
    labels = np.array([int(source[-1]) for source in sources], np.int32) if across else None
    with workers(2) as pool:
        _, best = fusion.nearest_of(items, weights, np.arange(ROWS), K, labels, pool)
    hits = 0
    for row in found:
        item, other = int(row["item_id"][1:]), int(row["neighbour_id"][1:])
        assert item != other
        assert not across or sources[item] != sources[other]
        assert (row["semantic"] is None) == (not (vectors[item].any() and vectors[other].any()))
        assert row["codes"] is row["price"] is row["category"] is None
        hits += row["rank"] <= K and row["similarity"] >= best[item, -1] - 1e-5
    assert len({(row["item_id"], row["neighbour_id"]) for row in found}) == len(found)
    assert hits / (best > -np.inf).sum() >= 0.95


@pytest.mark.parametrize(("k", "searched"), [(20, [60]), (8, [24, 128, 512])])
def test_candidates_are_searched_for_and_more_of_them_where_they_were_too_few(
    monkeypatch: pytest.MonkeyPatch, k: int, searched: list[int]
) -> None:
    """Of 8 neighbours nearly all have to be found: three times as many candidates are too few, for sketches of 16 numbers."""
    monkeypatch.setattr(knn, "EXACT_ROWS", 500)
    monkeypatch.setattr(fusion, "SKETCHED", 256 if k == 20 else 16)
    random, asked_for, candidates = np.random.default_rng(13), [], knn.candidates
    monkeypatch.setattr(knn, "candidates", lambda vectors, wide, **how: asked_for.append(wide) or candidates(vectors, wide, **how))
    titles = [" ".join(f"word{w}" for w in random.integers(0, 400, 4)) for _ in range(ROWS)]
    vectors, weights = families(random), np.array([0.5, 0.5, 0, 0, 0], np.float32)
    reading = fusion.Reading(weights, lexicon.counted(pa.array(titles)), np.ones(script.CODE_POINTS, np.float32), DIMENSION)
    cell = batches_of([[f"i{n:04}"] for n in range(ROWS)], vectors, texts=titles)
    how = search_of(Neighbours(k=k, slack=0), reading=reading, promised=0.5 if k == 20 else 0.999)
    list(task.search_cell(how, Log())(iter(cell)))
    assert asked_for == searched


@pytest.mark.parametrize("across", [False, True])
def test_where_candidates_do_not_find_what_is_promised_all_are_compared(monkeypatch: pytest.MonkeyPatch, across: bool) -> None:
    """By spelling alone, told by sketches of 4 numbers, what is near is hardly among them."""
    monkeypatch.setattr(fusion, "SKETCHED", 4)
    monkeypatch.setattr(block_search, "MOST_CANDIDATES", 100)
    random, count = np.random.default_rng(15), 600
    titles = [" ".join(f"word{w}" for w in random.integers(0, 400, 4)) for _ in range(count)]
    sources, ids = [f"shop{n % 2}" for n in range(count)], [f"i{n:04}" for n in range(count)]
    weights = np.array([0, 1, 0, 0, 0], np.float32)
    reading = fusion.Reading(weights, lexicon.counted(pa.array(titles)), np.ones(script.CODE_POINTS, np.float32), DIMENSION)
    vectors, log = families(random)[:count], Log()
    how = search_of(Neighbours(k=K, slack=2, across="source" if across else None), reading=reading, promised=0.999)
    cell = batches_of([[name] for name in ids], vectors, texts=titles, source=sources)
    found = pairs_of(list(task.search_cell(how, log)(iter(cell))), how.kept)
    labels = np.array([int(source[-1]) for source in sources], np.int32) if across else None
    with workers(2) as pool:
        _, best = fusion.nearest_of(fusion.items(vectors, read(titles, titles), reading), weights, np.arange(count), K, labels, pool)
    for n, name in enumerate(ids):
        assert [value for *_, value in found[name]][:K] == pytest.approx(best[n], abs=1e-5)
        assert not across or {sources[int(other[1:])] for _, other, _ in found[name]} == {sources[(n + 1) % 2]}
    (told,) = log.told
    assert (told.effort.candidates, told.effort.pilot_recall, told.effort.rounds) == (count, 1.0, 0)


@pytest.mark.parametrize("narrowed", [False, True])
def test_a_text_that_the_encoder_knows_nothing_of_is_near_nothing(narrowed: bool) -> None:
    """Its vector is zero; the others' lists are what they are without it."""
    vectors = families(np.random.default_rng(12))[:40]
    stored, how = vectors.copy(), search_of(Neighbours(k=5, slack=0), narrow=0 if narrowed else 9)
    stored[17] = 0

    def found(rows: list[int]) -> dict[str, list[tuple[int, str, float]]]:
        given = iter(batches_of([[f"i{n:02}"] for n in rows], stored[rows]))
        if narrowed:
            cover = cells.Cover(vectors[:1], 1, 1.0)
            given = task.placed(cover, by_meaning(DIMENSION), 0)(batch.drop_columns(["cell"]) for batch in given)
        return pairs_of(list(task.search_cell(how, Log())(given)), 5)

    assert found(list(range(40))) == found([n for n in range(40) if n != 17])


def test_more_items_of_one_text_than_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbour_list, "PAIRS_AT_ONCE", 21)
    vectors = families(np.random.default_rng(8))[:3]
    members = [[f"a{n:02}" for n in range(40)], ["b"], ["c"]]
    found = pairs_of(list(task.search_cell(search_of(Neighbours(k=3, slack=0)), Log())(iter(batches_of(members, vectors)))), 3)
    assert [name for _, name, _ in found["a00"]] == ["a01", "a02", "a03"]
    assert [name for _, name, _ in found["a39"]] == ["a00", "a01", "a02"]
    assert [len(found[name]) for name in ("b", "c")] == [3, 3]


def test_an_empty_cell_says_nothing() -> None:
    log = Log()
    assert list(task.search_cell(search_of(Neighbours()), log)(iter([]))) == []
    assert log.told == []


def cell_with(vector: bytes | None) -> Iterator[pa.RecordBatch]:
    """Two batches, the second of which has one item with such a vector."""
    batches = batches_of([[f"i{n}"] for n in range(6)], families(np.random.default_rng(9))[:6], size=3)
    stored = [*batches[1]["vector"].to_pylist()[:2], vector]
    place = batches[1].schema.get_field_index("vector")
    return iter([batches[0], batches[1].set_column(place, "vector", pa.array(stored, pa.binary()))])


def test_vectors_of_another_encoder_are_refused_though_they_are_all_alike() -> None:
    rows = batches_of([[f"i{n}"] for n in range(6)], np.eye(6, DIMENSION + 8, dtype=np.float32), size=3)
    with pytest.raises(ContractError, match="the vector of item i0 has 128 bytes, others of this encoder 96"):
        list(task.search_cell(search_of(Neighbours(k=2)), Log())(iter(rows)))


@pytest.mark.parametrize(
    ("vector", "said"),
    [
        (None, "1 of 3 items that were looked at have no vector of this encoder\n  → run clean and embed"),
        (bytes(4 * DIMENSION - 4), "the vector of item i5 has 92 bytes, others of this encoder 96\n  → delete it from item_vectors"),
        (np.full(DIMENSION, 0.5, "<f4").tobytes(), "the vector of item i5 is not of unit length, nor those of 0 others\n  → delete them"),
        (
            np.full(DIMENSION, np.nan, "<f4").tobytes(),
            "the vector of item i5 is not of unit length, nor those of 0 others\n  → delete them",
        ),
    ],
)
@pytest.mark.parametrize("narrowed", [False, True])
def test_a_vector_that_cannot_be_compared_is_refused_by_name(vector: bytes | None, said: str, narrowed: bool) -> None:
    cover = cells.Cover(families(np.random.default_rng(9))[:1], 1, 1.0)
    read = task.placed(cover, by_meaning(DIMENSION), 0) if narrowed else task.search_cell(search_of(Neighbours(k=2)), Log())
    with pytest.raises(ContractError) as raised:
        list(read(batch.drop_columns(["cell"]) if narrowed else batch for batch in cell_with(vector)))
    assert said in str(raised.value)
