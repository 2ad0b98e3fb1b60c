"""The index of a night on this machine's disk: made once by the first command that needs it, mapped into memory by those that follow.

A folder an index, named by the night and by a key of all that decides what is compared (`Snapshot.key`), so that an index is never out of
date: what changes has another name. It is written under a name of its own and renamed when it is whole, so that commands may make the same
one at once. Those that were used last stay, others are removed.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.errors import ToolchainError
from jobs.fusion import READ, Reading, Sought
from jobs.lexicon import Inverted
from jobs.search import Index

KEPT = 3  # indexes: today's, yesterday's, and one of another catalogue
NAMED = re.compile(r"\d{4}-\d\d-\d\d-[0-9a-f]{12}")  # a night and a key
VECTORS, ITEMS, UNFINISHED = "vectors", "items.arrow", "unfinished-"
DAY = 86_400  # seconds: by then nobody is still at work on an index
TOLD = ("known", "spelt", "coded", "placed", "prices", "currencies")  # of `Items.told`, in this order
TERMS = ("titles", "fields", "codes", "categories")


def stored(
    folder: Path, name: str, made: Callable[[], tuple[Index, pa.Table]], reading: Callable[[int], Reading]
) -> tuple[Index, pa.Table]:
    """The index of that name in the folder, made first if it is not there, and what is shown of its items: rows in the same order. Raises
    ToolchainError where the folder cannot be written."""
    try:
        if not (folder / name).is_dir():
            write(folder / name, *made())
        os.utime(folder / name)  # used now
        found = read(folder / name, reading)
        remove_all_but(KEPT, folder)
    except OSError as error:
        raise ToolchainError(
            f"the index of the night cannot be kept in {folder}: {error}", "free space there, or set search.index to another folder"
        ) from error
    return found


def write(folder: Path, index: Index, shown: pa.Table) -> None:
    """The folder, whole or not at all. Where another command has made it meanwhile, its one stays."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder.parent))
    try:
        for name, array in arrays_of(index.sought).items():
            np.save(unfinished / f"{name}.npy", array)
        read_of = index.columns.rename_columns([f"read_{name}" for name in READ])
        both = pa.table(dict(zip([*shown.column_names, *read_of.column_names], [*shown.columns, *read_of.columns], strict=True)))
        with pa.OSFile(str(unfinished / ITEMS), "wb") as file, pa.ipc.new_file(file, both.schema) as writer:
            writer.write_table(both.combine_chunks())
        try:
            unfinished.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another command has made it meanwhile
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def read(folder: Path, reading: Callable[[int], Reading]) -> tuple[Index, pa.Table]:
    """The index and what is shown of its items, mapped: what is not looked at is not read. reading: by the vectors' dimension."""

    def mapped(name: str) -> Any:
        # to be written to as far as the loops know; what would be written is this process's own
        return np.load(folder / f"{name}.npy", mmap_mode="c").view(np.ndarray)

    def inverted(name: str) -> Inverted:
        return Inverted(len(vectors), *(mapped(f"{name}.{part}") for part in ("lists", "starts", "rows", "weights")))

    vectors, bare = mapped(VECTORS), not (folder / "fields.rows.npy").is_file()
    titles = inverted("titles")
    fields = titles if bare else inverted("fields")
    known, spelt, coded, placed, prices, currencies = (mapped(name) for name in TOLD)
    told = known, spelt, coded, placed, prices, currencies
    sought = Sought(vectors, told, titles, fields, inverted("codes"), inverted("categories"), bare)
    both = pa.ipc.open_file(pa.memory_map(str(folder / ITEMS))).read_all()
    own = [name for name in both.column_names if name.startswith("read_")]
    columns = both.select(own).rename_columns(list(READ))
    return Index(sought, columns, reading(vectors.shape[1])), both.drop_columns(own)


def arrays_of(sought: Sought) -> dict[str, Any]:
    """All arrays by the names of their files. Fields that say no more than the titles are none of their own."""
    found = {VECTORS: sought.vectors} | dict(zip(TOLD, sought.told, strict=True))
    for name in TERMS:
        if not (name == "fields" and sought.bare):
            lists, starts, rows, weights = getattr(sought, name).arrays
            cut = starts[: lists.max() + 2]  # its room is for as many lists as there are terms
            found |= {
                f"{name}.{part}": array
                for part, array in zip(("lists", "starts", "rows", "weights"), (lists, cut, rows, weights), strict=True)
            }
    return found


def remove_all_but(count: int, folder: Path) -> None:
    """All indexes but so many that were used last, and what commands that were killed have left."""
    used = dict[Path, float]()
    for one in folder.iterdir():
        with suppress(FileNotFoundError):  # another command has just renamed or removed it
            used[one] = one.stat().st_mtime
    whole = sorted((one for one in used if NAMED.fullmatch(one.name)), key=used.__getitem__, reverse=True)  # whatever else is not ours
    latest = used[whole[0]] if whole else 0
    left = [one for one in used if one.name.startswith(UNFINISHED) and used[one] < latest - DAY]
    for one in whole[count:] + left:
        shutil.rmtree(one, ignore_errors=True)
