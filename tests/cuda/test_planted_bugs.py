"""Bugs planted in the steps themselves: the tests of test_steps must find each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from refconv import guard, label
from refconv.backends import _cuda_conv as plans
from refconv.backends import _cuda_emulator as emulator
from refconv.backends import _cuda_source as source
from refconv.backends import unavailable

from .running import judge

pytestmark = pytest.mark.skipif(
    unavailable("cuda-on-cpu") is not None, reason=str(unavailable("cuda-on-cpu"))
)


@dataclass(frozen=True)
class Bug:
    """One change of a file.

    Args:
        where: slot, algorithm and file.
        case: a problem that shows it.
        found: what is said then, in part.
    """

    what: str
    where: str
    old: str
    new: str
    case: str
    found: str


PADDED = "conv2d x[2,5,9,35] w[7,5,3,3] b p1"
STRIDED = "conv2d x[1,4,11,10] w[5,4,4,4] s2 p1"
SHARED = "conv_fprop shared conv_2_shared.cu"
WGRAD = "conv_wgrad direct wgrad_1_direct.cu"
DGRAD = "conv_dgrad direct dgrad_1_direct.cu"
DIRECT = "conv_fprop direct conv_1_direct.cu"
TREE = "conv_wgrad direct reduce.cuh"

BUGS = [
    Bug("no barrier before the tile is read", SHARED,
        "__syncthreads();  // the tile is whole", "", PADDED, "wrong;"),
    Bug("no barrier before the tile is overwritten", SHARED,
        "__syncthreads();  // and used up", "", PADDED, "wrong;"),
    Bug("threads outside leave before the barrier", SHARED,
        "  for (int ic = 0;", "  if (oh >= g.OH) return;\n  for (int ic = 0;",
        PADDED, "have ended"),
    Bug("two barriers instead of one", SHARED,
        "__syncthreads();  // the tile is whole",
        "if (threadIdx.y < 4)\n__syncthreads();\nelse\n__syncthreads();", PADDED, "divergent"),
    Bug("a tile too narrow", SHARED, "(g.KW - 1) * g.dilation_w + 1;",
        "(g.KW - 1) * g.dilation_w;", PADDED, "wrong;"),
    Bug("a tile too high", SHARED, "(TILE_H - 1) * g.stride_h", "TILE_H * g.stride_h",
        "conv2d x[1,2,25,33] w[3,2,3,3] p1", "of dynamic shared memory"),
    Bug("x read one row too far", SHARED, "top + r < g.IH", "top + r <= g.IH", PADDED, "no memory"),
    Bug("a channel of another group", SHARED, "(group * C + ic)", "(group + ic)",
        "conv2d x[1,6,8,7] w[9,2,3,3] p1 g3", "wrong;"),
    Bug("stored beyond the last channel", SHARED, "if (j < count) store", "store", PADDED, "wrote"),
    Bug("no barrier in the tree", TREE, "    __syncthreads();\n", "", PADDED, "wrong;"),
    Bug("a barrier that only half the threads reach", TREE, "    __syncthreads();\n",
        "    if (threadIdx.x < half) __syncthreads();\n", PADDED, "divergent"),
    Bug("a tree that leaves out a level", TREE, "half > 0", "half > 1", PADDED, "wrong;"),
    Bug("another thread stores", WGRAD, "if (threadIdx.x == 0)", "if (threadIdx.x == 1)", PADDED,
        "wrong;"),
    Bug("taps outside x are read", WGRAD, "ih >= g.IH || ", "", PADDED, "no memory|wrong;"),
    Bug("a tap too few", DIRECT, "kw < kw1", "kw < kw1 - 1", PADDED, "wrong;"),
    Bug("a tap too many", DIRECT, "kh < kh1", "kh <= kh1", PADDED, "no memory|wrong;"),
    Bug("a thread too many", DIRECT, "at >= positions", "at > positions", PADDED,
        "wrote|no memory"),
    Bug("no bias", DIRECT, "b ? load(b + oc * g.b_k) : 0", "0", PADDED, "wrong;"),
    Bug("the first output is left out", DGRAD, "ow >= 0", "ow > 0", STRIDED, "wrong;"),
    Bug("every tap, whatever the phase", DGRAD, "% stride == 0", "% stride != -9", STRIDED,
        "wrong;"),
    Bug("bits not rounded", "conv_fprop direct device.cuh", "u + 0x7fffu + (u >> 16 & 1)", "u",
        PADDED.replace(" b", ""), "wrong;"),
]  # fmt: skip


def plant(bug: Bug, folder: Path, monkeypatch: Any) -> Path:
    """The changed file, and the kernel beside it that sees it first: where that is."""
    file = bug.where.split()[2]
    text = source.text(file)
    assert bug.old in text, "the bug is not where it was"
    kernel = {"reduce.cuh": "wgrad_1_direct.cu", "device.cuh": "conv_1_direct.cu"}.get(file, file)
    headers = source.headers(source.folder() / kernel)
    for copied in (h for h in headers if "/" not in h):  # all: they include one another
        (folder / copied).write_text(headers[copied])
    (folder / kernel).write_text(source.text(kernel))
    (folder / file).write_text(text.replace(bug.old, bug.new))
    real = emulator._library
    monkeypatch.setattr(emulator, "_library", lambda f, macros: real(str(folder / f), macros))
    return folder / kernel


@pytest.mark.parametrize("bug", BUGS, ids=[bug.what for bug in BUGS])
def test_it_is_found(bug: Bug, tmp_path, monkeypatch) -> None:
    plant(bug, tmp_path, monkeypatch)
    slot, name, _ = bug.where.split()
    dtype = "bfloat16" if "device" in bug.where else "float32"
    kind = "real" if dtype == "bfloat16" else "integer"
    problem = replace(label.parse(bug.case), dtype=dtype)
    problem = replace(problem, bias=problem.bias and slot == problem.forward_slot)
    with pytest.raises((AssertionError, emulator.EmulatorError), match=bug.found):
        judge(problem, slot, name, kind, "behind")


def test_a_launch_with_too_little_shared_memory_is_found(monkeypatch) -> None:
    real = plans.shared_bytes
    monkeypatch.setattr(plans, "shared_bytes", lambda problem: real(problem) - 4)
    with pytest.raises(emulator.EmulatorError, match="wrote byte 0 behind"):
        judge(label.parse(PADDED), "conv_fprop", "shared", "integer")


def test_a_grid_that_leaves_out_a_block_is_found(monkeypatch) -> None:
    real = plans.blocks
    monkeypatch.setattr(plans, "blocks", lambda work, each: max(1, real(work, each) - 1))
    with pytest.raises(AssertionError, match="wrong;"):
        judge(label.parse(PADDED), "conv_fprop", "shared", "integer")


def test_an_input_that_is_changed_is_found(tmp_path, monkeypatch) -> None:
    bug = Bug("", DIRECT, "accumulator sum = b", "const_cast<element *>(x)[0] = {};\n"
              "accumulator sum = b", "", "")  # fmt: skip
    plant(bug, tmp_path, monkeypatch)
    with pytest.raises(guard.GuardError, match="changed its input x"):
        judge(label.parse(PADDED), "conv_fprop", "direct", "real")
