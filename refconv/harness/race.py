"""The race: calls that may be timed take their turns, and each row gets its time and the verdict.

Who may run is decided before, whether the last timed launch was right behind it (``bench`` for a
layer, ``networks`` for a whole model). A ratio comes with its interval. Where the rounds decide
nothing, "noise" is the outcome.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import UnavailableError, UnsupportedError
from . import contestants, timing
from .contestants import Contestant
from .judging import changed
from .keeping import Keeper
from .records import Bench, Timing
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
    """One contestant's row and, once it has passed, its call.

    Args:
        spoil: fills memory that results on the way will come from with NaN, before every turn.
    """

    who: Contestant
    row: Bench
    call: Any = None
    spoil: Callable[[], None] | None = None


def timed_rows(
    entries: list[Entry],
    options: Options,
    threads: int,
    judge: Callable[[Entry, Taken], None],
) -> None:
    """Time those that have a call together and write it into their rows.

    Args:
        threads: that torch had before any candidate ran.
        judge: says of a last timed launch whether it was right; if not, it takes the call away.
    """
    racing = started([e for e in entries if e.call is not None])
    taken = race(racing, options, threads)
    for entry in racing:
        if id(entry) in taken:
            judge(entry, taken[id(entry)])
        else:
            entry.call = None
    right = [e for e in racing if e.call is not None]
    peer = next((taken[id(e)] for e in right if e.who.backend == "torch"), None)
    for entry in right:
        entry.row = timed(entry.row, taken[id(entry)], peer)


def failed(row: Bench, who: Contestant, error: Exception) -> Bench:
    """The row of a candidate that raised: skipped where it says so itself, else an error."""
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


def started(entries: list[Entry]) -> list[Entry]:
    """Those whose call runs as it will be timed, without the guards that it was judged in: one that
    fails must not take the others' rounds along.
    """
    running = []
    for entry in entries:
        try:
            with torch.no_grad(), entry.who.settings():
                entry.call()
        except Exception as error:  # whatever it is, it is this candidate's
            entry.row, entry.call = failed(entry.row, entry.who, error), None
        else:
            running.append(entry)
    return running


def race(racing: list[Entry], options: Options, threads: int) -> dict[int, Taken]:
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
        spoil = racing[int(name)].spoil
        if spoil:
            spoil()

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


def timed(row: Bench, taken: Taken, peer: Taken | None) -> Bench:
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
