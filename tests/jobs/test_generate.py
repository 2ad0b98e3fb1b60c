"""Generated catalogues: the same bytes everywhere, what the truth says is in the feeds and nothing else is, and memory stays flat."""

import csv
import hashlib
import os
import subprocess
import sys
import tracemalloc
import unicodedata
from collections import Counter
from collections.abc import Callable
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest

from jobs.assortment import check_digit
from jobs.dialect import DIALECTS, MARKET, SHOP, Dialect
from jobs.dirt import KINDS
from jobs.errors import SettingsError
from jobs.generate import generate
from jobs.settings import load

START = date(2026, 11, 20)
NIGHTS = ("2026-11-20", "2026-11-21", "2026-11-22")
REPOSITORY = Path(__file__).parents[2]

Row = dict[str, str]


def table(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def fields(folder: Path, night: str, dialect: Dialect) -> list[list[str]]:
    """Every row of a feed as the file has it, the header first."""
    with (folder / "feeds" / night / f"{dialect.source}.csv").open(encoding=dialect.encoding, newline="") as file:
        return list(csv.reader(file, delimiter=dialect.separator))


def rows(folder: Path, night: str, dialect: Dialect) -> list[Row]:
    header, *body = fields(folder, night, dialect)
    assert header == list(dialect.columns.values())
    return [dict(zip(dialect.columns, row, strict=False)) for row in body]


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dirty")
    generate(folder, items=1000, nights=2, start=START, seed=7, dirt=0.3, change=0.04)
    return folder


@pytest.fixture(scope="module")
def spotless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spotless")
    generate(folder, items=1000, nights=3, start=START, seed=7, dirt=0, change=0.08)
    return folder


def test_another_process_writes_the_same_bytes_and_over_the_old_ones(dirty: Path, tmp_path: Path) -> None:
    call = (
        "import datetime, pathlib, sys; from jobs.generate import generate; "
        "generate(pathlib.Path(sys.argv[1]), 1000, 2, datetime.date(2026, 11, 20), seed=7, dirt=0.3, change=0.04)"
    )
    for hash_seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-c", call, str(tmp_path)], check=True, cwd=REPOSITORY, env=os.environ | {"PYTHONHASHSEED": hash_seed}
        )
        assert digests(tmp_path) == digests(dirty)


def test_another_seed_is_another_catalogue(spotless: Path, tmp_path: Path) -> None:
    generate(tmp_path, items=1000, nights=1, start=START, seed=8, dirt=0)
    titles = {row["title"] for row in rows(spotless, NIGHTS[0], SHOP)}
    assert not titles & {row["title"] for row in rows(tmp_path, NIGHTS[0], SHOP)}


def test_a_night_is_the_same_however_many_follow(spotless: Path, tmp_path: Path) -> None:
    generate(tmp_path, items=1000, nights=1, start=START, seed=7, dirt=0, change=0.08)
    assert fields(tmp_path, NIGHTS[0], SHOP) == fields(spotless, NIGHTS[0], SHOP)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.source)
def test_without_dirt_every_row_is_sound(spotless: Path, dialect: Dialect) -> None:
    _, *body = fields(spotless, NIGHTS[0], dialect)
    assert len(body) == (1000 if dialect is SHOP else 250)
    assert {len(row) for row in body} == {len(dialect.columns)}
    listed = rows(spotless, NIGHTS[0], dialect)
    assert len({row["id"] for row in listed}) == len(listed)
    for row in listed:
        assert 2 < len(row["title"]) < 200
        assert dialect.price(round(float(dialect.plain(row["price"])) * 100)) == row["price"] != dialect.price(0)
        assert not row["gtin"] or row["gtin"][-1] == check_digit(row["gtin"][:-1])
        for text in row.values():
            assert text == " ".join(unicodedata.normalize("NFKC", text).split())
            assert text.isprintable()
            assert "<" not in text
    assert table(spotless / "truth" / f"dirt-{NIGHTS[0]}.csv") == []


