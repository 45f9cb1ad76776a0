"""The stem's kernel where the listed problems do not lead: phases of strides and dilations, chunks
of channels, every share of the warps; and bugs planted in it.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from refconv import label
from refconv.backends import _cuda_emulator as emulator
from refconv.backends import _cuda_nvrtc as nvrtc
from refconv.backends import _cuda_stem as plans
from refconv.backends import unavailable

from . import running
from .running import judge
from .test_compile_gate import costs, needs_compiler, wide
from .test_compile_gate import judge as judge_cost
from .test_planted_bugs import Bug, plant

here = pytest.mark.skipif(
    unavailable("cuda-on-cpu") is not None, reason=str(unavailable("cuda-on-cpu"))
)

#: Strides with and without a common factor of the dilation, both axes, remainders of every tile.
CASES = """
conv2d x[1,3,23,70] w[9,3,7,7] b s2 p3
conv2d x[1,1,20,71] w[17,1,5,4] s3,2 d2,3 p4,1
conv2d x[2,4,9,40] w[33,4,1,3] b s1,4 d1,2
conv2d x[1,2,21,45] w[35,2,3,3] s4,3 p1,2
conv2d x[1,4,18,33] w[24,2,3,2] b g2 p5
conv1d x[2,3,90] w[40,3,11] b s4 p5
""".strip().splitlines()
K64 = "conv2d x[1,3,9,9] w[64,3,3,3] b s2 p1"
ALEXNET = "conv2d x[1,3,35,35] w[20,3,11,11] b s4 p2"


def problem_of(text: str, dtype: str = "float32"):
    return replace(label.parse(text), dtype=dtype)


@here
@pytest.mark.parametrize("text", CASES)
def test_geometries(text: str) -> None:
    judge(problem_of(text), "conv_fprop", "stem", "integer", "behind")
    judge(problem_of(text, "bfloat16"), "conv_fprop", "stem", "real", "before")


@here
@pytest.mark.parametrize("share", plans.WARPS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_every_share_of_the_warps(monkeypatch, share, dtype: str) -> None:
    """With vectors of channels, and without; all channels in one block, and one chunk in each."""
    monkeypatch.setattr(plans, "WARPS", (share,))
    for layout in ("contiguous", "channels_last"):
        judge(problem_of(K64, dtype), "conv_fprop", "stem", "integer", layout)
    monkeypatch.setattr(plans, "blocks", lambda work, each: 1 if work == 264 else -(-work // each))
    judge(problem_of(K64, dtype), "conv_fprop", "stem", "integer")
    judge(problem_of(CASES[2], dtype), "conv_fprop", "stem", "integer", "channels_last")


@here
def test_a_large_kernel_takes_fewer_warps() -> None:
    problem = problem_of(ALEXNET)
    assert plans.warps(problem_of(CASES[0])) == (4, 2)
    assert plans.warps(problem) == (1, 1)
    judge(problem, "conv_fprop", "stem", "integer")


@here
def test_negative_padding_leaves_out_the_border() -> None:
    padding, out = ((-2, -1), (1, -2)), (7, 10)
    problem = replace(problem_of("conv2d x[1,3,12,13] w[9,3,3,3]"), padding=padding, out_size=out)
    random = torch.Generator().manual_seed(0)
    x, w = (torch.randn(s, generator=random) for s in (problem.x_shape, problem.weight_shape))
    want = running.run(problem, "conv_fprop", "direct", [x, w, None])
    got = running.run(problem, "conv_fprop", "stem", [x, w, None])
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


@here
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_infinite_weights(value: float) -> None:
    problem = problem_of(K64)
    arrays, _ = running.answers(problem, "real")
    x, w, b = running.inputs_of(problem, "conv_fprop", arrays)[0]
    w = w.clone()
    w.view(-1)[-1] = w.view(-1)[0] = value
    want = running.run(problem, "conv_fprop", "direct", [x, w, b])
    got = running.run(problem, "conv_fprop", "stem", [x, w, b])
    assert want.isfinite().any()
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4, equal_nan=True)


@pytest.mark.parametrize(
    ("text", "dtype", "said"),
    [
        (K64, "float64", "64 sums of float64"),
        (K64, "int32", "real numbers"),
        ("conv2d x[1,5,9,9] w[64,5,3,3]", "float32", "at most 4 input channels a group, and this"),
        ("conv2d x[1,8,9,9] w[8,1,3,3] g8", "float32", "and this has 1"),
        ("conv3d x[1,3,9,9,9] w[64,3,3,3,3]", "float32", "this is 3-D"),
        ("conv2d x[1,3,99,99] w[64,3,33,33]", "float32", "fits 99 KiB"),
    ],
)
def test_it_says_what_it_does_not_take(text: str, dtype: str, said: str) -> None:
    assert said in str(plans.stem(problem_of(text, dtype)))


@needs_compiler
@pytest.mark.parametrize("arch", ["sm_80", "sm_90a"])
def test_every_share_is_inside_the_budget(monkeypatch, arch: str) -> None:
    for dtype, share in (("float32", (4, 2)), ("bfloat16", (1, 1)), ("float16", (2, 2))):
        monkeypatch.setattr(plans, "WARPS", (share,))
        (launch,) = running.launches(problem_of(K64, dtype), "conv_fprop", "stem")
        last = tuple((n, "1" if n == "Y_LAST" else v) for n, v in launch.macros)
        for macros in (launch.macros, wide(last)):
            _, log = nvrtc.compiled(launch.source, macros, arch)
            for kernel, cost in costs(log).items():
                judge_cost(f"{kernel} {share} {arch}", kernel, cost, launch.shared)


STEM = "conv_fprop stem conv_4_stem.cu"
BUGS = [
    Bug("no barrier before the weights are loaded again", STEM,
        "__syncthreads();  // the weights are used up", "", K64, "wrong;|other bits"),
    Bug("no barrier before the tile is read", STEM, "__syncthreads_or(strange)", "strange", K64,
        "wrong;|other bits"),
    Bug("a phase too many", STEM, "phase >= g.stride_w", "phase > g.stride_w", K64, "wrong;"),
    Bug("a tile too narrow", STEM, "(g.KW - 1) * g.dilation_w + 1", "(g.KW - 1) * g.dilation_w",
        "conv2d x[1,2,9,70] w[9,2,3,3] p1", "wrong;"),
    Bug("columns behind the input", STEM, "iw < g.IW", "iw <= g.IW", K64, "wrong;|no memory"),
    Bug("channels beyond the last", STEM, "if (j < count) store", "store",
        K64.replace("64", "60"), "wrote|no memory|wrong;"),
    Bug("a product without care", STEM, "is_outside(value[i])", "false", K64, "not close"),
]  # fmt: skip


@here
@pytest.mark.parametrize("bug", BUGS, ids=[bug.what for bug in BUGS])
def test_planted_bugs_are_found(bug: Bug, tmp_path, monkeypatch) -> None:
    plant(bug, tmp_path, monkeypatch)
    real = emulator._library
    there = lambda f: f if "stem" in f else str(emulator.source.folder() / f)  # noqa: E731
    monkeypatch.setattr(emulator, "_library", lambda f, macros: real(there(f), macros))
    # All chunks of channels in one block: some of these bugs show only there.
    monkeypatch.setattr(plans, "blocks", lambda work, each: 1 if work == 264 else -(-work // each))
    careless = bug.found == "not close"
    with pytest.raises((AssertionError, emulator.EmulatorError), match=bug.found):
        test_infinite_weights(float("inf")) if careless else test_geometries(bug.case)
