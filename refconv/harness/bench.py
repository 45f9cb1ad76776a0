"""The benchmark: one case, one way through it, every candidate beside torch; timed in turns, judged
before and after.

Nothing is timed that did not pass on whole and on real numbers, in poisoned and guarded memory; and
the result of the last timed launch is judged again, so that a time always belongs to a right
answer. A ratio comes with its interval. Where the rounds decide nothing, "noise" is the outcome.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from .. import guard, label
from ..errors import RefconvError, UnavailableError, UnsupportedError
from . import contestants, environment, judging, passes, timing
from .compare import make_trials
from .contestants import Contestant
from .judging import Trial, changed
from .keeping import Keeper
from .records import Bench, Check, Timing
from .statistics import LEAST, median_interval, quartiles

#: An interval around 1 that is wider than this decides nothing.
WIDE = 0.1
CLOCKS = {"wall": time.perf_counter_ns, "thread": time.thread_time_ns}
#: Seconds of one candidate's turn in a round.
BLOCK = 0.03


@dataclass(frozen=True)
class Options:
    """What is timed, and how.

    Args:
        backends: refconv's, each perhaps with an algorithm.
        ways: of ``passes.WAYS``.
        accuracies: strict, fast.
        all_algorithms: every algorithm of the numba backend that applies, each by itself.
        peers: of ``peers.PEERS``.
        budget: seconds of timing per case and way.
        cold: whether caches are emptied before every timed call.
        clock: of ``CLOCKS``; ``thread`` counts no one else's time, and needs one thread.
        rounds: least and most.
    """

    backends: tuple[str, ...] = ("numba",)
    ways: tuple[str, ...] = ("fprop",)
    accuracies: tuple[str, ...] = ("strict", "fast")
    all_algorithms: bool = False
    peers: tuple[str, ...] = ()
    seed: int = 0
    budget: float = 1.5
    cold: bool = False
    clock: str = "wall"
    rounds: tuple[int, int] = (LEAST + 1, 31)


@dataclass
class Entry:
    """One contestant's row and, once it has passed, its call."""

    who: Contestant
    row: Bench
    call: Any = None


def bench(case: Any, options: Options) -> Iterator[Bench]:
    """The rows of one case, torch's first in every way that it has."""
    ways = [way for way in options.ways if passes.exists(case.problem, way)]
    if not ways:
        return
    if getattr(case, "refused", ""):
        yield from (blank(case, way, Contestant("torch"), options, reason=case.refused)
                    for way in ways)  # fmt: skip
        return
    backward = any(way not in ("fprop", "indices") for way in ways)
    trials = make_trials(case.problem, judging.Options(backward=backward, seed=options.seed))
    for way in ways:
        yield from _way(case, way, trials, options)


def _way(case: Any, way: str, trials: list[Trial], options: Options) -> list[Bench]:
    """All rows of one way: judge, time together, judge again."""
    problem, threads = case.problem, torch.get_num_threads()
    entries: list[Entry] = []
    twins: list[tuple[Contestant, Entry]] = []
    for who in contestants.of(problem, way, options):
        entry = Entry(who, blank(case, way, who, options))
        same = [e for e in entries if who.ours and e.row.backend == entry.row.backend
                and e.row.algorithm == entry.row.algorithm != ""]  # fmt: skip
        if same:  # fast chose what strict chose: one measurement is both
            twins.append((who, same[0]))
            continue
        _judge(entry, problem, way, trials)
        entries.append(entry)
    racing = _started([e for e in entries if e.call is not None])
    samples = _time(racing, options, threads)
    for entry in racing:
        _judge_launch(entry, samples, problem, trials[-1])
    torch_entry = next((e for e in racing if e.who.backend == "torch"), None)
    peer = samples.get(id(torch_entry)) if torch_entry and torch_entry.call else None
    for entry in racing:
        if entry.call is not None and id(entry) in samples:
            entry.row = _timed(entry.row, samples[id(entry)], peer)
    rows = [e.row for e in entries]
    return rows + [changed(e.row, accuracy=who.accuracy) for who, e in twins]


