"""What shoppers of a generated catalogue do: the same bytes everywhere, and the truth about it."""

from collections import Counter, defaultdict
from datetime import date, datetime
from itertools import product
from pathlib import Path

import pytest

from jobs.dialect import DIALECTS, MARKET, SHOP
from jobs.errors import SettingsError
from jobs.generate import generate
from jobs.stock import GONE, THERE
from tests.jobs.test_generate import Row, digests, fields, table

START = date(2026, 11, 20)
NIGHTS = ("2026-11-20", "2026-11-21", "2026-11-22")
SHOP_OF = {"items": 600, "start": START, "seed": 7, "dirt": 0.1, "change": 0.08}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("traffic")
    generate(folder, nights=3, users=800, events=8000, **SHOP_OF)  # type: ignore[arg-type]
    return folder


def listed(folder: Path, night: str) -> dict[str, Row]:
    """Products of the shop's feed that can be read, by their item_ids."""
    names, *body = fields(folder, night, SHOP)
    return {f"shop:{row[0]}": dict(zip(names, row, strict=True)) for row in body if len(row) == len(names)}


@pytest.fixture(scope="module")
def events(folder: Path) -> list[Row]:
    return [row for night in NIGHTS for row in table(folder / "feeds" / night / "interactions.csv")]


def test_the_same_arguments_write_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    generate(tmp_path, nights=3, users=800, events=8000, **SHOP_OF)  # type: ignore[arg-type]
    assert digests(tmp_path) == digests(folder)


def test_of_the_catalogue_shoppers_change_the_last_column_alone(folder: Path, tmp_path: Path) -> None:
    generate(tmp_path, nights=3, **SHOP_OF)  # type: ignore[arg-type]
    with_shoppers, without = digests(folder), digests(tmp_path)
    added = with_shoppers.keys() - without.keys()
    assert {Path(name).name for name in added} == {"interactions.csv", "tastes.csv", "bundles.csv", "substitutes.csv"}
    feeds = {f"feeds/{night}/{dialect.source}.csv" for night in NIGHTS for dialect in DIALECTS}
    assert {name for name in without if with_shoppers[name] != without[name]} == feeds | {"shelfmates.toml"}
    for night, dialect in product(NIGHTS, DIALECTS):
        for stocked, plain in zip(fields(folder, night, dialect), fields(tmp_path, night, dialect), strict=True):
            cut_short = len(plain) < len(dialect.columns)  # a fault of the row
            assert stocked == plain if cut_short else stocked[:-1] == plain


def test_some_products_are_out_of_stock_and_are_not_bought(folder: Path) -> None:
    for night in NIGHTS:
        header, *body = fields(folder, night, SHOP)
        assert header[-1] == "stock"
        sound = {row[0]: int(row[-1]) for row in body if len(row) == len(header)}
        out = {item for item, pieces in sound.items() if not pieces}
        assert 0.01 < len(out) / len(sound) < 0.06
        events = table(folder / "feeds" / night / "interactions.csv")
        assert {event["item"] for event in events if event["event"] == "view"} & out
        assert not {event["item"] for event in events if event["event"] != "view"} & out


def test_the_market_tells_its_stock_in_words(folder: Path) -> None:
    header, *body = fields(folder, NIGHTS[0], MARKET)
    assert header[-1] == "verfuegbarkeit"
    assert {row[-1] for row in body if len(row) == len(header)} <= {*THERE, *GONE}


def test_a_night_is_the_same_however_many_follow(folder: Path, tmp_path: Path) -> None:
    generate(tmp_path, nights=1, users=800, events=8000, **SHOP_OF)  # type: ignore[arg-type]
    one, three = digests(tmp_path), digests(folder)
    for name in ("interactions", "shop", "market"):
        assert one[f"feeds/{NIGHTS[0]}/{name}.csv"] == three[f"feeds/{NIGHTS[0]}/{name}.csv"]


def test_events_are_of_their_night_and_of_what_is_listed(folder: Path) -> None:
    for night in NIGHTS:
        there = set(listed(folder, night))
        there |= {row["id"] for row in table(folder / "truth" / f"dirt-{night}.csv")}  # which may have taken the id off the row
        for event in table(folder / "feeds" / night / "interactions.csv"):
            assert datetime.fromisoformat(event["time"]).date().isoformat() == night
            assert event["time"].endswith("Z")
            assert (event["order"] == "") == (event["quantity"] == "") == (event["event"] == "view")
            assert f"shop:{event['item']}" in there


def test_there_are_about_as_many_events_as_asked_in_the_shape_of_a_funnel(events: list[Row]) -> None:
    kinds = Counter(event["event"] for event in events)
    assert len(events) == pytest.approx(24_000, rel=0.1)
    assert kinds["view"] > 2 * kinds["cart"] > 2 * kinds["purchase"] > 0


def test_new_products_are_bought_in_their_first_night(folder: Path, events: list[Row]) -> None:
    added = {row["id"] for row in table(folder / "truth" / f"changes-{NIGHTS[2]}.csv") if row["kind"] == "added"}
    assert {f"shop:{event['item']}" for event in events if event["event"] == "purchase" and event["time"].startswith(NIGHTS[2])} & added


def test_tastes_are_what_most_visits_are_about(folder: Path, events: list[Row]) -> None:
    kinds = defaultdict(set)
    for taste in table(folder / "truth" / "tastes.csv"):
        kinds[taste["user"]].add(taste["department"])
    department = {row["sku"]: row["category"].partition(" > ")[0] for row in listed(folder, NIGHTS[2]).values()}
    told = [department[event["item"]] in kinds[event["user"]] for event in events if event["item"] in department]
    assert len(kinds) == 800
    assert sum(told) / len(told) > 0.8


def test_bundles_are_bought_together_as_the_truth_says(folder: Path, events: list[Row]) -> None:
    orders = defaultdict(set)
    for event in events:
        if event["event"] == "purchase":
            orders[event["order"]].add(f"shop:{event['item']}")
    halves = Counter(item for order in orders.values() for item in order)
    bundles = table(folder / "truth" / "bundles.csv")
    there = listed(folder, NIGHTS[2])
    seen = 0
    for bundle in bundles:
        one, other = bundle["item_id"], bundle["with_id"]
        both = sum({one, other} <= order for order in orders.values())
        lift = both * len(orders) / (halves[one] * halves[other]) if both else 0
        assert (bundle["together"], bundle["lift"]) == (str(both), f"{lift:.2f}")
        assert one != other
        assert {one, other} <= there.keys()
        seen += both
    assert seen / sum(halves[bundle["item_id"]] for bundle in bundles) > 0.3


def test_substitutes_are_siblings_that_can_be_published(folder: Path) -> None:
    there = listed(folder, NIGHTS[2])
    refused = {row["id"] for row in table(folder / "truth" / f"dirt-{NIGHTS[2]}.csv") if row["expected"] == "quarantined"}
    pairs = [(row["item_id"], row["substitute_id"]) for row in table(folder / "truth" / "substitutes.csv")]
    assert len(pairs) == len(set(pairs)) > 100
    for one, other in pairs:
        assert (other, one) in pairs
        assert not {one, other} & refused
        assert there[one]["category"] == there[other]["category"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"users": -1}, "users is -1, expected 0 to 10,000,000"),
        ({"events": 5}, "events is 5, expected 0 or more, and none without users"),
        ({"users": 1, "events": -5}, "events is -5"),
    ],
)
def test_impossible_arguments_are_refused(tmp_path: Path, arguments: dict[str, int], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        generate(tmp_path / "out", items=100, nights=1, start=START, **arguments)  # type: ignore[arg-type]
