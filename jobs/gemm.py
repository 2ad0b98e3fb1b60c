"""Matrix products in the precision that is fastest on this CPU.

CPUs multiply 8-bit integers (VNNI, AMX) or bfloat16 (AMX) several times as fast as float32; where they can't, they emulate it and are
slower. Which kind this is is measured, once a process. Unit vectors lose little: in 8 bits a product is off by 0.4 units, about 0.001
where no component is larger than 0.3.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from jobs.lanes import LANES

ROWS, COLUMNS = 512, 1024  # of one product: 2 MB of similarities, near what the second cache of a core holds; multiples of LANES
DIMENSION, REPEATS = 384, 5  # a product of 0.4 GFLOP, as large as the search's own: 1 to 4 ms in float32
EMULATED = 0.1  # seconds: a CPU that takes so long for a product, twice, need not be asked again
WORTH = 1.5  # times as fast as float32 it has to be: where the two are near each other, noise would choose, and float32 is exact
LARGEST = 127  # of 8 bits
AT_ONCE = 1024  # rows that are narrowed in the cache
LEAST_UNIT = 1e-4  # of 8 bits: a product in units stays below 2^30 by far, where `kernel.LOWEST` is
ROUNDING = {torch.float32: 1e-4, torch.bfloat16: 0.006}  # how far a product of unit vectors may lie from that of `kernel.fixed_point`


@dataclass(frozen=True)
class Matrix:
    """Vectors in the precision of products: `values` (n, d), int8, bfloat16 or float32, times `unit`."""

    values: torch.Tensor
    unit: float = 1.0

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice | npt.NDArray[np.integer]) -> "Matrix":
        if isinstance(rows, slice):
            return Matrix(self.values[rows], self.unit)
        return Matrix(self.values.index_select(0, torch.from_numpy(rows)), self.unit)

    def filled(self, positions: npt.NDArray[np.integer]) -> "Matrix":
        """The rows at the positions, filled up to a multiple of LANES rows, as `kernel.top` takes them. Every shape of a product is
        compiled when it is first met: so there are few shapes, too."""
        places = np.zeros(-(-len(positions) // LANES) * LANES, dtype=np.int64)
        places[: len(positions)] = positions
        return self[places]

    def widened(self) -> torch.Tensor:
        """(n, d) float32."""
        return self.values.float() * self.unit

    def like(self, vectors: torch.Tensor) -> "Matrix":
        """Other vectors (m, d) float32 in this precision; int8 saturates."""
        if self.values.dtype != torch.int8:
            return Matrix(vectors.to(self.values.dtype))
        narrow = torch.empty(vectors.shape, dtype=torch.int8)
        for start in range(0, len(vectors), AT_ONCE):
            rows = slice(start, start + AT_ONCE)
            narrow[rows] = (vectors[rows] / self.unit).round_().clamp_(-LARGEST, LARGEST)
        return Matrix(narrow, self.unit)

    @property
    def rounding(self) -> float:
        """How far a product of two unit vectors may lie from that of `kernel.fixed_point`: of int8 five standard deviations."""
        return ROUNDING.get(self.values.dtype, 2 * self.unit)


def matrix(vectors: torch.Tensor, precision: torch.dtype) -> Matrix:
    """vectors (n, d) float32 in the precision; of int8 one unit is what holds their largest component."""
    unit = max(*(abs(end.item()) / LARGEST for end in vectors.aminmax()), LEAST_UNIT) if precision == torch.int8 and len(vectors) else 1.0
    return Matrix(torch.empty(0, dtype=precision), unit).like(vectors)


def multiplied(queries: Matrix, targets: Matrix) -> torch.Tensor:
    """(q, t) int32 of int8, else float32: inner products in units of the two matrices."""
    if queries.values.dtype == torch.int8:
        return torch._int_mm(queries.values, targets.values.T)
    return (queries.values @ targets.values.T).float()


def seconds(precision: torch.dtype) -> float:
    """The best of a few products of random matrices; infinite where they are wrong: some CPUs' 8-bit sums overflow."""
    exact = torch.randint(-LARGEST, LARGEST + 1, (COLUMNS, DIMENSION)).float()
    narrow = Matrix(exact.to(precision))
    times = []
    for _ in range(1 + REPEATS):  # the first one compiles
        began = time.perf_counter()
        found = multiplied(narrow[:ROWS], narrow)
        times.append(time.perf_counter() - began)
        if len(times) > 1 and min(times) > EMULATED:
            break
    if precision == torch.int8 and not torch.equal(found.float(), exact[:ROWS] @ exact.T):
        return float("inf")
    return min(times[1:])


@lru_cache(maxsize=1)
def fastest() -> torch.dtype:
    """The first of int8, bfloat16 and float32 that is fast, as one core multiplies them. Not the fastest of the first two: where they are
    near each other two processes of one machine would choose differently."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that wait for each other on a busy machine would be measured instead
    exact = seconds(torch.float32)
    narrow = next((precision for precision in (torch.int8, torch.bfloat16) if exact > WORTH * seconds(precision)), torch.float32)
    torch.set_num_threads(threads)
    return narrow


def products(
    queries: Matrix, targets: Matrix, counted: int, targets_counted: int
) -> Iterator[tuple[slice, slice, npt.NDArray[np.float32 | np.int32]]]:
    """The inner products of the first `counted` queries with the first `targets_counted` targets, in blocks that stay in the cache: which
    queries, which targets, and products of as many rows and columns at least. All blocks of a query come one after the other."""
    for start in range(0, counted, ROWS):
        mine = queries[start : start + ROWS]
        for first in range(0, targets_counted, COLUMNS):
            found = slice(start, min(counted, start + ROWS)), slice(first, min(targets_counted, first + COLUMNS))
            yield *found, multiplied(mine, targets[first : first + COLUMNS]).numpy()
