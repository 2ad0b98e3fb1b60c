"""Groups by average linkage, held against an obvious slow version."""

from collections.abc import Iterable, Mapping
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from jobs import group

OF_ITS_OWN = {letter: letter for letter in "abcdefg"}  # source of each


def groups(pairs: Iterable[tuple[str, str, float]], threshold: float, sources: Mapping[str, str] = OF_ITS_OWN) -> list[list[str]]:
    return group.groups(pairs, threshold, sources)


def test_a_chain_is_no_group() -> None:
    """b is like a and like c, and nothing is known of a and c: their mean with b is below the threshold."""
    assert groups([("a", "b", 0.9), ("b", "c", 0.8)], 0.5) == [["a", "b"]]


def test_pairs_that_agree_make_one_group() -> None:
    assert groups([("a", "b", 0.9), ("b", "c", 0.8), ("a", "c", 0.7), ("d", "e", 0.4)], 0.5) == [["a", "b", "c"]]


def test_no_pairs() -> None:
    assert groups([], 0.5) == []


def test_a_source_lists_a_product_once() -> None:
    """d is like b and like c, but of one source with a."""
    pairs = [("a", "b", 0.9), ("a", "c", 0.9), ("b", "c", 0.9), ("b", "d", 0.8), ("c", "d", 0.8)]
    assert groups(pairs, 0.5) == [["a", "b", "c", "d"]]
    assert groups(pairs, 0.5, OF_ITS_OWN | {"d": "a"}) == [["a", "b", "c"]]
    assert groups([*pairs, ("a", "d", 0.9)], 0.5, OF_ITS_OWN | {"d": "a"}) == [["a", "b", "c", "d"]]


def slow(pairs: dict[tuple[str, str], float], threshold: float, sources: Mapping[str, str]) -> list[list[str]]:
    """Joins the best two groups of all that may be joined, of equal ones the first by name, until none reaches the threshold."""
    found = [[name] for name in sorted({name for pair in pairs for name in pair})]

    def mean(one: list[str], other: list[str]) -> float:
        total = sum(pairs.get((a, b), pairs.get((b, a), 0.0)) for a in one for b in other)
        return total / (len(one) * len(other))

    def may(one: list[str], other: list[str]) -> bool:
        return all(sources[a] != sources[b] or (a, b) in pairs or (b, a) in pairs for a in one for b in other)

    while len(found) > 1:
        two = [pair for pair in combinations(range(len(found)), 2) if may(found[pair[0]], found[pair[1]])]
        best = min(two, key=lambda pair: (-mean(found[pair[0]], found[pair[1]]), pair), default=None)
        if best is None or mean(found[best[0]], found[best[1]]) < threshold:
            break
        found[best[0]] = sorted(found[best[0]] + found.pop(best[1]))
    return [group for group in found if len(group) > 1]


# quarters add up without rounding, in any order
PAIRS = st.dictionaries(st.sampled_from(list(combinations("abcdefg", 2))), st.sampled_from([0.25, 0.5, 0.75, 1.0]), max_size=15)


@given(PAIRS, st.sampled_from([0.3, 0.5, 0.6]), st.lists(st.sampled_from("123"), min_size=7, max_size=7), st.randoms())
def test_equals_the_slow_version_in_any_order(pairs: dict[tuple[str, str], float], threshold: float, of: list[str], random: object) -> None:
    sources = dict(zip("abcdefg", of, strict=True))
    shuffled = [(*pair, probability) for pair, probability in pairs.items()]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert groups(shuffled, threshold, sources) == slow(pairs, threshold, sources)
