"""The loops of the search that arrays alone cannot say, compiled with numba and cached on disk beside this file.

Every function takes contiguous arrays, writes into arrays its caller has made, and releases the interpreter lock. It writes the lists of
its own rows alone (from `start` to `stop`, or those of `slots`): what is found does not depend on how many threads share the rows.

A list is a row of `ids` (int32, NONE beyond its end) and of `similarities` (float32), nearest first.
"""

import numpy as np
import numpy.typing as npt
from numba import float32, int32, int64, njit, void

NONE = -1  # the neighbour that does not exist, where there are fewer than asked
LOWEST = np.float32(-9.0)  # below every cosine
GROUP_MAXIMA = 32  # two AVX-512 registers: maxima of 32 interleaved groups cost one pass over memory
# how far a bfloat16 product of unit vectors may lie from the true one: half a step of the result (0.002) and what the inputs lost
ROUNDING = np.float32(0.006)


def lists(count: int, width: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Empty lists: ids and similarities (count, width)."""
    return np.full((count, width), NONE, dtype=np.int32), np.full((count, width), LOWEST, dtype=np.float32)


@njit(nogil=True, cache=True, fastmath=True, inline="always")
def _sink(values, ids, count, kept, value, who):  # type: ignore[no-untyped-def]
    """Lets the value sink to its place in a falling list of at most `kept`, whose last one may fall out; the new count."""
    place = count if count < kept else kept - 1
    while place > 0 and values[place - 1] < value:
        values[place] = values[place - 1]
        ids[place] = ids[place - 1]
        place -= 1
    values[place] = value
    ids[place] = who
    return count + 1 if count < kept else kept


@njit(nogil=True, cache=True, fastmath=True, inline="always")
def _product(vectors, one, other):  # type: ignore[no-untyped-def]
    total = np.float32(0.0)
    for column in range(vectors.shape[1]):
        total += vectors[one, column] * vectors[other, column]
    return total


@njit(
    void(float32[:, ::1], int64[::1], int32[::1], int64[::1], int32[:, ::1], float32[:, ::1]),
    nogil=True, cache=True, fastmath=True,
)  # fmt: skip
def top(similarities, own, names, slots, ids, found):  # type: ignore[no-untyped-def]
    """Takes each row's similarities and the names of their columns into the list ids[slots[row]], found[slots[row]].

    similarities (r, c) float32, of which the first len(slots) rows and len(names) columns count, and of these not own[row] (where that is
    a column): it is overwritten.

    Two stages: the maxima of GROUP_MAXIMA interleaved groups bound the last place from below, and only groups whose maximum reaches the
    bound are looked at again.
    """
    columns, kept = len(names), ids.shape[1]
    maxima = np.empty(GROUP_MAXIMA, np.float32)
    best = np.empty(kept, np.float32)
    who = np.empty(kept, np.int32)
    whole = columns - columns % GROUP_MAXIMA
    for row in range(len(slots)):
        values = similarities[row]
        if 0 <= own[row] < columns:
            values[own[row]] = LOWEST
        for group in range(GROUP_MAXIMA):
            maxima[group] = LOWEST
        for block in range(0, whole, GROUP_MAXIMA):
            for group in range(GROUP_MAXIMA):
                value = values[block + group]
                maxima[group] = value if value > maxima[group] else maxima[group]
        for group in range(columns - whole):
            value = values[whole + group]
            maxima[group] = value if value > maxima[group] else maxima[group]
        slot = slots[row]
        bar = found[slot, kept - 1]
        if bar == LOWEST and kept <= GROUP_MAXIMA:
            count = 0
            for group in range(GROUP_MAXIMA):
                if maxima[group] > bar:
                    count = _sink(best, who, count, kept, maxima[group], 0)
                    if count == kept:
                        bar = best[kept - 1]
            bar = np.nextafter(bar, LOWEST)  # the maxima themselves pass
        count = kept
        while count > 0 and found[slot, count - 1] == LOWEST:
            count -= 1
        for group in range(GROUP_MAXIMA):
            if maxima[group] > bar:
                for column in range(group, columns, GROUP_MAXIMA):
                    if values[column] > bar:
                        count = _sink(found[slot], ids[slot], count, kept, values[column], names[column])
                        if count == kept:
                            bar = max(bar, found[slot, kept - 1])


@njit(void(float32[:, ::1], int32[::1], int32[::1]), nogil=True, cache=True)
def forbid(similarities, row_labels, column_labels):  # type: ignore[no-untyped-def]
    """Overwrites the similarities of rows and columns of one label, so that `top` passes over them."""
    for row in range(len(row_labels)):
        for column in range(len(column_labels)):
            if column_labels[column] == row_labels[row]:
                similarities[row, column] = LOWEST


@njit(
    void(float32[:, ::1], int64, int64, int64, int32[:, ::1], float32[:, ::1], int32[:, ::1], float32[:, ::1]),
    nogil=True, cache=True, fastmath=True,
)  # fmt: skip
def merge(vectors, start, stop, folds, candidates, approximate, ids, similarities):  # type: ignore[no-untyped-def]
    """Takes the candidates, `folds` lists a vector, into the lists (n, kept), with their exact float32 products."""
    kept = ids.shape[1]
    seen = np.full(vectors.shape[0], -1, np.int32)
    for row in range(start, stop):
        count = 0
        while count < kept and ids[row, count] != NONE:
            seen[ids[row, count]] = row
            count += 1
        for slot in range(row * folds, row * folds + folds):
            for place in range(candidates.shape[1]):
                other = candidates[slot, place]
                if other == NONE or (count == kept and approximate[slot, place] < similarities[row, kept - 1] - ROUNDING):
                    break
                if seen[other] == row:
                    continue
                seen[other] = row
                value = _product(vectors, row, other)
                if count < kept or value > similarities[row, kept - 1]:
                    count = _sink(similarities[row], ids[row], count, kept, value, other)


@njit(
    int64(float32[:, ::1], int64, int64, int32[::1], int32[:, ::1], int32[:, ::1], int64, int32[:, ::1], float32[:, ::1]),
    nogil=True, cache=True, fastmath=True,
)  # fmt: skip
def sweep(vectors, start, stop, labels, first, second, reach, ids, similarities):  # type: ignore[no-untyped-def]
    """Takes the neighbours' neighbours (the first `reach` of `second`, of the first `reach` of `first`) into the lists.

    The lists are read from `first` and `second` and written to `ids` and `similarities`, which hold the same to begin with. Returns the
    number of products computed.
    """
    kept = ids.shape[1]
    seen = np.full(vectors.shape[0], -1, np.int32)
    products = 0
    for row in range(start, stop):
        count = 0
        while count < kept and ids[row, count] != NONE:
            seen[ids[row, count]] = row
            count += 1
        for near in range(min(reach, first.shape[1])):
            between = first[row, near]
            if between == NONE:
                break
            for far in range(min(reach, second.shape[1])):
                other = second[between, far]
                if other == NONE:
                    break
                if seen[other] == row or labels[other] == labels[row]:
                    continue
                seen[other] = row
                value = _product(vectors, row, other)
                products += 1
                if count < kept or value > similarities[row, kept - 1]:
                    count = _sink(similarities[row], ids[row], count, kept, value, other)
    return products


@njit(
    void(float32[:, ::1], int64, int64, int32[:, ::1], int32[:, ::1], float32[:, ::1]),
    nogil=True, cache=True, fastmath=True,
)  # fmt: skip
def settle(vectors, start, stop, found, ids, similarities):  # type: ignore[no-untyped-def]
    """The best of the lists `found` (n, wide) into ids and similarities (n, k): products summed in float64, equal ones by position.

    A pair's similarity is then the same however the work was cut, and to the last digit the true one of its float32 vectors.
    """
    k = ids.shape[1]
    for row in range(start, stop):
        count = 0
        for place in range(found.shape[1]):
            other = found[row, place]
            if other == NONE:
                break
            total = 0.0
            for column in range(vectors.shape[1]):
                total += np.float64(vectors[row, column]) * np.float64(vectors[other, column])
            value = np.float32(total)
            at = count
            while at > 0 and (similarities[row, at - 1] < value or (similarities[row, at - 1] == value and ids[row, at - 1] > other)):
                if at < k:
                    similarities[row, at] = similarities[row, at - 1]
                    ids[row, at] = ids[row, at - 1]
                at -= 1
            if at < k:
                similarities[row, at] = value
                ids[row, at] = other
                count = min(count + 1, k)
