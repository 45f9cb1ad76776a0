"""Winograd's stages on a block of tiles: channels into vectors, into, products, out.

Inside, ``lanes`` channels lie side by side: a vector is one pixel of so many channels, and neither
transform needs a shuffle. Squares of pixels x channels are transposed in registers on the way in
and on the way out. A block is a few strips, rows of tiles; what it needs of x, its transformed
tiles V, the products M and the outputs before they are turned back all stay in a thread's own
scratch, sized for the second cache: x and y are touched once.

    rows   (CP, rows, PX, columns, lanes)   what a run of strips needs of one block of channels
    V      (a*a, tiles, CT)                 transformed tiles; CT = CP * channels, padded
    U      (a*a, CT, width)                 transformed weights of ``width`` output channels
    M      (a*a, tiles, width)              V @ U, element by element of the tile

``V``'s rows and ``U``'s, ``V``'s and ``M``'s planes are a little further apart than a power of two:
planes that share cache sets cost up to twice the time.
"""

from collections import namedtuple

import numpy as np
from numba import njit

from .tile import panel
from .vector import REGISTERS, lanes, load, store, transpose, transpose_part, zeros
from .winograd_tiles import into, out

#: The problem as strips of tiles; all int64. See ``winograd.plan``.
Geometry = namedtuple(
    "Geometry",
    "N C H W K OH OW jobs split phases channel_phases step TY TX segments segment block",
)

#: What is compiled into others needs no entry of its own from Python.
INNER = {
    "cache": True,
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}

#: Rows of tiles and vectors of output channels of the register tile, wide and narrow.
ROWS, WIDE, NARROW = 6, 4 if REGISTERS == 32 else 2, 2 if REGISTERS == 32 else 1
_wide, _narrow = panel(ROWS, WIDE), panel(ROWS, NARROW)


@njit(**INNER)
def _strip(geo, strip):
    """The strip as (job, image, row phase, tile row, first tile, tiles) of one column phase."""
    seg, strip = strip % geo.segments, strip // geo.segments
    ty, strip = strip % geo.TY, strip // geo.TY
    py, strip = strip % geo.phases, strip // geo.phases
    n, job = strip % geo.N, strip // geo.N
    first = seg * geo.segment
    return job, n, py, ty, first, min(geo.segment, geo.TX - first)


@njit(**INNER)
def _convert_row(rows, to, x, at, plane, channels, square, geo, wp, count, columns, px_plane):
    """``count`` pixels of ``channels`` channels from x[at] on, pixel ``wp`` of the padded row."""
    L = lanes(x)
    wq, wr = wp // geo.split, wp % geo.split
    for start in range(0, count, L):
        n = min(L, count - start)
        if geo.split == 1 and n == L and channels == L:
            transpose(x, at + start, plane, rows, to + (wq + start) * L, L)
            continue
        if n == L and channels == L:
            transpose(x, at + start, plane, square, 0, L)
        else:
            transpose_part(x, at + start, plane, channels, n, square, 0, L, L, L)
        if geo.split == 1:
            for i in range(n):
                store(rows, to + (wq + start + i) * L, load(square, i * L))
            continue
        for i in range(n):
            store(rows, to + wr * px_plane + wq * L, load(square, i * L))
            wr += 1
            if wr == geo.split:
                wr, wq = 0, wq + 1


@njit(**INNER)
def _convert_flat(rows, to, x, at, plane, channels, square, W, count, columns):
    """``count`` pixels of whole rows shorter than a vector, from x[at] on: row after row."""
    L, w = lanes(x), 0
    for start in range(0, count, L):
        n = min(L, count - start)
        if n == L and channels == L:
            transpose(x, at + start, plane, square, 0, L)
        else:
            transpose_part(x, at + start, plane, channels, n, square, 0, L, L, L)
        for i in range(n):
            store(rows, to + w * L, load(square, i * L))
            w += 1
            if w == W:
                w, to = 0, to + columns * L