def blank(case: Any, way: str, who: Contestant, options: Options, reason: str = "") -> Bench:
    """A row that says what would be timed; skipped until it is."""
    problem = case.problem
    flops, moved = passes.work(problem, way)
    try:
        algorithms = () if reason else who.algorithms(problem, way)
    except RefconvError as error:
        algorithms, reason = (), str(error)
    return Bench(
        case=case.name,
        label=label.format(problem),
        source=getattr(case, "source", ""),
        op=problem.op,
        way=way,
        backend=who.backend,
        accuracy=who.accuracy,
        algorithm="/".join(dict.fromkeys(algorithms)),
        dtype=problem.dtype,
        precision=environment.precision("" if who.ours else "cpu", problem.dtype),
        status="skipped",
        reason=reason,
        cold=options.cold,
        flops=flops,
        moved=moved,
        seed=options.seed,
        predicted=who.predicted,
        chosen=who.chosen,
    )


def _judge(entry: Entry, problem: Any, way: str, trials: list[Trial]) -> None:
    """Run on all data in guarded memory; what passes gets the call that is timed."""
    who, row = entry.who, entry.row
    if row.reason:
        return
    for trial in trials:
        if trial.doubts:
            text = f"our float64 and torch's disagree: {trial.doubts[0].reason}"
            entry.row = changed(row, status="doubt", reason=text, checks=tuple(trial.doubts))
            return
        own = {n: a.clone() for n, a in trial.arrays.items()}
        try:
            with torch.no_grad(), who.settings():
                call = who.bind(problem, own, trial.grad, way)
                with guard.checked():
                    found = call()
        except guard.GuardError as error:
            entry.row = changed(row, status="wrong", reason=f"on {trial.data} data: {error}")
            return
        except Exception as error:  # whatever one candidate does, the others must still run
            entry.row = _failed(row, who, error)
            return
        entry.row = row = judged(row, who, found, problem, trial, "")
        if row.status in ("wrong", "error"):
            return
    entry.call = call


def _judge_launch(entry: Entry, samples: dict[int, Any], problem: Any, trial: Trial) -> None:
    """Judge what the last timed launch returned; if that is wrong, there is no time."""
    if id(entry) not in samples:
        entry.call = None
        return
    found = samples[id(entry)].result
    entry.row = judged(entry.row, entry.who, found, problem, trial, "in the timed launch: ")
    if entry.row.status in ("wrong", "error"):
        entry.call = None


def judged(
    row: Bench, who: Contestant, found: Any, problem: Any, trial: Trial, where: str
) -> Bench:
    """The row with the checks of these results; status ok, suspect or wrong."""
    values = found if isinstance(found, tuple | list) else (found,)
    names = passes.RESULTS[row.way]
    results = {n: who.tensor(v) for n, v in zip(names, values, strict=False)}
    algorithms = dict(zip(names, who.algorithms(problem, row.way), strict=False))
    checks: list[Check] = []
    hints: list[str] = [row.hint] if row.hint else []
    for e in trial.expected:
        if e.name not in names:
            continue
        about = changed(row, algorithm=algorithms.get(e.name, ""))
        check, hint = judging.checked(
            results.get(e.name), e, problem, trial.data, about, judging.Options()
        )
        checks.append(check)
        hints += [hint] if hint and hint not in hints else []
    wrong = [c for c in checks if not c.ok]
    row = changed(row, checks=tuple(checks), hint="; ".join(hints))
    if not checks:
        return changed(row, status="error", reason=f"no reference for {', '.join(results)}")
    if not wrong:
        return changed(row, status="suspect" if row.status == "suspect" else "ok")
    reason = f"{where}{wrong[0].result} on {wrong[0].data} data: {wrong[0].reason}"
    doubtful = {c.kind for c in wrong} == {"noise"}
    return changed(row, status="suspect" if doubtful else "wrong", reason=reason)


def _failed(row: Bench, who: Contestant, error: Exception) -> Bench:
    text = " ".join(str(error).split())[:300] or type(error).__name__
    if isinstance(error, UnsupportedError | UnavailableError):
        return changed(row, status="skipped", reason=text)
    if not who.ours and isinstance(error, RuntimeError | TypeError | ValueError):
        return changed(row, status="skipped", reason=f"{who.backend} refuses it: {text}")
    return changed(row, status="error", reason=f"{type(error).__name__}: {text}")


