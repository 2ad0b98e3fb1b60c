"""Whether a product can be had, as feeds say it."""

import pytest

from jobs.availability import parse


@pytest.mark.parametrize("text", ["12", "3,5", "10+", ">5", "in_stock", "https://schema.org/InStock", "Auf Lager", "true", " ja "])
def test_it_can(text: str) -> None:
    assert parse(text) is True


@pytest.mark.parametrize("text", ["0", "-2", "Out of stock", "https://schema.org/OutOfStock/", "ausverkauft", "FALSE", "Rupture de stock"])
def test_it_cannot(text: str) -> None:
    assert parse(text) is False


@pytest.mark.parametrize("text", [None, "", "ask us", "NaN", "https://"])
def test_nobody_knows(text: str | None) -> None:
    assert parse(text) is None
