"""THE KERNEL CONTRACT: what a kernel is given, what it must do, and what it need not check.

A kernel is a pure function ``(outputs…, inputs…, numbers…) -> None``. It writes *every* element of
its outputs (they arrive poisoned, never zeroed), leaves its inputs as they are, checks nothing and
imports nothing of refconv: everything was checked once, before (``refconv/normalize.py``).

Layout
    Arrays are C-contiguous with three spatial axes, ``(N, C, D, H, W)``; 1-D and 2-D problems
    arrive with leading axes of size 1. N may be 0; other sizes only where torch allows it.
    One call has one dtype: float32, float64, complex64, complex128 or an integer (which wraps, as
    in C). float16 and bfloat16 arrive as float32, and the caller rounds the result once when it
    stores it: that is "accumulate in float32".

Names
    Loop indices  n g oc ic od oh ow kd kh kw id ih iw;  sizes in capitals;  triples are (D, H, W).
    ``padding`` is the low side only: how far the first window starts before the input. The high
    side is implied by the output's size. It may exceed the kernel, and be negative.

Convolution: one geometry, four passes (cross-correlation, as torch computes it)
    x (N, C, *in)   w (K, C/groups, *kernel)   y (N, K, *out)   b (K,) or (C,); size 0: no bias
    y[n, oc, o] = b[oc] + sum over ic, k of x[n, ic, o*stride - padding + k*dilation] * w[oc, ic, k]
    Terms outside the input are skipped, not multiplied by zero (0 * inf would be NaN).
    ``conv.fprop (y,  x,  w, b, stride, padding, dilation, groups)``   y from x
    ``conv.dgrad (dx, dy, w, b, stride, padding, dilation, groups)``   dx from dy; b: conv_transpose
    ``conv.wgrad (dw, dy, x,    stride, padding, dilation, groups)``   dw from x and dy
    ``conv.bgrad (db, dy)``                                            db[k] = sum of dy[:, k]
    The sizes of x and y need not be tied by the size formula: y may stop early (the last rows of x
    are unused) or reach further than x (those windows see fewer taps).
    Nothing is conjugated: for complex gradients the caller passes conjugates.

Pooling: a window is a start, a stop and a step per axis, already clipped to the input
    ``d h w`` are int64 arrays, one row an output position along that axis.
    ``pool.max_pool (y, index, x, d, h, w, step)``   rows (start, stop); taps start, start+step, …
        Scanned in the order D, H, W. A later tap wins only if it is greater, or NaN: the first of
        equals and the LAST NaN win, as in torch. ``index`` (int64) is the flat position
        id*IH*IW + ih*IW + iw. A window without a tap gives -inf (an integer's minimum) and index
        -1, "nowhere".
    ``pool.max_pool_values (y, x, d, h, w, step)``   the same values, without positions
    ``pool.avg_pool (y, x, d, h, w)``   rows (start, stop, extent); divisor = product of extents
        Sum first, divide once; integers divide towards zero. A window without a tap gives 0.
    ``pool.avg_pool_backward (dx, dy, d, h, w)``   dx[i] = sum of dy[o] / divisor[o] where o holds i

Indexed moves: ``(P, S)`` matrices, P planes of flat spatial positions; indices are in range
    ``index.gather (y, x, index)``        y[p, s] = x[p, index[p, s]]; 0 from nowhere (-1)
    ``index.scatter_add (y, x, index)``   y = 0; y[p, index[p, s]] += x[p, s] in the order of s;
                                          nothing to nowhere (-1)
    ``index.scatter (y, x, index)``       y = 0; y[p, index[p, s]] = x[p, s]; the last s wins

Columns: ``col (N, C, KD, KH, KW, OD, OH, OW)``, x (N, C, *in)
    ``columns.unfold (col, x, stride, padding, dilation)``   copies; 0 outside the input
    ``columns.fold (x, col, stride, padding, dilation)``     the transpose: sums every copy back

Padding: ``m0 … m4`` are int64 maps, one an axis, from output to input position; -1: the constant
    ``pad.pad (y, x, m0, m1, m2, m3, m4, value)``        ``value`` is a scalar of x's dtype
    ``pad.pad_backward (dx, dy, m0, m1, m2, m3, m4)``    dx = 0; dy is added where it came from

Sub-packages: ``naive`` is read first and defines all of this by example; ``im2col``, ``numba_cpu``,
``numba_cuda`` and ``cuda`` fill the same names faster.
"""
