"""Implicit GEMM on tensor cores: what the listed problems do not reach, and bugs planted in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from refconv import dispatch, label
from refconv.backends import _cuda_emulator as emulator
from refconv.backends import _cuda_mma as mma
from refconv.backends import _cuda_mma_wgrad as wgrad
from refconv.backends import _cuda_source as source
from refconv.backends import unavailable

from . import running
from .running import judge

pytestmark = pytest.mark.skipif(
    unavailable("cuda-on-cpu") is not None, reason=str(unavailable("cuda-on-cpu"))
)

SLOTS = ("conv_fprop", "conv_dgrad", "conv_wgrad")


def problem(text: str, slot: str, dtype: str) -> Any:
    """The problem of a label, with a bias only where the slot adds one."""
    read = label.parse(text)
    return replace(read, dtype=dtype, bias=read.bias and slot == read.forward_slot)


@pytest.mark.parametrize("slot", ["conv_fprop", "conv_dgrad"])
@pytest.mark.parametrize("tile", mma.TILES)
@pytest.mark.parametrize("name", ["igemm_mma", "igemm_tf32"])
def test_every_tile(slot: str, name: str, tile: tuple[int, ...], monkeypatch) -> None:
    """Several blocks along rows and columns, with remainders; more tiles of depth than stages."""
    monkeypatch.setattr(mma, "choose", lambda *_: tile)
    dtype = "bfloat16" if name == "igemm_mma" else "float32"
    for text in ("conv2d x[1,136,12,11] w[136,136,1,1] b", "conv2d x[2,24,5,6] w[16,24,3,3] b p1"):
        for layout in ("channels_last", "contiguous"):
            judge(problem(text, slot, dtype), slot, name, "integer", layout)


def test_every_tile_of_wgrad(monkeypatch) -> None:
    """Several blocks along both sides, and several parts of the batch."""
    monkeypatch.setattr(wgrad, "SHORTEST", 64)
    for side in (64, 128):
        monkeypatch.setattr(wgrad, "choose", lambda *_, side=side: side)
        for text in ("conv2d x[2,72,9,8] w[136,72,1,2]", "conv3d x[3,8,3,4,5] w[8,8,2,3,1] p1"):
            judge(problem(text, "conv_wgrad", "float16"), "conv_wgrad", "igemm_mma", "integer")
    judge(problem(text, "conv_wgrad", "float32"), "conv_wgrad", "igemm_tf32x3", "real")


GEOMETRIES = """
conv2d x[2,8,7,9] w[16,8,3,3] b s3,2 p1,4 d1,3
conv2d x[1,8,9,9] w[8,8,2,5] s2 p3,0
conv3d x[1,16,4,5,3] w[16,8,3,2,3] b s2,1,1 p1 g2
conv_transpose2d x[1,8,3,4] w[8,24,2,3] b s3 p1
""".strip().splitlines()


@pytest.mark.parametrize("slot", SLOTS)
def test_geometry(slot: str) -> None:
    """Channels_last arrays taken as they are: strides, dilations, paddings, groups."""
    for text in GEOMETRIES:
        judge(problem(text, slot, "bfloat16"), slot, "igemm_mma", "real", "channels_last")


def made(text: str, slot: str, layout: str, dtype: str = "bfloat16", **odd: Any) -> list[str]:
    """The kernels that are launched."""
    p = problem(text, slot, dtype)
    call = dispatch.prepare(p, slot, "cuda-on-cpu:igemm_mma", "cpu")
    strides = {}
    names = zip((*call.outputs, *call.inputs), (*call.out_shapes, *call.in_shapes), strict=True)
    for name, shape in names:
        if name == "b":
            continue
        empty = running.as_laid_out(torch.empty(shape), layout)
        strides[name] = tuple(empty.stride())
    return [launch.kernel for launch in call.launches(strides, **odd)]


def test_copies_are_made_only_where_channels_are_apart() -> None:
    text = "conv2d x[2,16,8,8] w[16,16,3,3] p1"
    pack = "pack_channels"
    last = "channels_last"
    # canonical arrays have five axes: torch's channels_last_3d
    assert made(text, "conv_fprop", last) == ["conv_fprop_mma"]
    assert made(text, "conv_fprop", "contiguous") == [pack, pack, "conv_fprop_mma"]
    assert made(text, "conv_dgrad", last) == [pack, "conv_dgrad_mma"]
    assert made(text, "conv_wgrad", last) == ["conv_wgrad_mma", "conv_wgrad_mma_sum"]
    odd = frozenset("x")
    assert made(text, "conv_fprop", last, unaligned=odd) == [pack, "conv_fprop_mma"]
    assert made(text.replace("16", "12"), "conv_fprop", last) == [pack, pack, "conv_fprop_mma"]


def test_an_array_that_begins_anywhere() -> None:
    """channels_last, and 2 bytes behind a multiple of 16."""
    p = problem("conv2d x[1,8,5,6] w[8,8,3,3] p1", "conv_fprop", "bfloat16")
    arrays, expected = running.answers(p, "integer")
    x, w, b = running.inputs_of(p, "conv_fprop", arrays)[0]
    x, w = (t.contiguous(memory_format=torch.channels_last) for t in (x, w))
    moved = torch.empty(x.numel() + 1, dtype=x.dtype)[1:].as_strided(x.shape, x.stride()).copy_(x)
    assert moved.data_ptr() % 16
    got = running.run(p, "conv_fprop", "igemm_mma", [moved, w, b])
    assert torch.equal(got, torch.as_tensor(expected["output"].want).to(got.dtype))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("igemm_mma", "float16"), ("igemm_tf32", "float32"), ("igemm_tf32x3", "float32")],
)
@pytest.mark.parametrize("slot", SLOTS)
def test_what_is_not_finite_is_as_in_a_direct_sum(name: str, dtype: str, slot: str) -> None:
    """Infinities of both operands, and a float that rounds up to infinity in TF32."""
    p = problem("conv2d x[2,32,8,7] w[32,32,3,3] b p1", slot, dtype)
    arrays = dict(running.answers(p, "real")[0])
    for key in ("input", "weight", "grad"):
        arrays[key] = arrays[key].clone()
        arrays[key].view(-1)[3] = torch.inf
    if dtype == "float32":
        arrays["input"].view(-1)[40] = torch.finfo(torch.float32).max
    given, _ = running.inputs_of(p, slot, arrays)
    got = running.run(p, slot, name, given)
    want = dispatch.run(p, slot, *given, backend="naive")
    for kind in (torch.isnan, torch.isposinf, torch.isneginf):
        assert torch.equal(kind(got), kind(want)), kind.__name__
    fine = want.isfinite()
    assert fine.any()
    assert not fine.all()


def test_three_products_are_nearly_exact() -> None:
    """What is lost by splitting is 12 u of every product, where TF32 alone loses 2^-10 of it."""
    p = problem("conv2d x[1,32,1,64] w[8,32,1,1]", "conv_fprop", "float32")
    arrays, _ = running.answers(p, "real")
    x, w = arrays["input"], arrays["weight"]
    scale = torch.nn.functional.conv2d(x.double().abs(), w.double().abs())
    want = torch.nn.functional.conv2d(x.double(), w.double())
    error = {
        name: ((running.run(p, "conv_fprop", name, [x, w, None]) - want).abs() / scale).max().item()
        for name in ("igemm_tf32", "igemm_tf32x3")
    }
    u = 2.0**-24
    assert error["igemm_tf32x3"] < (12 + 32 / 8 + 1) * u
    assert error["igemm_tf32"] > 100 * u


def test_sums_too_short_for_three_products_are_refused() -> None:
    short = problem("conv2d x[1,16,5,6] w[64,16,3,3] p1", "conv_fprop", "float32")
    assert mma.supports_three_fprop(short) == (
        "its error is that of direct sums from 32 input channels of a group on, and this has 16"
    )
    assert mma.supports_three_dgrad(short) is None
    corner = problem("conv2d x[1,32,7,7] w[8,32,3,3] s2 p1", "conv_wgrad", "float32")
    assert wgrad.shortest(corner) == 9
    assert "from 32 positions on, and it has 9" in str(wgrad.three(corner))


WIDE = "conv2d x[1,40,6,7] w[24,40,3,3] b p1"
STRIDED = "conv2d x[1,24,9,8] w[16,24,3,3] s2 p1"
BUGS = {
    "no barrier before the tile is read": (
        "conv_fprop", "igemm.cuh",
        "__syncthreads();  // tile s is whole, and tile s - 1 is used up", "", WIDE),
    "no barrier before y's tile is written over the stages": (
        "conv_fprop", "igemm.cuh", "__syncthreads();  // the stages are free", "",
        "conv2d x[1,32,6,7] w[24,32,1,1]"),
    "a stage too early": (
        "conv_fprop", "igemm.cuh", "copy_async_wait<STAGES - 2>", "copy_async_wait<STAGES - 1>",
        WIDE),
    "a stage written that is being read": (
        "conv_fprop", "igemm.cuh", "(s + STAGES - 1) % STAGES", "s % STAGES", WIDE),
    "chunks not swizzled when read": (
        "conv_fprop", "fragments.cuh", "tile + swizzled(row + lane % 16, 2 * step + lane / 16)",
        "tile + (row + lane % 16) * DEPTH + (2 * step + lane / 16) * VECTOR", WIDE),
    "fragments of w exchanged": (
        "conv_fprop", "fragments.cuh", "b[0][1] = both[1], b[1][0] = both[2]",
        "b[0][1] = both[2], b[1][0] = both[1]", WIDE),
    "a tap too many of x": (
        "conv_fprop", "igemm.cuh", "unsigned(v[i] + by_w) < unsigned(g.IW)",
        "unsigned(v[i] + by_w) <= unsigned(g.IW)", WIDE),
    "channels not carried": ("conv_fprop", "igemm.cuh", "c -= g.channels;", "c = 0;", WIDE),
    "stored behind the last channel": (
        "conv_fprop", "igemm_result.cuh", "|| n0 + column >= g.columns) continue;", ") continue;",
        "conv2d x[1,40,6,7] w[40,40,3,3] p1"),
    "no bias": ("conv_fprop", "igemm.cuh", "if (b && k < g.columns) v +=",
                "if (b && k < 0) v +=", WIDE),
    "a phase written where another belongs": (
        "conv_dgrad", "igemm_result.cuh", "y + g.y_first +", "y +", STRIDED),
    "the first tap of every phase": (
        "conv_dgrad", "igemm.cuh", "row[i] = g.w_first +", "row[i] =", STRIDED),
    "a carry left out": ("conv_wgrad", "wgrad_7_mma.cu", "p.w -= g.OW, p.h++", "p.w -= g.OW", WIDE),
    "a part left out": (
        "conv_wgrad", "wgrad_7_mma.cu", "s < g.splits", "s < g.splits - 1",
        "conv2d x[2,8,17,19] w[8,8,1,1]"),
    "rows of x and dy exchanged": (
        "conv_wgrad", "wgrad_7_mma.cu", "column / VECTOR + lane / 8 % 2",
        "column / VECTOR + lane / 16", WIDE),
    "not turned round when packed": (
        "conv_fprop", "pack_channels.cu", "tile[threadIdx.x][r]", "tile[r][threadIdx.x]", WIDE),
}  # fmt: skip
KERNELS = {"conv_fprop": "conv_7_mma.cu", "conv_dgrad": "dgrad_7_mma.cu"}


@pytest.mark.parametrize("bug", BUGS)
def test_planted_bugs_are_found(bug: str, tmp_path, monkeypatch) -> None:
    slot, file, old, new, text = BUGS[bug]
    assert old in source.text(file), "the bug is not where it was"
    kernels = {"pack_channels.cu", KERNELS.get(slot, "wgrad_7_mma.cu")}
    for kernel in kernels:
        found = source.headers(source.folder() / kernel)
        found = {name: body for name, body in found.items() if "/" not in name}
        for name, body in (found | {kernel: source.text(kernel)}).items():
            (tmp_path / name).write_text(body.replace(old, new) if name == file else body)
    real = emulator._library
    monkeypatch.setattr(emulator, "_library", lambda f, macros: real(str(tmp_path / f), macros))
    monkeypatch.setattr(wgrad, "SHORTEST", 64)
    p = problem(text, slot, "bfloat16")
    with pytest.raises((AssertionError, emulator.EmulatorError)):
        judge(p, slot, "igemm_mma", "integer", "contiguous")
