"""How steps that slide a window over single planes cut them: planes.cuh in NCHW, channels.cuh in
channels_last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd

from ._cuda_launch import blocks

#: Outputs of a thread in a row, in planes.cuh and channels.cuh.
COLUMNS = 4
#: Threads of a block, at most.
THREADS = 256
#: Bytes of a tile that leave room for eight blocks on a multiprocessor, and that every GPU has.
ENOUGH, MOST = 28 << 10, 48 << 10

#: Rows of outputs → how far a thread's part begins behind its neighbour's and how large it is, in
#: elements of the tile: step and span down, step and span across.
Parts = Callable[[int], tuple[int, int, int, int]]


@dataclass(frozen=True)
class Planes:
    """A block of planes.cuh: the macros, and its tile's bytes."""

    rows: int
    threads_w: int
    threads_h: int
    planes: int
    bytes: int

    @property
    def threads(self) -> int:
        """Of a block."""
        return self.threads_w * self.threads_h * self.planes

    def grid(self, planes: int, height: int, width: int) -> int:
        """Blocks for so many planes of outputs."""
        down = blocks(height, self.threads_h * self.rows)
        across = blocks(width, self.threads_w * COLUMNS)
        return down * across * blocks(planes, self.planes)

    @property
    def macros(self) -> dict[str, int]:
        """As the file is compiled."""
        names = ("ROWS", "THREADS_W", "THREADS_H", "PLANES")
        held = (self.rows, self.threads_w, self.threads_h, self.planes)
        return dict(zip(names, held, strict=True))


def window_parts(kernel, stride, dilation) -> Parts:
    """The parts of slide.cuh, for numbers (H, W)."""

    def parts(rows: int) -> tuple[int, int, int, int]:
        high = (rows - 1) * stride[0] + (kernel[0] - 1) * dilation[0] + 1
        wide = (COLUMNS - 1) * stride[1] + (kernel[1] - 1) * dilation[1] + 1
        return rows * stride[0], high, COLUMNS * stride[1], wide

    return parts


def cut_planes(
    planes: int, height: int, width: int, parts: Parts, sums: int, multiprocessors: int = 132,
    least: int = 1, images: int = 1 << 30,
) -> Planes:  # fmt: skip
    """Blocks for so many planes of outputs: of even size, with ``ENOUGH`` shared memory if they can
    be made so small, and two for every multiprocessor if there are so many planes.

    Args:
        sums: bytes of a number in the tile.
        least: rows of a thread are a multiple of it.
        images: planes that may share a block, at most.

    Example:
        >>> cut_planes(16384, 112, 112, window_parts((3, 3), (1, 1), (1, 1)), 4).macros
        {'ROWS': 4, 'THREADS_W': 28, 'THREADS_H': 7, 'PLANES': 1}
        >>> cut_planes(16384, 7, 7, window_parts((3, 3), (1, 1), (1, 1)), 4).macros
        {'ROWS': 4, 'THREADS_W': 2, 'THREADS_H': 2, 'PLANES': 32}
    """
    rows = blocks(min(4, height), least) * least
    across, down = blocks(width, COLUMNS), blocks(height, rows)
    most_w, most_h = min(across, 32), down
    together = 1
    room = min(THREADS // (most_w * min(most_h, THREADS)), planes // (2 * multiprocessors), images)
    while together * 2 <= room:
        together *= 2
    while True:
        most_h = min(most_h, max(1, THREADS // (most_w * together)))
        made = _block(rows, _even(across, most_w), _even(down, most_h), together, parts, sums)
        if made.bytes <= ENOUGH or made.threads == 1:
            return made
        if together > 1:
            together //= 2
        elif most_h > 1:
            most_h = made.threads_h // 2
        elif rows > least:
            rows //= 2
            down = blocks(height, rows)
        else:
            most_w = made.threads_w // 2


def _even(whole: int, most: int) -> int:
    """So many at a time, at most ``most``, that all parts are about as large."""
    return blocks(whole, blocks(whole, most))


def _block(rows: int, w: int, h: int, planes: int, parts: Parts, sums: int) -> Planes:
    step_h, span_h, step_w, span_w = parts(rows)
    vector = 16 // sums
    unit = gcd(step_w, vector)
    pitch = _up((w - 1) * step_w + _up(span_w, unit), vector)
    return Planes(rows, w, h, planes, planes * ((h - 1) * step_h + span_h) * pitch * sums)


def _up(a: int, b: int) -> int:
    return blocks(a, b) * b


@dataclass(frozen=True)
class Channels:
    """A block of channels.cuh: the macros."""

    rows: int
    threads_c: int
    parts: int
    vector: int

    def grid(self, n: int, channels: int, height: int, width: int) -> int:
        """Blocks for outputs of this shape."""
        cut = n * blocks(height, self.rows) * blocks(width, COLUMNS)
        return blocks(channels, self.threads_c * self.vector) * blocks(cut, self.parts)

    @property
    def macros(self) -> dict[str, int]:
        """As the file is compiled."""
        return {"ROWS": self.rows, "THREADS_C": self.threads_c, "PARTS": self.parts}


def cut_channels(channels: int, rows: int, size: int) -> Channels:
    """Blocks of 256 threads at most.

    Args:
        size: bytes of an element.

    Example:
        >>> cut_channels(256, 1, 4), cut_channels(24, 1, 2)
        (Channels(rows=1, threads_c=32, parts=8, vector=4), Channels(rows=1, threads_c=6, parts=42, vector=4))
    """  # noqa: E501
    vector = 2 if size == 8 else 4
    threads = min(32, blocks(channels, vector))
    return Channels(rows, threads, THREADS // threads, vector)
