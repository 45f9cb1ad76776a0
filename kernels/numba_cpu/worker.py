"""Workers: a kernel's serial code, compiled once and called by address from its parallel loop.

Numba compiles what a ``prange`` calls four times more, at each level between the loop and Python.
So a kernel's loop holds only a ``call``, and the code behind it is machine code of its own: made or
read from the disk cache when first asked for, once a dtype. A call costs nothing
that could be measured.
"""

from llvmlite import ir
from numba import cfunc, typeof, types
from numba.core import cgutils
from numba.extending import intrinsic

from .vector import nothing

_known = {}


def code(function, dtype, *arguments):
    """The address of ``function``, a plain one, compiled for arguments such as these; it returns
    nothing, and must not raise. For one ``dtype`` the arguments are always of the same types.
    """
    if (function, dtype) not in _known:
        signature = types.void(*(typeof(argument) for argument in arguments))
        _known[function, dtype] = cfunc(signature, cache=True, error_model="numpy")(function)
    return _known[function, dtype].address


def emit_call(builder, address, values):
    """A call, by the C convention, of code that returns nothing."""
    where = ir.FunctionType(ir.VoidType(), [value.type for value in values]).as_pointer()
    builder.call(builder.inttoptr(address, where), values)


@intrinsic
def call(typing, address, *arguments):
    """Run the code at ``address``; the arguments are of the types it was compiled for."""

    def emit(context, builder, signature, args):
        emit_call(builder, args[0], cgutils.unpack_tuple(builder, args[1]))
        return nothing(context)

    return types.void(types.int64, types.StarArgTuple(arguments)), emit
