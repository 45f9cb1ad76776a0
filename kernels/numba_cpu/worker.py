"""Workers: ``launch`` runs a kernel's serial code on all threads, each of which takes its share.

Numba compiles what a ``prange`` calls four times more, at each level between the loop and Python.
So there is one ``prange`` for all kernels, compiled once, and it knows nothing but an address.
A kernel is a plain function ``work(t, threads, *arguments)``: machine code of C's calling
convention, made or read from the disk cache when first asked for, once a dtype. The arguments of a
call lie in one block of memory, from which every thread reads them.
"""

from functools import lru_cache

import numpy as np
from llvmlite import ir
from numba import cfunc, get_num_threads, njit, prange, typeof, types
from numba.core import cgutils
from numba.extending import intrinsic

from .vector import I32, I64, nothing

#: What the parallel loop calls: (block, t, threads). Addresses are numbers.
VISIT = ir.FunctionType(ir.VoidType(), [I64, I64, I64])

_known = {}


def code(work, key, *arguments):
    """The address of ``work``, a plain function, compiled for arguments such as these; it returns
    nothing, and must not raise. For one ``key`` the arguments are always of the same types.
    """
    if (work, key) not in _known:
        signature = types.void(*(typeof(argument) for argument in arguments))
        _known[work, key] = cfunc(signature, cache=True, error_model="numpy")(work)
    return _known[work, key].address


def launch(work, threads, key, *arguments):
    """Call ``work(t, threads, *arguments)`` for every t below ``threads``, each on a thread.

    Args:
        key: what the types of the arguments depend on: a dtype, lengths of tuples.
    """
    _run(_loop(), code(work, key, 0, threads, *arguments), threads, *arguments)


@njit(cache=True, error_model="numpy", inline="always")
def share(t, threads, items):
    """The range of items that thread t takes."""
    return t * items // threads, (t + 1) * items // threads


def emit_call(builder, address, values):
    """A call, by the C convention, of code that returns nothing."""
    where = ir.FunctionType(ir.VoidType(), [value.type for value in values]).as_pointer()
    builder.call(builder.inttoptr(address, where), values)


@intrinsic
def _visit(typing, code, block, t, threads):
    def emit(context, builder, signature, args):
        emit_call(builder, args[0], args[1:])
        return nothing(context)

    n = types.int64
    return types.void(n, n, n, n), emit


@njit(cache=True, error_model="numpy", parallel=True)
def _each(visit, block, threads):
    for t in prange(threads):
        _visit(visit, block, np.int64(t), threads)


def _spread(visit, block, threads):
    _each(visit, block, threads)


@lru_cache(maxsize=1)
def _loop():
    """The address of the parallel loop."""
    get_num_threads()  # starts Numba's threads: without them the loop's code cannot be loaded
    n = types.int64
    return cfunc(types.void(n, n, n), cache=True, error_model="numpy")(_spread).address


def _thunk(builder, kind):
    """A function that reads (address, arguments) from a block and makes the call."""
    name = builder.module.get_unique_name("visit")
    made = ir.Function(builder.module, VISIT, name)
    made.linkage = "internal"
    b = ir.IRBuilder(made.append_basic_block())
    block, t, threads = made.args
    at = b.inttoptr(block, kind.as_pointer())
    address, *values = (b.load(b.gep(at, [I32(0), I32(i)])) for i in range(len(kind.elements)))
    emit_call(b, address, [t, threads, *values])
    b.ret_void()
    return made


@intrinsic
def _call(typing, loop, code, threads, arguments):
    def emit(context, builder, signature, args):
        loop, code, threads, packed = args
        values = [code, *cgutils.unpack_tuple(builder, packed)]
        kind = ir.LiteralStructType([value.type for value in values])
        block = cgutils.alloca_once(builder, kind)
        for i, value in enumerate(values):
            builder.store(value, builder.gep(block, [I32(0), I32(i)]))
        visit, at = _thunk(builder, kind), builder.ptrtoint(block, I64)
        with builder.if_else(builder.icmp_signed("==", threads, I64(1))) as (alone, together):
            with alone:
                builder.call(visit, [at, I64(0), threads])
            with together:
                emit_call(builder, loop, [builder.ptrtoint(visit, I64), at, threads])
        return nothing(context)

    n = types.int64
    return types.void(n, n, n, arguments), emit


@njit(cache=True, error_model="numpy")
def _run(loop, code, threads, *arguments):
    _call(loop, code, threads, arguments)
