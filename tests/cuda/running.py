"""How steps of the CUDA ladder are run and judged here, on the CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch

from refconv import dispatch, guard, label, memory
from refconv.backends import _cuda_emulator as emulator
from refconv.backends._cuda_launch import Launch
from refconv.backends._cuda_slots import TABLE, Step
from refconv.oracle import inputs, reference, verdict
from refconv.oracle.algorithm_bounds import ALGORITHMS

from . import moving
from .fenced import fenced

THOROUGH = os.environ.get("REFCONV_TESTS") == "thorough"
DTYPES = ("float32", "float64", "float16", "bfloat16")
#: What a step declares to round its inputs to.
PRECISIONS = {"igemm_tf32": "tf32"}
#: Steps whose detour rounds, of integers too.
INEXACT = ("winograd_f4",)
#: (slot, algorithm) of every step.
EACH = [(slot, step.name) for slot, steps in TABLE.items() for step in steps]


def find(slot: str, name: str) -> Step:
    """The step called ``name``."""
    return next(step for step in TABLE[slot] if step.name == name)


#: One or more for every step: odd sizes, remainders of tiles, every geometry.
CONVOLUTIONS = """
conv2d x[1,3,5,5] w[2,3,3,3] b s2 p1
conv2d x[2,5,9,11] w[7,5,3,3] b p1
conv2d x[1,7,4,37] w[9,7,1,5] p0,2
conv2d x[1,8,12,9] w[6,8,3,3] b p2 d2
conv2d x[1,4,11,10] w[5,4,4,4] b s2 p1
conv2d x[1,9,9,8] w[6,9,1,1] s2
conv2d x[2,6,10,21] w[6,1,3,3] b p1 g6
conv2d x[1,6,8,7] w[9,2,3,3] b p1 g3
conv2d x[1,3,17,19] w[9,3,7,7] s2 p3
conv2d x[2,2,7,9] w[3,2,2,3] s3 d2
conv1d x[2,4,37] w[5,4,3] b s2 p1
conv3d x[1,3,4,5,6] w[4,3,3,2,3] b p1
conv3d x[1,2,5,6,5] w[3,2,2,3,2] s2,1,2 d1,2,1
conv_transpose2d x[1,5,6,7] w[5,3,4,4] b s2 p1
conv_transpose2d x[1,4,5,4] w[4,6,3,3] b s2 p1 op1
conv_transpose1d x[1,6,9] w[6,2,3] s3 g2
conv2d x[0,3,5,5] w[2,3,3,3] b p1
conv2d x[1,32,4,5] w[35,32,3,3] b p1
conv2d x[1,64,5,4] w[64,32,3,2] s2 p1 g2
""".strip().splitlines()

#: One input channel a group: kernels, strides, phases and multipliers of the depthwise steps.
DEPTHWISE = """
conv2d x[2,4,9,12] w[4,1,5,5] b s2 p2 g4
conv2d x[2,6,10,21] w[6,1,3,3] b p1 g6
conv2d x[1,3,13,11] w[6,1,3,2] b s2,1 p2,0 d1,2 g3
conv2d x[3,2,7,7] w[2,1,7,7] p3 g2
conv1d x[2,3,29] w[3,1,5] b s2 p4 g3
conv2d x[1,5,5,6] w[5,1,3,3] p5 d2 g5
conv_transpose2d x[2,4,5,6] w[4,1,4,4] b s2 p1 g4
conv_transpose2d x[1,6,4,5] w[6,1,3,3] b s4,2 p1 op1 g3
conv2d x[0,3,5,5] w[3,1,3,3] b p1 g3
""".strip().splitlines()


def problems(slot: str, name: str, dtype: str) -> list[Any]:
    """The listed problems that the step takes."""
    if moving.handles(slot):
        return [p for p in moving.problems(slot, dtype) if find(slot, name).supports(p) is None]
    listed = DEPTHWISE if name == "depthwise" else CONVOLUTIONS
    read = [label.parse(text) for text in listed]
    if slot == "conv_bgrad":  # of a transposed convolution it is another pass: y is its input
        read = [p for p in read if not p.transposed]
    read = [replace(p, dtype=dtype, bias=p.bias and slot == p.forward_slot) for p in read]
    return [p for p in read if find(slot, name).supports(p) is None]


def share(slot: str, name: str, dtype: str) -> list[Any]:
    """Of these, what is run of a type: all of the step's first one, a third of each other, together
    all; all of each where REFCONV_TESTS=thorough.
    """
    listed = problems(slot, name, dtype)
    at = DTYPES.index(dtype)
    first = next((d for d in DTYPES if problems(slot, name, d)), dtype)
    if THOROUGH or dtype == first:
        return listed
    return listed[at % 3 :: 3] or listed[:1]


@lru_cache(maxsize=512)
def answers(
    problem: Any, kind: str, first: float | None = None
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Arrays by name, the output's gradient ``grad`` among them, and what the oracle expects.

    Args:
        first: what the weight's first element is instead.
    """
    made = dict(inputs.make(problem, kind))
    if first is not None:
        made["weight"].view(-1)[0] = first
    random = torch.Generator().manual_seed(1)
    dtype = getattr(torch, problem.dtype)
    shape = problem.output_shape
    if kind == "integer":
        grad = torch.randint(-2, 3, shape, generator=random).to(dtype)
    else:
        grad = torch.randn(shape, generator=random).to(dtype)
    found = {e.name: e for e in reference.forward(problem, made)}
    # The slot of a bias's gradient stands alone: the problem that names it need have no bias.
    biased = replace(problem, bias=True)
    found |= {e.name: e for e in reference.backward(biased, made, grad)}
    return {**made, "grad": grad}, found


