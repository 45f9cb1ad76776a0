"""Barriers, tensor copies and warpgroup products in the emulator, and the step that uses them.

What a GPU does with the descriptors and maps is not shown here: none has run them.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from refconv import dispatch, label
from refconv.backends import _cuda_emulator as emulator
from refconv.backends import _cuda_source as source
from refconv.backends import _cuda_wgmma as wgmma
from refconv.backends import unavailable
from refconv.backends._cuda_launch import Launch
from refconv.backends._cuda_tensor_map import TensorMap, Windows, emulated

from . import running
from .running import judge

pytestmark = pytest.mark.skipif(
    unavailable("cuda-on-cpu") is not None, reason=str(unavailable("cuda-on-cpu"))
)

#: y (8, 64) = 8 windows' channels of one tap, chunks put back in order; 64 threads.
COPY = r"""
#include "hopper.cuh"
extern "C" __global__ void copy(unsigned short *y, const unsigned short *x,
                                const __grid_constant__ TensorMap map, int tap, int kind) {
  DYN_SHARED(unsigned short, tile);
  __shared__ Barrier full;
  if (threadIdx.x == 0) barrier_init(&full, 1);
  barrier_init_fence();
  __syncthreads();
  if (threadIdx.x == 0) {
    barrier_arrive_expect(&full, 8 * 128);
    if (kind) copy_windows(tile, &map, 0, -1, -1, 0, tap % 3, tap / 3, &full);
    else copy_box(tile, &map, 8, 1, 0, &full);
  }
  barrier_wait(&full, 0);
  for (int row = 0; row < 8; row++)
    y[row * 64 + threadIdx.x] = tile[row * 64 + (threadIdx.x / 8 ^ row) * 8 + threadIdx.x % 8];
}
"""


def copied(folder: Path, text: str, x: torch.Tensor, described: TensorMap, tap: int) -> Any:
    (folder / "copy.cu").write_text(text)
    emulator._library.cache_clear()
    y = torch.full((8, 64), -1, dtype=torch.int16)
    kind = int(described.windows is not None)
    launch = Launch(str(folder / "copy.cu"), "copy", (), (1, 1, 1), (64, 1, 1),
                    ("y", "x", described, tap, kind), 1024)  # fmt: skip
    emulator.execute([launch], {"y": y.data_ptr(), "x": x.data_ptr()}, y)
    return y


def image() -> torch.Tensor:
    """(N, H, W, C) = (2, 4, 5, 48), every element another."""
    return torch.arange(2 * 4 * 5 * 48, dtype=torch.int16).view(2, 4, 5, 48)


def windows_of(x: torch.Tensor, step: int = 1) -> TensorMap:
    """8 windows of 3x3 with padding 1."""
    _, h, w, c = x.shape
    ends = [(size - 1) // step * step - 1 - (size - 1) for size in (w, h)]
    found = Windows((-1, -1), (ends[0], ends[1]), (step, step))
    return TensorMap("x", "bfloat16", (c, w, h, 2), (c, w * c, h * w * c), (64, 8), found)


@pytest.mark.parametrize("turns", emulator.ORDERS)
@pytest.mark.parametrize("step", [1, 2])
def test_windows_are_copied(tmp_path, turns: str, step: int) -> None:
    x = image()
    wide = torch.nn.functional.pad(x, (0, 16, 1, 1, 1, 1))
    for tap in (0, 4, 5):
        with emulator.order(turns):
            got = copied(tmp_path, COPY, x, windows_of(x, step), tap)
        taken = wide[:, tap // 3 :: step, tap % 3 :: step][:, : -(-4 // step), : -(-5 // step)]
        assert torch.equal(got, taken.reshape(-1, 64)[:8])


def test_a_box_is_copied(tmp_path) -> None:
    x = image()
    described = TensorMap("x", "bfloat16", (48, 5, 8), (48, 240), (64, 8))
    got = copied(tmp_path, COPY, x, described, 0)
    want = torch.zeros(8, 64, dtype=torch.int16)
    want[:4, :40] = x.view(8, 5, 48)[0, 1:, 8:]
    assert torch.equal(got, want)


RULES = {
    "deadlock: what threads wait for never comes": ("8 * 128", "8 * 128 + 2"),
    "a barrier that nobody initialised": ("barrier_init(&full, 1);", ";"),
    "more arrivals than the barrier counts": (
        "barrier_arrive_expect(&full, 8 * 128);", "barrier_arrive_expect(&full, 8 * 128);\n"
        "    barrier_arrive(&full);"),
    "a box is not aligned to 128 bytes": ("copy_windows(tile,", "copy_windows(tile + 8,"),
    "the map is of the other kind": ("if (kind)", "if (!kind)"),
    "an offset of windows has 8 bits": ("tap % 3,", "tap % 3 - 1,"),
    "ended with asynchronous copies in flight": ("barrier_wait(&full, 0);", ""),
}  # fmt: skip


@pytest.mark.parametrize("said", RULES)
def test_rules(tmp_path, said: str) -> None:
    old, new = RULES[said]
    assert old in COPY
    with pytest.raises(emulator.EmulatorError, match=said):
        copied(tmp_path, COPY.replace(old, new), image(), windows_of(image()), 0)


def test_the_emulated_map() -> None:
    """What stands where in the struct."""
    made = emulated(windows_of(image(), 2), 4096)
    assert len(made) == 128
    assert struct.unpack_from("<Q3i", made) == (4096, 4, 2, 48)
    assert struct.unpack_from("<i6h", made, 88) == (1, -1, -1, -1, -2, 2, 2)


PADDED = "conv2d x[2,72,6,7] w[24,72,3,3] b p1"
GEOMETRIES = """
conv2d x[2,8,13,15] w[16,8,3,2] b s3,2 p1,4 d1,3
conv2d x[1,80,9,8] w[16,40,2,2] b s2 g2
conv1d x[2,8,150] w[8,8,5] p2
""".strip().splitlines()


def problem(text: str) -> Any:
    return replace(label.parse(text), dtype="bfloat16")


@pytest.mark.parametrize("text", GEOMETRIES)
def test_geometry(text: str) -> None:
    """Arrays taken as they are, where torch has a channels_last for them."""
    judge(problem(text), "conv_fprop", "igemm_wgmma", "real", "channels_last")


#: Phases of one to nine taps, and of none; strides and dilations with and without a common factor;
#: groups; what a transposed convolution adds at its end.
BACKWARD = """
conv2d x[2,16,7,9] w[24,16,3,3] p1
conv2d x[1,72,9,8] w[24,72,3,2] s2 p1,0
conv2d x[1,16,11,10] w[16,16,2,3] s3 p0,2
conv2d x[1,32,12,9] w[16,16,3,3] s2,3 p2 d2,1 g2
conv_transpose2d x[2,24,5,6] w[24,16,4,4] b s2 p1
conv_transpose2d x[1,8,4,5] w[8,16,3,3] s2 p1 op1
conv1d x[2,8,150] w[8,8,5] p2
""".strip().splitlines()


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("text", BACKWARD)
def test_backward(text: str, layout: str) -> None:
    judge(problem(text), "conv_dgrad", "igemm_wgmma", "integer", layout)


@pytest.mark.parametrize("bug", [
    ("min(0, (g.TH - 1) * g.hop_h)", "0"),
    ("g.w_first + th * g.w_h", "th * g.w_h"),
], ids=lambda bug: bug[0])  # fmt: skip
def test_bugs_that_only_backward_shows_are_found(bug, tmp_path, monkeypatch) -> None:
    planted(tmp_path, monkeypatch, *bug)
    judge(problem(PADDED), "conv_fprop", "igemm_wgmma", "integer", "channels_last")
    with pytest.raises((AssertionError, emulator.EmulatorError)):
        judge(problem(BACKWARD[1]), "conv_dgrad", "igemm_wgmma", "integer", "channels_last")


@pytest.mark.parametrize("width", wgmma.WIDTHS)
def test_every_width(width: int, monkeypatch) -> None:
    """Several blocks along rows and columns; more tiles than stages."""
    monkeypatch.setattr(wgmma, "choose", lambda *_: width)
    text = f"conv2d x[1,72,12,11] w[{width + 8},72,2,3] b p1"
    judge(problem(text), "conv_fprop", "igemm_wgmma", "integer", "channels_last")


def test_infinite_weights_meet_only_what_is_there() -> None:
    p = problem("conv2d x[1,16,5,6] w[8,16,3,3] p1")
    arrays, expected = running.answers(p, "real", torch.inf)
    given, _ = running.inputs_of(p, "conv_fprop", arrays)
    got = running.run(p, "conv_fprop", "igemm_wgmma", given)
    want = torch.as_tensor(expected["output"].want)
    assert torch.equal(got.isnan(), want.isnan())
    assert torch.equal(got.isinf(), want.isinf())


def test_what_the_accelerator_cannot_is_refused() -> None:
    for text, said in (
        ("conv2d x[1,8,40,40] w[8,8,3,3] s9", "strides of up to 8, and this has 9"),
        ("conv2d x[1,8,300,4] w[8,8,2,1] p128,0 d256", "reaches over 256 elements at most"),
        ("conv2d x[1,8,200,4] w[8,8,160,1]", "or end so far inside"),
        ("conv3d x[1,8,4,4,4] w[8,8,3,3,3]", "this is 3-D"),
    ):
        assert said in str(wgmma.supports(problem(text)))
    assert wgmma.supports(problem(PADDED)) is None


def test_weights_whose_taps_are_no_axis_are_packed() -> None:
    p = problem("conv2d x[1,8,5,6] w[8,8,3,3] p1")
    call = dispatch.prepare(p, "conv_fprop", "cuda-on-cpu:igemm_wgmma", "cpu")
    x, y = (240, 1, 240, 48, 8), (160, 1, 160, 32, 8)
    for strides, packs in (((72, 1, 72, 24, 8), 0), ((96, 1, 96, 32, 8), 1)):
        made = [m.kernel for m in call.launches({"y": y, "x": x, "w": strides})]
        assert made == ["pack_channels"] * packs + ["conv_wgmma"]


BUGS = {
    "a stage read before it is full": ("barrier_wait(ring.full + stage, s / STAGES % 2);", ""),
    "a stage filled before it is free": (
        "barrier_wait(ring.empty + stage, (s / STAGES + 1) % 2);", ""),
    "the other parity": ("s / STAGES % 2)", "(s / STAGES + 1) % 2)"),
    "a stage given back too early": ("(s - 1) % STAGES", "s % STAGES"),
    "fewer bytes expected": ("TILE * int(sizeof(element))", "TILE"),
    "sums read before they are done": ("  warpgroup_wait<0>(sum);\n", ""),
    "a product of the next chunk": ("tile_of(right + k)", "tile_of(right + (k + 16) % DEPTH)"),
    "both warpgroups multiply the same rows": ("threadIdx.x / 128 * 64", "0"),
    "taps the wrong way round": ("tw * g.hop_w - back_w", "th * g.hop_w - back_w"),
    "no barrier before y's tile": (
        "__syncthreads();  // all products are done: the stages are free", ""),
    "no bias": ("v += load(b", "v += 0 * load(b"),
}  # fmt: skip


def planted(tmp_path: Path, monkeypatch, old: str, new: str) -> None:
    """The kernel with a bug is what runs from now on."""
    text = source.text("conv_8_wgmma.cu")
    assert old in text, "the bug is not where it was"
    found = source.headers(source.folder() / "conv_8_wgmma.cu")
    for name, body in found.items():
        if "/" not in name:
            (tmp_path / name).write_text(body)
    (tmp_path / "conv_8_wgmma.cu").write_text(text.replace(old, new))
    real, ours = emulator._library, "conv_8_wgmma.cu"
    moved = lambda f, macros: real(str(tmp_path / f) if f == ours else f, macros)  # noqa: E731
    monkeypatch.setattr(emulator, "_library", moved)


@pytest.mark.parametrize("bug", BUGS)
def test_planted_bugs_are_found(bug: str, tmp_path, monkeypatch) -> None:
    planted(tmp_path, monkeypatch, *BUGS[bug])
    with pytest.raises((AssertionError, emulator.EmulatorError)):
        judge(problem(PADDED), "conv_fprop", "igemm_wgmma", "integer", "channels_last")
