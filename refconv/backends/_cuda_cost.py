"""What a convolution is predicted to take by each step of the CUDA ladder: the rate of the unit
that multiplies, or memory's, and a price for each launch.

Rates are the makers' figures, and for tensor cores what the steps' files say that they reach; they
are guesses until a GPU has run them (``refconv gpu``). A choice needs only their ratios to be
right: where a GPU's TF32 is no faster than its float32, three products of it are no bargain;
Winograd pays where channels are many enough for its workspaces not to matter; of few channels
tensor cores multiply zeros.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

from ._cuda_launch import blocks


class Gpu(NamedTuple):
    """One kind of GPU: operations a second by unit, bytes a second, multiprocessors."""

    float32: float
    float64: float
    tf32: float
    half: float
    memory: float
    multiprocessors: int


#: By compute capability, as of one usual card: V100, T4, A100, RTX 3090, RTX 4090, H200, B200, RTX
#: 5090. Tensor cores by mma.sync.
GPUS = {
    70: Gpu(15.7e12, 7.8e12, 0, 0, 0.9e12, 80),
    75: Gpu(8.1e12, 0.25e12, 0, 0, 0.32e12, 40),
    80: Gpu(19.5e12, 9.7e12, 156e12, 312e12, 2.0e12, 108),
    86: Gpu(35.6e12, 0.56e12, 35.6e12, 71e12, 0.94e12, 82),
    89: Gpu(82.6e12, 1.3e12, 82.6e12, 165e12, 1.0e12, 128),
    90: Gpu(67e12, 34e12, 245e12, 490e12, 4.3e12, 132),
    100: Gpu(75e12, 37e12, 300e12, 600e12, 7.7e12, 148),
    120: Gpu(105e12, 1.6e12, 105e12, 210e12, 1.8e12, 170),
}
#: By wgmma, which has no other GPU.
WGMMA = 600e12
#: Seconds that a launch takes at least, the next one's start included.
LAUNCH = 3e-6
#: How many times faster than memory the second cache is, about.
SECOND_CACHE = 4
#: Columns of the narrowest tile, where it is not as wide as it is high.
NARROW = {"igemm": 32, "igemm_wgmma": 64}
#: Bytes of an element; else 2.
SIZES = {"float64": 8, "float32": 4}
#: Threads that a multiprocessor holds.
RESIDENT = 2048


class Model(NamedTuple):
    """How a step computes.

    Args:
        unit: of ``Gpu``, or ``sums``: the unit of the accumulator.
        share: of the unit's rate that it reaches at best.
        tile: rows and columns of a block's product; 0: one thread an output.
        depth: bytes of channels that are multiplied at once; tensors are packed so first where
            channels are not neighbours, as in torch's default. 0: whatever there is.
        out: of Winograd: outputs of a tile along an axis.
    """

    unit: str
    share: float
    tile: int = 0
    depth: int = 0
    out: int = 0


MODELS = {
    "depthwise": Model("sums", 0.5),
    "stem": Model("sums", 0.8),
    "igemm_wgmma": Model("wgmma", 1.0, 128, depth=128),
    "igemm_mma": Model("half", 1.0, 64, depth=16),
    "igemm_tf32": Model("tf32", 1.0, 64, depth=16),
    "igemm_tf32x3": Model("tf32", 1 / 3, 64, depth=16),
    "igemm": Model("sums", 0.8, 64),
    "winograd_f2": Model("sums", 0.8, 64, out=2),
    "winograd_f4": Model("sums", 0.8, 64, out=4),
    "shared": Model("sums", 0.3),
    "direct": Model("sums", 0.1),
}


def seconds(step: str, problem: Any, slot: str, gpu: str) -> float:
    """Predicted for a step of a convolution's slot, on arrays in torch's default layout.

    Args:
        gpu: ``sm_90`` or the like; one that is not known is taken for the newest older one.
    """
    number = int(gpu.removeprefix("sm_"))
    card = GPUS[max((n for n in GPUS if n <= number), default=min(GPUS))]
    model = MODELS[step]
    (x, w, _), (y,), *_ = problem.call("conv_fprop")
    size = SIZES.get(problem.dtype, 2)
    each = {"x": prod(x) * size, "y": prod(y) * size, "w": prod(w) * size}
    work, moved, launches = 2.0 * prod(y) * prod(w[1:]), sum(each.values()), 1
    if slot == "conv_wgrad" and step == "direct":  # every weight reads all of both again
        moved += (each["y"] * prod(w[1:]) + each["x"] * prod(w[2:])) / SECOND_CACHE
    elif slot == "conv_wgrad":
        launches += 1  # the sum of the parts
    if model.depth:
        summed = y[1] // problem.groups if slot == "conv_dgrad" else w[1]
        padded = blocks(summed * size, model.depth) * model.depth / (summed * size)
        work *= padded
        sources = {"conv_fprop": "xw", "conv_dgrad": "yw", "conv_wgrad": "xy"}[slot]
        moved += sum(each[name] for name in sources) * 2 * padded  # written, and read again
        launches += len(sources)
        if slot == "conv_dgrad":  # a launch for each phase of the stride
            launches += prod(problem.stride) - 1
    hidden = True
    if model.out:
        points, outputs = (model.out + 2) ** 2, model.out**2
        work *= points / (outputs * 9)
        moved += 2 * points / outputs * (prod(x) + prod(y)) * max(4, size)
        launches, hidden = 4, False  # what goes through the workspaces comes before and after
    terms = work / (_rate(model, problem, card) * model.share * _busy(step, problem, slot, card))
    bytes_take = moved / card.memory
    return (max(terms, bytes_take) if hidden else terms + bytes_take) + launches * LAUNCH


def _rate(model: Model, problem: Any, card: Gpu) -> float:
    """Operations a second; a unit that the card has not, and that nobody may ask for, is slow."""
    if model.unit == "wgmma":
        return WGMMA
    unit = model.unit
    if unit == "sums":
        unit = "float64" if problem.dtype == "float64" else "float32"
    return getattr(card, unit) or 1e9


def _busy(step: str, problem: Any, slot: str, card: Gpu) -> float:
    """Share of the GPU that has something to do, and of its tiles that is not padding."""
    (x, w, _), (y,), *_ = problem.call("conv_fprop")
    model, groups = MODELS[step], problem.groups
    if slot == "conv_wgrad":
        rows, columns, whole = w[1] * prod(w[2:]), w[0] // groups, prod(w)
    elif slot == "conv_dgrad":
        rows, columns, whole = prod(x) // x[1], x[1] // groups, prod(x)
    else:
        rows, columns, whole = prod(y) // y[1], y[1] // groups, prod(y)
    if not whole:
        return 1.0
    if not model.tile:
        if slot == "conv_wgrad":  # a block, or more, for each weight
            return min(1.0, whole / card.multiprocessors)
        return min(1.0, whole / (RESIDENT * card.multiprocessors))
    side = NARROW.get(step, model.tile)
    side = model.tile if columns > side else side
    down, across = blocks(rows, model.tile), blocks(columns, side)
    full = rows * columns / (down * across * model.tile * side)
    made = down * across * groups
    if slot == "conv_wgrad":  # the depth is split
        made *= max(1, prod(y) // y[1] // 256)
    return full * min(1.0, made / card.multiprocessors)
