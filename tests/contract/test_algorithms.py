"""Every algorithm of the three passes of convolution, on the problems that it supports."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from refconv import dispatch, guard, label
from refconv.oracle import reference, verdict
from refconv.oracle.algorithm_bounds import ALGORITHMS
from refconv.oracle.check.drawn import cases

from ..algorithms import find, named

SLOTS = ("conv_fprop", "conv_dgrad", "conv_wgrad")
EACH = [(slot, name) for slot in SLOTS for name in named(slot)]

#: One or more for every algorithm: odd sizes, remainders of tiles and vectors, every geometry.
PROBLEMS = """
conv2d x[1,3,5,5] w[2,3,3,3] b s2 p1
conv2d x[2,5,9,11] w[7,5,3,3] b p1
conv2d x[1,17,13,37] w[19,17,3,3] p1
conv2d x[2,32,6,5] w[33,32,3,3] b
conv2d x[1,8,12,9] w[6,8,3,3] b p2 d2
conv2d x[1,4,11,10] w[5,4,4,4] b s2 p1
conv2d x[2,9,7,6] w[10,9,1,1] b
conv2d x[1,9,9,8] w[6,9,1,1] s2
conv2d x[2,6,10,21] w[6,1,3,3] b p1 g6
conv2d x[1,5,14,14] w[5,1,5,5] s2 p2 g5
conv2d x[1,3,34,35] w[3,1,31,31] b p15 g3
conv2d x[1,12,8,7] w[18,4,3,3] b p1 g3
conv2d x[1,3,21,23] w[8,3,7,7] s2 p3
conv2d x[1,3,32,32] w[4,3,16,16] b s16
conv2d x[1,6,5,19] w[4,6,1,7] p0,3
conv1d x[2,4,37] w[5,4,3] b s2 p1
conv3d x[1,3,4,5,6] w[4,3,3,2,3] b p1
conv_transpose2d x[1,5,6,7] w[5,3,4,4] b s2 p1
conv_transpose2d x[1,4,5,4] w[4,6,3,3] b s2 p1 op1
conv_transpose1d x[1,6,9] w[6,2,3] s3 g2
conv2d x[0,3,5,5] w[2,3,3,3] b p1
""".strip().splitlines()


@lru_cache(maxsize=256)
def answers(problem, seed: int, value: float = 0.0):
    """Arrays (input, weight, bias or None, output's gradient) and the oracle's answers, by name.

    Args:
        value: what the first weight is, where it is not random.
    """
    random = torch.Generator().manual_seed(seed)
    shapes = [problem.input_shape, problem.weight_shape, problem.output_shape]
    x, w, gy = (torch.randn(s, generator=random).to(getattr(torch, problem.dtype)) for s in shapes)
    if value:
        w.view(-1)[0] = value
    inputs = {"input": x, "weight": w}
    b = torch.randn(problem.out_channels, generator=random).to(x.dtype) if problem.bias else None
    if b is not None:
        inputs["bias"] = b
    found = {e.name: e for e in reference.forward(problem, inputs)}
    found |= {e.name: e for e in reference.backward(problem, inputs, gy)}
    return (x, w, b, gy), found


def run(problem, slot: str, name: str, seed: int = 0, value: float = 0.0):
    """The pass by algorithm ``name``, and the oracle's answer."""
    (x, w, b, gy), found = answers(problem, seed, value)
    with guard.checked():
        if slot == "conv_wgrad":
            pair = (x, gy) if problem.transposed else (gy, x)
            return dispatch.run(problem, slot, *pair, backend=name), found["grad_weight"]
        if slot == problem.forward_slot:
            return dispatch.run(problem, slot, x, w, b, backend=name), found["output"]
        return dispatch.run(problem, slot, gy, w, None, backend=name), found["grad_input"]


def judge(problem, slot: str, name: str, seed: int = 0) -> None:
    """Inside the bound: that of direct sums or, of Winograd, its own."""
    algorithm = find(slot, name)
    law = algorithm.name if algorithm.name in ALGORITHMS else "direct"
    got, expected = run(problem, slot, name, seed)
    v = verdict.compare(got, expected.want, expected.bound(algorithm=law))
    assert v.level == "consistent", f"{name} {slot} of {label.format(problem)}: {v.reason}"


def of_pass(problem, slot: str, dtype: str):
    """The problem in ``dtype``; without a bias in a derivative, which has none."""
    return replace(problem, bias=problem.bias and slot == problem.forward_slot, dtype=dtype)


def supported(slot: str, name: str, dtype: str = "float32"):
    """The listed problems that the algorithm takes."""
    read = [of_pass(label.parse(text), slot, dtype) for text in PROBLEMS]
    return [p for p in read if find(slot, name).supports(p) is None]


@pytest.mark.parametrize(("slot", "name"), EACH)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_listed_problems(slot: str, name: str, dtype: str) -> None:
    problems = supported(slot, name, dtype)
    assert len(problems) >= 2 or dtype != "float32", f"{name} takes too few of them to be tested"
    for problem in problems:
        judge(problem, slot, name)


@pytest.mark.parametrize(("slot", "name"), EACH)
def test_drawn_problems(slot: str, name: str) -> None:
    few = max(settings.default.max_examples // 3, 1)

    @settings(max_examples=few)
    @given(_squares() if "winograd" in name else _any_problem())
    def check(drawn) -> None:
        problem, seed = drawn
        problem = of_pass(problem, slot, "float32")
        assume(find(slot, name).supports(problem) is None)
        judge(problem, slot, name, seed=seed)

    check()


def _any_problem():
    ops = st.sampled_from(["conv1d", "conv2d", "conv3d", "conv_transpose2d"])
    drawn = ops.flatmap(lambda op: cases(op, small=False))
    return drawn.map(lambda case: (case.problem(), case.seed))


@st.composite
def _squares(draw):
    """What Winograd takes, rare among all problems: square, kernel 2 or 3 times the stride."""
    n, c, k = (draw(st.integers(1, most)) for most in (3, 40, 70))
    stride, r = draw(st.sampled_from([(1, 3), (1, 2), (2, 2), (3, 2), (2, 3)]))
    dilation = draw(st.integers(1, 3)) if stride == 1 else 1
    reach = dilation * (stride * r - 1) + 1
    h, w = (draw(st.integers(reach, reach + 20)) for _ in range(2))
    p = draw(st.integers(0, reach // 2))
    text = f"conv2d x[{n},{c},{h},{w}] w[{k},{c},{stride * r},{stride * r}] s{stride} p{p}"
    problem = label.parse(text + (f" d{dilation}" if dilation > 1 else ""))
    return problem, draw(st.integers(0, 1000))


@pytest.mark.parametrize(("slot", "name"), [e for e in EACH if e[0] != "conv_wgrad"])
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_padding_is_skipped_not_multiplied(slot: str, name: str, value: float) -> None:
    """An infinite weight meets only elements that are there: 0 * inf would be NaN."""
    for problem in supported(slot, name)[:4]:
        if problem.batch != 0:
            got, expected = run(problem, slot, name, value=value)
            want = torch.as_tensor(expected.want)
            assert torch.equal(got.isnan(), want.isnan()), f"{name}: {label.format(problem)}"
