"""Planted dependences: each is named, and only it; rounding and faults are told apart."""

import json
import os

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d

from refconv import cli, label
from refconv.errors import UsageError
from refconv.oracle import inputs, reference, target, variants
from refconv.oracle import invariance as inv

CASE = label.read("conv2d x[8,8,6,7] w[16,8,3,3] b p1")
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def exactly(x, w, b=None, **keywords):
    """The same bits whatever happens: summed in float64, rounded once."""
    wide = [None if a is None else a.double() for a in (x, w, b)]
    return conv2d(*wide, **keywords).to(x.dtype)


def nudged(y):
    """The next number: a difference of one unit in the last place."""
    return torch.nextafter(y, torch.full_like(y, torch.inf))


def by_place(change):
    def function(x, w, b=None, **keywords):
        y = exactly(x, w, b, **keywords)
        return torch.cat([y[:1], change(y[1:])]) if len(y) > 1 else y

    return function


def when(condition, change):
    def function(x, w, b=None, **keywords):
        y = exactly(x, w, b, **keywords)
        return change(y) if condition(x, w) else y

    return function


def on_later_calls(change):
    calls = []

    def function(x, w, b=None, **keywords):
        calls.append(1)
        y = exactly(x, w, b, **keywords)
        return change(y) if 2 < len(calls) < 20 else y

    return function


def doubled(y):
    return 2 * y


def channels_together(x, w):
    return x.stride(1) == 1


def spread(x, w):
    return x.stride(-1) == 2


PLANTED = {
    "run to run": on_later_calls,
    "batch size": lambda change: when(lambda x, w: len(x) == 1, change),
    "batch place": by_place,
    "threads": lambda change: when(lambda x, w: torch.get_num_threads() > 1, change),
    "layout": lambda change: when(channels_together, change),
    "alignment": lambda change: when(lambda x, w: x.storage_offset() == 1, change),
    "channels": lambda change: when(lambda x, w: len(w) < 16, change),
}
#: What else a planted dependence must break: the first image alone is in the first place.
AS_WELL = {"batch place": {"batch size"}}


@pytest.mark.parametrize(("change", "status"), [(nudged, inv.ROUNDING), (doubled, inv.WRONG)])
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_dependence_is_named_and_weighed(name, change, status):
    if name == "threads" and CORES < 2:
        pytest.skip("one core: the number of threads cannot be changed")
    report = inv.invariance(PLANTED[name](change), CASE)
    broken = {f.name: f.status for f in report.findings if f.status != inv.HOLDS}
    assert broken == dict.fromkeys({name} | AS_WELL.get(name, set()), status)
    assert report.status == status
    assert bool(report.wrong) == (name == "batch place" and change is doubled)
    [found] = [d for f in report.findings if f.name == name for d in f.differences[:1]]
    assert found.result == "output"
    assert bool(found.wrong) == (status == inv.WRONG)
    if status == inv.ROUNDING:
        assert found.ulps == 1
        assert 0 < found.share < 1
    else:
        assert found.share > 1


def test_the_share_is_of_both_bounds():
    report = inv.invariance(when(spread, lambda y: y + 2.0**-20), CASE)
    arrays = inputs.make(CASE, "real")
    [e] = reference.forward(CASE, arrays)
    y = exactly(arrays["input"], arrays["weight"], arrays["bias"], padding=1)
    off = ((y + 2.0**-20) - y).double().numpy()
    [layout] = report.named(inv.ROUNDING)
    assert layout.differences[0].share == pytest.approx((off / (2 * e.bound().tolerance)).max())


def test_the_change_that_broke_it_is_named():
    report = inv.invariance(when(spread, nudged), CASE)
    [layout] = report.named(inv.ROUNDING)
    assert [d.changed for d in layout.differences] == ["every 2nd of x"]
    report = inv.invariance(by_place(nudged), CASE)
    alone = next(f for f in report.findings if f.name == "batch size")
    assert all("image 0" not in d.changed for d in alone.differences)


def test_a_place_in_the_middle_is_found_though_reversal_keeps_it():
    def middle(x, w, b=None, **keywords):
        y = exactly(x, w, b, **keywords)
        return torch.cat([y[:3], nudged(y[3:5]), y[5:]]) if len(y) == 8 else y

    report = inv.invariance(middle, CASE)
    [place] = [f for f in report.findings if f.name == "batch place"]
    assert [d.changed for d in place.differences] == ["images rotated"]


