"""A published night as small as may be, written by delta-rs: a dozen products with real vectors, a real lexicon, and their lists."""

import hashlib
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from jobs import encoder, fusion, lexicon, script
from jobs.pool import alone
from jobs.settings import Settings, load
from jobs.tables import PARTS
from tests.conftest import MINIMAL
from tests.dags.explorer_lake import write

NIGHT = date(2026, 1, 5)
K = 5  # published of each
PRODUCTS = {  # item_id: title, brand, model, description, price
    "oak": ("Oak desk 120 cm", "Inkwell", "DK-120", "A desk of oak for small rooms", "199.00"),
    "pine": ("Pine desk 120 cm", "Inkwell", "DK-121", "A desk of pine for small rooms", "149.00"),
    "pine2": ("Pine desk 120 cm", "Inkwell", "DK-121", "A desk of pine for small rooms", "149.00"),  # reads the same
    "beech": ("Beech desk 160 cm", "Inkwell", "DK-160", None, "249.00"),
    "lamp": ("Desk lamp LX-200", "Lumen", "LX-200", "Desk lamp LX-200 of steel, for reading", None),
    "bulb": ("Light bulb E27 9 W", "Lumen", None, None, "3.90"),
    "chair": ("Chair for children", None, None, "A chair of oak", "49.00"),
    "kettle": ("Steel kettle 1,5 l", "Inkwell", "K15", None, "39.00"),
    "pot": ("Tea pot", None, None, "Of steel, 1.5 l", "29.00"),
    "sofa": ("Écritoire sofa", None, None, None, "999.00"),
    "cup": ("Cup", None, None, None, "2.00"),
    "tray": ("Wooden tray", "Inkwell", None, "Of beech and oak", "12.00"),
}


def settings_of(folder: Path, model: Path, *more: str) -> Settings:
    file = folder / "shelfmates.toml"
    file.write_text("\n".join([MINIMAL, '[lake]\nroot = "lake"', f'[embed]\nmodel = "{model}"', *more]), encoding="utf-8")
    return load(file, environment={})


def read_as(*, known: dict[str, float], dimension: int) -> fusion.Reading:
    book = lexicon.counted(pa.array(sorted(set(columns()["fields"].to_pylist()))))
    return fusion.Reading(np.array([0.4, 0.4, 0.2, 0, 0], np.float32), book, script.weights(known), dimension)


def columns() -> pa.Table:
    """What is read of every product, in the order of their ids, written out: a description that begins with the title stands for it."""
    titles = [PRODUCTS[name][0] for name in sorted(PRODUCTS)]
    fields = [
        " ".join(part for part in ("" if (told or "").startswith(title) else title, brand, model, told) if part)
        for title, brand, model, told, _ in (PRODUCTS[name] for name in sorted(PRODUCTS))
    ]
    nothing = [""] * len(titles)
    values = titles, fields, [0.0] * len(titles), nothing, nothing
    return pa.table({name: pa.array(of, kind) for (name, kind), of in zip(fusion.READ.items(), values, strict=True)})


@cache
def compared(model: Path) -> tuple[fusion.Items, fusion.Reading]:
    """The products as they are compared."""
    vectors = encoder.in_float32(model, "cpu").encode(columns()["title"].to_pylist()).vectors
    reading = read_as(known=script.known_to(model), dimension=vectors.shape[1])
    return fusion.items(vectors, columns(), reading), reading


def publish(folder: Path, model: Path, *more: str) -> Settings:
    """The night in a lake in the folder; further lines of settings."""
    root, names = folder / "lake", sorted(PRODUCTS)
    of, reading = compared(model)
    model_id, book = encoder.model_id(model), reading.lexicon
    write(root, "clean_items", [_item(name) for name in names])
    hashes = {_hash(PRODUCTS[name][0]): vector for name, vector in zip(names, of.vectors, strict=True)}
    stored = {"model_id": model_id, "dimension": of.vectors.shape[1]}
    write(root, "item_vectors", [stored | {"content_hash": of, "vector": vector.tobytes()} for of, vector in hashes.items()])
    settings = settings_of(folder, model, *more)
    counts = {"grams": book.grams.astype("<i4").tobytes(), "codes": book.codes.astype("<i4").tobytes(), "texts": book.texts}
    counted = {"lexicon_id": "counted", "counted_at": datetime(2026, 1, 5, tzinfo=UTC), "reading": lexicon.named(settings.weigh.reading)}
    write(root, "lexicons", [counted | counts])
    with alone() as pool:
        every = np.arange(len(names))
        near = fusion.settled(of, reading.weights, every, fusion.others(len(names), None), K, pool)
    write(root, "neighbours", [_pair(names, near, row, rank) | {"model_id": model_id} for row in every for rank in range(1, K + 1)])
    return settings


def _item(name: str) -> dict[str, Any]:
    title, brand, model, description, price = PRODUCTS[name]
    told = {"title": title, "brand": brand, "model": model, "description": description, "price": price and Decimal(price)}
    whole = {"snapshot_date": NIGHT, "item_id": name, "source": "shop", "currency": price and "EUR", "attributes": {}, "folded": 0}
    return told | whole | {"text": title, "content_hash": _hash(title)}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _pair(names: list[str], near: fusion.Near, row: int, rank: int) -> dict[str, Any]:
    parts = [None if np.isnan(part) else float(part) for part in near.parts[row, rank - 1]]
    of = {"snapshot_date": NIGHT, "item_id": names[row], "rank": rank, "neighbour_id": names[near.positions[row, rank - 1]]}
    return of | {"similarity": float(near.similarities[row, rank - 1]), "parts": dict(zip(PARTS, parts, strict=True)), "run_id": "test"}
