"""Settings for all tests: hypothesis profiles, one torch thread a worker, no torch warnings.

``ci`` (the default) draws the same examples every time; ``REFCONV_TESTS=thorough`` draws many new
ones.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Numba's OpenMP layer would reset torch's number of threads, and its waiting threads spin: with
# two workers on two cores both cost more than everything else.
os.environ.setdefault("NUMBA_THREADING_LAYER", "workqueue")
# Likewise BLAS: its threads spin while they wait for a core that the other worker has.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

KERNELS = Path(__file__).parent.parent / "kernels" / "numba_cpu"


def _drop_stale_machine_code() -> None:
    """Numba keys its cache by the file of the function called, not by those it calls: after a
    change anywhere in the kernels, all of it is compiled anew.
    """
    text = b"".join(path.read_bytes() for path in sorted(KERNELS.glob("*.py")))
    digest, cache = hashlib.sha256(text).hexdigest(), KERNELS / "__pycache__"
    note = cache / "sources.sha256"
    if note.is_file() and note.read_text() == digest:
        return
    for made in (*cache.glob("*.nbi"), *cache.glob("*.nbc")):
        made.unlink(missing_ok=True)
    cache.mkdir(exist_ok=True)
    note.write_text(digest)


if "PYTEST_XDIST_WORKER" not in os.environ:
    _drop_stale_machine_code()

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


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--require-gpu``: on a machine that should have one, none is a failure."""
    text = "tests marked gpu fail where there is no GPU, instead of being skipped"
    parser.addoption("--require-gpu", action="store_true", help=text)


@pytest.fixture(autouse=True)
def _gpu_or_reason(request: pytest.FixtureRequest) -> None:
    """A test marked ``gpu`` is skipped, or fails, with the reason why there is none."""
    if request.node.get_closest_marker("gpu") is None:
        return
    from refconv.harness.gpu.machine import torch_reason

    reason = torch_reason()
    if reason and request.config.getoption("--require-gpu"):
        pytest.fail(f"--require-gpu: {reason}")
    if reason:
        pytest.skip(reason)
