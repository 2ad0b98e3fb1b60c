"""Source files of the night -> `raw_items`: every value as it came, with source, file, the file's fingerprint and the row's position.

Either every source is whole and readable as its settings say, and the night's rows are replaced in one commit, or nothing is written
and one error names every file that is not. So each file is read twice by one task on the executors: first to its end without a result,
about an eighth of the work, then for its rows. Rows that are broken by themselves are kept, with their fault.

Delta and JDBC tables have no order: their rows are numbered by a hash of all their values as text, so that the same rows always get
the same numbers, and their fingerprint is one of their content. That costs a cached copy, a count and a sort. What values mean does not
belong here.
"""

import datetime
import hashlib
import itertools
import pickle
from collections.abc import Callable, Iterator
from functools import reduce
from typing import NamedTuple

import pyarrow as pa
from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from jobs import address, changes, feed, freshness, header
from jobs.errors import ShelfmatesError, SourceError, TransientError
from jobs.feeds import Source
from jobs.lake import Lake
from jobs.night import Counts, Night
from jobs.object_store import hadoops
from jobs.settings import Settings
from jobs.tables import AUDIT_RESULTS, RAW_ITEMS

BATCH_ROWS = 1000  # handed to Spark at a time: a few megabytes where descriptions are long
LONG_WORK = 100_000  # rows from which a line of progress is worth printing
BUCKETS = 64  # of a table's rows, numbered side by side

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


class Table(NamedTuple):
    """A Delta or JDBC source, its values as text, and how many rows come before each bucket of it."""

    part: Part
    values: DataFrame
    starts: tuple[int, ...]


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
            changed = f"{address.shown(part.address)} changed while it was read"
            raise TransientError(changed, "run ingest again when its supplier has finished")

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


def table_of(spark: SparkSession, name: str, source: Source, date: datetime.date) -> Table:
    """A Delta or JDBC table. Raises SourceError where it cannot be read. Its values stay cached until they are unpersisted."""
    shown = address.shown(source.path) + (f"#{source.table}" if source.table else "")
    if source.format == "jdbc" and not source.table:
        raise SourceError.at(name, shown, "it is a database, and no table is named", f"set sources.{name}.table")
    try:
        frame = _opened(spark, source, date)
        header.check(f"sources.{name}", source.needed, frame.columns)
        values = _texts(frame).persist()
        content = F.sum(_hash(values).cast("decimal(38,0)"))
        buckets = values.groupBy(_bucket(values).alias("bucket")).agg(F.count("*").alias("rows"), content.alias("content")).collect()
    except header.HeaderError as error:
        raise SourceError.at(name, shown, str(error), error.remedy) from error
    except (AnalysisException, Py4JJavaError) as error:
        if isinstance(error, AnalysisException) and error.getCondition() == "FAILED_JDBC.CONNECTION":
            raise TransientError(
                f"source {name!r}, {shown}: {_first_line(error, source)}", f"see that the database answers, or mend sources.{name}.path"
            ) from error
        remedy = f"mend sources.{name}.path" + (f" or sources.{name}.table" if source.format == "jdbc" else "")
        raise SourceError.at(name, shown, _first_line(error, source), remedy) from error
    if not buckets:
        raise SourceError.at(name, shown, "it holds no row", "see that the table of this night is filled")
    rows = {found.bucket: found.rows for found in buckets}
    starts = tuple(itertools.accumulate((rows.get(bucket, 0) for bucket in range(BUCKETS)), initial=0))
    sha256 = hashlib.sha256(f"{starts} {sum(found.content for found in buckets)}".encode()).hexdigest()
    return Table(Part(name, source, shown, starts[-1], 0, sha256), values, starts)


def table_rows(table: Table) -> DataFrame:
    columns, bucket = _columns(table.values), _bucket(table.values)
    position = F.row_number().over(Window.partitionBy(bucket).orderBy(*columns))
    values = F.create_map(*itertools.chain.from_iterable(zip(map(F.lit, table.values.columns), columns, strict=True)))
    return table.values.select(
        F.lit(table.part.name).alias("source"),
        F.lit(table.part.address).alias("file"),
        (F.array(*map(F.lit, table.starts))[bucket] + position).cast("bigint").alias("row"),
        F.lit(table.part.sha256).alias("file_sha256"),
        F.lit(None).cast("string").alias("fault"),
        F.map_filter(values, lambda _, value: value.isNotNull()).alias("values"),
    )


