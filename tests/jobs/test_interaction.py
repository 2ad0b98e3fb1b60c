"""Events as feeds write them, and why a row is none."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.feeds import Interactions
from jobs.interaction import Event, Reason, keyed, moment, parser, whole

NIGHT = date(2026, 1, 5)
FEED = {"path": "events.csv", "columns": {name: name for name in ("user", "item", "time", "event", "order", "quantity")}}
ROW = {"user": "ann@example.com", "item": "1", "time": "2026-01-05T10:00:00", "event": "purchase", "order": "o7", "quantity": "2"}
KEY = b"0123456789abcdef"


def parsed(row: dict[str, str], fault: str | None = None, **feed: Any) -> Event:
    return parser(Interactions.model_validate(FEED | feed), KEY, NIGHT)(row, fault)


def test_an_event() -> None:
    found = parsed(ROW | {"note": "leave it with Ann"}, source="shop")
    assert found.reasons == []
    assert (found.item_id, found.event, found.quantity) == ("shop:1", "purchase", 2)
    assert found.happened_at == datetime(2026, 1, 5, 10, tzinfo=UTC)
    assert found.person == keyed(KEY, "ann@example.com")
    assert found.order == keyed(KEY, "ann@example.com\0o7")
    assert json.loads(found.values) == {name: ROW[name] for name in ("item", "time", "event", "quantity")}  # nothing that could be Ann


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"user": " "}, Reason.NO_USER),
        ({"item": ""}, Reason.NO_ITEM),
        ({"time": "yesterday"}, Reason.NO_TIME),
        ({"time": "2026-01-06T00:00:00Z"}, Reason.LATER),
        ({"event": "like"}, Reason.UNKNOWN_EVENT),
        ({"quantity": "0"}, Reason.NO_QUANTITY),
        ({"quantity": "half"}, Reason.NO_QUANTITY),
    ],
)
def test_one_reason(change: dict[str, str], reason: Reason) -> None:
    assert parsed(ROW | change).reasons == [reason]


def test_all_reasons_together() -> None:
    found = parsed({"+7": "ann@example.com"}, "7 fields under a header of 6")
    assert found.reasons == [Reason.BROKEN_ROW, Reason.NO_USER, Reason.NO_ITEM, Reason.NO_TIME, Reason.UNKNOWN_EVENT]
    assert found.values == "{}"


def test_without_a_column_for_it_every_row_is_a_purchase_of_one() -> None:
    columns = {name: name for name in ("user", "item", "time")}
    found = parsed({"user": "7", "item": "1", "time": "1767607200"}, columns=columns)
    assert (found.event, found.quantity, found.order, found.reasons) == ("purchase", 1, None, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-05 10:00", datetime(2026, 1, 5, 10, tzinfo=UTC)),
        ("2026-01-05T10:00:00+02:00", datetime(2026, 1, 5, 8, tzinfo=UTC)),
        ("1767607200", datetime(2026, 1, 5, 10, tzinfo=UTC)),
        ("1767607200.5", datetime(2026, 1, 5, 10, 0, 0, 500_000, tzinfo=UTC)),
        ("1767607200000", datetime(2026, 1, 5, 10, tzinfo=UTC)),
        ("20260105", datetime(2026, 1, 5, tzinfo=UTC)),  # a date, and no second of 1970
        ("0", None),
        ("0001-01-01T00:00:00+01:00", None),  # what some programs write where there is none
        ("-1", None),
        ("9" * 30, None),
        ("٣", None),
        (None, None),
    ],
)
def test_moment(text: str | None, expected: datetime | None) -> None:
    assert moment(text) == expected


@given(st.text())
def test_any_text_is_a_moment_in_utc_or_none(text: str) -> None:
    found = moment(text)
    assert found is None or found.tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2", 2), ("2,0", 2), ("1e2", 100), *((text, None) for text in ("2.5", "-1", "NaN", "1,000", "Infinity"))],
)
def test_whole(text: str, expected: int | None) -> None:
    assert whole(text) == expected


def test_a_row_whose_columns_have_moved_keeps_nothing_of_the_person() -> None:
    found = parsed({"user": "1", "item": "2026-01-05", "time": "ann@example.com", "event": "o7", "order": "2", "quantity": "purchase"})
    assert found.reasons == [Reason.NO_TIME, Reason.UNKNOWN_EVENT, Reason.NO_QUANTITY]
    assert found.values == "{}"


def test_another_key_is_another_person() -> None:
    assert keyed(KEY, "7") != keyed(KEY[::-1], "7")
    assert len(keyed(KEY, "7")) == 32
