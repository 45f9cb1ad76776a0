"""Whole models: torch's and the converted one, layer by layer.

Two questions are asked of every call of the family inside a model, be it a layer's or a function's
in a ``forward``. Locally: is our op right on the very inputs that torch's got? That is judged like
any other case, with a proven bound. And in the whole run, where errors travel from layer to layer:
how far is every result from torch's in float64? No bound can be proven for that, so it is reported,
ours beside torch's own, and only a different shape or dtype is wrong.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import label, nn, notation
from ..errors import RefconvError, ShapeError, UnavailableError, UnsupportedError, UsageError
from ..ops import FLOATS
from ..oracle import reference, verdict
from . import calls, capture, compare, environment, inputs, modelfile, timing
from .candidates import Candidate, candidates
from .cases import Case
from .records import Check, Result, Timing

#: The name of a check that says how far a result is from float64 in the whole run.
PROPAGATED = "propagated"
#: From here on ours is said to drift: times torch's own relative distance from float64.
DRIFT = 100


@dataclass
class _Model:
    """A model with its input and what torch made of it.

    Args:
        wide: torch's pass in float64, or, where the model cannot do that, ``own``.
        calls: torch's calls with the problems they are; an error where ours refuses.
    """

    spec: str
    module: torch.nn.Module
    x: torch.Tensor
    hint: str
    family: set[str]
    own: capture.Trace
    wide: capture.Trace
    calls: list[tuple[str, capture.Call, notation.Problem | RefconvError]]


@dataclass
class _Whole:
    """A whole run by one candidate.

    Args:
        steps: how far each is from float64.
        status: ok, wrong, error or skipped, and the ``reason``.
        call: the run again, to be timed.
    """

    steps: list[Check] = field(default_factory=list)
    output: tuple[Check, ...] = ()
    status: str = "ok"
    reason: str = ""
    call: Callable[[], Any] | None = None


def compare_model(
    spec: str,
    in_shape: str | tuple[int, ...],
    backends: tuple[str, ...] = (),
    seed: int = 0,
    image: Path | None = None,
    dtype: str = "float32",
    **more: Any,
) -> Iterator[Result]:
    """The results of a model: for every call of the family a row a backend, then the whole model.

    Args:
        spec: ``model.py:Net`` or ``package.module:Net``: a class or function that needs no
            arguments, or a module.
        in_shape: of the input; a batch of one is added where there is no batch axis.
        seed: of the weights and the input.
        image: a picture as the input.
        more: the other fields of ``compare.Options``.

    Raises:
        UsageError: the model cannot be found, built or called, or has nothing of the family.
        ShapeError: its forward fails on this input; torch's message is quoted.
    """
    options = compare.Options(backends=tuple(backends), seed=seed, image=image, **more)
    who = candidates(options.backends, options.devices)
    return _results(_prepare(spec, in_shape, dtype, options), who, options)


def _prepare(spec: str, in_shape: Any, dtype: str, options: compare.Options) -> _Model:
    """Load the model and run it with torch: every mistake of the user's shows here."""
    if dtype not in FLOATS:
        raise UsageError(f"--dtype: a model takes {', '.join(FLOATS)}, got {dtype!r}")
    module = modelfile.load(spec, seed=options.seed, dtype=dtype)
    shape, hint = _with_batch(module, notation.shape(in_shape))
    x = _input(shape, dtype, options)
    family = capture.layers(module)
    try:
        with modelfile.seeded(options.seed):
            own = capture.run(module, x, family)
    except capture.ForwardError as error:
        raise _refused(spec, shape, error) from error.__cause__
    if not own.calls:
        raise UsageError(f"{spec}: its forward calls nothing of the convolution family")
    try:
        with modelfile.seeded(options.seed):
            wide = capture.run(copy.deepcopy(module).double(), x.double(), family)
    except capture.ForwardError:
        wide = own
    if [where for where, _ in wide.steps] != [where for where, _ in own.steps]:
        wide = own
    return _Model(spec, module, x, hint, family, own, wide, _named(spec, own))


