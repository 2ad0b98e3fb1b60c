"""The items of a published night that are most like a text, or like one of them, without Spark: by the similarity that is published.

The first command for a night makes an index of it (`index`), which takes some ten seconds for 100,000 items; later ones map it. What then
takes longest is loading the encoder, some seconds, which the id of an item does without; several queries pay for it once. A text is read
as the title of an item of which nothing else is known. An item is compared with all of the night, wherever `neighbours.block_by` and
`neighbours.across` would draw a line.
"""

import csv
import io
import json
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs import encoder, index, snapshot, text
from jobs.errors import SettingsError
from jobs.fusion import Near, Vectors
from jobs.kernel import NONE
from jobs.search import Index
from jobs.settings import Settings
from jobs.snapshot import Snapshot
from jobs.tables import PARTS

SHOWN = ("item_id", "title", "brand", "price", "currency")  # kept of every item
WIDTH = 60  # characters of a title in a table


class Similar(NamedTuple):
    """One item that a query has found; of its parts None where one does not count."""

    rank: int
    item_id: str
    similarity: float
    parts: dict[str, float | None]
    title: str
    brand: str | None
    price: Decimal | None
    currency: str | None


@dataclass(frozen=True)
class Shelf:
    """The items of a night, ready to be asked; `items` are rows of SHOWN, in the order of the index."""

    snapshot: Snapshot
    index: Index
    items: pa.Table

    def similar(self, query: str, k: int) -> list[Similar]:
        """The k most similar items, the nearest first, of the item whose id it is, else of the text as a title. Raises SettingsError for
        an empty query, and a k below 1."""
        if k < 1:
            raise SettingsError(f"k is {k}", "ask for 1 or more")
        place = pc.index(self.items["item_id"], query.strip()).as_py()
        source, colon, _ = query.strip().partition(":")
        if place < 0 and colon and source in self.snapshot.settings.sources and " " not in query.strip():
            raise SettingsError(
                f"there is no item {query.strip()} in the night of {self.snapshot.night}", "name another one, or write a text"
            )
        return self._found(self.index.nearest_of(place, k) if place >= 0 else self._nearest_to(query, k))

    def _nearest_to(self, query: str, k: int) -> Near:
        if (title := text.clean(query)) is None:
            raise SettingsError("the query is empty", "write a title, or the id of an item of the night")
        return self.index.nearest(self._vector(title), self.snapshot.columns_of_title(title), k)

    def _vector(self, title: str) -> Vectors:
        dimension, embed = self.index.reading.dimension, self.snapshot.settings.embed
        if not self.index.reading.weights[0]:
            return np.zeros(dimension, dtype=np.float32)
        found: Vectors = loaded(self.snapshot.folder).encode([text.joined([title], embed.max_characters)]).vectors[0]
        return found

    def _found(self, near: Near) -> list[Similar]:
        positions = near.positions[0][near.positions[0] != NONE]
        rows = self.items.take(positions).to_pylist()
        return [
            Similar(rank, similarity=float(similarity), parts=parts_of(parts), **row)
            for rank, (row, similarity, parts) in enumerate(zip(rows, near.similarities[0], near.parts[0], strict=False), start=1)
        ]


def shelf_of(settings: Settings, night: date | None = None) -> Shelf:
    """The night, or the newest published, with its index. Raises as `snapshot.of_night` and `index.stored`."""
    of = snapshot.of_night(settings, night)

    def made() -> tuple[Index, pa.Table]:
        began, items = time.perf_counter(), of.items()
        said(f"{len(items):,} items of {of.night} are read for the first time")
        vectors = of.vectors(items["content_hash"])
        found = Index.of(vectors, of.columns(items), of.reading(vectors.shape[1]), os.cpu_count() or 1)
        said(f"read in {time.perf_counter() - began:.1f} s; kept in {settings.search.index}")
        return found, items.select(SHOWN)

    return Shelf(of, *index.stored(Path(settings.search.index), f"{of.night}-{of.key}", made, of.reading))


@cache
def loaded(folder: Path) -> encoder.Encoder:
    """The encoder in float32: to find out which half precision is faster would take longer than to encode some texts."""
    said("the encoder is loaded")
    return encoder.in_float32(folder)


def said(what: str) -> None:
    print(f"similar: {what}", file=sys.stderr, flush=True)


def parts_of(parts: Vectors) -> dict[str, float | None]:
    return {name: None if math.isnan(part) else float(part) for name, part in zip(PARTS, parts, strict=True)}


def answers(shelf: Shelf, queries: Iterable[str], k: int, form: str) -> Iterator[str]:
    """Of each query what was found as text: a table for people, csv with the query before each row, a line of json."""
    for number, query in enumerate(queries):
        found = shelf.similar(query, k)
        if form == "json":
            told = [row._asdict() | {"price": None if row.price is None else float(row.price)} for row in found]
            yield json.dumps({"query": query, "similar": told}, ensure_ascii=False)
        elif form == "csv":
            rows: list[list[Any]] = [[query, *(row._asdict() | {"parts": json.dumps(row.parts)}).values()] for row in found]
            yield _csv(rows if number else [["query", *Similar._fields], *rows])
        else:
            yield f"{query.strip()} (night {shelf.snapshot.night})\n{_table(found)}\n"


def _csv(rows: list[list[Any]]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(rows)
    return written.getvalue().rstrip("\n")


def _table(found: list[Similar]) -> str:
    if not found:
        return "  nothing in it can be compared with that"
    counted = [part for part in PARTS if any(row.parts[part] is not None for row in found)]

    def cells(row: Similar) -> list[Any]:
        parts = [row.parts[part] for part in counted]
        price = "" if row.price is None else f"{row.price:,} {row.currency or ''}".strip()
        title = row.title if len(row.title) <= WIDTH else f"{row.title[: WIDTH - 1]}…"
        numbers = [f"{row.similarity:.3f}", *("" if part is None else f"{part:.3f}" for part in parts)]
        return [str(row.rank), row.item_id, *numbers, title, row.brand or "", price]

    lines = [["rank", "item_id", "similarity", *counted, "title", "brand", "price"], *map(cells, found)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    left = {1, len(lines[0]) - 3, len(lines[0]) - 2}  # item_id, title, brand
    return "\n".join(
        "  "
        + "  ".join(
            cell.ljust(width) if at in left else cell.rjust(width) for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
