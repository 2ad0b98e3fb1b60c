"""That the model of what nights cost finds what made up points were made of."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.benchmarks.cost_model import FILLED, Measured, Model, fitted, measured, model_of, power, steady
from tests.cluster.events import Task


@pytest.mark.parametrize(("constant", "each"), [(3.0, 0.002), (0.0, 0.01), (5.0, 0.0)])
def test_a_line_is_found(constant: float, each: float) -> None:
    found = fitted([(size, constant + each * size) for size in (1000, 2000, 5000)])
    assert found.constant == pytest.approx(constant, abs=1e-6)
    assert found.each == pytest.approx(each, abs=1e-9)


def test_nothing_costs_less_than_nothing() -> None:
    found = fitted([(1000, 1.0), (2000, 3.0), (4000, 7.0)])  # of least squares -1 + .002 a product
    assert found.constant == 0
    assert found.each > 0


def test_a_constant_is_as_far_from_all_values_in_proportion() -> None:
    assert steady([2.0, 2.0]) == pytest.approx(2.0)
    assert steady([1.0, 2.0]) == pytest.approx(1.2)  # 20 % and 40 % off: of (c - 1)² + (c / 2 - 1)² the least


def test_a_power_is_found() -> None:
    found = power([(size, 0.5 * size**1.3) for size in (100, 300, 900)])
    assert (found.at_one, found.exponent) == (pytest.approx(0.5), pytest.approx(1.3))


@pytest.fixture
def model() -> Model:
    """1 core second a product to embed; to search 2 a cell that it is in, of cells of 1,000 rows, growing with their root; the driver 7 s,
    and 1 s a cell; each of two cores gets warm in 3 s. A product is in 2 or 3 cells."""

    def searched(products: int, overlap: int, each: float = 2.0) -> Measured:
        return Measured(6.0 + each * overlap * products, 0.0, 8.0 * overlap * products, overlap=overlap)

    nights = {
        n: {"embed": Measured(6.0 + n, 7.0, 0.0), "neighbours": searched(n, overlap)} for n, overlap in ((2000, 2), (4000, 3), (6000, 2))
    }
    by_rows = {1000: searched(2000, 3), 4000: searched(2000, 2, 4.0)}
    return model_of(2, 1000, nights, {n: {"neighbours": 100.0 * n} for n in nights}, by_rows, {10: 10.0, 100: 100.0})


def test_larger_cells_cost_more_to_search_and_less_to_cover(model: Model) -> None:
    seconds = model.core_seconds(8000, 4000)
    assert seconds == {"embed": pytest.approx(8000), "neighbours": pytest.approx(8000 * 3 * 2 * 2)}
    alone = model.alone_seconds(8000, 4000)
    assert alone == {"embed": pytest.approx(10.0), "neighbours": pytest.approx(3 + 8000 * (1 + 2 + 3) / (4000 * FILLED))}
    assert model.alone_seconds(4000, 4000)["neighbours"] == pytest.approx(3)  # one cell needs no cover
    assert model.shuffled_bytes(8000, 4000) == {"embed": 0.0, "neighbours": pytest.approx(8000 * 24.0)}
    assert model.shuffled_bytes(4000, 4000)["neighbours"] == pytest.approx(4000 * 8.0)  # one cell has each product once
    assert model.stored["neighbours"](10) == pytest.approx(1000.0)


def test_cores_share_what_tasks_do_and_not_what_the_driver_does(model: Model) -> None:
    assert model.cores_for(4000, 4000, 13.1 + (4000 + 4000 * 2 * 2) / 5) == 5
    assert model.cores_for(4000, 4000, 12.0) is None  # the driver alone takes longer


def test_a_stage_is_what_its_tasks_took_and_what_the_driver_did_alone() -> None:
    began = datetime(2026, 11, 20, 3, tzinfo=UTC)
    tasks = [  # of two cores: from 1 to 4 s, from 2 to 6 s, from 8 to 9 s, and one of the stage before
        Task((0, 0), number, "worker", began + timedelta(seconds=after), seconds, "", 100)
        for number, (after, seconds) in enumerate([(1.0, 3.0), (2.0, 4.0), (8.0, 1.0), (-1.0, 0.5)])
    ]
    found = measured(began, 10.0, tasks)
    assert found == Measured(8.0, 4.0, 300)  # alone from 0 to 1, 6 to 8 and 9 to 10
    assert found.seconds(2) == 8.0
    assert replace(found, alone=3.0, cover=1.0).seconds(2) == 8.0