@dataclass(frozen=True)
class Taken:
    """Samples, and what the last timed launch returned."""

    samples: timing.Samples
    result: Any


def _started(entries: list[Entry]) -> list[Entry]:
    """Those whose call runs as it will be timed, without the guards that it was judged in: one that
    fails must not take the others' rounds along.
    """
    running = []
    for entry in entries:
        try:
            with torch.no_grad(), entry.who.settings():
                entry.call()
        except Exception as error:  # whatever it is, it is this candidate's
            entry.row, entry.call = _failed(entry.row, entry.who, error), None
        else:
            running.append(entry)
    return running


def _time(racing: list[Entry], options: Options, threads: int) -> dict[int, Taken]:
    """Every call's samples, in interleaved rounds, by ``id`` of its entry.

    Args:
        threads: that torch must have, before and after.
    """
    if not racing:
        return {}
    clock = Keeper(options.clock, CLOCKS[options.clock])
    alone = options.clock == "thread"
    calls = {str(i): e.call for i, e in enumerate(racing)}

    def warm(name: str) -> None:
        racing[int(name)].who.settle()
        clock.poison(calls[name])

    quiet: dict[str, Any] = {"lost": timing.waited, "others": timing.neighbours}
    if alone:
        quiet = {"lost": lambda: 0}
    ready = None
    if options.cold:
        from .ceilings import Flush

        flush = Flush()

        def ready() -> None:
            flush()
            timing.rest(1e-3)

    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    try:
        with torch.no_grad(), contestants.unsettled():
            found = timing.interleave(
                calls, clock, budget=options.budget, rounds=options.rounds,
                block=0.0 if options.cold else BLOCK, warm=warm, ready=ready, **quiet,
            )  # fmt: skip
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
            raise RuntimeError("a candidate changed torch's number of threads: no equal terms")
    except Exception as error:  # one of them failed after all: without rounds there is no time
        text = f"while timed: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        for entry in racing:
            entry.row = changed(entry.row, status="error", reason=text)
        return {}
    return {id(e): Taken(found[str(i)], clock.last(e.call)) for i, e in enumerate(racing)}


def _timed(row: Bench, taken: Taken, peer: Taken | None) -> Bench:
    """The row with its times and the verdict on them."""
    s = taken.samples
    clean = [i for i, good in enumerate(s.clean) if good]
    busy = len(clean) < LEAST
    counted = range(len(s.ns)) if busy else clean
    low, high = quartiles([s.ns[i] for i in counted])
    ratios = [s.ns[i] / peer.samples.ns[i] for i in counted] if peer else []
    made = Timing(
        timer=s.timer,
        calls=s.calls,
        samples_ns=s.ns,
        clean=s.clean,
        busy=busy,
        median_ns=statistics.median(s.ns[i] for i in counted),
        iqr_ns=high - low,
        vs_torch=statistics.median(ratios) if ratios else None,
    )
    interval = None if busy or not ratios else median_interval(ratios)
    row = changed(row, timing=made, interval=interval)
    if row.status == "suspect":
        return row
    if busy:
        text = f"{len(clean)} of {len(s.clean)} rounds were undisturbed, {LEAST} are needed"
        return changed(row, status="noise", reason=text)
    beside = interval is not None and row.backend != "torch"
    if interval and beside and interval[0] <= 1 <= interval[1] and interval[1] - interval[0] > WIDE:
        text = f"the ratio is in {interval[0]:.2f} … {interval[1]:.2f}: that decides nothing"
        return changed(row, status="noise", reason=text)
    return row


def batched(cases: Iterable[Any], batch: int) -> list[Any]:
    """The cases with another batch size, and a name that says so.

    Raises:
        UnsupportedError: a case has no batch.
    """
    made = []
    for case in cases:
        problem = case.problem
        if getattr(problem, "batch", None) is not None:
            problem = replace(problem, batch=batch)
        elif len(getattr(problem, "lead", ())) == 2:
            problem = replace(problem, lead=(batch, problem.lead[1]))
        else:
            raise UnsupportedError(f"--batch: {case.name} ({problem.op}) has no batch axis")
        made.append(replace(case, name=f"{case.name}_N{batch}", problem=problem))
    return made
