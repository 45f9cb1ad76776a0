"""Convolution on the CPU: beside ``im2col/conv`` no columns are stored; rows are added in place.

The one idea: along W a tap is a multiply-add of two rows,
``out[j * out_step] += weight * inp[j * inp_step]``, over a range of j that is worked out once, so
the innermost loop holds no bounds check and LLVM vectorises it. ``fprop`` steps through the input
by the stride and ``dgrad`` through the output; they share the row loops. Rows are taken 4 x 4
(4 output by 4 input channels): 8 rows are read and 4 written for 16 multiply-adds.

Still slow: the running sums live in L1, not in registers; a stride along W turns vector loads into
gathers; rows shorter than a vector (7 wide, say) run one by one; every item reads x again.
"""

import numpy as np
from numba import get_num_threads, njit

from .worker import launch, share

BLOCK = 4  # channels taken together; _add_4x4 and _dot_4x4 are written out for 4
LANES = 128  # partial sums side by side; 16 rows of them stay in L1


@njit(cache=True, error_model="numpy", inline="always")
def _span(offset, stride, size, count):
    """The range [lo, hi) of o in range(count) for which 0 <= o * stride + offset < size."""
    return max(0, -(offset // stride)), min(count, (size - 1 - offset) // stride + 1)


@njit(cache=True, error_model="numpy", inline="always")
def _blocks(channels):
    return (channels + BLOCK - 1) // BLOCK


@njit(cache=True, error_model="numpy")
def _items(out, groups):
    N, C, D, H, _ = out.shape
    return N * groups * _blocks(C // groups) * D * H


@njit(cache=True, error_model="numpy")
def _wgrad_items(dw, groups):
    K, CG, KD, KH, _ = dw.shape
    return groups * _blocks(K // groups) * _blocks(CG) * KD * KH


@njit(cache=True, error_model="numpy")
def _decode(out, groups, item):
    """The item as (n, group, first channel, channels, d, h): rows of up to BLOCK channels."""
    _, C, D, H, _ = out.shape
    CG = C // groups
    blocks = _blocks(CG)
    h = item % H
    d = item // H % D
    block = item // (H * D) % blocks
    g = item // (H * D * blocks) % groups
    n = item // (H * D * blocks * groups)
    rows = min(BLOCK, CG - block * BLOCK)
    return n, g, g * CG + block * BLOCK, rows, d, h


# The row loops. ``out`` and ``inp`` are flat arrays, ``o`` and ``i`` where their first row starts,
# ``*_row`` from one row to the next, ``*_step`` from one element to the next. ``w[k + r * w_out +
# q * w_inp]`` joins output row r to input row q. Unsigned subscripts: a signed one costs numba's
# test for "negative: counts from the end", and that test keeps LLVM from vectorising.


@njit(cache=True, error_model="numpy", inline="always")
def _four(start, row):
    """The unsigned starts of four rows."""
    a, b, c, d = start, start + row, start + 2 * row, start + 3 * row
    return np.uint64(a), np.uint64(b), np.uint64(c), np.uint64(d)


@njit(cache=True, error_model="numpy")
def _add_4x4(out, o, o_row, o_step, inp, i, i_row, i_step, w, k, w_out, w_inp, count):
    """Four output rows gain four input rows each: 16 multiply-adds for 8 loads and 4 stores."""
    o0, o1, o2, o3 = _four(o, o_row)
    i0, i1, i2, i3 = _four(i, i_row)
    k1, k2, k3 = k + w_out, k + 2 * w_out, k + 3 * w_out
    a0, a1, a2, a3 = w[k], w[k + w_inp], w[k + 2 * w_inp], w[k + 3 * w_inp]
    b0, b1, b2, b3 = w[k1], w[k1 + w_inp], w[k1 + 2 * w_inp], w[k1 + 3 * w_inp]
    c0, c1, c2, c3 = w[k2], w[k2 + w_inp], w[k2 + 2 * w_inp], w[k2 + 3 * w_inp]
    d0, d1, d2, d3 = w[k3], w[k3 + w_inp], w[k3 + 2 * w_inp], w[k3 + 3 * w_inp]
    for j in range(np.uint64(count)):
        jo, ji = j * np.uint64(o_step), j * np.uint64(i_step)
        v0, v1, v2, v3 = inp[i0 + ji], inp[i1 + ji], inp[i2 + ji], inp[i3 + ji]
        out[o0 + jo] = out[o0 + jo] + a0 * v0 + a1 * v1 + a2 * v2 + a3 * v3
        out[o1 + jo] = out[o1 + jo] + b0 * v0 + b1 * v1 + b2 * v2 + b3 * v3
        out[o2 + jo] = out[o2 + jo] + c0 * v0 + c1 * v1 + c2 * v2 + c3 * v3
        out[o3 + jo] = out[o3 + jo] + d0 * v0 + d1 * v1 + d2 * v2 + d3 * v3


@njit(cache=True, error_model="numpy")
def _add_4x1(out, o, o_row, o_step, inp, i, i_step, w, k, w_out, count):
    """Four output rows gain one input row: the input is read once for the four."""
    o0, o1, o2, o3 = _four(o, o_row)
    i0 = np.uint64(i)
    a, b, c, d = w[k], w[k + w_out], w[k + 2 * w_out], w[k + 3 * w_out]
    for j in range(np.uint64(count)):
        jo = j * np.uint64(o_step)
        v = inp[i0 + j * np.uint64(i_step)]
        out[o0 + jo] += a * v
        out[o1 + jo] += b * v
        out[o2 + jo] += c * v
        out[o3 + jo] += d * v


@njit(cache=True, error_model="numpy")
def _add_1x1(out, o, o_step, inp, i, i_step, weight, count):
    """One output row gains one input row: what blocks of four leave over, and depthwise."""
    o0, i0 = np.uint64(o), np.uint64(i)
    for j in range(np.uint64(count)):
        out[o0 + j * np.uint64(o_step)] += weight * inp[i0 + j * np.uint64(i_step)]


@njit(cache=True, error_model="numpy", inline="always")
def _add_rows(out, o, o_row, o_step, rows, inp, i, i_row, i_step, inps, w, k, w_out, w_inp, count):
    """Up to 4 output rows gain ``inps`` input rows, in blocks of 4 x 4 where there are 4."""
    q = 0
    if rows == BLOCK:
        while q + BLOCK <= inps:
            at, wk = i + q * i_row, k + q * w_inp
            _add_4x4(out, o, o_row, o_step, inp, at, i_row, i_step, w, wk, w_out, w_inp, count)
            q += BLOCK
        while q < inps:
            _add_4x1(
                out, o, o_row, o_step, inp, i + q * i_row, i_step, w, k + q * w_inp, w_out, count
            )
            q += 1
    else:
        for r in range(rows):
            for q in range(inps):
                weight = w[k + r * w_out + q * w_inp]
                _add_1x1(out, o + r * o_row, o_step, inp, i + q * i_row, i_step, weight, count)


@njit(cache=True, error_model="numpy")
def _start_rows(out, o, o_row, rows, length, b, channel):
    """Rows arrive poisoned: fill them with their bias, or with 0 where there is none."""
    for r in range(rows):
        at = o + r * o_row
        if b.size > 0:
            out[at : at + length] = b[channel + r]
        else:
            out[at : at + length] = 0


@njit(cache=True, error_model="numpy")
def _fprop_rows(y, x, w, b, item, stride, padding, dilation, groups):
    """The rows y[n, oc : oc + rows, od, oh]: bias, then every tap inside the input."""
    _, C, D, H, W = x.shape
    _, K, OD, OH, OW = y.shape
    _, CG, KD, KH, KW = w.shape
    n, g, oc, rows, od, oh = _decode(y, groups, item)
    yf, xf, wf = y.reshape(-1), x.reshape(-1), w.reshape(-1)
    y_row, x_row, taps = OD * OH * OW, D * H * W, KD * KH * KW
    o = (((n * K + oc) * OD + od) * OH + oh) * OW
    _start_rows(yf, o, y_row, rows, OW, b, oc)
    for kd in range(KD):
        id = od * stride[0] - padding[0] + kd * dilation[0]
        if id < 0 or id >= D:
            continue
        for kh in range(KH):
            ih = oh * stride[1] - padding[1] + kh * dilation[1]
            if ih < 0 or ih >= H:
                continue
            i = (((n * C + g * CG) * D + id) * H + ih) * W
            k = oc * CG * taps + (kd * KH + kh) * KW
            for kw in range(KW):
                offset = kw * dilation[2] - padding[2]
                lo, hi = _span(offset, stride[2], W, OW)
                if lo < hi:
                    iw = lo * stride[2] + offset
                    _add_rows(yf, o + lo, y_row, 1, rows, xf, i + iw, x_row, stride[2], CG,
                              wf, k + kw, CG * taps, taps, hi - lo)  # fmt: skip


def _fprop(t, threads, y, x, w, b, stride, padding, dilation, groups):
    first, last = share(t, threads, _items(y, groups))
    for item in range(first, last):
        _fprop_rows(y, x, w, b, item, stride, padding, dilation, groups)


def fprop(y, x, w, b, *numbers):
    """y[n, oc, o] = b[oc] + sum of x[n, ic, o*stride - padding + k*dilation] * w[oc, ic, k].

    Item: one row of y for 4 output channels, so N * K/4 * OD * OH items and no two share a row.
    """
    launch(_fprop, get_num_threads(), y.dtype, y, x, w, b, *numbers)


@njit(cache=True, error_model="numpy")
def _dgrad_rows(dx, dy, w, b, item, stride, padding, dilation, groups):
    """The rows dx[n, ic : ic + rows, id, ih], gathered from every dy whose window holds them."""
    _, C, D, H, W = dx.shape
    _, K, OD, OH, OW = dy.shape
    _, CG, KD, KH, KW = w.shape
    KG = K // groups
    n, g, ic, rows, id, ih = _decode(dx, groups, item)
    xf, yf, wf = dx.reshape(-1), dy.reshape(-1), w.reshape(-1)
    x_row, y_row, taps = D * H * W, OD * OH * OW, KD * KH * KW
    o = (((n * C + ic) * D + id) * H + ih) * W
    _start_rows(xf, o, x_row, rows, W, b, ic)
    for kd in range(KD):
        # dx row id meets tap kd only where od * stride is this; stride - 1 of stride rows miss it.
        at_d = id + padding[0] - kd * dilation[0]
        od = at_d // stride[0]
        if at_d < 0 or od >= OD or od * stride[0] != at_d:
            continue
        for kh in range(KH):
            at_h = ih + padding[1] - kh * dilation[1]
            oh = at_h // stride[1]
            if at_h < 0 or oh >= OH or oh * stride[1] != at_h:
                continue
            i = (((n * K + g * KG) * OD + od) * OH + oh) * OW
            k = (g * KG * CG + ic - g * CG) * taps + (kd * KH + kh) * KW
            for kw in range(KW):
                offset = kw * dilation[2] - padding[2]
                lo, hi = _span(offset, stride[2], W, OW)
                if lo < hi:
                    iw = lo * stride[2] + offset
                    _add_rows(xf, o + iw, x_row, stride[2], rows, yf, i + lo, y_row, 1, KG,
                              wf, k + kw, taps, CG * taps, hi - lo)  # fmt: skip


def _dgrad(t, threads, dx, dy, w, b, stride, padding, dilation, groups):
    first, last = share(t, threads, _items(dx, groups))
    for item in range(first, last):
        _dgrad_rows(dx, dy, w, b, item, stride, padding, dilation, groups)


def dgrad(dx, dy, w, b, *numbers):
    """dx[n, ic, i] = b[ic] + sum of dy[n, oc, o] * w[oc, ic, k] where
    i = o*stride - padding + k*dilation.

    Item: one row of dx for 4 input channels. It gathers, so no two items write the same element.
    """
    launch(_dgrad, get_num_threads(), dx.dtype, dx, dy, w, b, *numbers)


@njit(cache=True, error_model="numpy")
def _dot_4x4(sums, dy, o, o_row, x, i, i_row, i_step, count):
    """sums[4 * r + q, 0] += dy row r times x row q: 16 sums in registers for 8 loads a step.

    Scalar code, since a sum may not be reordered; but 16 sums at once keep the adders busy, for
    any stride and for rows of any length.
    """
    o0, o1, o2, o3 = _four(o, o_row)
    i0, i1, i2, i3 = _four(i, i_row)
    zero = sums.dtype.type(0)
    a0, a1, a2, a3 = zero, zero, zero, zero
    b0, b1, b2, b3 = zero, zero, zero, zero
    c0, c1, c2, c3 = zero, zero, zero, zero
    d0, d1, d2, d3 = zero, zero, zero, zero
    for t in range(np.uint64(count)):
        ti = t * np.uint64(i_step)
        v0, v1, v2, v3 = x[i0 + ti], x[i1 + ti], x[i2 + ti], x[i3 + ti]
        u = dy[o0 + t]
        a0, a1, a2, a3 = a0 + u * v0, a1 + u * v1, a2 + u * v2, a3 + u * v3
        u = dy[o1 + t]
        b0, b1, b2, b3 = b0 + u * v0, b1 + u * v1, b2 + u * v2, b3 + u * v3
        u = dy[o2 + t]
        c0, c1, c2, c3 = c0 + u * v0, c1 + u * v1, c2 + u * v2, c3 + u * v3
        u = dy[o3 + t]
        d0, d1, d2, d3 = d0 + u * v0, d1 + u * v1, d2 + u * v2, d3 + u * v3
    rows = (a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3)
    for p in range(BLOCK * BLOCK):
        sums[p, 0] += rows[p]


@njit(cache=True, error_model="numpy")
def _dot_lanes(sums, p, dy, o, x, i, i_step, count):
    """sums[p, t] += dy[t] * x[t]: lane t takes element t of every row, so this vectorises."""
    o0, i0 = np.uint64(o), np.uint64(i)
    for t in range(np.uint64(count)):
        sums[p, t] += dy[o0 + t] * x[i0 + t * np.uint64(i_step)]


@njit(cache=True, error_model="numpy")
def _wgrad_item(dw, dy, x, item, stride, padding, dilation, groups):
    """The weights of up to 4 x 4 channels and one row of taps: sums over n, od, oh, ow."""
    N, C, D, H, W = x.shape
    _, K, OD, OH, OW = dy.shape
    _, CG, KD, KH, KW = dw.shape
    KG = K // groups
    kh, kd, rest = item % KH, item // KH % KD, item // (KH * KD)
    ic, rest = rest % _blocks(CG) * BLOCK, rest // _blocks(CG)
    oc, g = rest % _blocks(KG) * BLOCK, rest // _blocks(KG)
    rows, inps = min(BLOCK, KG - oc), min(BLOCK, CG - ic)
    oc, in_x = oc + g * KG, ic + g * CG
    yf, xf = dy.reshape(-1), x.reshape(-1)
    y_row, x_row = OD * OH * OW, D * H * W
    offset_d, offset_h = kd * dilation[0] - padding[0], kh * dilation[1] - padding[1]
    lo_d, hi_d = _span(offset_d, stride[0], D, OD)
    lo_h, hi_h = _span(offset_h, stride[1], H, OH)
    lanes = np.empty((BLOCK * BLOCK, min(LANES, OW)), dw.dtype)
    for kw in range(KW):
        offset_w = kw * dilation[2] - padding[2]
        lo, hi = _span(offset_w, stride[2], W, OW)
        in_registers = rows == inps == BLOCK
        used = 1 if in_registers else min(LANES, hi - lo)
        lanes[:, : max(0, used)] = 0
        for n in range(N):
            for od in range(lo_d, hi_d):
                id = od * stride[0] + offset_d
                for oh in range(lo_h, hi_h):
                    ih = oh * stride[1] + offset_h
                    o = (((n * K + oc) * OD + od) * OH + oh) * OW
                    i = (((n * C + in_x) * D + id) * H + ih) * W + offset_w
                    if in_registers:
                        at = i + lo * stride[2]
                        _dot_4x4(
                            lanes, yf, o + lo, y_row, xf, at, x_row, stride[2], max(0, hi - lo)
                        )
                        continue
                    for ow in range(lo, hi, LANES):
                        for p in range(rows * inps):
                            to, at = (
                                o + p // inps * y_row + ow,
                                i + p % inps * x_row + ow * stride[2],
                            )
                            _dot_lanes(lanes, p, yf, to, xf, at, stride[2], min(LANES, hi - ow))
        for p in range(rows * inps):
            total = dw.dtype.type(0)
            for t in range(used):
                total += lanes[p, t]
            dw[oc + p // inps, ic + p % inps, kd, kh, kw] = total


def _wgrad(t, threads, dw, dy, x, stride, padding, dilation, groups):
    first, last = share(t, threads, _wgrad_items(dw, groups))
    for item in range(first, last):
        _wgrad_item(dw, dy, x, item, stride, padding, dilation, groups)


def wgrad(dw, dy, x, *numbers):
    """dw[oc, ic, k] = sum over n, o of dy[n, oc, o] * x[n, ic, o*stride - padding + k*dilation].

    Item: one row of taps for 4 x 4 channels; it alone writes those weights.
    """
    launch(_wgrad, get_num_threads(), dw.dtype, dw, dy, x, *numbers)


@njit(cache=True, error_model="numpy")
def _channel_sum(dy, k):
    """The sum of dy[:, k]: lane t takes every LANES-th element from t on, then lanes are added."""
    N, K, OD, OH, OW = dy.shape
    flat, size = dy.reshape(-1), OD * OH * OW
    lanes = np.zeros(min(LANES, size), dy.dtype)
    for n in range(N):
        for start in range(0, size, LANES):
            first = np.uint64((n * K + k) * size + start)
            for t in range(np.uint64(min(LANES, size - start))):
                lanes[t] += flat[first + t]
    total = dy.dtype.type(0)
    for t in range(lanes.size):
        total += lanes[t]
    return total


def _bgrad(t, threads, db, dy):
    first, last = share(t, threads, db.size)
    for k in range(first, last):
        db[k] = _channel_sum(dy, k)


def bgrad(db, dy):
    """db[k] = sum of dy[:, k]. Item: one channel."""
    launch(_bgrad, get_num_threads(), db.dtype, db, dy)
