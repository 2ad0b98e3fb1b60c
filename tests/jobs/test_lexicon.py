"""Terms and their weights against the obvious slow version, which hashes nothing."""

import math
import re
import unicodedata
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs import lexicon

TEXTS = [
    "Crème Brûlée 500g",
    "creme brulee 500 g",
    "",
    "한국어 쌀",
    "茶が好き 500ml",
    "Sony PSLX-350H/B black",
    "SONY pslx350hb",
    "🙂 !?",
    "и Й",
]


def letters(text: str) -> str:
    """As the loops see it: lower case, without accents."""
    return re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFD", text.lower()))


def grams(text: str) -> Counter[str]:
    found = Counter[str]()
    for word in re.findall("(?:[^\\W_]|\u3099)+", letters(text)):  # the voicing mark is no letter to re
        for run in re.findall("[\u3040-\u30ff\u3400-\u9fff]+|[^\u3040-\u30ff\u3400-\u9fff]+", word):
            if re.match("[\u3040-\u30ff\u3400-\u9fff]", run):
                found.update([*run, *(run[i : i + 2] for i in range(len(run) - 1))])
            else:
                bounded = f"\0{run}\0"
                found.update(bounded[i : i + size] for size in (3, 4, 5) for i in range(len(bounded) - size + 1))
    return found


def codes(text: str) -> Counter[str]:
    found, before, end = Counter[str](), "", 0
    decimal = re.sub(r"(?<=\d),(?=\d)", ".", letters(text))
    for match in re.finditer(r"[^\W_\u3040-\u30ff\u3400-\u9fff]+(?:[-./][^\W_\u3040-\u30ff\u3400-\u9fff]+)*", decimal):
        word = re.sub(r"-|(?<!\d)[./]|[./](?!\d)", "", match[0])
        if re.search(r"\d", word):
            found[word] += 1
            found.update(re.findall(r"^([\d./]+)[^\d./]+$", word))
        elif before and len(word) <= 3 and match.start() == end + 1 and not re.match("[\u3040-\u9fff]", decimal[end]):
            found[before + word] += 1
        before, end = word if re.fullmatch(r"[\d./]+", word) else "", match.end()
    return found


def cosine(one: Counter[str], other: Counter[str], frequencies: Counter[str], texts: int) -> float:
    def weight(count: int, term: str) -> float:
        return (1 + math.log(count)) * (1 + math.log((1 + texts) / (1 + frequencies[term])))

    mine, theirs = ({term: weight(count, term) for term, count in counts.items()} for counts in (one, other))
    lengths = [math.sqrt(sum(value * value for value in weights.values())) for weights in (mine, theirs)]
    return sum(mine[term] * theirs[term] for term in mine.keys() & theirs.keys()) / math.prod(lengths) if all(lengths) else 0.0


def expected(texts: list[str], terms: "type[grams] | type[codes]") -> np.ndarray:  # type: ignore[valid-type]
    counts = [terms(text) for text in texts]
    frequencies = Counter(term for found in counts for term in found)
    return np.array([[cosine(one, other, frequencies, len(texts)) for other in counts] for one in counts])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text("aàBé1 -./,5茶がхй", max_size=20), min_size=1, max_size=6))
def test_cosines_are_those_of_unhashed_terms(texts: list[str]) -> None:
    whole = lexicon.counted(pa.array(texts))
    spelt, coded = whole.grams_of(pa.array(texts)), whole.codes_of(pa.array(texts))
    np.testing.assert_allclose(spelt.products(spelt.inverted()), expected(texts, grams), atol=1e-5)
    np.testing.assert_allclose(coded.products(coded.inverted()), expected(texts, codes), atol=1e-5)


def test_case_accents_and_joiners_do_not_count() -> None:
    whole = lexicon.counted(pa.array(TEXTS))
    spelt, coded = whole.grams_of(pa.array(TEXTS)), whole.codes_of(pa.array(TEXTS))
    assert spelt.products(spelt.inverted())[0, 1] > 0.8
    assert coded.products(coded.inverted())[5, 6] == pytest.approx(1)
    assert coded.present.tolist() == [True, True, False, False, True, True, True, False, False]
    assert spelt.present.tolist() == [True, True, False, True, True, True, True, False, True]


