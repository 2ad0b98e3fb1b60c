"""The fused similarity against the obvious slow version, pair by pair."""

import math
from collections import Counter
from itertools import product

import numpy as np
import pyarrow as pa
import pytest

from jobs import fusion, knn, lexicon, script
from jobs.kernel import NONE
from jobs.pool import workers
from tests.jobs.test_lexicon import codes, cosine, grams
from tests.readings import Offer, columns

WEIGHTS = np.array([0.4, 0.4, 0.2, 0, 0], dtype=np.float32)
ALL = np.array([0.3, 0.3, 0.1, 0.2, 0.1], dtype=np.float32)
LATIN = script.weights({"LATIN": 1.0, "CYRILLIC": 0.25})


def catalogue(count: int, seed: int = 0) -> tuple[np.ndarray, list[str], list[str]]:
    """Vectors, titles and all fields of made-up products: scripts mixed, some without codes, some whose fields say no more."""
    random = np.random.default_rng(seed)
    words = ["kettle", "steel", "red", "glass", "lamp", "table", "чай", "лампа", "茶好", "500ml", "a-12", "B77"]
    titles = [" ".join(random.choice(words, random.integers(1, 4))) for _ in range(count)]
    fields = [title if n % 3 == 0 else f"{title} {' '.join(random.choice(words, 5))}" for n, title in enumerate(titles)]
    vectors = random.normal(size=(count, 8)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), titles, fields


def offers(count: int, seed: int = 0) -> list[Offer]:
    """Prices in two currencies, category paths of up to three levels, some of them missing."""
    random = np.random.default_rng(seed)
    paths = ["", "Home", "Home > Kitchen", "home > kitchen > Kettles", "Home > Light", "Toys > Kitchen"]
    return [
        (float(random.choice([0, 1, 2.5, 10, 99])), str(random.choice(["EUR", "USD"])), str(random.choice(paths))) for _ in range(count)
    ]


def levels(path: str) -> set[str]:
    steps = path.lower().split(" > ") if path else []
    return {" > ".join(steps[:n]) for n in range(1, len(steps) + 1)}


def reading(fields: list[str], weights: np.ndarray = WEIGHTS) -> fusion.Reading:
    return fusion.Reading(weights, lexicon.counted(pa.array(fields)), LATIN, 8)


def known(text: str) -> float:
    letters = [{"a": 1.0, "ж": 0.25}.get("ж" if "а" <= c <= "я" else "a" if c.isascii() else c, 0.0) for c in text if c.isalpha()]
    return sum(letters) / len(letters) if letters else 1.0


def expected(
    vectors: np.ndarray, titles: list[str], fields: list[str], weights: np.ndarray = WEIGHTS, of: list[Offer] | None = None
) -> np.ndarray:
    """(n, n, 6): similarity, and its parts."""
    of = of or [(0.0, "", "")] * len(titles)
    spelt, coded = ([Counter(term for text in fields for term in of(text))] for of in (grams, codes))
    found = np.full((len(titles), len(titles), 6), np.nan)
    for i, j in product(range(len(titles)), repeat=2):
        parts = np.full(5, np.nan)
        share = weights * np.array([math.sqrt(known(titles[i]) * known(titles[j])) if weights[1] else 1, 1, 1, 1, 1])
        parts[0] = vectors[i] @ vectors[j]
        pairs = ((titles[i], titles[j]), (fields[i], fields[j]))
        parts[1] = max(cosine(grams(one), grams(other), spelt[0], len(fields)) for one, other in pairs)
        if codes(fields[i]) and codes(fields[j]):
            parts[2] = cosine(codes(fields[i]), codes(fields[j]), coded[0], len(fields))
        (price, currency, path), (other_price, other_currency, other_path) = of[i], of[j]
        if price and other_price and currency == other_currency:
            parts[3] = min(price, other_price) / max(price, other_price)
        if path and other_path:
            mine, theirs = levels(path), levels(other_path)
            parts[4] = len(mine & theirs) / math.sqrt(len(mine) * len(theirs))
        parts[share == 0] = np.nan
        there = ~np.isnan(parts)
        found[i, j] = [(share[there] * parts[there]).sum() / share[there].sum(), *parts]
    return found