def _with_batch(module: torch.nn.Module, shape: tuple[int, ...]) -> tuple[tuple[int, ...], str]:
    """The input's shape with a batch axis, and what was assumed; the first layer says the rank."""
    ranks = [type(m).__name__[-2] for m in module.modules() if nn.counterpart(m)]
    rank = next((int(r) for r in ranks if r.isdigit()), 2)
    if len(shape) != rank + 1:
        return shape, ""
    text = "x".join(map(str, shape))
    return (1, *shape), f"the input {text} has no batch axis: taken as a batch of one, 1x{text}"


def _input(shape: tuple[int, ...], dtype: str, options: compare.Options) -> torch.Tensor:
    """Seeded normal numbers, or the picture."""
    if options.image is not None:
        as_problem = notation.build("avg_pool2d", {"input": shape}, {"kernel_size": 1}, dtype)
        return inputs.image(options.image, as_problem)
    values = np.random.default_rng([options.seed, 0]).standard_normal(shape)
    return torch.from_numpy(values).to(getattr(torch, dtype))


def _refused(spec: str, shape: tuple[int, ...], error: capture.ForwardError) -> RefconvError:
    """A forward that failed: where, torch's words, and the last shape before it."""
    cause = error.__cause__
    assert cause is not None
    about_shapes = isinstance(cause, RuntimeError | ValueError | IndexError)
    text = str(cause).strip() if about_shapes else modelfile.first_line(cause)
    says = text.splitlines()[0] if text else type(cause).__name__
    seen = f"; before it, {error.seen}" if error.seen else ""
    message = f"{spec} on input {shape}: {error.where} failed, torch says: {says}{seen}"
    return ShapeError(message) if about_shapes else UsageError(message)


def _named(
    spec: str, own: capture.Trace
) -> list[tuple[str, capture.Call, notation.Problem | RefconvError]]:
    """A name for every call: the layer, or the function and where it is called; ``#2`` when again."""
    made = []
    seen: Counter[str] = Counter()
    last = {call.step: call for call in own.calls}
    for call in own.calls:
        name = f"{_name(spec)}.{call.where}".rstrip(".")
        if call.where.endswith("forward()") or last[call.step] is not call:
            name += f" {call.op}"
        seen[name] += 1
        try:
            problem: notation.Problem | RefconvError = call.problem()
        except RefconvError as error:
            problem = error
        made.append((f"{name} #{seen[name]}" if seen[name] > 1 else name, call, problem))
    return made


def _name(spec: str) -> str:
    return spec.rpartition(":")[2]


# --- results ------------------------------------------------------------------------------------


def _results(model: _Model, who: list[Candidate], options: compare.Options) -> Iterator[Result]:
    wholes = {c: _whole(model, c, options) for c in who}
    peer = next((w for c, w in wholes.items() if not c.ours and w.steps), None)
    if peer is None:
        peer = _Whole(_distances(model, model.own))
    failed: dict[Candidate, str] = {}
    last = {call.step: call for _, call, _ in model.calls}
    for name, call, problem in model.calls:
        if isinstance(problem, RefconvError):
            for c in who:
                failed.setdefault(c, name)
                yield _refusal(model, name, call, c, options, problem)
            continue
        trial = _trial(problem, call, options)
        for c in who:
            row = _local(model, name, problem, trial, c, options)
            whole = wholes[c]
            if last[call.step] is call and call.step < len(whole.steps) and row.status != "skipped":
                check = whole.steps[call.step]
                hint = row.hint or _drift(name, check, peer.steps[call.step], model, call.step)
                row = _changed(row, checks=(*row.checks, check), hint=hint)
                if not check.ok and row.status == "ok":
                    row = _changed(
                        row, status="wrong", reason=f"in the whole model: {check.reason}"
                    )
            if row.status not in ("ok", "skipped"):
                failed.setdefault(c, name)
            yield row
    yield from _whole_rows(model, wholes, failed, options)


