"""What is deleted, against each product's own life."""

import pytest

from jobs.history import deleted, first_listed, life, listed


@pytest.mark.parametrize(("items", "change"), [(500, 80_000), (300, 0), (200, 400_000)])
def test_gone_are_those_whose_life_has_ended(items: int, change: int) -> None:
    for night in range(6):
        lives = [life("key", items, change, ordinal, night) for ordinal in range(listed(items, change, night))]
        gone = {ordinal for ordinal, now in enumerate(lives) if now is None or now.event == "deleted"}
        assert deleted("key", items, change, night) == gone
        assert (len(gone) > 0) == (night > 0 and change > 0)


def test_a_product_is_first_listed_when_the_count_of_the_listed_passes_it() -> None:
    for ordinal in range(listed(500, 80_000, 5)):
        night = first_listed(500, 80_000, ordinal)
        assert listed(500, 80_000, night) > ordinal
        assert night == 0 or listed(500, 80_000, night - 1) <= ordinal
