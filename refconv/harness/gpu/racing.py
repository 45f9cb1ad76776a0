"""One row: torch in both layouts beside our steps, in turns; nothing has a time that is not right.

Torch at the row's precision, with cuDNN's benchmark on; the faster layout counts. A step's result
is judged before it is timed, in memory that held NaN, and the last timed call must have given the
same bits, or is judged again.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any

import torch

from ... import fused
from ...backends import get
from ...errors import UnsupportedError
from ...notation import input_shape
from .. import passes, timing
from ..statistics import median_interval
from .device import Device, set_tf32
from .judged import Judge
from .rows import STEPS, Row
from .verify import precision, rule, spoil

Call = Callable[[], Any]
LAYOUTS = ("contiguous", "channels_last")
#: A step is left out of the rounds if one call takes so many times the fastest's, or so many
#: nanoseconds where every step is wanted.
SLOW, SLOWEST = 10.0, 2e8
#: What may have a time: right, or inside the proof but outside of the usual noise, which is told.
TIMED = ("ok", "suspect")
#: What says how long an entry took.
TIMES = ("ns", "median_ns", "samples", "speedup", "interval", "called_ns", "graph_ns")


@dataclass
class Entry:
    """Somebody who takes part.

    Args:
        name: torch, or backend:algorithm.
        last: what the last timed call gave.
    """

    name: str
    layout: str
    call: Call
    algorithm: str = ""
    record: dict[str, Any] = field(default_factory=dict)
    last: Any = None

    @property
    def key(self) -> str:
        """Name and layout."""
        return f"{self.name} {self.layout}"

    def __call__(self) -> Any:
        """Call, and keep what comes."""
        self.last = None  # the next result may take its memory
        self.last = self.call()
        return self.last


class Arrays:
    """A row's random arrays on the device, in each layout; the same numbers every time."""

    def __init__(self, row: Row, device: Device) -> None:
        self.row, problem = row, row.problem
        random = torch.Generator(device.kind).manual_seed(7)
        dtype = getattr(torch, problem.dtype)

        def normal(shape: tuple[int, ...], fan: int = 1) -> torch.Tensor:
            made = torch.randn(shape, generator=random, device=device.kind, dtype=torch.float32)
            return (made / fan**0.5).to(dtype)

        self.given = {"input": normal(input_shape(problem))}
        if hasattr(problem, "weight_shape"):
            weight = problem.weight_shape
            self.given["weight"] = normal(weight, max(1, prod(weight[1:])))
            if problem.bias:
                self.given["bias"] = normal((problem.out_channels,))
        derived = row.way in ("dgrad", "wgrad")
        self.grad = normal(problem.output_shape) if derived else None

    def laid_out(self, layout: str) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
        """Arrays, and the output's gradient."""
        if layout == "contiguous":
            return self.given, self.grad
        last = torch.channels_last if self.given["input"].dim() == 4 else torch.channels_last_3d
        made = {n: a.contiguous(memory_format=last) if a.dim() > 3 else a
                for n, a in self.given.items()}  # fmt: skip
        return made, None if self.grad is None else self.grad.contiguous(memory_format=last)


def race(item: dict[str, Any], device: Device, progress: Callable[[str], None]) -> dict[str, Any]:
    """The record of one row.

    Args:
        item: ``row``, and ``excluded``: steps (``backend:slot:algorithm``) that are not run.
    """
    row = Row(**item["row"])
    device.free()
    progress("arrays")
    arrays = Arrays(row, device)
    set_tf32(row.tf32)
    theirs = torch_entries(row, arrays)
    ours, skipped = our_entries(row, arrays, device, frozenset(item.get("excluded", ())))
    flops, moved = passes.work(row.problem, "fprop" if row.way == "fused" else row.way)
    record: dict[str, Any] = {
        "skipped": skipped,
        "flops": flops,
        "moved": moved,
        "clocks": [device.clocks()],
    }
    judge = Judge(row.problem, arrays.given, arrays.grad, row.way)
    entries = [e for e in (*theirs, *ours) if right(e, row, judge, device, progress)]
    racing = _quick(entries, row, device, progress)
    progress("timing")
    _time(racing, row, device)
    for entry in racing:
        again(entry, row, judge, device)
    if input_shape(row.problem)[0] == 1:
        _host(racing, row, judge, device, progress)
    record["clocks"].append(device.clocks())
    record["entries"] = {e.key: e.record for e in (*theirs, *ours)}
    return {"status": _status(ours), **record, **_outcome(racing)}