def _trial(problem: Any, call: capture.Call, options: compare.Options) -> compare.Trial:
    data = "real" if options.image is None else "image"
    trial = compare.Trial(data, call.arrays(), None)
    trial.expected = reference.forward(problem, trial.arrays)
    trial.doubts = compare._doubts(problem, trial)
    return trial


def _local(
    model: _Model, name: str, problem: Any, trial: compare.Trial, c: Candidate, options: Any
) -> Result:
    """One candidate on the inputs that torch's layer got."""
    row = compare._row(Case(name, problem, model.spec, name), c, options)
    reason = c.unavailable or compare._too_slow(c, problem, options)
    if reason:
        return _changed(row, status="skipped", reason=reason)
    if trial.doubts:
        text = f"our float64 and torch's disagree: {trial.doubts[0].reason}"
        return _changed(row, status="doubt", reason=text, checks=tuple(trial.doubts))
    return compare._judge(row, c, problem, [trial], options)


def _whole(model: _Model, c: Candidate, options: compare.Options) -> _Whole:
    """The whole model by one candidate: layers converted, functions redirected."""
    reason = c.unavailable
    for name, _, problem in model.calls:
        slow = "" if isinstance(problem, RefconvError) else compare._too_slow(c, problem, options)
        reason = reason or (slow and f"{name} is {slow}")
    if reason:
        return _Whole(status="skipped", reason=reason)
    x = model.x.to(c.device)
    try:
        module = copy.deepcopy(model.module).to(c.device)
        if c.ours:
            nn.convert(module, c.backend, inplace=True)
        with modelfile.seeded(options.seed):
            trace = capture.run(module, x, model.family, c.backend if c.ours else "")
    except capture.ForwardError as error:
        cause = error.__cause__
        assert cause is not None
        skip = isinstance(cause, UnsupportedError | UnavailableError)
        text = str(cause) if skip else modelfile.first_line(cause)
        return _Whole(status="skipped" if skip else "error", reason=f"{error.where}: {text}")

    def call() -> Any:
        if not c.ours:
            return module(x)
        with capture.redirect(c.backend):
            return module(x)

    whole = _Whole(_distances(model, trace), call=call)
    whole.output = (_distance(trace.output, model.wide.output, model.own.output, "output"),)
    names = [[where for where, _ in t.steps] for t in (trace, model.own)]
    wrong = [s for s in (*whole.steps, *whole.output) if not s.ok]
    if names[0] != names[1]:
        whole.status, whole.reason = "wrong", f"it took another path than torch's: {names[0]}"
    elif wrong:
        whole.status, whole.reason = "wrong", wrong[0].reason
    return whole


def _distances(model: _Model, trace: capture.Trace) -> list[Check]:
    """How far every step is from float64; as many as there are in both runs."""
    triples = zip(trace.steps, model.wide.steps, model.own.steps, strict=False)
    return [_distance(got[1], want[1], own[1], PROPAGATED) for got, want, own in triples]


def _distance(got: Any, want: Any, own: Any, result: str) -> Check:
    """The largest distance of a result from float64; shape and dtype are torch's own."""
    shapes = [[(tuple(t.shape), t.dtype) for t in tensors] for tensors in (got, own)]
    if shapes[0] != shapes[1]:
        reason = f"expected {shapes[1]}, got {shapes[0]}"
        return Check(result=result, data="real", ok=False, kind="shape", reason=reason)
    first = next((i for i, t in enumerate(got) if t.is_floating_point() and t.numel()), None)
    made = Check(result=result, data="real", ok=True, rule="distance from torch in float64")
    if first is None:
        return made
    a, b = reference.exact(got[first]), reference.exact(want[first])
    error = np.where(verdict.same_bits(a, b), 0.0, np.abs(a - b))
    at = np.unravel_index(int(np.argmax(np.where(np.isnan(error), np.inf, error))), error.shape)
    size = float(error[at])
    return _changed(
        made,
        shape=a.shape,
        dtype=str(got[first].dtype).removeprefix("torch."),
        max_error=size if np.isfinite(size) else None,
        worst=tuple(int(i) for i in at),
        cells=a.size,
    )


