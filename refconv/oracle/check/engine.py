"""Where cases run: in this process, in a pool of local processes, or on a Ray cluster.

The cases of a job do not depend on the number of workers, and their outcomes come back by index, so
every engine gives the same report. A worker that dies takes nothing with it: its cases run again,
one at a time, and the one that killed it is named.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol

from ...errors import UnavailableError
from .job import Job, work
from .trial import Finding, Outcome, attempt

#: Cases that a worker is given at once: some tenths of a second.
CHUNK = 40


class Engine(Protocol):
    """Runs cases of a job; outcomes come in any order, no chunk is begun after the deadline."""

    def run(self, job: Job, indices: Sequence[int], deadline: float) -> Iterator[Outcome]:
        """Outcomes as they are known; ``deadline`` is a ``time.monotonic()``."""
        ...

    def close(self) -> None:
        """End the workers."""
        ...


class Here:
    """In this process, one after the other; takes any function, not only one with a name."""

    def __init__(self, function: Callable[..., Any] | None = None) -> None:
        self.function = function

    def run(self, job: Job, indices: Sequence[int], deadline: float) -> Iterator[Outcome]:
        """See ``Engine``."""
        for i in indices:
            if time.monotonic() > deadline:
                return
            if self.function is None:
                yield from work(job, job.part([i]))
            else:
                yield attempt(self.function, job.cases[i], job.settings, i)

    def close(self) -> None:
        """Nothing to end."""


class Pool:
    """Local processes.

    Args:
        workers: how many.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool = started(workers)

    def _started(self, workers: int) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("forkserver")  # a fork of a threaded torch may hang
        context.set_forkserver_preload([f"{__package__}.job"])
        return ProcessPoolExecutor(workers, mp_context=context, initializer=one_thread)

    def run(self, job: Job, indices: Sequence[int], deadline: float) -> Iterator[Outcome]:
        """See ``Engine``."""
        chunks = [list(indices[i : i + CHUNK]) for i in range(0, len(indices), CHUNK)]
        waiting: dict[Future[list[Outcome]], list[int]] = {}
        lost: list[int] = []
        while waiting or (chunks and time.monotonic() < deadline):
            try:
                while chunks and len(waiting) < self.workers + 1 and time.monotonic() < deadline:
                    waiting[self._pool.submit(work, job, job.part(chunks[0]))] = chunks[0]
                    chunks.pop(0)
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    outcomes = future.result()
                    waiting.pop(future)
                    yield from outcomes
            except BrokenProcessPool:
                # What had finished beside the one that died is kept; the others run alone.
                for future, chunk in waiting.items():
                    if future.done() and not future.exception():
                        yield from future.result()
                    else:
                        lost += chunk
                waiting.clear()
                self._pool = started(self.workers)
        yield from alone(job, lost, deadline)

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def started(workers: int) -> ProcessPoolExecutor:
    """A pool whose processes have torch imported already.

    Raises:
        UnavailableError: processes cannot be started from this program.
    """
    context = multiprocessing.get_context("forkserver")  # a fork of a threaded torch may hang
    context.set_forkserver_preload([f"{__package__}.job"])
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=one_thread)
    try:
        pool.submit(one_thread).result()
    except BrokenProcessPool:  # else every case would be said to kill its worker
        raise UnavailableError(
            "--engine pool: no worker process could start (a script that uses the pool needs "
            "if __name__ == '__main__'); --engine here needs none"
        ) from None
    return pool


def alone(job: Job, indices: Sequence[int], deadline: float) -> Iterator[Outcome]:
    """Cases of a worker that died, one at a time: the one that kills its process is named."""
    if not indices:
        return
    pool = started(1)
    for i in indices:
        if time.monotonic() > deadline:
            break
        try:
            yield from pool.submit(work, job, job.part([i])).result()
        except BrokenProcessPool:
            pool = started(1)
            yield died(job, i)
    pool.shutdown(wait=False)


def died(job: Job, index: int) -> Outcome:
    """The outcome of a case that ends its process."""
    case = job.cases[index]
    text = "the process died while it ran this call"
    finding = Finding(result="output", kind="crash", level="wrong", reason=text)
    return Outcome(
        index=index, op=case.op, case=str(case), why=case.why, dtype=case.dtype, status="wrong",
        features=tuple(sorted(case.features)), findings=(finding,),
    )  # fmt: skip


def one_thread() -> None:
    """The workers share the cores."""
    import torch

    torch.set_num_threads(1)