def torch_entries(row: Row, arrays: Arrays) -> list[Entry]:
    """Torch in each layout."""
    return [Entry("torch", layout, _torch(row, *arrays.laid_out(layout))) for layout in LAYOUTS]


def _torch(row: Row, given: dict[str, torch.Tensor], grad: torch.Tensor | None) -> Call:
    if row.way != "fused":
        return passes.bind("torch", row.problem, given, grad, row.way)
    convolution = passes.bind("torch", row.problem, given, None, "fprop")
    return lambda: torch.relu_(convolution())


def torch_call(row: dict[str, Any], layout: str, device: Device) -> Call:
    """Torch's call of a row as it is timed, to look at it in another way."""
    made = Row(**row)
    set_tf32(made.tf32)
    return _torch(made, *Arrays(made, device).laid_out(layout))


def our_entries(
    row: Row, arrays: Arrays, device: Device, excluded: frozenset[str]
) -> tuple[list[Entry], dict[str, str]]:
    """The steps that can run the row, in both layouts, and why the others do not."""
    found: list[Entry] = []
    skipped: dict[str, str] = {}
    backends = [b for b in device.backends if row.ladder or b == device.backends[0]]
    for backend in backends:
        steps: Any = (None,)
        if row.slot:
            steps = predicted(get(backend).slots.get(row.slot, ()), row.problem, row.slot)
        for step in steps:
            name = f"{backend}:{step.name}" if step else backend
            reason = _against(row, backend, step, excluded)
            if reason is None and not row.ladder and len(found) >= STEPS * len(LAYOUTS):
                reason = "others are predicted to be faster"
            for layout in LAYOUTS[: 1 if row.ladder else 2] if reason is None else ():
                try:
                    call = _ours(row, name, *arrays.laid_out(layout))
                except UnsupportedError as error:
                    reason = str(error)
                    break
                found.append(Entry(name, layout, call, step.name if step else ""))
            if reason is not None:
                skipped[name] = reason
    return found, skipped


def predicted(steps: Iterable[Any], problem: Any, slot: str) -> list[Any]:
    """The steps, fastest first, as far as that is predicted."""
    return sorted(steps, key=lambda step: step.cost(problem, slot, 1))


def _against(row: Row, backend: str, step: Any, excluded: frozenset[str]) -> str | None:
    if step is None:
        return None
    if f"{backend}:{row.slot}:{step.name}" in excluded:
        return "it was lost in verification"
    if precision(step.name) == "tf32" and not row.tf32:
        return "it rounds to TF32"
    return step.supports(row.problem)


def _ours(
    row: Row, backend: str, given: dict[str, torch.Tensor], grad: torch.Tensor | None
) -> Call:
    if row.way != "fused":
        return passes.bind(backend, row.problem, given, grad, row.way)
    arrays = tuple(given.values())
    call = fused.prepared(row.problem, backend, arrays[0].device.type)
    last = arrays[0].is_contiguous(memory_format=torch.channels_last)
    last = last and not arrays[0].is_contiguous()
    return partial(call.run, arrays, last)


def right(
    entry: Entry, row: Row, judge: Judge, device: Device, progress: Callable[[str], None]
) -> bool:
    """Whether an entry's result is right; says so in its record."""
    progress(f"{entry.key}: first call")
    try:
        set_tf32(row.tf32)
        with torch.no_grad():
            spoil(
                _several(entry())
            )  # what it gets next is this memory, if it allocates as it did now
            got = entry()
        device.synchronize()
        progress(f"{entry.key}: judged")
        _judge(entry, row, judge, got)
    except Exception as error:
        if not device.healthy():
            raise
        device.free()
        text = " ".join(str(error).split())[:300]
        entry.record |= {"status": "error", "reason": f"{type(error).__name__}: {text}"}
        entry.last = None
    return entry.record["status"] in TIMED


def _judge(entry: Entry, row: Row, judge: Judge, got: Any) -> None:
    if entry.name == "torch":
        found = judge.torchs(got, "tf32" if row.tf32 else "ieee")
    else:
        found = judge.judge(got, precision(entry.algorithm), (rule(entry.algorithm),))
    set_tf32(row.tf32)
    status = {"consistent": "ok", "suspect": "suspect", "wrong": "wrong"}[found.level]
    entry.record |= {"status": status, "noise": found.noise, "worst": found.worst}
    if found.reason:
        entry.record["reason"] = found.reason
    if found.law != "direct":
        entry.record["law"] = found.law


