"""The comparator's own tests: a comparator that cannot fail is worth nothing. Faults are planted;
each must be seen.
"""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from refconv import backends, dispatch, label
from refconv.harness import candidates, compare
from refconv.oracle import inputs, reference, verdict
from refconv.oracle.bound import Bound

BITS = Bound("bit for bit", "float32", None)


def equal(dtype="float32"):
    return Bound("F11", dtype, np.zeros(()))


def within(tolerance, dtype="float32"):
    return Bound("F1", dtype, np.asarray(tolerance), largest=float(np.finfo(np.float32).max))


def array(*values, dtype=np.float32):
    return np.array(values, dtype=dtype)


def test_equal_arrays_pass():
    for bound in (BITS, equal(), within(1e-6)):
        assert verdict.compare(array(1, 2, 3), np.array([1.0, 2, 3]), bound).ok


@pytest.mark.parametrize("bound", [BITS, equal(), within(1.0), within(np.full(3, 1e30))])
@pytest.mark.parametrize("at", [0, 2])
def test_nan_fails_whatever_the_bound(bound, at):
    got = array(1, 2, 3)
    got[at] = np.nan
    judged = verdict.compare(got, np.array([1.0, 2, 3]), bound)
    assert not judged.ok
    assert judged.wrong == 1
    assert judged.worst == (at,)


def test_nan_fails_where_infinity_is_due_and_the_other_way_round():
    for got, want in ((np.nan, np.inf), (np.inf, np.nan), (-np.inf, np.inf), (1.0, np.nan)):
        for bound in (BITS, equal(), within(1e9)):
            assert not verdict.compare(array(got), np.array([want]), bound).ok, (got, want)


def test_nan_and_infinity_pass_where_they_are_due():
    special = np.array([np.nan, np.inf, -np.inf])
    for bound in (BITS, equal(), within(1e-6)):
        assert verdict.compare(special.astype(np.float32), special, bound).ok


def test_minus_zero_fails_bit_for_bit_and_passes_as_a_sum():
    assert not verdict.compare(array(-0.0), np.array([0.0]), BITS).ok
    assert not verdict.compare(array(0.0), np.array([-0.0]), BITS).ok
    assert verdict.compare(array(-0.0), np.array([0.0]), equal()).ok


def test_one_wrong_element_of_a_million_fails():
    want = np.arange(1e6)
    got = want.astype(np.float32)
    got[777_777] += 1
    judged = verdict.compare(got, want, equal())
    assert not judged.ok
    assert (judged.wrong, judged.worst, judged.error) == (1, (777_777,), 1.0)


def test_the_smallest_possible_difference_fails_an_exact_bound():
    assert not verdict.compare(np.nextafter(array(1.0), array(2.0)), np.array([1.0]), equal()).ok


def test_just_inside_passes_and_just_outside_fails():
    want, tolerance = np.array([1.0]), 2.0**-20
    inside, outside = array(1 + 2.0**-20), np.nextafter(array(1 + 2.0**-20), array(2))
    assert verdict.compare(inside, want, within(tolerance)).ok
    assert not verdict.compare(outside, want, within(tolerance)).ok


def test_a_wrong_dtype_fails_with_right_numbers():
    for dtype in (np.float64, np.float16, np.int64):
        judged = verdict.compare(array(1, 2, dtype=dtype), np.array([1.0, 2]), equal())
        assert (judged.ok, judged.kind) == (False, "dtype")


def test_a_wrong_shape_fails_before_anything_is_broadcast():
    for shape in ((1, 3), (3, 1), (2,), (), (0,)):
        judged = verdict.compare(np.ones(shape, np.float32), np.ones(3), equal())
        assert (judged.ok, judged.kind) == (False, "shape")


