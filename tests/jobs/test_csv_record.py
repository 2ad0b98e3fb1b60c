"""Strict splitting of delimited text: nothing is dropped, one bad record does not spoil the next."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.csv_record import UnclosedQuoteError, Unsplit, records, split

FIELD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), min_size=1)


@given(st.lists(st.lists(FIELD, min_size=2, max_size=4), min_size=1), st.sampled_from(",;|\t#"))
def test_what_a_writer_wrote_is_read(rows: list[list[str]], separator: str) -> None:
    written = io.StringIO(newline="")
    csv.writer(written, delimiter=separator).writerows(rows)
    assert list(records(io.StringIO(written.getvalue(), newline="\n"), separator, '"', 1000)) == rows


@pytest.mark.parametrize(
    ("text", "quote", "expected"),
    [
        ('1,Sony 19" TV\n', '"', [["1", 'Sony 19" TV']]),  # a quote inside a bare field is a character
        ('1,"Sony 19" TV"\n2,b\n', '"', [Unsplit('1,"Sony 19" TV"\n', "a quote inside a quoted value that is not doubled"), ["2", "b"]]),
        ('1,"a\n2,"b"\n3,c\n', '"', [Unsplit('1,"a\n2,"b"\n', "a quote inside a quoted value that is not doubled"), ["3", "c"]]),
        ("1,a\rb\n2,c\n", '"', [Unsplit("1,a\rb\n", "a carriage return outside quotes"), ["2", "c"]]),
        ('1,"a\r\nb"\r\n2,c\r\n', '"', [["1", "a\r\nb"], ["2", "c"]]),  # CRLF, and a line end inside quotes
        ('1,"a\n2,b\n', "", [["1", '"a'], ["2", "b"]]),
        ("1,'a,b'\n", "'", [["1", "a,b"]]),
        ("1,a\n\n\n2,b", '"', [["1", "a"], ["2", "b"]]),  # blank lines, and no line end at the end
        ("1,a\0b\n", '"', [["1", "a\0b"]]),
        ("1," + "x" * 200_000 + "\n", '"', [["1", "x" * 200_000]]),  # over the csv module's own limit
    ],
)
def test_records(text: str, quote: str, expected: list[object]) -> None:
    assert list(records(io.StringIO(text, newline="\n"), ",", quote, 1 << 20)) == expected


@pytest.mark.parametrize("text", ['1,a\n2,"b\n3,c\n', '1,a\n2,"' + "b\n" * 2000])
def test_a_quote_without_end_is_an_error(text: str) -> None:
    read = records(io.StringIO(text, newline="\n"), ",", '"', 1000)
    assert next(read) == ["1", "a"]
    with pytest.raises(UnclosedQuoteError, match='in the row that begins “2,"b”'):
        next(read)
    assert csv.field_size_limit() > 1000  # the limit is the process's: other readers have their own again


def test_split() -> None:
    assert split('"id"|"title"\n', "|", '"') == ["id", "title"]
    assert split('"id"|"title"\n', ",", '"') == []