def again(entry: Entry, row: Row, judge: Judge, device: Device) -> None:
    """Judge the last timed call, if it gave other bits; what is wrong loses its time."""
    kept, fresh = entry.last, entry.call()
    device.synchronize()
    pairs = zip(_several(kept), _several(fresh), strict=True)
    same = all(torch.equal(a, b) for a, b in pairs)
    entry.record["repeatable"] = same
    if not same:
        _judge(entry, row, judge, kept)
    if entry.record["status"] not in TIMED:
        for name in TIMES:
            entry.record.pop(name, None)


def _quick(
    entries: list[Entry], row: Row, device: Device, progress: Callable[[str], None]
) -> list[Entry]:
    """Those that a round can wait for; the others get the time of one call."""
    clock, alone = device.cold(), {}
    for entry in entries:
        progress(f"{entry.key}: one call")
        alone[entry.key] = min(clock.time(entry, 1) for _ in range(2))
    fastest = min(alone.values(), default=0.0)
    quick = []
    for entry in entries:
        slow = alone[entry.key] > (SLOWEST if row.ladder else SLOW * max(fastest, 1e4))
        if slow and entry.name != "torch":
            entry.record |= {"median_ns": alone[entry.key], "samples": 1}
            entry.last = None
        else:
            quick.append(entry)
    return quick


def _time(racing: list[Entry], row: Row, device: Device) -> None:
    """Median, interval and ratio to torch of every entry, in the same rounds."""
    if not racing:
        return
    with torch.no_grad():
        samples = timing.interleave(
            {e.key: e for e in racing}, device.cold(), budget=device.seconds,
            rounds=device.rounds, sample=0.0, gap=0.0, pause=lambda gap: None, lost=lambda: 0,
        )  # fmt: skip
    peers = [samples[e.key] for e in racing if e.name == "torch"]
    best = min(peers, key=lambda s: s.median) if peers else None
    for entry in racing:
        s = samples[entry.key]
        entry.record |= {"median_ns": s.median, "samples": len(s.ns), "ns": list(s.ns)}
        if best is not None:
            ratios = [b / a for a, b in zip(s.ns, best.ns, strict=True)]
            entry.record["speedup"] = statistics.median(ratios)
            entry.record["interval"] = median_interval(ratios)


def _host(
    racing: list[Entry], row: Row, judge: Judge, device: Device, progress: Callable[[str], None]
) -> None:
    """Of single images: nanoseconds per call as a program sees it, many in a row; and of the same
    call captured as a CUDA graph, or why not.
    """
    clock = device.warm()
    for entry in racing:
        progress(f"{entry.key}: many calls")
        count = 2 if device.rehearsal else 200
        entry.record["called_ns"] = min(clock.time(entry.call, count) for _ in range(3))
        if device.rehearsal:
            continue
        progress(f"{entry.key}: as a graph")
        try:
            replay = captured(entry, row, judge, device)
            entry.record["graph_ns"] = min(clock.time(replay, count) for _ in range(3))
        except Exception as error:
            if not device.healthy():
                raise
            entry.record["graph"] = " ".join(f"{type(error).__name__}: {error}".split())[:200]


def captured(entry: Entry, row: Row, judge: Judge, device: Device) -> Call:
    """What replays the entry's call as a CUDA graph; its result has been judged.

    Raises:
        RuntimeError: the call cannot be captured, or its replay's result is not right.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        made = entry.call()
    spoil(_several(made))
    graph.replay()
    device.synchronize()
    pairs = zip(_several(made), _several(entry.call()), strict=True)
    if not all(torch.equal(a, b) for a, b in pairs):
        again = Entry(entry.name, entry.layout, entry.call, entry.algorithm)
        _judge(again, row, judge, made)
        if again.record["status"] not in TIMED:
            raise RuntimeError(f"its replay is wrong: {again.record['reason']}")
    return graph.replay


def _several(results: Any) -> tuple[torch.Tensor, ...]:
    return results if isinstance(results, tuple) else (results,)


def _status(ours: list[Entry]) -> str:
    """The worst of our entries'."""
    found = {e.record.get("status", "error") for e in ours}
    return next((s for s in ("wrong", "error", "suspect", "ok") if s in found), "unsupported")


def _outcome(racing: list[Entry]) -> dict[str, Any]:
    """The fastest of ours that is right, beside torch's faster layout."""
    done = [e for e in racing if "median_ns" in e.record]
    mine = [e for e in done if e.name != "torch"]
    theirs = [e for e in done if e.name == "torch"]
    found: dict[str, Any] = {}
    if theirs:
        found["torch"] = min(theirs, key=lambda e: e.record["median_ns"]).key
    if mine:
        found["best"] = min(mine, key=lambda e: e.record["median_ns"]).key
    return found
