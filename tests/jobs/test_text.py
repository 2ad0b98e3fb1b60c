"""Cleaning: what each kind of dirt becomes, and what holds for any text at all."""

import time
import unicodedata

import pytest
from ftfy.badness import is_bad
from hypothesis import example, given
from hypothesis import strategies as st

from jobs import text

# pieces that real feeds are dirty with, put together at random
PIECES = st.sampled_from(
    ["&", "amp;", "#38;", "lt;", "<b>", "</p>", "<br", ">", "é", "Ã©", "â€™", "œ", "\x80", "\x9c", "™", "½", "1", "´", "ำ", "\u200b", " "]
)


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("Garden  chair\t teak ", "Garden chair teak"),
        ("<p>Teak</p><p>oiled</p>", "Teak oiled"),  # block tags part words
        ("<b>Tea</b>k<br/>oiled", "Teak oiled"),  # inline tags don't
        ("<script>alert(1)</script>Chair<!-- new -->", "Chair"),
        ("Cable <5 m> and a < b > c", "Cable <5 m> and a < b > c"),  # no HTML names
        ("Salt &amp; pepper &quot;fine&quot;", 'Salt & pepper "fine"'),
        ("Salt &amp;amp; pepper", "Salt & pepper"),
        ("&lt;b&gt;Chair&lt;/b&gt;", "Chair"),
        ("Caf&#233; &#x43;r&eacute;me", "Café Créme"),
        ("?a=1&copy=2 R&D rock&parade", "?a=1&copy=2 R&D rock&parade"),  # entities end with a semicolon
        ("FranÃ§ois â€“ cafÃ© crÃ¨me", "François – café crème"),
        ("b\x9cuf", "bœuf"),  # cp1252 read as latin-1
        ("Cha\x00i\x07r\x7f", "Chair"),
        ("Cha\u200bir\ufeff\xad", "Chair"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # Persian spells with the joiner
        ("ＵＳＢ　ｃａｂｌｅ １０ｍ", "USB cable 10m"),
        ("Intel® Core™2 Duo", "Intel Core 2 Duo"),
        ("10½ inch, ½ l", "10 1/2 inch, 1/2 l"),
        ("Rhum 37.5º d´or", "Rhum 37.5° d'or"),
        ("น้ำมะพร้าว", "น้ำมะพร้าว"),
        ("茶", "茶"),
    ],
)
def test_clean(dirty: str, clean: str) -> None:
    assert text.clean(dirty) == clean


@pytest.mark.parametrize("nothing", [None, "", "  \t", "\x00", "\u200b", "<br/>", "&nbsp;"])
def test_nothing_left_is_none(nothing: str | None) -> None:
    assert text.clean(nothing) is None


def test_a_product_whose_name_looks_like_nothing_keeps_it() -> None:
    assert text.given("Nan") == "Nan"


@pytest.mark.parametrize("missing", ["N/A", "null", "None", "nan", "-", "&nbsp;n/a "])
def test_words_for_missing_are_none(missing: str) -> None:
    assert text.given(missing) is None


@given(st.text() | st.lists(PIECES).map("".join))
@example("&am&#112;lt;b>")
@example("Ã\u200b©")
def test_clean_is_idempotent_bounded_and_visible(dirty: str) -> None:
    clean = text.clean(dirty)
    assert text.clean(clean) == clean
    if clean is not None:
        assert len(clean) <= 20 * len(dirty)  # the widest letter that NFKC writes out has 18
        assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in clean)
        assert clean == clean.strip()
        assert "  " not in clean


@given(st.text() | st.lists(PIECES).map("".join))
def test_whatever_ftfy_finds_is_suspected(dirty: str) -> None:
    assert text._SUSPECT.search(dirty) or not is_bad(dirty)


@pytest.mark.parametrize("piece", ["<", "<!--", "<script>", "<a ", "&amp;", "&#3", "Ã©", "ÃƒÂ©", "é", "\x9c\x80é", "a "])
def test_long_text_costs_its_length(piece: str) -> None:
    started = time.process_time()
    text.clean(piece * (100_000 // len(piece)))
    assert time.process_time() - started < 2  # measured 0.002 to 0.16 s; anything quadratic takes minutes


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        (["Sony Turntable - PSLX350H", "Sony Turntable - PSLX350H/ Belt Drive"], "Sony Turntable - PSLX350H/ Belt Drive"),
        (["Chair", "chair"], "Chair"),
        (["Chair", None, "Teak, oiled"], "Chair\nTeak, oiled"),
        (["Bose", "Bose speaker", "Black"], "Bose speaker\nBlack"),
        ([None, None], ""),
        (["a" * 30, "b"], "a" * 20),
    ],
)
def test_joined_says_nothing_twice(parts: list[str | None], whole: str) -> None:
    assert text.joined(parts, limit=20 if len(parts[0] or "") == 30 else 100) == whole
