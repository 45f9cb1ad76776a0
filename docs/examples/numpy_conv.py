"""A convolution in NumPy alone, with torch's signature: something that a pack can verify."""

import numpy as np


def conv2d(x, w, b=None, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    """Shifted products: one tap of the kernel after the other, summed in float32 at least.

    Shapes:
        x (N, C, H, W) or (C, H, W)   w (K, C/groups, R, S)   b (K,)   result (N, K, Q, P)
    """
    wide = np.promote_types(x.dtype, np.float32)
    images = np.pad(x[None] if x.ndim == 3 else x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    (n, c, *size), (k, _, *kernel) = images.shape, w.shape
    images = images.reshape(n, groups, c // groups, *size).astype(wide)
    filters = w.reshape(groups, k // groups, c // groups, *kernel).astype(wide)
    reach = [d * (r - 1) + 1 for d, r in zip(dilation, kernel, strict=True)]
    out = [(i - e) // s + 1 for i, e, s in zip(size, reach, stride, strict=True)]
    y = np.zeros((n, groups, k // groups, *out), wide)
    for tap in np.ndindex(*kernel):
        first = [t * d for t, d in zip(tap, dilation, strict=True)]
        steps = [slice(f, f + s * o, s) for f, s, o in zip(first, stride, out, strict=True)]
        seen = images[:, :, :, steps[0], steps[1]][..., : out[0], : out[1]]
        y += np.einsum("gkc,ngchw->ngkhw", filters[:, :, :, tap[0], tap[1]], seen, optimize=True)
    y = y.reshape(n, k, *out) + (0 if b is None else b.astype(wide)[:, None, None])
    return (y[0] if x.ndim == 3 else y).astype(x.dtype)
