"""Convolution, bias and ReLU in one pass: as ``torch.relu`` of a convolution, of which the second
call reads and writes the whole result once more.

The CUDA C++ backends (``cupy``, and ``cuda-on-cpu`` for a look at it) clamp a result as they store
it, in every step of theirs; other backends have no such kernel and say so: nothing is run as two
calls behind the user's back. For inference: no gradient goes through.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from . import arrays, dispatch, functional
from .device_call import DeviceCall
from .errors import UnsupportedError
from .operators import OPERATORS

__all__ = ["conv1d_relu", "conv2d_relu", "conv3d_relu"]
Numbers = functional.Numbers


def conv1d_relu(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Numbers = 1,
    padding: Numbers | str = 0,
    dilation: Numbers = 1,
    groups: int = 1,
    *,
    backend: str = "auto",
) -> Any:
    """``relu(conv1d(…))``, NaN stays NaN.

    Shapes: input (N, C, L), weight (K, C/groups, k), bias (K,), result (N, K, out).

    Raises:
        UnsupportedError: the backend cannot, or an argument's gradient is wanted.
    """
    return _call("conv1d", (input, weight, bias), stride, padding, dilation, groups, backend)


def conv2d_relu(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Numbers = 1,
    padding: Numbers | str = 0,
    dilation: Numbers = 1,
    groups: int = 1,
    *,
    backend: str = "auto",
) -> Any:
    """``relu(conv2d(…))``, NaN stays NaN.

    Shapes: input (N, C, H, W), weight (K, C/groups, kh, kw), bias (K,), result (N, K, *out).

    Raises:
        UnsupportedError: the backend cannot, or an argument's gradient is wanted.
    """
    return _call("conv2d", (input, weight, bias), stride, padding, dilation, groups, backend)


def conv3d_relu(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Numbers = 1,
    padding: Numbers | str = 0,
    dilation: Numbers = 1,
    groups: int = 1,
    *,
    backend: str = "auto",
) -> Any:
    """``relu(conv3d(…))``, NaN stays NaN.

    Shapes: input (N, C, D, H, W), weight (K, C/groups, kd, kh, kw), bias (K,), result (N, K, *out).

    Raises:
        UnsupportedError: the backend cannot, or an argument's gradient is wanted.
    """
    return _call("conv3d", (input, weight, bias), stride, padding, dilation, groups, backend)


def _call(op: str, given: tuple[Any, ...], *numbers: Any) -> Any:
    library = arrays.library(op, **dict(zip(functional.ARRAYS, given, strict=True)))
    if library == "torch":
        from . import autograd

        if autograd.watched(given):
            raise UnsupportedError(
                f"{op}_relu: it has no gradient and is seen by no tracer; call it under "
                f"torch.no_grad() in eager mode, or {op} and then torch.relu"
            )
    operator = OPERATORS["conv"]
    problem = operator.problem(*given, *functional._conv_arguments(op, *numbers))
    call = prepared(problem, numbers[-1], arrays.device_kind(given[0]))
    return call.run(given, operator._layout(problem, given))


def prepared(problem: Any, backend: str, device: str) -> DeviceCall:
    """The call of ``backend``, which may name an algorithm, on ``device``.

    Raises:
        UnsupportedError: the backend that is chosen has no kernel for it.
    """
    choice = dispatch.choose(problem, "conv_fprop", backend, device)
    if not choice.backend.fuses:
        raise UnsupportedError(
            f"{problem.op}_relu: {choice.backend.name} has no kernel that clamps what it stores; "
            f"call {problem.op} and then relu (cupy and cuda-on-cpu have such kernels)"
        )
    return _kept(problem, str(choice), device)


@lru_cache(maxsize=512)
def _kept(problem: Any, name: str, device: str) -> DeviceCall:
    """A call keeps its launches."""
    choice = dispatch.choose(problem, "conv_fprop", name, device)
    return DeviceCall(problem, "conv_fprop", choice, relu=True)
