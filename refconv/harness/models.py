"""Whole models: torch's and the converted one, layer by layer.

Two questions are asked of every call of the family inside a model, be it a layer's or a function's
in a ``forward``. Is our op right on the very inputs that torch's got? That is judged like any other
case, with a proven bound. And in the whole run, how far is its result from float64? That is
reported beside it, and beside torch's own distance.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import nn, notation
from ..errors import RefconvError, ShapeError, UsageError
from ..ops import FLOATS
from ..oracle import calls, inputs, reference
from ..usercode import first_line
from . import capture, environment, modelfile, whole
from .candidates import Candidate, candidates
from .cases import Case
from .judging import Options, Trial, changed, doubts, result
from .records import Result, Timing
from .whole import Model, Whole

Shape = tuple[int, ...]


def compare_model(
    spec: str,
    in_shape: str | Shape | None,
    backends: tuple[str, ...] = (),
    seed: int = 0,
    image: Path | None = None,
    dtype: str = "float32",
    **more: Any,
) -> Iterator[Result]:
    """The results of a model: for every call of the family a row a backend, then the whole model.

    The model is loaded and run with torch at once, so that mistakes show before the first result.

    Args:
        spec: ``model.py:Net`` or ``package.module:Net``: a class or function that needs no
            arguments, or a module; ``model.py`` where it has only one class.
        in_shape: of the input, which a model does not say itself (None is refused); a batch of one
            is added where there is no batch axis.
        seed: of the weights and the input.
        image: a picture as the input.
        more: the other fields of ``judging.Options``.

    Raises:
        UsageError: the model cannot be found, built or called, or has nothing of the family.
        ShapeError: its forward fails on this input; torch's message is quoted.
    """
    options = Options(backends=tuple(backends), seed=seed, image=image, **more)
    who = candidates(options.backends, options.devices)
    return _results(prepare(spec, in_shape, dtype, options), who, options)


def prepare(spec: str, in_shape: Any, dtype: str, options: Options) -> Model:
    """The model, its input, and what torch makes of them.

    Raises: as ``compare_model``.
    """
    if dtype not in FLOATS:
        raise UsageError(f"--dtype: a model takes {', '.join(FLOATS)}, got {dtype!r}")
    if options.backward:
        raise UsageError("--backward: a whole model is compared forward; give its layers as cases")
    module = modelfile.load(spec, seed=options.seed, dtype=dtype)
    if spec.endswith(".py"):
        spec = f"{spec}:{type(module).__name__}"
    x, given, hint, own = first_run(spec, module, in_shape, dtype, options)
    family = capture.layers(module)
    try:
        double = copy.deepcopy(module).double()
    except Exception as error:
        text = first_line(error)
        raise UsageError(f"{spec}: torch cannot copy this model ({text})") from error
    try:
        with modelfile.seeded(options.seed):
            wide = capture.run(double, x.double(), family)
    except capture.ForwardError:
        wide = own
    if [where for where, _ in wide.steps] != [where for where, _ in own.steps]:
        wide = own
    data = "real" if options.image is None else "image"
    named = _named(spec.rpartition(":")[2], own)
    return Model(spec, module, x, given, hint, data, family, own, wide, named)


def first_run(
    spec: str,
    module: torch.nn.Module,
    in_shape: Any,
    dtype: str,
    options: Options,
    device: str = "cpu",
) -> tuple[torch.Tensor, Shape, str, capture.Trace]:
    """A model's input, the shape as it was given, what was assumed of it, and torch's run on it.

    Args:
        spec: the model's name, for messages; device: that ``module`` is on.

    Raises:
        UsageError: no shape is given, or the model has nothing of the family.
        ShapeError: its forward fails on this input; torch's message is quoted.
    """
    if in_shape is None:
        raise UsageError(f"{spec} does not say how large its input is: add {_example(module)}")
    given = notation.shape(in_shape)
    failures = []
    for shape, hint in _with_batch(module, given):
        x = _input(shape, dtype, options).to(device)
        try:
            with modelfile.seeded(options.seed):
                own = capture.run(module, x, capture.layers(module))
        except capture.ForwardError as error:
            failures.append(_refused(spec, shape, error))
            continue
        if not own.calls:
            raise UsageError(f"{spec}: its forward calls nothing of the convolution family")
        return x, given, hint, own
    raise failures[0]


def _example(module: torch.nn.Module) -> str:
    """An input's shape as the user may give it: the first convolution's channels, 32 an axis."""
    for layer in module.modules():
        if nn.counterpart(layer) is not None and hasattr(layer, "in_channels"):
            rank = len(layer.kernel_size)  # type: ignore[arg-type]
            return f"its shape, e.g. --in {layer.in_channels}{'x32' * rank}"
    return "its shape, e.g. --in 3x32x32"


def _with_batch(module: torch.nn.Module, given: Shape) -> list[tuple[Shape, str]]:
    """The input's shape with a batch axis, and what was assumed; first what is likeliest.

    The model's first layer says how many axes there are; where there are only functions, three axes
    are first taken for a picture without a batch axis.
    """
    text = "x".join(map(str, given))
    hint = f"the input {text} has no batch axis: taken as a batch of one, 1x{text}"
    ranks = [type(m).__name__[-2] for m in module.modules() if nn.counterpart(m)]
    rank = next((int(r) for r in ranks if r.isdigit()), None)
    if len(given) != (rank or 2) + 1:
        return [(given, "")]
    return [((1, *given), hint), *([] if rank else [(given, "")])]


def _input(shape: Shape, dtype: str, options: Options) -> torch.Tensor:
    """Seeded normal numbers, or the picture."""
    if options.image is not None:
        return inputs.picture(options.image, shape, dtype)
    values = np.random.default_rng([options.seed, 0]).standard_normal(shape)
    return torch.from_numpy(values).to(getattr(torch, dtype))


def _refused(spec: str, shape: Shape, error: capture.ForwardError) -> RefconvError:
    """A forward that failed: where, torch's words, and the last shape before it."""
    cause = error.__cause__
    assert cause is not None
    about_shapes = isinstance(cause, RuntimeError | ValueError | IndexError)
    text = str(cause).strip() if about_shapes else first_line(cause)
    says = text.splitlines()[0] if text else type(cause).__name__
    seen = f"; before it, {error.seen}" if error.seen else ""
    message = f"{spec} on input {shape}: {error.where} failed, torch says: {says}{seen}"
    made = ShapeError(message) if about_shapes else UsageError(message)
    made.__cause__ = cause
    return made


