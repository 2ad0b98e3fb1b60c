"""Recommendations against the obvious slow version, and what nobody is to be recommended."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.graph import Graph, both_ways
from jobs.interest import Interests
from jobs.kernel import NONE
from jobs.taste import DEPTH, HISTORY, POPULAR, Owned, Recommendations, ranking, recommended

ITEMS = 12

Row = dict[int, float]
Listed = tuple[int, float, int, int]  # position, score, reason, kind


def packed(rows: list[Row]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    bounds = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    pairs = [(item, value) for row in rows for item, value in sorted(row.items())]
    return bounds, np.array([item for item, _ in pairs], dtype=np.int32), np.array([value for _, value in pairs], dtype=np.float32)


def graph(*pairs: tuple[int, int, float], count: int = ITEMS) -> Graph:
    """Of lists of which the first of a pair names the second."""
    return both_ways(*packed([{two: value for one, two, value in pairs if one == row} for row in range(count)]))


def rows_of(some: Graph) -> list[Row]:
    return [
        dict(zip(some.items[start:stop].tolist(), some.values[start:stop].tolist(), strict=True))
        for start, stop in zip(some.bounds, some.bounds[1:], strict=False)
    ]


def owned_by(*users: set[int]) -> Owned:
    return Owned(*packed([dict.fromkeys(items, 1.0) for items in users])[:2])


def told(found: Recommendations, user: int = 0) -> list[Listed]:
    lists = (found.positions[user], found.scores[user], found.reasons[user], found.kinds[user])
    return [(int(p), float(s), int(r), int(k)) for p, s, r, k in zip(*lists, strict=True) if p != NONE]


def slow(user: Row, links: list[Row], alike: list[Row], barred: set[int], popular: list[int], k: int, balance: float) -> list[Listed]:
    scores: Row = {}
    best: dict[int, tuple[float, int]] = {}
    for item, weight in sorted(user.items()):
        for other, value in links[item].items():
            if other not in barred and weight * value > 0:
                scores[other] = scores.get(other, 0.0) + weight * value
                best[other] = min(best.get(other, (0.0, 0)), (-weight * value, item))
    pool = sorted(scores, key=lambda item: (-scores[item], item))[: DEPTH * k]
    chosen: list[int] = []
    while len(chosen) < min(k, len(pool)):
        gains = [
            balance * scores[item] / scores[pool[0]] - (1 - balance) * max((alike[taken].get(item, 0.0) for taken in chosen), default=0.0)
            if item not in chosen
            else -np.inf
            for item in pool
        ]
        chosen.append(pool[int(np.argmax(gains))])
    found: list[Listed] = [(item, float(np.float32(scores[item])), best[item][1], HISTORY) for item in chosen]
    left = [item for item in popular if item not in barred and item not in chosen]
    return found + [(item, 0.0, NONE, POPULAR) for item in left[: k - len(chosen)]]


values = st.integers(1, 8).map(lambda eighths: eighths / 8)  # sums are exact, and many are equal
row = st.dictionaries(st.integers(0, ITEMS - 1), values, max_size=5)
graphs = st.lists(row, min_size=ITEMS, max_size=ITEMS).map(lambda rows: both_ways(*packed(rows)))
some_items = st.sets(st.integers(0, ITEMS - 1), max_size=4)


@given(st.lists(st.tuples(row, some_items), min_size=1, max_size=4), graphs, graphs, some_items, st.sampled_from([0.5, 0.75, 1]))
@settings(max_examples=150, deadline=None)
def test_the_lists_are_those_of_the_slow_version(
    users: list[tuple[Row, set[int]]], links: Graph, alike: Graph, gone: set[int], balance: float
) -> None:
    of = Interests(*packed([cares for cares, _ in users]))
    popular = ranking(of, ITEMS)
    available = np.array([item not in gone for item in range(ITEMS)])
    found = recommended(of, links, alike, owned_by(*(owned for _, owned in users)), available, popular, 3, balance=balance)
    for place, (cares, owned) in enumerate(users):
        assert told(found, place) == slow(cares, rows_of(links), rows_of(alike), owned | gone, popular.tolist(), 3, balance)


def of_one(links: Graph, cares: Row, *, alike: Graph | None = None, owned: set[int] | None = None, balance: float = 1) -> list[Listed]:
    of, popular = Interests(*packed([cares])), np.array([7, 8, 9], dtype=np.int32)
    given = owned_by(owned or set()), np.ones(ITEMS, dtype=np.bool_), popular
    return told(recommended(of, links, alike or graph(), *given, 2, balance=balance))


def test_the_reason_is_what_contributed_most_and_scores_are_sums() -> None:
    links = graph((0, 5, 0.5), (1, 5, 1), (1, 6, 0.25))
    assert of_one(links, {0: 1, 1: 0.75}) == [(5, 1.25, 1, HISTORY), (6, 0.1875, 1, HISTORY)]


def test_a_new_item_is_reached_through_its_own_list() -> None:
    assert of_one(graph((11, 0, 0.5)), {0: 1})[0] == (11, 0.5, 0, HISTORY)  # 11 names 0, which names nobody


def test_who_is_not_known_gets_what_is_popular() -> None:
    assert of_one(graph((0, 5, 1)), {}) == [(7, 0, NONE, POPULAR), (8, 0, NONE, POPULAR)]


def test_a_short_list_is_filled_with_what_is_popular_and_not_in_it() -> None:
    assert of_one(graph((0, 7, 1)), {0: 1}) == [(7, 1, 0, HISTORY), (8, 0, NONE, POPULAR)]


def test_what_is_owned_is_recommended_neither_for_a_reason_nor_as_popular() -> None:
    assert of_one(graph((0, 5, 1)), {0: 1}, owned={0, 5, 7}) == [(8, 0, NONE, POPULAR), (9, 0, NONE, POPULAR)]


def test_a_diverse_list_takes_one_of_two_that_are_alike() -> None:
    links, alike = graph((0, 4, 1), (0, 5, 0.875), (0, 6, 0.75)), graph((5, 4, 1))
    assert [item for item, *_ in of_one(links, {0: 1}, alike=alike, balance=1)] == [4, 5]
    assert [item for item, *_ in of_one(links, {0: 1}, alike=alike, balance=0.75)] == [4, 6]


def test_equal_ones_come_by_position_and_threads_change_nothing() -> None:
    chance = np.random.default_rng(5)
    of = Interests(*packed([dict.fromkeys(chance.choice(200, 10, replace=False).tolist(), 1.0) for _ in range(5000)]))
    links = both_ways(*packed([dict.fromkeys(chance.choice(200, 5, replace=False).tolist(), 0.5) for _ in range(200)]))
    given = links, links, Owned(of.bounds, of.items), np.ones(200, dtype=np.bool_), ranking(of, 200), 10
    one, two = recommended(of, *given, balance=1), recommended(of, *given, balance=1, threads=3)
    for name in ("positions", "scores", "reasons", "kinds"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    ties = one.scores[:, 1:] == one.scores[:, :-1]
    assert ties.any()
    assert (one.positions[:, 1:] > one.positions[:, :-1])[ties & (one.kinds[:, 1:] == HISTORY)].all()


def test_the_ranking_leaves_out_what_nobody_cares_for() -> None:
    assert ranking(Interests(*packed([{3: 0.5, 1: 1}, {3: 0.5, 2: 1}])), ITEMS).tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"balance": 0}, "balance above 0, at most 1, found 0"),
        ({"owned": owned_by(set(), set())}, "what 1 users own, found that of 2"),
        ({"alike": graph(count=3)}, "one number of items, found 12, 12 and 3"),
        ({"popular": np.array([12], dtype=np.int32)}, "items popular from 0 to 11, found 12 to 12"),
    ],
)
def test_what_does_not_fit_together_is_refused(wrong: dict[str, object], said: str) -> None:
    given = {
        "of": Interests(*packed([{0: 1.0}])),
        "affinities": graph(),
        "alike": graph(),
        "owned": owned_by(set()),
        "available": np.ones(ITEMS, dtype=np.bool_),
        "popular": np.empty(0, dtype=np.int32),
        "k": 2,
        "balance": 1,
    }
    with pytest.raises(ValueError, match=said):
        recommended(**(given | wrong))  # type: ignore[arg-type]
