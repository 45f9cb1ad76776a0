"""What the drawings of docs/learn show, computed by the code that the chapters explain.

Each function gives plain lists and numbers: ``digest`` of them stands in the picture, so that a
picture of other numbers is found without comparing drawings.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from refconv import window
from refconv.kernels.im2col.columns import unfold
from refconv.kernels.naive import conv
from refconv.kernels.numba_cpu.winograd_matrices import matrices
from refconv.learn.demo import CS231N
from refconv.learn.receptive import Node, fields
from refconv.notation import build
from refconv.oracle import reference

Data = dict[str, Any]
NO_BIAS = np.zeros(0, np.float32)


def digest(data: Data) -> str:
    """Sixteen hexadecimal digits of everything that is drawn.

    Example:
        >>> digest({"a": [1, 2]}) == digest({"a": [1, 2]}) != digest({"a": [1, 3]})
        True
    """
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def windows() -> Data:
    """Rows of windows over one axis: plain, padded and strided, with a rest, dilated."""
    rows = []
    for size, kernel, stride, padding, dilation in (
        (8, 3, 1, 0, 1), (8, 3, 1, 1, 1), (8, 4, 2, 1, 1), (8, 3, 3, 0, 1), (8, 3, 2, 0, 2),
    ):  # fmt: skip
        out = window.out_size(size, kernel, stride, padding, dilation)
        taps = [[o * stride - padding + k * dilation for k in range(kernel)] for o in range(out)]
        rows.append(
            {"size": size, "kernel": kernel, "stride": stride, "padding": padding,
             "dilation": dilation, "windows": taps,
             "left": size + 2 * padding - 1 - taps[-1][-1] - padding}
        )  # fmt: skip
    return {"rows": rows}


def padded() -> Data:
    """cs231n: the padded first channel, and the corner of every window."""
    x = np.pad(np.array(CS231N["input"][0]), 1).tolist()
    stride, size, kernel = 2, len(CS231N["input"][0]), len(CS231N["weight"][0][0])
    out = window.out_size(size, kernel, stride, 1)
    corners = [[h * stride, w * stride] for h in range(out) for w in range(out)]
    return {"grid": x, "pad": 1, "kernel": kernel, "corners": corners, "output": CS231N["output"]}


def columns() -> Data:
    """A 3x4 image under a 2x2 kernel, unfolded: row a tap, column a window."""
    x = np.arange(1, 13).reshape(1, 1, 1, 3, 4)
    col = np.empty((1, 1, 1, 2, 2, 1, 2, 3), x.dtype)
    unfold(col, x, (1, 1, 1), (0, 0, 0), (1, 1, 1))
    return {"image": x[0, 0, 0].tolist(), "kernel": 2, "columns": col.reshape(4, 6).tolist()}


def stamps() -> Data:
    """1-D transposed convolution of three numbers, kernel 3 and 4 with stride 2: who adds where."""
    found = []
    for kernel in (3, 4):
        x, w = np.array([1.0, 2.0, 3.0]), np.ones(kernel)
        size = window.conv_transpose_out_size(3, kernel, stride=2)
        y = np.empty((1, 1, 1, 1, size))
        shaped = x.reshape(1, 1, 1, 1, 3), w.reshape(1, 1, 1, 1, kernel)
        conv.dgrad(y, *shaped, NO_BIAS, (1, 1, 2), (0, 0, 0), (1, 1, 1), 1)
        terms = window.taps_per_input(np.arange(size), 3, kernel, 2, 0)
        found.append(
            {"kernel": kernel, "x": x.tolist(), "starts": [0, 2, 4], "y": y.ravel().tolist(),
             "terms": terms.tolist()}
        )  # fmt: skip
    return {"cases": found}


def pools() -> Data:
    """Pooling windows: floor, ceil_mode, padded, adaptive."""
    rows = []
    for name, size, kernel, stride, padding, ceil in (
        ("kernel 2, stride 2", 7, 2, 2, 0, False),
        ("the same, ceil_mode", 7, 2, 2, 0, True),
        ("kernel 3, stride 2, padding 1", 7, 3, 2, 1, False),
    ):
        out = window.out_size(size, kernel, stride, padding, ceil_mode=ceil)
        spans = [list(window.pool_window(o, size, kernel, stride, padding)) for o in range(out)]
        rows.append({"name": name, "size": size, "windows": spans})
    spans = [list(window.adaptive_window(o, 7, 3)) for o in range(3)]
    rows.append({"name": "adaptive, 7 to 3", "size": 7, "windows": spans})
    return {"rows": rows}


def receptive() -> Data:
    """LeNet's convolutions and poolings: what the first and the last output see of one axis."""
    shapes = [
        ("conv2d", (3, 32, 32), (6, 3, 5, 5)),
        ("max_pool2d", (6, 28, 28), None),
        ("conv2d", (6, 14, 14), (16, 6, 5, 5)),
        ("max_pool2d", (16, 10, 10), None),
    ]
    nodes, outs = [], []
    for i, (op, x, w) in enumerate(shapes):
        given = {"input": (1, *x)} | ({"weight": w} if w else {})
        numbers = {} if w else {"kernel_size": 2}
        problem = build(op, given, numbers, "float32")
        nodes.append(Node(problem, (i - 1,)))
        outs.append(problem.out_size[0])
    axes = [f.axes[0] for f in fields(nodes)]
    return {
        "size": 32,
        "layers": [
            {"op": op, "out": out, "field": a.size, "stride": int(a.stride),
             "windows": [list(a.window(0)), list(a.window(out - 1))]}
            for (op, _, _), out, a in zip(shapes, outs, axes, strict=True)
        ],
    }  # fmt: skip


