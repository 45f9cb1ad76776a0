"""Arrays in and out: torch and NumPy (and CuPy) on one side, what kernels take on the other.

Same library and device out as in; never a silent copy across devices; torch's memory-format rule is
kept here. Nothing is imported for a library that the caller has not imported itself.
"""

from __future__ import annotations

import sys
from math import prod
from typing import Any

import numpy as np

from .errors import ArgumentError

#: Dtypes that kernels are not written for, and the one they are computed in; results are rounded
#: once, when stored.
COMPUTE = {
    "float16": "float32",
    "bfloat16": "float32",
    "float8_e4m3fn": "float32",
    "float8_e5m2": "float32",
    "complex32": "complex64",
    "bool": "int64",
}


def is_torch(x: Any) -> bool:
    """Whether ``x`` is a torch tensor (without importing torch)."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def is_cupy(x: Any) -> bool:
    """Whether ``x`` is a CuPy array (without importing CuPy)."""
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(x, getattr(cupy, "ndarray", ()))


def library(op: str, **named: Any) -> str:
    """The one library that all the named arrays belong to: ``torch``, ``numpy`` or ``cupy``; None
    values are skipped.

    Raises:
        ArgumentError: something is not an array, or libraries or devices are mixed (both are
            named).
    """
    first: tuple[str, str, Any] | None = None
    for name, x in named.items():
        if x is None:
            continue
        if is_torch(x):
            lib = "torch"
        elif isinstance(x, np.ndarray):
            lib = "numpy"
        elif is_cupy(x):
            lib = "cupy"
        else:
            raise ArgumentError(
                f"{op}: {name} must be a torch tensor or a NumPy array, got "
                f"{type(x).__module__}.{type(x).__name__}"
            )
        where = x.device if lib != "numpy" else "cpu"
        if first is None:
            first = (name, lib, where)
        elif lib != first[1]:
            raise ArgumentError(
                f"{op}: {first[0]} is a {first[1]} array but {name} is a {lib} array; convert one "
                "of them "
                "(torch.from_numpy, .numpy()); refconv never copies between libraries on its own"
            )
        elif where != first[2]:
            raise ArgumentError(
                f"{op}: {first[0]} is on {first[2]} but {name} is on {where}; move one of them "
                "(.to(device)); "
                "refconv never copies between devices on its own"
            )
    assert first is not None
    return first[1]


def dtype_name(x: Any) -> str:
    """``float32`` and the like, the same word for every library."""
    return str(x.dtype).removeprefix("torch.")


def device_kind(x: Any) -> str:
    """The kind of device: ``cpu``, ``cuda``, ``meta``, …."""
    if is_torch(x):
        return x.device.type
    return "cuda" if is_cupy(x) else "cpu"


def to_kernel(x: Any, shape: tuple[int, ...]) -> np.ndarray:
    """``x`` as a C-contiguous NumPy array of ``shape`` in its compute dtype; a view of ``x`` where
    that is possible.
    """
    if is_torch(x):
        x = x.detach().resolve_conj().resolve_neg()
        name = COMPUTE.get(dtype_name(x))
        if name is not None:
            x = x.to(getattr(sys.modules["torch"], name))
        x = x.contiguous().numpy()
    elif (name := COMPUTE.get(dtype_name(x))) is not None:
        x = x.astype(name)
    if not x.dtype.isnative:
        x = x.astype(x.dtype.newbyteorder("="))
    return np.ascontiguousarray(x).reshape(shape)


def is_ready(x: Any, dtype: np.dtype) -> bool:
    """Whether ``x`` is what a kernel takes but for its shape: contiguous, of the compute dtype."""
    if is_torch(x):
        plain = not (x.is_conj() or x.is_neg())
        return plain and x.is_contiguous() and dtype_name(x) == dtype.name
    return x.flags.c_contiguous and x.dtype == dtype and x.dtype.isnative


def from_kernel(
    result: np.ndarray, shape: tuple[int, ...], dtype: str, like: Any, channels_last: bool
) -> Any:
    """A kernel's ``result`` as the library of ``like`` has it: user's shape, dtype ``dtype``,
    memory format.
    """
    result = result.reshape(shape)
    if not is_torch(like):
        return result.astype(dtype, copy=False)
    torch = sys.modules["torch"]
    y = torch.from_numpy(result).to(getattr(torch, dtype))
    return as_channels_last(y) if channels_last else y


def empty(shape: tuple[int, ...], dtype: str, like: Any, channels_last: bool) -> Any:
    """An uninitialised torch tensor as ``from_kernel`` would return it: a fake kernel's answer."""
    flat = like.new_empty(prod(shape), dtype=getattr(sys.modules["torch"], dtype))
    return laid_out(flat, shape, channels_last)


def laid_out(flat: Any, shape: tuple[int, ...], channels_last: bool) -> Any:
    """The elements of ``flat`` as an array of ``shape``, in the memory format that
    ``as_channels_last`` gives; nothing is moved.
    """
    at = 0 if len(shape) == 3 else 1  # the channel of an image without a batch, or of a batch
    if not channels_last or shape[at] == 1 or prod(shape[at + 1 :]) == 1:  # one or both
        return flat.reshape(shape)
    return flat.reshape((*shape[:at], *shape[at + 1 :], shape[at])).movedim(-1, at)


def as_channels_last(y: Any) -> Any:
    """``y`` (C, H, W), (N, C, H, W) or (N, C, D, H, W) with the channel as the fastest axis, by
    values; torch only.
    """
    if y.dim() == 3:
        return y.movedim(0, -1).contiguous().movedim(-1, 0)
    torch = sys.modules["torch"]
    return y.contiguous(
        memory_format=torch.channels_last if y.dim() == 4 else torch.channels_last_3d
    )


def suggests_channels_last(x: Any) -> bool:
    """Whether torch takes ``x``, 4-D or 5-D, for channels_last; ambiguous strides count as
    contiguous.

    Source: c10/core/MemoryFormat.h (is_channels_last_strides_2d_s4), walked from the fastest axis
        outwards.
    """
    sizes, strides = x.shape, x.stride()
    rank = x.dim()
    if rank not in (4, 5) or strides[1] == 0:
        return False
    smallest = 0
    for d in (1, *range(rank - 1, 1, -1), 0):
        if sizes[d] == 0 or strides[d] < smallest or (d == 0 and smallest == strides[1]):
            return False
        smallest = strides[d] * (sizes[d] if sizes[d] > 1 else 1)
    return True
