"""Tiny convolutions: what it adds to ``conv`` is that nothing is started, planned or checked.

Below some hundred thousand multiply-adds the work takes a few microseconds: less than it takes to
plan a faster kernel and to wake a second thread. So one thread does all in one compiled call, and
what depends on shapes alone comes as a *recipe*, an int32 array that a caller may keep: sizes, then
for every tap and output position the input position where they meet, or -1. fprop and dgrad differ
in their recipe only.

Columns are gathered (im2col of one image and group, in cache). Then four output channels are summed
side by side, a vector of output positions at a time, in registers: one load and four FMAs a step.
Taps outside the input are zeros in the columns; where a weight is infinite or NaN, that is wrong,
and plain loops that leave them out run instead.

Work: one thread does it all. Memory: the columns, taps * channels * positions elements. Still slow:
gathering moves one element at a time, and a depthwise layer gathers as much as it multiplies.
"""

from functools import lru_cache

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic, overload

from .vector import BYTES, fma, lanes, load, load_first, splat, store_first, total, zeros

#: Numbers before the table of a recipe, and elements that its rows are rounded up to.
HEAD, LANES = 12, BYTES // 4


@intrinsic
def _pointer(typing, address, like):
    """The pointer to elements of ``like``'s dtype at an address."""
    kind = types.CPointer(like.dtype)

    def code(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(kind))

    return kind(types.int64, like), code


def _flat(operand, like, size):
    """An operand as a flat array: it is one, or the address of ``size`` elements."""


@overload(_flat, inline="always")
def _flat_overload(operand, like, size):
    if isinstance(operand, types.Integer):
        return lambda operand, like, size: carray(_pointer(operand, like), (size,))
    return lambda operand, like, size: operand


@njit(cache=True, error_model="numpy")
def _table(recipe, row, out, inp, kernel, stride, padding, dilation, gather):
    """recipe[HEAD + t*row + o]: where tap t of output position o is in the input, or -1.

    ``gather``: o and i are positions of the convolution's y and x; else (dgrad) of x and y.
    """
    recipe[HEAD:] = -1
    at = HEAD
    for kd in range(kernel[0]):
        for kh in range(kernel[1]):
            for kw in range(kernel[2]):
                k, to = (kd * dilation[0], kh * dilation[1], kw * dilation[2]), at
                for od in range(out[0]):
                    for oh in range(out[1]):
                        for ow in range(out[2]):
                            o = (od, oh, ow)
                            flat, inside = 0, True
                            for a in range(3):
                                if gather:
                                    i = o[a] * stride[a] - padding[a] + k[a]
                                else:
                                    far = o[a] + padding[a] - k[a]
                                    i = far // stride[a]
                                    inside = inside and far % stride[a] == 0
                                inside = inside and 0 <= i < inp[a]
                                flat = flat * inp[a] + i
                            if inside:
                                recipe[to] = flat
                            to += 1
                at += row