def winograd() -> Data:
    """F(2,3) and F(4,3): tile sizes, products for one tile and without, largest constants."""
    made = []
    for m in (2, 4):
        at, g, bt = matrices(m, 3)
        a = m + 2
        grow = 1.0
        for matrix in (at, g, bt):
            grow *= max(sum(abs(float(v)) for v in row) for row in matrix)
        made.append({"m": m, "tile": a, "products": a * a, "direct": 9 * m * m, "growth": grow})
    return {"forms": made}


def errors() -> Data:
    """float32 dot products of more and more terms: the proven bound, the noise, and what one
    order of summation and float32 inputs rounded to TF32 really give; relative to S.

    Two digits are kept: other versions of NumPy may sum in another order.
    """
    rng, rows = np.random.default_rng(0), []
    for terms in (8, 32, 128, 512, 2048):
        x = rng.standard_normal((1, terms, 8, 8)).astype(np.float32)
        w = rng.standard_normal((4, terms, 1, 1)).astype(np.float32)
        problem = build("conv2d", {"input": x.shape, "weight": w.shape}, {}, "float32")
        expected = reference.forward(problem, {"input": x, "weight": w})[0]
        products = x[:, None] * w[None, :, :, 0, 0, None, None]
        scale = np.abs(products.astype(np.float64)).sum(2)
        naive = np.cumsum(products, axis=2, dtype=np.float32)[:, :, -1]
        short = [truncated(x), truncated(w)]  # as a tensor core reads them
        tf32 = np.einsum("nchw,kc->nkhw", short[0], short[1][:, :, 0, 0])
        noise = expected.noise()
        assert noise is not None
        worst = {
            "bound": np.max(expected.bound().tolerance / scale),
            "noise": np.median(noise.sigma / scale),
            "loop": np.sqrt(np.mean(((naive - expected.want) / scale) ** 2)),
            "tf32": np.sqrt(np.mean(((tf32 - expected.want) / scale) ** 2)),
        }
        rows.append({"terms": terms} | {k: float(f"{v:.1e}") for k, v in worst.items()})
    return {"rows": rows}


def truncated(a: np.ndarray) -> np.ndarray:
    """float32 numbers as TF32 keeps them, 10 bits behind the point, in float64.

    Example:
        >>> float(truncated(np.float32([1 + 2**-10 + 2**-11]))[0]) == 1 + 2**-10
        True
    """
    return (a.view(np.int32) & ~np.int32(0x1FFF)).view(np.float32).astype(np.float64)


def tile() -> Data:
    """The register tile where there are 16 vector registers and where there are 32: three quarters
    of them hold sums.
    """
    shapes = []
    for registers, columns in ((16, 2), (32, 4)):
        rows = registers * 3 // 4 // columns
        shapes.append({"registers": registers, "rows": rows, "columns": columns})
    return {"shapes": shapes}