@pytest.mark.parametrize(
    "weights", [WEIGHTS, np.array([0, 1, 0, 0, 0], np.float32), np.array([0.7, 0, 0.3, 0, 0], np.float32), ALL], ids=str
)
def test_similarities_and_parts_are_those_of_the_obvious_loop(weights: np.ndarray) -> None:
    vectors, titles, fields = catalogue(40)
    compared = fusion.items(vectors, columns(titles, fields, offers(40)), reading(fields, weights))
    truth = expected(vectors, titles, fields, weights, offers(40))
    np.testing.assert_allclose(fusion.compared(compared, compared, weights), truth[..., 0], atol=1e-5)
    everyone = np.tile(np.arange(40, dtype=np.int32), (40, 1))
    with workers(2) as pool:
        near = fusion.settled(compared, weights, np.arange(40), everyone, 40, pool)
    rows = np.arange(40)[:, None]
    np.testing.assert_allclose(near.similarities, truth[rows, near.positions, 0], atol=1e-5)
    np.testing.assert_allclose(near.parts, truth[rows, near.positions, 1:], atol=1e-5)
    assert (np.diff(near.similarities, axis=1) <= 0).all()


def test_the_better_of_title_and_all_fields_counts() -> None:
    """A long description drowns a title; a bare title lacks what the other one's description tells."""
    titles, fields = ["kettle x200", "kettle x200", "x200"], ["kettle x200", f"kettle x200 {'so much more ' * 9}", "x200 kettle"]
    compared = fusion.items(np.eye(3, 8, dtype=np.float32), columns(titles, fields), reading(fields))
    found = fusion.compared(compared, compared, np.array([0, 1, 0, 0, 0], np.float32))
    assert found[0, 1] == pytest.approx(1, abs=1e-6)
    assert found[0, 2] == pytest.approx(1, abs=1e-6)


def test_an_item_that_nothing_else_tells_apart_is_told_by_its_meaning() -> None:
    titles = ["🙂", "!?", "kettle"]
    vectors = np.eye(3, 8, dtype=np.float32)
    vectors[1] = [0.6, 0.8, 0, 0, 0, 0, 0, 0]
    found = fusion.compared(*[fusion.items(vectors, columns(titles, titles), reading(["kettle"]))] * 2, WEIGHTS)
    assert found[0, 1] == pytest.approx(0.6)
    silent = fusion.items(np.zeros((3, 8), np.float32), columns(titles, titles), reading(["kettle"]))
    assert fusion.compared(silent, silent, WEIGHTS)[0, 1] == -np.inf


def test_by_price_and_category_alone_nothing_is_near() -> None:
    titles, of = ["a kettle", "🙂", "a kettle"], [(5.0, "EUR", "Home"), (5.0, "EUR", "Home"), (2.0, "EUR", "Home")]
    compared = fusion.items(np.zeros((3, 8), np.float32), columns(titles, titles, of), reading(titles, ALL))
    found = fusion.compared(compared, compared, ALL)
    assert found[0].tolist() == [1, -np.inf, pytest.approx((0.3 + 0.2 * 0.4 + 0.1) / 0.6)]
    with workers(1) as pool:
        near = fusion.settled(compared, ALL, np.arange(3), np.array([[1, 2]] * 3, np.int32), 2, pool)
    assert near.positions[0].tolist() == [2, NONE]
    assert near.parts[0, 0].tolist() == pytest.approx([np.nan, 1, np.nan, 0.4, 1], nan_ok=True)


