"""What the explorer's readers have asked for of the lake, held at hand in a DuckDB file of this process.

Part of a table, mostly a night's rows, is read once, through delta-rs from wherever the lake lies, and kept in the order in which it is
looked up: a product and its neighbours are found in milliseconds, where the lake's own files would be read from end to end. What is held
is known by the Delta files it came from: a night that is published again is read again, and the others stay. Nothing is written to the
lake, and nothing outside it is read.
"""

import atexit
import tempfile
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from threading import Lock
from typing import TypeVar, cast

import duckdb
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

MEMORY = "256MB"  # DuckDB's own; what does not fit waits in the file
HELD = 128  # parts: a month of nights, each with its products, their words, its pairs and what was refused
THREADS = 2  # of one query; many are asked at once
TOLD = 128  # answers that many ask for
FRESH = 1.0  # seconds for which a table's log is not looked at again


Told = TypeVar("Told")


class NotThereError(Exception):
    """A table, a night or a product that there is not."""


@dataclass(frozen=True)
class Part:
    """What is held of a table: a SELECT `FROM source`, which is all of it, or of one night."""

    table: str
    select: str
    night: date | None = None

    @property
    def files(self) -> list[tuple[str, str, str]] | None:
        return [("snapshot_date", "=", str(self.night))] if self.night else None


@dataclass
class _Held:
    name: "Future[str]"  # of the DuckDB table, once it is read
    readers: int = 0


class Shelf:
    """root: of the lake, a folder or an address that delta-rs knows. Ends with the process, or with `close`."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._folder = tempfile.TemporaryDirectory(prefix="shelfmates-explorer-")
        self._database = duckdb.connect(f"{self._folder.name}/held.duckdb", config={"memory_limit": MEMORY, "threads": THREADS})
        self._logs: dict[str, tuple[DeltaTable, float]] = {}
        self._held: OrderedDict[tuple[Part, tuple[str, ...]], _Held] = OrderedDict()
        self._told: OrderedDict[tuple[Hashable, ...], object] = OrderedDict()
        self._opening: defaultdict[str, Lock] = defaultdict(Lock)
        self._loading = Lock()  # two nights that are sorted at once do not fit the memory
        self._lock, self._made = Lock(), 0
        atexit.register(self.close)

    def close(self) -> None:
        """Lets go of all that is held. Does nothing the second time."""
        self._database.close()
        self._folder.cleanup()
        atexit.unregister(self.close)

    @contextmanager
    def reading(self, **parts: Part) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that has the parts as they are now as views of these names, for as long as the `with` lasts."""
        with self._taking(parts.values()) as held, self._viewing(parts, held) as connection:
            yield connection

    def told(self, tell: Callable[..., Told], *values: Hashable, **parts: Part) -> Told:
        """What `tell` makes of a connection to the parts and these values; what it has made of them before, if the parts are the same
        still. To be left as it is."""
        with self._taking(parts.values()) as held:
            of = tell.__qualname__, *values, *held
            if (known := self._told.get(of)) is None:
                with self._viewing(parts, held) as connection:
                    known = tell(connection, *values)
                with self._lock:
                    self._told[of] = known
                    while len(self._told) > TOLD:
                        self._told.popitem(last=False)
        return cast(Told, known)

    @contextmanager
    def _viewing(self, names: Iterable[str], held: Iterable[str]) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._database.cursor() as cursor:
            for name, table in zip(names, held, strict=True):
                cursor.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS FROM {table}")
            yield cursor

    @contextmanager
    def _taking(self, parts: Iterable[Part]) -> Iterator[list[str]]:
        """The names of the DuckDB tables that hold the parts."""
        held: list[_Held] = []
        try:
            for part in parts:
                held.append(self._taken(part))
            yield [one.name.result() for one in held]
        finally:
            with self._lock:
                for one in held:
                    one.readers -= 1

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
                try:
                    log = DeltaTable(f"{self.root}/{table}")
                except TableNotFoundError:
                    raise NotThereError(f"the lake has no table {table} yet: run a night first") from None
                self._logs[table] = log, time.monotonic()
            return log

    def _taken(self, part: Part) -> _Held:
        """The part, with one reader more. Who asks first reads it from the lake, without keeping others from what is there."""
        log = self._log(part.table)
        key = part, tuple(log.file_uris(file_pruning_predicate=part.files))
        with self._lock:
            mine = key not in self._held
            held = self._held.setdefault(key, _Held(Future()))
            held.readers += 1
            self._held.move_to_end(key)
            self._made += mine
            name = f"held_{self._made}"
        if mine:
            try:
                with self._loading, self._database.cursor() as cursor:
                    cursor.register("source", log.to_pyarrow_dataset(file_pruning_predicate=part.files))
                    cursor.execute(f"CREATE TABLE {name} AS {part.select}")
            except BaseException as error:
                with self._lock:
                    del self._held[key]  # who asks next tries again
                held.name.set_exception(error)
                raise
            held.name.set_result(name)
            self._forget()
        return held

    def _forget(self) -> None:
        """Drops what was asked for longest ago, and nobody reads now."""
        with self._lock:
            idle = [key for key, held in self._held.items() if not held.readers]
            gone = [self._held.pop(key) for key in idle[: max(0, len(self._held) - HELD)]]
        for held in gone:
            self._database.cursor().execute(f"DROP TABLE {held.name.result()}")
