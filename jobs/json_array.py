"""Elements of one JSON array, streaming, and the text of a JSON value: numbers keep the digits they were written with.

Built on the standard library's scanner. The faster streaming parsers turn numbers and halves of surrogate pairs into something else,
and one of them ends the process on an integer of 5,000 digits. Costs about 15 ms a megabyte; holds one element and one piece of text.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

_SPACE = re.compile(r"\s*")
_TOKEN = 16  # no keyword, escape or exponent that the end of a piece can cut is longer


class BrokenJsonError(ValueError):
    """The text is not an array of JSON values; `cut` where it merely ends too early."""

    def __init__(self, message: str, cut: bool = False) -> None:
        super().__init__(message)
        self.cut = cut


class _Number(str):
    """A number as it is written."""


DECODER = json.JSONDecoder(strict=False, parse_int=_Number, parse_float=_Number, parse_constant=_Number)  # strict would refuse a raw tab


def elements(texts: Iterator[str], longest: int) -> Iterator[Any]:
    """The array's elements, none much longer than `longest` characters. Raises BrokenJsonError after the elements before the fault."""
    window = _Window(texts, longest)
    if window.symbol() != "[":
        raise BrokenJsonError("it does not begin with [")
    if window.symbol(peek=True) == "]":
        return
    while True:
        yield window.value()
        mark = window.symbol()
        if mark == "]":
            break
        if mark != ",":
            raise BrokenJsonError(f"a comma or ] is expected, found {mark!r}" if mark else "the closing ] is missing", cut=not mark)
    if rest := window.symbol():
        raise BrokenJsonError(f"{rest!r} follows the closing ]")


def text(value: object) -> str:
    """A JSON value as text: strings bare, numbers as written, objects and arrays as compact JSON."""
    return value if isinstance(value, str) else _nested(value)


def _nested(value: object) -> str:
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key, ensure_ascii=False)}:{_nested(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_nested, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


class _Window:
    """The part of a stream of text that is being looked at."""

    def __init__(self, texts: Iterator[str], longest: int) -> None:
        self._texts = texts
        self._longest = longest
        self._seen = ""
        self._at = 0

    def symbol(self, peek: bool = False) -> str:
        """The next character that is no white space; "" at the end."""
        while True:
            self._at = _SPACE.match(self._seen, self._at).end()  # type: ignore[union-attr]  # the pattern matches anywhere
            if self._at < len(self._seen):
                break
            if not self._more():
                return ""
        character = self._seen[self._at]
        self._at += not peek
        return character

    def value(self) -> Any:
        """The JSON value that comes next."""
        self.symbol(peek=True)
        while True:
            try:
                value, self._at = DECODER.raw_decode(self._seen, self._at)
            except json.JSONDecodeError as error:
                may_go_on = error.msg.startswith("Unterminated") or error.pos >= len(self._seen) - _TOKEN
                if not may_go_on or len(self._seen) - self._at > self._longest:
                    raise BrokenJsonError(error.msg) from error
                if not self._more():
                    raise BrokenJsonError(error.msg, cut=True) from error
            except RecursionError as error:
                raise BrokenJsonError("it is nested too deeply") from error
            else:
                return value

    def _more(self) -> bool:
        piece = next(self._texts, "")
        self._seen, self._at = self._seen[self._at :] + piece, 0
        return bool(piece)
