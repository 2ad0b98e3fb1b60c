"""What titles say of how much a product holds."""

import pytest

from jobs.quantity import Quantity, parse


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Cola 330 ml", Quantity(330, "ml")),
        ("Cola 6 x 330 ml", Quantity(1980, "ml")),
        ("Cola 330ml, 6er-Pack", Quantity(1980, "ml")),
        ("Olivenöl 0,75 l", Quantity(750, "ml")),
        ("Rice 1.5kg", Quantity(1500, "g")),
        ("Tea, 20 bags, pack of 3", Quantity(60, "piece")),
        ("Pack of 6 socks", Quantity(6, "piece")),
        ("Sony TV 32 inch", None),
        ("Lens 50 mm", None),  # a size
        ("iPhone 12 64GB", None),  # a memory, whose G is no gram
        ("Cola 0 ml", None),
        ("5G phone", None),
        ("iPhone case 14", None),
        ("Rice 500 g", Quantity(500, "g")),
        ("Juice 1 L", Quantity(1000, "ml")),
    ],
)
def test_quantity(title: str, expected: Quantity | None) -> None:
    assert parse(title) == (pytest.approx(expected.amount), expected.unit) if expected else parse(title) is None
