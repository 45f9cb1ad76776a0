"""Pools and moves in the generic tests: problems, arrays, and what must come out of them, which is
what kernels/naive gives, NaN and all.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import torch

from refconv import dispatch, guard, label, normalize_pool
from refconv.backends import _cuda_emulator as emulator
from refconv.moves import ColumnProblem, IndexProblem

#: One or more for every step: odd sizes, remainders, every kind of window and border.
PROBLEMS = """
max_pool2d x[2,3,7,11] k3 s2 p1
max_pool2d x[1,2,6,9] k2 ceil
max_pool2d x[1,4,9,8] k3,2 s1,2 p1 d2,1
max_pool2d x[1,2,3,4] k2 s1 p1 d3
max_pool1d x[2,3,13] k3 s2 ceil
max_pool1d x[3,1] k2 s1 p1 d2
max_pool3d x[1,2,4,5,6] k2,3,2 s2,1,2 p1
max_pool2d x[0,3,6,6] k2
adaptive_max_pool2d x[2,3,7,5] o3,4
adaptive_max_pool2d x[1,2,3,2] o5,3
adaptive_max_pool3d x[1,2,3,4,5] o2
avg_pool2d x[2,3,7,11] k3 s2 p1
avg_pool2d x[1,2,8,7] k3,2 s2 p1 ceil exclude_pad
avg_pool2d x[1,4,7,6] k2 s3 ceil
avg_pool2d x[1,2,6,7] k3 s1 p1 div5
avg_pool1d x[2,3,13] k4 s3 p2
avg_pool3d x[1,2,4,5,6] k2,3,2 s2,1,2 p1
adaptive_avg_pool2d x[2,3,7,5] o3,4
adaptive_avg_pool2d x[1,2,3,2] o5,3
unfold x[2,3,6,7] k3,2 s2,1 p1 d1,2
unfold x[3,5,4] k2
fold x[2,18,12] o5,7 k3,2 s2 p1
fold x[8,25] o7,6 k2 d2,1
fold x[1,9,16] o6,6 k3
""".strip().splitlines()

#: Shape, pads as torch has them (from the last axis on), mode, value.
PADDED: tuple[tuple[tuple[int, ...], tuple[int, ...], str, float | None], ...] = (
    ((2, 3, 5, 4), (1, 2, 0, 3), "constant", None),
    ((2, 3, 5, 4), (-1, 2, 3, -2), "constant", 2.5),
    ((2, 1, 2, 1, 2, 3), (1, 1, 0, 0, 0, 0, 2, 1), "constant", None),
    ((7,), (-2, 3), "constant", 1.0),
    ((2, 3, 5, 4), (3, 2, 4, 1), "reflect", None),
    ((2, 3, 5, 4), (1, -1, -2, 4), "reflect", None),
    ((3, 5, 4), (3, 9), "replicate", None),
    ((2, 3, 1, 4), (-1, 3, 2, 5), "replicate", None),
    ((2, 3, 4), (-1, 3), "circular", None),
    ((1, 2, 3, 4, 5), (5, 1, 3, -2, 0, 3), "circular", None),
)
#: Lead, small and large side; the last has several segments of scatter_1_direct.cu.
INDEXED = (
    ((2, 3), (4, 5), (8, 9)),
    ((3,), (3, 4, 2), (5, 4, 6)),
    ((1, 2), (7,), (40,)),
    ((2, 0), (3, 3), (6, 6)),
    ((1, 2), (15, 13), (33, 40)),
)
BACKWARD = {"avg_pool_backward": "avg_pool", "pad_backward": "pad", "max_pool_values": "max_pool"}


def handles(slot: str) -> bool:
    """Whether it is this module that knows the slot."""
    return not slot.startswith("conv")


def problems(slot: str, dtype: str) -> list[Any]:
    """The listed problems that have the slot."""
    if slot in ("gather", "scatter", "scatter_add"):
        return [IndexProblem(f"max_unpool{len(s)}d", of, s, t, dtype) for of, s, t in INDEXED]
    if slot.startswith("pad"):
        return [normalize_pool.pad(of, dtype, pads, mode, fill) for of, pads, mode, fill in PADDED]
    read = [replace(label.parse(text), dtype=dtype) for text in PROBLEMS]
    return [p for p in read if p.forward_slot == BACKWARD.get(slot, slot)]


def inputs_of(problem: Any, slot: str, kind: str) -> list[torch.Tensor]:
    """The slot's arrays, in the user's shapes; real ones with what is not finite among them."""
    random = torch.Generator().manual_seed(3)
    dtype = getattr(torch, problem.dtype)

    def made(shape: tuple[int, ...]) -> torch.Tensor:
        if kind == "integer":
            return torch.randint(-4, 5, shape, generator=random).to(dtype)
        x = torch.randn(shape, generator=random).to(dtype)
        for value, each in ((torch.nan, 23), (torch.inf, 29), (-torch.inf, 13)):
            x.view(-1)[each // 2 :: each] = value
        return x

    if isinstance(problem, IndexProblem):
        small, large = (*problem.lead, *problem.small), (*problem.lead, *problem.large)
        least = 0 if slot == "scatter" else -1  # nowhere; unpooling has no such place
        index = torch.randint(least, prod(problem.large), small, generator=random)
        return [made(large if slot == "gather" else small), index]
    if isinstance(problem, ColumnProblem):
        return [made(problem.image_shape if slot == "unfold" else problem.column_shape)]
    if slot == "avg_pool_backward":
        return [made(problem.output_shape)]
    if slot == "pad_backward":
        return [made(problem.output_shape)]
    return [made(problem.input_shape if hasattr(problem, "in_size") else problem.shape)]


def judge(problem: Any, slot: str, name: str, kind: str, layout: str, lay_out: Any) -> None:
    """Equal to kernels/naive, and the same bits in every order of threads."""
    given = inputs_of(problem, slot, kind)
    want = wanted(problem, slot, given)
    given = [lay_out(x, layout) for x in given]
    last = layout == "channels_last" and given[0].dim() in (4, 5) and slot not in ("unfold", "fold")
    last = last and len(getattr(problem, "lead", "NC")) == 2  # torch gives it to batches only
    what = f"{name} {slot} of {problem} ({kind}, {layout})"
    for turns in emulator.ORDERS:
        with guard.checked(), emulator.order(turns):
            made = dispatch.run(
                problem, slot, *given, backend=f"cuda-on-cpu:{name}", channels_last=last
            )
        for got, must in zip(_several(made), want, strict=True):
            assert got.dtype == must.dtype, f"{what}: {got.dtype}"
            assert torch.equal(got.isnan(), must.isnan()), f"{what}: wrong; NaN elsewhere ({turns})"
            got, must = (x.masked_fill(x.isnan(), 0) for x in (got, must))
            assert torch.equal(got, must), f"{what}: wrong; ({turns})\n{got}\n{must}"


def wanted(problem: Any, slot: str, given: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """What kernels/naive gives."""
    return _several(dispatch.run(problem, slot, *given, backend="naive"))


def _several(results: Any) -> tuple[torch.Tensor, ...]:
    return results if isinstance(results, tuple) else (results,)
