"""Whether a row's result is right: a sample of cells by the oracle, and every cell by torch in
float64 on the same device.

The oracle's reference would take minutes for a layer of this size, so it is asked about some cells
only, corners and ends among them. That leaves out most of a grid's blocks. So all cells are also
held against torch in float64, with the oracle's own factor: its bound is that factor times the sum
of the terms' absolute values, which float64 gives too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ...notation import input_shape
from ...oracle import leniency, sampling, verdict
from ...oracle.aten import Seen
from ...oracle.bound import Sum
from ...oracle.reference import Expected
from ...problem import ConvProblem
from .. import cases, passes
from .device import set_tf32

#: Terms that a result's sample may take, and images that it is taken from.
WORK, IMAGES = 2e6, 3


@dataclass(frozen=True)
class Found:
    """What came of a result.

    Args:
        level: of ``verdict.LEVELS``; reason: why it is not the best of them.
        law: by whose bound it was judged.
        noise: root mean square of its errors in units of the noise of such sums.
        worst: error / bound of the worst cell of all, or of the sample where only that was judged.
    """

    level: str = "consistent"
    reason: str = ""
    law: str = "direct"
    noise: float | None = None
    worst: float | None = None


class Judge:
    """One row's arrays, and what its results must be.

    Args:
        way: of ``passes``, or ``fused``.
        arrays, grad: on the device, contiguous.
    """

    def __init__(
        self, problem: Any, arrays: dict[str, torch.Tensor], grad: torch.Tensor | None, way: str
    ) -> None:
        self.problem, self.arrays, self.grad, self.way = problem, arrays, grad, way
        self.relu = way == "fused"
        self.results = passes.RESULTS["fprop" if self.relu else way]

    def judge(self, got: Any, precision: str, laws: tuple[str, ...] = ("direct",)) -> Found:
        """Judge a result, or a tuple of them.

        Args:
            precision: ``ieee``, or ``tf32``.
            laws: algorithms; the first whose bound holds counts.
        """
        found = Found()
        for law in laws:
            if law != "direct" and self.way == "wgrad":  # it takes the whole sum, of all images
                break
            found = self._by(got, precision, law)
            if found.level != "wrong":
                break
        return found

    def torchs(self, got: Any, precision: str) -> Found:
        """Judge torch, which does not say by which algorithm it computes, nor promises that it sums
        16-bit numbers in float32.
        """
        found = self.judge(got, precision, ("direct", "winograd_f4", "fft"))
        if found.level != "wrong":
            return found
        excused = [self._excused(y, name) for name, y in zip(self.results, _several(got))]  # noqa: B905
        words = "; ".join(filter(None, excused))
        return replace(found, level="suspect", reason=words) if all(excused) else found

    def _excused(self, y: torch.Tensor, name: str) -> str:
        e = self._samples[name].expected
        made = leniency.excuse(self._samples[name].take(self._images(y, name)), e, "wrong")
        return made[2] if made is not None and not bool(y.isnan().any()) else ""

    def _by(self, got: Any, precision: str, law: str) -> Found:
        found = Found(law=law)
        for y, name in zip(_several(got), self.results, strict=False):
            if tuple(y.shape) != self._shape(name):
                text = f"{name} has shape {tuple(y.shape)}, not {self._shape(name)}"
                return Found("wrong", text, law)
            found = self._sampled(y, name, precision, law)
            if found.level != "wrong":
                found = self._everywhere(y, name, precision, law, found)
            if found.level != "consistent":
                return replace(found, reason=f"{name}: {found.reason}")
        return found

    def _sampled(self, y: torch.Tensor, name: str, precision: str, law: str) -> Found:
        """By the oracle."""
        sample = (self._whole if law != "direct" else self._samples)[name]
        e = sample.expected
        if self.relu:
            e = replace(e, want=np.maximum(e.want, 0.0))
        usual = None if self.relu else e.noise(precision, algorithm=law)
        part, limit = sample.take(self._images(y, name)), e.bound(precision, algorithm=law)
        v = verdict.compare(part, e.want, limit, None, usual)
        worst = v.ratio if v.ratio is not None and np.isfinite(v.ratio) else None
        noise = v.z_rms if v.z_rms is not None and np.isfinite(v.z_rms) else None
        return Found(v.level, v.reason, law, noise, worst)

    def _everywhere(
        self, y: torch.Tensor, name: str, precision: str, law: str, found: Found
    ) -> Found:
        """By torch in float64."""
        if y.is_floating_point() and bool(y.isnan().any()):
            text = f"{int(y.isnan().sum()):,} of {y.numel():,} are NaN"
            return replace(found, level="wrong", reason=text)
        if law != "direct":  # whose bound is no multiple of that sum
            return found
        want, scale = self._wide(name)
        if self.relu:
            want = want.clamp_min(0.0)
        factor = _factor(self._samples[name].expected, precision)
        error = (y.double() - want).abs()
        tiny = torch.finfo(y.dtype).tiny if y.is_floating_point() else 0
        over = error - (factor * scale + tiny)
        count = int((over > 0).sum())
        if not count:
            return found
        at = torch.unravel_index(over.argmax(), y.shape)
        place = [int(i) for i in at]
        text = f"got {y[at].item()}, torch in float64 {want[at].item()}"
        text = f"{count:,} of {y.numel():,} wrong; at {place} {text}"
        return replace(found, level="wrong", reason=text)

    def _wide(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """A result in float64, and the sum of its terms' absolute values (of what moves: 0)."""
        if name not in self._known:
            set_tf32(False)
            before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, False
            try:
                self._known |= self._widely()
            finally:
                torch.backends.cudnn.benchmark = before
        return self._known[name]

    def _widely(self) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        problem = replace(self.problem, dtype="float64")
        way = "fprop" if self.relu else self.way
        wide = {n: a.double() for n, a in self.arrays.items()}
        grad = None if self.grad is None else self.grad.double()
        made = _several(passes.bind("torch", problem, wide, grad, way)())
        first = self.results[0]
        if not isinstance(self._samples[first].expected.law, Sum):
            zero = torch.zeros((), device=made[0].device, dtype=torch.float64)
            pairs = zip(self.results, made, strict=False)
            return {n: (m.double(), zero) for n, m in pairs}
        keep = way == "dgrad" and not isinstance(problem, ConvProblem)  # whose x says where
        sizes = wide if keep else {n: a.abs() for n, a in wide.items()}
        call = passes.bind("torch", problem, sizes, None if grad is None else grad.abs(), way)
        return {first: (made[0].detach(), _several(call())[0].detach())}

    @cached_property
    def _known(self) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        return {}

    @cached_property
    def _chosen(self) -> list[int]:
        """The images that a sample is taken from: all for a sum over them."""
        count = input_shape(self.problem)[0]
        if self.way == "wgrad" or count <= IMAGES:
            return list(range(count))
        return [0, count // 2, count - 1]

    def _images(self, y: torch.Tensor, name: str) -> torch.Tensor:
        whole = name == "grad_weight" or len(self._chosen) == input_shape(self.problem)[0]
        return y if whole else y[self._chosen]

    @cached_property
    def _seen(self) -> Seen:
        """The call, of the chosen images."""
        problem = cases.with_batch(self.problem, len(self._chosen))
        arrays = {n: self._images(a, n).cpu() if n == "input" else a.cpu()
                  for n, a in self.arrays.items()}  # fmt: skip
        grad = None if self.grad is None else self._images(self.grad, "grad").cpu()
        results = {name: torch.empty(0) for name in self.results}
        return Seen(problem, arrays, grad, results)

    @cached_property
    def _samples(self) -> dict[str, sampling.Sample]:
        return {s.expected.name: s for s in sampling.some(self._seen, WORK)}

    @cached_property
    def _whole(self) -> dict[str, sampling.Sample]:
        return {s.expected.name: s for s in sampling.whole(self._seen)}

    def _shape(self, name: str) -> tuple[int, ...]:
        if name == "grad_weight":
            return self.problem.weight_shape
        if name == "grad_input":
            return input_shape(self.problem)
        return tuple(self.problem.output_shape)


def _factor(e: Expected, precision: str) -> float:
    """The bound of a cell as a multiple of its terms' absolute sum: of the longest sum in a sample,
    as if nothing cancelled, which is the most that rounding when stored can add.
    """
    if not isinstance(e.law, Sum):
        return 0.0
    law = replace(e.law, integral=False)
    limit = replace(e, want=np.asarray(law.scale, dtype=np.float64), law=law).bound(precision)
    assert limit.tolerance is not None
    with np.errstate(all="ignore"):
        ratio = np.broadcast_to(limit.tolerance, e.want.shape) / law.scale
    return float(np.max(ratio[np.isfinite(ratio)], initial=0.0))


def _several(results: Any) -> tuple[torch.Tensor, ...]:
    return results if isinstance(results, tuple) else (results,)