def test_sizes_are_told_apart_by_their_points() -> None:
    texts = pa.array(["cable 3,5mm", "jack 3.5 mm", "film 35mm", "film 35-mm", "12/24 V", "1224 V", "12/24V", "red,5x", "red 5 x"])
    coded = lexicon.counted(texts).codes_of(texts)
    same = coded.products(coded.inverted())
    assert [(i, j) for i in range(9) for j in range(i) if same[i, j] > 0] == [(1, 0), (3, 2), (6, 4), (8, 7)]
    assert same[[1, 3, 6, 8], [0, 2, 4, 7]] == pytest.approx(1)


def test_a_short_word_that_is_no_unit_takes_little_away() -> None:
    texts = pa.array(["iPhone 5 in black", "iPhone 5"])
    coded = lexicon.counted(texts).codes_of(texts)
    assert coded.products(coded.inverted())[0, 1] > 0.5


def test_vowel_points_and_selectors_of_variants_do_not_count() -> None:
    """Arabic with and without its vowels, Hebrew too; emoji have no terms, whatever follows them, but for the digit of a keycap."""
    texts = pa.array(["حِذَاءٌ أَحْمَر", "حذاء أحمر", "שָׁלוֹם", "שלום", "☕️✈️", "❤️‍🔥", "茶󠄀", "茶", "5️⃣ cups", "5 cups"])
    whole = lexicon.counted(texts)
    spelt, coded = whole.grams_of(texts), whole.codes_of(texts)
    same = spelt.products(spelt.inverted())
    assert same[[0, 2, 6, 8], [1, 3, 7, 9]] == pytest.approx(1)
    assert spelt.present.tolist() == [True, True, True, True, False, False, True, True, True, True]
    assert coded.present.tolist() == [False] * 8 + [True, True]


def test_capitals_that_become_other_letters() -> None:
    texts = pa.array(["ΚΑΦΕΣ", "καφες", "STRASSE", "straße"])
    spelt = lexicon.counted(texts).grams_of(texts)
    assert spelt.products(spelt.inverted())[[0, 2], [1, 3]] == pytest.approx(1)


def test_korean_is_read_by_its_letters() -> None:
    texts = pa.array(["한국어", "한국의", "가방"])
    spelt = lexicon.counted(texts).grams_of(texts)
    assert spelt.products(spelt.inverted())[0, 1] > 0.4 > spelt.products(spelt.inverted())[0, 2]


def test_texts_cut_anywhere_have_the_same_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long texts among short ones, and nulls, read a few bytes at a time."""
    texts = pa.array(["kettle 1.7 l", None, "x" * 1000, "", "steel kettle", "a 5" * 300])
    whole = lexicon.counted(texts)
    expected = whole.grams_of(texts)
    monkeypatch.setattr(lexicon, "BYTES_AT_ONCE", 30)
    np.testing.assert_array_equal(lexicon.counted(texts).grams, whole.grams)
    np.testing.assert_array_equal(whole.grams_of(texts.slice(2)).weights, expected[np.arange(2, 6)].weights)
    for one, other in zip(whole.grams_of(texts).arrays, expected.arrays, strict=True):
        np.testing.assert_array_equal(one, other)


def test_no_text_at_all() -> None:
    nothing = lexicon.counted(pa.array([], pa.string()))
    assert (nothing.texts, nothing.grams.sum(), len(nothing.grams_of(pa.array([], pa.string())))) == (0, 0, 0)


def test_sketches_have_nearly_the_cosines_of_their_terms() -> None:
    """The mean error of 512 components is 1 / √512; another salt shares nothing."""
    random = np.random.default_rng(1)
    words = ["".join(random.choice(list("abcdefghij"), 6)) for _ in range(60)]
    texts = pa.array([" ".join(random.choice(words, 8)) for _ in range(200)])
    spelt = lexicon.counted(texts).grams_of(texts)
    sketch, other = spelt.sketched(512, np.uint64(1)), spelt.sketched(512, np.uint64(2))
    assert np.abs(sketch @ sketch.T - spelt.products(spelt.inverted())).mean() < 0.04
    assert np.abs(sketch @ other.T).mean() < 0.04
