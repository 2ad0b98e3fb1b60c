"""Lists that are carried on from night to night, against lists that are searched for: without Spark, as the task of a cell has them."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from jobs import knn, neighbour_list, task
from jobs.block_search import Search
from jobs.carried import Since
from jobs.sections import Neighbours
from tests.jobs.test_task import DIMENSION, ROWS, K, Log, Told, batches_of, families, normalised, search_of

Pair = dict[str, Any]  # a PAIR row
Item = tuple[str, str, int]  # block, source if it counts, text: as it is read


def with_old(nodes: list[pa.RecordBatch], old: list[Pair]) -> Iterator[pa.RecordBatch]:
    """CELL rows, those of old pairs among those of nodes."""
    pairs = pa.Table.from_pylist([{"cell": 0} | {name: pair[name] for name in task.OLD} for pair in old])
    schema = pa.schema([("part", pa.int32()), ("lists", pa.binary())])
    packed = pa.Table.from_batches(task.packed_old(iter(pairs.to_batches(5000))), schema).rename_columns(["cell", "old"])
    table = pa.concat_tables([pa.Table.from_batches(nodes), packed], promote_options="default")
    return iter(table.take(np.random.default_rng(0).permutation(len(table))).to_batches(700))


def lists_of(given: Iterator[pa.RecordBatch], search: Search, since: Since | None = None) -> tuple[list[Pair], Told]:
    """PAIR rows, by item and rank, and what the task has told."""
    log = Log()
    packed = pa.Table.from_batches(list(task.search_cell(search, log, since)(given)))
    parts = [packed.filter(pa.compute.equal(packed["part"], part)).to_batches() for part in range(search.parts)]
    pairs = [row for part in parts for batch in neighbour_list.told(search.kept)(iter(part)) for row in batch.to_pylist()]
    return sorted(pairs, key=lambda pair: (pair["item_id"], pair["rank"])), log.told[0]


def nodes_of(items: dict[str, Item], vectors: np.ndarray) -> list[pa.RecordBatch]:
    """CELL rows: items that are read alike are one node."""
    members = defaultdict[Item, list[str]](list)
    for name in sorted(items):
        members[items[name]].append(name)
    blocks, sources, texts = zip(*members, strict=True)
    return batches_of([*members.values()], vectors[list(texts)], 9, block=blocks, source=sources)


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("seed", range(100))
def test_random_histories_end_in_the_lists_that_a_search_finds(seed: int, across: bool) -> None:
    """Three blocks, four nights: items come, go, are read otherwise, change their block or their source. There are few texts, some alike,
    some that mean nothing, so many pairs are equally similar. What is said of the sampled items is the truth too."""
    random = np.random.default_rng(seed)
    vectors = normalised(random.integers(-1, 2, (12, DIMENSION)) + 1e-9) * (random.random((12, 1)) < 0.9)
    how = Neighbours(k=int(random.integers(1, 5)), slack=int(random.integers(0, 4)), across="source" if across else None)
    names = (f"i{n:03}" for n in random.permutation(1000))

    def some() -> Item:
        return f"block {random.integers(3)}", f"shop {random.integers(3)}" if across else "", int(random.integers(12))

    items = {next(names): some() for _ in range(random.integers(2, 60))}
    pairs, _ = lists_of(iter(nodes_of(items, vectors)), search_of(how))
    for _ in range(4):
        before, counts = dict(items), defaultdict[str, Counter[str]](Counter)
        for block, source, _text in items.values():
            counts[block][source] += 1
        for name in [name for name in items if random.random() < 0.15]:
            del items[name]
            if random.random() < 0.6:
                items[name] = some()
        items |= {next(names): some() for _ in range(random.integers(1, 5))}
        changed = pa.array([name for name, item in items.items() if before.get(name) != item], pa.string())
        given = nodes_of(items, vectors)
        sampled = [members for batch in given for members in batch["members"].to_pylist() if random.random() < 0.3]
        asked = {members[0]: members for members in sampled}
        old = [pair | {"block": items[pair["item_id"]][0]} for pair in pairs if pair["item_id"] in items]
        since = Since(changed, counts, share=9.0 if random.random() < 0.8 else 0.3)
        pairs, (*_, true) = lists_of(with_old(given, old), search_of(how, asked=asked), since)
        anew, (*_, expected) = lists_of(iter(given), search_of(how, asked=asked))
        assert [pair for pair in pairs if pair["rank"] <= how.k] == [pair for pair in anew if pair["rank"] <= how.k]
        assert true.keys() == expected.keys()
        for item, near in true.items():
            assert near == pytest.approx(expected[item], abs=1e-6)


@pytest.mark.parametrize("across", [False, True])
def test_lists_of_a_large_block_are_carried_on(monkeypatch: pytest.MonkeyPatch, across: bool) -> None:
    """Four nights, each with items that are new, gone or read otherwise. The first one's lists are searched for, and miss some; those of
    the last one have come to them by comparing what has changed, and miss hardly more."""
    monkeypatch.setattr(knn, "EXACT_ROWS", 500)
    random = np.random.default_rng(15)
    vectors, how = families(random), Neighbours(k=K, slack=3, across="source" if across else None)
    source_of = {f"i{n:04}": f"shop{n % 3}" for n in range(ROWS)}
    items = {name: vectors[n] for n, name in enumerate(source_of) if n % 10}

    def night(old: list[Pair], since: Since | None) -> tuple[list[Pair], Told]:
        rows = batches_of([[name] for name in items], np.array([*items.values()]), source=[source_of[name] for name in items])
        return lists_of(with_old(rows, old) if since else iter(rows), search_of(how), since)

    def of_these(pairs: list[Pair]) -> list[Pair]:
        return [pair | {"block": ""} for pair in pairs if pair["item_id"] in items]

    def recall(pairs: list[Pair]) -> float:
        names, every = list(items), np.array([*items.values()], np.float64)
        similarities = every @ every.T
        same = np.array([source_of[name] for name in names])
        similarities[same[:, None] == same if across else np.eye(len(names), dtype=bool)] = -np.inf
        last = dict(zip(names, np.sort(similarities, axis=1)[:, -K], strict=True))
        for pair in pairs:
            assert pair["similarity"] == pytest.approx(items[pair["item_id"]].astype(np.float64) @ items[pair["neighbour_id"]], abs=1e-6)
        return sum(pair["similarity"] >= last[pair["item_id"]] - 1e-6 for pair in pairs if pair["rank"] <= K) / (K * len(names))

    pairs, (*_, effort, _) = night([], None)
    first = recall(pairs)
    assert effort.rounds > 0
    assert first < 1
    refilled = 0
    for day in range(3):
        before = Counter(source_of[name] for name in items)
        gone, edited = np.split(random.permutation([*items])[:100], 2)
        for name in gone:
            del items[name]
        changed = [*edited, *(f"i{n:04}" for n in range(10 * day, ROWS, 100))]
        for name in changed:
            items[name] = vectors[random.integers(ROWS)]
        pairs, (*_, effort, _) = night(of_these(pairs), Since(pa.array(changed), {"": dict(before)}, 0.5))
        assert effort.rounds == 0
        refilled += effort.refilled
    assert refilled > 0
    assert recall(pairs) > first - 0.005  # the ends of lists, where more is missed, have moved up
    assert night(of_these(pairs), Since(pa.array(changed), {"": dict(before)}, 0.01))[1].effort.rounds > 0  # so much is sooner searched for
