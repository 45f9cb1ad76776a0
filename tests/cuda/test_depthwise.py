"""What the generic tests do not reach of the steps that cut planes: blocks of several planes, long
shares, gradients that are not finite; and bugs planted in them.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from refconv import device_call, label
from refconv.backends import _cuda_depthwise as depthwise
from refconv.backends import _cuda_emulator as emulator
from refconv.backends import _cuda_source as source
from refconv.backends import unavailable
from refconv.backends._cuda_launch import Given

from . import running
from .running import judge
from .test_planted_bugs import Bug, plant

SLOTS = ("conv_fprop", "conv_dgrad", "conv_wgrad")
pytestmark = pytest.mark.skipif(
    unavailable("cuda-on-cpu") is not None, reason=str(unavailable("cuda-on-cpu"))
)


@pytest.fixture
def small_gpu(monkeypatch) -> None:
    """One multiprocessor: so planes share blocks, and blocks have long shares."""
    monkeypatch.setattr(
        device_call, "Given", lambda *given: replace(Given(*given), multiprocessors=1)
    )


def read(text: str, slot: str, dtype: str = "float32"):
    problem = replace(label.parse(text), dtype=dtype)
    return replace(problem, bias=problem.bias and slot == problem.forward_slot)


def macros(problem, slot: str) -> dict[str, str]:
    """What the step is compiled with for one multiprocessor."""
    shapes = dict(zip("xy", (problem.call("conv_fprop")[i][0] for i in (0, 1)), strict=True))
    shapes["w"] = problem.call("conv_fprop")[0][1]
    strides = {n: (1, *(0,) * (len(s) - 1)) for n, s in shapes.items()}
    given = Given(problem, slot, shapes, strides, multiprocessors=1)
    return dict(getattr(depthwise, f"{slot.removeprefix('conv_')}_depthwise")(given)[0].macros)


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("layout", ["behind", "channels_last"])
def test_several_planes_share_a_block(slot: str, layout: str, small_gpu) -> None:
    for text in ("conv2d x[5,3,7,6] w[3,1,3,3] b p1 g3", "conv2d x[9,2,5,7] w[4,1,3,2] b s2 p1 g2"):
        problem = read(text, slot)
        assert int(macros(problem, slot)["PLANES"]) > 1
        judge(problem, slot, "depthwise", "integer", layout)


@pytest.mark.parametrize("slot", SLOTS)
def test_a_plane_is_cut(slot: str, small_gpu) -> None:
    """Into several tiles, of which a share has several."""
    problem = read("conv2d x[1,1,70,139] w[1,1,3,3] b p1", slot)
    judge(problem, slot, "depthwise", "integer", "behind")


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_what_is_outside_meets_nothing(layout: str, value: float) -> None:
    """Of wgrad dy, or x behind the last window, may be infinite: 0 * inf would be NaN."""
    problem = read("conv2d x[2,4,6,7] w[4,1,3,3] s2 p1 g4", "conv_wgrad")
    arrays, _ = running.answers(problem, "real")
    x, dy = arrays["input"].clone(), arrays["grad"].clone()
    dy[0, 1, 0, 0], x[1, 3, 0, 6], x[0, 2, 5, :] = value, value, value
    naive = running.dispatch.run(problem, "conv_wgrad", dy, x, backend="naive")
    given = [running.as_laid_out(t, layout) for t in (dy, x)]
    got = running.run(problem, "conv_wgrad", "depthwise", given)
    assert torch.equal(got.isfinite(), naive.isfinite())
    assert not got.isfinite().all()
    kept = got.isfinite()
    torch.testing.assert_close(got[kept], naive[kept])


PADDED = "conv2d x[2,6,10,21] w[6,1,3,3] b p1 g6"
STRIDED = "conv_transpose2d x[2,4,5,6] w[4,1,4,4] s2 p1 g4"
FPROP = "conv_fprop depthwise conv_5_depthwise.cu"
WALK = "conv_fprop depthwise depthwise.cuh"
WGRAD = "conv_wgrad depthwise wgrad_5_depthwise.cu"

BUGS = [
    Bug("no barrier before the tile is read", WALK, "__syncthreads();  // the tile is whole", "",
        PADDED, "wrong;"),
    Bug("planes known too late", WALK, "__syncthreads();  // where planes begin is known", "",
        PADDED, "wrong;|no memory|other bits"),
    Bug("a tile too narrow", "conv_fprop depthwise slide.cuh", "(TAPS_W - 1) * DILATION_W + 1",
        "(TAPS_W - 1) * DILATION_W", PADDED, "wrong;"),
    Bug("padding on the wrong side", "conv_fprop depthwise slide.cuh",
        "o * STRIDE_W - padding", "o * STRIDE_W + padding", PADDED, "wrong;"),
    Bug("a row of taps left out", "conv_fprop depthwise meet.cuh", "if (kh < 0)", "if (kh < 1)",
        PADDED, "wrong;"),
    Bug("another phase", "conv_dgrad depthwise unslide.cuh", "j + PHASE_H -", "j -", STRIDED,
        "wrong;"),
    Bug("stored behind the row", "conv_fprop depthwise planes.cuh", "if (i < count) to[", "to[",
        PADDED, "wrong;|wrote"),
    Bug("a sum of too few threads", WGRAD, "t += LANES", "t += LANES + 1", PADDED, "wrong;"),
    Bug("no barrier before sums are read", WGRAD,
        "__syncthreads();  // every thread's values are there", "", PADDED, "wrong;|other bits"),
    Bug("shares that overlap", WGRAD, "at += splits", "at += 1", "conv2d x[9,2,5,7] w[2,1,3,3] g2",
        "wrong;"),
]  # fmt: skip


@pytest.mark.parametrize("bug", BUGS, ids=[bug.what for bug in BUGS])
def test_planted_bugs_are_found(bug: Bug, tmp_path, monkeypatch) -> None:
    slot, name, _ = bug.where.split()
    kernel = f"{slot.removeprefix('conv_')}_5_depthwise.cu".replace("fprop", "conv")
    headers = source.headers(source.folder() / kernel, emulator=False)
    for file, text in {kernel: source.text(kernel), **headers}.items():
        (tmp_path / file).write_text(text)
    changed = bug.where.split()[2]
    plant(bug, tmp_path, monkeypatch)
    assert (tmp_path / changed).read_text() != source.text(changed)
    with pytest.raises((AssertionError, emulator.EmulatorError), match=bug.found):
        judge(read(bug.case, slot), slot, name, "integer", "behind")
