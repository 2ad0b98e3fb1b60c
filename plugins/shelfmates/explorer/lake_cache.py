"""What the explorer's readers have asked for of the lake, cached in a DuckDB file of this process.

Part of a table, mostly a night's rows, is read once, through delta-rs from wherever the lake lies, and kept in the order in which it is
looked up: a product and its neighbours are found in milliseconds, where the lake's own files would be read from end to end. What is kept
is known by the Delta files it came from: a night that is published again is read again, and the others stay. Nothing is written to the
lake, and nothing outside it is read.
"""

import atexit
import os
import shutil
import tempfile
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from threading import Lock
from typing import TypeVar, cast

import duckdb
import psutil
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

MEMORY = "256MB"  # DuckDB's own; what does not fit waits in the file
MOST_PARTS = 128  # a month of nights, each with its products, their words, its pairs and what was refused
MOST_BYTES = 4 << 30  # of all parts; a night of 100,000 products takes 60 MB
MOST_ANSWERS = 128
THREADS = 2  # of one query; many are asked at once
FRESH = 1.0  # seconds for which a table's log is not looked at again
FOLDER = "shelfmates-explorer-"  # and the number of the process

Answer = TypeVar("Answer")


class NotThereError(Exception):
    """A table, a night or a product that there is not."""


@dataclass(frozen=True)
class Part:
    """What is kept of a table: a SELECT `FROM source`, which is all of it, or of one night."""

    table: str
    select: str
    night: date | None = None

    @property
    def files(self) -> list[tuple[str, str, str]] | None:
        return [("snapshot_date", "=", str(self.night))] if self.night else None


@dataclass
class _Entry:
    name: "Future[str]"  # of the DuckDB table, once it is read
    bytes: int = 0
    readers: int = 0


class LakeCache:
    """root: of the lake, a folder or an address that delta-rs knows. Ends with the process, or with `close`."""

    def __init__(self, root: str) -> None:
        self.root = root
        remove_leftovers()
        self._folder = tempfile.TemporaryDirectory(prefix=f"{FOLDER}{os.getpid()}-")
        self._database = duckdb.connect(f"{self._folder.name}/cache.duckdb", config={"memory_limit": MEMORY, "threads": THREADS})
        self._logs: dict[str, tuple[DeltaTable, float]] = {}
        self._entries: OrderedDict[tuple[Part, tuple[str, ...]], _Entry] = OrderedDict()
        self._answers: OrderedDict[tuple[Hashable, ...], object] = OrderedDict()
        self._opening: defaultdict[str, Lock] = defaultdict(Lock)
        self._loading = Lock()  # two nights that are sorted at once do not fit the memory
        self._lock, self._made = Lock(), 0
        atexit.register(self.close)

    def close(self) -> None:
        """Lets go of everything. Does nothing the second time."""
        self._database.close()
        self._folder.cleanup()
        atexit.unregister(self.close)

    @contextmanager
    def reading(self, **parts: Part) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that has the parts as they are now as views of these names, for as long as the `with` lasts."""
        with self._leased(parts.values()) as tables, self._viewing(parts, tables) as connection:
            yield connection

    def memoised(self, answer: Callable[..., Answer], *values: Hashable, **parts: Part) -> Answer:
        """What `answer` makes of a connection to the parts and these values; what it has made of them before, if the parts are the same
        still. To be left as it is."""
        with self._leased(parts.values()) as tables:
            of = answer.__qualname__, *values, *tables
            if (known := self._answers.get(of)) is None:
                with self._viewing(parts, tables) as connection:
                    known = answer(connection, *values)
                with self._lock:
                    self._answers[of] = known
                    while len(self._answers) > MOST_ANSWERS:
                        self._answers.popitem(last=False)
        return cast(Answer, known)

    @contextmanager
    def _viewing(self, names: Iterable[str], tables: Iterable[str]) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._database.cursor() as cursor:
            for name, table in zip(names, tables, strict=True):
                cursor.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS FROM {table}")
            yield cursor

    @contextmanager
    def _leased(self, parts: Iterable[Part]) -> Iterator[list[str]]:
        """The names of the DuckDB tables that hold the parts."""
        entries: list[_Entry] = []
        try:
            for part in parts:
                entries.append(self._entry(part))
            yield [entry.name.result() for entry in entries]
        finally:
            with self._lock:
                for entry in entries:
                    entry.readers -= 1

    def nights(self, table: str) -> list[date]:
        """The nights that a table partitioned by snapshot_date has rows of, oldest first; none where there is no such table yet."""
        try:
            log = self._log(table)
        except NotThereError:
            return []
        return sorted(date.fromisoformat(partition["snapshot_date"]) for partition in log.partitions())

    def _log(self, table: str) -> DeltaTable:
        """The table as it was at most FRESH seconds ago: opened anew, since a lake may be made anew. Raises NotThereError."""
        with self._lock:
            opening = self._opening[table]
        with opening:
            log, at = self._logs.get(table, (None, 0.0))
            if log is None or time.monotonic() - at > FRESH:
                from jobs.address import delta_table

                try:
                    log = delta_table(f"{self.root}/{table}")
                except TableNotFoundError:
                    raise NotThereError(f"the lake has no table {table} yet: run a night first") from None
                self._logs[table] = log, time.monotonic()
            return log

    def _entry(self, part: Part) -> _Entry:
        """The part, with one reader more. Who asks first reads it from the lake, without keeping others from what is there."""
        log = self._log(part.table)
        key = part, tuple(log.file_uris(file_pruning_predicate=part.files))
        with self._lock:
            mine = key not in self._entries
            entry = self._entries.setdefault(key, _Entry(Future()))
            entry.readers += 1
            self._entries.move_to_end(key)
            self._made += mine
            name = f"part_{self._made}"
        if mine:
            try:
                with self._loading, self._database.cursor() as cursor:
                    cursor.register("source", log.to_pyarrow_dataset(file_pruning_predicate=part.files))
                    before = _used(cursor)
                    cursor.execute(f"CREATE TABLE {name} AS {part.select}")
                    entry.bytes = _used(cursor) - before
            except BaseException as error:
                with self._lock:
                    del self._entries[key]  # who asks next tries again
                entry.name.set_exception(error)
                raise
            entry.name.set_result(name)
            self._forget()
        return entry

    def _forget(self) -> None:
        """Drops what was asked for longest ago, and nobody reads now, as long as there is too much."""
        gone: list[_Entry] = []
        with self._lock:
            idle = [key for key, entry in self._entries.items() if not entry.readers]
            size = sum(entry.bytes for entry in self._entries.values())
            while idle and (len(self._entries) > MOST_PARTS or size > MOST_BYTES):
                gone.append(self._entries.pop(idle.pop(0)))
                size -= gone[-1].bytes
        if gone:
            with self._loading, self._database.cursor() as cursor:
                for entry in gone:
                    cursor.execute(f"DROP TABLE {entry.name.result()}")
                with suppress(duckdb.TransactionException):  # somebody is in the midst of something: the next time
                    cursor.execute("CHECKPOINT")  # else what is dropped keeps its place in the file


def _used(cursor: duckdb.DuckDBPyConnection) -> int:
    """Bytes of the file that hold something."""
    ((used,),) = cursor.execute("SELECT used_blocks * block_size FROM pragma_database_size()").fetchall()
    return int(used)


def remove_leftovers() -> None:
    """Of processes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*-*"):
        number = folder.name.removeprefix(FOLDER).partition("-")[0]
        if number.isdecimal() and not psutil.pid_exists(int(number)):
            shutil.rmtree(folder, ignore_errors=True)
