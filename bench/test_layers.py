"""pytest-benchmark suites: one group a layer, one benchmark a backend and algorithm: make bench.

Run a part of it with ``make bench BENCH="-k rn_64"``. Not part of the test suite.
"""

from __future__ import annotations

import os
from functools import cache

import pytest
import torch

from refconv.backends import get
from refconv.harness import bench, cases, environment, judging, passes, race
from refconv.harness.compare import make_trials
from refconv.harness.contestants import Contestant

SETS = os.environ.get("REFCONV_BENCH_SETS", "cpu").split(",")
CASES = [case for name in SETS for case in cases.load(name)]


def backends(case):
    """Torch, and every algorithm of numba that can run the layer."""
    slot = passes.slots(case.problem, "fprop")[0]
    fitting = [a.name for a in get("numba").slots[slot] if a.supports(case.problem) is None]
    return ["torch", *(f"numba:{name}" for name in fitting)]


@pytest.fixture(scope="session", autouse=True)
def _machine():
    """Equal threads, and freed memory kept, for both sides."""
    environment.describe("make bench")


@cache
def trials(case):
    """Inputs and reference: real numbers only."""
    return make_trials(case.problem, judging.Options())[-1]


@pytest.mark.parametrize(
    ("case", "backend"),
    [pytest.param(c, b, id=f"{c.name}-{b}") for c in CASES for b in backends(c)],
)
def test_forward(benchmark, case, backend):
    benchmark.group = case.name
    who, trial = Contestant(backend, "" if backend == "torch" else "fast"), trials(case)
    row = bench.blank(case, "fprop", who, race.Options())

    def verify(result):
        made = bench.judged(row, who, result, case.problem, trial, "")
        assert made.status in ("ok", "suspect"), made.reason

    with torch.no_grad(), who.settings():
        call = who.bind(case.problem, trial.arrays, None, "fprop")
        verify(call())  # pytest-benchmark shows the times of failed tests, too
        verify(benchmark.pedantic(call, rounds=7, warmup_rounds=1))
