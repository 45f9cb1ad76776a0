"""What a whole network's results are held against: float64, torch's own distance from it being the
measure; and the call that gives them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from . import capture, whole
from .judging import changed
from .records import Check


def mode(module: torch.nn.Module, way: str) -> torch.nn.Module:
    """As it is in that way: in training, but without dropout, or in evaluation."""
    module.train(way == "train")
    for layer in module.modules():
        if isinstance(layer, torch.nn.modules.dropout._DropoutNd):
            layer.eval()
    return module


def bound_call(
    module: torch.nn.Module, x: torch.Tensor, grads: list[torch.Tensor] | None
) -> Callable[[], Any]:
    """What is timed: the forward or, with gradients of its results, the training step, which
    returns them behind the results.
    """
    if grads is None:
        return lambda: module(x)
    wanted = [p for p in module.parameters() if p.requires_grad]

    def step() -> Any:
        with torch.enable_grad():
            y = module(x)
        ends = [t for t in capture.tensors(y) if t.requires_grad]
        return (y, *torch.autograd.grad(ends, wanted, grads, allow_unused=True))

    return step


@dataclass(frozen=True)
class Target:
    """What the results of one way are compared with.

    Args:
        grads: of the model's results, for a training step.
        exact: in float64; ``own``: torch's in the model's dtype.
        outputs: how many of them are the model's results; gradients follow.
    """

    grads: list[torch.Tensor] | None
    exact: tuple[torch.Tensor, ...]
    own: tuple[torch.Tensor, ...]
    outputs: int

    @classmethod
    def of(cls, model: whole.Model, way: str, module: torch.nn.Module, seed: int) -> Target:
        """Of torch's own runs."""
        if way == "fprop":
            own, wide = model.own.output, model.wide.output
            return cls(None, wide, own, len(own))
        rng = np.random.default_rng([seed, 1])
        grads = [
            torch.from_numpy(rng.standard_normal(tuple(t.shape))).to(t.dtype)
            for t in _differentiable(module, model.x)
        ]
        own = capture.tensors(bound_call(copy.deepcopy(module), model.x, grads)())
        double = copy.deepcopy(module).double()
        wide = capture.tensors(bound_call(double, model.x.double(), [g.double() for g in grads])())
        return cls(grads, wide, own, len(model.own.output))

    def checks(self, results: Any) -> tuple[list[Check], str]:
        """The distances of results, gradients as the worst of them, and why they are suspect."""
        found = capture.tensors(results)
        if len(found) != len(self.own):
            reason = f"{len(found)} results, torch has {len(self.own)}"
            return [Check(result="output", data="real", ok=False, kind="shape", reason=reason)], ""
        worst: dict[str, tuple[float, Check]] = {}
        for i, (got, want, own) in enumerate(zip(found, self.exact, self.own, strict=True)):
            name = "output" if i < self.outputs else "gradients"
            check = judged((got,), (want,), (own,), name)
            theirs = whole.distance((own,), (want,), (own,), name, "real")
            times = further(check, theirs, want)
            if name not in worst or not check.ok or (worst[name][1].ok and times > worst[name][0]):
                worst[name] = times, check
        texts = [f"{name}: {told}" for name, (times, _) in worst.items() if (told := drifts(times))]
        return [check for _, check in worst.values()], "; ".join(texts)


def _differentiable(module: torch.nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    with torch.enable_grad():
        found = capture.tensors(copy.deepcopy(module)(x))
    return [t for t in found if t.requires_grad]


def judged(got: Any, want: Any, own: Any, name: str) -> Check:
    """The distance from float64; wrong where that is not finite though float64 and torch are."""
    check = whole.distance(got, want, own, name, "real")
    known = all(bool(torch.isfinite(t).all()) for t in (*want, *own) if t.is_floating_point())
    if check.ok and check.cells and check.max_error is None and known:
        reason = f"{name}: not finite where float64 is, at {list(check.worst or ())}"
        return changed(check, ok=False, kind="value", reason=reason)
    return check


def further(ours: Check, theirs: Check, want: torch.Tensor) -> float:
    """How many times as far from float64 as torch is, or as one rounding of the largest value."""
    if ours.max_error is None or not want.numel():
        return 0.0
    kind = getattr(torch, ours.dtype) if ours.dtype else want.dtype
    least = (
        float(want.detach().abs().max()) * torch.finfo(kind).eps / 2
        if kind.is_floating_point
        else 0.0
    )
    return ours.max_error / max(theirs.max_error or 0.0, least, 1e-300)


def drifts(times: float) -> str:
    """Why a result is suspect, or nothing."""
    if times < whole.DRIFT:
        return ""
    return f"{times:,.0f} times as far from float64 as torch"
