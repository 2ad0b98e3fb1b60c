"""Thirty-two numbers at once: what LLVM turns into the vector instructions of the CPU it compiles for.

Loops over a compile-time count of numbers are unrolled before they are vectorised, and come out ten times as slow. What numba has cached
of `kernel` it compiles anew when that file changes, not when this one does.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

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
