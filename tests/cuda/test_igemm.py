"""Implicit GEMM in what small problems do not reach by themselves: every tile, loads in quads, the
epilogue, operands that are not finite; and bugs planted in it.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from refconv import label
from refconv.backends import _cuda_emulator as emulator
from refconv.backends import _cuda_igemm as plans
from refconv.backends import _cuda_source as source
from refconv.backends import unavailable
from refconv.backends._cuda_launch import Given, Launch

from . import running
from .running import find, judge
from .test_planted_bugs import Bug

here = pytest.mark.skipif(
    unavailable("cuda-on-cpu") is not None, reason=str(unavailable("cuda-on-cpu"))
)

TILES = ((128, 128), (128, 64), (128, 32), (64, 64))
#: More rows and columns than any tile has, depth that no turn divides, and where it is a multiple
#: of four.
LARGE = "conv2d x[2,5,9,9] w[131,5,3,3] b p1"
LARGE_OF = {
    "conv_fprop": LARGE,
    "conv_dgrad": "conv2d x[2,131,15,11] w[5,131,3,3] s2 p1",
    "conv_wgrad": "conv2d x[2,17,6,7] w[131,17,3,3] s2 p1",
}
QUADS = "conv2d x[1,12,10,9] w[68,12,2,2] b p1"
FILES = {
    "conv_fprop": "conv_3_igemm.cu",
    "conv_dgrad": "dgrad_3_igemm.cu",
    "conv_wgrad": "wgrad_3_igemm.cu",
}
EACH_SLOT = tuple(FILES)


def problem_of(text: str, slot: str, dtype: str = "float32"):
    problem = replace(label.parse(text), dtype=dtype)
    return replace(problem, bias=problem.bias and slot == problem.forward_slot)


def with_tile(monkeypatch, m: int, n: int) -> None:
    monkeypatch.setattr(plans, "tile", lambda given, rows, columns, groups: (m, n))


@here
@pytest.mark.parametrize("slot", EACH_SLOT)
@pytest.mark.parametrize("tile", TILES)
def test_every_tile(monkeypatch, slot: str, tile) -> None:
    with_tile(monkeypatch, *tile)
    judge(problem_of(LARGE_OF[slot], slot), slot, "igemm", "integer")
    judge(problem_of(QUADS, slot), slot, "igemm", "integer", "channels_last")


@here
@pytest.mark.parametrize("slot", EACH_SLOT)
@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_quads_of_every_size(slot: str, dtype: str) -> None:
    """Where arrays begin at a multiple of 16 bytes, and where they do not."""
    for layout in ("contiguous", "channels_last", "behind"):
        judge(problem_of(QUADS, slot, dtype), slot, "igemm", "real", layout)


def asked(slot: str, text: str, layout: str = "contiguous", **changed) -> Launch:
    """The product's launch for arrays of this layout."""
    problem = problem_of(text, slot)
    shapes = {"x": problem.x_shape, "y": problem.y_shape, "w": problem.weight_shape}
    strides = {}
    for name, shape in shapes.items():
        array = running.as_laid_out(torch.empty(shape), layout)
        assert array is not None
        strides[name] = (*array.stride()[:2], 0, *array.stride()[2:])
        shapes[name] = (*shape[:2], 1, *shape[2:])
    given = Given(problem, slot, shapes, strides, **changed)
    return getattr(plans, find(slot, "igemm").plan.partition(":")[2])(given)[0]


def test_quads_are_loaded_where_they_are_aligned() -> None:
    quads = lambda *a, **b: asked("conv_fprop", *a, **b).arguments[4:6]  # noqa: E731
    assert quads(QUADS) == (0, 1)
    assert quads(QUADS, "channels_last") == (1, 1)
    assert quads(QUADS, "channels_last", unaligned={"x"}) == (0, 1)
    assert quads(QUADS, "channels_last", unaligned={"w"}) == (1, 0)
    assert quads(LARGE, "channels_last") == (0, 0)


def test_tiles_leave_enough_blocks() -> None:
    big = "conv2d x[64,64,56,56] w[128,64,3,3] p1"
    macros = lambda *a, **b: dict(asked("conv_fprop", *a, **b).macros)  # noqa: E731
    for text, many, m, n in (
        (big, 132, "128", "128"), (big, 2000, "64", "64"), (QUADS, 132, "64", "64"),
        (QUADS.replace("68", "30"), 132, "128", "32"),
        (big.replace("w[128", "w[64"), 132, "128", "64"),
    ):  # fmt: skip
        made = macros(text, multiprocessors=many)
        assert (made["TILE_M"], made["TILE_N"]) == (m, n), text


