"""Measure a problem's algorithms on this machine, and remember the fastest."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from . import dispatch, plans, settings, tuned
from .errors import UnsupportedError
from .listing import has_slot, problem_of


@dataclass(frozen=True)
class Tuning:
    """What was measured; ``str`` is a table.

    Args:
        seconds: ``backend:algorithm`` → median seconds of a call, fastest first.
        fastest: accuracy → ``backend:algorithm``.
        path: the file that remembers it.
    """

    problem: str
    slot: str
    threads: int
    seconds: dict[str, float]
    fastest: dict[str, str]
    path: Path

    def __str__(self) -> str:
        width = max(map(len, self.seconds))
        lines = [f"{self.problem}: {self.slot}, {self.threads} threads, measured"]
        for name, seconds in self.seconds.items():
            best = [accuracy for accuracy, n in self.fastest.items() if n == name]
            note = f"  fastest ({', '.join(best)})" if best else ""
            lines.append(f"{name:<{width}}  {seconds * 1e6:>9.4g} µs{note}")
        return "\n".join(lines)


def use_tuning(wanted: bool = True) -> None:
    """Let choices follow what ``tune`` measured, as the environment variable REFCONV_TUNE does."""
    tuned.wanted = wanted
    tuned.forget()
    plans.forget()


def tune(problem: Any, slot: str | None = None, rounds: int = 9, budget: float = 2.0) -> Tuning:
    """Measure every algorithm of the preferred backend that can run ``problem``, and remember the
    fastest of each accuracy for the number of threads in effect.

    Random inputs, in rounds of one call each, so that a disturbance meets all alike; the median of
    the rounds counts. Nothing is chosen by it unless that is opted in: ``use_tuning(True)`` or the
    environment variable REFCONV_TUNE.

    Args:
        problem: a ConvProblem or PoolProblem, or its label.
        slot: the pass, such as ``conv_wgrad``; None: the op itself.
        rounds: at most; at least three are run.
        budget: seconds after which no further round begins.

    Raises:
        UsageError: the text is no problem, or the problem has no such slot.
        UnsupportedError: the slot moves elements by index: there is nothing to choose.
    """
    from . import label

    problem = problem_of(problem)
    slot = problem.forward_slot if slot is None else slot
    has_slot(problem, slot)
    if slot in ("gather", "scatter", "scatter_add"):
        raise UnsupportedError(f"{problem.op}: {slot} has one algorithm a backend; nothing to tune")
    backend = dispatch.choose(problem, slot).backend
    able = [a for a in backend.slots[slot] if a.supports(problem) is None]
    calls = {
        f"{backend.name}:{a.name}": _call(problem, slot, f"{backend.name}:{a.name}") for a in able
    }
    times = _interleaved(calls, rounds, budget)
    medians = {name: median(taken) for name, taken in times.items()}
    seconds = dict(sorted(medians.items(), key=lambda item: item[1]))
    fastest, entries, threads = {}, {}, dispatch.threads()
    for accuracy in settings.ACCURACIES:
        allowed = [
            f"{backend.name}:{a.name}" for a in able if settings.allows(accuracy, a.accuracy)
        ]
        if allowed:
            fastest[accuracy] = min(allowed, key=lambda name: seconds[name])
            entries[tuned.key(problem, slot, accuracy, threads)] = fastest[accuracy]
    path = tuned.remember(entries)
    plans.forget()
    return Tuning(label.format(problem), slot, threads, seconds, fastest, path)


def _call(problem: Any, slot: str, name: str) -> Any:
    """A call of one algorithm on random arrays, ready to be timed."""
    call = dispatch.Call(problem, slot, dispatch.choose(problem, slot, name))
    random = np.random.default_rng(0)
    ready = [_random(random, shape, call.dtype) for shape in call.in_shapes]
    outputs = [np.empty(*made) for made in zip(call.out_shapes, call.kinds, strict=True)]
    return lambda: call.launch(outputs, ready)


def _random(random: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    if dtype.kind in "iu":
        return random.integers(0, 8, shape, dtype)
    return random.standard_normal(shape).astype(dtype)


def _interleaved(calls: dict[str, Any], rounds: int, budget: float) -> dict[str, list[float]]:
    """Seconds of every call, one a round; the first call of each compiles and is not counted."""
    for call in calls.values():
        call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    end = time.perf_counter() + budget
    for done in range(rounds):
        if done >= 3 and time.perf_counter() > end:
            break
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - start)
    return taken
