"""Strict decoding in pieces: where the pieces end never shows, and a bad byte is named with an encoding that reads it."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.plaintext import BrokenTextError, is_encoding, lines, texts


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@given(st.text(), st.integers(1, 7), st.sampled_from(["utf-8", "utf-16", "utf-16-le", "gb18030"]))
def test_pieces_do_not_show(text: str, size: int, encoding: str) -> None:
    assert "".join(texts(pieces(text.encode(encoding), size), encoding)) == text.removeprefix("\ufeff")


@given(st.text(alphabet="a\r\n\u2028\x0b"), st.integers(1, 7))
def test_only_a_line_feed_ends_a_line(text: str, size: int) -> None:
    found = list(lines((text[at : at + size] for at in range(0, len(text), size)), 100))
    assert found == [line + "\n" for line in text.split("\n")[:-1]] + ([text.rsplit("\n")[-1]] if text.rsplit("\n")[-1] else [])


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_text_before_a_bad_byte_comes_and_the_byte_is_named(size: int) -> None:
    read = texts(pieces("première\n12,Bose".encode() + b"\xae,5\n", size), "utf-8")
    before = []
    with pytest.raises(BrokenTextError, match="line 2 holds the bytes ae, which are not utf-8") as raised:
        before.extend(read)
    assert raised.value.encoding == "cp1252"
    assert "".join(before) == "première\n12,Bose"


def test_other_encodings_are_proposed() -> None:
    with pytest.raises(BrokenTextError, match="“Œuvre”") as raised:
        list(texts(iter(["Œuvre\n".encode()]), "ascii"))
    assert raised.value.encoding == "utf-8"
    with pytest.raises(BrokenTextError) as raised:
        list(texts(iter(["id,title\n".encode("utf-16")]), "utf-8"))
    assert raised.value.encoding == "utf-16"
    with pytest.raises(BrokenTextError) as raised:  # 0x81 is no character of cp1252
        list(texts(iter([b"a\x81\n"]), "utf-8"))
    assert raised.value.encoding == "latin-1"


def test_a_line_without_end_is_refused() -> None:
    with pytest.raises(BrokenTextError, match="longer than 100 characters"):
        list(lines(iter(["x" * 60] * 3), 100))


def test_encodings_of_text_only() -> None:
    assert is_encoding("cp1252")
    assert not is_encoding("cp-1252")
    assert not is_encoding("hex")
