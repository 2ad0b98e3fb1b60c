"""Events, decayed."""

import numpy as np
import pytest

from jobs.interest import by_item, exposure, interests, weights_of


def of(*numbers: float, kind: type = np.float32) -> np.ndarray:
    return np.array(numbers, dtype=kind)


def test_the_strongest_event_counts_and_halves_with_every_half_life() -> None:
    """User 0 viewed item 3 today and bought it two half-lives ago; user 1 did nothing; user 2 bought item 1 today."""
    users, items = of(0, 0, 2, kind=np.int32), of(3, 3, 1, kind=np.int32)
    found = interests(users, items, of(0.125, 1, 1), of(0, 20, 0), count=3, half_life=10)
    assert (found.bounds.tolist(), found.items.tolist(), found.values.tolist()) == ([0, 1, 1, 2], [3, 1], [0.25, 1])


def test_the_other_way_round() -> None:
    found = by_item(interests(of(0, 1, 1, kind=np.int32), of(2, 2, 0, kind=np.int32), of(1, 0.5, 1), of(0, 0, 0), count=2, half_life=30), 4)
    assert (found.bounds.tolist(), found.items.tolist(), found.values.tolist()) == ([0, 1, 1, 3, 3], [1, 0, 1], [1, 1, 0.5])


def test_what_was_long_ago_is_forgotten() -> None:
    assert len(interests(of(0, kind=np.int32), of(0, kind=np.int32), of(1), of(5000), count=1, half_life=30).items) == 0


def test_kinds_have_weights() -> None:
    assert weights_of(np.array(["cart", "view", "cart"]), {"view": 0.25, "cart": 0.5}).tolist() == [0.5, 0.25, 0.5]
    with pytest.raises(ValueError, match="kinds view, cart, purchase, found 'click'"):
        weights_of(np.array(["view", "click"]), {"view": 0.3, "cart": 0.7, "purchase": 1.0})


@pytest.mark.parametrize(("users", "ages", "said"), [(0, -0.5, "one 0.50 days ahead"), (1, 0, "users from 0 to 0, found 1 to 1")])
def test_impossible_events_are_refused(users: int, ages: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        interests(of(users, kind=np.int32), of(0, kind=np.int32), of(1), of(ages), count=1, half_life=30)


def test_exposure_is_a_half_after_a_half_life_and_never_nothing() -> None:
    assert exposure(of(10, 20, 0), half_life=10).tolist() == pytest.approx([0.5, 0.75, 1 - 2 ** (-1 / 240)])
