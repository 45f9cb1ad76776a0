"""Winograd's two ways to share the work among threads, and the transform of the weights.

A launch is one worker a thread; worker i takes items i, i + threads, … and owns row i of the
scratch.
"""

from collections import namedtuple

import numpy as np
from numba import njit

from .tile import SUMS, ZERO
from .vector import BYTES, lanes, store, transpose, transpose_part, zeros
from .winograd_stages import INNER, ROWS, into_tiles, out_of_tiles, products
from .winograd_tiles import weights as transform
from .worker import launch


class Weights(namedtuple("Weights", "r outs ins taps per_out per_in starts row column")):
    """Where the weights of every set lie: element (u, v) of set i from ``outs`` x ``ins`` is
    w[out*per_out + in*per_in + starts[i] + u*row + v*column]; ``taps`` elements a pair.
    """

    def table(self):
        """As an int64 array: the numbers, then the starts."""
        numbers = (self.outs, self.ins, self.taps, self.per_out, self.per_in, self.row, self.column)
        return np.array([*numbers, *self.starts], np.int64)


@njit(**INNER)
def _take(w, table, oc, c0, taken):
    """The filters of ``lanes`` output channels from ``oc`` on and one block of input channels, as
    ``taken`` (channels, taps, lanes).
    """
    L, ins, taps, per_out, per_in = lanes(w), table[1], table[2], table[3], table[4]
    rows, channels = max(0, min(L, table[0] - oc)), min(L, ins - c0)
    # Channels that lie behind each other are read as one run.
    runs, length = (1, channels * taps) if per_in == taps else (channels, taps)
    for run in range(runs):
        base = oc * per_out + (c0 + run) * per_in
        for e in range(0, length, L):
            n = min(L, length - e)
            at = (run * taps + e) * L
            if rows == L and n == L:
                transpose(w, base + e, per_out, taken, at, L)
            else:
                transpose_part(w, base + e, per_out, rows, n, taken, at, L, n, L)


@njit(**INNER)
def _weights(m, r, w, table, oc0, width, block, sets, taken, U, to, per_set, per_phase, U_plane):
    """The rows of U of one block of input channels, for ``sets`` sets a job of every job.

    Set ``phase`` of job ``job`` starts at U[to + job*per_set + phase*per_phase].
    """
    L = lanes(w)
    taps, row, column, c0 = table[2], table[5], table[6], block * L
    points, channels = (len(m) + len(r) - 1) ** 2, min(L, table[1] - c0)
    none = zeros(w)
    for ov in range(0, width, L):
        _take(w, table, oc0 + ov, c0, taken)
        for i in range(table.size - 7):
            job, phase = i // sets, i % sets
            first = to + job * per_set + phase * per_phase + ov
            for c in range(channels):
                at = (c * taps + table[7 + i]) * L
                transform(m, r, taken, at, row * L, column * L, U, first + c * width, U_plane)
            for c in range(channels, L):
                for point in range(points):
                    store(U, first + c * width + point * U_plane, none)


def _weights_share(worker, threads, m, r, w, table, sets, width, U, U_plane, scratch):
    """A worker's part of U: every block of output channels, set and block of input channels."""
    L = lanes(w)
    points = (len(m) + len(r) - 1) ** 2
    outs, blocks = (table[0] + width - 1) // width, (table[1] + L - 1) // L
    for item in range(worker, outs * blocks, threads):
        block, out = item % blocks, item // blocks
        to = out * points * U_plane + block * L * width
        _weights(m, r, w, table, out * width, width, block, sets, scratch[worker], U, to,
                 outs * points * U_plane, blocks * L * width, U_plane)  # fmt: skip


def _scratch_of_rows(m, r, geo, run, L):
    """Elements that a run of strips needs of one block of channels."""
    M, A = len(m), len(m) + len(r) - 1
    return (geo.channel_phases * (run * M + A - M) * geo.phases * (geo.segment * M + A - M)) * L


def _scratch_of_line(m, geo, L):
    """Elements of a strip's outputs before they are turned back, and of what is read behind."""
    return len(m) * geo.segment * len(m) * L + L * L


