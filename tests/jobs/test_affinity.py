"""Affinities against the obvious slow version; what becomes of new items."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.affinity import BINS, LONGEST, affinities, cosines, promised
from jobs.graph import Graph, both_ways
from jobs.interest import Interests
from tests.jobs.test_taste import Row, graph, packed, rows_of

ITEMS = 12
row = st.dictionaries(st.integers(0, ITEMS - 1), st.integers(1, 8).map(lambda eighths: eighths / 8), max_size=5)
graphs = st.lists(row, min_size=ITEMS, max_size=ITEMS).map(lambda rows: both_ways(*packed(rows)))
exposures = st.lists(st.sampled_from([0.25, 0.5, 1.0]), min_size=ITEMS, max_size=ITEMS)


def slow(users: list[Row], links: Graph, exposure: list[float], beside: int) -> list[Row]:
    """Where so few users are known that a promise is the similarity itself."""
    care = np.zeros((len(users), ITEMS))
    for user, cares in enumerate(users):
        care[user, list(cares)] = list(cares.values())
    together, evidence = care.T @ care, (care**2).sum(axis=0)
    room = np.sqrt(np.outer(evidence * exposure, evidence * exposure))
    popular = (evidence + 1) / (exposure + sum(exposure) / evidence.sum()) if evidence.any() else np.ones(ITEMS)
    found = []
    for item, linked in enumerate(rows_of(links)):
        values = {
            other: min(1, together[item, other] / room[item, other]) * (rarer / (rarer + 2))
            for other in range(ITEMS)
            if other != item and other not in linked and together[item, other] and (rarer := min(evidence[item], evidence[other]))
        }
        best = sorted(values, key=lambda other: (-round(values[other], 9), other))[:beside]
        mixed = {other: promise * (0.5 + together[item, other]) / (0.5 + promise * room[item, other]) for other, promise in linked.items()}
        cosines = mixed | {other: values[other] for other in best}
        found.append({other: value * np.sqrt(popular[other] / popular[item]) for other, value in cosines.items()})
    return found


@given(st.lists(row, min_size=1, max_size=6), graphs, exposures)
@settings(max_examples=100, deadline=None)
def test_affinities_are_those_of_the_slow_version(users: list[Row], links: Graph, exposure: list[float]) -> None:
    found = affinities(Interests(*packed(users)), links, np.array(exposure), prior=0.5, doubt=2, beside=ITEMS)
    if sum(sum(cares.values()) ** 2 for cares in users) < BINS:  # else likeness promises what was seen of the like
        for mine, theirs in zip(rows_of(found), slow(users, links, exposure, ITEMS), strict=True):
            assert mine == pytest.approx(theirs, abs=1e-6)


def always(count: int = ITEMS) -> np.ndarray:
    return np.ones(count)


def test_of_what_nobody_knows_the_similarity_is_all() -> None:
    links = graph((0, 1, 0.5), (2, 1, 0.75))
    assert rows_of(affinities(Interests(*packed([{}])), links, always())) == rows_of(links)


def bought(*baskets: tuple[int, ...]) -> Interests:
    return Interests(*packed([dict.fromkeys(basket, 1.0) for basket in baskets]))


def test_a_new_item_is_promised_what_well_known_items_as_similar_have() -> None:
    """Of forty pairs half are alike and always bought together, half less alike and never. 80 is new, like 0 and a little like 40."""
    pairs = [(item, item + 1, 0.75 if item < 40 else 0.25) for item in range(0, 80, 2)]
    baskets = [(item, item + 1) for item in range(0, 40, 2)] + [(item,) for item in range(40, 80)]
    exposure = np.where(np.arange(81) == 80, 0.001, 1.0)
    found = rows_of(affinities(bought(*baskets * 30), graph(*pairs, (80, 0, 0.75), (80, 40, 0.25), count=81), exposure))
    assert [found[0][1], found[0][80], found[40][80]] == pytest.approx([1, 1, 0], abs=0.05)


def test_a_new_item_is_as_popular_as_those_that_were_new_lately() -> None:
    """Of sixty pairs that are all alike ten are new and sell ten times as fast; 120, of which nothing is known, is like one of the old."""
    pairs = [(item, item + 1, 0.75) for item in range(0, 120, 2)]
    exposure = np.append(np.where(np.arange(120) < 20, 0.1, 1.0), 0.001)
    baskets = [(item, item + 1) for item in range(0, 120, 2)] * 20
    links = graph(*pairs, (120, 40, 0.75), count=121)
    found = rows_of(affinities(bought(*baskets), links, exposure))
    assert found[40][120] > 2 * rows_of(affinities(bought(*baskets), links, np.append(np.ones(120), 0.001)))[40][120]


def test_affinities_are_shares_of_those_who_care() -> None:
    """All who bought 1 bought 0, but of those who bought 0 a quarter bought 1."""
    found = rows_of(affinities(bought(*[(0, 1)] * 1000, *[(0,)] * 3000), graph(), always()))
    assert [found[0][1], found[1][0]] == pytest.approx([0.25, 1], rel=0.01)


def test_cosines_as_they_stand_tell_nothing_of_what_is_alike() -> None:
    found = rows_of(cosines(bought(*[(0, 1)] * 1000, *[(0,)] * 3000, (2,)), ITEMS))
    assert found[0] == pytest.approx({1: 0.5}, rel=0.01)
    assert found[1] == {0: found[0][1]}
    assert not found[2]


def test_an_item_that_could_not_be_bought_for_long_is_not_the_less_for_it() -> None:
    """1 and 2 both please a half of those whom 0 pleases; but 2 has been there for a quarter of the time."""
    baskets = [(0, 1, 2)] * 125 + [(0, 1)] * 375 + [(0,)] * 500
    found = rows_of(affinities(bought(*baskets), graph(), np.array([1, 1, 0.25] + [1] * (ITEMS - 3))))
    assert found[0][2] == pytest.approx(found[0][1], rel=0.05)


def test_the_best_beside_the_links_are_kept_in_their_own_row_alone() -> None:
    """Everybody has 0; of its row two are kept, of every other all."""
    found = affinities(bought(*[(0, item) for item in range(1, ITEMS)], (0, 7), (0, 9)), graph(), always(), beside=2)
    assert sorted(rows_of(found)[0]) == [7, 9]
    assert [sorted(each) for each in rows_of(found)[1:]] == [[0]] * (ITEMS - 1)


def test_threads_change_nothing() -> None:
    chance = np.random.default_rng(1)
    users = bought(*(tuple(chance.choice(5000, 20, replace=False).tolist()) for _ in range(2000)))
    links = both_ways(*packed([dict.fromkeys(chance.choice(5000, 3).tolist(), 0.5) for _ in range(5000)]))
    one, two = (affinities(users, links, always(5000), threads=threads) for threads in (1, 3))
    assert np.array_equal(one.items, two.items)
    assert np.array_equal(one.values, two.values)


def test_robots_pair_nothing() -> None:
    users = Interests(*packed([dict.fromkeys(range(LONGEST + 1), 1.0), {0: 1.0, 1: 1.0}]))
    found = rows_of(affinities(users, graph(count=LONGEST + 1), always(LONGEST + 1)))
    assert (list(found[0]), sum(map(len, found))) == ([1], 2)


def test_what_is_promised_never_falls_with_similarity_and_grows_with_popularity() -> None:
    chance = np.random.default_rng(2)
    similar, alike = np.sort(chance.random(1000, dtype=np.float32)), np.full(1000, 2.0)
    together = (20 * similar + chance.normal(0, 1, 1000)).astype(np.float32)
    found = promised(similar, together, np.full(1000, 100.0), alike)
    assert (np.diff(found) >= 0).all()
    assert found[500] == pytest.approx(0.1, rel=0.1)  # 10 of 100
    more = promised(similar, together, np.full(1000, 100.0), np.where(np.arange(1000) == 500, 4.0, alike))
    assert more[500] == pytest.approx(2 * found[500], rel=0.05)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"prior": 0}, "prior and a doubt above 0, found 0 and 5.0"),
        ({"of": bought((12,))}, "items from 0 to 11, found 12 to 12"),
        ({"exposure": always(11)}, "exposure of 12 items, all above 0, found 11 such"),
        ({"exposure": np.zeros(12)}, "exposure of 12 items, all above 0, found 0 such"),
    ],
)
def test_impossible_arguments_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        affinities(**({"of": bought((0, 1)), "links": graph(), "exposure": always()} | wrong))  # type: ignore[arg-type]
