"""Implementations that are right: everything that a judge must accept.

``LEGAL`` lists them with what each declares about its algorithm and precision. All have the
signature of torch.nn.functional's function of the same op and take any arguments that it takes;
where an algorithm does not apply (Winograd with a stride), they do what a library does and fall
back on a direct sum. Pure torch, so differentiable, unless ``gradient`` is False.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch.nn import functional as F

from refconv import functional

from .legal_parts import (
    FLOATS,
    HALVES,
    LEGAL,
    Legal,
    columns,
    conv,
    convolution,
    each,
    kept,
    legal,
    out_size,
    shaped,
    sides,
    split,
    terms,
    windows,
)

__all__ = ["LEGAL", "Legal", "kept"]

for kind in ("conv1d", "conv2d", "conv3d", "conv_transpose2d", "avg_pool2d", "max_pool2d"):
    numbers = (*FLOATS, "complex64") if kind.startswith("conv") else FLOATS
    LEGAL.append(Legal("torch", kind, getattr(F, kind), dtypes=numbers))
    # torch's CPU sums 16 bits in 16 bits in many backward passes.
    LEGAL.append(Legal("torch, 16 bits", kind, getattr(F, kind), {"precision": "narrow"}, HALVES))
for backend, most in (("naive", 2e5), ("im2col", float("inf")), ("numba", float("inf"))):
    ours = partial(functional.conv2d, backend=backend)
    LEGAL.append(Legal(backend, "conv2d", ours, dtypes=(*FLOATS, *HALVES, "complex64"), work=most))


@legal("unfold and matmul")
@convolution
def unfold_matmul(x, w, stride, dilation, groups):
    cols, rows, out = columns(x, w, stride, dilation, groups)
    return shaped(rows.flatten(2) @ cols.flatten(2, 3), out)


@legal("einsum")
@convolution
def einsum(x, w, stride, dilation, groups):
    cols, rows, out = columns(x, w, stride, dilation, groups)
    return shaped(torch.einsum("ngcto,gkct->ngko", cols, rows), out)


@legal("products, then torch.sum", work=2e6)
@convolution
def product_sum(x, w, stride, dilation, groups):
    cols, rows, out = columns(x, w, stride, dilation, groups)
    return shaped((cols[:, :, None] * rows[..., None]).sum((3, 4)), out)


@legal("channels backwards")
@convolution
def channels_backwards(x, w, stride, dilation, groups):
    grouped = x.reshape(len(x), groups, -1, *x.shape[2:]).flip(2)
    return conv(grouped.reshape(x.shape), w.flip(1), stride, dilation, groups)


@legal("split-K 2")
@convolution
def split_2(*call):
    return sum(split(*call, 2))


@legal("split-K 8")
@convolution
def split_8(*call):
    return sum(split(*call, 8))


@legal("tree over channels")
@convolution
def tree(x, w, stride, dilation, groups):
    parts = list(split(x, w, stride, dilation, groups, w.shape[1]))
    while len(parts) > 1:
        parts = [a + b for a, b in zip(parts[::2], parts[1::2], strict=False)] + (
            parts[-1:] if len(parts) % 2 else []
        )
    return parts[0]


@legal("one term after the other")
@convolution
def sequential(x, w, stride, dilation, groups):
    total = 0
    for a, b in terms(x, w, stride, dilation, groups):
        total = total + a * b
    return shaped(total, out_size(x, w, stride, dilation))


@legal("one term after the other, taps outside, fused")
@convolution
def fused(x, w, stride, dilation, groups):
    total = None
    for a, b in terms(x, w, stride, dilation, groups, taps_outside=True):
        total = a * b if total is None else torch.addcmul(total, a, b)
    return shaped(total, out_size(x, w, stride, dilation))


@legal("Kahan", work=2e6)
@convolution
def kahan(x, w, stride, dilation, groups):
    total = lost = torch.zeros((), dtype=x.dtype)
    for a, b in terms(x, w, stride, dilation, groups):
        term = a * b - lost
        new = total + term
        total, lost = new, (new - total) - term
    return shaped(total, out_size(x, w, stride, dilation))


@legal("tap by tap")
@convolution
def tap_by_tap(x, w, stride, dilation, groups):
    cols, rows, out = columns(x, w, stride, dilation, groups)
    return shaped(sum(rows[..., t] @ cols[:, :, :, t] for t in range(rows.shape[3])), out)


@legal("float64 inside", dtypes=("float32",))
@convolution
def wide(x, w, stride, dilation, groups):
    return conv(x.double(), w.double(), stride, dilation, groups).to(x.dtype)


def fourier(x, w, stride, dilation, groups):
    """Correlation at every position by FFT, then every ``stride``-th."""
    rank, axes = w.dim() - 2, tuple(range(2, w.dim()))
    reach = [d * (k - 1) + 1 for k, d in zip(w.shape[2:], dilation, strict=True)]
    spread = w.new_zeros(*w.shape[:2], *reach)
    spread[(..., *(slice(None, None, d) for d in dilation))] = w
    size = x.shape[2:]
    a = torch.fft.rfftn(x, size, axes).unflatten(1, (groups, -1))
    b = torch.fft.rfftn(spread, size, axes).conj().unflatten(0, (groups, -1))
    y = torch.fft.irfftn((a[:, :, None] * b).sum(3).flatten(1, 2), size, axes)
    steps = zip(size, reach, stride, strict=True)
    assert rank == len(size)
    return y[(..., *(slice(0, i - r + 1, s) for i, r, s in steps))]


@legal("FFT", algorithm="fft")
@convolution
def fft(*call):
    return fourier(*call)


@legal("FFT in float64", dtypes=("float32",), algorithm="fft")
@convolution
def fft_wide(x, w, *call):
    return fourier(x.double(), w.double(), *call).to(x.dtype)


@legal("channels_last in")
@convolution
def channels_last(x, w, stride, dilation, groups):
    last = torch.channels_last if x.dim() == 4 else torch.contiguous_format
    x, w = (a.contiguous(memory_format=last) for a in (x, w))
    return conv(x, w, stride, dilation, groups)


@legal("NHWC inside")
@convolution
def nhwc(x, w, stride, dilation, groups):
    cols, rows, out = columns(x, w, stride, dilation, groups)
    cols = cols.permute(1, 0, 4, 3, 2)  # group, image, output, tap, channel
    y = cols.flatten(3) @ rows.permute(0, 3, 2, 1).flatten(1, 2)[:, None]
    return shaped(y.permute(1, 0, 3, 2), out)


@legal("F.linear")
@convolution
def linear(x, w, stride, dilation, groups):
    cols, rows, out = columns(x, w, stride, dilation, groups)
    cols, rows = cols.flatten(2, 3).mT, rows.flatten(2)
    made = [F.linear(cols[:, g], rows[g]).mT for g in range(groups)]
    return shaped(torch.stack(made, 1), out)


@legal("NumPy and BLAS", gradient=False)
@convolution
def numpy_blas(x, w, stride, dilation, groups):
    cols, rows, out = columns(x.detach(), w.detach(), stride, dilation, groups)
    made = np.matmul(rows.flatten(2).numpy(), cols.flatten(2, 3).numpy())
    return shaped(torch.from_numpy(made), out)


@legal("image by image")
@convolution
def batch_loop(x, w, *call):
    return torch.cat([conv(x[n : n + 1], w, *call) for n in range(len(x))])


@legal("group by group")
@convolution
def group_loop(x, w, stride, dilation, groups):
    pairs = zip(x.chunk(groups, 1), w.chunk(groups), strict=True)
    return torch.cat([conv(a, b, stride, dilation) for a, b in pairs], 1)


@legal("backward of conv_transpose")
@convolution
def via_transposed(x, w, stride, dilation, groups):
    out = out_size(x, w, stride, dilation)
    z = x.new_zeros(len(x), len(w), *out, requires_grad=True)
    with torch.enable_grad():
        op = getattr(F, f"conv_transpose{w.dim() - 2}d")
        there = op(z, w, None, stride, 0, 0, groups, dilation)
        used = x[(..., *(slice(0, size) for size in there.shape[2:]))]
        return torch.autograd.grad(there, z, used, create_graph=torch.is_grad_enabled())[0]


@legal("vmap over images")
@convolution
def vmapped(x, w, *call):
    return torch.func.vmap(lambda one: conv(one[None], w, *call)[0])(x)


@legal("conv3d of depth 1")
@convolution
def as_conv3d(x, w, stride, dilation, groups):
    return conv(x[:, :, None], w[:, :, None], (1, *stride), (1, *dilation), groups)[:, :, 0]


#: Lavin and Gray's matrices: A.T, G, B.T.
F2 = (
    [[1, 1, 1, 0], [0, 1, -1, -1]],
    [[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]],
    [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
)
F4 = (
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6], [1 / 24, 1 / 12, 1 / 6],
     [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]],
    [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0],
     [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]],
)  # fmt: skip


def winograd(x, w, stride, dilation, groups, matrices):
    """Tile by tile; a direct sum where the algorithm does not apply."""
    if w.shape[2:] != (3, 3) or {*stride, *dilation} != {1}:
        return conv(x, w, stride, dilation, groups)
    at, g, bt = (torch.tensor(m, dtype=x.dtype) for m in matrices)
    m, (height, width) = len(at), out_size(x, w, stride, dilation)
    rows, cols = -(-height // m), -(-width // m)
    x = F.pad(x, (0, cols * m - width, 0, rows * m - height))
    tiles = x.unfold(2, m + 2, m).unfold(3, m + 2, m).unflatten(1, (groups, -1))
    v = torch.einsum("ia,ngcpqab,jb->ijngcpq", bt, tiles, bt)
    u = torch.einsum("ia,gkcab,jb->ijgkc", g, w.unflatten(0, (groups, -1)), g)
    product = torch.einsum("ijgkc,ijngcpq->ijngkpq", u, v)
    y = torch.einsum("ai,ijngkpq,bj->ngkpaqb", at, product, at)
    return y.reshape(len(x), len(w), rows * m, cols * m)[..., :height, :width]


legal("Winograd F(2x2)", algorithm="winograd_f2")(convolution(partial(winograd, matrices=F2)))
legal("Winograd F(4x4)", algorithm="winograd_f4")(convolution(partial(winograd, matrices=F4)))


def rounded(x, w, *call, rounding):
    return conv(rounding(x), rounding(w), *call)


ROUNDINGS = {
    "TF32": ("tf32", lambda a: kept(a, 11)),
    "TF32, truncated": ("tf32", lambda a: kept(a, 11, chop=True)),
    "bfloat16 inputs": ("bf16", lambda a: a.bfloat16().float()),
    "float16 inputs": ("fp16", lambda a: a.half().float()),
}
for name, (precision, how) in ROUNDINGS.items():
    body = convolution(partial(rounded, rounding=how))
    legal(name, dtypes=("float32",), precision=precision, gradient=False)(body)


@legal("conv2d of height 1", op="conv1d")
@convolution
def conv1d_as_2d(x, w, stride, dilation, groups):
    return conv(x[:, :, None], w[:, :, None], (1, *stride), (1, *dilation), groups)[:, :, 0]


legal("unfold and matmul", op="conv1d")(unfold_matmul)
legal("FFT", op="conv1d", algorithm="fft")(fft)


@legal("conv2d plane by plane", op="conv3d")
@convolution
def conv3d_as_2d(x, w, stride, dilation, groups):
    depth = out_size(x, w, stride, dilation)[0]
    planes = [
        sum(
            conv(
                x[:, :, o * stride[0] + k * dilation[0]],
                w[:, :, k],
                stride[1:],
                dilation[1:],
                groups,
            )
            for k in range(w.shape[2])
        )
        for o in range(depth)
    ]
    return torch.stack(planes, 2)


legal("one term after the other", op="conv3d", work=5e6)(sequential)


def transposed(body):
    """torch's arguments of conv_transpose2d → ``body(x, w, stride, dilation, groups)``, the whole
    scattered image, then cut.
    """

    def call(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
        stride, dilation, pad, more = (
            each(v, 2) for v in (stride, dilation, padding, output_padding)
        )
        x = input if input.dim() == 4 else input[None]
        y = F.pad(body(x, weight, stride, dilation, groups), (0, more[1], 0, more[0]))
        size = [s - 2 * p for s, p in zip(y.shape[2:], pad, strict=True)]
        y = y[:, :, pad[0] : pad[0] + size[0], pad[1] : pad[1] + size[1]]
        y = y if bias is None else y + bias[:, None, None]
        return y if input.dim() == 4 else y[0]

    return call


@legal("zeros between, then conv2d", op="conv_transpose2d")
@transposed
def zero_stuffed(x, w, stride, dilation, groups):
    height, width = ((n - 1) * s + 1 for n, s in zip(x.shape[2:], stride, strict=True))
    wide = x.new_zeros(*x.shape[:2], height, width)
    wide[:, :, :: stride[0], :: stride[1]] = x
    turned = w.unflatten(0, (groups, -1)).swapaxes(1, 2).flatten(0, 1).flip(2, 3)
    edge = [d * (k - 1) for d, k in zip(dilation, w.shape[2:], strict=True)]
    wide = F.pad(wide, (edge[1], edge[1], edge[0], edge[0]))
    return conv(wide, turned, (1, 1), dilation, groups)


@legal("matmul and fold", op="conv_transpose2d")
@transposed
def matmul_fold(x, w, stride, dilation, groups):
    rows = w.reshape(groups, len(w) // groups, -1)
    cols = rows.mT @ x.flatten(2).unflatten(1, (groups, -1))
    reach = zip(x.shape[2:], stride, dilation, w.shape[2:], strict=True)
    size = [(n - 1) * s + d * (k - 1) + 1 for n, s, d, k in reach]
    return F.fold(cols.flatten(1, 2), size, w.shape[2:], dilation, 0, stride)


def pooling(body, fill=0.0):
    """Plain windows (N, C, *out, taps) of a padded input; for torch's first four arguments."""

    def call(input, kernel_size, stride=None, padding=0, **rest):
        kernel = each(kernel_size, 2)
        stride = kernel if stride is None else each(stride, 2)
        dilation = each(rest.pop("dilation", 1), 2)
        if rest.pop("ceil_mode", False) or any(v not in (None, True, False) for v in rest.values()):
            raise NotImplementedError("windows that end beyond the padding")
        x = input if input.dim() == 4 else input[None]
        x = F.pad(x, sides(padding, kernel, dilation), value=fill)
        y = body(windows(x, x.new_empty(1, 1, *kernel), stride, dilation).flatten(4))
        return y if input.dim() == 4 else y[0]

    return call


@legal("mean of windows", op="avg_pool2d")
@pooling
def window_mean(view):
    return view.mean(-1)


@legal("weights 1/k, one after the other", op="avg_pool2d")
@pooling
def weighted(view):
    return sum(view[..., t] * (1 / view.shape[-1]) for t in range(view.shape[-1]))


legal("largest of windows", op="max_pool2d")(pooling(lambda v: v.amax(-1), fill=-torch.inf))