def test_languages_and_encodings(spotless: Path) -> None:
    shop = "".join(row["title"] for row in rows(spotless, NIGHTS[0], SHOP))
    scripts = {unicodedata.name(letter).split()[0] for letter in shop if letter.isalpha()}
    assert {"LATIN", "KATAKANA", "ARABIC"} <= scripts
    assert "€" in (spotless / "feeds" / NIGHTS[0] / "market.csv").read_bytes().decode("cp1252")


# kind of dirt -> what a row (by field) must look like, read without the generator's own code
FOUND: dict[str, Callable[[Row], bool]] = {
    "html": lambda row: "<b>" in row["title"] and "<br/>" in row["title"],
    "mojibake": lambda row: any(is_mojibake(row[field]) for field in ("title", "description")),
    "control_characters": lambda row: any(unicodedata.category(letter) == "Cc" for letter in row["title"]),
    "whitespace": lambda row: row["title"] != " ".join(row["title"].split(" ")).strip(),
    "not_nfkc": lambda row: row["title"] != unicodedata.normalize("NFKC", row["title"]),
    "id_missing": lambda row: not row["id"].strip(),
    "title_missing": lambda row: not row["title"].strip(),
    "title_of_one_character": lambda row: len(row["title"]) == 1,
    "title_too_long": lambda row: len(row["title"]) > 1000,
    "price_negative": lambda row: row["price"].startswith("-"),
    "price_zero": lambda row: row["price"] in ("0.00", "0,00 €"),
    "price_absurd": lambda row: row["price"] in ("9999999.99", "9.999.999,99 €"),
    "price_not_given": lambda row: row["price"] == "N/A",
    "price_not_a_number": lambda row: row["price"] in ("#REF!", "#VALUE!"),
    "price_with_currency": lambda row: row["price"].endswith(" gbp"),
    "price_with_unknown_currency": lambda row: row["price"].endswith(" XYZ"),
    "gtin_check_digit": lambda row: row["gtin"][-1] != check_digit(row["gtin"][:-1]),
}
SHAPES = {"too_many_fields", "too_few_fields", "duplicate_identical", "duplicate_conflicting", "price_with_other_decimal"}


def is_mojibake(text: str) -> bool:
    try:
        return text.encode("cp1252").decode("utf-8") != text
    except UnicodeError:
        return False


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.source)
def test_every_dirty_row_is_where_the_truth_says(dirty: Path, dialect: Dialect) -> None:
    header, *body = fields(dirty, NIGHTS[0], dialect)
    listed = rows(dirty, NIGHTS[0], dialect)
    truth = [row for row in table(dirty / "truth" / f"dirt-{NIGHTS[0]}.csv") if row["source"] == dialect.source]
    assert {kind.name for kind in KINDS} == FOUND.keys() | SHAPES == {row["kind"] for row in truth}
    for told in truth:
        at, kind = int(told["row"]) - 1, told["kind"]
        if kind in FOUND:
            assert FOUND[kind](listed[at]), told
        elif kind == "too_many_fields":
            assert len(body[at]) > len(header)
        elif kind == "too_few_fields":
            assert len(body[at]) < len(header)
        elif kind == "duplicate_identical":
            assert body[at] == body[at - 1]
        elif kind == "duplicate_conflicting":
            assert any(listed[at]["id"] == near["id"] and listed[at] != near for near in listed[max(0, at - 1) : at + 2])
        elif kind == "price_with_other_decimal":
            assert listed[at]["price"].removesuffix(dialect.unit)[-3] == ("," if dialect is SHOP else ".")
        if kind != "id_missing":
            assert told["id"] == f"{dialect.source}:{listed[at]['id']}"


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.source)
def test_no_other_row_is_dirty(dirty: Path, spotless: Path, dialect: Dialect) -> None:
    """The same seed without dirt has the same rows, and they stand in the dirty feed wherever the truth tells nothing."""
    told = {int(row["row"]) for row in table(dirty / "truth" / f"dirt-{NIGHTS[0]}.csv") if row["source"] == dialect.source}
    sound = {tuple(row) for row in fields(spotless, NIGHTS[0], dialect)[1:]}
    untold = [tuple(row) for at, row in enumerate(fields(dirty, NIGHTS[0], dialect)[1:], start=1) if at not in told]
    assert set(untold) <= sound
    assert len(untold) == len(set(untold))


