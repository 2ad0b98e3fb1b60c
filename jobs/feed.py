"""Files of one feed, and the rows of a file, streaming: every value as it came, and what is wrong with the shape of a row.

A row that is broken by itself comes out with its fault. A file that cannot be read as its settings say raises SourceError, after the
rows before the broken place. Text is decoded strictly. One row and a few megabytes of the file are in memory at a time.

Values are text: of JSON the text of numbers, true and false as they are written, objects and arrays as compact JSON; null and absent
values have no key. Splitting costs about 5 µs a CSV row of a dozen columns. What the values mean does not belong here.
"""

import datetime
import difflib
import gzip
import itertools
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs import address, csv_record, header, json_array, plaintext
from jobs.errors import ShelfmatesError, SourceError, TransientError
from jobs.feeds import AnyFeed

LONGEST = 16 << 20  # characters of one value, line or JSON object: beyond it a quote or a bracket was never closed
PARQUET_ROWS = 1000  # read at a time
SHOWN = 5  # dates or names in an error
AGAIN = "get the file from its supplier again, whole"


class Row(NamedTuple):
    """One row: its position from 1, its values by the source's column names, and what is wrong with its shape."""

    number: int
    values: dict[str, str]
    fault: str | None


Shape = tuple[dict[str, str], str | None]  # values and fault of one row


class AbsentError(SourceError):
    """A source has no file of the night."""


Fault = TypeVar("Fault", bound=SourceError)


class _FaultyFileError(Exception):
    """What is wrong with a whole file. `rows` adds the file and, unless the fault is `above` all rows, the row."""

    def __init__(self, found: str, remedy: str, above: bool = False) -> None:
        super().__init__(found, remedy)
        self.found = found
        self.remedy = remedy
        self.above = above


def files(name: str, source: AnyFeed, date: datetime.date) -> list[str]:
    """Addresses of the source's files of the night, sorted. Raises SourceError if there are none, naming what there is instead."""
    with _told_as_ours(name, source):
        found = address.found(source.path, date)
        if not found:
            raise _absent(name, source, date)
    return found


def dates(name: str, source: AnyFeed) -> list[datetime.date]:
    """The dates that the source has files of, sorted; none where its path holds no {date}."""
    with _told_as_ours(name, source):
        return address.dates(source.path) if address.DATE in source.path else []


@contextmanager
def _told_as_ours(name: str, source: AnyFeed) -> Iterator[None]:
    """Raises SourceError where the source's path is no address that can be read, TransientError where the storage does not answer."""
    try:
        yield
    except (pa.ArrowInvalid, PermissionError) as error:
        raise _at(
            SourceError, name, source, f"it is no address that can be read: {address.shown(str(error))}", f"mend {source.key(name)}.path"
        ) from error
    except OSError as error:
        raise TransientError(
            f"source {name!r}: {address.shown(source.path)}: {error}", "see that the storage answers, then run it again"
        ) from error


def _absent(name: str, source: AnyFeed, date: datetime.date) -> AbsentError:
    if address.DATE in source.path:
        dates = address.dates(source.path)
        near = sorted(sorted(dates, key=lambda other: abs(other - date))[:SHOWN])
        there = f"the nearest of {len(dates)} dates with one: {', '.join(map(str, near))}" if dates else "nor is there one of another date"
        return _at(
            AbsentError,
            name,
            source,
            f"there is no feed of {date}; {there}",
            f"run the night when the feed is there, or mend {source.key(name)}.path",
        )
    names = address.beside(source.path)
    near_names = difflib.get_close_matches(source.path.rpartition("/")[2], names, n=SHOWN, cutoff=0.5) or names[:SHOWN]
    listed = f"its folder holds {', '.join(near_names)}" if names else "its folder holds no file"
    return _at(AbsentError, name, source, f"there is no such file; {listed}", f"mend {source.key(name)}.path")


def _at(kind: type[Fault], name: str, source: AnyFeed, found: str, remedy: str) -> Fault:
    return kind.at(name, address.shown(source.path), found, remedy)


