"""Prices: what each way of writing one means, and that nothing a feed writes can break the parser."""

from decimal import Decimal
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.price import Fault, Price, parse


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [
        ("12.9", "12.90", None),
        ("$1,234.00", "1234.00", "USD"),
        ("69.71 gbp", "69.71", "GBP"),
        ("1.234,50 €", "1234.50", "EUR"),
        ("1 234,50", "1234.50", None),
        ("1\xa0234,50", "1234.50", None),
        ("CHF 1’234.–", "1234.00", "CHF"),
        ("USD 12", "12.00", "USD"),
        ("12,-", "12.00", None),
        ("¥1200", "1200.00", "JPY"),
        ("Rs. 12,34,567.50", "1234567.50", "INR"),
        ("US$12 USD", "12.00", "USD"),
        ("$12 CAD", "12.00", "CAD"),  # the code says which dollar
        ("１２．５０", "12.50", None),
        ("-$5.00", "-5.00", "USD"),
        ("0", "0.00", None),
        (".5", "0.50", None),
        ("1.234", "1234.00", None),  # one mark and exactly three digits: groups
        ("1,234", "1234.00", None),
        ("0.125", "0.13", None),  # but no group begins with 0
        ("1234.567", "1234.57", None),  # nor has it four digits
        ("1.234.567", "1234567.00", None),
        ("1,234,567.89", "1234567.89", None),
    ],
)
def test_written_prices(text: str, amount: str, currency: str | None) -> None:
    assert parse(text) == Price(Decimal(amount), currency)


@pytest.mark.parametrize("text", [None, "", " ", "N/A", "n/a", "-", "null", "NaN", "call", "Price on request"])
def test_missing_is_no_fault(text: str | None) -> None:
    assert parse(text, "EUR") == Price()


@pytest.mark.parametrize(
    "text",
    [
        "#REF!",
        "1e3",
        "inf",
        "1.234,567,890",
        "1.2.3",
        "12 34",
        "1,234 50",
        "5-",
        "--5",
        "12 apples",
        "from $12",
        "12 EUR/kg",
        "9" * 70,
        "1,2,3,4",
    ],
)
def test_no_number(text: str) -> None:
    assert parse(text) == Price(fault=Fault.NOT_A_NUMBER)


def test_more_digits_than_the_column_holds() -> None:
    assert parse("9" * 17) == Price(fault=Fault.TOO_LONG)


@pytest.mark.parametrize(("text", "currency"), [("12 XYZ", "EUR"), ("12 ¤", None), ("€12 USD", None), ("12", "ZZZ")])
def test_unknown_currency(text: str, currency: str | None) -> None:
    assert parse(text, currency) == Price(Decimal(12).quantize(Decimal("0.01")), None, Fault.UNKNOWN_CURRENCY)


@pytest.mark.parametrize(
    ("text", "decimal", "amount"),
    [("1.234", ".", "1.23"), ("1.234", ",", "1234.00"), ("1,50", ",", "1.50"), ("1,23", ".", None), ("12.50", ",", None)],
)
def test_a_stated_decimal_mark_is_kept_to(text: str, decimal: Literal[".", ","], amount: str | None) -> None:
    assert parse(text, decimal=decimal).amount == (Decimal(amount) if amount else None)


@pytest.mark.parametrize(("currency", "found"), [("CAD", "CAD"), ("EUR", "USD"), ("€", "USD"), (None, "USD")])
def test_a_shared_sign_is_the_sources_currency_where_it_can_be(currency: str | None, found: str) -> None:
    assert parse("$12", currency).currency == found


def test_the_source_speaks_where_the_price_is_silent() -> None:
    assert parse("12", "eur").currency == "EUR"
    assert parse("12 USD", "EUR").currency == "USD"


def test_minor_units() -> None:
    assert parse("4995", "EUR", unit="minor") == Price(Decimal("49.95"), "EUR")


@given(st.text() | st.text(alphabet="0123456789.,' -$€eE"), st.sampled_from(["auto", ".", ","]))
def test_any_text_is_a_price_or_a_fault(text: str, decimal: Literal["auto", ".", ","]) -> None:
    found = parse(text, "EUR", decimal)
    assert found.fault is None or found.currency is None
    assert found.amount is None or (found.amount.is_finite() and found.amount.as_tuple().exponent == -2 and abs(found.amount) < 10**16)


@given(st.decimals(min_value=0, max_value=10**12, places=2), st.sampled_from([(",", "."), (".", ","), (" ", ","), ("'", ".")]))
def test_grouped_amounts_come_back(amount: Decimal, marks: tuple[str, str]) -> None:
    group, decimal = marks
    written = f"{amount:,.2f}".translate({ord(","): group, ord("."): decimal})
    assert parse(written).amount == amount