def test_cleaned_rows_state_the_sound_values(dirty: Path, spotless: Path) -> None:
    sound = {f"shop:{row['id']}": row for row in rows(spotless, NIGHTS[0], SHOP)}
    for told in table(dirty / "truth" / f"dirt-{NIGHTS[0]}.csv"):
        if told["source"] == "shop" and told["expected"] == "cleaned":
            expected = sound[told["id"]]
            assert told["title"] == expected["title"]
            assert told["price"] == ("" if told["kind"] in ("price_zero", "price_not_given") else expected["price"])
            assert told["gtin"] == ("" if told["kind"] == "gtin_check_digit" else expected["gtin"])


@pytest.mark.parametrize("rate", [0.02, 0.2, 1.0])
def test_dirt_comes_at_its_rate_and_evenly(tmp_path: Path, rate: float) -> None:
    feed, _ = generate(tmp_path, items=2200, nights=1, start=START, dirt=rate).feeds
    assert sum(feed.dirty.values()) == pytest.approx(2200 * rate, abs=1)
    if rate == 1.0:  # a hundred rounds of 22 kinds; mojibake gives way where all is ASCII
        assert set(feed.dirty) == {kind.name for kind in KINDS}
        assert min(feed.dirty.values()) > 50
        assert max(feed.dirty.values()) < 120


@pytest.mark.parametrize(("before", "after"), list(pairwise(NIGHTS)))
def test_nights_differ_as_the_truth_says(spotless: Path, before: str, after: str) -> None:
    found: dict[str, str] = {}
    for dialect in DIALECTS:
        old, new = ({row["id"]: row for row in rows(spotless, night, dialect)} for night in (before, after))
        found |= {f"{dialect.source}:{item}": "added" for item in new.keys() - old.keys()}
        found |= {f"{dialect.source}:{item}": "deleted" for item in old.keys() - new.keys()}
        for item in (item for item in old.keys() & new.keys() if old[item] != new[item]):
            differing = {field for field in dialect.columns if old[item][field] != new[item][field]}
            found[f"{dialect.source}:{item}"] = "price" if differing == {"price"} else "changed"
            assert differing <= {"price"} or differing <= {"title", "description"}
    truth = {row["id"]: row["kind"] for row in table(spotless / "truth" / f"changes-{after}.csv")}
    assert found == truth
    counts = Counter(kind for item, kind in truth.items() if item.startswith("shop:"))
    assert counts == pytest.approx(dict.fromkeys(("added", "changed", "deleted", "price"), 20), abs=2)  # 8 % of 1,000, in four parts


def test_matches_are_listed_by_both_and_can_be_published(dirty: Path) -> None:
    refused = {row["id"] for row in table(dirty / "truth" / f"dirt-{NIGHTS[1]}.csv") if row["expected"] == "quarantined"}
    shop, market = ({f"{d.source}:{row['id']}": row for row in rows(dirty, NIGHTS[1], d)} for d in (SHOP, MARKET))
    matches = table(dirty / "truth" / "matches.csv")
    for match in matches:
        assert match["query_id"] in market
        assert match["match_id"] in shop
        assert not {match["query_id"], match["match_id"]} & refused
    assert len({match["query_id"] for match in matches}) == len({match["match_id"] for match in matches}) == len(matches)


