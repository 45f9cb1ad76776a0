"""Timing that is fair by construction: candidates take turns in one process, under the same threads
and allocator.

Every round calls each candidate once (A B C A B C …), so that clocks, caches and neighbours change
for all of them alike; before its timed calls a candidate makes one untimed call, after a short
pause in which the previous one's worker threads go to sleep. Ratios are taken within a round, then
their median. A round in which other processes took the processor away is kept but not counted: one
waiting thread makes a parallel call 100 times slower. Where nearly every round is like that, all
are counted and the row is marked busy.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from .records import Timing

Call = Callable[[], Any]

#: Clean rounds that a median needs.
ENOUGH = 3
#: Share of a sample that threads may have waited for a processor in a clean round.
QUIET = 0.1
#: Most samples in one turn.
MANY = 10_000
#: Processor time of others that the clock of /proc/stat cannot tell from none: a tick, twice.
TICKS = 2e7
TASKS = Path("/proc/self/task")
STAT = Path("/proc/stat")


class Named(Protocol):
    """Who is timed: a ``candidates.Candidate``."""

    @property
    def name(self) -> str:
        """The backend without its algorithm."""
        ...


C = TypeVar("C", bound=Named)


class Timer(Protocol):
    """A device's clock."""

    name: str

    def time(self, call: Call, calls: int) -> float:
        """Nanoseconds per call of ``calls`` calls in a row, work of the device included."""
        ...


class CpuTimer:
    """time.perf_counter_ns: the caller waits for the result anyway."""

    name = "perf_counter"

    def time(self, call: Call, calls: int) -> float:
        """Nanoseconds per call."""
        start = time.perf_counter_ns()
        for _ in range(calls):
            call()
        return (time.perf_counter_ns() - start) / calls


class CudaTimer:
    """CUDA events on the current stream: what the device spent, queueing on the host left out."""

    name = "cuda_events"

    def time(self, call: Call, calls: int) -> float:
        """Nanoseconds per call."""
        import torch

        start = torch.cuda.Event(enable_timing=True)
        stop = torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        start.record()
        for _ in range(calls):
            call()
        stop.record()
        torch.cuda.synchronize()
        return start.elapsed_time(stop) * 1e6 / calls


def timer(device: str) -> Timer:
    """The clock of ``cpu`` or ``cuda``."""
    return CudaTimer() if device == "cuda" else CpuTimer()


@dataclass(frozen=True)
class Samples:
    """What was measured of one candidate.

    Args:
        calls: calls behind each sample.
        ns: nanoseconds per call, one number a round, dirty rounds included.
        clean: which rounds were undisturbed.
    """

    timer: str
    calls: int
    ns: tuple[float, ...]
    clean: tuple[bool, ...]

    @property
    def busy(self) -> bool:
        """Whether too few rounds were undisturbed, so that all had to be counted."""
        return sum(self.clean) < min(ENOUGH, len(self.ns))

    @property
    def counted(self) -> list[float]:
        """The samples that count."""
        if self.busy:
            return list(self.ns)
        return [ns for ns, clean in zip(self.ns, self.clean, strict=True) if clean]

    @property
    def median(self) -> float:
        """The middle sample."""
        return statistics.median(self.counted)

    @property
    def iqr(self) -> float:
        """Distance between the quartiles; 0 for a single sample."""
        if len(self.counted) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.counted, n=4, method="inclusive")
        return high - low


def ratio(ours: Samples, theirs: Samples) -> float:
    """Median over counted rounds of our time over theirs; below 1 we are faster."""
    return statistics.median(a / b for a, b in zip(ours.counted, theirs.counted, strict=True))


def waited() -> int:
    """Nanoseconds for which this process's threads waited for a processor; 0 if unknown."""
    total = 0
    for task in TASKS.iterdir() if TASKS.is_dir() else ():
        with suppress(OSError, IndexError, ValueError):  # the thread has ended; no such statistics
            total += int((task / "schedstat").read_text().split()[1])
    return total


def neighbours() -> int:
    """Nanoseconds of processor time that everything but this process has used; 0 if unknown."""
    try:
        busy = [int(ticks) for ticks in STAT.read_text().split("\n", 1)[0].split()[1:9]]
        own = sum(os.times()[:2])
        idle, iowait = busy[3], busy[4]
        return int(((sum(busy) - idle - iowait) / os.sysconf("SC_CLK_TCK") - own) * 1e9)
    except (OSError, ValueError, IndexError):
        return 0