def _drift(name: str, ours: Check, theirs: Check, model: _Model, step: int) -> str:
    """A hint where ours is much further from float64 than torch is, relative to the layer's size."""
    want = model.wide.steps[step][1]
    if ours.max_error is None or theirs.max_error is None or not want:
        return ""
    least = float(want[0].abs().max()) * torch.finfo(model.x.dtype).eps / 2
    times = ours.max_error / max(theirs.max_error, least, 1e-300)
    if times < DRIFT:
        return ""
    return (
        f"{name}: in the whole model {times:,.0f} times as far from float64 as torch; look for the "
        "first layer that differs, or for a maximum that two values nearly share"
    )


def _refusal(
    model: _Model, name: str, call: capture.Call, c: Candidate, options: Any, error: RefconvError
) -> Result:
    """A call that torch takes and we do not."""
    status, reason = ("error", str(error)) if c.ours else ("skipped", "ours refuses it")
    x = call.given["input"]
    return Result(
        case=name, label=call.op, op=call.op, source=model.spec, backend=c.backend, device=c.device,
        status=status, reason=reason, seed=options.seed, input_shape=tuple(x.shape),
        dtype=str(x.dtype).removeprefix("torch."),
    )  # fmt: skip


# --- the whole model ----------------------------------------------------------------------------


def _whole_rows(
    model: _Model, wholes: dict[Candidate, _Whole], failed: dict[Candidate, str], options: Any
) -> Iterator[Result]:
    """A row a candidate: the model's output, and the time of those that are right throughout."""
    for c, whole in wholes.items():
        if whole.status == "ok" and c in failed:
            whole.status, whole.reason = "wrong", f"{failed[c]} is wrong"
    timings: dict[Candidate, Timing] = {}
    if options.time:
        for device in options.devices:
            here = {c: w for c, w in wholes.items() if c.device == device and w.status == "ok"}
            timings |= _timings(here, device, options)
    problems = [p for _, _, p in model.calls if not isinstance(p, RefconvError)]
    output = model.own.output[0].shape if model.own.output else ()
    dtype = str(model.x.dtype).removeprefix("torch.")
    shape = "x".join(map(str, model.x.shape))
    for c, whole in wholes.items():
        yield Result(
            case=f"{_name(model.spec)} (whole model)", label=f"{model.spec} --in {shape}", op="model",
            source=model.spec, dtype=dtype, input_shape=tuple(model.x.shape), output_shape=tuple(output),
            work=sum(calls.work(p) for p in problems), seed=options.seed, backend=c.backend,
            device=c.device, precision=environment.precision("" if c.ours else c.device, dtype),
            status=whole.status, reason=whole.reason, hint=model.hint, checks=whole.output,
            timing=timings.get(c),
        )  # fmt: skip


def _timings(
    wholes: dict[Candidate, _Whole], device: str, options: compare.Options
) -> dict[Candidate, Timing]:
    """The whole model in turns with torch's; naive once."""
    clock = timing.timer(device)
    run = {c: w.call for c, w in wholes.items() if w.call is not None}
    quick = {c.backend: call for c, call in run.items() if c.name != "naive"}
    with torch.no_grad():
        found = (
            timing.interleave(quick, clock, budget=options.budget, rounds=(3, 31)) if quick else {}
        )
        slow = {c.backend: timing.once(f, clock) for c, f in run.items() if c.name == "naive"}
    peer = found.get("torch")
    made = {}
    for c in run:
        s = slow.get(c.backend) or found[c.backend]
        ratio = None
        if peer is not None:
            alone = c.backend in slow
            ratio = s.median / peer.median if alone else timing.ratio(s, peer)
        made[c] = Timing(
            timer=s.timer, calls=s.calls, samples_ns=s.ns, clean=s.clean, busy=s.busy,
            median_ns=s.median, iqr_ns=s.iqr, vs_torch=ratio,
        )  # fmt: skip
    return made


def _changed(made: Any, **values: Any) -> Any:
    import msgspec

    return msgspec.structs.replace(made, **values)
