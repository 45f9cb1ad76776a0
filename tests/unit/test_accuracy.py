"""The accuracy setting: blocks nest, threads are apart, and ``fast`` algorithms run only when
allowed or named.
"""

import dataclasses
import threading

import numpy as np
import pytest
import torch

import refconv as rc
import refconv.functional as F
from refconv import backends, dispatch, normalize, plans
from refconv.backends import Algorithm

PROBLEM = normalize.conv("conv2d", (1, 2, 5, 5), (3, 2, 3, 3), None, "float32")


@pytest.fixture
def ran(monkeypatch):
    """numba with a ``fast`` algorithm that is predicted to be fastest; returns what ran, in order.

    The stand-in is the direct loops under another name, so results stay right.
    """
    order: list[str] = []
    real = backends.get("numba")

    def table(slot):
        loops = Algorithm("loops", f"conv:{slot[5:]}", cost=lambda p, s, n: 2.0)
        quick = Algorithm("quick", f"conv:{slot[5:]}", accuracy="fast", cost=lambda p, s, n: 1.0)
        return (loops, quick)

    def launch(kernel, args):
        order.append(kernel.__name__)
        real.launch(kernel, args)

    passes = ("conv_fprop", "conv_dgrad", "conv_wgrad")
    slots = {**real.slots, **{slot: table(slot) for slot in passes}}
    planted = dataclasses.replace(real, slots=slots, launch=launch)
    monkeypatch.setitem(backends.registry(), "numba", planted)
    plans.forget()
    yield order
    plans.forget()


def chosen(slot="conv_fprop", backend="auto"):
    """The algorithm's name."""
    return dispatch.choose(PROBLEM, slot, backend).algorithm.name


@pytest.mark.usefixtures("ran")
def test_fast_algorithms_run_when_allowed():
    assert chosen() == "loops"
    with rc.accuracy("fast"):
        assert chosen() == "quick"
        with rc.accuracy("strict"):
            assert chosen() == "loops"
        assert chosen() == "quick"
    assert chosen() == "loops"


@pytest.mark.usefixtures("ran")
def test_a_named_algorithm_runs_under_either():
    assert chosen(backend="numba:quick") == "quick"
    with rc.accuracy("fast"):
        assert chosen(backend="numba:loops") == "loops"


@pytest.mark.usefixtures("ran")
def test_the_process_and_its_threads():
    """A block is one thread's; what is set for the process is everyone's, but not in a block."""
    seen = []

    def look():
        seen.append(rc.get_accuracy())

    with rc.accuracy("fast"):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    try:
        rc.set_accuracy("fast")
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert chosen() == "quick"
        with rc.accuracy("strict"):
            look()
    finally:
        rc.set_accuracy("strict")
    assert seen == ["strict", "fast", "strict"]
    assert chosen() == "loops"


def test_an_exception_restores_it():
    with pytest.raises(KeyError), rc.accuracy("fast"):
        raise KeyError
    assert rc.get_accuracy() == "strict"


@pytest.mark.parametrize("name", ["exact", "", None])
def test_unknown_names(name):
    with pytest.raises(rc.UsageError, match="accuracy must be one of strict, fast"):
        rc.accuracy(name)
    with pytest.raises(rc.UsageError, match="accuracy must be one of strict, fast"):
        rc.set_accuracy(name)


@pytest.mark.parametrize("library", ["torch", "numpy"])
def test_calls_obey_it_at_once(library, ran, monkeypatch):
    """Also where a plan was left: the accuracy is part of what a plan is for."""
    x, w = torch.randn(1, 2, 5, 5), torch.randn(3, 2, 3, 3)
    given = (x, w) if library == "torch" else (x.numpy(), w.numpy())
    names = []
    real = dispatch.Call.launch
    monkeypatch.setattr(
        dispatch.Call, "launch", lambda c, *a: (names.append(c.choice.algorithm.name), real(c, *a))
    )
    for accuracy in ("strict", "strict", "fast", "fast", "strict"):
        with rc.accuracy(accuracy):
            F.conv2d(*given)
    assert names == ["loops", "loops", "quick", "quick", "loops"]
    assert len(ran) == 5


@pytest.mark.usefixtures("ran")
def test_a_backward_pass_obeys_the_setting_when_it_runs(monkeypatch):
    names = []
    real = dispatch.Call.launch
    monkeypatch.setattr(
        dispatch.Call, "launch",
        lambda c, *a: (names.append((c.slot, c.choice.algorithm.name)), real(c, *a)),
    )  # fmt: skip
    x, w = torch.randn(1, 2, 5, 5, requires_grad=True), torch.randn(3, 2, 3, 3)
    with rc.accuracy("fast"):
        y = F.conv2d(x, w)
    y.sum().backward()
    with rc.accuracy("fast"):
        F.conv2d(x, w).sum().backward()
    assert names == [
        ("conv_fprop", "quick"), ("conv_dgrad", "loops"),
        ("conv_fprop", "quick"), ("conv_dgrad", "quick"),
    ]  # fmt: skip


@pytest.mark.usefixtures("ran")
def test_the_reason_says_how_to_allow_it():
    rows = {r.name: r for r in rc.algorithms(PROBLEM).rows}
    assert rows["numba:loops"].chosen
    assert not rows["numba:quick"].applies
    assert "accuracy('fast')" in rows["numba:quick"].reason
    only = dataclasses.replace(
        backends.get("numba"), slots={"conv_fprop": backends.get("numba").slots["conv_fprop"][1:]}
    )
    reason = dispatch.why_not(PROBLEM, "conv_fprop", only, "", "strict", 1)
    assert isinstance(reason, str)
    assert "does not allow it" in reason


def test_numpy_results_do_not_depend_on_it():
    """Where no fast algorithm applies the setting changes nothing."""
    x, w = np.ones((1, 2, 5, 5), np.float32), np.ones((3, 2, 3, 3), np.float32)
    with rc.accuracy("fast"):
        assert np.array_equal(F.conv2d(x, w), np.full((1, 3, 3, 3), 18, np.float32))
