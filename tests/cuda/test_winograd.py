"""conv_6_winograd.cu, where the generic tests do not reach: its tables, images that do not fit the
workspaces at once, transposed convolution, what is not finite, and bugs of its own.
"""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from refconv import label
from refconv.backends import _cuda_emulator as emulator
from refconv.backends import _cuda_source as source
from refconv.backends import _cuda_winograd as plans
from refconv.backends import unavailable
from refconv.kernels.numba_cpu.winograd_matrices import matrices

from . import running
from .running import judge
from .test_planted_bugs import Bug, plant

needs_compiler = pytest.mark.skipif(
    unavailable("cuda-on-cpu") is not None, reason=str(unavailable("cuda-on-cpu"))
)
NAMES = ("winograd_f2", "winograd_f4")
PADDED = "conv2d x[2,5,9,11] w[7,5,3,3] b p1"
TRANSPOSED = "conv_transpose2d x[1,5,6,7] w[5,3,3,3] b p1"


def tables(out: int) -> list[list[list[Fraction]]]:
    """The numbers in winograd.cuh, in its order: out, filter, input."""
    found = []
    for part in source.text("winograd.cuh").split("#if OUT == 2\n")[1:]:
        two, _, rest = part.partition("#else")
        text = two if out == 2 else rest.partition("#endif")[0]
        rows = re.findall(r"\{([^{}]+)\}", text)
        terms = [[t.strip().partition("/") for t in row.split(",")] for row in rows]
        found.append([[Fraction(a.strip()) / Fraction(b.strip() or 1) for a, _, b in r]
                      for r in terms])  # fmt: skip
    return found


@pytest.mark.parametrize("out", [2, 4])
def test_tables_are_those_that_are_derived(out: int) -> None:
    at, g, bt = matrices(out, 3)
    assert tables(out) == [at, g, bt]


@needs_compiler
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", [PADDED, "conv2d x[3,2,3,4] w[3,2,3,3] p3,0", TRANSPOSED])
def test_images_that_do_not_fit_at_once(name: str, case: str, monkeypatch) -> None:
    monkeypatch.setattr(plans, "WORKSPACE", 1)
    problem = label.parse(case)
    slot = problem.forward_slot
    assert len(running.launches(problem, slot, name)) == 1 + 3 * problem.batch
    judge(problem, slot, name, "integer", "channels_last")
    judge(replace(problem, dtype="float64"), slot, name, "real", "view")


@needs_compiler
@pytest.mark.parametrize("name", NAMES)
def test_an_infinite_element_reaches_its_own_outputs_only(name: str) -> None:
    problem = label.parse(PADDED)
    arrays, _ = running.answers(problem, "real")
    x = arrays["input"].clone()
    x[0, 1, 4, 5], x[1, 0, 0, 0] = float("inf"), float("nan")
    got = running.run(problem, "conv_fprop", name, [x, arrays["weight"], arrays["bias"]])
    want = torch.nn.functional.conv2d(x.double(), arrays["weight"].double(),
                                      arrays["bias"].double(), padding=1)  # fmt: skip
    assert torch.equal(got.isfinite(), want.isfinite())
    assert torch.equal(got[want.isinf()].double(), want[want.isinf()])


def test_what_it_cannot_run_has_a_reason() -> None:
    for case, words in (
        ("conv2d x[1,2,5,5] w[3,2,5,5]", "its kernel is 3x3, and this is 5x5"),
        ("conv2d x[1,2,9,9] w[3,2,3,3] s2", "its stride and dilation are 1"),
        ("conv2d x[1,2,5,5] w[4,1,3,3] g2", "it has no groups, and this has 2"),
        ("conv3d x[1,2,5,5,5] w[3,2,3,3,3]", "it is 2-D, and this is 3-D"),
    ):
        assert plans.supports(label.parse(case)) == words


WHERE = "conv_fprop winograd_f2 conv_6_winograd.cu"
BUGS = [
    Bug("no barrier before the turn is computed", WHERE, "    __syncthreads();\n", "",
        "conv2d x[1,20,9,11] w[7,20,3,3] p1", "wrong;|other bits"),
    Bug("one half for every turn", WHERE, "k / DEPTH % 2", "k / DEPTH % 1",
        "conv2d x[1,20,9,11] w[7,20,3,3] p1", "wrong;|other bits"),
    Bug("zeros left out behind the channels", WHERE, "const bool there = c < g.C && k < g.K;",
        "const bool there = k < g.K;", PADDED, "no memory|wrong;|not finite|NaN"),
    Bug("a row too few", WHERE, "oh >= g.OH ||", "oh >= g.OH - 1 ||", PADDED, "wrong;|NaN"),
    Bug("a row too many", WHERE, "oh >= g.OH ||", "oh > g.OH ||", PADDED, "wrote|wrong;"),
    Bug("no bias", WHERE, "b ? load(b + k * g.b_k) : 0", "0", PADDED, "wrong;"),
]  # fmt: skip


@needs_compiler
@pytest.mark.parametrize("bug", BUGS, ids=[bug.what for bug in BUGS])
def test_planted_bugs_are_found(bug: Bug, tmp_path, monkeypatch) -> None:
    plant(bug, tmp_path, monkeypatch)
    problem = label.parse(bug.case)
    with pytest.raises((AssertionError, emulator.EmulatorError), match=bug.found):
        judge(problem, "conv_fprop", "winograd_f2", "integer", "behind")
