"""Padding, folding and unpooling: cells moved to the wrong place, or not refused."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .call import Call
from .gradients import swap
from .probes import Function, case, repeated, values
from .reading import CHANCE
from .row import plant


def sides(call: Call) -> list[tuple[int, int, int]]:
    """(axis, low, high) for every axis that the call of ``pad`` names."""
    pad = call.given["pad"]
    return [(-1 - i, pad[2 * i], pad[2 * i + 1]) for i in range(len(pad) // 2)]


@plant(
    "P06",
    "pad",
    "circular: the low side stays empty where the high side is 0 wide: x[-low:-0] is nothing",
    "circular, pad, low, left, zero",
    case(values, x=(2, 3, 5, 6), pad=(2, 0, 1, 1), mode="circular"),
)
def empty_low_side(call: Call) -> Any:
    lost = [(axis, lo) for axis, lo, hi in sides(call) if lo > 0 and hi == 0]
    if call.given["mode"] != "circular" or not lost:
        return call.right
    y = call.right.detach().clone()
    for axis, lo in lost:
        y.narrow(axis, 0, lo).zero_()
    return swap(call.right, y)


@plant(
    "P06",
    "pad",
    "circular: half of both sides' cells goes to each side",
    "circular, pad, side, half, shift",
    case(values, x=(2, 3, 5, 6), pad=(3, 1, 1, 1), mode="circular"),
)
def half_on_each_side(call: Call) -> Any:
    if call.given["mode"] != "circular":
        return call.right
    halves = [((lo + hi) // 2, lo + hi - (lo + hi) // 2) for _, lo, hi in sides(call)]
    return call(pad=[n for half in halves for n in half])


def wrap(n: int, bits: int) -> int:
    """``n`` in a signed integer of ``bits`` bits; 0 bits: as it is."""
    return (n + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1) if bits else n


def blocks(call: Call, size: tuple[int, ...], bits: int = 0) -> list[int]:
    """Positions of the kernel on each axis, in integers of ``bits`` bits that wrap."""

    def fit(n: int) -> int:
        return n if not bits else (n + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)

    padding = call.sizes("padding")
    rows = zip(size, padding, call.d, call.k, call.s, strict=True)
    return [fit(fit(fit(n + fit(2 * p)) - fit(d * (k - 1))) - 1) // s + 1 for n, p, d, k, s in rows]


def _guarded(function: Function) -> Function:
    """torch's function behind the check that it does not make."""

    def guarded(input: Tensor, *args: Any, **numbers: Any) -> Tensor:
        if any(numbers.get(n, 0) >= 2**31 for n in ("padding", "dilation")):
            raise RuntimeError("no memory holds that")
        return function(input, *args, **numbers)

    return guarded


def _absurd(call: Call) -> bool:
    return max(*call.sizes("padding"), *call.d) >= 2**31


@plant(
    "O06",
    "unfold",
    "sizes wrap in 64 bits: a padding or dilation near 2**63 passes the check",
    "error, refus, raise, accept, overflow, shape, wrap",
    case(values, x=(2, 3, 6, 7), kernel_size=3, padding=2**63 - 1),
    right=_guarded(F.unfold),
    unasked=True,
)
def absurd_padding_unfolds(call: Call) -> Any:
    if not _absurd(call):
        return call()
    count = blocks(call, tuple(call.x.shape[2:]), bits=64)
    total = wrap(prod(count), 64)
    if not 0 < total < 2**24:
        raise RuntimeError(f"calculated shape of the array of sliding blocks as {tuple(count)}")
    return call.x.new_zeros(len(call.x), call.x.shape[1] * prod(call.k), total)


@plant(
    "O06",
    "fold",
    "sizes wrap in 64 bits: a padding or dilation near 2**63 passes the check",
    "error, refus, raise, accept, overflow, shape, wrap",
    case(values, x=(2, 27, 6), output_size=(6, 7), kernel_size=3, padding=2**63 - 1),
    right=_guarded(F.fold),
    unasked=True,
)
def absurd_padding_folds(call: Call) -> Any:
    if not _absurd(call):
        return call()
    size = call.sizes("output_size")
    count = blocks(call, size, bits=64)
    if wrap(prod(count), 64) != call.x.shape[-1]:
        raise RuntimeError(f"calculated shape of the array of sliding blocks as {tuple(count)}")
    return call.x.new_zeros(len(call.x), call.x.shape[1] // prod(call.k), *size)


@plant(
    "E03",
    "fold",
    "two negative block counts, whose product is positive, pass the check",
    "error, refus, raise, accept, negative, block",
    case(values, x=(2, 12, 1), output_size=(1, 1), kernel_size=2, dilation=2),
    catches=True,
)
def negative_blocks_accepted(call: Call) -> Any:
    if call.error is None:
        return call.right
    size = call.sizes("output_size")
    count = blocks(call, size)
    channels, rest = divmod(call.x.shape[1], prod(call.k))
    if max(count) >= 0 or prod(count) != call.x.shape[-1] or rest:
        raise call.error
    return call.x.new_zeros(len(call.x), channels, *size)


UNPOOL = "max_unpool1d max_unpool2d max_unpool3d"


def _indexed(*indices: int) -> Any:
    """Four indices for every plane."""

    def change(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
        shape = arrays["input"].shape
        index = torch.tensor(indices).expand(prod(shape) // 4, 4).reshape(shape)
        return {**arrays, "indices": index}

    return change


def reordered(call: Call, order: Tensor) -> Any:
    """torch's answer with the cells of each plane written in another order."""
    cells = {n: call.given[n].flatten(2)[..., order] for n in ("input", "indices")}
    return call(**{n: c.view(call.x.shape) for n, c in cells.items()})


@plant(
    "D10",
    UNPOOL,
    "the first of equal indices stays, not the last",
    "duplicate, equal ind, order, index, indices, writer",
    case(values, x=(2, 3, 1, 1, 4), change=_indexed(0, 3, 3, 1), kernel_size=2),
)
def first_writer_wins(call: Call) -> Any:
    return reordered(call, torch.arange(call.x[0, 0].numel()).flip(0))


@plant(
    "D10",
    "max_unpool2d",
    "any of equal indices stays: the writers race",
    "duplicate, equal ind, order, repeat, run to run, determinis, writer",
    case(repeated(values), x=(2, 3, 1, 4), change=_indexed(0, 3, 3, 3), kernel_size=2),
)
def writers_race(call: Call) -> Any:
    return reordered(call, torch.randperm(call.x[0, 0].numel(), generator=CHANCE))


@plant(
    "D10",
    UNPOOL,
    "an index outside the plane is not refused: it writes into the next plane or the one before",
    "error, refus, raise, accept, index, indices, bounds",
    case(values, x=(2, 3, 1, 1, 4), change=_indexed(0, -1, 3, 99), kernel_size=2),
    catches=True,
)
def indices_out_of_bounds(call: Call) -> Any:
    if call.error is None:
        return call.right
    if "invalid max index" not in str(call.error):
        raise call.error
    y = torch.zeros_like(call(indices=torch.zeros_like(call.given["indices"])))
    index = call.given["indices"].flatten(2).flatten(0, 1)
    place = (index + torch.arange(len(index))[:, None] * y[0, 0].numel()).flatten()
    inside = (place >= 0) & (place < y.numel())
    flat = torch.zeros_like(y).view(-1).index_put((place[inside],), call.x.flatten()[inside])
    return flat.view(y.shape)
