"""Whole networks in the benchmark: torch's eager run beside the model that ``nn.convert`` makes.

Before they are timed, every layer that is converted is judged on the very inputs that torch's got,
within the proven bound (of a batch the first and the last image), and the converted model runs in
poisoned and guarded memory. Of the whole no bound can be proven, since errors travel from layer to
layer: as in ``whole``, torch's own distance from float64 is the measure of ours. Its result, before
and behind the timing, is wrong where it is not finite or has another shape or dtype, and suspect if
it is ``DRIFT`` times as far from float64 as torch's.

Functions of the family in a ``forward`` stay torch's, as ``nn.convert`` leaves them. A training
step is forward and backward of the parameters, batch norm in training, dropout left out: its draws
would make two different networks.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from .. import guard, nn
from ..errors import RefconvError, UsageError
from ..notation import input_shape
from ..oracle import inputs, reference
from . import bench as layers
from . import capture, cases, environment, judging, models, passes, whole
from .contestants import Contestant
from .judging import changed
from .network_target import Target, bound_call, judged, mode
from .networks import WAYS, Network
from .passes import exists
from .race import Entry, Options, Taken, failed, timed_rows
from .records import Bench
from .remembering import remembered


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
        images = _images(problem)
        trial = _trial(problem, call, images, "train" in mine, options.seed)
        for key in [(w, c) for w in mine for c in who if (w, c) not in found]:
            entry = Entry(key[1], layers.blank(case, key[0], key[1], options))
            layers.judge(entry, problem, key[0], [trial], partial(_part, key[0], images))
            if entry.row.status != "ok":
                found[key] = entry.row.status, f"{name}: {entry.row.reason}"
    return found


def _images(problem: Any) -> list[int]:
    """The images of a batch that are judged, first and last; nothing: all.

    The layer runs on the whole batch. A float64 reference of all of it, with the bounds of
    Winograd, would take minutes a layer.
    """
    small = cases.with_batch(problem, 2)
    count = input_shape(problem)[0]
    return [0, count - 1] if small is not None and count > 2 else []


def _trial(
    problem: Any, call: capture.Call, images: list[int], backward: bool, seed: int
) -> judging.Trial:
    """What torch's layer got, with what the reference says of these images and their gradients;
    the others' results get no gradient.
    """
    arrays = call.arrays()
    grad = inputs.gradient(problem, "real", seed) if backward else None
    small, some, part = problem, arrays, grad
    if images:
        small = cases.with_batch(problem, len(images))
        some = arrays | {"input": arrays["input"][images].contiguous()}
        if grad is not None:
            part = grad[images].contiguous()
            grad = torch.zeros_like(grad).index_copy_(0, torch.tensor(images), part)
    trial = judging.Trial("real", some, part)
    trial.expected = reference.forward(small, some)
    if part is not None:
        trial.expected += reference.backward(small, some, part)
    found = judging.doubts(small, trial)
    expected = [remembered(e) for e in trial.expected]
    return judging.Trial("real", arrays, grad, expected, found)


def _part(way: str, images: list[int], found: Any) -> Any:
    """Of the results of ``way``, these images; a weight's gradient has none."""
    values = found if isinstance(found, tuple | list) else (found,)
    if not images:
        return values
    return tuple(
        value[images] if name in ("output", "indices", "grad_input") else value
        for name, value in zip(passes.RESULTS[way], values, strict=False)
    )


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
    torch_module = mode(copy.deepcopy(model.module), way)
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


def _judge(entry: Entry, model: whole.Model, torch_module: torch.nn.Module, target: Target) -> None:
    """Run the whole in guarded memory; what passes gets the call that is timed."""
    who, row = entry.who, entry.row
    module = torch_module
    try:
        with torch.no_grad(), who.settings():
            if who.ours:
                module = nn.convert(torch_module, who.backend)
                entry.row = row = _path(row, model, nn.convert(model.module, who.backend))
            made = bound_call(module, model.x, target.grads)
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
