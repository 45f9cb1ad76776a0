"""The plan functions of convolution: how each step of the ladder is launched."""

from __future__ import annotations

from math import prod

from ._cuda_launch import Given, Launch, blocks, conv_launch, whole_warps


def fprop_direct(given: Given) -> list[Launch]:
    """One thread an output; a plane (n, oc) has whole blocks."""
    n, k, *size = given.shapes["y"]
    threads = whole_warps(prod(size))
    grid = (n * k * blocks(prod(size), threads), 1, 1)
    return [
        conv_launch(
            given, "conv_1_direct.cu", "conv_fprop_direct", "yxwb", grid, (threads, 1, 1)
        )
    ]  # fmt: skip
