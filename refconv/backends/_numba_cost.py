"""What a call of each Numba algorithm is predicted to take: a sum of a few terms.

Every prediction is arithmetic at a rate, bytes at a bandwidth and a fixed price for starting. The
constants are two machines' (two cores with AVX-512, two with AVX2), by the lanes of a vector where
they differ; a choice needs only their ratios to be right.
``refconv bench --all-algorithms`` measures how well they predict, ``refconv.tune`` what is fastest
on this machine.
"""

from __future__ import annotations

from functools import cache
from math import ceil, prod
from typing import Any, NamedTuple

from ._numba_supports import real

#: float32 multiply-adds a second of one thread whose registers are full of sums, by lanes.
PEAK = {16: 58e9, 8: 38e9, 4: 19e9}
#: Bytes a second, read or written: what fits in the last cache, and what does not.
CACHE, MEMORY, CACHE_BYTES = 60e9, 40e9, 16e6
#: Bytes a second of one thread that makes a padded copy.
COPY = 10e9
#: How much faster than that a panel is packed, by lanes: parts of a vector are dear without masks.
PACKED = {16: 4.0, 8: 1.0}
#: Seconds: to call a compiled function; to start all threads once; to plan in Python.
CALL, LAUNCH, PLAN = 1e-6, 5e-6, 12e-6
#: Share of the peak of each inner loop.
RATE = {"direct": 0.97, "implicit_gemm": 0.92, "winograd": 0.95, "depthwise": 0.35, "rows": 0.10}
#: Steps of the sums that the rest of an output vector costs, along a row and through a transpose.
STORED, TRANSPOSED = 3, 10
#: Bytes of the first cache, and how many times longer a direct step takes, by lanes, where what a
#: tile reads along a row does not fit it.
FIRST_CACHE, FAR = 32_768, {8: 1.25}
#: Seconds of one thread that Winograd's transforms take: an element of tiles, in or out; a pair of
#: channels; and each of its transformed weights. With half the lanes and registers, so many times
#: longer.
TILE, PAIR, WEIGHT = 0.62e-9, 1.4e-9, 0.08e-9
SLOWER = {16: 1.0, 8: 3.0, 4: 6.0}
#: The same where a dilation sets the elements of a tile apart in memory.
APART = 2.0
#: How many times longer a direct step of pixels takes, by lanes: more loads for each product.
PIXELS = {8: 1.15}
#: Seconds of ``tiny``, by one thread: a multiply-add, and an element of its columns.
TINY_MAC, TINY_CELL = 0.045e-9, 0.25e-9


@cache
def lanes() -> int:
    """Floats of a vector register of this machine."""
    from ..kernels.numba_cpu.vector import BYTES

    return BYTES // 4


class Sizes(NamedTuple):
    """A convolution as one pass sees it: channels and positions of what is written and read."""

    batch: int
    groups: int
    outs: int
    inps: int
    out: tuple[int, ...]
    inp: tuple[int, ...]
    taps: int
    bytes: int  # an element's

    @property
    def macs(self) -> int:
        """Multiply-adds, those with zeros of the padding included."""
        return self.batch * self.outs * self.inps * self.taps * prod(self.out) // self.groups


