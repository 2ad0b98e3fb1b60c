"""The loops of the search that arrays alone cannot say, compiled with numba and cached on disk beside this file.

Some work on LANES numbers at once: on what LLVM turns into the vector instructions of the CPU it compiles for. Loops over a compile-time
count of numbers are unrolled before they are vectorised, and come out ten times as slow. They are in this file since numba compiles anew
when it changes, and not when another one does.

Every function takes contiguous arrays, writes into arrays its caller has made, and releases the interpreter lock. It writes the lists of
its own rows alone (from `start` to `stop`, or those of `slots`): what is found does not depend on how many threads share the rows.

A list is a row of `ids` (int32, NONE beyond its end) and of `similarities` (float32), nearest first.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import float32, int16, int32, int64, njit, types, void
from numba.core import cgutils
from numba.extending import intrinsic

NONE = -1  # the neighbour that does not exist, where there are fewer than asked
FINE = np.float32(32_700)  # of 16 bits, with room for lengths that are not quite one
LOWEST = np.float32(-(2**30))  # below every product, of integers too
LANES = 32  # two AVX-512 registers
_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_SHORTS = ir.VectorType(ir.IntType(16), LANES)
_SUMS = ir.VectorType(ir.IntType(32), LANES)


def _loaded(context: Any, builder: Any, kind: Any, array: Any, start: Any) -> tuple[Any, Any]:
    """The LANES numbers of a contiguous array from `start`, as float32, and where they lie."""
    data = context.make_array(kind)(context, builder, array).data
    place = builder.gep(data, [start])
    numbers = ir.VectorType(context.get_data_type(kind.dtype), LANES)
    found = builder.load(builder.bitcast(place, numbers.as_pointer()), align=4)
    return (builder.sitofp(found, _FLOATS) if isinstance(kind.dtype, types.Integer) else found), place


def _raise_to(typing: Any, maxima: Any, values: Any, start: Any) -> Any:
    """maxima[:LANES] = maximum(maxima[:LANES], values[start : start + LANES]); maxima float32, values float32 or int32, contiguous."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        now, place = _loaded(context, builder, maxima, given[0], context.get_constant(types.intp, 0))
        new, _ = _loaded(context, builder, values, given[1], given[2])
        larger = builder.select(builder.fcmp_ordered(">", new, now), new, now)
        builder.store(larger, builder.bitcast(place, _FLOATS.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(maxima, values, types.intp), generate


def _above(typing: Any, values: Any, start: Any, bar: Any) -> Any:
    """Bit i: values[start + i] > bar; values float32 or int32, contiguous."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        numbers, _ = _loaded(context, builder, values, given[0], given[1])
        whole = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), given[2], ir.Constant(ir.IntType(32), 0))
        bars = builder.shuffle_vector(whole, whole, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))
        mask = builder.bitcast(builder.fcmp_ordered(">", numbers, bars), ir.IntType(LANES))
        return builder.zext(mask, ir.IntType(64))

    return types.uint64(values, types.intp, types.float32), generate


def _lowest_bit(typing: Any, mask: Any) -> Any:
    """The place of the lowest bit of a mask that has one."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.cttz(given[0], ir.Constant(ir.IntType(1), 1))

    return types.intp(types.uint64), generate


def _bits(typing: Any, mask: Any) -> Any:
    """How many bits a mask has."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.ctpop(given[0])

    return types.intp(types.uint64), generate


def _dot(typing: Any, vectors: Any, one: Any, other: Any) -> Any:
    """The int32 inner product of two rows of vectors (n, d) int16, contiguous, d a multiple of LANES."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        array = context.make_array(vectors)(context, builder, given[0])
        columns = builder.extract_value(array.shape, 1)
        rows = [builder.gep(array.data, [builder.mul(row, columns)]) for row in given[1:]]
        sums = cgutils.alloca_once_value(builder, ir.Constant(_SUMS, None))  # type: ignore[no-untyped-call]
        start, step = (context.get_constant(types.intp, number) for number in (0, LANES))
        with cgutils.for_range_slice(builder, start, columns, step) as (column, _):
            places = [builder.bitcast(builder.gep(row, [column]), _SHORTS.as_pointer()) for row in rows]
            left, right = (builder.sext(builder.load(place, align=2), _SUMS) for place in places)
            builder.store(builder.add(builder.load(sums), builder.mul(left, right)), sums)
        name, kind = f"llvm.vector.reduce.add.v{LANES}i32", ir.FunctionType(ir.IntType(32), [_SUMS])
        total = cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]
        return builder.call(total, [builder.load(sums)])

    return types.int32(vectors, types.intp, types.intp), generate


raise_to: Any = intrinsic(_raise_to)
above: Any = intrinsic(_above)
lowest_bit: Any = intrinsic(_lowest_bit)
bits: Any = intrinsic(_bits)
dot: Any = intrinsic(_dot)


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


@njit(void(float32[:, ::1], int64[::1], int64, int64, int16[:, ::1]), nogil=True, cache=True, fastmath=True)
def fixed_point(vectors, order, start, stop, fine):  # type: ignore[no-untyped-def]
    """fine[start:stop] = vectors[order[start:stop]] in units of 1 / FINE.

    fine (n, LANES or a multiple) int16: half the memory of float32, which is what a product of two distant rows waits for. A product of
    unit vectors is off by 0.00001, ten times as much at most, and cannot overflow.
    """
    for row in range(start, stop):
        for column in range(vectors.shape[1]):
            fine[row, column] = np.int16(np.rint(vectors[order[row], column] * FINE))


@njit(
    [void(products[:, ::1], int64[::1], int32[::1], int64[::1], int32[:, ::1], float32[:, ::1]) for products in (float32, int32)],
    nogil=True, cache=True, fastmath=True,
)  # fmt: skip
def top(products, own, names, slots, ids, found):  # type: ignore[no-untyped-def]
    """Takes each row's products and the names of their columns into the list ids[slots[row]], found[slots[row]].

    products (r, c) float32 or int32, c a multiple of LANES, of which the first len(slots) rows and len(names) columns count, and of these
    not own[row] (where that is a column): what does not count is overwritten.

    Two stages: the maxima of LANES interleaved groups bound the last place of an empty list from below, and what reaches the bound sinks.
    Columns are looked at from a place that differs from list to list: among many that are equal not everyone takes the same few.
    """
    columns, kept = len(names), ids.shape[1]
    blocks = -(-columns // LANES)
    maxima = np.empty(LANES, np.float32)
    for row in range(len(slots)):
        values, slot = products[row], slots[row]
        if 0 <= own[row] < columns:
            values[own[row]] = LOWEST
        for column in range(columns, products.shape[1]):
            values[column] = LOWEST
        bar = found[slot, kept - 1]
        if bar == LOWEST and kept <= LANES:
            for group in range(LANES):
                maxima[group] = LOWEST
            for block in range(0, columns, LANES):
                raise_to(maxima, values, block)
            last = -LOWEST
            for group in range(LANES):
                if bits(above(maxima, 0, maxima[group])) < kept:
                    last = min(last, maxima[group])
            bar = max(bar, np.nextafter(last, LOWEST))  # the maxima themselves pass
        count = kept
        while count > 0 and found[slot, count - 1] == LOWEST:
            count -= 1
        mixed = (slot * 2_654_435_761) >> 16 & 0xFFFF
        turn, block = np.uint64(mixed % LANES), mixed // LANES % blocks * LANES
        for _ in range(blocks):
            mask = above(values, block, bar)
            passing = (mask >> turn | mask << np.uint64(LANES) - turn) & np.uint64(2**LANES - 1)
            while passing:
                column = block + (lowest_bit(passing) + np.int64(turn)) % LANES
                passing &= passing - np.uint64(1)
                if values[column] > bar:
                    count = _sink(found[slot], ids[slot], count, kept, np.float32(values[column]), names[column])
                    if count == kept:
                        bar = max(bar, found[slot, kept - 1])
            block = block + LANES if block + LANES < columns else 0


@njit([void(products[:, ::1], int32[::1], int32[::1]) for products in (float32, int32)], nogil=True, cache=True)
def forbid(products, row_labels, column_labels):  # type: ignore[no-untyped-def]
    """Overwrites the products of rows and columns of one label, so that `top` passes over them."""
    for row in range(len(row_labels)):
        for column in range(len(column_labels)):
            if column_labels[column] == row_labels[row]:
                products[row, column] = LOWEST


@njit(
    void(int16[:, ::1], int64, int64, int64, int32[:, ::1], float32[:, ::1], float32, float32, int32[:, ::1], float32[:, ::1]),
    nogil=True, cache=True, fastmath=True,
)  # fmt: skip
def merge(fine, start, stop, folds, candidates, approximate, unit, rounding, ids, similarities):  # type: ignore[no-untyped-def]
    """Takes the candidates, `folds` lists a vector, into the lists (n, kept), with their products of `fixed_point`.

    The candidates' similarities are `approximate` times `unit`: those in fixed point differ by `rounding` at most.
    """
    kept = ids.shape[1]
    seen = np.full(fine.shape[0], -1, np.int32)
    for row in range(start, stop):
        count = 0
        while count < kept and ids[row, count] != NONE:
            seen[ids[row, count]] = row
            count += 1
        for slot in range(row * folds, row * folds + folds):
            for place in range(candidates.shape[1]):
                other = candidates[slot, place]
                if other == NONE or (count == kept and approximate[slot, place] * unit < similarities[row, kept - 1] - rounding):
                    break
                if seen[other] == row:
                    continue
                seen[other] = row
                value = np.float32(dot(fine, row, other)) / (FINE * FINE)
                if count < kept or value > similarities[row, kept - 1]:
                    count = _sink(similarities[row], ids[row], count, kept, value, other)


@njit(
    void(int16[:, ::1], int64, int64, int32[::1], int32[:, ::1], int32[:, ::1], int64, int32[:, ::1], float32[:, ::1]),
    nogil=True, cache=True, fastmath=True,
)  # fmt: skip
def sweep(fine, start, stop, labels, first, second, reach, ids, similarities):  # type: ignore[no-untyped-def]
    """Takes the neighbours' neighbours (the first `reach` of `second`, of the first `reach` of `first`) into the lists.

    The lists are read from `first` and `second` and written to `ids` and `similarities`, which hold the same to begin with.
    """
    kept = ids.shape[1]
    seen = np.full(fine.shape[0], -1, np.int32)
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
                value = np.float32(dot(fine, row, other)) / (FINE * FINE)
                if count < kept or value > similarities[row, kept - 1]:
                    count = _sink(similarities[row], ids[row], count, kept, value, other)


@njit(
    void(float32[:, ::1], int64[::1], int64[::1], int32[:, ::1], int32[:, ::1], float32[:, ::1]),
    nogil=True, cache=True, fastmath=True,
)  # fmt: skip
def settle(vectors, rows, slots, found, ids, similarities):  # type: ignore[no-untyped-def]
    """The best of the lists found[slots] (wide) of vectors[rows] into ids[slots] and similarities[slots] (k): float64 sums of products,
    equal ones by position.

    A pair's similarity is then the same however the work was cut, and to the last digit the true one of its float32 vectors.
    """
    k = ids.shape[1]
    for asked in range(len(rows)):
        row, slot, count = rows[asked], slots[asked], 0
        for place in range(found.shape[1]):
            other = found[slot, place]
            if other == NONE:
                break
            total = 0.0
            for column in range(vectors.shape[1]):
                total += np.float64(vectors[row, column]) * np.float64(vectors[other, column])
            value = np.float32(total)
            at = count
            while at > 0 and (similarities[slot, at - 1] < value or (similarities[slot, at - 1] == value and ids[slot, at - 1] > other)):
                if at < k:
                    similarities[slot, at] = similarities[slot, at - 1]
                    ids[slot, at] = ids[slot, at - 1]
                at -= 1
            if at < k:
                similarities[slot, at] = value
                ids[slot, at] = other
                count = min(count + 1, k)
