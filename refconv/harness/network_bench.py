"""Whole networks in the benchmark: torch's eager run beside the model that ``nn.convert`` makes.

Before they are timed, every layer that is converted is judged on the very inputs that torch's got,
within the proven bound, and the converted model runs in poisoned and guarded memory. Of the whole
no bound can be proven, since errors travel from layer to layer: as in ``whole``, torch's own
distance from float64 is the measure of ours. Its result, before and behind the timing, is wrong
where it is not finite or has another shape or dtype, and suspect if it is ``DRIFT`` times as far
from float64 as torch's.

Functions of the family in a ``forward`` stay torch's, as ``nn.convert`` leaves them. A training
step is forward and backward of the parameters, batch norm in training, dropout left out: its draws
would make two different networks.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .. import guard, nn
from ..errors import RefconvError, UsageError
from ..oracle import inputs, reference
from . import bench as layers
from . import capture, cases, environment, judging, models, passes, whole
from .contestants import Contestant
from .judging import changed
from .networks import WAYS, Network
from .passes import exists
from .race import Entry, Options, Taken, failed, timed_rows
from .records import Bench, Check


def bench(network: Network, options: Options) -> Iterator[Bench]:
    """The rows of one network, torch's first in every way."""
    ways = [way for way in options.ways if way in WAYS]
    asked = judging.Options(seed=options.seed)
    model = models.prepare(network.path, network.shape, network.dtype, asked)
    who = [Contestant("torch")]
    who += [Contestant(b, a) for b in options.backends for a in options.accuracies]
    faults = _faults(model, ways, who[1:], options)
    for way in ways:
        yield from _way(network, model, way, who, faults, options)


def _faults(
    model: whole.Model, ways: list[str], who: list[Contestant], options: Options
) -> dict[tuple[str, Contestant], tuple[str, str]]:
    """Status and reason of the first layer that is not right, for each way and candidate; layers
    that are the same problem are judged once.
    """
    found: dict[tuple[str, Contestant], tuple[str, str]] = {}
    seen = set()
    for name, call, problem in model.calls:
        if isinstance(problem, RefconvError) or call.where not in model.family or problem in seen:
            continue
        seen.add(problem)
        case, mine = cases.Case(name, problem, "", name), [w for w in ways if exists(problem, w)]
        trial = _trial(problem, call, "train" in mine, options.seed)
        for key in [(w, c) for w in mine for c in who if (w, c) not in found]:
            entry = Entry(key[1], layers.blank(case, key[0], key[1], options))
            layers.judge(entry, problem, key[0], [trial])
            if entry.row.status != "ok":
                found[key] = entry.row.status, f"{name}: {entry.row.reason}"
    return found


def _trial(problem: Any, call: capture.Call, backward: bool, seed: int) -> judging.Trial:
    """What torch's layer got, with what the reference says of it and of its gradients."""
    arrays = call.arrays()
    grad = inputs.gradient(problem, "real", seed) if backward else None
    trial = judging.Trial("real", arrays, grad)
    trial.expected = reference.forward(problem, arrays)
    if grad is not None:
        trial.expected += reference.backward(problem, arrays, grad)
    trial.doubts = judging.doubts(problem, trial)
    return trial


def _way(
    network: Network,
    model: whole.Model,
    way: str,
    who_all: list[Contestant],
    faults: dict[tuple[str, Contestant], tuple[str, str]],
    options: Options,
) -> list[Bench]:
    """All rows of one way: judge, time together, judge again."""
    threads = torch.get_num_threads()
    torch_module = _mode(copy.deepcopy(model.module), way)
    target = Target.of(model, way, torch_module, options.seed)
    entries: list[Entry] = []
    twins: list[tuple[Contestant, Entry]] = []
    algorithms: dict[int, tuple[str, tuple[Any, ...]]] = {}
    for who in who_all:
        entry = Entry(who, blank(network, model, way, who, options))
        try:
            chosen = _algorithms(model, way, who)
        except RefconvError as error:
            entry.row = failed(entry.row, who, error)
            entries.append(entry)
            continue
        same = [e for e in entries if algorithms.get(id(e)) == (who.backend, chosen) and who.ours]
        if same:  # fast chooses what strict chooses: one measurement is both
            twins.append((who, same[0]))
            continue
        algorithms[id(entry)] = (who.backend, chosen)
        if (way, who) in faults:
            status, reason = faults[way, who]
            entry.row = changed(entry.row, status=status, reason=reason)
        else:
            _judge(entry, model, torch_module, target)
        entries.append(entry)
    for entry in entries:
        entry.spoil = lambda: _spoil(model)
    timed_rows(entries, options, threads, lambda entry, taken: _judge_launch(entry, taken, target))
    rows = [e.row for e in entries]
    rows += [changed(e.row, accuracy=who.accuracy) for who, e in twins]
    reason = "asked for layers only, not for a whole model"
    return rows + [
        changed(blank(network, model, way, Contestant(p), options), reason=reason)
        for p in options.peers
    ]