@njit(**INNER)
def into_tiles(m, r, x, geo, pads, s0, s1, c0, c1, rows, square, V, V_row, V_plane):
    """Strips s0 … s1 of blocks c0 … c1 of channels, transformed into V (tiles of s0 first)."""
    M, A, L = len(m), len(m) + len(r) - 1, lanes(x)
    blocks = (geo.C + L - 1) // L
    plane = geo.H * geo.W
    tile0, s = 0, s0
    while s < s1:
        job, n, py, ty, first, tiles = _strip(geo, s)
        run = min(s1 - s, geo.TY - ty) if geo.segments == 1 else 1
        columns, height = tiles * M + A - M, run * M + A - M
        strided = geo.channel_phases > 1
        per_px = columns * L  # from one column phase to the next
        wr_plane = height * per_px if strided else per_px
        row = per_px if strided else geo.phases * per_px
        size = geo.channel_phases * height * row
        none = zeros(rows)
        for i in range(0, size, L):
            store(rows, i, none)
        hq0, wq0 = ty * M, first * M
        w0 = max(0, wq0 * geo.split - pads[job, 1])
        w1 = min(geo.W, (wq0 + columns) * geo.split - pads[job, 1])
        for block in range(c0, c1):
            channels = min(L, geo.C - block * L)
            base = (n * geo.C + block * L) * plane
            if geo.split == 1 and geo.W < L and w0 == 0 and w1 == geo.W:
                h0 = max(0, hq0 - pads[job, 0])
                h1 = min(geo.H, hq0 + height - pads[job, 0])
                to = (h0 + pads[job, 0] - hq0) * row + pads[job, 1] * L
                if h1 > h0:
                    _convert_flat(rows, to, x, base + h0 * geo.W, plane, channels, square, geo.W,
                                  (h1 - h0) * geo.W, columns)  # fmt: skip
            else:
                for hq in range(height):
                    for hr in range(geo.split if strided else 1):
                        h = (hq0 + hq) * geo.split + (hr if strided else py) - pads[job, 0]
                        if 0 <= h < geo.H and w1 > w0:
                            to = hr * geo.split * wr_plane + hq * row
                            wp = w0 + pads[job, 1] - wq0 * geo.split
                            _convert_row(rows, to, x, base + h * geo.W + w0, plane, channels,
                                         square, geo, wp, w1 - w0, columns, wr_plane)  # fmt: skip
            for phase in range(geo.channel_phases):
                to = (phase * blocks + block) * L
                for i in range(run):
                    for px in range(geo.phases):
                        at = phase * height * row + i * M * row + px * per_px
                        tile = tile0 + (i * geo.phases + px) * tiles
                        for t in range(tiles):
                            into(m, r, rows, at + t * M * L, row, L,
                                 V, to + (tile + t) * V_row, V_plane)  # fmt: skip
        tile0 += run * geo.phases * tiles
        s += run
    return tile0


@njit(**INNER)
def products(points, tiles, K, V, v0, V_row, V_plane, U, u0, U_plane, width, M, M_plane, start):
    """M = V @ U (or M += …) for every element of the tile; ``tiles`` is a multiple of ROWS."""
    L = lanes(V)
    for point in range(points):
        for t in range(0, tiles, ROWS):
            v, u = v0 + point * V_plane + t * V_row, u0 + point * U_plane
            to = point * M_plane + t * width
            if width == WIDE * L:
                _wide(M, to, width, V, v, V_row, U, u, width, K, start, M, 0, L)
            else:
                _narrow(M, to, width, V, v, V_row, U, u, width, K, start, M, 0, L)


@njit(**INNER)
def out_of_tiles(m, r, y, geo, offsets, s0, s1, oc0, width, M_, M_plane, bias, line, square):
    """The outputs of strips s0 … s1 for channels oc0 … oc0 + width, bias added, into y."""
    M, L = len(m), lanes(y)
    plane = geo.OH * geo.OW
    tile = 0
    for s in range(s0, s1):
        job, n, py, ty, first, tiles = _strip(geo, s)
        wide = tiles * M
        for ov in range(0, min(width, geo.K - oc0), L):
            channels = min(L, geo.K - oc0 - ov)
            for px in range(geo.phases):
                for t in range(tiles):
                    at = (tile + px * tiles + t) * width + ov
                    out(m, r, M_, at, M_plane, bias, oc0 + ov, line, t * M * L, wide * L)
                ow0 = first * M * geo.step + offsets[job, 1] + px
                count = min(wide, (geo.OW - 1 - ow0) // geo.step + 1)
                for i in range(M):
                    oh = (ty * M + i) * geo.step + offsets[job, 0] + py
                    if oh >= geo.OH:
                        break
                    to = (n * geo.K + oc0 + ov) * plane + oh * geo.OW + ow0
                    _write_row(y, to, plane, channels, geo.step, count, line, i * wide * L, square)
        tile += geo.phases * tiles


@njit(**INNER)
def _write_row(y, to, plane, channels, step, count, line, at, square):
    """``count`` pixels of ``channels`` channels, ``step`` apart in y, from ``line``."""
    L = lanes(y)
    for start in range(0, count, L):
        n = min(L, count - start)
        if step == 1:
            if n == L and channels == L:
                transpose(line, at + start * L, L, y, to + start, plane)
            else:
                transpose_part(line, at + start * L, L, L, L, y, to + start, plane, channels, n)
            continue
        transpose(line, at + start * L, L, square, 0, L)
        for c in range(channels):
            o, q = np.uint64(to + c * plane + start * step), np.uint64(c * L)
            for i in range(np.uint64(n)):
                y[o + i * np.uint64(step)] = square[q + i]
