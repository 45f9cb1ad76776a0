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

import ctypes
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Call = Callable[[], Any]

#: Clean rounds that a median needs.
ENOUGH = 3
#: Share of a sample that threads may have waited for a processor in a clean round.
QUIET = 0.1
TASKS = Path("/proc/self/task")


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


def interleave(
    candidates: Mapping[str, Call],
    clock: Timer,
    *,
    budget: float = 0.3,
    rounds: tuple[int, int] = (5, 31),
    sample: float = 2e-4,
    gap: float = 1e-3,
    pause: Callable[[float], None] | None = None,
    lost: Callable[[], int] = waited,
) -> dict[str, Samples]:
    """Time ``candidates`` in turns.

    Args:
        budget: seconds that the measurement may take, pauses included; up to three times that while
            too few rounds are clean. The least number of rounds comes first.
        rounds: least and most rounds.
        sample: seconds that a sample should last: short calls are repeated.
        gap: seconds between two candidates.
        pause: how to wait; by default until this process's own threads are asleep.
        lost: nanoseconds spent waiting for a processor so far.
    """
    pause = pause or rest
    calls, cost = {}, 0.0
    for name, call in candidates.items():  # warm-up, and how long a call takes
        call()
        alone = clock.time(call, 1) / 1e9
        calls[name] = max(1, min(1000, int(sample / max(alone, 1e-9))))
        cost += gap + alone * (calls[name] + 1)
    planned = max(rounds[0], min(rounds[1], int(budget / max(cost, 1e-9))))
    measured: dict[str, list[float]] = {name: [] for name in candidates}
    clean: list[bool] = []
    start = time.perf_counter()
    while True:
        short, spent = sum(clean) < rounds[0], time.perf_counter() - start
        most = 3 * planned if short else planned
        if len(clean) >= rounds[0] and (len(clean) >= most or spent > budget * (1 + 2 * short)):
            break
        quiet = True
        for name, call in candidates.items():
            pause(gap)
            call()
            before = lost()
            ns = clock.time(call, calls[name])
            quiet &= lost() - before <= QUIET * ns * calls[name]
            measured[name].append(ns)
        clean.append(quiet)
    return {
        name: Samples(clock.name, calls[name], tuple(ns), tuple(clean))
        for name, ns in measured.items()
    }


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


def equal_threads() -> dict[str, int]:
    """Give Numba as many threads as torch uses; says what each has."""
    import torch

    threads = {"torch": torch.get_num_threads()}
    if "numba" in sys.modules or _installed("numba"):
        import numba

        most: Any = numba.config
        numba.set_num_threads(min(threads["torch"], most.NUMBA_NUM_THREADS))
        threads["numba"] = numba.get_num_threads()
    return threads


def _installed(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


def steady_allocator() -> str:
    """Let glibc keep freed memory for the whole process, for both sides; says what was set.

    By default every large result is mapped afresh and page-faulted on every call, which costs torch
    up to 5 times the convolution itself: a comparison would measure the allocator.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return "default (no glibc)"
    trim, mmap = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
    done = mallopt(mmap, 1 << 30) and mallopt(trim, 2**31 - 1)
    return "glibc, freed memory kept (mallopt)" if done else "default (mallopt refused)"