def rows(name: str, source: AnyFeed, file: str) -> Iterator[Row]:
    """The rows of the file at one address, read as the settings of the source called `name` say.

    Raises SourceError, which names source, file, row and remedy; TransientError where the storage does not answer.
    """
    number = 0
    try:
        for values, fault in FORMATS[source.format](source.key(name), source, file):
            number += 1
            yield Row(number, values, fault)
        if not number and not source.may_be_empty:
            raise _FaultyFileError("it holds no row", AGAIN, above=True)
    except (_FaultyFileError, header.HeaderError, plaintext.BrokenTextError, OSError, EOFError, zlib.error) as error:
        raise _named(error, name, source, file, number + 1) from error


def _named(error: Exception, name: str, source: AnyFeed, file: str, row: int) -> ShelfmatesError:
    """The error that tells the user which source, file and row it was."""
    if not source.tells and isinstance(error, (_FaultyFileError, header.HeaderError, plaintext.BrokenTextError)):
        return _without_its_words(error, name, source, address.shown(file), row)
    file = address.shown(file)
    match error:
        case _FaultyFileError():
            return SourceError.at(name, file, error.found, error.remedy, None if error.above else row)
        case header.HeaderError():
            return SourceError.at(name, file, str(error), error.remedy)
        case plaintext.BrokenTextError():
            remedy = (
                f'set {source.key(name)}.encoding = "{error.encoding}" if that reads right'
                if error.encoding
                else f"mend the file, or set {source.key(name)}.encoding"
            )
            return SourceError.at(name, file, str(error), remedy, row)
        case EOFError():
            return SourceError.at(name, file, "the gzip is cut: its end is missing", AGAIN, row)
        case gzip.BadGzipFile() | zlib.error():
            return SourceError.at(
                name, file, f"the gzip is damaged, or none: {error}", f"{AGAIN}; if it is no gzip, take .gz off its name", row
            )
        case FileNotFoundError() | PermissionError():
            return SourceError.at(name, file, str(error), f"mend {source.key(name)}.path or the rights on the file")
    return TransientError(f"source {name!r}, file {file}, row {row}: {error}", "see that the storage answers, then run it again")


def _without_its_words(error: Exception, name: str, source: AnyFeed, file: str, row: int) -> SourceError:
    """The error of a feed of which nothing may be told but where it is broken."""
    found = {
        _FaultyFileError: f"this row, or the file from here on, is no {source.format}",
        header.HeaderError: f"its columns are not {', '.join(source.in_every_file.values())}, which the settings name",
        plaintext.BrokenTextError: f"there is a byte that is not {source.encoding}",
    }[type(error)]
    key, above = source.key(name), isinstance(error, header.HeaderError) or (isinstance(error, _FaultyFileError) and error.above)
    remedy = (
        f"mend the file, or {key}.format, .encoding, .separator, .quote, .columns; what stands there may name a person, and is not told"
    )
    return SourceError.at(name, file, found, remedy, None if above else row)


def _texts(key: str, source: AnyFeed, file: str) -> Iterator[str]:
    """The file's text in pieces."""
    if not plaintext.is_encoding(source.encoding):
        raise _FaultyFileError(
            f"there is no encoding {source.encoding!r}", f'set {key}.encoding to one that Python knows, such as "utf-8"', above=True
        )
    texts = plaintext.texts(address.content(file), source.encoding)
    first = next(texts, "")
    if not first:
        raise _FaultyFileError("it is empty", AGAIN, above=True)
    return itertools.chain([first], texts)


def _lines(key: str, source: AnyFeed, file: str) -> Iterator[str]:
    return plaintext.lines(_texts(key, source, file), LONGEST)


def _csv(key: str, source: AnyFeed, file: str) -> Iterator[Shape]:
    records = csv_record.records(_lines(key, source, file), source.separator, source.quote, LONGEST)
    try:
        columns = header.names(key, source, next(records, []))
        names = [column or f"+{at}" for at, column in enumerate(columns, 1)]
        for record in records:
            if isinstance(record, csv_record.Unsplit):
                yield {"": record.text}, record.fault
            else:
                yield _shape(names, record)
    except csv_record.UnclosedQuoteError as error:
        raise _FaultyFileError(str(error), f'close the quote, or set {key}.quote = "" if quotes are ordinary characters') from error


def _shape(names: list[str], fields: list[str]) -> Shape:
    if len(fields) == len(names):
        return dict(zip(names, fields, strict=True)), None
    surplus = [f"+{at}" for at in range(len(names) + 1, len(fields) + 1)]
    return dict(zip(names + surplus, fields, strict=False)), f"{len(fields)} fields under a header of {len(names)}"


