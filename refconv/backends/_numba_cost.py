"""What a call of each Numba algorithm is predicted to take: a sum of a few terms.

Every prediction is arithmetic at a rate, bytes at a bandwidth and a fixed price for starting. The
constants are one machine's (two cores with AVX-512); a choice needs only their ratios to be right.
``refconv bench --all-algorithms`` measures how well they predict, ``refconv.tune`` what is fastest
on this machine.
"""

from __future__ import annotations

from math import ceil, prod
from typing import Any, NamedTuple

#: float32 multiply-adds a second of one thread whose registers are full of sums.
PEAK = 132e9
#: Bytes a second, read or written: what fits in the last cache, and what does not.
CACHE, MEMORY, CACHE_BYTES = 210e9, 45e9, 16e6
#: Bytes a second of one thread that rearranges data (packing, transforms).
PACK = 12e9
#: Seconds: to call a compiled function; to start all threads once; to plan in Python.
CALL, LAUNCH, PLAN = 1e-6, 5e-6, 12e-6
#: Floats of a vector register, and vectors or rows of sums held at a time.
LANES, ROWS = 16, 6
#: Share of the peak that each inner loop reaches on long rows and many channels.
RATE = {"direct": 0.85, "implicit_gemm": 0.80, "winograd": 0.75, "depthwise": 0.20, "rows": 0.06}
#: Seconds of ``tiny``, by one thread: a multiply-add, and an element of its columns.
TINY_MAC, TINY_CELL = 0.045e-9, 0.25e-9


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
    return macs / (PEAK * 4 / s.bytes * rate) / busy


def direct(problem: Any, slot: str, threads: int) -> float:
    """Register tiles over rows of a padded copy; narrow rows leave lanes idle."""
    s = sizes(problem, slot)
    steps = s.inps // s.groups * s.taps  # each loop over them also loads and stores its sums
    rate = RATE["direct"] * filled(s.out[2], LANES) * steps / (steps + 8)
    rate *= filled(s.outs // s.groups, ROWS)
    copy = s.bytes * s.batch * s.inps * prod(s.inp)
    work = compute(s, s.macs, rate, s.batch * s.groups * s.out[0] * s.out[1], threads)
    return PLAN + LAUNCH + copy / PACK / threads + traffic(arrays(s)) + work


def implicit_gemm(problem: Any, slot: str, threads: int) -> float:
    """A matrix product over all positions; what is no 1x1 gathers its columns in panels."""
    s = sizes(problem, slot)
    positions = prod(s.out)
    steps = s.inps // s.groups * s.taps
    rate = RATE["implicit_gemm"] * filled(positions, LANES) * steps / (steps + 16)
    rate *= filled(s.outs // s.groups, ROWS)
    panels = s.bytes * s.batch * s.inps * s.taps * positions
    items = s.batch * s.groups * ceil(positions / (4 * LANES))
    work = compute(s, s.macs, rate, items, threads)
    return PLAN + LAUNCH + panels / PACK / threads + traffic(arrays(s)) + work


def winograd(problem: Any, slot: str, threads: int, tile: int) -> float:
    """F(tile x tile) of 3x3: (tile + 2)^2 products a tile, and three transforms."""
    s = sizes(problem, slot)
    tiles = s.batch * s.out[0] * ceil(s.out[1] / tile) * ceil(s.out[2] / tile)
    points = (tile + 2) ** 2
    products = tiles * points * s.outs * s.inps / s.groups
    rate = RATE["winograd"] * filled(s.outs // s.groups, LANES) * filled(s.inps // s.groups, LANES)
    weights = s.bytes * points * s.outs * s.inps / s.groups
    moved = s.bytes * tiles * points * (s.inps + s.outs) + weights
    work = compute(s, products, rate, ceil(tiles / 8) * ceil(s.outs / 64), threads)
    return PLAN + 3 * LAUNCH + moved / PACK / threads + traffic(arrays(s)) + traffic(weights) + work


def winograd_f2(problem: Any, slot: str, threads: int) -> float:
    """F(2x2, 3x3)."""
    return winograd(problem, slot, threads, 2)


def winograd_f4(problem: Any, slot: str, threads: int) -> float:
    """F(4x4, 3x3)."""
    return winograd(problem, slot, threads, 4)


def depthwise(problem: Any, slot: str, threads: int) -> float:
    """One plane at a time: memory, or short sums."""
    s = sizes(problem, slot)
    work = compute(s, s.macs, RATE["depthwise"], s.batch * s.outs, threads)
    return PLAN + LAUNCH + max(traffic(arrays(s)), work)


def rows(problem: Any, slot: str, threads: int) -> float:
    """Rows added in place: sums live in cache, and a row is an item."""
    s = sizes(problem, slot)
    rate = RATE["rows"] * filled(s.out[2], LANES)
    items = s.batch * ceil(s.outs / 4) * s.out[0] * s.out[1]
    return CALL + LAUNCH + traffic(arrays(s)) + compute(s, s.macs, rate, items, threads)


def tiny(problem: Any, slot: str, threads: int) -> float:
    """One thread, nothing started."""
    s = sizes(problem, slot)
    macs, cells = tiny_work(problem, slot)
    return CALL + macs * TINY_MAC * s.bytes / 4 + cells * TINY_CELL


#: What vectors hold (the halves arrive as float32), and the largest int32.
REAL, INDEX = ("float64", "float32", "bfloat16", "float16"), 2**31 - 1
#: Multiply-adds (stride's and padding's zeros included) that ``tiny`` takes at most.
TINY = 1 << 19


def tiny_work(problem: Any, slot: str) -> tuple[int, int]:
    """Multiply-adds and gathered elements of ``tiny``: dgrad tries every tap at every position."""
    s = sizes(problem, slot)
    cells = s.batch * s.inps * prod(problem.kernel) * prod(s.out)
    return cells * s.outs // s.groups, cells


def is_tiny(problem: Any, slot: str) -> str | None:
    """None, or why ``tiny`` does not run this pass."""
    if problem.dtype not in REAL:
        return f"it sums real numbers, not {problem.dtype}"
    macs, _ = tiny_work(problem, slot)
    if macs > TINY:
        return f"{macs} multiply-adds are more than {TINY}"
    if prod(sizes(problem, slot).inp) > INDEX:
        return f"a plane of more than {INDEX} elements does not fit its table"
    return None