def _named(
    model: str, own: capture.Trace
) -> list[tuple[str, capture.Call, notation.Problem | RefconvError]]:
    """A name for every call: the layer, or the function and where it is; ``#2`` when again."""
    made = []
    seen: Counter[str] = Counter()
    last = {call.step: call for call in own.calls}
    for call in own.calls:
        name = f"{model}.{call.where}".rstrip(".")
        if call.where.endswith("forward()") or last[call.step] is not call:
            name += f" {call.op}"
        seen[name] += 1
        try:
            problem: notation.Problem | RefconvError = call.problem()
        except RefconvError as error:
            problem = error
        made.append((f"{name} #{seen[name]}" if seen[name] > 1 else name, call, problem))
    return made


def _results(model: Model, who: list[Candidate], options: Options) -> Iterator[Result]:
    """Every call by every candidate, then the whole model by every candidate."""
    wholes = {c: whole.run(model, c, options) for c in who}
    theirs = whole.distances(model, model.own)
    failed: dict[Candidate, str] = {}
    last = {call.step: call for _, call, _ in model.calls}
    for name, call, problem in model.calls:
        trial = None if isinstance(problem, RefconvError) else _trial(model, call, problem)
        for c in who:
            if trial is None:
                row = _refusal(model, name, call, c, options, str(problem))
            else:
                row = _local(model, name, problem, trial, c, options)
            steps = wholes[c].steps
            if last[call.step] is call and call.step < len(steps) and row.status != "skipped":
                check = steps[call.step]
                hint = row.hint or whole.drift(model, name, call.step, check, theirs[call.step])
                row = changed(row, checks=(*row.checks, check), hint=hint)
                if row.status == "ok" and not check.ok:
                    row = changed(row, status="wrong", reason=check.reason)
            if row.status not in ("ok", "skipped"):
                failed.setdefault(c, name)
            yield row
    for c, name in failed.items():
        if wholes[c].status == "ok":
            wholes[c].status, wholes[c].reason = "wrong", f"{name} is wrong"
    yield from _whole_rows(model, wholes, options)


def _trial(model: Model, call: capture.Call, problem: Any) -> Trial:
    """What torch's layer got, with what the reference says of it."""
    trial = Trial(model.data, call.arrays(), None)
    trial.expected = reference.forward(problem, trial.arrays)
    trial.doubts = doubts(problem, trial)
    return trial


def _local(
    model: Model, name: str, problem: Any, trial: Trial, c: Candidate, options: Any
) -> Result:
    """One candidate on the inputs that torch's layer got."""
    return result(Case(name, problem, model.spec, name), c, [trial], options)


def _refusal(
    model: Model, name: str, call: capture.Call, c: Candidate, options: Any, error: str
) -> Result:
    """A call that torch takes and we do not."""
    x = call.given["input"]
    return Result(
        case=name, label=call.op, op=call.op, source=model.spec, backend=c.backend, device=c.device,
        status="error" if c.ours else "skipped", reason=error if c.ours else "ours refuses it",
        seed=options.seed, input_shape=tuple(x.shape), dtype=str(x.dtype).removeprefix("torch."),
    )  # fmt: skip


def _whole_rows(model: Model, wholes: dict[Candidate, Whole], options: Any) -> Iterator[Result]:
    """A row a candidate: the model's output, and the time of those that are right throughout."""
    times: dict[Candidate, Timing] = {}
    for device in options.devices if options.time else ():
        here = {c: w for c, w in wholes.items() if c.device == device and w.status == "ok"}
        times |= whole.timings(here, device, options)
    problems = [p for _, _, p in model.calls if not isinstance(p, RefconvError)]
    dtype = str(model.x.dtype).removeprefix("torch.")
    for c, w in wholes.items():
        yield Result(
            case=f"{model.name} (whole model)",
            label=model.command,
            op="model",
            source=model.spec,
            dtype=dtype,
            input_shape=tuple(model.x.shape),
            output_shape=tuple(model.own.output[0].shape) if model.own.output else (),
            work=sum(calls.work(p) for p in problems),
            seed=options.seed,
            backend=c.backend,
            device=c.device,
            precision=environment.precision("" if c.ours else c.device, dtype),
            status=w.status,
            reason=w.reason,
            hint=model.hint,
            checks=w.output,
            timing=times.get(c),
        )
