"""One row of what people do with products -> one event, whose person is told by a keyed hash alone, or the reasons why it is none.

A person is HMAC-SHA256 of the id under the shop's own key (RFC 2104), an order the same of person and order until `collect`
numbers it: without the key nobody can find either again, and no raw id leaves the process that read it.
"""

import datetime
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import NamedTuple

from jobs.feeds import Interactions

EARLIEST = 10**9  # seconds since 1970, in 2001: 20260105 is a date
MOMENTS = 10**11  # seconds since 1970 end below, in the year 5138: a greater number is one of milliseconds


class Reason(StrEnum):
    """Why a row is refused. Reports group by these sentences, so none holds a value of the row."""

    NO_USER = "user is missing"
    NO_ITEM = "item is missing"
    NO_TIME = "time is missing, or neither ISO 8601 nor seconds since 1970"
    LATER = "time lies after the night"
    UNKNOWN_EVENT = "event is none of those in the settings"
    NO_QUANTITY = "quantity is not a whole number above 0"
    BROKEN_ROW = "row does not fit its header"


class Event(NamedTuple):
    """What one row says, and why it is refused: an event with a reason may lack anything. `values` is what was understood of the row, as
    JSON, without the person and the order."""

    person: str | None
    item_id: str | None
    event: str | None
    happened_at: datetime.datetime | None
    order: str | None
    quantity: int | None
    reasons: list[str]
    values: str


def parser(feed: Interactions, key: bytes, night: datetime.date) -> Callable[[Mapping[str, str], str | None], Event]:
    """The function that parses the rows of a night: values and fault of a row -> its event."""
    columns, events = feed.columns, frozenset(feed.events)
    ends = datetime.datetime.combine(night + datetime.timedelta(days=1), datetime.time.min, datetime.UTC)
    prefix = f"{feed.source}:" if feed.source else ""

    def parse(values: Mapping[str, str], fault: str | None) -> Event:
        def of(column: str | None) -> str | None:
            return (values.get(column) or "").strip() or None if column is not None else None

        user, item, order, at = of(columns.user), of(columns.item), of(columns.order), moment(of(columns.time))
        event = of(columns.event) if columns.event is not None else feed.purchases[0]
        quantity = whole(of(columns.quantity) or "1")
        told = {
            Reason.BROKEN_ROW: fault is not None,
            Reason.NO_USER: user is None,
            Reason.NO_ITEM: item is None,
            Reason.NO_TIME: at is None,
            Reason.LATER: at is not None and at >= ends,
            Reason.UNKNOWN_EVENT: event not in events,
            Reason.NO_QUANTITY: quantity is None,
        }
        person = keyed(key, user) if user and not fault else None
        return Event(
            person,
            prefix + item if item else None,
            event,
            at,
            keyed(key, f"{user}\0{order}") if user and order else None,
            quantity,
            [str(reason) for reason, met in told.items() if met],
            json.dumps(understood(values, fault, at, event in events, quantity), ensure_ascii=False),
        )

    def understood(
        values: Mapping[str, str], fault: str | None, at: datetime.datetime | None, known: bool, quantity: int | None
    ) -> dict[str, str]:
        """What may be kept of a row: values that are what their columns say. Where columns have moved the person may stand anywhere."""
        kept = {columns.time: at is not None, columns.event: known, columns.quantity: quantity is not None}
        kept[columns.item] = all(kept.values())
        return {} if fault else {name: values[name] for name, right in kept.items() if right and name is not None and name in values}

    return parse


def keyed(key: bytes, text: str) -> str:
    """32 hex digits of HMAC-SHA256: two of a billion ids are the same once in 10^20 catalogues."""
    return hmac.new(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]


def of_key(key: bytes) -> str:
    """A hash that is no person's, and of every key another."""
    return keyed(key, "\0")


def moment(text: str | None) -> datetime.datetime | None:
    """A time as ISO 8601 or seconds (or milliseconds) since 1970, in UTC; None of anything else. Numbers below EARLIEST are dates."""
    if text is None:
        return None
    try:
        if (number := _number(text)) is not None and number >= EARLIEST:
            return datetime.datetime.fromtimestamp(number / (1000 if number >= MOMENTS else 1), datetime.UTC)
        found = datetime.datetime.fromisoformat(text)
        return found.replace(tzinfo=datetime.UTC) if found.tzinfo is None else found.astimezone(datetime.UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _number(text: str) -> float | None:
    digits = text.replace(".", "", 1)
    return float(text) if digits.isascii() and digits.isdigit() else None


def whole(text: str) -> int | None:
    """A count of pieces, which may end in zeros after a point or a comma; 1,000 may be either, and is none."""
    try:
        number = Decimal("nan" if re.fullmatch(r"\d+[.,]\d{3}", text) else text.replace(",", "."))
    except InvalidOperation:
        return None
    return int(number) if number.is_finite() and number == number.to_integral_value() and 0 < number < 2**31 else None
