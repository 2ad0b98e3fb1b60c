"""Text of bytes in one encoding, strictly: an undecodable byte is an error that says which encoding would read it, never a �.

Costs about 2 ms a megabyte; holds one piece of text and one line. Which file the bytes are of does not belong here.
"""

import codecs
import io
from collections.abc import Iterator

LIKELY = ("utf-8", "cp1252", "latin-1")  # tried in this order on what does not decode; latin-1 reads any bytes


class BrokenTextError(ValueError):
    """The bytes are no text in the encoding. `encoding` is one that would read them, where one is known."""

    def __init__(self, message: str, encoding: str | None = None) -> None:
        super().__init__(message)
        self.encoding = encoding


def is_encoding(name: str) -> bool:
    try:
        "".encode(name)
    except LookupError:
        return False
    return True


def texts(chunks: Iterator[bytes], encoding: str) -> Iterator[str]:
    """The text in pieces, none of them empty, without a byte order mark. Raises BrokenTextError after the text before the fault."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line, first = 1, True
    for chunk in _with_end(chunks):
        state = decoder.getstate()
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            decoder.setstate(state)
            text = decoder.decode(chunk[: max(0, error.start - len(state[0]))])
            yield from [text] if text else []
            raise _undecodable(error, encoding, line + text.count("\n")) from error
        if not text:
            continue
        line += text.count("\n")
        yield text.removeprefix("\ufeff") if first else text
        first = False


def lines(texts: Iterator[str], longest: int) -> Iterator[str]:
    """Lines with their ends. Only a line feed ends one. Raises BrokenTextError where there is none for `longest` characters."""
    rest = ""
    for text in texts:
        *whole, rest = io.StringIO(rest + text)
        if rest.endswith("\n"):
            whole, rest = [*whole, rest], ""
        yield from whole
        if len(rest) > longest:
            raise BrokenTextError(f"a line is longer than {longest:,} characters")
    if rest:
        yield rest


def _with_end(chunks: Iterator[bytes]) -> Iterator[bytes]:
    yield from chunks
    yield b""


def _undecodable(error: UnicodeDecodeError, encoding: str, line: int) -> BrokenTextError:
    """Names the bytes, and an encoding that reads them, with the words around them as they then read."""
    given, bad = error.object, error.object[error.start : error.end]
    message = f"line {line} holds the bytes {bad.hex(' ')}, which are not {encoding}"
    start, end = given.rfind(b"\n", 0, error.start) + 1, given.find(b"\n", error.end)
    shown = given[start : end if end > 0 else len(given)]
    for likely in ("utf-16",) if given.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else LIKELY:
        try:
            read = shown.decode(likely)
        except UnicodeDecodeError:
            continue
        at = max(0, len(shown[: error.start - start].decode(likely, "ignore")) - 20)
        return BrokenTextError(f"{message}; {likely} reads them as in “{read[at : at + 40].strip()}”", likely)
    return BrokenTextError(message)
