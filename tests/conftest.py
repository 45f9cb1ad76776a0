"""Settings for all tests: hypothesis profiles, one torch thread a worker, no torch warnings.

``ci`` (the default) draws the same examples every time; ``REFCONV_TESTS=thorough`` draws many new
ones.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# Numba's OpenMP layer would reset torch's number of threads, and its waiting threads spin: with
# two workers on two cores both cost more than everything else.
os.environ.setdefault("NUMBA_THREADING_LAYER", "workqueue")

PROFILE = os.environ.get("REFCONV_TESTS", "ci")

_common = {"deadline": None, "suppress_health_check": list(HealthCheck), "print_blob": True}
settings.register_profile("ci", derandomize=True, database=None, max_examples=15, **_common)
settings.register_profile("thorough", max_examples=300, **_common)
settings.load_profile(PROFILE)


@pytest.fixture(autouse=True, scope="session")
def _one_thread_a_worker() -> None:
    """Small problems are slower on more threads, and the workers share the cores."""
    import torch

    torch.set_num_threads(1)
