"""trace: every output of small problems, against torch, the naive kernels and the golden page."""

import json
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

import refconv as rc
import refconv.functional as F
from refconv import label
from refconv.errors import IndexRangeError, ShapeError, UnsupportedError, UsageError
from refconv.learn import trace_code
from refconv.learn.demo import CS231N
from refconv.learn.trace import numbers
from refconv.learn.trace_cells import trace_at
from refconv.oracle import calls

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "cs231n.json").read_text())

CONVOLUTIONS = """
conv1d x[4,7] w[6,2,3] b d2 g2
conv1d x[2,3,6] w[2,3,2] p1:0
conv2d x[2,3,5,5] w[2,3,3,3] b s2 p1
conv2d x[1,4,6,5] w[4,1,3,2] s2,1 p2,0 d1,2 g4
conv2d x[1,2,4,4] w[3,2,1,1] b
conv2d x[1,2,3,3] w[1,2,3,3] p=same
conv2d x[2,2,2] w[2,2,2,2] p4
conv3d x[1,2,3,4,3] w[2,1,2,2,3] b p1 g2
conv_transpose1d x[2,4] w[2,3,3] b s2 p1 op1
conv_transpose2d x[1,2,3,2] w[2,3,3,3] b s2 p1 op1
conv_transpose2d x[1,4,2,3] w[4,1,2,3] s3,2 d2,1 g2
conv_transpose3d x[1,1,2,2,2] w[1,2,2,2,2] b s2
""".strip().splitlines()
POOLS = """
max_pool1d x[2,7] k3 s2
max_pool2d x[1,2,5,6] k3 s2 p1
max_pool2d x[1,1,5,5] k2 s2 ceil
max_pool2d x[1,1,6,6] k2 s1 d2 p1
max_pool3d x[1,1,3,3,3] k2
avg_pool1d x[1,2,6] k3 s2 p1
avg_pool2d x[1,2,5,5] k3 s2 p1 ceil
avg_pool2d x[1,1,5,5] k3 s2 p1 ceil exclude_pad
avg_pool2d x[1,1,4,4] k2 div3
avg_pool3d x[1,1,3,3,3] k2 s1
adaptive_avg_pool2d x[1,2,5,7] o3,2
adaptive_max_pool2d x[1,1,5,7] o2,3
adaptive_avg_pool1d x[2,3] o5
""".strip().splitlines()
NAMES = {"input": "x", "weight": "w", "bias": "b"}


def given(text, real=False, seed=0):
    problem = label.parse(text)
    return problem, numbers(problem, seed, real)


def everywhere(problem):
    return product(*map(range, problem.output_shape))


def whole(namespace, problem, arrays, **extra):
    """Every result of torch, or of refconv's functional, on these arrays."""
    tensors = {name: torch.from_numpy(x) for name, x in arrays.items()}
    return calls.results(namespace, problem, tensors, **extra)


def test_the_page_that_users_ask_about():
    """All 18 numbers; of the first, what the mock-up says."""
    for at in product(range(2), range(3), range(3)):
        assert rc.trace("cs231n", at).value == np.array(GOLDEN["output"])[at]
    found = rc.trace("cs231n", (0, 0, 0), torch=True)
    assert [c.total for c in found.channels] == [4, 1, 1]
    assert (found.bias, found.value, found.torch, found.flipped) == (1, 7, 7, 4)
    assert (len(found.cells), found.inside, found.row, found.agrees) == (27, 12, (0, 9), True)
    assert {n: CS231N[n] for n in ("input", "weight", "bias", "output")} == {
        n: GOLDEN[n] for n in ("input", "weight", "bias", "output")
    }


