"""Sums of products of 16-bit integers as x86 computes them: two products and their sum in one instruction.

PMADDWD multiplies pairs of int16 and adds the two products in int32; every x86-64 has it, in vectors of 4, 8
or 16 sums. It is integer arithmetic of the processor, not of a library: it wraps only where both factors of
both pairs are -32768, which callers exclude. numba's own vectoriser does not find it, so it is named here.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

ROWS = 6  # M: positions at a time, so that their sums fill the registers: tersor bench, "exact"
BLOCK = 32  # outputs whose weights lie together
REGISTERS = 2  # vectors of sums a position
FORMS = (
    ("+avx512bw", 16, "llvm.x86.avx512.pmaddw.d.512"),
    ("+avx2", 8, "llvm.x86.avx2.pmadd.wd"),
    ("", 4, "llvm.x86.sse2.pmadd.wd"),
)  # what a processor must have, sums in a vector, the instruction
I16, I32, I64 = (ir.IntType(bits) for bits in (16, 32, 64))


@intrinsic
def pair_sums(typingctx, x, start, stride, segments, segment, pairs, weights, first, sums):
    """sums[r, o] = sum over segments s, pairs k and both members m of x[r, s, k, m] w[s, k, o, m].

    Args:
        x: int16, C-contiguous; position r begins at element `start + r stride`, its segment s `s segment`
            further.
        pairs: of a segment.
        weights: int16, C-contiguous; from element `first` on [segments, pairs, BLOCK, 2].
        sums: int32 [ROWS, BLOCK], written. The caller knows that they fit.
    """
    signature = types.void(x, start, stride, segments, segment, pairs, weights, first, sums)
    return signature, _emit


def instruction(context, builder):
    """The widest form that the processor has: (sums in a vector, types of vectors of int32 and int16, it)."""
    features = context.codegen().magic_tuple()[2].split(",")
    lanes, name = next((n, name) for f, n, name in FORMS if not f or f in features)
    v32, v16 = ir.VectorType(I32, lanes), ir.VectorType(I16, 2 * lanes)
    multiply = cgutils.get_or_insert_function(builder.module, ir.FunctionType(v32, [v16, v16]), name)
    return lanes, v32, v16, multiply


def _emit(context, builder, signature, args):
    lanes, v32, v16, multiply = instruction(context, builder)
    x, weights, sums = (data(context, builder, signature, args, n) for n in (0, 6, 8))
    _, start, stride, segments, segment, pairs, _, first, _ = args
    x, weights = builder.gep(x, [start]), builder.gep(weights, [first])

    with cgutils.for_range(builder, i64(BLOCK // (REGISTERS * lanes))) as part:
        column = builder.mul(part.index, i64(REGISTERS * lanes))
        cells = [(r, v, cgutils.alloca_once(builder, v32)) for r in range(ROWS) for v in range(REGISTERS)]
        for _, _, cell in cells:
            builder.store(ir.Constant(v32, None), cell)
        at = cgutils.alloca_once(builder, I64)  # in the weights
        builder.store(builder.mul(column, i64(2)), at)
        with cgutils.for_range(builder, segments) as s, cgutils.for_range(builder, pairs) as k:
            here = builder.load(at)
            builder.store(builder.add(here, i64(2 * BLOCK)), at)
            w = [vector(builder, weights, here, 2 * lanes * v, v16) for v in range(REGISTERS)]
            place = builder.add(builder.mul(s.index, segment), builder.mul(k.index, i64(2)))
            for r, v, cell in cells:
                if v == 0:
                    pair = everywhere(builder, x, builder.add(place, builder.mul(stride, i64(r))), lanes)
                products = builder.call(multiply, [builder.bitcast(pair, v16), w[v]])
                builder.store(builder.add(builder.load(cell), products), cell)
        for r, v, cell in cells:
            to = builder.gep(sums, [builder.add(column, i64(r * BLOCK + v * lanes))])
            builder.store(builder.load(cell), builder.bitcast(to, v32.as_pointer()), align=4)
    return context.get_dummy_value()


def i64(value):
    """A constant."""
    return ir.Constant(I64, value)


def data(context, builder, signature, args, n):
    """Where the elements of an array argument begin."""
    return context.make_array(signature.args[n])(context, builder, args[n]).data


def vector(builder, base, at, beyond, kind):
    """A vector of int16, which may lie at any address."""
    address = builder.gep(base, [builder.add(at, i64(beyond))])
    return builder.load(builder.bitcast(address, kind.as_pointer()), align=2)


def everywhere(builder, base, at, lanes):
    """The pair at an address in every lane."""
    pair = builder.load(builder.bitcast(builder.gep(base, [at]), I32.as_pointer()), align=2)
    undefined = ir.Constant(ir.VectorType(I32, lanes), ir.Undefined)
    one = builder.insert_element(undefined, pair, ir.Constant(I32, 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(I32, lanes), None))
