"""Affinities against the obvious slow version; what becomes of new items."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.affinity import LONGEST, affinities, promised
from jobs.graph import Graph, both_ways
from jobs.interest import Interests
from tests.jobs.test_taste import Row, graph, packed, rows_of

ITEMS = 12
row = st.dictionaries(st.integers(0, ITEMS - 1), st.integers(1, 8).map(lambda eighths: eighths / 8), max_size=5)
graphs = st.lists(row, min_size=ITEMS, max_size=ITEMS).map(lambda rows: both_ways(*packed(rows)))


def slow(users: list[Row], links: Graph, prior: float, beside: int) -> list[Row]:
    """What is promised is the similarity itself: so little is known."""
    care = np.zeros((len(users), ITEMS))
    for user, cares in enumerate(users):
        care[user, list(cares)] = list(cares.values())
    lengths = np.linalg.norm(care, axis=0)
    cosines = care.T @ care / np.maximum(np.outer(lengths, lengths), 1e-12)
    found = []
    for item, linked in enumerate(rows_of(links)):
        rarer = np.minimum(lengths[item], lengths) ** 2
        worth = rarer / (rarer + prior)
        others = [other for other in range(ITEMS) if other != item and other not in linked and cosines[item, other] > 0]
        best = sorted(others, key=lambda other: (-round(worth[other] * cosines[item, other], 9), other))[:beside]
        mixed = {other: worth[other] * cosines[item, other] + (1 - worth[other]) * value for other, value in linked.items()}
        found.append(mixed | {other: worth[other] * cosines[item, other] for other in best})
    return found


@given(st.lists(row, min_size=1, max_size=6), graphs)
@settings(max_examples=100, deadline=None)
def test_affinities_are_those_of_the_slow_version(users: list[Row], links: Graph) -> None:
    found = affinities(Interests(*packed(users)), links, prior=2, beside=ITEMS)
    for mine, theirs in zip(rows_of(found), slow(users, links, 2, ITEMS), strict=True):
        assert mine == pytest.approx(theirs, abs=1e-6)


def test_of_what_nobody_knows_the_similarity_is_all() -> None:
    links = graph((0, 1, 0.5), (2, 1, 0.75))
    assert rows_of(affinities(Interests(*packed([{}])), links)) == rows_of(links)


def bought(*baskets: tuple[int, ...]) -> Interests:
    return Interests(*packed([dict.fromkeys(basket, 1.0) for basket in baskets]))


def test_a_new_item_is_promised_what_well_known_items_as_similar_have() -> None:
    """Of forty pairs half are alike and always bought together, half less alike and never. 80 is new, like 0 and a little like 40."""
    pairs = [(item, item + 1, 0.75 if item < 40 else 0.25) for item in range(0, 80, 2)]
    baskets = [(item, item + 1) for item in range(0, 40, 2)] + [(item,) for item in range(40, 80)]
    found = rows_of(affinities(bought(*baskets * 1000), graph(*pairs, (80, 0, 0.75), (80, 40, 0.25), count=81)))
    assert [found[0][1], found[0][80], found[40][80]] == pytest.approx([1, 1, 0], abs=0.01)


def test_the_best_beside_the_links_are_kept_in_their_own_row_alone() -> None:
    """Everybody has 0; of its row two are kept, of every other all."""
    found = affinities(bought(*[(0, item) for item in range(1, ITEMS)], (0, 7), (0, 9)), graph(), beside=2)
    assert sorted(rows_of(found)[0]) == [7, 9]
    assert [sorted(each) for each in rows_of(found)[1:]] == [[0]] * (ITEMS - 1)


def test_threads_change_nothing() -> None:
    chance = np.random.default_rng(1)
    users = bought(*(tuple(chance.choice(5000, 20, replace=False).tolist()) for _ in range(2000)))
    links = both_ways(*packed([dict.fromkeys(chance.choice(5000, 3).tolist(), 0.5) for _ in range(5000)]))
    one, two = affinities(users, links), affinities(users, links, threads=3)
    assert np.array_equal(one.items, two.items)
    assert np.array_equal(one.values, two.values)


def test_robots_pair_nothing() -> None:
    users = Interests(*packed([dict.fromkeys(range(LONGEST + 1), 1.0), {0: 1.0, 1: 1.0}]))
    found = rows_of(affinities(users, graph(count=LONGEST + 1)))
    assert (list(found[0]), sum(map(len, found))) == ([1], 2)


def test_what_is_promised_never_falls() -> None:
    chance = np.random.default_rng(2)
    similar = np.sort(chance.random(1000, dtype=np.float32))
    known = (0.1 * similar + chance.normal(0, 0.05, 1000)).astype(np.float32)
    found = promised(similar, known, np.full(1000, 50.0), 5)
    assert (np.diff(found) >= 0).all()
    assert found[500] == pytest.approx(0.05, abs=0.02)


def test_impossible_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="prior above 0, found 0"):
        affinities(bought((0, 1)), graph(), prior=0)
    with pytest.raises(ValueError, match="items from 0 to 11, found 12 to 12"):
        affinities(bought((12,)), graph())
