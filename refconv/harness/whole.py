"""A whole model in one run: how far every result is from float64, and how long the run takes.

No bound can be proven for errors that travel from layer to layer, so torch's own distance from
float64 is the measure of ours. Only another shape, dtype or path is wrong.
"""

from __future__ import annotations

import copy
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import torch

from .. import nn
from ..errors import RefconvError, UnavailableError, UnsupportedError
from ..notation import Problem
from ..oracle import reference, verdict
from ..usercode import first_line
from . import capture, modelfile, timing
from .candidates import Candidate
from .judging import Options, too_slow
from .records import DISTANCE, PROPAGATED, Check, Timing

#: From here on a layer is said to drift: times torch's own distance from float64.
DRIFT = 100


@dataclass(frozen=True)
class Model:
    """A model with its input and what torch made of it.

    Args:
        given: the input's shape as the user gave it.
        hint: what was assumed about the input.
        data: real or image.
        family: names of the layers that are converted.
        own: torch's pass.
        wide: torch's pass in float64 or, where the model cannot do that, ``own``.
        calls: a name for each of torch's calls, and the problem it is; an error where ours refuses.
    """

    spec: str
    module: torch.nn.Module
    x: torch.Tensor
    given: tuple[int, ...]
    hint: str
    data: str
    family: set[str]
    own: capture.Trace
    wide: capture.Trace
    calls: list[tuple[str, capture.Call, Problem | RefconvError]]

    @property
    def name(self) -> str:
        """What the spec calls it."""
        return self.spec.rpartition(":")[2]

    @property
    def command(self) -> str:
        """What ``refconv compare`` takes to run it again."""
        dtype = str(self.x.dtype).removeprefix("torch.")
        words = [self.spec, "--in", "x".join(map(str, self.given))]
        return shlex.join(words if dtype == "float32" else [*words, "--dtype", dtype])


@dataclass
class Whole:
    """A whole run by one candidate.

    Args:
        steps: how far each layer's result is from float64.
        output: the model's, likewise.
        status: ok, wrong, error or skipped, and the ``reason``.
        call: the run again, to be timed.
    """

    steps: list[Check] = field(default_factory=list)
    output: tuple[Check, ...] = ()
    status: str = "ok"
    reason: str = ""
    call: Callable[[], Any] | None = None


def run(model: Model, c: Candidate, options: Options) -> Whole:
    """The whole model by one candidate: layers converted, functions redirected."""
    reason = c.unavailable
    for name, _, problem in model.calls:
        if not reason and not isinstance(problem, RefconvError):
            slow = too_slow(c, problem, options)
            reason = slow and f"{slow}: {name}"
    if reason:
        return Whole(status="skipped", reason=reason)
    x = model.x.to(c.device)
    module = copy.deepcopy(model.module).to(c.device)
    if c.ours:
        nn.convert(module, c.backend, inplace=True)
    try:
        with modelfile.seeded(options.seed):
            trace = capture.run(module, x, model.family, c.backend if c.ours else "")
    except capture.ForwardError as error:
        cause = error.__cause__
        assert cause is not None
        skip = isinstance(cause, UnsupportedError | UnavailableError)
        text = str(cause) if skip else first_line(cause)
        return Whole(status="skipped" if skip else "error", reason=f"{error.where}: {text}")

    def again() -> Any:
        if not c.ours:
            return module(x)
        with capture.Redirect(c.backend):
            return module(x)

    output = distance(trace.output, model.wide.output, model.own.output, "output", model.data)
    whole = Whole(distances(model, trace), (output,), call=again)
    ours, theirs = ([where for where, _ in t.steps] for t in (trace, model.own))
    wrong = [check for check in (*whole.steps, output) if not check.ok]
    if ours != theirs:
        whole.status, whole.reason = "wrong", "its forward takes another path than with torch"
    elif wrong:
        whole.status, whole.reason = "wrong", wrong[0].reason
    return whole


def distances(model: Model, trace: capture.Trace) -> list[Check]:
    """How far every step is from float64; as many as there are in both runs."""
    triples = zip(trace.steps, model.wide.steps, model.own.steps, strict=False)
    return [distance(a[1], b[1], c[1], PROPAGATED, model.data) for a, b, c in triples]


def distance(got: Any, want: Any, own: Any, result: str, data: str) -> Check:
    """The largest distance of a result from float64; shape and dtype must be torch's own."""
    shapes = [[(tuple(t.shape), t.dtype) for t in tensors] for tensors in (got, own)]
    if shapes[0] != shapes[1]:
        reason = f"in the whole model: expected {shapes[1]}, got {shapes[0]}"
        return Check(result=result, data=data, ok=False, kind="shape", reason=reason)
    made = Check(result=result, data=data, ok=True, rule=DISTANCE)
    first = next((i for i, t in enumerate(got) if t.is_floating_point() and t.numel()), None)
    if first is None:
        return made
    a, b = reference.exact(got[first]), reference.exact(want[first])
    with np.errstate(invalid="ignore"):
        error = np.where(verdict.same_bits(a, b), 0.0, np.abs(a - b))
    at = np.unravel_index(int(np.argmax(np.where(np.isnan(error), np.inf, error))), error.shape)
    return msgspec.structs.replace(
        made,
        shape=a.shape,
        dtype=str(got[first].dtype).removeprefix("torch."),
        max_error=float(error[at]) if np.isfinite(error[at]) else None,
        worst=tuple(int(i) for i in at),
        cells=a.size,
    )


def drift(model: Model, name: str, step: int, ours: Check, theirs: Check) -> str:
    """A hint where ours is much further from float64 than torch is; else nothing."""
    want = model.wide.steps[step][1]
    if ours.max_error is None or theirs.max_error is None or not want:
        return ""
    least = float(want[0].abs().max()) * torch.finfo(model.x.dtype).eps / 2
    times = ours.max_error / max(theirs.max_error, least, 1e-300)
    if times < DRIFT:
        return ""
    return (
        f"{name}: in the whole model {times:,.0f} times as far from float64 as torch; see the "
        "first layer that is wrong or drifts (two nearly equal maxima can do this too)"
    )


def timings(
    wholes: dict[Candidate, Whole], device: str, options: Options
) -> dict[Candidate, Timing]:
    """The runs on one device in turns with torch's; naive's once."""
    calls = {c: w.call for c, w in wholes.items() if w.call is not None}
    with torch.no_grad():
        return timing.measure(calls, device, budget=options.budget, rounds=(3, 31))
