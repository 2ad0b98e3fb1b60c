"""The only Delta input and output: tables of `tables.py` under one root, read and written with their declared schema.

A write is one atomic commit or nothing. A stage in whose way another writer got may be run again at once: ConflictError.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, cast

import pyarrow as pa
from delta import exceptions as conflict  # also registers the conversion of the JVM's conflicts into these classes
from delta.tables import DeltaTable
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from jobs.errors import ConflictError, ContractError
from jobs.night import Night
from jobs.table import Table

CONFLICTS = (  # they have no root of their own
    conflict.ConcurrentAppendException,
    conflict.ConcurrentDeleteDeleteException,
    conflict.ConcurrentDeleteReadException,
    conflict.ConcurrentTransactionException,
    conflict.ConcurrentWriteException,
    conflict.DeltaConcurrentModificationException,
    conflict.MetadataChangedException,
    conflict.ProtocolChangedException,
)

# no deletion vectors, no column mapping: every reader of Delta can read the tables
COMMON_PROPERTIES = {"delta.enableDeletionVectors": "false"}

PURGED = "shelfmates.purged"  # property of a table
RETENTION_CHECK = "spark.databricks.delta.retentionDurationCheck.enabled"  # Delta's own guard of writers and readers at work

ANOTHERS_COMMIT = 30.0  # seconds that are waited for it: an object store may take some


def _nobody_else() -> None:
    """The fence of a lake on which one process works."""


@dataclass(frozen=True)
class Lake:
    """`fence` raises SupersededError once this process may not write any more; it is asked before every commit (`claims`)."""

    spark: SparkSession
    root: str
    fence: Callable[[], None] = _nobody_else

    def path(self, table: Table) -> str:
        return f"{self.root.rstrip('/')}/{table.name}"

    def create(self, table: Table) -> bool:
        """Creates the table empty, with its constraints, unless it is there. True if it was not."""
        if self.exists(table):
            return False
        properties = COMMON_PROPERTIES | dict(table.properties) | {f"delta.constraints.{name}": rule for name, rule in table.checks}
        partitioned = f"PARTITIONED BY ({', '.join(table.partition)})" if table.partition else ""
        listed = ", ".join(f"'{key}' = '{_quoted(value)}'" for key, value in properties.items())
        columns = ", ".join(f"`{c.name}` {c.type}{' NOT NULL' if c.required else ''} COMMENT '{_quoted(c.meaning)}'" for c in table.columns)
        statement = (
            f"CREATE TABLE delta.`{self.path(table)}` ({columns}) USING delta {partitioned} "
            f"COMMENT '{_quoted(table.grain)}' TBLPROPERTIES ({listed})"
        )
        try:
            with self._commit(table):
                self.spark.sql(statement)
        except (ContractError, ConflictError):
            given_up = time.monotonic() + ANOTHERS_COMMIT
            while not self._was_made(table):  # two first runs at once: the other one makes it, and may be between its folder and its commit
                if time.monotonic() > given_up:
                    raise
                time.sleep(0.1)
            return False
        return True

    def _was_made(self, table: Table) -> bool:
        """Whether another process has made a table of which this one knows that it is not there: only a load looks for its log again."""
        with suppress(AnalysisException):
            self.spark.read.format("delta").load(self.path(table))
            return True
        return False

    def extend(self, table: Table) -> bool:
        """Adds to a table of an earlier version the columns and the parts of structs that it lacks; they are null in its rows. True if it
        lacked any."""
        stored = {field.name: field.dataType for field in self.spark.read.format("delta").load(self.path(table)).schema.fields}
        declared = cast("StructType", StructType.fromDDL(table.ddl)).fields
        lacking = [f"{field.name} {field.dataType.simpleString()}" for field in declared if field.name not in stored]
        lacking += [
            f"{field.name}.{part.name} {part.dataType.simpleString()}"
            for field in declared
            if isinstance(field.dataType, StructType) and isinstance(known := stored.get(field.name), StructType)
            for part in field.dataType.fields
            if part.name not in known.names
        ]
        if lacking:
            with self._commit(table):
                self.spark.sql(f"ALTER TABLE delta.`{self.path(table)}` ADD COLUMNS ({', '.join(lacking)})")
        return bool(lacking)

    def frame(self, table: Table, rows: Sequence[tuple[object, ...]]) -> DataFrame:
        """A few rows made by the driver, in the table's schema. They go as one Arrow table: Spark needs no job to look at them."""
        schema = cast("StructType", StructType.fromDDL(table.ddl))
        records = [dict(zip(table.column_names, row, strict=True)) for row in rows]
        frame: DataFrame = self.spark.createDataFrame(pa.Table.from_pylist(records, to_arrow_schema(schema, timezone="UTC")), schema)
        return frame

    def exists(self, table: Table) -> bool:
        return DeltaTable.isDeltaTable(self.spark, self.path(table))

    def read(self, table: Table, where: Night | Column | str | None = None, version: int | None = None) -> DataFrame:
        """The table's rows, of one night or under one predicate, as they are or as they were at a version. Raises ContractError if its
        schema is not the declared one."""
        if not self.exists(table):
            raise ContractError(f"there is no table {table.name} under {self.root}", "run `shelfmates prepare` on this lake first")
        reader = self.spark.read.format("delta")
        frame = (reader if version is None else reader.option("versionAsOf", version)).load(self.path(table))
        self._check_schema(table, frame.schema)
        if where is None:
            return frame
        return frame.where(where.predicate if isinstance(where, Night) else where)

    def replace(
        self,
        table: Table,
        frame: DataFrame,
        night: Night,
        *,
        within: str = "true",
        empty: bool = False,
        note: dict[str, object] | None = None,
    ) -> None:
        """Replaces the night's rows (those that also meet `within`) by `frame`, in one commit.

        `empty=True` says that no row at all is a possible night, or that the caller has counted; otherwise the frame is looked at first
        (persist it if it is costly), since Delta would quietly empty the partition.
        """
        self._check_schema(table, frame.schema)
        if not empty and frame.isEmpty():
            raise ContractError(
                f"{table.name} of {night.date} would be emptied", "look at the stage before this one: it left no rows for this night"
            )
        if within != "true":  # Delta would look for the rows file by file; the night's partition is small and quickly written whole
            frame = frame.unionByName(self.read(table, night).where(f"NOT ({within})"))
        self._overwrite(table, frame, night.predicate, night, note)

    def _overwrite(self, table: Table, frame: DataFrame, partitions: str, night: Night, note: dict[str, object] | None = None) -> None:
        writer = frame.write.format("delta").mode("overwrite").option("replaceWhere", partitions).option("userMetadata", _note(night, note))
        with self._commit(table):
            writer.save(self.path(table))

    def append(self, table: Table, frame: DataFrame, night: Night, note: dict[str, object] | None = None) -> None:
        self._check_schema(table, frame.schema)
        with self._commit(table):
            frame.write.format("delta").mode("append").option("userMetadata", _note(night, note)).save(self.path(table))

    def delete(self, table: Table, night: Night, within: str) -> None:
        """Deletes the night's rows that meet `within`; no commit where there are none."""
        predicate = f"{night.predicate} AND {within}"
        if self.read(table, predicate).isEmpty():
            return
        with self._commit(table):
            DeltaTable.forPath(self.spark, self.path(table)).delete(predicate)

    def synchronise(self, table: Table, frame: DataFrame, night: Night, note: dict[str, object] | None = None) -> int:
        """Makes the whole unpartitioned table equal to `frame`, touching only rows that differ (the change feed then holds changes alone).

        Returns the number of rows inserted, updated or deleted; none of them, no commit.
        """
        self._check_schema(table, frame.schema)
        columns = table.column_names  # those of a table that was extended stand in another order
        if _checksum(frame.select(*columns)) == _checksum(self.read(table).select(*columns)):
            return 0
        keys = " AND ".join(f"stored.{column} = night.{column}" for column in table.key)
        differs = " OR ".join(f"NOT (stored.{c} <=> night.{c})" for c in table.column_names if c not in table.key)
        with self._noted(night, note), self._commit(table):
            merged = (
                DeltaTable.forPath(self.spark, self.path(table))
                .alias("stored")
                .merge(frame.alias("night"), keys)
                .whenMatchedUpdateAll(differs)
                .whenNotMatchedInsertAll()
                .whenNotMatchedBySourceDelete()
                .execute()
            )
        return int(merged.collect()[0]["num_affected_rows"])

    def nights(self, table: Table) -> Counter[date]:
        """The nights that a table partitioned by them holds, and the files of each. Only its log is read."""
        return Counter(date.fromisoformat(file.rpartition("/snapshot_date=")[2][:10]) for file in self.read(table).inputFiles())

    def files(self, table: Table) -> int:
        """The files that a reader of the table opens."""
        return int(DeltaTable.forPath(self.spark, self.path(table)).detail().collect()[0]["numFiles"])

    def notes(self, table: Table, since: datetime) -> list[dict[str, Any]]:
        """What writers have noted with their commits since then."""
        commits = DeltaTable.forPath(self.spark, self.path(table)).history().where(F.col("timestamp") >= F.lit(since))
        return [json.loads(row["userMetadata"]) for row in commits.select("userMetadata").collect() if row["userMetadata"]]

    def drop(self, table: Table, partitions: str, night: Night) -> None:
        """Deletes whole partitions, in one commit that rewrites no file; no commit where there are none. ConflictError if another writer
        has changed them meanwhile."""
        with self._noted(night), self._commit(table):
            DeltaTable.forPath(self.spark, self.path(table)).delete(partitions)

    def reduce(self, table: Table, frame: DataFrame, partitions: str, night: Night) -> None:
        """Replaces the rows of whole partitions by some of them, which `frame` reads from the table itself, and not from a cache. What
        others append meanwhile is read too, or ends this with ConflictError: nothing of it is lost."""
        self._overwrite(table, frame, partitions, night)

    def compact(self, table: Table, night: Night, partitions: str | None = None) -> None:
        """Puts small files of a partition together; no commit where there are none. Rows stay as they are, and a reader of changes sees
        none. Never conflicts with what others append; ConflictError if they have replaced what was to be put together."""
        files = DeltaTable.forPath(self.spark, self.path(table)).optimize()
        with self._noted(night), self._commit(table):
            (files.where(partitions) if partitions else files).executeCompaction()

    def vacuum(self, table: Table, days: int) -> int:
        """Removes files that no version of the last so many days reads, those of writers that were killed too. Returns the bytes that
        are free now."""
        before, files = self._stored(table)
        if files == self.files(table):
            return 0
        DeltaTable.forPath(self.spark, self.path(table)).vacuum(24 * days)
        return max(0, before - self._stored(table)[0])  # a night at work may have written meanwhile

    def purge(self, table: Table, key: str, gone: DataFrame, night: Night) -> int:
        """Deletes the rows whose key is among those of `gone`, each there once, and every file of the table that was not written since: no
        version before this one can be read any more. Returns how many rows it were.

        A writer that began before has files of its own among them: the change of the table's properties makes its commit a ConflictError.
        Files of one that begins meanwhile are younger than that change, by the storage's clock, and stay.
        """
        stored = DeltaTable.forPath(self.spark, self.path(table))
        with self._noted(night), self._commit(table):
            merge = stored.alias("stored").merge(gone.select(key).alias("gone"), f"stored.{key} = gone.{key}").whenMatchedDelete()
            deleted = int(merge.execute().collect()[0]["num_deleted_rows"])
            stamp = str(time.time_ns())
            self.spark.sql(f"ALTER TABLE delta.`{self.path(table)}` SET TBLPROPERTIES ('{PURGED}' = '{stamp}')")
        changed = stored.history().where(F.col("operationParameters")["properties"].contains(stamp)).collect()
        self._files_before(table, changed[0]["version"]).createOrReplaceTempView("files_before")
        self.spark.conf.set(RETENTION_CHECK, "false")
        try:
            self.spark.sql(f"VACUUM delta.`{self.path(table)}` USING INVENTORY (SELECT * FROM files_before) RETAIN 0 HOURS")
        finally:
            self.spark.conf.set(RETENTION_CHECK, "true")
            self.spark.catalog.dropTempView("files_before")
        return deleted

    def purged(self, table: Table) -> str:
        """What changes with every purge of the table; empty before the first, and without a table."""
        if not self.exists(table):
            return ""
        properties = DeltaTable.forPath(self.spark, self.path(table)).detail().select("properties").collect()[0][0]
        return str(properties.get(PURGED, ""))

    def _files_before(self, table: Table, version: int) -> DataFrame:
        """The files of the table that are older than that version's entry in its log, as VACUUM reads an inventory."""
        storage, root = self._folder(self.path(table))
        _, entry = self._folder(f"{self.path(table)}/_delta_log/{version:020}.json")
        written, found, files = storage.getFileStatus(entry).getModificationTime(), [], storage.listFiles(root, True)
        while files.hasNext():
            file = files.next()
            path, at = file.getPath().toString(), file.getModificationTime()
            if at < written and "/_delta_log/" not in path and not file.getPath().getName().startswith("."):
                found.append((path, file.getLen(), False, at))
        return self.spark.createDataFrame(found, "path string, length bigint, isDir boolean, modificationTime bigint")

    def _stored(self, table: Table) -> tuple[int, int]:
        """Bytes and files in the table's folder, its log apart."""
        (storage, whole), (_, log) = (self._folder(path) for path in (self.path(table), f"{self.path(table)}/_delta_log"))
        whole, log = storage.getContentSummary(whole), storage.getContentSummary(log)
        return int(whole.getLength() - log.getLength()), int(whole.getFileCount() - log.getFileCount())

    @contextmanager
    def _noted(self, night: Night, note: dict[str, object] | None = None) -> Iterator[None]:
        """For commands that have no option for a commit's note."""
        self.spark.conf.set("spark.databricks.delta.commitInfo.userMetadata", _note(night, note))
        try:
            yield
        finally:
            self.spark.conf.unset("spark.databricks.delta.commitInfo.userMetadata")

    def version(self, table: Table) -> int:
        """Number of the table's newest commit, from the names of its log's files, which are part of Delta's protocol: in milliseconds,
        where its history takes a job."""
        storage, log = self._folder(f"{self.path(table)}/_delta_log")
        names = [file.getPath().getName() for file in storage.listStatus(log)]
        return max(int(name.removesuffix(".json")) for name in names if re.fullmatch(r"\d{20}\.json", name))

    def _folder(self, path: str) -> tuple[Any, Any]:
        """Hadoop's file system of a folder, and the folder in it: Python has no name for either."""
        context: Any = self.spark.sparkContext
        folder = context._jvm.org.apache.hadoop.fs.Path(path)
        return folder.getFileSystem(context._jsc.hadoopConfiguration()), folder

    @contextmanager
    def _commit(self, table: Table) -> Iterator[None]:
        """Asks the fence first, and names the table in whatever a commit raises."""
        self.fence()
        try:
            yield
        except CONFLICTS as error:
            self.fence()  # whoever has taken the night over is told rather than the commit that got in the way
            raise ConflictError(f"another writer changed {table.name} at the same moment", "run the stage again") from error
        except AnalysisException as error:
            raise ContractError(
                f"{table.name} refused the write: {error}", "see that the lake holds tables of this program's version"
            ) from error

    def _check_schema(self, table: Table, found: StructType) -> None:
        """Raises ContractError listing every difference, both sides."""
        expected = {column.name: column.type for column in table.columns}
        actual = {field.name: field.dataType.simpleString() for field in found.fields}
        faults = [f"{name} {kind} is missing" for name, kind in expected.items() if name not in actual]
        faults += [f"{name} {kind} is not declared" for name, kind in actual.items() if name not in expected]
        faults += [
            f"{name} is {actual[name]}, declared {kind}" for name, kind in expected.items() if name in actual and actual[name] != kind
        ]
        if faults:
            raise ContractError(
                f"{table.name}: {'; '.join(faults)}",
                "run `shelfmates prepare`, which extends tables of earlier versions; else make the two agree with jobs/tables.py",
            )


def among(column: str, values: Iterable[date | str]) -> str:
    """The SQL predicate of the partitions that have these values."""
    listed = (f"DATE'{value}'" if isinstance(value, date) else f"'{_quoted(value)}'" for value in values)
    return f"{column} IN ({', '.join(listed)})"


def _checksum(frame: DataFrame) -> Any:
    """How many rows there are, and a sum of all that they hold, in any order."""
    of_row = F.xxhash64(F.to_json(F.struct("*")))  # as text: a hash of columns passes over nulls
    return frame.agg(F.count("*"), F.sum(of_row.cast("decimal(38,0)"))).collect()


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _note(night: Night, note: dict[str, object] | None) -> str:
    return json.dumps({"run_id": night.run_id, "snapshot_date": night.date.isoformat()} | (note or {}))
