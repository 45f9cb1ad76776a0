"""Every step of the CUDA ladder, on the CPU: the slot table says which there are.

Each step meets every problem, type, layout, order of threads and kind of number; all combinations
of them where REFCONV_TESTS=thorough.
"""

from __future__ import annotations

import pytest
import torch

from refconv import label
from refconv.backends import unavailable
from refconv.backends._cuda_launch import Given

from . import running
from .running import DTYPES, EACH, THOROUGH, judge

WEIGHTED = ("conv_fprop", "conv_dgrad")
pytestmark = pytest.mark.skipif(
    unavailable("cuda-on-cpu") is not None, reason=str(unavailable("cuda-on-cpu"))
)


@pytest.mark.parametrize(("slot", "name"), EACH)
@pytest.mark.parametrize("dtype", DTYPES)
def test_integers_are_exact(slot: str, name: str, dtype: str) -> None:
    problems = running.share(slot, name, dtype)
    if not problems:
        others = [running.problems(slot, name, d) for d in DTYPES]
        assert any(others), f"{name} takes none of the listed problems"
    for i, problem in enumerate(problems):
        judge(problem, slot, name, "integer", ("behind", "before")[i % 2])


@pytest.mark.parametrize(("slot", "name"), EACH)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "view"])
def test_real_numbers_are_inside_their_bound(slot: str, name: str, dtype: str, layout) -> None:
    problems = running.share(slot, name, dtype)
    half = problems[layout == "channels_last" :: 2] or problems
    for problem in problems if THOROUGH else half:
        judge(problem, slot, name, "real", layout)


@pytest.mark.parametrize(("slot", "name"), EACH)
def test_offsets_of_64_bits(slot: str, name: str, monkeypatch) -> None:
    """As for arrays that reach further than 2^31 elements."""
    monkeypatch.setattr(Given, "wide", True)
    problems = running.problems(slot, name, "float32")
    for problem in problems if THOROUGH else problems[:6:2]:
        judge(problem, slot, name, "integer")


@pytest.mark.parametrize(("slot", "name"), [e for e in EACH if e[0] in WEIGHTED])
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_padding_is_skipped_not_multiplied(slot: str, name: str, value: float) -> None:
    """An infinite weight meets only elements that are there: 0 * inf would be NaN."""
    for problem in running.problems(slot, name, "float32")[:6]:
        arrays, expected = running.answers(problem, "real", value)
        given, result = running.inputs_of(problem, slot, arrays)
        want = torch.as_tensor(expected[result].want)
        got = running.run(problem, slot, name, given)
        assert torch.equal(got.isnan(), want.isnan()), f"{name}: {label.format(problem)}"