def blank(
    network: Network, model: whole.Model, way: str, who: Contestant, options: Options
) -> Bench:
    """A row that says what would be timed; skipped until it is."""
    problems = [p for _, _, p in model.calls if not isinstance(p, RefconvError)]
    work = [passes.work(p, way) for p in problems]
    return Bench(
        case=network.name,
        label=network.label,
        source=network.source,
        op="model",
        way=way,
        backend=who.backend,
        accuracy=who.accuracy,
        dtype=network.dtype,
        precision=environment.precision("" if who.ours else "cpu", network.dtype),
        status="skipped",
        hint=model.hint,
        cold=options.cold,
        flops=sum(flops for flops, _ in work),
        moved=sum(moved for _, moved in work),
        seed=options.seed,
    )


def _algorithms(model: whole.Model, way: str, who: Contestant) -> tuple[Any, ...]:
    """What runs in every layer that is converted."""
    converted = [(call, p) for _, call, p in model.calls if call.where in model.family]
    if who.ours and not converted:
        raise UsageError("nothing to convert: its forward calls functions, and no layer")
    return tuple(who.algorithms(p, way) for _, p in converted if not isinstance(p, RefconvError))


def _mode(module: torch.nn.Module, way: str) -> torch.nn.Module:
    """As it is in that way: in training, but without dropout, or in evaluation."""
    module.train(way == "train")
    for layer in module.modules():
        if isinstance(layer, torch.nn.modules.dropout._DropoutNd):
            layer.eval()
    return module


def call(
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
        own = capture.tensors(call(copy.deepcopy(module), model.x, grads)())
        double = copy.deepcopy(module).double()
        wide = capture.tensors(call(double, model.x.double(), [g.double() for g in grads])())
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


def _judge(entry: Entry, model: whole.Model, torch_module: torch.nn.Module, target: Target) -> None:
    """Run the whole in guarded memory; what passes gets the call that is timed."""
    who, row = entry.who, entry.row
    module = torch_module
    try:
        with torch.no_grad(), who.settings():
            if who.ours:
                module = nn.convert(torch_module, who.backend)
                entry.row = row = _path(row, model, nn.convert(model.module, who.backend))
            made = call(module, model.x, target.grads)
            with guard.checked():
                results = made()
    except guard.GuardError as error:
        entry.row = changed(row, status="wrong", reason=str(error))
        return
    except Exception as error:  # whatever one candidate does, the others must still run
        cause = error.__cause__ if isinstance(error, capture.ForwardError) else error
        entry.row = failed(row, who, cause if isinstance(cause, Exception) else error)
        return
    if row.status == "wrong":
        return
    entry.row = _row(row, results, target, "")
    if entry.row.status != "wrong":
        entry.call = made


def _path(row: Bench, model: whole.Model, module: torch.nn.Module) -> Bench:
    """The converted model's way through its layers: wrong where it is another one than with torch,
    or where a layer's result is not finite.
    """
    with guard.checked():
        trace = capture.run(module, model.x, model.family)
    if [where for where, _ in trace.steps] != [where for where, _ in model.own.steps]:
        return changed(row, status="wrong", reason="its forward takes another path than with torch")
    for step, (where, got) in enumerate(trace.steps):
        check = judged(got, model.wide.steps[step][1], model.own.steps[step][1], where)
        if not check.ok:
            return changed(row, status="wrong", reason=check.reason, checks=(check,))
    return changed(row, status="ok")


def _judge_launch(entry: Entry, taken: Taken, target: Target) -> None:
    """Judge what the last timed launch returned; if that is wrong, there is no time."""
    entry.row = _row(entry.row, taken.result, target, "in the timed launch: ")
    if entry.row.status == "wrong":
        entry.call = None


def _row(row: Bench, results: Any, target: Target, where: str) -> Bench:
    """The row with the distances of these results."""
    checks, suspect = target.checks(results)
    row = changed(row, checks=tuple(checks))
    wrong = [c for c in checks if not c.ok]
    if wrong:
        return changed(row, status="wrong", reason=f"{where}{wrong[0].reason}")
    if suspect:
        return changed(row, status="suspect", reason=f"{where}{suspect}")
    return changed(row, status="ok")


def _spoil(model: whole.Model) -> None:
    """Fill the memory that the layers' results will come from with NaN: blocks of their sizes,
    held together, then freed.
    """
    held = [
        np.full(tuple(t.shape), np.nan, np.float32) for _, step in model.own.steps for t in step
    ]
    del held
