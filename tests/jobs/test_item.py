"""One row to one item: where each field comes from, and which rows count as the same."""

from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import item
from jobs.errors import ContractError
from jobs.feeds import Source
from jobs.sections import Clean
from jobs.settings import Settings

COLUMNS = {
    "id": "sku",
    "title": "name",
    "description": "text",
    "brand": "maker",
    "category": "path",
    "price": "price",
    "currency": "money",
    "gtin": "ean",
    "model": "mpn",
    "image": "picture",
}
SOURCE = Source.model_validate({"path": "x", "currency": "EUR", "attributes": ["attr_*", "colour"], "columns": COLUMNS})
CLEAN = Clean(brands={"hewlett packard": "HP"})


def parse(**values: str | None) -> item.Item:
    return item.parser(SOURCE, CLEAN)(values)


def test_every_field() -> None:
    row = parse(
        sku=" 17 ",
        name="<b>Printer</b>",
        text="Laser &amp; fax",
        maker="Hewlett  Packard",
        path="Office &gt; Printers >",
        price="1.234,50",
        money="usd",
        ean="4006381333931",
        mpn="X-1",
        picture=" http://a/b?c=1&copy=2 ",
        attr_dpi="600",
        colour="N/A",
        other="left out",
    )
    assert row[:-2] == (
        *("17", "Printer", "Laser & fax", "HP", "Office > Printers", Decimal("1234.50"), "USD", None),
        *("4006381333931", "X-1", "http://a/b?c=1&copy=2", None, {"attr_dpi": "600"}),
    )
    assert row.repaired


def test_an_empty_row_gives_nothing() -> None:
    row = parse(sku="  ", name="", price="N/A", path=">")
    assert row[:-2] == (None,) * 12 + ({},)
    assert not row.repaired


def test_currency_of_the_row_comes_before_that_of_the_source() -> None:
    assert parse(price="5", money="GBP").currency == "GBP"
    assert parse(price="5", money=" ").currency == "EUR"
    assert parse(price="5", money="zzz").price_fault == "currency is unknown"


@pytest.mark.parametrize(
    ("value", "gtin"),
    [
        ("4006381333931", "4006381333931"),
        ("40 06381-333931", "4006381333931"),
        ("96385074", "96385074"),
        ("036000291452", "036000291452"),
        ("4006381333932", None),  # check digit
        ("400638133393", None),  # twelve digits of a thirteen
        ("0000000000000", None),  # a placeholder
        ("4.00638E+12", None),
        ('["4006381333932", "4006381333931"]', "4006381333931"),
        ("[4006381333931]", "4006381333931"),
        ("[broken", None),
    ],
)
def test_gtin(value: str, gtin: str | None) -> None:
    assert parse(ean=value).gtin == gtin


@pytest.mark.parametrize(
    ("value", "category"), [("A>B > > C", "A > B > C"), ('["A", "B > C", null]', "A > B > C"), ("A/B", "A/B"), ("n/a", None)]
)
def test_category(value: str, category: str | None) -> None:
    assert parse(path=value).category == category


def test_content_tells_any_field_apart_and_nothing_else() -> None:
    full = {"sku": "1", "name": "Chair", "text": "Teak", "price": "5", "attr_a": "1", "picture": "x"}
    same = parse(**full | {"name": " Chair ", "price": "5,00", "other": "2"})
    assert same.content == parse(**full).content
    assert all(parse(**full | {column: "7"}).content != same.content for column in full)
    moved = parse(**{**full, "attr_a": None, "attr_b": "1"})
    assert moved.content != same.content


@given(st.dictionaries(st.sampled_from([*COLUMNS.values(), "attr_a"]), st.text()))
def test_any_values_parse(values: dict[str, str]) -> None:
    row = item.parser(SOURCE, CLEAN)(values)
    assert len(row.content) == 64
    assert row == item.parser(SOURCE, CLEAN)(dict(reversed(values.items())))


def batch(source: str) -> pa.RecordBatch:
    values = pa.array([[("sku", "1"), ("name", "Chair"), ("price", "5")], [("name", None)]], pa.map_(pa.string(), pa.string()))
    columns = {"source": [source] * 2, "file": ["f"] * 2, "row": [1, 2], "fault": [None, "3 fields"]}
    return pa.RecordBatch.from_pydict({**columns, "values": values})


def test_batches_keep_their_rows() -> None:
    settings = Settings(sources={"shop": SOURCE})
    (parsed,) = item.parse_batches([batch("shop")], settings)
    first, second = parsed.to_pylist()
    assert (first["row"], first["id"], first["title"], first["price"], first["text"]) == (1, "1", "Chair", Decimal("5.00"), "Chair")
    assert (second["row"], second["fault"], second["id"], second["text"]) == (2, "3 fields", None, None)
    assert parsed.schema.names == [
        column.strip().split(" ")[0] for column in item.PARSED_DDL.replace("18,2", "18").replace("string,string", "").split(",")
    ]


def test_a_source_that_the_settings_do_not_name() -> None:
    with pytest.raises(ContractError, match="source 'gone'"):
        list(item.parse_batches([batch("gone")], Settings(sources={"shop": SOURCE})))
