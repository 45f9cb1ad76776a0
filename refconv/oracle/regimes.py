"""The data that tolerances are tried on: one problem, one kind of numbers, and what is right there.

How far apart a fault and rounding are depends on the numbers at least as much as on the rule that
compares them: on their scale, on whether they cancel, and on whether all channels are equally loud.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ..problem import ConvProblem
from . import calls, inputs, reference
from .bound import Bound
from .noise import Noise
from .reference import Expected

#: Kind of data → what it is, for a reader.
REGIMES = {
    "integers": "whole numbers that every legal order sums exactly",
    "kaiming": "inputs N(0,1), weights N(0, 2/n), as an untrained network has them",
    "small": "the very same weights times 2**-5: the same faults on another scale",
    "normal": "inputs and weights N(0,1)",
    "image": "pixels 128 ± 10 and filters that sum to 0: results cancel",
    "quiet": "Kaiming, but 1 filter of 8 is 1e-4 times as large",
}
WHOLE = "integers"
QUIET = 1e-4


@dataclass(frozen=True)
class Setting:
    """A convolution on one kind of data, with what its result has to be.

    Args:
        data: of ``REGIMES``.
        arrays: ``input``, ``weight`` and, where there is one, ``bias``, of the problem's dtype.
        expected: the output in float64, with the law of its rounding errors.
    """

    problem: ConvProblem
    data: str
    seed: int
    arrays: calls.Arrays
    expected: Expected

    @cached_property
    def reference(self) -> torch.Tensor:
        """torch's own result in the problem's dtype: what most tests compare with."""
        with torch.no_grad():
            return calls.results(torch.nn.functional, self.problem, self.arrays)["output"]

    @cached_property
    def bound(self) -> Bound:
        """F1, or for 16 bits F3."""
        return self.expected.bound()

    @cached_property
    def noise(self) -> Noise | None:
        """How far float32 sums of these numbers usually are off (F6)."""
        return self.expected.noise()

    @property
    def scale(self) -> np.ndarray:
        """S: the sum of the absolute values of each element's terms."""
        return np.asarray(self.expected.law.scale)  # type: ignore[attr-defined]


def setting(problem: ConvProblem, data: str, seed: int = 0) -> Setting:
    """``problem`` on the numbers of regime ``data``."""
    arrays = make(problem, data, seed)
    return Setting(problem, data, seed, arrays, reference.forward(problem, arrays)[0])


def make(problem: ConvProblem, data: str, seed: int = 0) -> calls.Arrays:
    """The arrays of regime ``data``; ``kaiming``, ``small`` and ``quiet`` share their draws."""
    if data == WHOLE:
        return inputs.make(problem, "integer", seed)
    rng = np.random.default_rng([seed, 4])
    x = rng.standard_normal(problem.input_shape)
    w = rng.standard_normal(problem.weight_shape)
    b = rng.standard_normal(problem.out_channels)
    loudness = np.ones(problem.out_channels)
    if data == "quiet":
        loudness[::8] = QUIET
    if data != "normal":
        fan_in = problem.in_channels // problem.groups * int(np.prod(problem.kernel))
        loudness *= np.sqrt(2 / fan_in) * (2.0**-5 if data == "small" else 1)
    if data == "image":
        x = 128 + 10 * x
        per_filter = filters(problem, w)
        per_filter -= per_filter.mean(axis=1, keepdims=True)
        w = unfiltered(problem, per_filter)
    w = unfiltered(problem, filters(problem, w) * loudness[:, None])
    made = {"input": x, "weight": w} | ({"bias": b * loudness} if problem.bias else {})
    dtype = getattr(torch, problem.dtype)
    return {n: torch.from_numpy(np.ascontiguousarray(a)).to(dtype) for n, a in made.items()}


def filters(problem: ConvProblem, w: Any) -> Any:
    """The weight as one row an output channel: shape (out_channels, everything else)."""
    if not problem.transposed:
        return w.reshape(problem.out_channels, -1)
    g, k = problem.groups, problem.out_channels // problem.groups
    grouped = w.reshape(g, problem.in_channels // g, k, -1)
    return grouped.swapaxes(1, 2).reshape(problem.out_channels, -1)


def unfiltered(problem: ConvProblem, rows: Any) -> Any:
    """The weight whose ``filters`` are ``rows``."""
    if not problem.transposed:
        return rows.reshape(problem.weight_shape)
    g, k = problem.groups, problem.out_channels // problem.groups
    grouped = rows.reshape(g, k, problem.in_channels // g, -1)
    return grouped.swapaxes(1, 2).reshape(problem.weight_shape)


def quiet_channels(problem: ConvProblem, weight: torch.Tensor) -> torch.Tensor:
    """Which output channels have a filter more than 100 times smaller than the largest: a mask."""
    size = filters(problem, weight.double()).square().mean(dim=1).sqrt()
    return size < size.max() / 100
