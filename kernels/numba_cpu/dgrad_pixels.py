"""dgrad with vectors of input channels: any width of image, any stride, as a product of matrices.

    dx[q, ic] = b[ic] + sum over k of dy[row[q] + at[k]] * w[k, ic]     q: pixels,  k: (oc, tap)

dy is read as it is padded, one scalar for a whole vector of channels; weights are transposed, some
hundred k at a time, into a panel [k][ic] that fits the cache; sums are transposed on the way out.
In small images many a window reaches past dy's upper or lower edge: there the taps of one row of
the kernel are a run of k of their own, and only pixels for which that row lies in dy are summed.
"""

from collections import namedtuple
from functools import lru_cache

import numpy as np
from numba import njit

from .compiled import ROWS_OF
from .dgrad_phases import phases, put
from .dot import address, gathered
from .padded import filled
from .tile import SUMS
from .vector import BYTES, lanes, load, load_first, store, transpose, transpose_part, zeros
from .wgrad_columns import even, uneven, width
from .worker import launch

#: Pixels an item works on, k of a panel, and the height up to which an image counts as small.
PIXELS, DEPTH, SMALL = 896, 896, 64

Plan = namedtuple("Plan", "groups blocks images parts block pixels rows width depth "
                  "N C K taps image channel q_depth q_row dense panel active")  # fmt: skip