def test_a_gradient_that_depends_on_the_layout_is_named():
    class Layered(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w, b):
            ctx.save_for_backward(x, w)
            return exactly(x, w, b, padding=1)

        @staticmethod
        def backward(ctx, dy):
            x, w = ctx.saved_tensors
            wide = dy.double()
            gx = torch.nn.grad.conv2d_input(x.shape, w.double(), wide, padding=1).float()
            gw = torch.nn.grad.conv2d_weight(x.double(), w.shape, wide, padding=1).float()
            return gx, -gw if channels_together(x, w) else gw, wide.sum((0, 2, 3)).float()

    report = inv.invariance(lambda x, w, b, **k: Layered.apply(x, w, b), CASE, backward=True)
    broken = {f.name: {d.result for d in f.differences} for f in report.named(inv.WRONG)}
    assert broken == {"layout": {"grad_weight"}}
    assert report.results == ("output", "grad_input", "grad_weight", "grad_bias")
    assert not report.named(inv.ROUNDING)


def test_a_refusal_is_no_difference_and_does_not_hold():
    def picky(x, w, b=None, **keywords):
        if not x.is_contiguous():
            raise ValueError("x must be contiguous")
        return exactly(x, w, b, **keywords)

    report = inv.invariance(picky, CASE)
    [layout] = report.named(inv.REFUSED)
    assert layout.name == "layout"
    assert "ValueError: x must be contiguous" in layout.tried
    assert report.status == inv.HOLDS


def test_a_changed_shape_or_dtype_is_wrong():
    report = inv.invariance(when(channels_together, torch.Tensor.double), CASE)
    [layout] = report.named(inv.WRONG)
    assert layout.differences[0].wrong.startswith("torch.float64 [8,16,6,7] instead of")


def test_the_result_itself_is_judged_first():
    report = inv.invariance(lambda *a, **k: 2 * conv2d(*a, **k), CASE)
    assert report.status == inv.WRONG
    assert report.wrong.startswith("output: ")
    report = inv.invariance(lambda x, w, b: x, CASE)
    assert report.status == inv.ERROR
    assert report.error.startswith("TypeError: ")
    assert report.findings == []


def test_a_function_that_spoils_its_inputs_spoils_no_other_call():
    def greedy(x, w, b=None, **keywords):
        y = exactly(x, w, b, **keywords)
        x.zero_(), w.zero_()
        return y

    assert inv.invariance(greedy, CASE).status == inv.HOLDS


@pytest.mark.parametrize("count", [1, 2])
def test_the_number_of_threads_is_left_as_it_was(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        inv.invariance(exactly, CASE, repeats=2)
        assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(before)


CASES = [
    "conv2d x[2,8,6,7] w[16,4,3,3] b p1:0,2 s2,1 g2",
    "conv2d x[1,6,6,7] w[6,2,3,3] g3",
    "conv2d x[1,3,5,5] w[1,3,3,3]",
    "conv2d x[3,5,6] w[4,3,3,3] b",
    "conv1d x[2,3,9] w[4,3,3]",
    "conv3d x[1,2,4,5,6] w[4,2,2,3,3] b",
    "conv_transpose2d x[2,8,5,4] w[8,3,3,2] b s2 g2",
    "conv_transpose1d x[2,4,5] w[4,6,3] b",
    "max_pool2d x[2,4,9,8] k3 s2 p1",
    "max_pool2d x[5,9,8] k3",
    "avg_pool3d x[1,2,4,5,6] k2",
    "lp_pool2d x[1,2,6,7] norm2 k3",
    "adaptive_avg_pool2d x[2,3,7,5] o3,2",
]


@pytest.mark.parametrize("text", CASES)
@pytest.mark.parametrize("who", ["torch", "im2col"])
def test_torch_and_im2col_are_never_wrong(text, who):
    """A changed call whose results were put in the wrong place would be."""
    problem = label.read(text)
    report = inv.invariance(target.load(who, problem.op), problem, backward=True, repeats=3)
    assert report.status in (inv.HOLDS, inv.ROUNDING), (report.wrong, report.error)
    assert not report.named(inv.REFUSED), report.named(inv.REFUSED)
    assert next(f for f in report.findings if f.name == "run to run").status == inv.HOLDS
    tried = {f.name for f in report.findings if f.status != inv.NOT_TRIED}
    batched = variants.images(problem) is not None
    assert {"batch size", "batch place"} <= tried or not batched
    assert ("channels" in tried) == (problem.output_shape[0 if not batched else 1] > 1)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "complex64", "int32"])
def test_other_dtypes_have_their_own_ulps(dtype):
    problem = label.read("conv2d x[2,4,6,6] w[4,4,3,3]", dtype=dtype)
    report = inv.invariance(target.load("torch", problem.op), problem, repeats=2)
    assert report.status in (inv.HOLDS, inv.ROUNDING), report.wrong


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_ulps_are_counted_across_zero(dtype):
    tiny = torch.zeros(1, dtype=dtype)
    up = torch.nextafter(tiny, torch.ones(1, dtype=dtype))
    a = torch.cat([up, -up, torch.ones(1, dtype=dtype), tiny / 0])
    b = torch.cat([-up, -up, nudged(torch.ones(1, dtype=dtype)), tiny])
    assert np.array_equal(inv._ulps(a, b), [2, 0, 1, np.inf])


