"""Every kind of bad input through the program, and what becomes of it. `tests/golden/bad_input.md` is the table, written for people.

A sound night stands published; whatever arrives after it, the published tables stay as they were.
`SHELFMATES_REBUILD_GOLDEN=1 pytest tests/test_bad_input.py` writes the table anew.
"""

import gzip
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from jobs.errors import HeldError, ShelfmatesError
from jobs.night import Night
from jobs.settings import Settings, load
from jobs.stages import STAGES
from jobs.tables import AUDIT_RESULTS, CLEAN_ITEMS, CURRENT_NEIGHBOURS, NEIGHBOURS, QUARANTINED_ITEMS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from jobs.lake import Lake

TABLE = Path(__file__).parent / "golden" / "bad_input.md"
HEAD = ["| bad input | becomes | what is said of it |", "|---|---|---|"]
REBUILD = bool(os.environ.get("SHELFMATES_REBUILD_GOLDEN"))

SOUND = Night(date(2026, 1, 5), "sound")
BAD = Night(date(2026, 1, 6), "bad")
SETTINGS = """
[sources.shop]
path = "feeds/{date}/shop.csv"
currency = "EUR"
columns = { id = "id", title = "title", price = "price" }
[lake]
root = "lake"
[validate]
docs = "docs"
"""

HEADER = b"id,title,price\n"
CHAIRS = b"".join(b"%d,Garden chair no. %d,%d.00\n" % (n, n, n) for n in range(1, 101))
JSON = b'[{"id": 1, "title": "Lamp", "price": 5}, {"id": 2, "title": "Chair", "price": 6}]'
SMALL = "a feed much smaller than the night before"
AS_JSON = {"shop.csv": "shop.json", "currency =": 'format = "json"\ncurrency ='}

# what is wrong with a whole file -> the night's file (None: there is none), and what the settings have otherwise
FILES: dict[str, tuple[bytes | None, dict[str, str]]] = {
    "a date with no feed": (None, {}),
    "a missing file": (None, {"{date}/shop.csv": "stock.csv"}),
    "an empty file": (b"", {}),
    "a header only": (HEADER, {}),
    "the wrong encoding": (HEADER + CHAIRS + "101,Café chair,5\n".encode("cp1252"), {}),
    "the wrong separator": ((HEADER + CHAIRS).replace(b",", b";"), {}),
    "a missing mapped column": (CHAIRS.join([HEADER.replace(b"title", b"name"), b""]), {}),
    "a truncated gzip": (gzip.compress(HEADER + CHAIRS, compresslevel=0, mtime=0)[:-40], {"shop.csv": "shop.csv.gz"}),
    "JSON cut in the middle": (JSON[:-20], AS_JSON),
}

# what is wrong with a row of an otherwise sound feed -> the lines; the last of them is looked at
ROWS: dict[str, list[str]] = {
    "a row with too many fields": ["201,Lamp,5,red"],
    "a row with too few fields": ["202,Lamp"],
    "identical rows of one id": ["203,Desk lamp,5", "203,Desk lamp,5"],
    "conflicting rows of one id": ["204,Desk lamp,5", "204,Floor lamp,9"],
    "no id": [",Desk lamp,5"],
    "a blank id": ["   ,Desk lamp,5"],
    "no title": ["207,,5"],
    "a title of one character": ["208,x,5"],
    "a title of 10,000 characters": [f"209,{'lamp ' * 2000},5"],
    "control characters": ["210,Desk\x07\x1b lamp\x00,5"],
    "a negative price": ["211,Desk lamp,-5"],
    "a price of zero": ["212,Desk lamp,0"],
    "an absurd price": ["213,Desk lamp,99999999999"],
    "the price “N/A”": ["214,Desk lamp,N/A"],
    "the price “69.71 gbp”": ["215,Desk lamp,69.71 gbp"],
    "the price “1.234,50 €”": ['216,Desk lamp,"1.234,50 €"'],
    "a price that is no number": ["217,Desk lamp,cheap"],
    "an unknown currency": ["218,Desk lamp,5 XQQ"],
}

# what is wrong around the program -> its settings, and its environment
AROUND: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "a misspelt setting": ({"currency": "curency"}, {}),
    "a lake that cannot be written": ({'"lake"': '"shelfmates.toml/lake"'}, {}),
    "no Java": ({}, {"PATH": "/nowhere"}),
    "a model folder that is no model": ({"[lake]": '[embed]\nmodel = "."\n[lake]'}, {}),
}


class Shop(NamedTuple):
    folder: Path
    lake: "Lake"
    model: Path

    def settings(self, otherwise: dict[str, str]) -> Path:
        text = SETTINGS
        for old, new in otherwise.items():
            assert old in text
            text = text.replace(old, new)
        file = self.folder / "shelfmates.toml"
        file.write_text(text, encoding="utf-8")
        return file

    def feed(self, night: Night, data: bytes, name: str = "shop.csv") -> None:
        file = self.folder / "feeds" / night.date.isoformat() / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def work(self, night: Night, stages: list[str], otherwise: dict[str, str]) -> None:
        settings: Settings = load(self.settings(otherwise), {"SHELFMATES__EMBED__MODEL": str(self.model)})
        for stage in stages:
            importlib.import_module(f"jobs.{stage}").run(self.lake.spark, self.lake, settings, night)

    def row(self, name: str, becomes: str, said: str) -> str:
        """One row of the table, without what differs from machine to machine."""
        said = said.replace(f"{self.folder}/", "").replace(str(self.folder), ".").strip()
        return f"| {name} | {becomes} | {said.replace('|', chr(92) + '|').replace(chr(10), '<br>')} |"

    @property
    def versions(self) -> tuple[int, int]:
        return self.lake.version(NEIGHBOURS), self.lake.version(CURRENT_NEIGHBOURS)


