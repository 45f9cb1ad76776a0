"""Every step under AddressSanitizer and ThreadSanitizer, on one small problem.

The one sees what lies beside an array, in shared memory too; the other sees races whatever the
order of threads, which run as threads of the system then.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from refconv import dispatch, label

from . import moving, running, sanitized
from .running import EACH
from .test_planted_bugs import BUGS, Bug, plant

SMALL = "conv2d x[1,4,4,5] w[2,2,2,2] b p1 g2"
DTYPE = {"address": "float32", "thread": "bfloat16"}


@pytest.fixture(scope="module")
def missing(tmp_path_factory):
    """Sanitizer → why not."""
    folder = tmp_path_factory.mktemp("sanitizers")
    return {name: sanitized.missing(name, folder) for name in sanitized.SANITIZERS}


def run(sanitizer: str, slot: str, name: str, folder) -> tuple[str, torch.Tensor, torch.Tensor]:
    """What is said, the result and what it must be."""
    if moving.handles(slot):
        problem = next(p for p in moving.problems(slot, DTYPE[sanitizer]) if takes(slot, name, p))
        given = moving.inputs_of(problem, slot, "integer")
        want, *_ = moving.wanted(problem, slot, given)
    else:
        problem = replace(label.parse(SMALL), dtype=DTYPE[sanitizer], bias=slot == "conv_fprop")
        if reason := running.find(slot, name).supports(problem):
            pytest.skip(f"it does not take the small problem: {reason}")
        arrays, expected = running.answers(problem, "integer")
        given, result = running.inputs_of(problem, slot, arrays)
        want = torch.as_tensor(expected[result].want).to(given[0].dtype)
    call = dispatch.prepare(problem, slot, f"cuda-on-cpu:{name}", "cpu")
    y = torch.full(call.out_shapes[0], torch.nan, dtype=given[0].dtype)
    held = {n: x for n, x in zip(call.inputs, given, strict=False) if x is not None}
    held |= {n: torch.empty(y.shape, dtype=torch.int64) for n in call.outputs[1:]}
    held[call.outputs[0]] = y
    said = ""
    for launch in running.launches(problem, slot, name):
        for argument in launch.arguments:
            if isinstance(argument, str) and ":" in argument:
                size = int(argument.partition(":")[2])
                held.setdefault(argument, torch.full((size,), 255, dtype=torch.uint8))
        said += sanitized.run(sanitizer, launch, held, folder)
    return said, y, want.view(y.shape)


def takes(slot: str, name: str, problem) -> bool:
    """Whether the step runs the problem."""
    return running.find(slot, name).supports(problem) is None


@pytest.mark.parametrize(("slot", "name"), EACH)
@pytest.mark.parametrize("sanitizer", sanitized.SANITIZERS)
def test_nothing_is_said(sanitizer, slot, name, missing, tmp_path) -> None:
    if missing[sanitizer]:
        pytest.skip(missing[sanitizer])
    said, got, want = run(sanitizer, slot, name, tmp_path)
    assert said == ""
    assert torch.equal(got, want)


SHARED = "conv_fprop shared conv_2_shared.cu"
WGRAD = "conv_wgrad direct wgrad_1_direct.cu"
FOUND = [
    ("thread", Bug("a race whose winner is right in every order", WGRAD,
                   "if (threadIdx.x == 0)", "sum = partial[0];", "", "data race")),
    ("thread", next(b for b in BUGS if b.what == "no barrier before the tile is read")),
    ("thread", next(b for b in BUGS if b.what == "no barrier in the tree")),
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
    real = running.launches
    monkeypatch.setattr(
        running, "launches", lambda *of: [replace(x, source=str(file)) for x in real(*of)]
    )
    said, _, _ = run(sanitizer, slot, name, tmp_path)
    assert ("data race" if sanitizer == "thread" else bug.found) in said