@njit(**INNER)
def _block(m, r, y, x, geo, pads, offsets, s0, s1, U, U_plane, width, bias, CT, scratch, parts):
    """Strips s0 … s1 from x to y, in a thread's scratch."""
    L = lanes(x)
    points = (len(m) + len(r) - 1) ** 2
    V_row, V_plane, M_plane = CT + L, parts[0], parts[1]
    rows, V = scratch[: parts[2]], scratch[parts[2] : parts[3]]
    M, line = scratch[parts[3] : parts[4]], scratch[parts[4] : parts[5]]
    square = scratch[parts[5] :]
    blocks = (geo.C + L - 1) // L
    tiles = into_tiles(m, r, x, geo, pads, s0, s1, 0, blocks, rows, square, V, V_row, V_plane)
    whole = (tiles + ROWS - 1) // ROWS * ROWS
    for point in range(points):
        at = point * V_plane
        V[at + tiles * V_row : at + whole * V_row] = 0
    outs = (geo.K + width - 1) // width
    job = s0 // (geo.N * geo.phases * geo.TY * geo.segments)
    for out in range(outs):
        u0 = (job * outs + out) * points * U_plane
        products(points, whole, CT, V, 0, V_row, V_plane, U, u0, U_plane, width, M, M_plane, ZERO)
        out_of_tiles(m, r, y, geo, offsets, s0, s1, out * width, width, M, M_plane, bias, line,
                     square)  # fmt: skip


def _blocks_share(worker, threads, m, r, y, x, geo, pads, offsets, U, U_plane, width, bias, CT,
                  scratch, parts):  # fmt: skip
    """A worker's blocks of strips; no block holds strips of two jobs."""
    strips = geo.N * geo.phases * geo.TY * geo.segments
    blocks = (strips + geo.block - 1) // geo.block
    for item in range(worker, geo.jobs * blocks, threads):
        job, s0 = item // blocks, item % blocks * geo.block
        s1 = min(strips, s0 + geo.block)
        _block(m, r, y, x, geo, pads, offsets, job * strips + s0, job * strips + s1, U, U_plane,
               width, bias, CT, scratch[worker], parts)  # fmt: skip


