"""Source files of the night -> `raw_items`: every value as it came, with source, file, the file's fingerprint and the row's position.

Either every source is whole and readable as its settings say, and the night's rows are replaced in one commit, or nothing is written
and one error names every file that is not. So each file is read twice by one task on the executors: first to its end without a result,
about an eighth of the work, then for its rows. Rows that are broken by themselves are kept, with their fault.

Delta and JDBC tables have no order: their rows are numbered in the order of all their values as text, which costs a sort in one task,
and their fingerprint is one of their content. What values mean does not belong here.
"""

import datetime
import difflib
import hashlib
import itertools
import pickle
from collections.abc import Callable, Iterator
from functools import reduce
from typing import NamedTuple

import pyarrow as pa
from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException, PythonException
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, BinaryType, MapType, StructField, StructType

from jobs import address, feed
from jobs.errors import ShelfmatesError, SourceError, TransientError
from jobs.lake import Lake
from jobs.night import Counts, Night
from jobs.settings import Settings, Source
from jobs.tables import RAW_ITEMS

BATCH_ROWS = 1000  # handed to Spark at a time: a few megabytes where descriptions are long
LONG_WORK = 100_000  # rows from which a line of progress is worth printing
SHOWN = 5  # dates or names in an error

_REPORT = "place bigint, rows bigint, bytes bigint, sha256 string, error binary"
_ROWS = "source string, file string, row bigint, file_sha256 string, fault string, values map<string,string>"


class Part(NamedTuple):
    """A file or a table of one source; from `rows` on, what its first reading found out."""

    name: str
    source: Source
    address: str
    rows: int = 0
    bytes: int = 0
    sha256: str = ""


def files_of(name: str, source: Source, date: datetime.date) -> list[Part]:
    """The source's files of the night, sorted. Raises SourceError if there are none, naming what there is instead."""
    try:
        found = address.found(source.path, date)
        if not found:
            raise _absent(name, source, date)
    except pa.ArrowInvalid as error:
        raise _at(name, source, f"it is no address that can be read: {error}", f"mend sources.{name}.path") from error
    except OSError as error:
        raise TransientError(
            f"source {name!r}: {address.shown(source.path)}: {error}", "see that the storage answers, then run it again"
        ) from error
    return [Part(name, source, file) for file in found]


def _absent(name: str, source: Source, date: datetime.date) -> SourceError:
    if address.DATE in source.path:
        dates = address.dates(source.path)
        near = sorted(sorted(dates, key=lambda other: abs(other - date))[:SHOWN])
        there = f"the nearest of {len(dates)} dates with one: {', '.join(map(str, near))}" if dates else "nor is there one of another date"
        return _at(
            name, source, f"there is no feed of {date}; {there}", f"run the night when the feed is there, or mend sources.{name}.path"
        )
    names = address.beside(source.path)
    near_names = difflib.get_close_matches(source.path.rpartition("/")[2], names, n=SHOWN, cutoff=0.5) or names[:SHOWN]
    listed = f"its folder holds {', '.join(near_names)}" if names else "its folder holds no file"
    return _at(name, source, f"there is no such file; {listed}", f"mend sources.{name}.path")


def _at(name: str, source: Source, found: str, remedy: str) -> SourceError:
    return SourceError.at(name, address.shown(source.path), found, remedy)


def checked(spark: SparkSession, files: list[Part]) -> list[Part]:
    """The files after their first reading. Raises one error for all that cannot be read to their end."""

    def read_through(place: int) -> Iterator[pa.RecordBatch]:
        part = files[place]
        rows = size = 0
        sha256, refusal = "", None
        try:
            rows = sum(1 for _ in feed.rows(part.name, part.source, part.address))
            sha256, size = address.fingerprint(part.address)
        except ShelfmatesError as error:
            refusal = pickle.dumps(error)  # a result, not a failed task: that would be tried again, and print its stack each time
        report = {"place": [place], "rows": [rows], "bytes": [size], "sha256": [sha256], "error": pa.array([refusal], pa.binary())}
        yield pa.RecordBatch.from_pydict(report)

    reports = _task_per_file(spark, len(files), read_through, _REPORT).collect()
    _raise_together([pickle.loads(report.error) for report in reports if report.error])
    return [files[report.place]._replace(rows=report.rows, bytes=report.bytes, sha256=report.sha256) for report in reports]


def file_rows(spark: SparkSession, files: list[Part]) -> DataFrame:
    """The rows of checked files."""

    def read(place: int) -> Iterator[pa.RecordBatch]:
        part = files[place]
        rows = feed.rows(part.name, part.source, part.address)
        while taken := list(itertools.islice(rows, BATCH_ROWS)):
            yield _batch(part, taken)
        if address.fingerprint(part.address)[0] != part.sha256:
            raise TransientError(f"{part.address} changed while it was read", "run ingest again when its supplier has finished")

    return _task_per_file(spark, len(files), read, _ROWS)


