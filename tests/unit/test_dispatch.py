"""Choosing: auto takes the first that can, a named backend runs or says why not."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import refconv
import refconv.functional as F
from refconv import backends, dispatch, normalize
from refconv.backends import Algorithm

PROBLEM = normalize.conv("conv2d", (1, 2, 5, 5), (3, 2, 3, 3), None, "float32")


def test_auto_prefers_numba():
    """On the CPU: numba, im2col, naive."""
    assert str(dispatch.choose(PROBLEM, "conv_fprop")) == "numba:direct"


def test_auto_takes_the_next_that_can(monkeypatch):
    """An unavailable backend is passed over by auto, and only by auto."""
    dispatch.choose.cache_clear()
    monkeypatch.setattr(
        dispatch, "unavailable", lambda name: "not today" if name == "numba" else None
    )
    assert dispatch.choose(PROBLEM, "conv_fprop").backend.name == "im2col"
    dispatch.choose.cache_clear()


def test_an_algorithm_can_be_named():
    """backend:algorithm insists."""
    assert str(dispatch.choose(PROBLEM, "conv_fprop", "im2col:gemm")) == "im2col:gemm"


@pytest.mark.parametrize(
    ("backend", "error", "words"),
    [
        ("nonsense", refconv.UsageError, "there are: auto, cupy, im2col"),
        ("numba:winograd", refconv.UnsupportedError, "it has direct"),
        ("auto:direct", refconv.UsageError, "name the backend"),
        ("cupy", refconv.UnavailableError, "not written yet"),
        ("numba-cuda", refconv.UnavailableError, "not written yet"),
        (None, refconv.ArgumentError, "must be a string"),
    ],
)
def test_what_cannot_run_says_why(backend, error, words):
    """Never something else in its place."""
    x, w = np.ones((1, 2, 5, 5), np.float32), np.ones((3, 2, 3, 3), np.float32)
    with pytest.raises(error, match=words):
        F.conv2d(x, w, backend=backend)


def test_an_unsupported_problem_says_why(monkeypatch):
    """``supports`` is asked, and its reason is what the user reads."""
    slots = {"conv_fprop": (Algorithm("odd", "conv:fprop", lambda p: "even kernels only"),)}
    limited = backends.Backend(
        "limited", "", "refconv.kernels.naive", "cpu", slots, lambda: None, lambda k, a: None
    )
    monkeypatch.setattr(dispatch, "require", lambda name: limited)
    with pytest.raises(refconv.UnsupportedError, match="even kernels only"):
        dispatch.choose(PROBLEM, "conv_fprop", "limited")
    with pytest.raises(refconv.UnsupportedError, match="no kernel for conv_wgrad"):
        dispatch.choose(PROBLEM, "conv_wgrad", "limited")


def test_a_backend_is_for_its_device():
    """No silent copies: a CPU backend refuses a tensor that is elsewhere."""
    with pytest.raises(refconv.ArgumentError, match=r"numba runs on cpu, but .* cuda"):
        dispatch.choose(PROBLEM, "conv_fprop", "numba", "cuda")
    with pytest.raises(refconv.UnavailableError, match="no backend can run on device xpu"):
        dispatch.choose(PROBLEM, "conv_fprop", "auto", "xpu")


@pytest.mark.parametrize("name", ["naive", "im2col", "numba"])
def test_every_cpu_backend_fills_every_slot(name):
    """Every slot is filled, or the support table would be wrong."""
    backend = backends.get(name)
    assert set(backend.slots) == set(backends.SLOTS)
    for algorithms in backend.slots.values():
        for algorithm in algorithms:
            assert callable(backend.kernel(algorithm))


def test_derivatives_leave_the_algorithm_open():
    """The backward pass of ``numba:direct`` runs on numba, which chooses."""
    x = torch.randn(1, 2, 5, 5, requires_grad=True)
    F.conv2d(x, torch.randn(3, 2, 3, 3), backend="im2col:gemm").sum().backward()
    assert x.grad.shape == x.shape


def test_import_is_light():
    """``import refconv`` and its arithmetic import no torch, numba, cupy or NumPy."""
    code = (
        "import sys, refconv; refconv.out_size(7, 3); refconv.ConvProblem;"
        "print([m for m in ('torch', 'numba', 'cupy', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_numpy_users_need_no_torch():
    """The functional API on NumPy arrays imports no torch, and numba only when it runs."""
    code = (
        "import sys, numpy as np, refconv.functional as F;"
        "F.conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2)), backend='naive');"
        "print([m for m in ('torch', 'numba', 'cupy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_numba_follows_torchs_threads():
    """A call uses as many threads as torch, and torch has as many afterwards as before."""
    code = (
        "import torch, numba, refconv.functional as F; x = torch.randn(1, 2, 5, 5)\n"
        "for n in (1, 2, 3):\n"
        "    torch.set_num_threads(n)\n"
        "    F.max_pool2d(x, 2, backend='numba')\n"
        "    assert torch.get_num_threads() == n, torch.get_num_threads()\n"
        "    ours = min(n, numba.config.NUMBA_NUM_THREADS)\n"
        "    assert numba.get_num_threads() == ours, numba.get_num_threads()\n"
    )
    env = {**os.environ, "NUMBA_THREADING_LAYER": "omp"}  # the layer that shares torch's runtime
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