def _hash(frame: DataFrame) -> Column:
    columns = _columns(frame)
    return F.xxhash64(*columns, *(column.isNull() for column in columns))  # the hash passes over nulls


def _bucket(frame: DataFrame) -> Column:
    return F.pmod(_hash(frame), F.lit(BUCKETS)).cast("int")


def _opened(spark: SparkSession, source: Source, date: datetime.date) -> DataFrame:
    path = source.path.replace(address.DATE, date.isoformat())
    if source.format == "delta":
        return spark.read.format("delta").load(hadoops(path))
    table = (source.table or "").replace(address.DATE, date.isoformat())
    return spark.read.format("jdbc").option("url", path).option("dbtable", table).load()


def _columns(frame: DataFrame) -> list[Column]:
    return [_column(name) for name in frame.columns]


def _column(name: str) -> Column:
    return F.col(f"`{name.replace('`', '``')}`")


def _texts(frame: DataFrame) -> DataFrame:
    """Every column as text, by the function that reads Parquet: a table's values are those that a file of it would give."""
    names = frame.columns

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield pa.RecordBatch.from_arrays([pa.array(feed.column_texts(column), pa.string()) for column in batch.columns], names=names)

    placed = frame.toDF(*(f"column{at}" for at in range(len(names))))  # mapInArrow takes the dot in a name for a field of a struct
    return placed.mapInArrow(read, StructType([StructField(name, StringType()) for name in names]))


def _first_line(error: Exception, source: Source) -> str:
    """The beginning of what Spark says, without the secrets of the source's address."""
    message = str(error.java_exception.getMessage()) if isinstance(error, Py4JJavaError) else str(error)
    return address.shown(message.strip().splitlines()[0].replace(source.path, address.shown(source.path)))


def _raise_together(errors: list[ShelfmatesError]) -> None:
    """One error that names every source at fault; none if there is none."""
    if not errors:
        return
    last = next((error for error in errors if not isinstance(error, TransientError)), errors[-1])  # a retry mends nothing but outages
    others = [str(error) for error in errors if error is not last]
    raise type(last)("\n".join([*others, last.found]), last.remedy)


def arrived(spark: SparkSession, lake: Lake, settings: Settings, night: Night) -> tuple[list[Part], list[Table], dict[str, datetime.date]]:
    """The files and tables of the night; of sources that have sent nothing, the nights whose rows stand in. Raises one error for all
    sources that cannot be read."""
    files: list[Part] = []
    tables: list[Table] = []
    missing: dict[str, datetime.date] = {}
    errors: list[ShelfmatesError] = []
    for name, source in settings.sources.items():
        try:
            if source.format not in feed.FORMATS:
                tables.append(table_of(spark, name, source, night.date))
                continue
            try:
                files += [Part(name, source, file) for file in feed.files(name, source, night.date)]
            except feed.AbsentError:
                last = freshness.last_night(lake, night, name) if source.missing == "last" else None
                if last is None:
                    raise
                if source.mode == "changes":
                    changes.refuse_gap(lake, night, name, source, last)
                missing[name] = last
                print(f"ingest: source {name!r} has sent nothing for {night.date}; its rows of {last} stand in", flush=True)
        except ShelfmatesError as error:
            errors.append(error)
    _raise_together(errors)
    return files, tables, missing


def ages(lake: Lake, settings: Settings, night: Night, parts: list[Part], missing: dict[str, datetime.date]) -> list[tuple[object, ...]]:
    """The rows of audit_results on how old the feeds are. parts: what has come of whole catalogues."""
    fingerprints: dict[str, frozenset[str]] = {}
    for part in parts:
        fingerprints[part.name] = fingerprints.get(part.name, frozenset()) | {part.sha256}
    unchanged = freshness.days_unchanged(lake, night, fingerprints, settings.audit.unchanged_days_max)
    absent = {name: freshness.days_missing(lake, night, name, last) for name, last in missing.items()}
    return freshness.judged(unchanged, absent, settings.audit, night)