@here
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_parts_of_the_depth_are_added(monkeypatch, dtype: str) -> None:
    """As of long depths, in short ones: parts that begin within an image, a last one that is short,
    and the same bits every time.
    """
    monkeypatch.setattr(plans, "LEAST", 8)
    text = "conv2d x[3,5,6,7] w[9,5,3,3] p1"
    assert asked("conv_wgrad", text).grid == (8, 1, 1)
    for layout in ("contiguous", "channels_last", "view"):
        judge(problem_of(text, "conv_wgrad", dtype), "conv_wgrad", "igemm", "real", layout)
    judge(problem_of(text, "conv_wgrad", dtype), "conv_wgrad", "igemm", "integer")


@here
def test_an_empty_batch_has_gradients_of_zero() -> None:
    problem = problem_of("conv2d x[0,5,6,7] w[9,5,3,3] p1", "conv_wgrad")
    got = running.run(problem, "conv_wgrad", "igemm", [torch.empty(s) for s in
                      (problem.y_shape, problem.x_shape)])  # fmt: skip
    assert torch.equal(got, torch.zeros(problem.weight_shape))


def test_positions_of_a_batch_have_31_bits() -> None:
    problem = label.parse("conv2d x[65536,1,256,128] w[1,1,1,1]")
    assert "less than 2^31 positions" in str(plans.wgrad(problem))


@here
@pytest.mark.parametrize("slot", EACH_SLOT)
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_the_last_element_may_be_infinite(slot: str, value: float) -> None:
    """Where the careful product comes late, for some blocks only, and in channels_last too."""
    problem = problem_of("conv2d x[1,12,7,9] w[40,12,3,3] p1", slot)
    arrays, _ = running.answers(problem, "real")
    given, _ = running.inputs_of(problem, slot, arrays)
    dense = given[0 if slot == "conv_wgrad" else 1].clone()
    dense.view(-1)[-1] = value
    given[0 if slot == "conv_wgrad" else 1] = dense
    want = running.run(problem, slot, "direct", given)
    assert want.isnan().any() or want.isinf().any()
    for layout in ("contiguous", "channels_last"):
        laid = [running.as_laid_out(x, layout) for x in given]
        got = running.run(problem, slot, "igemm", laid)
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4, equal_nan=True)


@here
@pytest.mark.parametrize("slot", EACH_SLOT)
def test_negative_padding_leaves_out_the_border(slot: str) -> None:
    padding, out = ((-2, -1), (1, -2)), (4, 10)
    problem = problem_of("conv2d x[2,4,12,13] w[6,4,3,3] s2,1", slot)
    problem = replace(problem, padding=padding, out_size=out)
    random = torch.Generator().manual_seed(0)
    x, w, y = (torch.randn(s, generator=random) for s in
               (problem.x_shape, problem.weight_shape, problem.y_shape))  # fmt: skip
    given = {"conv_fprop": [x, w, None], "conv_dgrad": [y, w, None], "conv_wgrad": [y, x]}[slot]
    want = running.run(problem, slot, "direct", given)
    got = running.run(problem, slot, "igemm", given)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


