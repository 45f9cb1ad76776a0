"""Arrays that reach over 2^31 elements: every step on two images so far apart, in a mapping of
which only the pages that are touched are memory; and calls on tensors that have so many elements.
"""

from __future__ import annotations

import mmap
from functools import cache
from math import prod
from typing import Any

import pytest
import torch

import refconv.functional as F
from refconv import dispatch, memory
from refconv.backends import _cuda_emulator as emulator
from refconv.backends import unavailable
from refconv.harness.cases import with_batch

from . import moving, running
from .running import DTYPES, EACH
from .test_planted_bugs import Bug, plant

pytestmark = pytest.mark.skipif(
    unavailable("cuda-on-cpu") is not None, reason=str(unavailable("cuda-on-cpu"))
)
#: Elements from image to image.
APART = 2**31 + 64
#: Bytes of the mapping: two images of float64, and where each array begins in it.
ROOM, STEP = 8 * APART + (64 << 20), 8 << 20
NORESERVE = 0x4000


@cache
def mapping() -> mmap.mmap:
    """Addresses without memory behind them until they are written to."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NORESERVE
    return mmap.mmap(-1, ROOM, flags=flags)


def apart(x: torch.Tensor, number: int) -> torch.Tensor:
    """The same values, its images ``APART``; the array with this number in the mapping."""
    inner = prod(x.shape[1:])
    flat = torch.frombuffer(
        mapping(), dtype=x.dtype, count=APART + inner, offset=number * STEP
    )  # of which two images are touched
    return flat.as_strided(x.shape, (APART, *memory.contiguous(tuple(x.shape))[1:])).copy_(x)


def case(slot: str, name: str) -> tuple[Any, list[torch.Tensor | None], torch.Tensor]:
    """A problem of two images, in the type with the smallest elements, its arrays and result."""
    supports = running.find(slot, name).supports
    for dtype in DTYPES[::-1]:
        for problem in running.problems(slot, name, dtype):
            if moving.handles(slot):
                given = moving.inputs_of(problem, slot, "integer")
                if given[0].shape[0] == 2:
                    return problem, given, moving.wanted(problem, slot, given)[0]
            elif supports(problem := with_batch(problem, 2)) is None:
                arrays, expected = running.answers(problem, "integer")
                given, result = running.inputs_of(problem, slot, arrays)
                return problem, given, torch.as_tensor(expected[result].want).to(given[0].dtype)
    raise AssertionError(f"{name} takes no listed problem of two images")


def run(slot: str, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The result, and what it must be."""
    problem, given, want = case(slot, name)
    call = dispatch.prepare(problem, slot, f"cuda-on-cpu:{name}", "cpu")
    outputs = [torch.full_like(want, -9)]
    outputs += [torch.empty(s, dtype=torch.int64) for s in call.user_shapes[1:]]
    arrays, names = [*outputs, *given], (*call.outputs, *call.inputs)
    shapes = (*call.out_shapes, *call.in_shapes)
    ready = {
        key: memory.ready(apart(x, i) if key not in ("w", "b") else x, shape)
        for i, (key, x, shape) in enumerate(zip(names, arrays, shapes, strict=False))
        if x is not None
    }
    launches = call.launches({key: strides for key, (_, strides) in ready.items()})
    assert any(("OFFSET", "int64") in launch.macros for launch in launches)
    held = {key: x for key, (x, _) in ready.items()}
    call._execute(launches, held, outputs[0])
    return held[call.outputs[0]], want


@pytest.mark.parametrize(("slot", "name"), EACH)
def test_images_that_are_far_apart(slot: str, name: str) -> None:
    got, want = run(slot, name)
    if name in running.INEXACT:
        torch.testing.assert_close(got, want, rtol=0, atol=1e-3)
    else:
        assert torch.equal(got, want.view(got.shape))


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("call", ["conv", "max", "average"])
def test_tensors_of_over_2_31_elements(call: str, layout: str) -> None:
    """As users call them, with windows far apart: 2.6 thousand million elements, few of them read;
    beside the same windows of a tensor that has no others.
    """
    shape, stride = (2, 2, 16384, 40960), 15000
    strides = memory.contiguous(shape)
    if layout == "channels_last":
        strides = (strides[0], 1, shape[3] * shape[1], shape[1])
    flat = torch.frombuffer(mapping(), dtype=torch.float16, count=prod(shape))
    x = flat.as_strided(shape, strides)
    random = torch.Generator().manual_seed(2)
    small = torch.randint(-4, 5, (2, 2, 6, 9), generator=random).half()
    for h in range(2):
        for w in range(3):
            corner = (..., slice(h * stride, h * stride + 3), slice(w * stride, w * stride + 3))
            x[corner] = small[..., h * 3 : h * 3 + 3, w * 3 : w * 3 + 3]
    assert x.numel() > 2**31
    if call == "conv":
        weight = torch.randint(-2, 3, (3, 2, 3, 3), generator=random).half()
        f = lambda x, s: F.conv2d(x, weight, stride=s, backend="cuda-on-cpu:igemm")  # noqa: E731
    else:
        pool = F.max_pool2d if call == "max" else F.avg_pool2d
        f = lambda x, s: pool(x, 3, s, backend="cuda-on-cpu:windows")  # noqa: E731
    got = f(x, stride)
    assert got.shape[2:] == (2, 3)
    assert torch.equal(got, f(small, 3))


def test_an_offset_of_32_bits_is_found(tmp_path, monkeypatch) -> None:
    bug = Bug("", "conv_fprop direct conv_1_direct.cu", "n * g.x_n", "int(n * g.x_n)", "", "")
    plant(bug, tmp_path, monkeypatch)
    with pytest.raises(emulator.EmulatorError, match="no memory at address"):
        run("conv_fprop", "direct")