def _json(key: str, source: AnyFeed, file: str) -> Iterator[Shape]:
    seen: dict[str, None] = {}
    try:
        for element in json_array.elements(_texts(key, source, file), LONGEST):
            if not isinstance(element, dict):
                raise _FaultyFileError(
                    f"an object is expected, found {json_array.text(element)[:60]}", "give an array of objects, one a row"
                )
            yield _object_shape(element, seen)
    except json_array.BrokenJsonError as error:
        if error.cut:
            raise _FaultyFileError(f"the JSON is cut inside this row, or at its end: {error}", AGAIN) from error
        remedy = f'give one array of objects; if every line is an object, set {key}.format = "jsonl"'
        raise _FaultyFileError(f"it is not a JSON array of objects: {error}", remedy) from error
    _check_seen(key, source, seen)


def _jsonl(key: str, source: AnyFeed, file: str) -> Iterator[Shape]:
    seen: dict[str, None] = {}
    for line in _lines(key, source, file):
        if line.isspace():
            continue
        if not seen and line.lstrip().startswith("["):
            raise _FaultyFileError("it begins with [, so it is one JSON array", f'set {key}.format = "json"', above=True)
        try:
            element = json_array.DECODER.decode(line)
        except (json.JSONDecodeError, RecursionError) as error:
            if not line.endswith("\n"):
                raise _FaultyFileError(f"the last line is cut: it ends in “{line[-40:]}”", AGAIN) from error
            element = None
        if isinstance(element, dict):
            yield _object_shape(element, seen)
        else:
            yield {"": line.rstrip("\r\n")}, "the line is not a JSON object"
    _check_seen(key, source, seen)


def _check_seen(key: str, source: AnyFeed, seen: dict[str, None]) -> None:
    """Raises where no row held what some row has to hold; other values may be absent from a whole night."""
    if seen:
        header.check(key, source.in_every_file, list(seen))


def _object_shape(element: dict[str, object], seen: dict[str, None]) -> Shape:
    """Adds the object's keys to `seen`."""
    values = {key: json_array.text(value) for key, value in element.items() if value is not None}
    seen.update(dict.fromkeys(element))
    try:
        "".join((*values, *values.values())).encode()
    except UnicodeEncodeError:
        written = {key.encode("ascii", "backslashreplace").decode(): value for key, value in values.items()}
        return {
            key: value.encode("utf-8", "backslashreplace").decode() for key, value in written.items()
        }, "half a surrogate pair, which is no character"
    return values, None


def _parquet(key: str, source: AnyFeed, file: str) -> Iterator[Shape]:
    with address.open_file(file) as stored:
        try:
            opened = pq.ParquetFile(stored)
            names = opened.schema_arrow.names
            header.check(key, source.needed, names)
            for batch in opened.iter_batches(PARQUET_ROWS):
                for fields in zip(*map(column_texts, batch.columns), strict=True):
                    yield {name: field for name, field in zip(names, fields, strict=True) if field is not None}, None
        except (pa.ArrowInvalid, OSError) as error:  # Arrow raises either for damaged pages
            raise _FaultyFileError(f"it is not a whole Parquet file: {error}", f"{AGAIN}, or set {key}.format", above=True) from error


def column_texts(column: pa.Array) -> list[str | None]:
    """Arrow's text of dates and booleans; numbers without exponent, a whole one without ".0"; binary as hexadecimal digits; what is nested
    as compact JSON."""
    kind = column.type
    if pa.types.is_nested(kind):
        objects = "lossy" if pa.types.is_map(kind) and pa.types.is_string(kind.key_type) else None  # no more than one value for a key
        return [
            None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
            for value in column.to_pylist(maps_as_pydicts=objects)
        ]
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return [None if value is None else value.hex() for value in column.to_pylist()]
    texts: list[str | None] = pc.cast(column, pa.string()).to_pylist()
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):  # Arrow writes 4.006381333931e+12 and 0E-10
        return [format(Decimal(text), "f") if text is not None and "e" in text.lower() else text for text in texts]
    return texts


FORMATS: dict[str, Callable[[str, AnyFeed, str], Iterator[Shape]]] = {"csv": _csv, "json": _json, "jsonl": _jsonl, "parquet": _parquet}