def inputs_of(problem: Any, slot: str, arrays: dict[str, torch.Tensor]) -> tuple[list[Any], str]:
    """The slot's arrays in order, and the name of its result."""
    x, w, b, grad = (arrays.get(n) for n in ("input", "weight", "bias", "grad"))
    if slot == "conv_bgrad":
        return [grad], "grad_bias"
    if slot == "conv_wgrad":
        return ([x, grad] if problem.transposed else [grad, x]), "grad_weight"
    if slot == problem.forward_slot:
        return [x, w, b], "output"
    return [grad, w, None], "grad_input"


def as_laid_out(x: torch.Tensor | None, layout: str) -> torch.Tensor | None:
    """The same values in another layout: ``channels_last``; a ``view`` of every other row of a
    larger array, so that no axis is dense; ``behind`` or ``before``, where memory ends.
    """
    if x is None or layout == "contiguous" or x.numel() == 0:
        return x
    if layout in ("behind", "before"):
        return fenced(x, layout == "before")
    if layout == "channels_last":
        last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.dim())
        return x.contiguous(memory_format=last) if last else x
    fill = float("nan") if x.is_floating_point() else -9
    wide = x.new_full([2 * n + 1 for n in x.shape], fill)
    view = wide[tuple(slice(1, None, 2) for _ in x.shape)]
    return view.copy_(x)


def launches(problem: Any, slot: str, name: str) -> list[Launch]:
    """What the step launches for contiguous arrays."""
    call = dispatch.prepare(problem, slot, f"cuda-on-cpu:{name}", "cpu")
    names, shapes = (*call.outputs, *call.inputs), (*call.out_shapes, *call.in_shapes)
    there = [pair for pair in zip(names, shapes, strict=True) if pair != ("b", (0,))]
    strides = {name: memory.contiguous(shape) for name, shape in there}
    return call.launches(strides)


def run(problem: Any, slot: str, name: str, given: list[Any], turns: str = "forward") -> Any:
    """The pass by one step, into poisoned memory."""
    with guard.checked(), emulator.order(turns):
        return dispatch.run(problem, slot, *given, backend=f"cuda-on-cpu:{name}")


@contextmanager
def exposed() -> Iterator[None]:
    """Kernels that add up again what is not finite let it be: poison that they read stays seen."""
    real = emulator._library

    def library(file: str, macros: tuple[tuple[str, str], ...]) -> Any:
        return real(file, (*macros, ("AGAIN", "0")) if "mma" in file else macros)

    emulator._library = library
    try:
        yield
    finally:
        emulator._library = real


def judge(problem: Any, slot: str, name: str, kind: str, layout: str = "contiguous") -> None:
    """Inside the bound, which for integers is nothing; and the same bits in every order."""
    if moving.handles(slot):
        moving.judge(problem, slot, name, kind, layout, as_laid_out)
        return
    arrays, expected = answers(problem, kind)
    given, result = inputs_of(problem, slot, arrays)
    given = [as_laid_out(x, layout) for x in given]
    with exposed():
        got = {turns: run(problem, slot, name, given, turns) for turns in emulator.ORDERS}
    e, law = expected[result], name if name in ALGORITHMS else "direct"
    bound = e.bound(PRECISIONS.get(name, "ieee"), algorithm=law)
    v = verdict.compare(got["forward"], e.want, bound)
    what = f"{name} {slot} of {label.format(problem)} ({layout})"
    assert v.level == "consistent", f"{what}: {v.reason}"
    if kind == "integer" and name not in INEXACT:
        want = torch.as_tensor(e.want).to(got["forward"].dtype)
        assert torch.equal(got["forward"], want), f"{what}: not equal, but inside the bound"
    for turns, y in got.items():
        assert torch.equal(y, got["forward"]), f"{what}: {turns} gives other bits"