def test_a_wrong_size_is_explained_by_its_rounding():
    problem = label.read("conv2d x[1,3,8,9] w[4,3,3,3] s2")
    reason = verdict.shape_reason((1, 4, 4, 4), problem.output_shape, problem)
    assert reason == "expected [1,4,3,4] got [1,4,4,4] differs at H: floor vs ceil"
    reason = verdict.shape_reason((1, 5, 3, 4), problem.output_shape, problem)
    assert reason.endswith("differs at C")


def test_overflow_passes_only_with_the_right_sign_and_only_where_it_is_due():
    limit = float(np.finfo(np.float32).max)
    bound = within(limit * 1e-6)
    assert verdict.compare(array(np.inf), np.array([limit]), bound).ok
    assert not verdict.compare(array(-np.inf), np.array([limit]), bound).ok
    assert not verdict.compare(array(np.inf), np.array([limit / 2]), bound).ok


def test_a_check_that_cannot_fail_is_no_pass():
    judged = verdict.compare(array(1, 2), np.array([1.0, 2.0]), within(np.inf))
    assert (judged.ok, judged.kind, judged.unjudged) == (False, "unjudged", 2)
    judged = verdict.compare(array(1, 2), np.array([1.0, 2.0]), within([np.inf, 1e-6]))
    assert (judged.ok, judged.unjudged) == (True, 1)
    assert not verdict.compare(array(1, 3), np.array([1.0, 2.0]), within([np.inf, 1e-6])).ok


def test_integers_are_compared_as_integers():
    big = 2**60
    bound = equal("int64")
    assert verdict.compare(np.array([big]), np.array([big]), bound).ok
    assert not verdict.compare(np.array([big + 1]), np.array([big]), bound).ok  # equal as floats


def test_a_tap_dropped_in_a_quiet_channel_fails():
    """A channel of scale 1e-4 beside channels of scale 1: no tolerance taken from the whole tensor
    sees it.
    """
    problem = label.read("conv2d x[1,16,9,9] w[4,16,3,3]")
    arrays = inputs.make(problem, "real", seed=3)
    arrays["weight"][2] *= 1e-4
    [expected] = reference.forward(problem, arrays)
    good = torch.conv2d(*arrays.values())
    assert verdict.compare(good, expected.want, expected.bound(), problem).ok
    broken = dict(arrays, weight=arrays["weight"].clone())
    broken["weight"][2, 7, 1, 1] = 0
    bad = torch.conv2d(*broken.values())
    assert torch.allclose(bad, good, rtol=1e-5, atol=1e-3)  # what a tolerance says
    judged = verdict.compare(bad, expected.want, expected.bound(), problem)
    assert not judged.ok
    assert judged.worst is not None
    assert judged.worst[1] == 2


# The same through the main job: a backend with a fault must turn its row red, and no other row.


class Planted:
    """A backend whose kernels run, and whose results are then spoilt."""

    def __init__(self, monkeypatch, name, spoil):
        real = backends.get(name)

        def launch(kernel, args):
            real.launch(kernel, args)
            spoil(kernel.__name__, args)

        monkeypatch.setitem(backends.registry(), name, dataclasses.replace(real, launch=launch))
        dispatch.forget()


def rows(text, *names, backward=True, **options):
    case = SimpleNamespace(name="planted", problem=label.read(text), source="")
    chosen = compare.Options(backends=names, backward=backward, time=False, **options)
    found = {r.backend: r for r in compare.compare_cases([case], chosen)}
    dispatch.forget()
    return found


CONV = "conv2d x[1,3,7,6] w[4,3,3,2] b s2,1 p1"


def test_without_a_fault_everything_is_ok():
    found = rows(CONV, "naive", "im2col", "torch")
    assert {r.status for r in found.values()} == {"ok"}
    results = {c.result for c in found["naive"].checks}
    assert results == {"output", "grad_input", "grad_weight", "grad_bias"}
    assert {c.data for c in found["naive"].checks} == {"integer", "real"}


def spoil(slot, change):
    return lambda name, args: change(args[0]) if name == slot else None