def many_tiles(threads, m, r, y, x, geo, pads, offsets, w, table, width, bias, CT):
    """Weights first, then blocks of strips."""
    L, points = BYTES // x.itemsize, (len(m) + len(r) - 1) ** 2
    U_plane, outs = CT * width + L, -(-geo.K // width)
    U = np.empty(geo.jobs * outs * points * U_plane, x.dtype)
    filters = np.empty((threads, L * (table[2] + 1) * L), x.dtype)
    key = x.dtype, m, r
    launch(_weights_share, threads, key, m, r, w, table, geo.channel_phases, width, U, U_plane,
           filters)  # fmt: skip
    most = min(geo.block, geo.N * geo.phases * geo.TY * geo.segments)
    tiles = -(-most * geo.phases * geo.segment // ROWS) * ROWS
    V_plane, M_plane = tiles * (CT + L) + L, tiles * width + L
    rows = _scratch_of_rows(m, r, geo, min(most, geo.TY), L)
    ends = np.cumsum([rows, points * V_plane, points * M_plane, _scratch_of_line(m, geo, L)])
    scratch = np.empty((threads, ends[-1] + L * L), x.dtype)
    parts = np.array([V_plane, M_plane, *ends])
    launch(_blocks_share, threads, key, m, r, y, x, geo, pads, offsets, U, U_plane, width, bias, CT,
           scratch, parts)  # fmt: skip


#: Elements of transformed weights that are made before their products are taken; at least four
#: blocks of channels, since every chunk reads and writes the sums once more.
CHUNK = 1 << 17


@njit(**INNER)
def _channels_out(m, r, y, geo, offsets, out, w, table, width, bias, V, V_row, V_plane, tiles,
                  scratch, parts):  # fmt: skip
    """All tiles for one block of output channels: weights transformed, then used, by chunks.

    The filters of a chunk are read once for all the jobs and phases they serve.
    """
    L, sets, jobs = lanes(y), geo.channel_phases, geo.jobs
    points = (len(m) + len(r) - 1) ** 2
    whole = (tiles + ROWS - 1) // ROWS * ROWS
    U_plane, M_plane, chunk = parts[0], parts[1], parts[6]
    U, M = scratch[: parts[2]], scratch[parts[2] : parts[3]]
    line, square, taken = (scratch[parts[3] : parts[4]], scratch[parts[4] : parts[5]],
                           scratch[parts[5] :])  # fmt: skip
    blocks, per_phase = (table[1] + L - 1) // L, points * U_plane
    for b0 in range(0, blocks, chunk):
        b1 = min(blocks, b0 + chunk)
        for block in range(b0, b1):
            _weights(m, r, w, table, out * width, width, block, sets, taken, U,
                     (block - b0) * L * width, sets * per_phase, per_phase, U_plane)  # fmt: skip
        for job in range(jobs):
            for phase in range(sets):
                start = ZERO if b0 == phase == 0 else SUMS
                v0 = job * whole * V_row + (phase * blocks + b0) * L
                products(points, whole, (b1 - b0) * L, V, v0, V_row, V_plane, U,
                         (job * sets + phase) * per_phase, U_plane, width,
                         M[job * points * M_plane :], M_plane, start)  # fmt: skip
    strips = geo.N * geo.phases * geo.TY * geo.segments
    for job in range(jobs):
        out_of_tiles(m, r, y, geo, offsets, job * strips, (job + 1) * strips, out * width, width,
                     M[job * points * M_plane :], M_plane, bias, line, square)  # fmt: skip


def _tiles_share(worker, threads, m, r, x, geo, pads, V, job_size, V_row, V_plane, rows, squares):
    """A worker's tiles, by jobs and blocks of input channels."""
    blocks = (geo.C + lanes(x) - 1) // lanes(x)
    strips = geo.N * geo.phases * geo.TY * geo.segments
    for item in range(worker, geo.jobs * blocks, threads):
        job, block = item // blocks, item % blocks
        into_tiles(m, r, x, geo, pads, job * strips, (job + 1) * strips, block, block + 1,
                   rows[worker], squares[worker], V[job * job_size :], V_row, V_plane)  # fmt: skip


def _channels_share(worker, threads, m, r, y, geo, offsets, w, table, width, bias, V, V_row,
                    V_plane, tiles, scratch, parts):  # fmt: skip
    """A worker's output channels, by blocks of ``width``."""
    for out in range(worker, (geo.K + width - 1) // width, threads):
        _channels_out(m, r, y, geo, offsets, out, w, table, width, bias, V, V_row, V_plane, tiles,
                      scratch[worker], parts)  # fmt: skip


def few_tiles(threads, m, r, y, x, geo, pads, offsets, w, table, width, bias, CT):
    """Tiles first, by blocks of input channels; then blocks of output channels."""
    L, points = BYTES // x.itemsize, (len(m) + len(r) - 1) ** 2
    tiles = geo.N * geo.phases * geo.phases * geo.TY * geo.TX
    whole, V_row = -(-tiles // ROWS) * ROWS, CT + L
    V_plane = geo.jobs * whole * V_row + L
    V = np.empty(points * V_plane, x.dtype)
    if whole > tiles:  # the register tile's other rows: whatever they hold is multiplied too
        planes = np.lib.stride_tricks.as_strided(
            V, (points, geo.jobs, whole * V_row),
            (V_plane * V.itemsize, whole * V_row * V.itemsize, V.itemsize),
        )  # fmt: skip
        planes[:, :, tiles * V_row :] = 0
    rows = np.empty((threads, _scratch_of_rows(m, r, geo, geo.TY, L)), x.dtype)
    squares = np.empty((threads, L * L), x.dtype)
    key = x.dtype, m, r
    launch(_tiles_share, threads, key, m, r, x, geo, pads, V, whole * V_row, V_row, V_plane, rows,
           squares)  # fmt: skip
    sets = geo.jobs * geo.channel_phases
    chunk = max(4, CHUNK // (points * sets * width * L))
    U_plane, M_plane = chunk * L * width + L, whole * width + L
    sizes = sets * points * U_plane, geo.jobs * points * M_plane, _scratch_of_line(m, geo, L)
    ends = np.cumsum([*sizes, L * L])
    scratch = np.empty((threads, ends[-1] + L * (table[2] + 1) * L), x.dtype)
    parts = np.array([U_plane, M_plane, *ends, chunk])
    launch(_channels_share, threads, key, m, r, y, geo, offsets, w, table, width, bias, V, V_row,
           V_plane, tiles, scratch, parts)  # fmt: skip
