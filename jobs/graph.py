"""Which items are linked and how strongly, as sparse rows: item i with `items[bounds[i]:bounds[i + 1]]`."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bounds = npt.NDArray[np.int64]
Positions = npt.NDArray[np.int32]
Values = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Graph:
    """n items: bounds (n + 1,) int64; items (links,) int32, ascending in each row, none with itself; values (links,) float32."""

    bounds: Bounds
    items: Positions
    values: Values

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @property
    def rows(self) -> Positions:
        """(links,) int32: whose row each link stands in."""
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.bounds))


def both_ways(bounds: Bounds, items: Positions, values: Values) -> Graph:
    """Of lists that name others: each pair in the rows of both, whoever names whom, with the larger value.

    A new item's list names old ones whose own lists have not come to name it: over this link it is reached from the first night on.
    """
    count = len(bounds) - 1
    ones = np.repeat(np.arange(count, dtype=np.int32), np.diff(bounds))
    return of_pairs(np.concatenate([ones, items]), np.concatenate([items, ones]), np.tile(values, 2), count)


def of_pairs(ones: Positions, others: Positions, values: Values, count: int) -> Graph:
    """Of pairs (p,), each in the row of its first, with the larger value where it is named twice; none of an item with itself.

    Raises ValueError for a position that is not one of `count` items.
    """
    for positions in (ones, others):
        if len(positions) and not 0 <= int(positions.min()) <= int(positions.max()) < count:
            raise ValueError(f"expected positions from 0 to {count - 1}, found {positions.min()} to {positions.max()}")
    apart = ones != others
    pairs, values = ones[apart].astype(np.int64) * count + others[apart], values[apart]
    order = np.lexsort((-values, pairs))
    pairs, values = pairs[order], values[order]
    first = np.append(True, pairs[1:] != pairs[:-1])[: len(pairs)]
    pairs, values = pairs[first], values[first]
    bounds = np.searchsorted(pairs, np.arange(count + 1, dtype=np.int64) * count).astype(np.int64)
    return Graph(bounds, (pairs % max(count, 1)).astype(np.int32), values.astype(np.float32))