def interleave(
    candidates: Mapping[str, Call],
    clock: Timer,
    *,
    budget: float = 0.3,
    rounds: tuple[int, int] = (5, 31),
    sample: float = 2e-4,
    block: float = 0.0,
    gap: float = 1e-3,
    pause: Callable[[float], None] | None = None,
    lost: Callable[[], int] = waited,
    others: Callable[[], int] | None = None,
    warm: Callable[[str], Any] | None = None,
    ready: Callable[[], Any] | None = None,
) -> dict[str, Samples]:
    """Time ``candidates`` in turns.

    Args:
        budget: seconds that the measurement may take, pauses included; up to three times that while
            too few rounds are clean. The least number of rounds comes first.
        rounds: least and most rounds.
        sample: seconds that a sample should last: short calls are repeated.
        block: seconds that a candidate's turn should last: its number of the round is the median of
            the samples in it.
        gap: seconds between two candidates.
        pause: how to wait; by default until this process's own threads are asleep.
        lost: nanoseconds spent waiting for a processor so far.
        others: nanoseconds that other processes used so far, as ``neighbours`` tells; their ticks
            say something of rounds of 0.1 s and more.
        warm: the untimed call before a candidate's turn, by its name.
        ready: called before every sample, untimed.
    """
    pause, warm = pause or rest, warm or (lambda name: candidates[name]())
    calls, cost = {}, 0.0
    for name, call in candidates.items():  # warm-up, and how long a call takes
        call()
        # The first call plans, the second may load what the plan runs: neither says how long it is.
        alone = min(clock.time(call, 1) for _ in range(3)) / 1e9
        calls[name] = 1 if ready else max(1, min(1000, int(sample / max(alone, 1e-9))))
        cost += gap + alone + max(block, alone * calls[name])
    planned = max(rounds[0], min(rounds[1], int(budget / max(cost, 1e-9))))
    measured: dict[str, list[float]] = {name: [] for name in candidates}
    clean: list[bool] = []
    start = time.perf_counter()
    while True:
        short, spent = sum(clean) < rounds[0], time.perf_counter() - start
        most = 3 * planned if short else planned
        if len(clean) >= rounds[0] and (len(clean) >= most or spent > budget * (1 + 2 * short)):
            break
        quiet, began, theirs = True, time.perf_counter_ns(), others() if others else 0
        for name, call in candidates.items():
            pause(gap)
            warm(name)
            before, turn = lost(), time.perf_counter_ns()
            ns, spent = _turn(call, calls[name], clock, block, ready)
            took = max(spent, time.perf_counter_ns() - turn if ready else 0)
            quiet &= lost() - before <= QUIET * took
            measured[name].append(ns)
        if others:
            took = time.perf_counter_ns() - began
            quiet &= others() - theirs - TICKS <= QUIET * took
        clean.append(quiet)
    return {
        name: Samples(clock.name, calls[name], tuple(ns), tuple(clean))
        for name, ns in measured.items()
    }


def _turn(
    call: Call, calls: int, clock: Timer, block: float, ready: Callable[[], Any] | None
) -> tuple[float, float]:
    """One candidate's turn: the median sample, and the nanoseconds of all of them."""
    samples: list[float] = []
    spent = 0.0
    while not samples or (spent < block * 1e9 and len(samples) < MANY):
        if ready:
            ready()
        samples.append(clock.time(call, calls))
        spent += samples[-1] * calls
    return statistics.median(samples), spent


def rest(gap: float, most: float = 0.1) -> None:
    """Wait ``gap`` seconds at a time until the worker threads of the last candidate are asleep.

    BLAS and OpenMP workers spin after their work, OpenBLAS's for 30 ms: they would take one of the
    next candidate's processors. (CPU time cannot tell: of other threads it is as old as a tick.)
    """
    end = time.perf_counter() + most
    time.sleep(gap)
    while awake() and time.perf_counter() < end:
        time.sleep(gap)


def awake() -> int:
    """How many threads of this process, the caller aside, are running or want to; 0 if unknown."""
    own, count = threading.get_native_id(), 0
    for task in TASKS.iterdir() if TASKS.is_dir() else ():
        with suppress(OSError):  # the thread has ended
            state = (task / "stat").read_text().rpartition(") ")[2][:1]
            count += state == "R" and task.name != str(own)
    return count


def once(call: Call, clock: Timer, lost: Callable[[], int] = waited) -> Samples:
    """One call, for what is too slow to repeat."""
    before = lost()
    ns = clock.time(call, 1)
    return Samples(clock.name, 1, (ns,), (lost() - before <= QUIET * ns,))


def measure(
    calls: Mapping[C, Call],
    device: str,
    *,
    budget: float,
    rounds: tuple[int, int] = (5, 31),
    clock: Timer | None = None,
) -> dict[C, Timing]:
    """Time candidates on one device, each beside torch: naive's one call, the others in turns.

    Args:
        budget, rounds: of ``interleave``.
        clock: the device's by default.
    """
    clock = clock or timer(device)
    quick = {str(i): call for i, (c, call) in enumerate(calls.items()) if c.name != "naive"}
    turns = interleave(quick, clock, budget=budget, rounds=rounds) if quick else {}
    found = {
        c: once(call, clock) if c.name == "naive" else turns[str(i)]
        for i, (c, call) in enumerate(calls.items())
    }
    peer = next((s for c, s in found.items() if c.name == "torch"), None)
    return {c: _record(s, peer, alone=c.name == "naive") for c, s in found.items()}


def _record(s: Samples, peer: Samples | None, alone: bool) -> Timing:
    """Samples as they are written down.

    Args:
        peer: torch's; where these are not to be trusted, neither is the ratio.
        alone: not timed in the same rounds as torch: the ratio is that of the medians.
    """
    from .records import Timing

    against = None
    if peer is not None:
        against = s.median / peer.median if alone else ratio(s, peer)
    return Timing(
        timer=s.timer,
        calls=s.calls,
        samples_ns=s.ns,
        clean=s.clean,
        busy=s.busy or (peer is not None and peer.busy),
        median_ns=s.median,
        iqr_ns=s.iqr,
        vs_torch=against,
    )
