"""Choosing: auto takes the first that can, a named backend runs or says why not."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import refconv
import refconv.functional as F
from refconv import backends, dispatch, normalize, plans, tuned, tuning
from refconv.backends import Algorithm

PROBLEM = normalize.conv("conv2d", (1, 2, 5, 5), (3, 2, 3, 3), None, "float32")


def test_auto_prefers_numba():
    """On the CPU: numba, im2col, naive."""
    assert str(dispatch.choose(PROBLEM, "conv_fprop")) == "numba:tiny"
    assert str(dispatch.choose(PROBLEM, "conv_wgrad")) == "numba:rows"


def test_auto_takes_the_next_that_can(monkeypatch):
    """An unavailable backend is passed over by auto, and only by auto."""
    dispatch.forget()
    monkeypatch.setattr(
        dispatch, "unavailable", lambda name: "not today" if name == "numba" else None
    )
    assert dispatch.choose(PROBLEM, "conv_fprop").backend.name == "im2col"
    dispatch.forget()


def test_an_algorithm_can_be_named():
    """backend:algorithm insists."""
    assert str(dispatch.choose(PROBLEM, "conv_fprop", "im2col:gemm")) == "im2col:gemm"


@pytest.mark.parametrize(
    ("backend", "error", "words"),
    [
        ("nonsense", refconv.UsageError, "there are: auto, cuda-on-cpu, cupy, im2col"),
        ("numba:winograd", refconv.UnsupportedError, "it has tiny, direct, implicit_gemm"),
        ("auto:direct", refconv.UsageError, "name the backend"),
        ("cupy", refconv.RefconvError, "backend cupy "),  # no GPU, or no array of it
        ("numba-cuda", refconv.RefconvError, "backend numba-cuda "),
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


@pytest.fixture
def costed(monkeypatch):
    """numba's fprop with three algorithms of known cost: one that cannot, one dear, one cheap."""
    table = (
        Algorithm("never", "conv:fprop", lambda p: "odd sizes only", cost=lambda *a: 0.5),
        Algorithm("dear", "conv:fprop", cost=lambda p, slot, n: 3.0 / n),
        Algorithm("cheap", "conv:fprop", cost=lambda p, slot, n: 1.0),
    )
    real = backends.get("numba")
    planted = dataclasses.replace(real, slots={**real.slots, "conv_fprop": table})
    monkeypatch.setitem(backends.registry(), "numba", planted)
    plans.forget()
    yield
    plans.forget()


@pytest.mark.usefixtures("costed")
def test_the_cheapest_that_can_is_chosen():
    """Predicted cost decides, for the threads there are; a name overrules it."""
    at = ("conv_fprop", "auto", "cpu", "strict")
    assert str(dispatch.choose_for(PROBLEM, *at, 1)) == "numba:cheap"
    assert str(dispatch.choose_for(PROBLEM, *at, 4)) == "numba:dear"
    assert str(dispatch.choose(PROBLEM, "conv_fprop", "numba:dear")) == "numba:dear"
    with pytest.raises(refconv.UnsupportedError, match="odd sizes only"):
        dispatch.choose(PROBLEM, "conv_fprop", "numba:never")


@pytest.mark.usefixtures("costed")
def test_the_listing_says_what_runs_and_why():
    """Every algorithm has a row: its cost, or the reason against it."""
    text = "conv2d x[1,2,5,5] w[3,2,3,3]"
    found = refconv.algorithms(text, threads=1)
    assert found.rows == refconv.algorithms(PROBLEM, "conv_fprop", 1).rows
    rows = {r.name: r for r in found.rows}
    assert [name for name, r in rows.items() if r.chosen] == ["numba:cheap"]
    assert rows["numba:never"].reason == "odd sizes only"
    assert (rows["numba:dear"].microseconds, rows["numba:cheap"].microseconds) == (3e6, 1e6)
    assert rows["im2col:gemm"].applies
    lines = str(found).splitlines()
    assert lines[0] == f"{text}: conv_fprop, strict, 1 thread"
    assert any(line.startswith("→  numba:cheap") and "predicted" in line for line in lines)
    with pytest.raises(refconv.UsageError, match="no slot 'max_pool'; it has conv_fprop"):
        refconv.algorithms(PROBLEM, "max_pool")


@pytest.mark.usefixtures("costed")
def test_tuning_is_remembered_and_used_when_asked_for(monkeypatch, tmp_path):
    """``tune`` writes what was fastest; choices follow it only after opting in."""
    monkeypatch.setattr(tuned, "path", lambda: tmp_path / "cache" / "tune.json")
    monkeypatch.setattr(tuning, "_interleaved", lambda calls, *a: {
        name: [1.0, 2.0, 3.0] if name == "numba:dear" else [4.0] * 3 for name in calls
    })  # fmt: skip
    found = refconv.tune("conv2d x[1,2,5,5] w[3,2,3,3]")
    assert found.seconds == {"numba:dear": 2.0, "numba:cheap": 4.0}
    assert found.fastest == {"strict": "numba:dear", "fast": "numba:dear"}
    assert "numba:dear" in str(found).splitlines()[1]
    at = (PROBLEM, "conv_fprop", "auto", "cpu", "strict", dispatch.threads())
    assert str(dispatch.choose_for(*at)) == "numba:cheap"
    try:
        refconv.use_tuning()
        assert str(dispatch.choose_for(*at)) == "numba:dear"
        assert dispatch.choose_for(*at).why == "measured to be fastest"
        assert str(dispatch.choose_for(*at[:-1], 64)) == "numba:dear"  # not measured: predicted
        other = normalize.conv("conv2d", (1, 2, 5, 6), (3, 2, 3, 3), None, "float32")
        assert str(dispatch.choose_for(other, *at[1:-1], 1)) == "numba:cheap"
    finally:
        refconv.use_tuning(False)
        tuned.wanted = None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": 9, "fastest": {}}', '{"schema": 1, "fastest": {"a": 3}}']
)
def test_a_corrupt_tuning_file_is_ignored_with_one_warning(monkeypatch, tmp_path, text):
    """Whatever stands in it: predictions decide."""
    file = tmp_path / "tune.json"
    file.write_text(text)
    monkeypatch.setenv("REFCONV_TUNE", str(file))
    plans.forget()
    tuned.forget()
    with pytest.warns(RuntimeWarning, match=r"tuning file .* cannot be used") as caught:
        chosen = [str(dispatch.choose(PROBLEM, "conv_fprop", b)) for b in ("auto", "numba")]
    assert chosen == ["numba:tiny", "numba:tiny"]
    assert len(caught) == 1
    plans.forget()
    tuned.forget()


def test_tuning_measures_for_real(monkeypatch, tmp_path):
    """The environment's file is written, and what it names are algorithms that ran."""
    monkeypatch.setenv("REFCONV_TUNE", str(tmp_path / "tune.json"))
    found = refconv.tune(PROBLEM, rounds=3)
    assert set(found.seconds) >= {"numba:tiny", "numba:direct", "numba:rows"}
    assert all(seconds > 0 for seconds in found.seconds.values())
    assert dispatch.choose(PROBLEM, "conv_fprop").why == "measured to be fastest"
    with pytest.raises(refconv.UnsupportedError, match="nothing to tune"):
        refconv.tune("max_unpool2d x[1,2,3,3] o6,6")
    plans.forget()
    tuned.forget()


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
