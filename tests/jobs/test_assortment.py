"""Products, their lives and their offers as pure functions."""

import unicodedata
from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from jobs import chance, history, offer
from jobs.assortment import BLOCK, MARKET_SLOTS, SHARED_SLOTS, SHOP_SLOTS, block, check_digit, ending
from jobs.dialect import MARKET, SHOP
from jobs.dirt import KINDS, soiled
from jobs.history import Life
from jobs.vocabulary import LANGUAGES, vocabulary

NEW = Life(edits=0, moves=0, event=None)
SEEDS = st.integers(0, 10**9)
ORDINALS = st.integers(0, 10**7)


def test_the_vocabulary_is_plain_text_that_both_sources_can_write() -> None:
    words = vocabulary()
    texts = [kind.name for kind in words.kinds] + [spec for kind in words.kinds for spec in kind.specs] + [*words.openings, *words.notices]
    texts += [option.text for kind in words.kinds for axis in kind.options for option in axis]
    texts += [feature for kind in words.kinds for pair in kind.department.feature_pairs for feature in pair]
    for text in texts:
        assert len(text) == len(LANGUAGES)
        for language, said in zip(LANGUAGES, text, strict=True):
            assert said == " ".join(unicodedata.normalize("NFKC", said).split()) != ""
            if language not in ("ja", "ar"):
                said.encode("cp1252")


def test_the_tree_is_broad_and_three_levels_deep() -> None:
    leaves = {kind.category for kind in vocabulary().kinds}
    assert len(leaves) > 60
    assert {len(leaf) for leaf in leaves} == {3}
    assert len({leaf[0] for leaf in leaves}) == 10


def test_check_digit_of_a_known_gtin() -> None:
    assert check_digit("400638133393") == "1"


@given(seed=SEEDS, index=ORDINALS)
def test_a_block_holds_families_of_siblings(seed: int, index: int) -> None:
    products = block(seed, index).products
    assert [product.number for product in products] == list(range(index * BLOCK, (index + 1) * BLOCK))
    families = Counter(product.family for product in products)
    assert max(families.values()) <= 10
    for family in families:
        siblings = [product for product in products if product.family is family]
        assert len({product.title(family.language) for product in siblings}) == len(siblings)
        worth = sorted(
            siblings, key=lambda product: product.family.variants[product.rank][0].worth * family.variants[product.rank][1].worth
        )
        assert [product.cents for product in worth] == sorted(product.cents for product in worth)


@given(seed=SEEDS, index=ORDINALS)
def test_the_sources_share_what_they_say_they_share(seed: int, index: int) -> None:
    of = block(seed, index)
    assert len(of.shop) == SHOP_SLOTS
    assert len(of.market) == MARKET_SLOTS
    assert len({*of.shop} & {*of.market}) == SHARED_SLOTS
    for slot in range(MARKET_SLOTS):
        match = offer.shop_ordinal(seed, index * MARKET_SLOTS + slot)
        ours = offer.product_at(MARKET, seed, index * MARKET_SLOTS + slot)
        assert match is None or offer.product_at(SHOP, seed, match) is ours


@given(seed=SEEDS, ordinals=st.sets(ORDINALS, min_size=2, max_size=20))
def test_ids_and_gtins_are_unique(seed: int, ordinals: set[int]) -> None:
    for dialect in (SHOP, MARKET):
        assert len({offer.own_id(dialect, seed, ordinal) for ordinal in ordinals}) == len(ordinals)
    coded = [product.gtin for product in (offer.product_at(SHOP, seed, ordinal) for ordinal in ordinals) if product.gtin]
    assert len(set(coded)) == len(coded)


@given(seed=SEEDS, ordinal=ORDINALS, edits=st.integers(0, 9), moves=st.integers(0, 9))
def test_an_edit_and_a_move_always_show(seed: int, ordinal: int, edits: int, moves: int) -> None:
    for dialect in (SHOP, MARKET):
        now = offer.record(dialect, seed, ordinal, Life(edits, moves, None))
        edited = offer.record(dialect, seed, ordinal, Life(edits + 1, moves, None))
        moved = offer.record(dialect, seed, ordinal, Life(edits, moves + 1, None))
        assert {field for field in now if now[field] != edited[field]} in ({"title", "description"}, {"description"})
        assert {field for field in now if now[field] != moved[field]} == {"price"}
        assert 0 < float(dialect.plain(moved["price"])) < 1_000_000
        "".join(now.values()).encode(dialect.encoding)


@given(seed=SEEDS, ordinal=ORDINALS, rank=st.integers(0, 10**6))
def test_dirt_always_breaks_something_that_the_source_can_write(seed: int, ordinal: int, rank: int) -> None:
    for dialect in (SHOP, MARKET):
        sound = offer.record(dialect, seed, ordinal, NEW)
        before = dict(sound)
        dirty = soiled(sound, dialect, seed, rank)
        assert dirty == soiled(sound, dialect, seed, rank)
        assert sound == before
        assert dirty.rows != [sound]
        for row in dirty.rows:
            "".join(row.values()).encode(dialect.encoding)


def test_a_round_of_dirt_has_every_kind_once() -> None:
    whole = next(sound for sound in (offer.record(SHOP, 0, ordinal, NEW) for ordinal in range(100)) if "–" in sound["title"])
    assert Counter(soiled(whole, SHOP, 0, rank).kind.name for rank in range(3 * len(KINDS))) == {kind.name: 3 for kind in KINDS}


@given(share=st.integers(1, chance.MILLION), start=ORDINALS)
def test_spread_chooses_its_share_of_any_stretch(share: int, start: int) -> None:
    stretch = range(start, start + 500)
    chosen = [rank for rank in (chance.spread("key", share, ordinal) for ordinal in stretch) if rank is not None]
    assert chosen == list(range(chosen[0], chosen[0] + len(chosen))) if chosen else share * 500 < 2 * chance.MILLION
    assert abs(len(chosen) - share * 500 / chance.MILLION) <= 2


@given(items=st.integers(100, 10**4), change=st.integers(1, chance.MILLION), night=st.integers(0, 30))
def test_every_life_begins_in_the_night_that_lists_it(items: int, change: int, night: int) -> None:
    before, now = history.listed(items, change, night - 1) if night else items, history.listed(items, change, night)
    for ordinal in range(before, now)[:5]:
        life = history.life("key", items, change, ordinal, night)
        assert life == Life(0, 0, "added")


@given(change=st.integers(1, chance.MILLION), ordinal=st.integers(0, 99))
def test_a_life_goes_on_from_the_night_before_and_ends_once(change: int, ordinal: int) -> None:
    lives = [history.life("key", 100, change, ordinal, night) for night in range(20)]
    assert lives[0] == NEW
    for before, now in pairwise(lives):
        if before is None or before.event == "deleted":
            assert now is None
        else:
            assert now is not None
            steps = {"changed": (1, 0), "price": (0, 1), "deleted": (0, 0), None: (0, 0)}
            assert (now.edits - before.edits, now.moves - before.moves) == steps[now.event]


@given(euros=st.floats(0.01, 10**5), other=st.floats(0.01, 10**5), choice=st.integers(0, 100))
def test_endings_keep_the_order_of_prices(euros: float, other: float, choice: int) -> None:
    low, high = sorted((euros, other))
    assert 0 < ending(low, choice) <= ending(high, choice)
