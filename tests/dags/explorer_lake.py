"""A small lake as the explorer finds it, written by delta-rs: a night that is published, and one that is held. Some titles are hostile."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from jobs.tables import PARTS, TABLES

PUBLISHED, HELD = date(2026, 1, 5), date(2026, 1, 6)
HOSTILE = {
    "script": "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">",
    "quotes": '6" "single" \'double\' `back` \\ {{ 7 * 7 }} ${7 * 7}',
    "bidirectional": "\u202egnp.exe \u2067desk\u2069 \u200fשולחן",
    "long": "deskdesk" * 1250,
    "nul": "desk\x00lamp",
    "sql": "'; DROP TABLE items; --",
    "a/b?c=d&e#f": "a desk whose id looks like an address",
}
PLAIN = {"oak": "Écritoire oak desk", "pine": "Pine desk 120 cm", "lamp": "Desk lamp LX-200"}
GONE, CAME = "pine", "sql"  # of the second night, in which the lamp has another price

_TYPES = {
    "date": pa.date32(),
    "string": pa.string(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "binary": pa.binary(),
    "timestamp": pa.timestamp("us", "UTC"),
    "decimal(18,2)": pa.decimal128(18, 2),
    "array<string>": pa.list_(pa.string()),
    "map<string,string>": pa.map_(pa.string(), pa.string()),
    "map<string,double>": pa.map_(pa.string(), pa.float64()),
}


def write(root: Path, name: str, rows: list[dict[str, Any]], mode: str = "append", predicate: str | None = None) -> None:
    """Rows of a table, by the names of its columns; those that a row lacks are null."""
    table = TABLES[name]
    parts = pa.struct([(part, pa.float32()) for part in PARTS])
    schema = pa.schema([(column.name, parts if column.name == "parts" else _TYPES[column.type]) for column in table.columns])
    filled = [{column: row.get(column) for column in table.column_names} for row in rows]
    data = pa.Table.from_pylist(filled, schema)
    more = {"predicate": predicate} if predicate else {}
    write_deltalake(str(root / name), data, mode=mode, partition_by=list(table.partition) or None, **more)


def product(night: date, item_id: str, title: str, price: str) -> dict[str, Any]:
    whole = {"item_id": item_id, "title": title, "source": "shop", "price": Decimal(price), "currency": "EUR", "brand": "Inkwell"}
    return whole | {"snapshot_date": night, "attributes": {"colour": "red"}, "text": title, "content_hash": item_id, "folded": 0}


def pairs(night: date, names: list[str], count: int, run: str) -> list[dict[str, Any]]:
    """Each product with those that follow it, so many of them."""
    found = []
    for at, item_id in enumerate(names):
        for rank in range(1, count + 1):
            other, near = names[(at + rank) % len(names)], 1 - rank / 10
            parts = {"semantic": near, "lexical": near / 2, "codes": None, "price": None, "category": None}
            of = {"snapshot_date": night, "item_id": item_id, "rank": rank, "neighbour_id": other, "similarity": near, "parts": parts}
            found.append(of | {"model_id": "tiny@1", "run_id": run})
    return found


def stages(night: date, run: str, outcomes: dict[str, str], rows: int, hour: int = 3) -> list[dict[str, Any]]:
    figures = {"neighbours": {"recall": 0.99, "recall_low": 0.98, "recall_high": 1.0, "coverage": 1.0, "increment": 0.0, "k": 2.0}}
    return [
        {"snapshot_date": night, "run_id": run, "stage": stage, "started_at": datetime(2026, 1, night.day, hour, minute, tzinfo=UTC)}
        | {"seconds": 1.5, "outcome": outcome, "rows_in": rows, "rows_out": 2 if stage == "validate" else rows, "peak_memory_mb": 500.0}
        | {"figures": list(figures.get(stage, {}).items()), "versions": {}}
        for minute, (stage, outcome) in enumerate(outcomes.items())
    ]


def check(night: date, run: str, name: str, figure: float, bound: str, passed: bool) -> dict[str, Any]:
    told = {"check": name, "grade": "fail", "passed": passed, "figure": figure, "bound": bound, "reason": "so that it is seen"}
    return {"snapshot_date": night, "run_id": run, **told}


def decide(root: Path) -> None:
    """What a run that is called `three` has made of the published night."""
    of_night = {"snapshot_date": PUBLISHED, "run_id": "three"}
    group = {"group_id": "lamp", "match_probability": 0.9}
    write(root, "duplicates", [of_night | group | {"item_id": name, "survivor": name == "oak"} for name in ("lamp", "oak")])
    priced = {"price": Decimal(10), "currency": "EUR", "peers": 3, "median": Decimal(100), "percentile": 0.0, "outlier": True}
    prices = [priced | {"item_id": name, "gap": gap, "cause": "decimal point"} for name, gap in (("oak", -0.5), ("script", -0.9))]
    write(root, "price_positions", [of_night | row for row in prices])
    told = {"rank": 1, "substitute_id": "oak", "similarity": 0.9, "reason": "same brand (Inkwell)", "last_listed": PUBLISHED}
    write(root, "substitutes", [of_night | told | {"item_id": name} for name in ("lamp", "not listed any more")])
    shown = [("u1", 1, "oak"), ("u1", 2, "lamp"), *((f"u{n}", 1, "oak") for n in range(2, 6)), ("anyone", 1, "lamp"), ("anyone", 2, "pine")]
    listed = [dict(zip(("user_id", "rank", "item_id"), row, strict=True)) | {"score": 0.5, "reason": "popular"} for row in shown]
    write(root, "recommendations", [of_night | row for row in listed])
    done = dict.fromkeys(("deduplicate", "position", "substitute", "recommend", "bundle"), "ok")
    write(root, "runs", stages(PUBLISHED, "three", done, 9, hour=5))
    write(root, "audit_results", [check(PUBLISHED, "three", "duplicates: single", 0, "<= 0", True)])


def make(root: Path) -> Path:
    """The lake under root."""
    first = {name: title for name, title in (PLAIN | HOSTILE).items() if name != CAME}
    second = {name: title for name, title in (PLAIN | HOSTILE).items() if name != GONE}
    for night, titles in ((PUBLISHED, first), (HELD, second)):
        prices = {name: "15.00" if name == "lamp" and night == HELD else "10.00" for name in titles}
        write(root, "clean_items", [product(night, name, title, prices[name]) for name, title in titles.items()])
    write(root, "neighbours", pairs(PUBLISHED, [*first], 2, "one"))
    write(root, "staged_neighbours", pairs(HELD, [*second], 3, "two"))
    rows = [
        {"snapshot_date": HELD, "source": "shop", "file": "/feeds/shop.csv", "row": at, "item_id": None}
        | {"reasons": reasons, "values": json.dumps({"title": HOSTILE["script"], "price": "x"})}
        for at, reasons in enumerate((["price is not a number"], ["price is not a number", "title is missing"]), 1)
    ]
    write(root, "quarantined_items", rows)
    done = dict.fromkeys(("prepare", "ingest", "validate", "clean", "weigh", "embed", "neighbours", "audit"), "ok")
    write(
        root, "runs", stages(PUBLISHED, "one", done | {"publish": "ok"}, 9) + stages(HELD, "two", done | {"audit": "HeldError: churn"}, 9)
    )
    checks = [check(PUBLISHED, "one", "night: churn", 0.1, "<= 0.5", True), check(HELD, "two", "night: churn", 0.7, "<= 0.5", False)]
    write(root, "audit_results", [*checks, check(HELD, "two", "clean_items: rows", 9, ">= 1", True)])
    released = {"snapshot_date": PUBLISHED, "run_id": "one", "who": "Ada", "why": "looked at it", "checks": ["night: churn"]}
    decide(root)
    write(root, "overrides", [released | {"released_at": datetime(2026, 1, 5, 9, tzinfo=UTC)}])
    return root