def _task_per_file(spark: SparkSession, count: int, read: Callable[[int], Iterator[pa.RecordBatch]], schema: str) -> DataFrame:
    def read_all(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for place in batch.column(0).to_pylist():
                yield from read(place)

    return spark.range(0, count, 1, max(1, count)).mapInArrow(read_all, schema)


def _batch(part: Part, rows: list[feed.Row]) -> pa.RecordBatch:
    names: list[str] = []
    values: list[str] = []
    ends = [0]
    for row in rows:
        names.extend(row.values)
        values.extend(row.values.values())
        ends.append(len(names))
    columns = {
        "source": pa.repeat(part.name, len(rows)),
        "file": pa.repeat(address.shown(part.address), len(rows)),
        "row": pa.array([row.number for row in rows], pa.int64()),
        "file_sha256": pa.repeat(part.sha256, len(rows)),
        "fault": pa.array([row.fault for row in rows], pa.string()),
        "values": pa.MapArray.from_arrays(pa.array(ends, pa.int32()), pa.array(names, pa.string()), pa.array(values, pa.string())),
    }
    return pa.RecordBatch.from_pydict(columns)


def table_of(spark: SparkSession, name: str, source: Source, date: datetime.date) -> tuple[Part, DataFrame]:
    """A Delta or JDBC table, and its values as text in one cached state for both readings. Raises SourceError where it cannot be read."""
    part = Part(name, source, address.shown(f"{source.path}#{source.table}" if source.table else source.path))
    try:
        frame = _opened(spark, source, date)
        feed.check_columns(name, source, part.address, frame.columns)
        texts = frame.select(*map(_text, frame.schema.fields)).persist()
        content = F.sum(F.xxhash64(*_columns(texts)).cast("decimal(38,0)"))
        summary = texts.agg(F.count("*").alias("rows"), content.alias("content")).collect()[0]
    except (AnalysisException, Py4JJavaError) as error:
        remedy = f"mend sources.{name}.path" + (f" or sources.{name}.table" if source.format == "jdbc" else "")
        raise SourceError.at(name, part.address, address.shown(_first_line(error)), remedy) from error
    if not summary.rows:
        raise SourceError.at(name, part.address, "it holds no row", "see that the table of this night is filled")
    return part._replace(rows=summary.rows, sha256=hashlib.sha256(f"{summary.rows} {summary.content}".encode()).hexdigest()), texts


def table_rows(part: Part, texts: DataFrame) -> DataFrame:
    columns = _columns(texts)
    values = F.create_map(*itertools.chain.from_iterable(zip(map(F.lit, texts.columns), columns, strict=True)))
    return texts.select(
        F.lit(part.name).alias("source"),
        F.lit(part.address).alias("file"),
        F.row_number().over(Window.orderBy(*columns)).cast("bigint").alias("row"),
        F.lit(part.sha256).alias("file_sha256"),
        F.lit(None).cast("string").alias("fault"),
        F.map_filter(values, lambda _, value: value.isNotNull()).alias("values"),
    )


def _opened(spark: SparkSession, source: Source, date: datetime.date) -> DataFrame:
    path = source.path.replace(address.DATE, date.isoformat())
    if source.format == "delta":
        return spark.read.format("delta").load(path)
    table = (source.table or "").replace(address.DATE, date.isoformat())
    return spark.read.format("jdbc").option("url", path).option("dbtable", table).load()


def _columns(frame: DataFrame) -> list[Column]:
    return [_column(name) for name in frame.columns]


def _column(name: str) -> Column:
    return F.col(f"`{name.replace('`', '``')}`")


def _text(field: StructField) -> Column:
    """The column as text, as `feed` writes Parquet: binary as hexadecimal digits, nested values as JSON."""
    column = _column(field.name)
    if isinstance(field.dataType, BinaryType):
        column = F.lower(F.hex(column))
    elif isinstance(field.dataType, ArrayType | MapType | StructType):
        column = F.to_json(column)
    return column.cast("string").alias(field.name)


def _first_line(error: Exception) -> str:
    message = str(error.java_exception.getMessage()) if isinstance(error, Py4JJavaError) else str(error)
    return message.strip().splitlines()[0]


def _raise_together(errors: list[ShelfmatesError]) -> None:
    """One error that names every source at fault; none if there is none."""
    if not errors:
        return
    last = next((error for error in errors if not isinstance(error, TransientError)), errors[-1])  # a retry mends nothing but outages
    others = [str(error) for error in errors if error is not last]
    raise type(last)("\n".join([*others, last.found]), last.remedy)


def run(spark: SparkSession, lake: Lake, settings: Settings, night: Night) -> Counts:
    files: list[Part] = []
    tables: list[tuple[Part, DataFrame]] = []
    errors: list[ShelfmatesError] = []
    for name, source in settings.sources.items():
        try:
            if source.format in feed.FORMATS:
                files += files_of(name, source, night.date)
            else:
                tables.append(table_of(spark, name, source, night.date))
        except ShelfmatesError as error:
            errors.append(error)
    _raise_together(errors)
    files = checked(spark, files) if files else []
    parts = [*files, *(part for part, _ in tables)]
    total = sum(part.rows for part in parts)
    if total >= LONG_WORK:
        print(f"ingest: {len(parts):,} files and tables are whole; writing their {total:,} rows", flush=True)
    frames = [file_rows(spark, files)] if files else []
    frames += [table_rows(part, texts) for part, texts in tables]
    rows = reduce(DataFrame.unionAll, frames).withColumn("snapshot_date", F.lit(night.date)).select(*RAW_ITEMS.column_names)
    try:
        lake.replace(RAW_ITEMS, rows, night, empty=True)  # it is not: each part was found to hold rows, and a look would read them again
    except PythonException as error:
        raise TransientError(f"a file that was whole cannot be read again: {_first_line(error)}", "run ingest again") from error
    for _, texts in tables:
        texts.unpersist()
    return _counts(parts)


def _counts(parts: list[Part]) -> Counts:
    total = sum(part.rows for part in parts)
    figures: dict[str, float] = {"files": len(parts), "bytes": sum(part.bytes for part in parts)}
    for part in parts:
        figures[f"rows_{part.name}"] = figures.get(f"rows_{part.name}", 0) + part.rows
    return Counts(rows_in=total, rows_out=total, unit="rows", figures=figures)