def test_matches_are_the_same_product(spotless: Path) -> None:
    shop, market = ({f"{d.source}:{row['id']}": row for row in rows(spotless, NIGHTS[2], d)} for d in (SHOP, MARKET))
    matches = table(spotless / "truth" / "matches.csv")
    assert len(matches) == pytest.approx(0.6 * len(market), rel=0.08)
    coded = [(market[m["query_id"]]["gtin"], shop[m["match_id"]]["gtin"]) for m in matches if market[m["query_id"]]["gtin"]]
    assert coded
    assert all(ours == theirs for ours, theirs in coded)
    alone = {row["gtin"] for item, row in market.items() if item not in {m["query_id"] for m in matches}} - {""}
    deleted = {row["id"] for night in NIGHTS[1:] for row in table(spotless / "truth" / f"changes-{night}.csv") if row["kind"] == "deleted"}
    assert not alone & {row["gtin"] for item, row in shop.items() if item not in deleted}


def test_the_settings_fit_the_feeds(dirty: Path) -> None:
    settings = load(dirty / "shelfmates.toml", environment={})
    assert settings.lake.root == str(dirty / "lake")
    for dialect in DIALECTS:
        source = settings.sources[dialect.source]
        assert Path(source.path.format(date=NIGHTS[0])).is_file()
        assert (source.encoding, source.separator) == (dialect.encoding, dialect.separator)
        assert {*source.columns.mapped().values(), *source.attributes} == set(dialect.columns.values())


def test_memory_does_not_grow_with_the_catalogue(tmp_path: Path) -> None:
    def peak(items: int) -> int:
        tracemalloc.start()
        generate(tmp_path, items=items, nights=1, start=START)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(600)  # fills the caches, which are bounded
    assert peak(3000) < peak(600) + 300_000  # the further rows alone are a megabyte of text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"items": 5}, "items is 5, expected 100 to 10,000,000"),
        ({"items": 10**8}, "items is 100,000,000"),
        ({"nights": 0}, "nights is 0, expected 1 or more"),
        ({"nights": 5, "start": date(9999, 12, 30)}, "nights is 5"),
        ({"dirt": 1.5}, "dirt is 1.5, expected a share from 0 to 1"),
        ({"change": float("nan")}, "change is nan"),
        ({"items": 5, "dirt": -1.0}, "items is 5, expected 100 to 10,000,000; dirt is -1.0"),
    ],
)
def test_impossible_arguments_are_refused(tmp_path: Path, arguments: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        generate(tmp_path / "out", **({"items": 100, "nights": 1, "start": START} | arguments))  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"out cannot be written"):
        generate(tmp_path / "out", items=100, nights=1, start=START)


def test_settings_of_the_users_own_stay(tmp_path: Path) -> None:
    (tmp_path / "shelfmates.toml").write_text("[sources.mine]\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"shelfmates\.toml is there, and is not the catalogue's\n  → name another folder with --out"):
        generate(tmp_path, items=100, nights=1, start=START)
    assert [(file.name, file.read_text(encoding="utf-8")) for file in tmp_path.iterdir()] == [("shelfmates.toml", "[sources.mine]\n")]


def test_the_summary_counts_what_was_written(spotless: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = generate(tmp_path, items=1000, nights=2, start=START, seed=7, dirt=0, change=0.08)
    for feed, dialect in zip(summary.feeds, DIALECTS * 2, strict=True):
        assert feed.source == dialect.source
        assert feed.rows == len(rows(tmp_path, feed.date.isoformat(), dialect))
    assert summary.matches == len(table(tmp_path / "truth" / "matches.csv"))
    assert str(summary).splitlines()[0] == "generate: 2026-11-20 shop 1,000 rows, 0 dirty"
    assert "20 added" in str(summary)
    assert capsys.readouterr().out == ""  # short work says nothing on the way


def test_long_work_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("jobs.generate.PROGRESS_SECONDS", 0.0)
    generate(tmp_path, items=1500, nights=1, start=START)
    assert "generate: 2026-11-20 shop 1,000 of 1,500 rows\n" in capsys.readouterr().out