@pytest.mark.parametrize("text", ["pad x[1,2,5] p1 reflect", "conv1d x[0,2,5] w[3,2,3]"])
def test_what_cannot_be_tried_is_refused(text):
    problem = label.read(text)
    with pytest.raises(UsageError):
        inv.invariance(target.load("torch", problem.op), problem)


def call(capfd, *argv):
    code = cli.main(["invariance", *argv])
    out, err = capfd.readouterr()
    return code, out, err


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A user's functions in the current directory."""
    (tmp_path / "mine.py").write_text(
        "from torch.nn.functional import conv2d as c\n"
        "def good(x, w, b=None, **k):\n"
        "    return c(x.double(), w.double(), None if b is None else b.double(), **k).float()\n"
        "def last_bit(x, w, b=None, **k):\n"
        "    y = good(x, w, b, **k)\n"
        "    return y * (1 + 2**-23) if x.stride(1) == 1 else y\n"
        "def wrong(x, w, b=None, **k):\n"
        "    return good(x, w, b, **k) * (1 + (len(x) == 1))\n"
    )
    monkeypatch.chdir(tmp_path)


TEXT = "conv2d x[8,8,6,7] w[16,8,3,3] b p1"


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["mine:good"], 0, "✔ mine:good: 7 of 7 hold bit for bit"),
        (["mine.py:last_bit"], 0, "6 of 7 hold bit for bit; rounding differs with layout"),
        (["mine.py:last_bit", "--strict"], 1, "rounding differs with layout"),
        (["mine:wrong"], 1, "hold bit for bit; WRONG, beyond any rounding, with batch size"),
        (["mine.py:good", "--dtype", "float64"], 1, "✘ mine.py:good: the result itself is WRONG; "),
        (["mine.py:good", "max_pool2d x[1,2,4,4] k2"], 1, "1 of 2 cases keep their bits; 1 WRONG"),
    ],
)
def test_exit_codes_and_the_verdict_first(capfd, own, argv, code, words):
    if CORES < 2:
        words = words.replace("7 of 7", "6 of 6").replace("6 of 7", "5 of 6")
    got, out, err = call(capfd, argv[0], TEXT, *argv[1:])
    assert (got, err) == (code, "")
    assert words in out.splitlines()[0]
    assert f"  repro: refconv invariance {argv[0]} '{TEXT}'" in out.splitlines()[-1]
    assert "\x1b" not in out


def test_torchs_own_result_is_a_table_of_words(capfd):
    code, out, _ = call(capfd, TEXT, "--backward")
    print(out)
    assert code == 0
    assert out.startswith("✔ torch: ")
    rows = {line[2:13].strip(): line[15:23].strip() for line in out.splitlines()}
    assert rows["run to run"] == "holds"
    words = {"holds", "rounding", "–"}
    assert {rows[name] for name in PLANTED} <= words
    assert max(map(len, out.splitlines()[:-1])) <= 100


def test_json_is_one_document(capfd, own):
    code, out, _ = call(capfd, "mine:last_bit", TEXT, "--json")
    whole = json.loads(out)
    assert (code, whole["schema"], whole["exit_code"]) == (0, "refconv.invariance/1", 0)
    [report] = whole["reports"]
    assert (report["function"], report["status"]) == ("mine:last_bit", "rounding")
    found = {p["name"]: p for p in report["properties"]}
    assert list(found) == list(PLANTED)
    [difference] = found["layout"]["differences"]
    assert 0 < difference["ulps"] <= 2
    assert found["run to run"]["differences"] == []


def test_many_cases_are_a_row_each(capfd):
    code, out, _ = call(capfd, "im2col", TEXT, "max_pool2d x[5,9,8] k3")
    lines = out.splitlines()
    assert code == 0
    assert "of 2 cases keep their bits" in lines[0]
    assert lines[1].split()[:4] == ["case", "run", "to", "run"]
    assert lines[3].split()[-6:-4] == ["–", "–"]  # no batch axis


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["mine:nothing", TEXT], 2, "mine has no 'nothing'; it has"),
        (["nowhere:conv", TEXT], 2, "no module nowhere here"),
        (["clasics:cs231n"], 2, "did you mean classics?"),
        (["mine:good"], 2, "on which case?"),
        (["torch", "pad x[1,3] p1"], 2, "takes convolutions and poolings, got pad"),
        ([TEXT, "--device", "tpu"], 2, "must be cpu or cuda"),
        ([TEXT, "--device", "all"], 2, "must be cpu or cuda"),
        (["numba:magic", TEXT], 2, "no such algorithm"),
        (["cupy", TEXT], 3, "cupy"),
    ],
)
def test_a_mistake_is_one_line(capfd, own, argv, code, words):
    got, out, err = call(capfd, *argv)
    assert (got, out) == (code, "")
    assert err.count("\n") == 1
    assert words in err