@pytest.mark.parametrize("text", CONVOLUTIONS + POOLS)
def test_every_output_is_torchs_and_the_naive_loops(text):
    """Whole numbers: equal (a mean: to its last bit or two); the maximum's position too."""
    problem, arrays = given(text)
    theirs = whole(torch.nn.functional, problem, arrays)
    naive = whole(F, problem, arrays, backend="naive")
    for at in everywhere(problem):
        found = trace_at(problem, arrays, at)
        for result in (theirs, naive):
            due = result["output"][at].item()
            assert found.value == pytest.approx(due, rel=1e-15, abs=0), at
            if "indices" in result:
                assert found.index == result["indices"][at].item(), at
    if "avg" not in text:
        assert found.value == theirs["output"][at].item()


@pytest.mark.parametrize("text", CONVOLUTIONS[:4])
def test_real_numbers_agree_to_within_rounding(text):
    """And a number that is off by more does not."""
    from dataclasses import replace

    problem, arrays = given(text, real=True)
    due = whole(torch.nn.functional, problem, arrays)["output"]
    for at in everywhere(problem):
        found = replace(trace_at(problem, arrays, at), torch=due[at].item())
        assert found.agrees
        assert not replace(found, torch=found.value + 1e-9).agrees


def test_ties_and_nan_are_torchs():
    """The first of equals, the last NaN."""
    problem = label.parse("max_pool2d x[1,2,4,4] k3 s1")
    x = np.random.default_rng(0).integers(0, 3, problem.input_shape).astype(float)
    x[0, 1, 1, 1] = x[0, 1, 2, 1] = np.nan
    y, index = torch.nn.functional.max_pool2d(torch.from_numpy(x), 3, 1, return_indices=True)
    for at in everywhere(problem):
        found = trace_at(problem, {"input": x}, at)
        assert found.index == index[at].item()
        assert found.value == y[at].item() or found.value != found.value


def test_integers_stay_integers():
    """torch divides a mean of integers towards zero."""
    problem = label.parse("avg_pool2d x[1,1,4,4] k2 int64")
    arrays = numbers(problem)
    due = whole(torch.nn.functional, problem, arrays)["output"]
    found = [trace_at(problem, arrays, at) for at in everywhere(problem)]
    assert [t.value for t in found] == [due[t.at].item() for t in found]
    assert all(isinstance(t.value, int) for t in found)


WATCHED = """
conv2d x[1,2,4,4] w[4,1,3,3] b s2 p1 g2
conv_transpose2d x[1,2,2,3] w[2,2,3,2] b s2 p1
max_pool2d x[1,2,4,4] k3 s2 p1
avg_pool2d x[1,2,4,4] k3 s2 p1
""".strip().splitlines()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float16", "bfloat16", "complex64"])
def test_every_dtype_is_traced(dtype):
    """What would wrap or round in it does not here, and torch is asked in as wide a type."""
    found = rc.trace(f"conv2d x[1,8,4,4] w[2,8,3,3] {dtype}", (0, 1, 1, 1), torch=True)
    assert found.agrees
    assert abs(found.value) < 8 * 9 * 8


@pytest.mark.parametrize("text", WATCHED)
def test_the_naive_line_is_the_one_that_runs(text):
    """The loops themselves, watched line by line, pass the named line exactly for these taps, with
    these values of their variables.
    """
    problem, arrays = given(text)
    kind = trace_at(problem, arrays).kind
    found = trace_code.loops(kind)
    passed = []

    def watch(frame, event, _):
        if event == "call":
            name = frame.f_code.co_name
            here = frame.f_code.co_filename.endswith(found.file) and name == found.function
            return watch if here else None
        if event == "line" and frame.f_lineno == found.add:
            passed.append({k: int(v) for k, v in frame.f_locals.items() if np.ndim(v) == 0
                           and k in ("n", "c", "oc", "ic", "od", "oh", "ow", "kd", "kh", "kw",
                                     "id", "ih", "iw")})  # fmt: skip
        return watch

    sys.settrace(watch)
    try:
        whole(F, problem, arrays, backend="naive")
    finally:
        sys.settrace(None)
    due = []
    for at in everywhere(problem):
        t = trace_at(problem, arrays, at)
        for i, cell in enumerate(t.cells):
            if cell.state == "inside":
                due.append(trace_code.indices(t, i))
                assert trace_code.line_of(t, i) == found.add
            else:
                assert trace_code.line_of(t, i) == found.test != found.add
    names = set(due[0])
    ran = [{k: v for k, v in p.items() if k in names} for p in passed]
    order = sorted(names)
    assert sorted([p[k] for k in order] for p in ran) == sorted([p[k] for k in order] for p in due)