def sizes(problem: Any, slot: str) -> Sizes:
    """The sizes of a pass. wgrad and fprop read the same two sides; dgrad swaps them."""
    (x, w, _), (y,), _, numbers = problem.call("conv_fprop")
    groups = numbers[3]
    channels, where = (y[1], x[1]), (y[2:], x[2:])
    if slot == "conv_dgrad":
        channels, where = channels[::-1], where[::-1]
    element = 8 if problem.dtype in ("float64", "complex64") else 4
    taps = prod(w[2:])
    if slot == "conv_dgrad":  # every step-th tap alone meets an output
        taps = max(1, taps // prod(numbers[0]))
    return Sizes(x[0], groups, *channels, *where, taps, element)


def traffic(amount: float) -> float:
    """Seconds to move ``amount`` bytes once, by all threads."""
    return amount / (CACHE if amount < CACHE_BYTES else MEMORY)


def arrays(s: Sizes) -> float:
    """Bytes of the pass's three arrays: what any algorithm reads or writes."""
    of_out, of_inp = s.outs * prod(s.out), s.inps * prod(s.inp)
    weights = s.outs * s.inps // s.groups * s.taps
    return s.bytes * (s.batch * (of_out + of_inp) + weights)


def filled(count: int, block: int) -> float:
    """The used share of ``count`` things taken ``block`` at a time."""
    return count / (ceil(count / block) * block) if count else 1.0


def compute(s: Sizes, macs: float, rate: float, items: int, threads: int) -> float:
    """Seconds of ``macs`` at a share of the peak on as many threads as have an item."""
    if not macs:
        return 0.0
    busy = items / ceil(items / threads)
    return macs / (PEAK[lanes()] * 4 / s.bytes * rate) / busy


def copied(s: Sizes) -> int:
    """Bytes of the padded copy; of a 1x1 rows join, and nothing is copied."""
    whole = s.taps == 1 and s.out == s.inp
    return 0 if whole else s.bytes * s.batch * s.inps * prod(s.inp)


def direct(problem: Any, slot: str, threads: int) -> float:
    """Register tiles; vectors lie along a row, or along output channels where that wastes less."""
    s = sizes(problem, slot)
    steps, outs = s.inps // s.groups * s.taps, s.outs // s.groups
    row = s.out[2] if copied(s) else prod(s.out)
    read = steps // problem.kernel[-1] * min(problem.stride[-1], problem.kernel[-1])
    far = FAR.get(lanes(), 1.0) if read * (16 * lanes() + 64) > FIRST_CACHE else 1.0
    along = far * (1 + STORED / steps) / filled(row, lanes()) * (1 + 3 / outs)
    across = PIXELS.get(lanes(), 1.0) * (1 + TRANSPOSED / steps) / filled(outs, lanes())
    rate = RATE["direct"] / min(along, across)
    work = compute(s, s.macs, rate, s.batch * s.groups * s.out[0] * s.out[1], threads)
    phases = prod(problem.stride) if slot == "conv_dgrad" else 1  # each is planned and started
    return phases * (PLAN + LAUNCH) + copied(s) / COPY / threads + traffic(arrays(s)) + work


def implicit_gemm(problem: Any, slot: str, threads: int) -> float:
    """A matrix product over all positions of an image, whose columns are gathered in panels."""
    s = sizes(problem, slot)
    positions, outs = prod(s.out), s.outs // s.groups
    steps = s.inps // s.groups * s.taps
    rate = (
        RATE["implicit_gemm"] * filled(positions, lanes()) / (1 + 8 / outs) / (1 + STORED / steps)
    )
    panels = s.bytes * s.batch * s.inps * s.taps * positions / PACKED.get(lanes(), 1.0)
    items = s.batch * s.groups * ceil(positions / (4 * lanes()))
    work = compute(s, s.macs, rate, items, threads)
    return PLAN + LAUNCH + (panels + copied(s)) / COPY / threads + traffic(arrays(s)) + work


def winograd(problem: Any, slot: str, threads: int, m: int) -> float:
    """F(m x m): products of tiles and of weights, and the transforms of both; by phases, those of
    the input add to the channels, those of the output are tiles of their own.
    """
    s, stride = sizes(problem, slot), problem.stride[0]
    phases = stride * stride
    r, dgrad = problem.kernel[0] // stride, slot == "conv_dgrad"
    step = problem.dilation[0] * (stride if dgrad else 1)
    tiles = s.batch * step * step * prod(ceil(ceil(n / step) / m) for n in s.out[1:])
    inps = s.inps * (1 if dgrad else phases)
    points, block = (m + r - 1) ** 2, 4 * lanes() if s.outs > 2 * lanes() else 2 * lanes()
    outs = ceil(s.outs / block) * block
    products = tiles * points * ceil(inps / lanes()) * lanes() * outs
    apart = APART if max(problem.dilation) > 1 else 1.0
    moved = apart * tiles * m * m * (inps + outs) * TILE * s.bytes / 4
    weights = s.inps * outs * (PAIR + WEIGHT * points * phases) * s.bytes / 4
    work = compute(s, products, RATE["winograd"], max(tiles // 24, outs // block), threads)
    transforms = SLOWER[lanes()] * (moved + weights) / threads
    return PLAN + 3 * LAUNCH + transforms + traffic(arrays(s)) + work


def winograd_f2(problem: Any, slot: str, threads: int) -> float:
    """F(2 x 2)."""
    return winograd(problem, slot, threads, 2)


def winograd_f4(problem: Any, slot: str, threads: int) -> float:
    """F(4 x 4)."""
    return winograd(problem, slot, threads, 4)


def depthwise(problem: Any, slot: str, threads: int) -> float:
    """Planes at memory speed, or long sums at the peak; a stride takes channels in vectors."""
    s = sizes(problem, slot)
    channels = max(s.outs, s.inps)
    rate = min(0.9, RATE["depthwise"] * (1 + s.taps / 100))
    if max(problem.stride) > 1:
        rate *= filled(s.groups, lanes())
    work = compute(s, s.batch * channels * s.taps * prod(s.out), rate, s.batch * s.groups, threads)
    return PLAN + LAUNCH + traffic(arrays(s)) + work


def rows(problem: Any, slot: str, threads: int) -> float:
    """Rows added in place: sums live in cache, and a row is an item."""
    s = sizes(problem, slot)
    rate = RATE["rows"] * filled(s.out[2], lanes())
    items = s.batch * ceil(s.outs / 4) * s.out[0] * s.out[1]
    return CALL + LAUNCH + traffic(arrays(s)) + compute(s, s.macs, rate, items, threads)


def tiny(problem: Any, slot: str, threads: int) -> float:
    """One thread, nothing started."""
    s = sizes(problem, slot)
    macs, cells = tiny_work(problem, slot)
    return CALL + macs * TINY_MAC * s.bytes / 4 + cells * TINY_CELL


#: The largest int32.
INDEX = 2**31 - 1
#: Multiply-adds (stride's and padding's zeros included) that ``tiny`` takes at most.
TINY = 1 << 19


def tiny_work(problem: Any, slot: str) -> tuple[int, int]:
    """Multiply-adds and gathered elements of ``tiny``: dgrad tries every tap at every position."""
    s = sizes(problem, slot)
    cells = s.batch * s.inps * prod(problem.kernel) * prod(s.out)
    return cells * s.outs // s.groups, cells


def is_tiny(problem: Any, slot: str) -> str | None:
    """None, or why ``tiny`` does not run this pass."""
    reason = real(problem)
    if reason is not None:
        return reason
    macs, _ = tiny_work(problem, slot)
    if macs > TINY:
        return f"{macs} multiply-adds are more than {TINY}"
    if prod(sizes(problem, slot).inp) > INDEX:
        return f"a plane of more than {INDEX} elements does not fit its table"
    return None