@pytest.fixture(scope="module")
def shop(spark: "SparkSession", tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    from jobs.lake import Lake

    folder = tmp_path_factory.mktemp("shop")
    shop = Shop(folder, Lake(spark, str(folder / "lake")), tiny_model)
    shop.feed(SOUND, HEADER + CHAIRS)
    shop.work(SOUND, list(STAGES), {})
    return shop


@pytest.fixture
def untouched(shop: Shop) -> Iterator[None]:
    """The published tables have no new version after the test."""
    before = shop.versions
    yield
    assert shop.versions == before


@pytest.fixture(scope="module")
def rows_of_the_night(shop: Shop) -> dict[str, str]:
    """What became of the last row of each of ROWS, all in one feed."""
    lines = "".join(line + "\n" for lines in ROWS.values() for line in lines)
    shop.feed(BAD, HEADER + CHAIRS + lines.encode())
    shop.work(BAD, ["ingest", "validate", "clean"], {})
    refused = {row["row"]: "; ".join(row["reasons"]) for row in shop.lake.read(QUARANTINED_ITEMS, BAD).collect()}
    clean = {row["item_id"]: row for row in shop.lake.read(CLEAN_ITEMS, BAD).collect()}
    found, place = {}, 100
    for name, given in ROWS.items():
        place += len(given)
        if place in refused:
            found[name] = shop.row(name, "quarantined", refused[place])
        else:
            item = clean[given[-1].partition(",")[0]]
            priced = f"{item['price']} {item['currency']}" if item["price"] is not None else "no price"
            folded = f", {item['folded']} row folded" if item["folded"] else ""
            found[name] = shop.row(name, "clean", f"{item['title']}, {priced}{folded}")
    return found


def check(name: str, row: str) -> None:
    """Holds the row against the table's; a rebuild puts it there and skips."""
    names = [*FILES, SMALL, *ROWS, *AROUND]
    rows = dict(zip(names, TABLE.read_text(encoding="utf-8").splitlines()[-len(names) :], strict=False)) if TABLE.exists() else {}
    if REBUILD:
        table = [*HEAD, *({**dict.fromkeys(names, ""), **rows, name: row}.values())]
        TABLE.write_text("\n".join(table) + "\n", encoding="utf-8")
        pytest.skip("rebuilt")
    assert row == rows[name]


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("name", FILES)
def test_a_bad_file(name: str, shop: Shop) -> None:
    data, otherwise = FILES[name]
    shop.feed(BAD, data or b"", otherwise.get("shop.csv", "shop.csv"))
    if data is None:
        (shop.folder / "feeds" / BAD.date.isoformat() / "shop.csv").unlink()
    with pytest.raises(ShelfmatesError) as raised:
        shop.work(BAD, list(STAGES), otherwise)
    check(name, shop.row(name, f"an error (exit code {raised.value.exit_code})", str(raised.value)))


@pytest.mark.usefixtures("untouched")
def test_a_small_feed_is_recorded_then_held(shop: Shop) -> None:
    shop.feed(BAD, HEADER + b"".join(CHAIRS.splitlines(keepends=True)[:30]))
    with pytest.raises(HeldError) as held:
        shop.work(BAD, list(STAGES), {})
    failed = shop.lake.read(AUDIT_RESULTS, BAD).where("NOT passed AND grade = 'fail'").collect()
    assert [row["check"] for row in failed] == ["night: items against last night"]
    with pytest.raises(HeldError, match="is held"):
        shop.work(BAD, ["publish"], {})
    check(SMALL, shop.row(SMALL, "a held night", str(held.value)))


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("name", ROWS)
def test_a_bad_row(name: str, rows_of_the_night: dict[str, str]) -> None:
    check(name, rows_of_the_night[name])


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("name", AROUND)
def test_a_bad_environment(name: str, shop: Shop) -> None:
    otherwise, environment = AROUND[name]
    program = [sys.executable, "-m", "jobs", "run", "--date", BAD.date.isoformat(), "--settings", str(shop.settings(otherwise))]
    given = {key: value for key, value in os.environ.items() if key != "JAVA_HOME"} | environment
    ran = subprocess.run(program, env=given, capture_output=True, text=True, check=False)
    assert ran.stderr.startswith("shelfmates: ")  # before Spark is started, and no traceback
    check(name, shop.row(name, f"an error (exit code {ran.returncode})", ran.stderr))


def test_the_table_has_a_row_for_every_bad_input_and_no_other() -> None:
    names = [line.split(" | ")[0].removeprefix("| ") for line in TABLE.read_text(encoding="utf-8").splitlines()]
    assert names == ["bad input", "|---|---|---|", *FILES, SMALL, *ROWS, *AROUND]
