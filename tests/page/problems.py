"""Layers drawn at random, as the page's settings and as refconv's arguments."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

import refconv.functional as F
from refconv import normalize, normalize_pool

OPS = ("conv", "transposed", "max", "avg")


def drawn(seed: int, op: str) -> dict[str, Any]:
    """Settings that are mostly legal; kernels too large and the like are drawn too."""
    r = random.Random(f"{seed} {op}")
    g = r.choice([1, 1, 2, 3])
    pool = op in ("max", "avg")
    kernel = [r.randint(1, 4), r.randint(1, 4)]
    stride = [r.randint(1, 3), r.randint(1, 3)]
    return {
        "op": op, "n": r.randint(1, 2), "c": g * r.randint(1, 2), "k": g * r.randint(1, 2),
        "h": r.randint(1, 7), "w": r.randint(1, 7), "kernel": kernel, "stride": stride,
        "padding": [r.randint(0, k // 2 if pool else 2) for k in kernel],
        "dilation": [1, 1] if op == "avg" else [r.randint(1, 2), r.randint(1, 2)],
        "groups": 1 if pool else g, "ceil": pool and r.random() < 0.5,
        "extra": [r.randint(0, s - 1) for s in stride] if op == "transposed" else [0, 0],
        "bias": not pool and r.random() < 0.5, "countPad": r.random() < 0.5,
    }  # fmt: skip


def problem(s: dict[str, Any]):
    """refconv's problem of these settings; raises where refconv refuses."""
    x = (s["n"], s["c"], s["h"], s["w"])
    b = (s["k"],) if s["bias"] else None
    steps = tuple(s["stride"]), tuple(s["padding"])
    dilation, kernel = tuple(s["dilation"]), tuple(s["kernel"])
    if s["op"] == "conv":
        w = (s["k"], s["c"] // s["groups"], *kernel)
        return normalize.conv("conv2d", x, w, b, "float64", *steps, dilation, s["groups"])
    if s["op"] == "transposed":
        w = (s["c"], s["k"] // s["groups"], *kernel)
        extra = tuple(s["extra"])
        return normalize.conv_transpose(
            "conv_transpose2d", x, w, b, "float64", *steps, extra, s["groups"], dilation
        )
    op = f"{s['op']}_pool2d"
    return normalize_pool.pool(op, x, "float64", kernel, *steps, dilation, s["ceil"], s["countPad"])


def numbers(seed: int, s: dict[str, Any]) -> dict[str, np.ndarray]:
    """Small whole numbers for x, w and b."""
    made = np.random.default_rng(seed)
    first, second = (s["c"], s["k"]) if s["op"] == "transposed" else (s["k"], s["c"])
    shapes = {
        "x": (s["n"], s["c"], s["h"], s["w"]),
        "w": (first, max(1, second // s["groups"]), *(max(1, k) for k in s["kernel"])),
        "b": (s["k"],),
    }
    return {name: made.integers(-4, 5, shape).astype(float) for name, shape in shapes.items()}


def outputs(s: dict[str, Any], given: dict[str, np.ndarray]) -> np.ndarray:
    """What refconv's naive loops compute."""
    x, w, b = given["x"], given["w"], given["b"] if s["bias"] else None
    steps = {"stride": tuple(s["stride"]), "padding": tuple(s["padding"]), "backend": "naive"}
    dilation, kernel = tuple(s["dilation"]), tuple(s["kernel"])
    if s["op"] == "conv":
        return F.conv2d(x, w, b, dilation=dilation, groups=s["groups"], **steps)
    if s["op"] == "transposed":
        more = {"output_padding": tuple(s["extra"]), "dilation": dilation, "groups": s["groups"]}
        return F.conv_transpose2d(x, w, b, **more, **steps)
    if s["op"] == "max":
        return F.max_pool2d(x, kernel, dilation=dilation, ceil_mode=s["ceil"], **steps)
    counts = {"ceil_mode": s["ceil"], "count_include_pad": s["countPad"]}
    return F.avg_pool2d(x, kernel, **counts, **steps)
