"""Small odd problems for verification: every geometry, remainders of every tile, and what each slot
is given and must make of it.

Larger than what the emulator can run in a test, so that grids have several blocks along each axis;
a rehearsal takes the smallest ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch

from ... import label, normalize_pool
from ...moves import IndexProblem
from ...oracle import calls, inputs, reference
from ...oracle.reference import Expected
from ...problem import ConvProblem, PoolProblem

DTYPES = ("float32", "bfloat16", "float16", "float64")
LAYOUTS = ("contiguous", "channels_last", "view")
#: Whole numbers must be equal; real ones inside their bound; of those with NaN and infinity among
#: them, what is moved must be the same, and padding must meet no infinite weight.
KINDS = ("integer", "real", "special")

CONVOLUTIONS = """
conv2d x[2,3,17,19] w[5,3,3,3] b s2 p1
conv2d x[3,5,29,31] w[7,5,3,3] b p1
conv2d x[2,64,15,17] w[72,64,3,3] b p1
conv2d x[5,96,13,11] w[200,96,1,1] b
conv2d x[3,48,28,27] w[72,48,3,3] p1
conv2d x[1,48,9,37] w[33,48,1,5] p0,2
conv2d x[2,40,12,9] w[24,40,3,3] b p2 d2
conv2d x[2,3,61,67] w[64,3,7,7] s2 p3
conv2d x[2,1,30,29] w[20,1,5,5] b
conv2d x[2,32,19,21] w[32,1,3,3] b p1 g32
conv2d x[1,24,37,35] w[24,1,3,3] s2 p1 g24
conv2d x[2,24,17,13] w[24,1,7,7] p3 g24
conv2d x[2,18,14,15] w[36,1,5,5] s2 p2 g18
conv2d x[2,12,10,9] w[18,4,3,3] b p1 g3
conv2d x[2,64,9,10] w[64,32,3,2] s2 p1 g2
conv2d x[2,8,12,9] w[6,8,3,3] b p4 d2
conv2d x[1,7,5,6] w[4,7,8,8] b p4
conv2d x[2,2,7,9] w[3,2,2,3] s3 d2
conv2d x[0,3,5,5] w[2,3,3,3] b p1
conv1d x[2,4,37] w[5,4,3] b s2 p1
conv1d x[2,20,137] w[17,20,3] b p2 d2
conv3d x[1,2,5,6,5] w[3,2,2,3,2] s2,1,2 d1,2,1
conv3d x[1,9,7,8,9] w[12,9,3,2,3] b p1
conv_transpose2d x[1,5,6,7] w[5,3,4,4] b s2 p1
conv_transpose2d x[2,20,9,11] w[20,12,4,4] b s2 p1
conv_transpose2d x[2,16,7,8] w[16,24,3,3] b s2 p1 op1
conv_transpose1d x[2,12,29] w[12,5,3] s3 g2
""".strip().splitlines()

POOLS = """
max_pool2d x[2,3,7,11] k3 s2 p1
max_pool2d x[2,37,29,31] k3 s2 p1
max_pool2d x[2,64,30,28] k2
max_pool2d x[1,2,6,9] k2 ceil
max_pool2d x[1,4,9,8] k3,2 s1,2 p1 d2,1
max_pool1d x[3,5,113] k3 s2 ceil
max_pool3d x[1,6,9,10,11] k2,3,2 s2,1,2 p1
max_pool2d x[0,3,6,6] k2
adaptive_max_pool2d x[2,3,17,15] o3,4
avg_pool2d x[2,3,7,11] k3 s2 p1
avg_pool2d x[2,37,29,31] k3 s2 p1
avg_pool2d x[1,2,8,7] k3,2 s2 p1 ceil exclude_pad
avg_pool2d x[1,2,6,7] k3 s1 p1 div5
avg_pool1d x[2,3,113] k4 s3 p2
avg_pool3d x[1,6,9,10,11] k2,3,2 s2,1,2 p1
adaptive_avg_pool2d x[2,3,17,15] o3,4
adaptive_avg_pool2d x[4,70,7,7] o1
""".strip().splitlines()

COLUMNS = """
unfold x[2,3,16,17] k3,2 s2,1 p1 d1,2
unfold x[3,5,4] k2
fold x[2,18,12] o5,7 k3,2 s2 p1
fold x[8,25] o7,6 k2 d2,1
fold x[2,27,900] o32,32 k3
""".strip().splitlines()

#: Shape, pads as torch has them (from the last axis on), mode, value.
PADDED: tuple[tuple[tuple[int, ...], tuple[int, ...], str, float | None], ...] = (
    ((2, 3, 5, 4), (-1, 2, 3, -2), "constant", 2.5),
    ((2, 17, 31, 29), (1, 2, 0, 3), "constant", None),
    ((7,), (-2, 3), "constant", 1.0),
    ((2, 5, 15, 14), (3, 2, 4, 1), "reflect", None),
    ((3, 5, 4), (3, 9), "replicate", None),
    ((1, 2, 3, 4, 5), (5, 1, 3, -2, 0, 3), "circular", None),
)
#: Lead, small and large side.
INDEXED = (((2, 3), (4, 5), (8, 9)), ((3,), (3, 4, 2), (5, 4, 6)), ((2, 5), (15, 13), (33, 40)))
#: Steps of the innermost loop that a rehearsal has patience for, and problems of a slot.
SMALL, FEW = 40_000, 3
#: Which of one's elements is not finite, and what it is.
ODD = ((23, float("nan")), (29, float("inf")), (13, float("-inf")))
#: Slots that only move or compare what they are given.
MOVED = ("max_pool", "max_pool_values", "gather", "scatter", "unfold", "pad")
WEIGHTED = ("conv_fprop", "conv_dgrad")


@dataclass(frozen=True)
class Odd:
    """One problem for one slot.

    Args:
        problem: that the slot is asked to run.
        source: that the oracle is asked about: the op of which this slot is a pass.
    """

    problem: Any
    source: Any

    @property
    def label(self) -> str:
        """What the oracle is asked about, as text."""
        return label.format(self.source)


def problems(slot: str, dtype: str, small: bool = False) -> list[Odd]:
    """Those that have the slot; ``small``: a few, that the emulator can run."""
    found = list(_problems(slot, dtype))
    if not small:
        return found
    return [odd for odd in found if 0 < calls.work(odd.source) <= SMALL][:FEW]


def _problems(slot: str, dtype: str) -> Iterator[Odd]:
    if slot.startswith("conv"):
        for text in CONVOLUTIONS:
            problem: Any = replace(label.parse(text), dtype=dtype)
            if slot != problem.forward_slot:
                problem = replace(problem, bias=False)
            if slot != "conv_bgrad" or not problem.transposed:  # whose y is its input
                yield Odd(problem, problem)
    elif slot in ("gather", "scatter"):
        for lead, small, large in INDEXED:
            problem = IndexProblem(f"max_unpool{len(small)}d", lead, small, large, dtype)
            yield Odd(problem, problem)
    elif slot.startswith("pad"):
        for shape, pads, mode, fill in PADDED:
            padded = normalize_pool.pad(shape, dtype, pads, mode, fill)
            yield Odd(padded, padded)
    else:
        forward = {"max_pool_values": "max_pool", "scatter_add": "max_pool"}
        forward["avg_pool_backward"] = "avg_pool"
        for text in POOLS + COLUMNS:
            pool: Any = replace(label.parse(text), dtype=dtype)
            if pool.forward_slot == forward.get(slot, slot):
                yield Odd(_move(pool) if slot == "scatter_add" else pool, pool)


def _move(pool: PoolProblem) -> IndexProblem:
    """The gradient of max pooling."""
    return IndexProblem(pool.op, pool.lead, pool.out_size, pool.in_size, pool.dtype)


def kinds(slot: str) -> tuple[str, ...]:
    """The kinds of numbers that say something of a slot."""
    return KINDS if slot in MOVED + WEIGHTED else KINDS[:2]


@lru_cache(maxsize=256)
def answers(source: Any, kind: str) -> tuple[dict[str, torch.Tensor], dict[str, Expected]]:
    """Arrays by name, the output's gradient ``grad`` among them, and what the oracle expects of
    every pass.
    """
    base = "integer" if kind == "integer" else "real"
    arrays = dict(inputs.make(source, base))
    grad = inputs.gradient(source, base)
    if kind == "special":
        if isinstance(source, ConvProblem):
            arrays["weight"].view(-1)[0] = float("inf")
        else:
            spoil(arrays["input"])
            spoil(grad)
    found = {e.name: e for e in reference.forward(source, arrays)}
    if isinstance(source, ConvProblem):  # the slot of a bias's gradient stands alone
        biased = replace(source, bias=True)
        found |= {e.name: e for e in reference.backward(biased, arrays, grad)}
    else:
        found |= {e.name: e for e in reference.backward(source, arrays, grad)}
    return {**arrays, "grad": grad}, found


def spoil(x: torch.Tensor) -> None:
    """Put what is not finite among the numbers."""
    for each, value in ODD:
        x.view(-1)[each // 2 :: each] = value


def given(
    odd: Odd, slot: str, arrays: dict[str, torch.Tensor], expected: dict[str, Expected]
) -> tuple[list[torch.Tensor | None], tuple[str, ...]]:
    """The slot's arrays in order, and the names of its results."""
    x, w, b, grad = (arrays.get(n) for n in ("input", "weight", "bias", "grad"))
    source = odd.source
    match slot:
        case "conv_bgrad":
            return [grad], ("grad_bias",)
        case "conv_wgrad":
            return ([x, grad] if source.transposed else [grad, x]), ("grad_weight",)
        case "conv_fprop" | "conv_dgrad":
            if slot == source.forward_slot:
                return [x, w, b], ("output",)
            return [grad, w, None], ("grad_input",)
        case "max_pool":
            return [x], ("output", "indices")
        case "scatter":
            return [x, arrays["indices"]], ("output",)
        case "gather":
            return [grad, arrays["indices"]], ("grad_input",)
        case "scatter_add":
            index = torch.from_numpy(expected["indices"].want.astype("int64"))
            return [grad, index], ("grad_input",)
        case "avg_pool_backward" | "pad_backward":
            return [grad], ("grad_input",)
    return [x], ("output",)


def laid_out(x: torch.Tensor | None, layout: str) -> torch.Tensor | None:
    """The same values in another layout; ``view``: every other row of a larger array, so that no
    axis is dense.
    """
    if x is None or layout == "contiguous" or x.numel() == 0:
        return x
    if layout == "channels_last":
        last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.dim())
        return x.contiguous(memory_format=last) if last else x
    wide = x.new_full([2 * n + 1 for n in x.shape], float("nan") if x.is_floating_point() else -9)
    return wide[tuple(slice(1, None, 2) for _ in x.shape)].copy_(x)


def last(odd: Odd, slot: str, layout: str) -> bool:
    """Whether the result is asked for as channels_last."""
    moved = slot in ("unfold", "fold", "conv_bgrad", "gather", "scatter", "scatter_add")
    return layout == "channels_last" and not moved and len(odd.problem.output_shape) in (4, 5)
