"""Matrix products in the precision that is fastest on this CPU.

Server CPUs with AMX or AVX512-BF16 multiply bfloat16 several times as fast as float32; others emulate it and are slower. Which kind this is
is measured, once a process.
"""

import time
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

ROWS, COLUMNS = 512, 1024  # of one product: 2 MB of similarities, near what the second cache of a core holds
STEP = 128  # rows of either side come in multiples of this
DIMENSION, REPEATS = 384, 5  # a product of 0.2 GFLOP, as large as the search's own: 1 to 4 ms in float32
WORTH = 1.5  # times as fast as float32 it has to be: where the two are near each other, noise would choose, and float32 is exact


def seconds(dtype: torch.dtype) -> float:
    """The best of a few products of random matrices."""
    queries = torch.randn(COLUMNS, DIMENSION).to(dtype)
    times = []
    for _ in range(1 + REPEATS):  # the first one compiles
        began = time.perf_counter()
        (queries[:ROWS] @ queries.T).float()
        times.append(time.perf_counter() - began)
    return min(times[1:])


@lru_cache(maxsize=1)
def fastest() -> torch.dtype:
    """bfloat16 or float32."""
    return torch.bfloat16 if seconds(torch.float32) > WORTH * seconds(torch.bfloat16) else torch.float32


def rows(vectors: torch.Tensor, positions: npt.NDArray[np.integer]) -> torch.Tensor:
    """vectors[positions], filled up to a multiple of STEP rows: every shape of a product is compiled when it is first met, for
    milliseconds, and so there are few shapes."""
    filled = np.zeros(-(-len(positions) // STEP) * STEP, dtype=np.int64)
    filled[: len(positions)] = positions
    return vectors.index_select(0, torch.from_numpy(filled))


def products(
    queries: torch.Tensor, targets: torch.Tensor, counted: int, targets_counted: int
) -> Iterator[tuple[slice, slice, npt.NDArray[np.float32]]]:
    """The inner products of the first `counted` queries with the first `targets_counted` targets, in blocks that stay in the cache: which
    queries, which targets, and float32 products of as many rows and columns at least. All blocks of a query come one after the other."""
    for start in range(0, counted, ROWS):
        mine = queries[start : start + ROWS]
        for first in range(0, targets_counted, COLUMNS):
            theirs = targets[first : first + COLUMNS]
            found = slice(start, min(counted, start + ROWS)), slice(first, min(targets_counted, first + COLUMNS))
            yield *found, (mine @ theirs.T).float().numpy()