def run(spark: SparkSession, lake: Lake, settings: Settings, night: Night) -> Counts:
    files, tables, missing = arrived(spark, lake, settings, night)
    files = checked(spark, files) if files else []
    changing = {part.name: part.source for part in files if part.source.mode == "changes"}
    old = {name: freshness.rows_of(lake, name, last).drop("snapshot_date") for name, last in missing.items()}
    stood_in = [part for name, rows in old.items() for part in parts_of(name, settings.sources[name], rows)]
    parts = [*files, *(table.part for table in tables), *stood_in]
    total = sum(part.rows for part in parts)
    if total >= LONG_WORK:
        print(f"ingest: {len(parts):,} files and tables are whole; writing their {total:,} rows", flush=True)
    frames = [*map(table_rows, tables), *old.values()]
    if of_files := [part for part in files if part.name not in changing]:
        frames.append(file_rows(spark, of_files))
    for name, source in changing.items():
        frames.append(changes.whole(lake, night, name, source, file_rows(spark, [part for part in files if part.name == name])))
    rows = reduce(DataFrame.unionAll, frames).withColumn("snapshot_date", F.lit(night.date)).select(*RAW_ITEMS.column_names)
    old_checks = f"({night.of_this_run} OR {night.verdict} OR check LIKE 'feeds:%' OR check LIKE 'changes:%')"
    lake.delete(AUDIT_RESULTS, night, old_checks)  # of rows that are not any more
    try:
        lake.replace(RAW_ITEMS, rows, night, empty=True)  # it is not: each part was found to hold rows, and a look would read them again
    except Exception as error:
        own = ShelfmatesError.told_in(str(error))
        if not isinstance(own, (SourceError, TransientError)):
            raise
        raise TransientError(f"a file that was whole is not any more: {own.found}", "run ingest again") from error
    finally:
        for table in tables:
            table.values.unpersist()
    whole = [part for part in parts if part.name not in missing and part.name not in changing]
    left = {row["source"]: row["count"] for row in lake.read(RAW_ITEMS, night).groupBy("source").count().collect()} if changing else {}
    emptied = [freshness.without_products(name, night) for name in sorted(changing) if name not in left]
    lake.append(AUDIT_RESULTS, lake.frame(AUDIT_RESULTS, [*ages(lake, settings, night, whole, missing), *emptied]), night)
    return counts(lake, night, parts, sorted(missing), sorted(changing), left)


def parts_of(name: str, source: Source, rows: DataFrame) -> list[Part]:
    """What stands in for a source: its files of an earlier night."""
    files = rows.groupBy("file", "file_sha256").count().collect()
    return [Part(name, source, row["file"], row["count"], 0, row["file_sha256"]) for row in files]


def counts(lake: Lake, night: Night, parts: list[Part], missing: list[str], changing: list[str], left: dict[str, int]) -> Counts:
    """What was read and written; of the sources that send changes, which nights were built on this one.

    left: the rows of each source, where there are such."""
    read = sum(part.rows for part in parts)
    figures: dict[str, float] = {"files": len(parts), "bytes": sum(part.bytes for part in parts)}
    for part in parts:
        figures[f"rows_{part.name}"] = figures.get(f"rows_{part.name}", 0) + part.rows
    told = [f"of an earlier night those of {', '.join(missing)}"] if missing else []
    written = read
    if changing:
        written = sum(left.values())
        later = lake.read(RAW_ITEMS, F.col("source").isin(changing) & (F.col("snapshot_date") > F.lit(night.date)))
        nights = [str(row["snapshot_date"]) for row in later.select("snapshot_date").distinct().orderBy("snapshot_date").collect()]
        told.append(f"{read:,} read, of {', '.join(changing)} what has changed")
        told += [f"{name} has no products left" for name in changing if name not in left]
        if nights:
            told.append(f"later nights were built on what this one was before, run them again in their order: {', '.join(nights)}")
            figures["nights_built_on_it"] = len(nights)
    return Counts(read, written, "rows", figures, note=", ".join(told))
