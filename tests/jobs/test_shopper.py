"""Shelves, tastes and visits: functions of their keys alone, and of the products that were there."""

from collections import Counter
from random import Random

import pytest

from jobs.dialect import SHOP
from jobs.offer import product_at
from jobs.shelf import DEARER, REPLACEABLE, Shelves, kind_of, stocked
from jobs.shopper import NEW, Day, taste, visit, visits

ITEMS = 1500


@pytest.fixture(scope="module")
def shelves() -> Shelves:
    return stocked(3, ITEMS)


def test_shelves_hold_every_product_once_at_each_level(shelves: Shelves) -> None:
    for length in range(3):
        ordinals = sorted(ordinal for key, shelf in shelves.of.items() if len(key) == length for ordinal in shelf.ordinals)
        assert ordinals == list(range(ITEMS))
    for (kind, brand), shelf in ((key, shelf) for key, shelf in shelves.of.items() if len(key) == 2):
        for ordinal in shelf.ordinals:
            family = product_at(SHOP, 3, ordinal).family
            assert family.kind is kind_of(kind)
            assert family.brand == family.kind.department.brands[brand]


def test_what_is_listed_later_changes_nothing_before(shelves: Shelves) -> None:
    fewer = stocked(3, 1000)
    assert [taste(3, user, shelves, 1000) for user in range(50)] == [taste(3, user, fewer, 1000) for user in range(50)]
    for key in fewer.of:
        assert [fewer.of[key].drawn(Random(n), 1000) for n in range(5)] == [shelves.of[key].drawn(Random(n), 1000) for n in range(5)]


def test_few_products_are_popular(shelves: Shelves) -> None:
    chance = Random(0)
    drawn = Counter(shelves.of[()].drawn(chance, ITEMS) for _ in range(20_000))
    best = [count for _, count in drawn.most_common(ITEMS // 10)]
    assert 0.3 < sum(best) / 20_000 < 0.8
    assert next(ordinal for ordinal, _ in drawn.most_common(1)) in shelves.of[()].best(3, ITEMS)


def test_a_draw_is_of_the_stretch_that_is_asked_for(shelves: Shelves) -> None:
    chance = Random(0)
    assert {shelves.of[()].drawn(chance, 12, 10) for _ in range(100)} == {10, 11}
    assert shelves.of[()].drawn(chance, 10, 10) is None


def test_substitutes_are_siblings_of_one_fit_at_a_like_price(shelves: Shelves) -> None:
    products = [product_at(SHOP, 3, ordinal) for ordinal in range(ITEMS)]
    count = 0
    for ordinal, product in enumerate(products):
        for other in shelves.substitutes(ordinal):
            count += 1
            assert other != ordinal
            assert ordinal in shelves.substitutes(other)
            assert other in shelves.siblings(ordinal, ITEMS)
            assert products[other].cents <= DEARER * product.cents
            differing = [
                axis
                for axis, mine, theirs in zip(product.family.kind.axes, product.options(0), products[other].options(0), strict=True)
                if mine != theirs
            ]
            assert set(differing) <= REPLACEABLE
    assert count > ITEMS / 2


def test_a_taste_is_of_a_few_kinds_of_two_departments(shelves: Shelves) -> None:
    for user in range(100):
        likings = taste(3, user, shelves, ITEMS).likings
        assert 1 <= len({kind_of(liking.kind).department.prefix for liking in likings}) <= 2
        assert len({liking.kind for liking in likings}) == len(likings)
        for liking in likings:
            assert all(shelves.kinds[ordinal] == liking.kind for ordinal in liking.families)


def test_shoppers_come_as_often_as_is_asked_and_some_very_often() -> None:
    counts = [visits(0, user, night, 0.8) for user in range(3000) for night in range(3)]
    assert sum(counts) / len(counts) == pytest.approx(0.8, rel=0.1)
    assert max(counts) > 5


def day(listed: int = ITEMS, before: int = ITEMS, gone: frozenset[int] = frozenset(), **bundles: int) -> Day:
    return Day(listed, before, gone, {int(one[1:]): other for one, other in bundles.items()})


def test_a_visit_goes_from_looking_to_buying(shelves: Shelves) -> None:
    for number in range(300):
        events = visit(f"{number}", taste(3, number, shelves, ITEMS), shelves, day())
        assert events == visit(f"{number}", taste(3, number, shelves, ITEMS), shelves, day())
        seen = {action: [event.ordinal for event in events if event.action == action] for action in ("view", "cart", "purchase")}
        assert set(seen["purchase"]) <= set(seen["cart"]) <= set(seen["view"])
        assert len(set(seen["cart"])) == len(seen["cart"])
        assert [event.second for event in events] == sorted(event.second for event in events)
        assert all((event.quantity > 0) == (event.action != "view") and event.second < 86_400 for event in events)


def test_most_looks_are_at_what_is_liked_and_new_things_are_found(shelves: Shelves) -> None:
    liked = fresh = total = 0
    for user in range(500):
        by = taste(3, user, shelves, 1200)
        for event in visit(f"{user}", by, shelves, day(before=1200)):
            total += 1
            liked += shelves.kinds[event.ordinal] in {liking.kind for liking in by.likings}
            fresh += event.ordinal >= 1200
    assert liked / total > 0.8
    assert fresh / total > NEW / 2


def test_what_is_gone_is_not_looked_at(shelves: Shelves) -> None:
    gone = frozenset(range(0, ITEMS, 2))
    assert not gone & {event.ordinal for n in range(300) for event in visit(f"{n}", taste(3, n, shelves, ITEMS), shelves, day(gone=gone))}


def test_the_second_of_a_bundle_is_often_bought_with_the_first(shelves: Shelves) -> None:
    bundles = {f"o{ordinal}": 7 for ordinal in range(ITEMS) if ordinal != 7}
    bought = [
        {event.ordinal for event in visit(f"{n}", taste(3, n, shelves, ITEMS), shelves, day(**bundles)) if event.action == "purchase"}
        for n in range(1000)
    ]
    orders = [order for order in bought if order]
    assert 0.3 < sum(7 in order for order in orders) / len(orders) < 0.7


def test_of_what_is_out_of_stock_a_substitute_is_bought(shelves: Shelves) -> None:
    out = {ordinal for ordinal in range(ITEMS) if ordinal % 3 == 0}
    now = Day(ITEMS, ITEMS, frozenset(), {}, out.__contains__)
    instead = 0
    for user in range(300):
        events = visit(f"{user}", taste(3, user, shelves, ITEMS), shelves, now)
        viewed = {event.ordinal for event in events if event.action == "view"}
        put = {event.ordinal for event in events if event.action == "cart"}
        assert not put & out
        instead += sum(any(other in put for other in shelves.substitutes(ordinal)) for ordinal in viewed & out)
    assert instead > 20
