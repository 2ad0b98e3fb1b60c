"""What a night costs, as a function of its products: fitted to measured nights, stage by stage.

A stage works for some seconds of cores, taken to be a constant and a part for each product, neither below 0, fitted by least squares of
relative errors; and for some in which no task is at work: the driver plans and commits, which is taken to be the same for all sizes. More
cores share what tasks take for the products, but not their constant: it is mostly that each core gets warm (JVM, Python, model), and each
has to. What is searched in overlapping cells counts once for each cell. Two things grow by a power of a size: the search, with the rows of
a cell (cells have a bounded size, so with the products it grows like the rest); and the cover of a large block, which the driver makes
alone, with its cells.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from jobs.cells import FILLED, OVERLAPS
from tests.cluster.events import Task

Points = Collection[tuple[float, float]]  # (size, value)


@dataclass(frozen=True)
class Line:
    """constant + each · products"""

    constant: float
    each: float

    def __call__(self, products: float) -> float:
        return self.constant + self.each * products


def fitted(points: Points) -> Line:
    """The line of least squares of relative errors, of which neither part is below 0."""
    sizes, values = np.array(list(points), dtype=np.float64).T
    weights = 1 / np.maximum(values, 1e-9)
    candidates = [_least(np.stack([np.ones_like(sizes), sizes]), values, weights), *(_least(one, values, weights) for one in _alone(sizes))]
    allowed = [line for line in candidates if line.constant >= 0 and line.each >= 0]
    return min(allowed, key=lambda line: float((((line.constant + line.each * sizes) - values) ** 2 * weights**2).sum()))


def steady(values: Collection[float]) -> float:
    """The constant of least squares of relative errors."""
    values = np.array(values, dtype=np.float64)
    return _least(np.stack([np.ones_like(values), np.zeros_like(values)]), values, 1 / np.maximum(values, 1e-9)).constant


def _alone(sizes: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float64]]:
    nothing = np.zeros_like(sizes)
    return [np.stack([np.ones_like(sizes), nothing]), np.stack([nothing, sizes])]


def _least(terms: npt.NDArray[np.float64], values: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> Line:
    found, *_ = np.linalg.lstsq((terms * weights).T, values * weights, rcond=None)
    return Line(float(found[0]), float(found[1]))


@dataclass(frozen=True)
class Power:
    """at_one · size ^ exponent"""

    at_one: float
    exponent: float

    def __call__(self, size: float) -> float:
        return self.at_one * size**self.exponent


def power(points: Points) -> Power:
    """The power of least squares of logarithms."""
    sizes, values = np.log(np.array(list(points), dtype=np.float64)).T
    exponent, constant = np.polyfit(sizes, values, 1)
    return Power(float(np.exp(constant)), float(exponent))


@dataclass(frozen=True)
class Measured:
    """One stage of one night: seconds of its tasks, of all cores together; seconds in which none was at work, but for those of the `cover`
    of large blocks; bytes shuffled; in how many cells each product was."""

    tasks: float
    alone: float
    shuffled: float
    cover: float = 0.0
    overlap: int = 1

    def seconds(self, cores: int) -> float:
        """On the so many cores that it was measured on."""
        return self.tasks / cores + self.alone + self.cover


def measured(began: datetime, seconds: float, tasks: Iterable[Task]) -> Measured:
    """A stage that began then and took so long, of the tasks of its night."""
    first = began.timestamp()
    mine = [task for task in tasks if first <= task.began.timestamp() < first + seconds]
    busy, until = 0.0, first
    for start, end in sorted((task.began.timestamp(), task.began.timestamp() + task.seconds) for task in mine):
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    return Measured(sum(task.seconds for task in mine), max(0.0, seconds - busy), sum(task.shuffled for task in mine))


@dataclass(frozen=True)
class Model:
    """By stage, of nights on so many `cores`, whose cells have `cell_rows`, each product of a large block in `overlap` of them; `stored`
    bytes of one night by table; `search` core seconds by the rows of a cell; `cover` seconds by its cells."""

    cores: int
    cell_rows: int
    overlap: int
    tasks: dict[str, Line]
    alone: dict[str, float]
    shuffled: dict[str, Line]
    stored: dict[str, Line]
    search: Power
    cover: Power

    def core_seconds(self, products: float, cell_rows: int) -> dict[str, float]:
        """Of each stage, which more cores share."""
        found = {stage: line.each * self._placed(stage, products, cell_rows) for stage, line in self.tasks.items()}
        return found | {"neighbours": found["neighbours"] * self.search(cell_rows) / self.search(self.cell_rows)}

    def alone_seconds(self, products: float, cell_rows: int) -> dict[str, float]:
        """Of each stage, which no number of cores shortens: no task is at work, or each core gets warm."""
        tried = [overlap for overlap in OVERLAPS if overlap <= self.overlap and products > cell_rows]
        cover = sum(self.cover(products * overlap / (cell_rows * FILLED)) for overlap in tried)
        found = {stage: seconds + self.tasks[stage].constant / self.cores for stage, seconds in self.alone.items()}
        return found | {"neighbours": found["neighbours"] + cover}

    def seconds(self, products: float, cell_rows: int, cores: int) -> dict[str, float]:
        """Of each stage, on so many cores that are all at work."""
        alone = self.alone_seconds(products, cell_rows)
        return {stage: seconds / cores + alone[stage] for stage, seconds in self.core_seconds(products, cell_rows).items()}

    def shuffled_bytes(self, products: float, cell_rows: int) -> dict[str, float]:
        """Of each stage."""
        return {stage: line(self._placed(stage, products, cell_rows)) for stage, line in self.shuffled.items()}

    def cores_for(self, products: float, cell_rows: int, within: float) -> int | None:
        """The fewest cores of a night within so many seconds; None where what they do not shorten takes longer."""
        left = within - sum(self.alone_seconds(products, cell_rows).values())
        if left <= 0:
            return None
        return int(np.ceil(sum(self.core_seconds(products, cell_rows).values()) / left))

    def _placed(self, stage: str, products: float, cell_rows: int) -> float:
        """The products, once for each cell they are searched in."""
        return products * self.overlap if stage == "neighbours" and products > cell_rows else products


def model_of(
    cores: int,
    cell_rows: int,
    nights: dict[int, dict[str, Measured]],
    stored: dict[int, dict[str, float]],
    searched: dict[int, Measured],
    covers: dict[int, float],
) -> Model:
    """Of nights by products, each by stage, measured on so many cores; of the bytes that they store by table; of `neighbours` of as many
    products each by the rows of a cell; and of seconds of a cover by its cells."""
    stages = list(next(iter(nights.values())))
    tables = sorted(set.intersection(*(set(of) for of in stored.values())))

    def of(stage: str, figure: str) -> Points:
        return [(products * night[stage].overlap, getattr(night[stage], figure)) for products, night in nights.items()]

    tasks = {stage: fitted(of(stage, "tasks")) for stage in stages}
    warm = tasks["neighbours"].constant  # whatever the cells
    return Model(
        cores=cores,
        cell_rows=cell_rows,
        overlap=max(night["neighbours"].overlap for night in nights.values()),
        tasks=tasks,
        alone={stage: steady([value for _, value in of(stage, "alone")]) for stage in stages},
        shuffled={stage: fitted(of(stage, "shuffled")) for stage in stages},
        stored={table: fitted([(products, of_night[table]) for products, of_night in stored.items()]) for table in tables},
        search=power([(rows, (figures.tasks - warm) / figures.overlap) for rows, figures in searched.items()]),
        cover=power(covers.items()),
    )
