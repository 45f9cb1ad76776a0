"""Cases on a Ray cluster: for campaigns that outgrow one machine."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...errors import UnavailableError
from .case import Case
from .engine import CHUNK, alone, one_thread
from .job import Job, work
from .trial import Outcome


class Ray:
    """A Ray cluster; a local one is started where no address is given.

    Args:
        address: of a running cluster, ``auto`` for the one of this machine.
        workers: of a local cluster.

    Raises:
        UnavailableError: ray is not installed, or the cluster cannot be reached.
    """

    def __init__(self, address: str = "", workers: int = 2) -> None:
        try:
            import ray
        except ImportError:
            raise UnavailableError(
                "--engine ray: ray is not installed (pip install 'refconv[ray]')"
            ) from None
        self.ray = ray
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        given: dict[str, Any] = {"address": address} if address else {"num_cpus": workers}
        try:
            ray.init(
                **given,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(_paths())}},
                ignore_reinit_error=True,
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UnavailableError(f"--engine ray: {address or 'local'}: {error}") from None
        self.workers = workers
        self._work = ray.remote(max_retries=2, num_cpus=1)(_remote)

    def run(self, job: Job, indices: Sequence[int], deadline: float) -> Iterator[Outcome]:
        """See ``Engine``."""
        chunks = [list(indices[i : i + CHUNK]) for i in range(0, len(indices), CHUNK)]
        waiting: dict[Any, list[int]] = {}
        lost: list[int] = []
        width = max(2, int(self.ray.cluster_resources().get("CPU", 1))) + 1
        while waiting or (chunks and time.monotonic() < deadline):
            while chunks and len(waiting) < width and time.monotonic() < deadline:
                waiting[self._work.remote(job, job.part(chunks[0]))] = chunks[0]
                chunks.pop(0)
            done, _ = self.ray.wait(list(waiting), num_returns=1)
            for reference in done:
                chunk = waiting.pop(reference)
                try:
                    yield from self.ray.get(reference)
                except self.ray.exceptions.WorkerCrashedError:
                    lost += chunk
        yield from alone(job, lost, deadline)

    def close(self) -> None:
        """Leave the cluster, or end the local one."""
        self.ray.shutdown()


def _remote(job: Job, part: Sequence[tuple[int, Case]]) -> list[Outcome]:
    one_thread()
    return work(job, part)


def _paths() -> list[str]:
    """Where workers find refconv and the functions: beside this package, and here."""
    return [str(Path(__file__).resolve().parents[3]), os.getcwd()]
