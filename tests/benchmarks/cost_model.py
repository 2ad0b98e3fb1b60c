"""What a night costs, as a function of its products: fitted to measured nights, stage by stage.

A stage works for some seconds of cores, which more machines share, and for some in which no task is at work: the driver plans, commits, or
makes a cover. Each is taken to be a constant and a part for each product, neither below 0, fitted by least squares of relative errors.
Cells have a bounded size, so a product costs as much to search among a million as among a hundred million, but for the driver's part: it
compares a sample with every leader, in as many rounds as it takes to halve the largest cells.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Points = dict[int, float]  # by products


@dataclass(frozen=True)
class Line:
    """constant + each · products"""

    constant: float
    each: float

    def __call__(self, products: float) -> float:
        return self.constant + self.each * products


def fitted(points: Points) -> Line:
    """The line of least squares of relative errors, of which neither part is below 0."""
    sizes = np.array(sorted(points), dtype=np.float64)
    values = np.array([points[int(size)] for size in sizes])
    weights = 1 / np.maximum(values, 1e-9)
    candidates = [_least(np.stack([np.ones_like(sizes), sizes]), values, weights), *(_least(one, values, weights) for one in _alone(sizes))]
    allowed = [line for line in candidates if line.constant >= 0 and line.each >= 0]
    return min(allowed, key=lambda line: float((((line.constant + line.each * sizes) - values) ** 2 * weights**2).sum()))


def _alone(sizes: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float64]]:
    nothing = np.zeros_like(sizes)
    return [np.stack([np.ones_like(sizes), nothing]), np.stack([nothing, sizes])]


def _least(terms: npt.NDArray[np.float64], values: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> Line:
    found, *_ = np.linalg.lstsq((terms * weights).T, values * weights, rcond=None)
    return Line(float(found[0]), float(found[1]))


@dataclass(frozen=True)
class Measured:
    """One stage of one night: seconds of its tasks, of all cores together; seconds in which none was at work; bytes shuffled."""

    tasks: float
    alone: float
    shuffled: float


@dataclass(frozen=True)
class Model:
    """By stage; `stored` bytes of one night by table."""

    tasks: dict[str, Line]
    alone: dict[str, Line]
    shuffled: dict[str, Line]
    stored: dict[str, Line]

    def seconds(self, products: float, cores: int) -> dict[str, float]:
        """Of each stage, on so many cores that are all at work."""
        return {stage: self.tasks[stage](products) / cores + self.alone[stage](products) for stage in self.tasks}

    def cores_for(self, products: float, within: float) -> int:
        """The fewest cores of a night within so many seconds; 0 where what the driver does alone takes longer."""
        left = within - sum(line(products) for line in self.alone.values())
        return int(np.ceil(sum(line(products) for line in self.tasks.values()) / left)) if left > 0 else 0


def model_of(nights: dict[int, dict[str, Measured]], stored: dict[int, dict[str, float]]) -> Model:
    """Of measured nights by products, each by stage, and of the bytes that they store by table."""
    stages = list(next(iter(nights.values())))
    tables = sorted(set.intersection(*(set(of) for of in stored.values())))

    def of(figure: str) -> dict[str, Line]:
        return {stage: fitted({products: getattr(night[stage], figure) for products, night in nights.items()}) for stage in stages}

    sizes = {table: fitted({products: of_night[table] for products, of_night in stored.items()}) for table in tables}
    return Model(of("tasks"), of("alone"), of("shuffled"), sizes)