FAULTS = {
    "last column is the one before": (CONV, "fprop", lambda y: np.copyto(y[..., -1], y[..., -2])),
    "one element lost": (CONV, "fprop", lambda y: y.flat.__setitem__(5, 0)),
    "one element is NaN": (CONV, "fprop", lambda y: y.flat.__setitem__(5, np.nan)),
    "ten bits of precision lost": (CONV, "fprop", lambda y: np.multiply(y, 1 + 2e-4, out=y)),
    "gradient of the input": (CONV, "dgrad", lambda dx: np.add(dx, 1e-3, out=dx)),
    "gradient of the weight flipped": (
        CONV,
        "wgrad",
        lambda dw: np.copyto(dw, dw[..., ::-1].copy()),
    ),
    "gradient of the bias": (CONV, "bgrad", lambda db: np.copyto(db, db[::-1].copy())),
    "index off by one": ("max_pool2d x[1,2,6,6] k2", "max_pool", None),
    "divisor": ("avg_pool2d x[1,2,7,7] k3 s2", "avg_pool", lambda y: np.multiply(y, 9 / 8, out=y)),
    "fold forgets an overlap": ("fold x[1,18,9] o5 k3", "fold", lambda x: np.minimum(x, 1, out=x)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_turns_its_row_red_and_no_other(monkeypatch, fault):
    text, slot, change = FAULTS[fault]

    def act(name, args):
        if name == slot:
            np.maximum(args[1] - 1, 0, out=args[1]) if change is None else change(args[0])

    Planted(monkeypatch, "naive", act)
    found = rows(text, "naive", "im2col", "torch")
    assert {n: r.status for n, r in found.items()} == {
        "naive": "wrong",
        "im2col": "ok",
        "torch": "ok",
    }
    assert found["naive"].reason


def test_a_kernel_that_changes_its_input_is_caught_and_does_not_disturb_the_next(monkeypatch):
    Planted(monkeypatch, "naive", lambda name, args: args[1].__iadd__(1))
    found = rows(CONV, "naive", "im2col", "torch")
    assert found["naive"].status == "wrong"
    assert "changed its input" in found["naive"].reason
    assert (found["im2col"].status, found["torch"].status) == ("ok", "ok")


def test_a_kernel_that_raises_is_an_error_of_one_line(monkeypatch):
    def boom(name, args):
        raise ZeroDivisionError("first\nsecond")

    Planted(monkeypatch, "naive", boom)
    row = rows(CONV, "naive", "im2col")["naive"]
    assert (row.status, row.reason) == ("error", "ZeroDivisionError: first second")


def test_a_wrong_shape_is_reported_with_gradients_asked_for(monkeypatch):
    real = candidates.Candidate.results

    def padded(self, problem, arrays):
        found = real(self, problem, arrays)
        if self.backend == "naive":
            found["output"] = torch.nn.functional.pad(found["output"], (0, 0, 0, 1))
        return found

    monkeypatch.setattr(candidates.Candidate, "results", padded)
    row = rows("conv2d x[1,3,8,7] w[4,3,3,3] s2", "naive")["naive"]
    assert row.status == "wrong"
    assert "expected [1,4,3,3] got [1,4,4,3] differs at H: floor vs ceil" in row.reason


def test_a_fault_in_the_reference_puts_every_row_in_doubt(monkeypatch):
    Planted(monkeypatch, reference.BACKEND, spoil("fprop", lambda y: y.flat.__setitem__(0, 1)))
    found = rows(CONV, "naive", "torch", backward=False)
    assert {r.status for r in found.values()} == {"doubt"}
    assert "disagree" in found["naive"].reason


def test_what_is_too_slow_or_unavailable_is_skipped_with_a_reason_and_never_ok():
    found = rows("conv2d x[1,64,56,56] w[64,64,3,3]", backward=False)
    assert found["naive"].status == "skipped"
    assert found["naive"].reason.startswith("too slow")
    for row in found.values():
        assert (row.status == "skipped") == (not row.checks)
