"""Every step under AddressSanitizer and ThreadSanitizer, on one small problem in each layout that
has a kernel of its own.

The one sees what lies beside an array, in shared memory too; the other sees races whatever the
order of threads, which run as threads of the system then.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from refconv import dispatch, label, memory
from refconv.backends._cuda_launch import Launch
from refconv.device_call import DeviceCall

from . import moving, running, sanitized
from .running import EACH
from .test_planted_bugs import BUGS, Bug, plant

#: The first that a step takes is what it runs.
SMALL = """
conv2d x[1,4,4,5] w[2,2,2,2] b p1 g2
conv2d x[1,3,5,6] w[3,1,3,3] b p1 g3
conv2d x[1,8,4,5] w[12,8,3,3] b p1
conv2d x[1,2,5,6] w[9,2,3,3] b p1
conv2d x[1,32,6,7] w[32,32,2,2] b p1
""".strip().splitlines()
#: Element types, best first.
DTYPES = {"address": ("float32", "bfloat16"), "thread": ("bfloat16", "float32")}
#: Steps that have kernels of their own for channels_last, or read that as it is.
LAST = ("depthwise", "vector", "igemm_wgmma")
CASES = [(slot, name, "contiguous") for slot, name in EACH]
CASES += [(slot, name, "channels_last") for slot, name in EACH if name in LAST]


@pytest.fixture(scope="module")
def missing(tmp_path_factory):
    """Sanitizer → why not."""
    folder = tmp_path_factory.mktemp("sanitizers")
    return {name: sanitized.missing(name, folder) for name in sanitized.SANITIZERS}


def problem_of(sanitizer: str, slot: str, name: str) -> Any:
    """What the step runs."""
    supports = running.find(slot, name).supports
    for dtype in DTYPES[sanitizer]:
        if moving.handles(slot):
            listed = moving.problems(slot, dtype)
        else:
            read = [label.parse(text) for text in SMALL]
            listed = [replace(p, dtype=dtype, bias=slot == "conv_fprop") for p in read]
        for problem in listed:
            if supports(problem) is None:
                return problem
    raise AssertionError(f"{name} takes none of the small problems")


def run(
    sanitizer: str, slot: str, name: str, layout: str, folder: Path
) -> tuple[str, torch.Tensor, torch.Tensor]:
    """What is said, the result and what it must be."""
    problem = problem_of(sanitizer, slot, name)
    if moving.handles(slot):
        given = moving.inputs_of(problem, slot, "integer")
        want, *_ = moving.wanted(problem, slot, given)
    else:
        arrays, expected = running.answers(problem, "integer")
        given, result = running.inputs_of(problem, slot, arrays)
        want = torch.as_tensor(expected[result].want).to(given[0].dtype)
    call = dispatch.prepare(problem, slot, f"cuda-on-cpu:{name}", "cpu")
    fills = ((torch.nan, given[0].dtype), (-9, torch.int64))
    made = [torch.full(s, f, dtype=d) for s, (f, d) in zip(call.user_shapes, fills, strict=False)]
    there = zip((*call.outputs, *call.inputs), (*call.out_shapes, *call.in_shapes),
                (*made, *given), strict=False)  # fmt: skip
    ready = {n: memory.ready(running.as_laid_out(x, layout), shape)
             for n, shape, x in there if x is not None}  # fmt: skip
    held = {n: x for n, (x, _) in ready.items()}
    said = ""
    for launch in call.launches({n: strides for n, (_, strides) in ready.items()}):
        for argument in launch.arguments:
            if isinstance(argument, str) and ":" in argument:
                size = int(argument.partition(":")[2])
                held.setdefault(argument, torch.full((size,), 255, dtype=torch.uint8))
        said += sanitized.run(sanitizer, launch, held, folder)
    return said, held[call.outputs[0]], want


@pytest.mark.parametrize(("slot", "name", "layout"), CASES)
@pytest.mark.parametrize("sanitizer", sanitized.SANITIZERS)
def test_nothing_is_said(sanitizer, slot, name, layout, missing, tmp_path) -> None:
    if missing[sanitizer]:
        pytest.skip(missing[sanitizer])
    said, got, want = run(sanitizer, slot, name, layout, tmp_path)
    assert said == ""
    if name in running.INEXACT:
        torch.testing.assert_close(got, want, rtol=0, atol=1e-3)
    else:
        assert torch.equal(got, want)


SHARED = "conv_fprop shared conv_2_shared.cu"
WGRAD = "conv_wgrad direct wgrad_1_direct.cu"
WGMMA = "conv_fprop igemm_wgmma conv_8_wgmma.cu"
FOUND = [
    ("thread", Bug("a race whose winner is right in every order", WGRAD,
                   "if (threadIdx.x == 0)", "sum = partial[0];", "", "data race")),
    ("thread", next(b for b in BUGS if b.what == "no barrier before the tile is read")),
    ("thread", next(b for b in BUGS if b.what == "no barrier in the tree")),
    ("thread", Bug("a stage is given back before its product is done", WGMMA,
                   "warpgroup_wait<1>(sum);", "warpgroup_wait<2>(sum);", "", "data race")),
    ("address", Bug("static shared memory that is too short", WGRAD, "partial[THREADS]",
                    "partial[THREADS - 1]", "", "global-buffer-overflow")),
    ("address", Bug("dynamic shared memory that is read too far", SHARED,
                    "const accumulator *taps = weights + ",
                    "const accumulator *taps = weights + 2 * rows * columns + ", "",
                    "heap-buffer-overflow")),
    ("address", Bug("w read too far", SHARED, "ic * g.w_c + kh", "(ic + 1) * g.w_c + kh", "",
                    "heap-buffer-overflow")),
]  # fmt: skip


@pytest.mark.parametrize(("sanitizer", "bug"), FOUND, ids=[bug.what for _, bug in FOUND])
def test_planted_bugs_are_found(sanitizer, bug, missing, tmp_path, monkeypatch) -> None:
    if missing[sanitizer]:
        pytest.skip(missing[sanitizer])
    slot, name, _ = bug.where.split()
    file = plant(bug, tmp_path, monkeypatch)
    real = DeviceCall.launches

    def planted(*of: Any) -> list[Launch]:
        made = real(*of)
        return [replace(x, source=str(file)) if x.source == file.name else x for x in made]

    monkeypatch.setattr(DeviceCall, "launches", planted)
    said, _, _ = run(sanitizer, slot, name, "contiguous", tmp_path)
    assert ("data race" if sanitizer == "thread" else bug.found) in said