DGRAD = "conv_dgrad igemm dgrad_3_igemm.cu"
WGRAD = "conv_wgrad igemm wgrad_3_igemm.cu"
FPROP = "conv_fprop igemm conv_3_igemm.cu"
TILE = "conv_fprop igemm gemm_tile.cuh"
STRIDED = "conv2d x[1,4,11,10] w[5,4,4,4] s2 p1"
DEEP = "conv3d x[1,2,7,6,5] w[3,2,4,2,2] s2"
BUGS = [
    Bug("no barrier before the first links are used", TILE,
        "__syncthreads();  // the first links are there", "", LARGE, "wrong;|no memory|other bits"),
    Bug("no barrier between turns", TILE,
        "careful = __syncthreads_or(strange);  // the next", "// the next", LARGE,
        "wrong;|other bits|no memory"),
    Bug("links made in place of those in use", TILE, "(turn / TURNS + 1) % 2 * 32",
        "turn / TURNS % 2 * 32", LARGE, "wrong;|no memory"),
    Bug("a turn too few", TILE, "(last - first + DEPTH - 1) / DEPTH", "(last - first) / DEPTH",
        LARGE, "wrong;"),
    Bug("the same pair of tiles is written and read", TILE, "tiles.gathered[next % 2], a",
        "tiles.gathered[turn % 2], a", LARGE, "wrong;"),
    Bug("rows read beyond the input", TILE, "(place.h + l.h) < H", "(place.h + l.h) <= H", LARGE,
        "wrong;|no memory"),
    Bug("no barrier before the stage is written again", TILE,
        "__syncthreads();  // the stage is free", "", LARGE, "wrong;|other bits"),
    Bug("no barrier before the stage is read", TILE,
        "__syncthreads();  // the stage is full", "", LARGE, "wrong;|other bits"),
    Bug("columns beyond the last are written", FPROP, "j >= count || ", "", LARGE,
        "wrote|wrong;|no memory"),
    Bug("rows beyond the last are written", FPROP, "there ? n * g.y_n", "true ? n * g.y_n", LARGE,
        "wrote|wrong;|no memory"),
    Bug("steps out of the order of quads", FPROP, "X_LAST ? k % C : k / taps",
        "X_LAST ? k % C : k / g.KW", LARGE, "wrong;|no memory"),
    Bug("the last element of a phase is left out", DGRAD, "(I - 1 - first) / stride + 1",
        "(I - 1 - first) / stride", STRIDED, "wrong;"),
    Bug("taps that do not fit", DGRAD, "d.tap + td * p.step_d", "d.tap + td", DEEP,
        "wrong;|no memory"),
    Bug("a phase without taps has one", DGRAD, "fits ? (K - 1 - tap) / step + 1 : 0",
        "(K - 1 - tap) / step + 1", "conv2d x[1,3,7,7] w[2,3,1,1] s2", "wrong;|no memory"),
    Bug("back by too many outputs", DGRAD, "-back_d, -back_h, -back_w};",
        "-back_d, -back_h, back_w};", STRIDED, "wrong;|no memory"),
    Bug("parts that overlap", WGRAD, "min(first + steps, every)", "min(first + steps + 1, every)",
        LARGE, "wrong;"),
    Bug("a part that is left out", WGRAD, "int part = 0;", "int part = 1;", LARGE, "wrong;"),
    Bug("parts in one place", WGRAD, "(static_cast<int64>(part) * g.K + oc0)", "(oc0)",
        LARGE, "wrong;|other bits"),
    Bug("rows in another order", WGRAD, "tap / g.KW / g.KH, tap / g.KW % g.KH",
        "tap / g.KW % g.KH, tap / g.KW / g.KH", LARGE, "wrong;|no memory|wrote"),
]  # fmt: skip


def plant(bug: Bug, folder, monkeypatch) -> None:
    """As in test_planted_bugs, with a header in question beside the slot's kernel."""
    slot, _, file = bug.where.split()
    kernel = FILES[slot]
    texts = {**source.headers(source.folder() / kernel), kernel: source.text(kernel)}
    assert bug.old in texts[file], "the bug is not where it was"
    texts[file] = texts[file].replace(bug.old, bug.new)
    for name in (n for n in texts if "/" not in n):
        (folder / name).write_text(texts[name])
    real = emulator._library
    where = lambda f: str(folder / f) if f == kernel else f  # noqa: E731
    monkeypatch.setattr(emulator, "_library", lambda f, macros: real(where(f), macros))


@here
@pytest.mark.parametrize("bug", BUGS, ids=[bug.what for bug in BUGS])
def test_planted_bugs_are_found(bug: Bug, tmp_path, monkeypatch) -> None:
    plant(bug, tmp_path, monkeypatch)
    monkeypatch.setattr(plans, "LEAST", 16)
    slot, name, _ = bug.where.split()
    with pytest.raises((AssertionError, emulator.EmulatorError), match=bug.found):
        judge(problem_of(bug.case, slot), slot, name, "integer", "behind")


@here
def test_a_careless_product_is_found(tmp_path, monkeypatch) -> None:
    bug = Bug("", TILE, "if (careful)", "if (false)", "", "")
    plant(bug, tmp_path, monkeypatch)
    with pytest.raises(AssertionError, match="not close"):
        test_the_last_element_may_be_infinite("conv_fprop", float("inf"))