@lru_cache(maxsize=256)
def plan(dx_shape, dy_shape, w_shape, itemsize, stride, padding, dilation, groups, threads):
    """The phases, the tables of pixels and of k, and the numbers of ``_item``."""
    found = phases(dx_shape, dy_shape, w_shape, stride, padding, dilation)
    (N, C), K, CG, q = dx_shape[:2], w_shape[0], w_shape[1], found.q
    vectors, lane = width(CG, itemsize)
    active = int((np.diff(found.first) > 0).sum())
    most = PIXELS // max(1, active)
    blocks, rows, pixels = -(-CG // (vectors * lane)), ROWS_OF[vectors], q[0] * q[1] * q[2]
    images = max(1, min(N, most // pixels))
    while images > 1 and uneven(groups * blocks * -(-N // images), threads):
        images -= 1
    parts, tasks = -(-pixels // most) if images == 1 else 1, groups * blocks * -(-N // images)
    while uneven(parts * tasks, threads) and pixels // parts > 8 * rows:
        parts += 1
    block = -(-pixels // parts)
    d, h, w = (np.arange(n) for n in q)
    row = (d[:, None, None] * found.copy.depth + h[:, None] * found.copy.row + w).reshape(-1)
    runs, place, at = _runs(found, dy_shape[2:], K // groups)
    taps = w_shape[2] * w_shape[3] * w_shape[4]
    dense, panel = int(stride == (1, 1, 1)), max(DEPTH, taps)
    numbers = Plan(groups, blocks, images, -(-pixels // block), block, pixels, rows,
                   vectors * lane, DEPTH, N, C, K, taps, found.copy.image, found.copy.channel,
                   q[1] * q[2], q[2], dense, panel, active)  # fmt: skip
    return found, row, at, runs, place, numbers


def _runs(found, out, KG):
    """Each run's phase (of those with taps), taps [lo, hi) and positions d and h that meet dy; each
    tap's run, as its first tap and its taps; the table of k.

    k goes by blocks of output channels, as many as a panel holds; in those by run, channel, tap.
    """
    runs, at, (QD, QH, _), step, active = [], [], found.q, found.copy, -1
    offset = found.offset @ np.array([step.depth, step.row, 1])
    for low, last in zip(found.first[:-1], found.first[1:], strict=True):
        active += low < last
        while low < last:
            d, h = (found.low[a] + found.offset[low, a] for a in (0, 1))
            same = (found.offset[low:last, :2] == found.offset[low, :2]).all(1)
            high = last if QH > SMALL or same.all() else low + int(same.argmin())
            inside = (0, QD, 0, QH)
            if QH <= SMALL:
                inside = max(0, -d), min(QD, out[0] - d), max(0, -h), min(QH, out[1] - h)
            runs.append((active, low, high, *inside))
            low = high
    some = max(1, DEPTH // max(1, len(offset)))
    for oc in range(0, KG, some):
        channels = np.arange(oc, min(KG, oc + some))[:, None] * step.channel
        at += [(channels + offset[lo:hi]).reshape(-1) for _, lo, hi, *_ in runs]
    place = [(lo, hi - lo) for _, lo, hi, *_ in runs for _ in range(lo, hi)]
    runs, place = np.array(runs, np.int64).reshape(-1, 7), np.array(place, np.int64).reshape(-1, 2)
    return runs, place, np.concatenate([*at, np.zeros(0, np.int64)])


def run(threads, dx, dy, w, b, stride, padding, dilation, groups):
    """dgrad of arrays as in the contract."""
    found, row, at, runs, place, numbers = plan(dx.shape, dy.shape, w.shape, dx.itemsize, stride,
                                                padding, dilation, groups, threads)  # fmt: skip
    data = dy.reshape(-1) if found.same else filled(dy, found.layout)
    pixels, step = numbers.images * numbers.block * numbers.width, BYTES // dx.itemsize
    sizes = (pixels * numbers.active, 0 if numbers.dense else pixels,
             numbers.panel * numbers.width, (numbers.taps + step) * step)  # fmt: skip
    scratch = [np.empty((threads, size), dx.dtype) for size in sizes]
    scratch[2][...] = 0  # lanes without a channel are multiplied too, and must not be denormal
    launch(_work, threads, dx.dtype, address("gathered", dx.dtype), dx.reshape(-1), data,
           w.reshape(-1), b, row, at, runs, place, found.r, found.first, found.tap, found.shape,
           numbers, *scratch)  # fmt: skip


@njit(cache=True, error_model="numpy")
def _panel(panel, width, w, at, channels, taps, tap, place, oc, ocs, square):
    """panel[k*width + ic] = w[at + ic*taps + tap] for the taps of all phases and the oc-th of
    ``ocs`` output channels. They are turned in a square, of which each tap takes its row.
    """
    step = lanes(w)
    for c in range(0, channels, step):
        if taps == 1:
            store(panel, oc * width + c, load_first(w, at + c, min(step, channels - c)))
            continue
        for t in range(0, taps, step):
            start, some = at + c * taps + t, min(step, taps - t)
            if channels - c >= step and start + (step - 1) * taps + step <= w.size:
                transpose(w, start, taps, square, t * step, step)
            else:
                transpose_part(w, start, taps, channels - c, some, square, t * step, step, some,
                               step)  # fmt: skip
        for i in range(tap.size):
            k = place[i, 0] * ocs + oc * place[i, 1] + i - place[i, 0]
            store(panel, k * width + c, load(square, tap[i] * step))


@njit(cache=True, error_model="numpy")
def _begin(sums, count, b, channel0, channels, width):
    """sums[p*width + ic] = the bias."""
    step = lanes(sums)
    for c in range(0, width, step):
        value = zeros(sums)
        if b.size > 0:
            value = load_first(b, channel0 + c, min(step, max(0, channels - c)))
        for p in range(count):
            store(sums, p * width + c, value)


@njit(cache=True, error_model="numpy")
def _turn(y, to, y_row, sums, at, width, channels, pixels):
    """y[to + ic*y_row + p] = sums[at + p*width + ic]."""
    step = lanes(y)
    for c in range(0, channels, step):
        for p in range(0, pixels, step):
            start, end = at + p * width + c, to + c * y_row + p
            if channels - c >= step and pixels - p >= step:
                transpose(sums, start, width, y, end, y_row)
            else:
                some = min(step, channels - c)
                transpose_part(sums, start, width, pixels - p, some, y, end, y_row, some,
                               min(step, pixels - p))  # fmt: skip


def _work(t, threads, tile, dx, dy, w, b, row, at, runs, place, r, first, tap, shape, plan,
          all_sums, all_rows, panels, squares):  # fmt: skip
    """Items t, t + threads, …: up to 64 channels of some pixels, or of some images, all phases.

    Work: K/groups * taps multiply-adds an element of dx per stride^rank. Memory: weights once an
    item, dy's rows once a run. Still slow: windows past the left and right edge multiply zeros.
    """
    CG, KG, joined = plan.C // plan.groups, plan.K // plan.groups, -(-plan.N // plan.images)
    plane, width = shape[0] * shape[1] * shape[2], plan.width
    sums, rows, panel, square = all_sums[t], all_rows[t], panels[t], squares[t]
    for item in range(t, plan.groups * plan.blocks * joined * plan.parts, threads):
        part, rest = item % plan.parts, item // plan.parts
        n, rest = rest % joined * plan.images, rest // joined
        block, g = rest % plan.blocks, rest // plan.blocks
        channel0 = g * CG + block * width
        channels = min(width, CG - block * width)
        p0 = part * plan.block
        images = min(plan.images, plan.N - n)
        count = min(plan.block, plan.pixels - p0)
        source = n * plan.image + g * KG * plan.channel
        pixels, taps, vectors = images * count, tap.size, -(-channels // lanes(dx))
        _begin(sums, pixels * plan.active, b, channel0, channels, width)
        some = max(1, plan.depth // max(1, taps))
        for oc in range(0, KG if taps > 0 else 0, some):
            ocs = min(some, KG - oc)
            for i in range(ocs):
                from_ = ((g * KG + oc + i) * CG + block * width) * plan.taps
                _panel(panel, width, w, from_, channels, plan.taps, tap, place, i, ocs, square)
            for f, lo, hi, d_lo, d_hi, h_lo, h_hi in runs:
                for i in range(images):
                    to = (f * images + i) * count
                    for d in range(d_lo, d_hi):
                        p = max(0, d * plan.q_depth + h_lo * plan.q_row - p0)
                        end = min(count, d * plan.q_depth + h_hi * plan.q_row - p0)
                        while p < end:
                            several = even(end - p, plan.rows)
                            gathered(tile, several, vectors, sums, (to + p) * width, width,
                                     dy, source + i * plan.image, row, p0 + p, at,
                                     oc * taps + lo * ocs, panel, lo * ocs * width, width,
                                     ocs * (hi - lo), SUMS, b, 0, lanes(sums))  # fmt: skip
                            p += several
        from_ = 0
        for f in range(r.shape[0]):
            for i in range(images):
                base = ((n + i) * plan.C + channel0) * plane
                if first[f] == first[f + 1]:
                    for c in range(channels):
                        for p in range(count):
                            rows[c * count + p] = b[channel0 + c] if b.size > 0 else 0
                else:
                    if plan.dense:
                        _turn(dx, base + p0, plane, sums, from_, width, channels, count)
                    else:
                        _turn(rows, 0, count, sums, from_, width, channels, count)
                    from_ += count * width
                p = p0
                while p < p0 + count and not plan.dense:
                    q = p // plan.q_depth, p % plan.q_depth // plan.q_row, p % plan.q_row
                    few = min(plan.q_row - q[2], p0 + count - p)
                    put(dx, base, channels, rows, count, p - p0, few, q, shape, r[f])
                    p += few
