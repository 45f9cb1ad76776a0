"""Convolution as loops: the start of the ladder, every term of the sum visited by name.

A convolution slides a small window, the kernel ``w``, over an input ``x``. At each output position
it multiplies what lies under the window by the kernel, element by element, and sums the products:

    y[n, oc, o] = b[oc] + sum over ic and k of  x[n, ic, i] * w[oc, ic, k]
    where, on each of the three axes,  i = o * stride - padding + k * dilation

``o`` is an output position, ``k`` a tap of the kernel, and ``i`` is where tap ``k`` of window ``o``
lands in the input. ``padding`` starts the first window before the input begins; ``stride`` is the
step from one window to the next; ``dilation`` is the step from one tap to the next. A tap outside
the input adds nothing.

That one relation between o, k and i is all there is. The three passes below walk through the same
terms in the same order, and differ only in which array they sum into:

    fprop   y += x * w          dgrad   dx += dy * w          wgrad   dw += dy * x

(``bgrad``, the fourth, sums dy.) With groups, the channels are dealt out in equal shares: output
channel ``oc`` of group ``g`` reads only the ``CG`` input channels of that group. ``ic`` counts
inside the group, as the second axis of w does, and ``c = g * CG + ic`` is the same channel in x.
"""

import numpy as np


def fprop(
    y: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray,
    stride: tuple[int, int, int],
    padding: tuple[int, int, int],
    dilation: tuple[int, int, int],
    groups: int,
) -> None:
    """Forward pass: each element of y gathers its window of x, weighted by the kernel.

    Shapes:
        y (N, K, OD, OH, OW)   x (N, C, ID, IH, IW)   w (K, CG, KD, KH, KW)   b (K,) or (0,)
    Source: torch.nn.functional.conv3d; Dumoulin and Visin, arXiv:1603.07285.
    Cost: CG*KD*KH*KW multiply-adds for each of the N*K*OD*OH*OW elements of y.
    """
    N, K, OD, OH, OW = y.shape
    _, _, ID, IH, IW = x.shape
    _, CG, KD, KH, KW = w.shape
    stride_d, stride_h, stride_w = stride
    padding_d, padding_h, padding_w = padding
    dilation_d, dilation_h, dilation_w = dilation

    for n in range(N):
        for oc in range(K):
            g = oc // (K // groups)
            for od in range(OD):
                for oh in range(OH):
                    for ow in range(OW):
                        total = y.dtype.type(0)  # in y's own dtype: float32 rounds, int32 wraps
                        for ic in range(CG):
                            c = g * CG + ic
                            for kd in range(KD):
                                id = od * stride_d - padding_d + kd * dilation_d
                                for kh in range(KH):
                                    ih = oh * stride_h - padding_h + kh * dilation_h
                                    for kw in range(KW):
                                        iw = ow * stride_w - padding_w + kw * dilation_w
                                        if 0 <= id < ID and 0 <= ih < IH and 0 <= iw < IW:
                                            total += x[n, c, id, ih, iw] * w[oc, ic, kd, kh, kw]
                        if b.size > 0:
                            total += b[oc]
                        y[n, oc, od, oh, ow] = total


def dgrad(
    dx: np.ndarray,
    dy: np.ndarray,
    w: np.ndarray,
    b: np.ndarray,
    stride: tuple[int, int, int],
    padding: tuple[int, int, int],
    dilation: tuple[int, int, int],
    groups: int,
) -> None:
    """Gradient of the input: each element of dy is spread over its window of dx through the kernel.

    y took ``x[i] * w[k]``, so x[i] gets back ``dy * w[k]`` from every y it took part in. Called
    forward, with a bias, this same pass is the transposed convolution: each element of a small
    image stamps the kernel on a larger one.

    Shapes:
        dx (N, C, ID, IH, IW)   dy (N, K, OD, OH, OW)   w (K, CG, KD, KH, KW)   b (C,) or (0,)
    Source: torch.nn.functional.conv_transpose3d; arXiv:1603.07285, section 4.
    Cost: the same multiply-adds as fprop, each one reading and writing dx.
    """
    N, K, OD, OH, OW = dy.shape
    _, C, ID, IH, IW = dx.shape
    _, CG, KD, KH, KW = w.shape
    stride_d, stride_h, stride_w = stride
    padding_d, padding_h, padding_w = padding
    dilation_d, dilation_h, dilation_w = dilation

    for n in range(N):
        for c in range(C):
            # Before any stamp: what no window reaches keeps it.
            dx[n, c] = b[c] if b.size > 0 else 0

    for n in range(N):
        for oc in range(K):
            g = oc // (K // groups)
            for od in range(OD):
                for oh in range(OH):
                    for ow in range(OW):
                        grad = dy[n, oc, od, oh, ow]
                        for ic in range(CG):
                            c = g * CG + ic
                            for kd in range(KD):
                                id = od * stride_d - padding_d + kd * dilation_d
                                for kh in range(KH):
                                    ih = oh * stride_h - padding_h + kh * dilation_h
                                    for kw in range(KW):
                                        iw = ow * stride_w - padding_w + kw * dilation_w
                                        if 0 <= id < ID and 0 <= ih < IH and 0 <= iw < IW:
                                            dx[n, c, id, ih, iw] += grad * w[oc, ic, kd, kh, kw]


def wgrad(
    dw: np.ndarray,
    dy: np.ndarray,
    x: np.ndarray,
    stride: tuple[int, int, int],
    padding: tuple[int, int, int],
    dilation: tuple[int, int, int],
    groups: int,
) -> None:
    """Gradient of the kernel: each tap sums dy times the input it met, over all images and windows.

    Shapes:
        dw (K, CG, KD, KH, KW)   dy (N, K, OD, OH, OW)   x (N, C, ID, IH, IW)
    Source: torch.nn.grad.conv3d_weight.
    Cost: the same multiply-adds as fprop, summed into the few elements of dw.
    """
    N, K, OD, OH, OW = dy.shape
    _, _, ID, IH, IW = x.shape
    _, CG, KD, KH, KW = dw.shape
    stride_d, stride_h, stride_w = stride
    padding_d, padding_h, padding_w = padding
    dilation_d, dilation_h, dilation_w = dilation

    dw[:] = 0

    for n in range(N):
        for oc in range(K):
            g = oc // (K // groups)
            for od in range(OD):
                for oh in range(OH):
                    for ow in range(OW):
                        grad = dy[n, oc, od, oh, ow]
                        for ic in range(CG):
                            c = g * CG + ic
                            for kd in range(KD):
                                id = od * stride_d - padding_d + kd * dilation_d
                                for kh in range(KH):
                                    ih = oh * stride_h - padding_h + kh * dilation_h
                                    for kw in range(KW):
                                        iw = ow * stride_w - padding_w + kw * dilation_w
                                        if 0 <= id < ID and 0 <= ih < IH and 0 <= iw < IW:
                                            dw[oc, ic, kd, kh, kw] += grad * x[n, c, id, ih, iw]


def bgrad(db: np.ndarray, dy: np.ndarray) -> None:
    """Gradient of the bias: b[oc] was added to all of channel oc, so it collects all of its dy.

    Shapes:
        db (K,)   dy (N, K, OD, OH, OW)
    Cost: one addition for each element of dy.
    """
    N, K, OD, OH, OW = dy.shape
    for oc in range(K):
        total = db.dtype.type(0)
        for n in range(N):
            for od in range(OD):
                for oh in range(OH):
                    for ow in range(OW):
                        total += dy[n, oc, od, oh, ow]
        db[oc] = total
