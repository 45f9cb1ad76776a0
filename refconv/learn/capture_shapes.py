"""The shapes of the commonest functions' results by our own rules.

torch's meta device has them all, but imports a large part of torch (and SymPy) for the first
activation, addition or normalisation: more time than everything else that ``explain`` does. Where
a rule here does not apply, torch is asked.
"""

from __future__ import annotations

from ..errors import DtypeError, ShapeError
from ..ops import OPS
from ..problem import Size
from .captured import POINTWISE, Array, Op


def result_shape(op: Op) -> Size | None:
    """The shape of a call's only result; None where torch should be asked.

    Raises:
        RefconvError: the call is refused.
    """
    name = op.name
    if name in OPS:
        problem = None if op.given.get("return_indices") else op.problem()
        return None if problem is None else problem.output_shape
    if name == "linear":
        return _linear(op)
    if name.removesuffix("_") in POINTWISE and len(op.arrays) == 1:
        return op.arrays[0].shape
    if name == "batch_norm":
        return _batch_norm(op)
    if name == "embedding":
        _takes_indices(op)
    if name in ("add", "sub", "mul"):
        return _broadcast(op)
    if name == "cat":
        return _cat(op)
    return None


def _linear(op: Op) -> Size | None:
    if len(op.args) < 2:
        return None
    x, w = op.args[:2]
    if x.shape[-1:] != w.shape[-1:]:
        raise ShapeError(f"linear: the weight takes {w.shape[-1]}, got {x.shape[-1:]}")
    return (*x.shape[:-1], *w.shape[:-1])


def _batch_norm(op: Op) -> Size | None:
    """As its input, if all that is given has a number for each channel."""
    x, *others = op.arrays
    fits = len(x.shape) > 1 and all(array.shape == x.shape[1:2] for array in others)
    return x.shape if fits else None


def _takes_indices(op: Op) -> None:
    """torch 2.11's meta device takes anything for an index."""
    if op.args and not op.args[0].dtype.startswith("int"):
        raise DtypeError(f"embedding: takes indices, got {op.args[0].dtype}")


def _broadcast(op: Op) -> Size | None:
    """Of two arrays of the same dtype, or of an array and a number."""
    arrays = op.arrays
    floats = all("float" in array.dtype for array in arrays) and len({a.dtype for a in arrays}) == 1
    if not floats or op.kwargs or not all(isinstance(arg, Array | int | float) for arg in op.args):
        return None
    rank = max(len(array.shape) for array in arrays)
    padded = [(1,) * (rank - len(array.shape)) + array.shape for array in arrays]
    made = tuple(max(sizes) if 0 not in sizes else 0 for sizes in zip(*padded, strict=True))
    if any(size not in (1, out) for shape in padded for size, out in zip(shape, made, strict=True)):
        raise ShapeError(f"{op.name}: {' and '.join(str(a.shape) for a in arrays)} do not agree")
    return made


def _cat(op: Op) -> Size | None:
    arrays = op.arrays
    axis = op.kwargs.get("dim", op.args[1] if len(op.args) > 1 else 0)
    if not arrays or not isinstance(axis, int) or len({a.dtype for a in arrays}) > 1:
        return None
    first = arrays[0].shape
    if not -len(first) <= axis < len(first):
        return None
    axis %= len(first)
    rests = {(*a.shape[:axis], -1, *a.shape[axis + 1 :]) for a in arrays}
    if len(rests) > 1 and len({len(a.shape) for a in arrays}) == 1:
        raise ShapeError(f"cat: {' and '.join(str(a.shape) for a in arrays)} do not agree")
    if len(rests) > 1:
        return None
    return (*first[:axis], sum(a.shape[axis] for a in arrays), *first[axis + 1 :])
