"""Every term that the loops have hashed has a name."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs import lexicon, term
from tests.jobs.test_lexicon import TEXTS

BOOK = lexicon.counted(pa.array(["one text"]))


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.text("aàBé1 -./,5茶がх", max_size=24), st.sampled_from(TEXTS)))
def test_all_terms_of_a_text_have_names(text: str) -> None:
    spelt, coded = (set(of.buckets.tolist()) for of in (BOOK.grams_of(pa.array([text])), BOOK.codes_of(pa.array([text]))))
    assert set(term.grams(text)) == spelt
    assert set(term.codes(text, coded)) == coded


def test_codes_are_named_as_they_are_compared() -> None:
    wanted = set(BOOK.codes_of(pa.array(["LX-200 1,5 l 30ml"])).buckets.tolist())
    assert set(term.codes("LX-200 1,5 l 30ml", wanted).values()) == {"lx200", "1.5", "1.5l", "30", "30ml"}


def test_a_gram_knows_the_words_that_have_it() -> None:
    found = term.grams("Kettle, kettles; 茶好")
    assert found[term.bucket("\0ket")] == {"kettle", "kettles"}
    assert found[term.bucket("tles\0")] == {"kettles"}
    assert found[term.bucket("茶好")] == {"茶好"}