def test_code_is_found_by_what_it_says():
    """The lines, and what would stand there if they moved."""
    text = {kind: trace_code.loops(kind) for kind in trace_code.FUNCTIONS}
    line = {kind: loops.lines[loops.add - 1].strip() for kind, loops in text.items()}
    assert line["conv"] == "total += x[n, c, id, ih, iw] * w[oc, ic, kd, kh, kw]"
    assert line["conv_transpose"].startswith("dx[n, c, id, ih, iw] += grad * w[oc")
    assert "value > best" in line["max_pool"]
    assert line["avg_pool"] == "total += x[n, c, id, ih, iw]"


def test_given_arrays_are_traced():
    """Torch's and NumPy's; what is left out is made."""
    x = torch.arange(18.0).view(1, 2, 3, 3)
    found = rc.trace("nn.Conv2d(2, 4, 3)", (0, 3, 0, 0), arrays={"input": x}, torch=True)
    assert found.agrees
    assert [c.value for c in found.cells] == list(range(18))
    assert found.origin.startswith("your input")
    half = rc.trace("nn.MaxPool2d(2)", arrays={"input": x.bfloat16()})
    assert half.value == 4


def test_a_layer_alone_has_an_input_that_can_be_read():
    """Three windows along each axis."""
    named = "nn.Conv1d(in_channels=4, out_channels=2, kernel_size=7, stride=3)"
    for spec in ("nn.Conv2d(3,6,5)", "nn.MaxPool2d(3,2,1)", named):
        assert set(rc.trace(spec).problem.out_size) == {3}
    assert rc.trace("nn.AdaptiveAvgPool2d((2, 3))").problem.out_size == (2, 3)


def test_json_is_plain_and_complete():
    """Everything on the page, and what JSON has no number for as text."""
    document = json.loads(json.dumps(rc.trace("cs231n", (0, 0, 0), torch=True).to_json()))
    assert document["schema"] == "refconv.trace/1"
    cells = [c for channel in document["channels"] for c in channel["cells"]]
    assert len(cells) == document["taps"] == 27
    total = sum(c.get("product", 0) for c in cells) + document["bias"]
    assert total == document["value"] == document["torch"] == 7


@pytest.mark.parametrize(
    ("spec", "at", "error", "words"),
    [
        ("cs231n", (0, 3, 0), IndexRangeError, "the last one is 1,2,2"),
        ("cs231n", (0, 0), IndexRangeError, "there is no output 0,0"),
        ("conv2d x[0,3,5,5] w[2,3,3,3]", None, IndexRangeError, "has no elements"),
        ("nn.Unfold(3)(x[1,2,5,5])", None, UnsupportedError, "not unfold"),
        ("lp_pool2d x[1,2,5,5] norm2 k3", None, UnsupportedError, "not lp_pool2d"),
        ("nn.Conv2d(3,6", None, UsageError, "not a Python expression"),
        ("nn.Conv2d(3,6,5,groups=2)", None, UsageError, "groups must divide"),
    ],
)
def test_refusals_say_what_and_why(spec, at, error, words):
    with pytest.raises(error, match=words):
        rc.trace(spec, at)


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match=r"weight of conv2d .* has shape \(2, 3, 3, 3\)"):
        rc.trace("cs231n", arrays={"weight": np.zeros((2, 3, 3))})
    with pytest.raises(UsageError, match="arrays are input, weight, bias, not 'kernel'"):
        rc.trace("cs231n", arrays={"kernel": np.zeros(3)})
    with pytest.raises(ShapeError, match="takes no bias"):
        rc.trace("nn.MaxPool2d(2)", arrays={"bias": np.zeros(3)})