def test_signatures_propose_the_true_neighbours() -> None:
    """Among so many candidates are nearly all of the ten most similar, though signatures are sketches."""
    random = np.random.default_rng(2)
    words = ["".join(random.choice(list("abcdefghij"), 5)) for _ in range(900)] + [f"{n}ml" for n in range(100)]
    titles = [" ".join(words[w] for w in random.integers(0, 1000, 5)) for _ in range(300) for _ in range(5)]
    fields = [f"{title} {words[random.integers(0, 1000)]}" for title in titles]
    vectors = (np.repeat(random.normal(size=(300, 8)), 5, axis=0) + random.normal(size=(1500, 8))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    how = reading(fields)
    compared = fusion.items(vectors, columns(titles, fields), how)
    signatures = fusion.signatures(compared, how.weights)
    np.testing.assert_allclose(np.linalg.norm(signatures, axis=1), 1, atol=1e-5)
    rows = np.arange(0, 1500, 15)
    with workers(2) as pool:
        candidates = knn.candidates(signatures, 48).positions
        near = fusion.settled(compared, how.weights, np.arange(1500), candidates, 10, pool)
        _, best = fusion.nearest_of(compared, how.weights, rows, 10, None, pool)
    assert (near.similarities[rows] >= best[:, -1:] - 1e-6).mean() > 0.95
    assert fusion.signatures(compared, np.array([1, 0, 0, 0, 0], np.float32)) is compared.vectors


def test_others_are_all_but_an_item_itself_or_its_label() -> None:
    assert [sorted(row) for row in fusion.others(3, None).tolist()] == [[1, 2], [0, 2], [0, 1]]
    assert fusion.others(4, np.array([7, 5, 7, 7], np.int32)).tolist() == [[1, NONE, NONE], [3, 2, 0], [1, NONE, NONE], [1, NONE, NONE]]
    assert fusion.others(1, None).shape == (1, 0)


@pytest.mark.parametrize("labelled", [False, True])
def test_a_sweep_adds_what_neighbours_of_neighbours_are(labelled: bool) -> None:
    """Lists of the obvious loop: the best of an item's own and of the first REACH of the first REACH."""
    vectors, titles, fields = catalogue(60, seed=5)
    how, random = reading(fields, ALL), np.random.default_rng(6)
    of = fusion.items(vectors, columns(titles, fields, offers(60, seed=5)), how)
    labels = (np.arange(60) % 3).astype(np.int32) if labelled else None
    allowed = [[j for j in range(60) if j != i and (labels is None or labels[i] != labels[j])] for i in range(60)]
    candidates = np.full((60, 10), NONE, np.int32)
    for i in range(60):
        some = random.choice(allowed[i], random.integers(0, 11), replace=False)  # of some items nothing is known
        candidates[i, : len(some)] = some
    with workers(1) as pool:
        near = fusion.settled(of, ALL, np.arange(60), candidates, 10, pool)
        found = fusion.swept(of, ALL, np.arange(60), near, labels, pool)
    similarity = fusion.compared(of, of, ALL)
    lists = [[int(j) for j in row if j != NONE] for row in near.positions]
    for i in range(60):
        met = set(lists[i]) | {far for between in lists[i][: fusion.REACH] for far in lists[between][: fusion.REACH]} & set(allowed[i])
        listed = [int(j) for j in found.positions[i] if j != NONE]
        assert set(listed) <= met
        assert len(set(listed)) == len(listed) == min(10, len(met))
        best = sorted(similarity[i, list(met)], reverse=True)
        assert found.similarities[i, : len(listed)] == pytest.approx(best[: len(listed)], abs=1e-5)


def test_the_nearest_of_another_label() -> None:
    vectors, titles, fields = catalogue(60, seed=3)
    compared = fusion.items(vectors, columns(titles, fields), reading(fields))
    labels, rows = (np.arange(60) % 20 > 0).astype(np.int32), np.array([0, 5, 41])
    truth = expected(vectors, titles, fields)[..., 0]
    with workers(2) as pool:
        positions, similarities = fusion.nearest_of(compared, WEIGHTS, rows, 4, labels, pool)
    for row, near, values in zip(rows, positions, similarities, strict=True):
        others = [n for n in range(60) if labels[n] != labels[row]]
        assert values[: len(others)] == pytest.approx(sorted(truth[row, others], reverse=True)[:4], abs=1e-5)
        assert set(near[near != NONE]) <= set(others)
        assert (near == NONE).sum() == max(0, 4 - len(others))


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("threads", [1, 3])
def test_what_queries_meet_is_what_sorting_all_pairs_gives(monkeypatch: pytest.MonkeyPatch, labelled: bool, threads: int) -> None:
    """In blocks, from both sides: the nearest of each query, and of each item the changed queries above its floor. Items of one text make
    ties; these are in the order of their positions."""
    monkeypatch.setattr(fusion, "AT_ONCE", (4, 16))
    vectors, titles, fields = catalogue(30, seed=8)
    twice = np.arange(90) % 30
    how, random, width = reading(fields, ALL), np.random.default_rng(9), 7
    of = fusion.items(vectors, columns(titles, fields, offers(30, seed=8)), how)[twice]
    labels = (np.arange(90) % 4).astype(np.int32) if labelled else None
    queries, changed = np.sort(random.choice(90, 40, replace=False)), random.random(90) < 0.5
    weights = ALL * np.array([0, 1, 1, 1, 1], np.float32)  # matrix products of another shape are rounded otherwise
    similarity = fusion.compared(of, of, weights)
    floors = random.choice([-2.0, np.inf, *similarity[0][np.isfinite(similarity[0])]], 90).astype(np.float32)
    with workers(threads) as pool:
        positions, similarities, others = fusion.met(of, weights, queries, changed, floors, width, labels, pool)

    def nearest(item: int, among: list[int]) -> list[int]:
        allowed = [n for n in among if n != item and similarity[item, n] > -np.inf and (labels is None or labels[n] != labels[item])]
        return sorted(allowed, key=lambda n: (-similarity[item, n], n))[:width]

    for row, query in enumerate(queries.tolist()):
        best = nearest(query, list(range(90)))
        assert positions[row].tolist() == best + [NONE] * (width - len(best))
        assert np.array_equal(similarities[row, : len(best)], similarity[query, best])
    for item in range(90):
        best = nearest(item, [n for n in queries.tolist() if changed[n] and similarity[n, item] >= floors[item]])
        assert others[item].tolist() == best + [NONE] * (width - len(best))
