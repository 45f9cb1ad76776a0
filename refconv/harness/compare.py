"""The main job: one case, every candidate; shapes, dtypes, values, gradients, and the time of what
passed.

Every candidate is judged alike, torch included: against our own float64 reference, per element, on
whole numbers (must be equal) and on real ones (must be within the proven bound). The reference
itself is first checked against torch in float64; where these two disagree, nothing can be said, and
that is a failure too.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from ..errors import UsageError
from ..notation import input_shape
from ..oracle import inputs, reference
from . import room, timing
from .candidates import Candidate, candidates
from .judging import Options, Trial, changed, doubts, empty_row, result
from .records import Result

__all__ = ["Options", "compare", "compare_cases"]


def compare_cases(cases: Iterable[Any], options: Options) -> Iterator[Result]:
    """The results of all cases, each as soon as it is known.

    Raises:
        UsageError: ``--image`` fits none of the cases, or a backend's name is unknown.
        UnavailableError: a named backend cannot run on this machine.
    """
    cases = list(cases)
    who = candidates(options.backends, options.devices)
    if options.image is not None and not any(inputs.takes_image(c.problem) for c in cases):
        raise UsageError("--image: no case has a picture as its input (2-D, 1, 3 or 4 channels)")
    for case in cases:
        yield from compare(case, who, options)


def compare(case: Any, who: list[Candidate], options: Options) -> Iterator[Result]:
    """The results of one case: a row for every candidate, skipped ones included."""
    problem = case.problem
    refused = getattr(case, "refused", "") or room.lacking(problem)
    if refused:
        yield from (changed(empty_row(case, c, options), reason=refused) for c in who)
        return
    trials = make_trials(problem, options)
    rows = {candidate: result(case, candidate, trials, options) for candidate in who}
    if options.time:
        for device in options.devices:
            right = [c for c, r in rows.items() if c.device == device and r.status == "ok"]
            arrays = {n: a.to(device) for n, a in trials[-1].arrays.items()}
            with torch.no_grad():
                calls = {c: c.bind(problem, arrays) for c in right}
                times = timing.measure(calls, device, budget=options.budget)
            rows |= {c: changed(rows[c], timing=times[c]) for c in right}
    yield from rows.values()


def make_trials(problem: Any, options: Options) -> list[Trial]:
    """Inputs and reference for whole numbers first, then for real ones or the image."""
    for known in ("Using padding='same' with even kernel", "ComplexHalf support"):
        warnings.filterwarnings("ignore", message=known)
    use_image = options.image is not None and inputs.takes_image(problem)
    differentiable = options.backward and ("float" in problem.dtype or "complex" in problem.dtype)
    trials = []
    for kind in ("integer", "real"):
        arrays = inputs.make(problem, kind, options.seed)
        if kind == "real" and use_image:
            assert options.image is not None
            arrays["input"] = inputs.picture(options.image, input_shape(problem), problem.dtype)
        grad = inputs.gradient(problem, kind, options.seed) if differentiable else None
        trial = Trial("image" if kind == "real" and use_image else kind, arrays, grad)
        trial.expected = reference.forward(problem, arrays)
        if grad is not None:
            trial.expected += reference.backward(problem, arrays, grad)
        trial.doubts = doubts(problem, trial)
        trials.append(trial)
    return trials
