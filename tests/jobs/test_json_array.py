"""A JSON array read in pieces gives what the whole gives, with numbers as they are written, and breaks where it is broken."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.json_array import BrokenJsonError, elements, text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


def pieces(text: str, size: int) -> Iterator[str]:
    return (text[at : at + size] for at in range(0, len(text), size))


@given(st.lists(st.dictionaries(st.text(), VALUES, max_size=4), max_size=4), st.integers(1, 99), st.sampled_from([None, 1]), st.booleans())
def test_pieces_do_not_show(array: list[dict[str, object]], size: int, indent: int | None, ascii_only: bool) -> None:
    written = json.dumps(array, indent=indent, ensure_ascii=ascii_only)
    found = [text(element) for element in elements(pieces(written, size), 100_000)]
    assert found == [json.dumps(element, ensure_ascii=False, separators=(",", ":")) for element in array]


def test_numbers_are_as_written() -> None:
    element = next(
        elements(iter(['[{"a": 4995, "b": 1.50, "c": 1e5, "d": -0, "e": [6.0, true, null, "1"], "f": ' + "9" * 6000 + "}]"]), 10_000)
    )
    assert [text(element[key]) for key in "abcde"] == ["4995", "1.50", "1e5", "-0", '[6.0,true,null,"1"]']
    assert text(element["f"]) == "9" * 6000


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize(
    ("written", "whole", "cut", "message"),
    [
        ('[{"a":1},{"a":2},{"a"', 2, True, "delimiter"),
        ('[{"a":1},{"a":"text that goes on', 1, True, "Unterminated"),
        ('[{"a":1},{"a":2}', 2, True, "closing ] is missing"),
        ('[{"a":1},', 1, True, "Expecting value"),
        ('[{"a":1},{"a" 2, "b": "a long text that makes this no end"}]', 1, False, "delimiter"),
        ('[{"a":1} {"a":2}]', 1, False, "a comma or ] is expected, found '{'"),
        ('[{"a":1}] x', 1, False, "'x' follows the closing ]"),
        ('{"a":1}', 0, False, "does not begin with"),
        ("[" + "[" * 100_000, 0, False, "nested too deeply"),
    ],
)
def test_breaks_after_the_whole_elements(written: str, whole: int, cut: bool, message: str, size: int) -> None:
    read = elements(pieces(written, size if len(written) < 1000 else 200_000), 1000)
    assert [next(read) for _ in range(whole)] == [{"a": str(number)} for number in range(1, whole + 1)]
    with pytest.raises(BrokenJsonError) as raised:
        next(read)
    assert message in str(raised.value)
    assert raised.value.cut == cut


def test_memory_is_bounded_where_a_string_is_never_closed() -> None:
    read = iter(['[{"a":"', *["x" * 100] * 1000])
    with pytest.raises(BrokenJsonError):
        next(elements(read, 1000))
    assert sum(1 for _ in read) > 900
