"""What is timed: the ways through an operation, and how each is asked of torch and of refconv.

``fprop`` is the call itself, ``indices`` max pooling that also says where its maxima are, ``dgrad``
and ``wgrad`` the gradients of input and weight alone, ``train`` forward and backward together.
A convolution's gradients are asked of the kernels, without autograd, on both sides; a pooling's of
autograd on both sides; ``train`` goes through autograd as a training step does.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch

from .. import autograd, functional
from ..backends import SLOTS
from ..errors import UnsupportedError
from ..notation import input_shape
from ..oracle import calls
from ..problem import ConvProblem, PoolProblem

Call = Callable[[], Any]

WAYS = ("fprop", "indices", "dgrad", "wgrad", "train")
#: Results of a way, in the order in which its call returns them.
RESULTS = {
    "fprop": ("output",),
    "indices": ("output", "indices"),
    "dgrad": ("grad_input",),
    "wgrad": ("grad_weight",),
    "train": ("output", "grad_input", "grad_weight", "grad_bias"),
}
BYTES = {"float64": 8, "int64": 8, "float16": 2, "bfloat16": 2, "complex64": 8, "complex128": 16,
         "int16": 2, "int8": 1, "uint8": 1}  # fmt: skip


def exists(problem: Any, way: str) -> bool:
    """Whether an operation has that way: only convolutions have weights, only maxima indices."""
    if way == "fprop":
        return True
    if way == "indices":
        return isinstance(problem, PoolProblem) and problem.forward_slot == "max_pool"
    if not isinstance(problem, ConvProblem | PoolProblem) or "float" not in problem.dtype:
        return False
    return way != "wgrad" or isinstance(problem, ConvProblem)


def slots(problem: Any, way: str) -> tuple[str, ...]:
    """The slots that a way runs, the first one being the one it is named after."""
    forward = getattr(problem, "forward_slot", "")
    if isinstance(problem, ConvProblem):
        back = "conv_fprop" if problem.transposed else "conv_dgrad"
        bias = ("conv_bgrad",) if problem.bias else ()
        every = (forward, back, "conv_wgrad", *bias)
        found = {"dgrad": (back,), "wgrad": ("conv_wgrad",), "train": every}
        return found.get(way, (forward,))
    if isinstance(problem, PoolProblem):
        back = "scatter_add" if "max" in problem.op else "avg_pool_backward"
        values = f"{forward}_values"  # max pooling that need not say where its maxima are
        first = values if way == "fprop" and values in SLOTS else forward
        return {"dgrad": (back,), "train": (forward, back)}.get(way, (first,))
    return (forward,) if forward else ()


def work(problem: Any, way: str) -> tuple[int, int]:
    """Operations of the direct sum (two a multiply-add), and bytes read and written once."""
    size = BYTES.get(problem.dtype, 4)
    x, y = prod(input_shape(problem)), prod(problem.output_shape)
    if not isinstance(problem, ConvProblem):
        ends = 8 * y if way == "indices" else 0
        once = 2 if way == "train" else 1
        return once * calls.work(problem), once * size * (x + y) + ends
    both = x + y + prod(problem.weight_shape)
    times = 3 if way == "train" else 1
    return 2 * times * calls.work(problem), times * size * both


def bind(
    backend: str, problem: Any, arrays: calls.Arrays, grad: torch.Tensor | None, way: str
) -> Call:
    """The call that is timed; it returns ``RESULTS[way]``, those that there are, or the only one.

    Args:
        backend: ``torch``, or what ``refconv.functional`` is given.
        grad: the gradient of the output, for ways that need one.

    Raises:
        UnsupportedError: torch has no such call.
    """
    if way in ("dgrad", "wgrad") and isinstance(problem, ConvProblem):
        bound = _torch_gradient if backend == "torch" else _gradient
        return bound(backend, problem, arrays, grad, way)
    extra = {"return_indices": True} if way == "indices" else {}
    forward = _forward(backend, problem, arrays, **extra)
    if way in ("fprop", "indices"):
        return forward
    leaves = {n: a.detach().requires_grad_() for n, a in arrays.items()}
    forward = _forward(backend, problem, leaves)
    wanted = list(leaves.values())
    if way == "dgrad":
        with torch.enable_grad():
            y = forward()
        return lambda: torch.autograd.grad(y, wanted, grad, retain_graph=True)[0]

    def step() -> Any:
        with torch.enable_grad():
            y = forward()
        return (y, *torch.autograd.grad(y, wanted, grad))

    return step


def _forward(backend: str, problem: Any, arrays: calls.Arrays, **extra: Any) -> Call:
    if backend == "torch":
        return calls.bind(torch.nn.functional, problem, arrays, **extra)
    return calls.bind(functional, problem, arrays, backend=backend, **extra)


def _gradient(backend: str, problem: Any, arrays: calls.Arrays, grad: Any, way: str) -> Call:
    """As autograd asks for it (``autograd._conv_backward``)."""
    flat = [side for pair in problem.padding for side in pair]
    numbers = (problem.stride, flat, problem.dilation, problem.groups, backend)
    x, w = arrays["input"], arrays["weight"]
    if way == "dgrad":
        slot = slots(problem, way)[0]
        return lambda: autograd.call(slot, grad, w, problem.in_size, *numbers)
    pair = (x, grad) if problem.transposed else (grad, x)
    return lambda: autograd.call("conv_wgrad", *pair, problem.kernel, *numbers)


def _torch_gradient(backend: str, problem: Any, arrays: calls.Arrays, grad: Any, way: str) -> Call:
    if any(low != high for low, high in problem.padding):
        raise UnsupportedError(f"{problem.op}: torch's gradient takes one padding an axis")
    x, w = arrays["input"], arrays["weight"]
    numbers = (
        problem.stride,
        [low for low, _ in problem.padding],
        problem.dilation,
        problem.transposed,
        problem.output_padding,
        problem.groups,
    )
    mask, result = [way == "dgrad", way == "wgrad", False], int(way == "wgrad")
    backward = torch.ops.aten.convolution_backward.default
    return lambda: backward(grad, x, w, None, *numbers, mask)[result]