def _recipe(out, inp, w, b_size, stride, padding, dilation, groups, gather):
    """The recipe of a call, from its arrays' shapes (N, C, D, H, W)."""
    KG, CG, *kernel = w[0] // groups, *w[1:]
    taps, positions, plane = (int(np.prod(n)) for n in (kernel, out[2:], inp[2:]))
    row = -(-positions // LANES) * LANES
    outs, inps = (KG, CG) if gather else (CG, KG)
    steps = (CG * taps, taps) if gather else (taps, CG * taps)
    made = np.empty(HEAD + taps * row, np.int32)
    spatial = tuple(out[2:]), tuple(inp[2:]), tuple(kernel)
    _table(made, row, *spatial, stride, padding, dilation, gather)
    outside = positions * taps > np.count_nonzero(made[HEAD:] >= 0)
    made[:HEAD] = (out[0], groups, outs, inps, taps, positions, row, plane, *steps, b_size, outside)
    return made


@njit(cache=True, error_model="numpy")
def _gather(col, inp, first, inps, plane, recipe, cells):
    """col[c*cells + t*row + o] = the input of channel c at tap t of position o."""
    to, zero = np.uint64(0), col.dtype.type(0)
    for _ in range(inps):
        for cell in range(cells):
            i = recipe[np.uint64(HEAD) + cell]
            col[to + cell] = inp[np.uint64(first + i)] if i >= 0 else zero
        to += cells
        first += plane


@njit(cache=True, error_model="numpy")
def _finite(w):
    """Whether every weight is finite: x * 0 is NaN for an infinity or NaN, else 0."""
    step, nothing, sum = lanes(w), zeros(w), zeros(w)
    for i in range(0, w.size, step):
        sum = fma(load_first(w, i, min(step, w.size - i)), nothing, sum)
    return total(sum) == 0


@njit(cache=True, error_model="numpy")
def _four_rows(out, o, P, row, k0, k1, k2, k3, starts, k, w, w_at, w_out, w_inp, inps, taps, col):
    """out[o + k*P : …] for the channels k0 … k3 (equal ones where there are fewer): all P sums."""
    for j in range(0, P, lanes(out)):
        s0, s1, s2, s3 = splat(starts, k0), splat(starts, k1), splat(starts, k2), splat(starts, k3)
        at = j
        for q in range(inps):
            i = w_at + q * w_inp
            i0, i1, i2, i3 = i + k0 * w_out, i + k1 * w_out, i + k2 * w_out, i + k3 * w_out
            for t in range(taps):
                c = load(col, at)
                s0, s1 = fma(splat(w, i0 + t), c, s0), fma(splat(w, i1 + t), c, s1)
                s2, s3 = fma(splat(w, i2 + t), c, s2), fma(splat(w, i3 + t), c, s3)
                at += row
        last = min(lanes(out), P - j)
        store_first(out, o + k0 * P + j, s0, last)
        store_first(out, o + k1 * P + j, s1, last)
        store_first(out, o + k2 * P + j, s2, last)
        store_first(out, o + k3 * P + j, s3, last)


@njit(cache=True, error_model="numpy")
def _plain_rows(out, o, recipe, outs, starts, w, w_at, w_out, w_inp, inps, taps, col):
    """The same for all channels, one sum after another, without the taps outside the input."""
    P, row = recipe[5], recipe[6]
    for k in range(outs):
        for j in range(P):
            sum = starts[k]
            for q in range(inps):
                for t in range(taps):
                    if recipe[HEAD + t * row + j] >= 0:
                        sum += w[w_at + k * w_out + q * w_inp + t] * col[(q * taps + t) * row + j]
            out[o + k * P + j] = sum


@njit(cache=True, error_model="numpy", inline="always")
def _long(recipe, i):
    return np.int64(recipe[i])


@njit(cache=True, error_model="numpy")
def run(y, x, w, b, recipe, like):
    """The whole call. Arrays are flat, or all of them are addresses of elements of like's dtype."""
    N, G, outs, inps = _long(recipe, 0), _long(recipe, 1), _long(recipe, 2), _long(recipe, 3)
    taps, P, row, plane = _long(recipe, 4), _long(recipe, 5), _long(recipe, 6), _long(recipe, 7)
    w_out, w_inp, b_size = _long(recipe, 8), _long(recipe, 9), _long(recipe, 10)
    out, inp = _flat(y, like, N * G * outs * P), _flat(x, like, N * G * inps * plane)
    wf, bf = _flat(w, like, G * outs * inps * taps), _flat(b, like, b_size)
    cells = np.uint64(taps * row)
    col, starts = np.empty(inps * taps * row, out.dtype), np.zeros(outs, out.dtype)
    plain = recipe[11] != 0 and not _finite(wf)
    for n in range(N):
        for g in range(G):
            _gather(col, inp, (n * G + g) * inps * plane, inps, plane, recipe, cells)
            o, w_at, end = (n * G + g) * outs * P, g * outs * inps * taps, outs - 1
            if bf.size > 0:
                for k in range(outs):
                    starts[k] = bf[g * outs + k]
            if plain:
                _plain_rows(out, o, recipe, outs, starts, wf, w_at, w_out, w_inp, inps, taps, col)
                continue
            for k in range(0, outs, 4):
                k1, k2, k3 = min(k + 1, end), min(k + 2, end), min(k + 3, end)
                _four_rows(out, o, P, row, k, k1, k2, k3, starts, k, wf, w_at, w_out, w_inp, inps,
                           taps, col)  # fmt: skip


@lru_cache(maxsize=256)
def fprop_shortcut(dtype, y, x, w, b, stride, padding, dilation, groups):
    """``run`` and the rest of its arguments for ``fprop``, from the arrays' shapes."""
    recipe = _recipe(y, x, w, b[0], stride, padding, dilation, groups, True)
    return run, (recipe, np.empty(0, dtype))


@lru_cache(maxsize=256)
def dgrad_shortcut(dtype, dx, dy, w, b, stride, padding, dilation, groups):
    """``run`` and the rest of its arguments for ``dgrad``, from the arrays' shapes."""
    recipe = _recipe(dx, dy, w, b[0], stride, padding, dilation, groups, False)
    return run, (recipe, np.empty(0, dtype))


def fprop(y, x, w, b, *numbers):
    """y[n, oc, o] = b[oc] + sum of x[n, ic, o*stride - padding + k*dilation] * w[oc, ic, k]."""
    _, rest = fprop_shortcut(y.dtype, y.shape, x.shape, w.shape, b.shape, *numbers)
    run(y.ravel(), x.ravel(), w.ravel(), b, *rest)


def dgrad(dx, dy, w, b, *numbers):
    """dx[n, ic, i] = b[ic] + sum of dy[n, oc, o] * w[oc, ic, k], i = o*stride - padding + k*dil."""
    _, rest = dgrad_shortcut(dx.dtype, dx.shape, dy.shape, w.shape, b.shape, *numbers)
    run(dx.ravel(), dy.ravel(), w.ravel(), b, *rest)
