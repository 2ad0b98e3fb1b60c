"""Matrix products in the precision that is fastest on this CPU.

CPUs multiply 8-bit integers (VNNI, AMX, and AVX2 by `int8`) or bfloat16 (AMX) several times as fast as float32; where they can't, they
emulate it and are slower. Which kind this is is measured, once a process. Unit vectors lose little: in 8 bits a product is off by 0.4
units, about 0.002 where no component is larger than 0.45.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from jobs import int8
from jobs.kernel import LANES

Product = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

ROWS, COLUMNS = 512, 1024  # of one product: 2 MB of similarities, near what the second cache of a core holds; multiples of LANES
DIMENSION, REPEATS = 384, 5  # a product of 0.4 GFLOP, as large as the search's own: 1 to 4 ms in float32
EMULATED = 0.1  # seconds: a CPU that takes so long for a product, twice, need not be asked again
WORTH = 1.5  # times as fast as float32 it has to be: where the two are near each other, noise would choose, and float32 is exact
AT_ONCE = 1024  # rows that are narrowed in the cache
LENGTH = 1.001  # of a unit vector, at most
ROUNDING = {torch.float32: 1e-4, torch.bfloat16: 0.012}  # how far a product of unit vectors may lie from that of `kernel.fixed_point`


@dataclass(frozen=True)
class Matrix:
    """Vectors in the precision of products: `values` (n, d), int8 (filled up with zeros, see `int8`), bfloat16 or float32, times `unit`."""

    values: torch.Tensor
    unit: float = 1.0

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice | npt.NDArray[np.integer]) -> "Matrix":
        if isinstance(rows, slice):
            return Matrix(self.values[rows], self.unit)
        return Matrix(self.values.index_select(0, torch.from_numpy(rows)), self.unit)

    def filled(self) -> "Matrix":
        """Itself, or with its last row repeated up to a multiple of LANES rows, as `kernel.top` takes them. Every shape of a product is
        compiled when it is first met: so there are few shapes, too."""
        rows = -(-len(self) // LANES) * LANES
        return self if rows == len(self) else self[np.minimum(np.arange(rows), len(self) - 1)]

    def widened(self) -> torch.Tensor:
        """(n, d) float32."""
        return self.values.float() * self.unit

    def like(self, vectors: torch.Tensor) -> "Matrix":
        """Other vectors (m, d) float32, no longer than LENGTH, in this precision; int8 saturates."""
        if self.values.dtype != torch.int8:
            return Matrix(vectors.to(self.values.dtype))
        dimension = vectors.shape[1]
        narrow = torch.zeros(len(vectors), int8.filled_up(dimension), dtype=torch.int8)
        for start in range(0, len(vectors), AT_ONCE):
            rows = slice(start, start + AT_ONCE)
            narrow[rows, :dimension] = (vectors[rows] / self.unit).round_().clamp_(-int8.LARGEST, int8.LARGEST)
        return Matrix(narrow, self.unit)

    @property
    def rounding(self) -> float:
        """How far a product of two unit vectors may lie from that of `kernel.fixed_point`: of int8 six standard deviations, of components
        that are rounded independently."""
        return ROUNDING.get(self.values.dtype, 2.5 * self.unit)


def matrix(vectors: torch.Tensor, precision: torch.dtype) -> Matrix:
    """vectors (n, d) float32, no longer than LENGTH, in the precision; int8 holds their largest component."""
    unit = 1.0
    if precision == torch.int8:
        unit = LENGTH / int8.longest(vectors.shape[1])
        if len(vectors):
            unit = max(unit, *(abs(end.item()) / int8.LARGEST for end in vectors.aminmax()))
    return Matrix(torch.empty(0, dtype=precision), unit).like(vectors)


def multiplied(queries: Matrix, targets: Matrix) -> torch.Tensor:
    """(q, t) int32 of int8, else float32: inner products in units of the two matrices, each of a multiple of LANES rows."""
    if queries.values.dtype == torch.int8:
        return _product_of_int8()(queries.values, targets.values)
    return (queries.values @ targets.values.T).float()


def _by_torch(queries: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return torch._int_mm(queries, targets.T)


def _by_avx2(queries: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(int8.multiplied(queries.numpy(), targets.numpy()))


@lru_cache(maxsize=1)
def _product_of_int8() -> Product:
    """Of torch (VNNI, AMX) and AVX2 the faster here: both are exact, so nothing else depends on it. Some CPUs' sums overflow in torch."""
    if not int8.HERE:
        return _by_torch
    values = _sample(torch.int8).values
    right = torch.equal(_by_torch(values[:ROWS], values), _by_avx2(values[:ROWS], values))
    return _by_torch if right and _seconds(_by_torch, values) < _seconds(_by_avx2, values) else _by_avx2


def _sample(precision: torch.dtype) -> Matrix:
    """Random vectors, and in int8 one with the largest components that may follow each other."""
    narrow = matrix(torch.nn.functional.normalize(torch.randn(COLUMNS, DIMENSION)), precision)
    if precision == torch.int8:
        narrow.values[0] = 0
        narrow.values[0, : int8.SIDE_BY_SIDE] = int8.LARGEST
    return narrow


def _seconds(product: Product, values: torch.Tensor) -> float:
    """The best of a few products, in this thread's own time: waiting for others on a busy machine does not count."""
    times = []
    for _ in range(1 + REPEATS):  # the first one compiles
        began = time.thread_time()
        product(values[:ROWS], values)
        times.append(time.thread_time() - began)
        if len(times) > 1 and min(times) > EMULATED:
            break
    return min(times[1:])


def seconds(precision: torch.dtype) -> float:
    """What a product takes; infinite where it is wrong: some CPUs' 8-bit sums overflow."""
    narrow = _sample(precision)
    if precision == torch.int8:
        exact = narrow.values[:ROWS].float() @ narrow.values.float().T
        if not torch.equal(multiplied(narrow[:ROWS], narrow).float(), exact):
            return float("inf")
    return _seconds(lambda queries, targets: multiplied(Matrix(queries), Matrix(targets)), narrow.values)


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


def products(queries: Matrix, targets: Matrix) -> Iterator[tuple[slice, slice, npt.NDArray[np.float32 | np.int32]]]:
    """The inner products of all queries with all targets, in blocks that stay in the cache: which queries, which targets, and products of
    as many rows and columns at least. All blocks of a query come one after the other."""
    for start in range(0, len(queries), ROWS):
        mine = slice(start, min(len(queries), start + ROWS))
        asking = queries[mine].filled()
        for first in range(0, len(targets), COLUMNS):
            theirs = slice(first, min(len(targets), first + COLUMNS))
            yield mine, theirs, multiplied(asking, targets[theirs].filled()).numpy()
