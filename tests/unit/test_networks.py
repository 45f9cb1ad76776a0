"""Whole networks in the benchmark: what gets a time and what does not. Clocks are fakes."""

import inspect
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from refconv import cli, guard
from refconv.cli import bench_report
from refconv.errors import UsageError
from refconv.harness import bench, benchdiff, environment, network_bench, networks, race, timing
from refconv.harness.race import Options
from refconv.harness.records import Bench, read
from refconv.kernels.im2col import conv

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
LENET = f"{EXAMPLES / 'lenet.py'}:LeNet"
NETS = Path(__file__).with_name("nets_to_compare.py")
OURS = "im2col"
OPTIONS = Options(backends=(OURS,), accuracies=("strict",), budget=0, rounds=(6, 6))


@pytest.fixture(autouse=True)
def _still(monkeypatch):
    """No pauses, no neighbours, a clock of a millisecond a look (so calls are not repeated)."""
    monkeypatch.setattr(timing, "rest", lambda *a: None)
    monkeypatch.setattr(timing, "waited", lambda: 0)
    monkeypatch.setattr(timing, "neighbours", lambda: 0)
    monkeypatch.setattr(race, "BLOCK", 0.0)
    ticks = itertools.count(0, 10**6)
    monkeypatch.setitem(race.CLOCKS, "wall", lambda: next(ticks))


def rows(spec=LENET, shape="4x3x32x32", options=OPTIONS):
    return list(network_bench.bench(networks.load(str(spec), in_shape=shape)[0], options))


def planted(monkeypatch, fault, name="fprop", when=lambda out: True):
    """``fault(out)`` behind a float32 kernel of im2col."""
    good = getattr(conv, name)

    def bad(out, *args, **keywords):
        good(out, *args, **keywords)
        if out.dtype == np.float32 and when(out):
            fault(out)

    bad.__signature__ = inspect.signature(good)
    monkeypatch.setattr(conv, name, bad)


def test_the_set_names_examples_that_are_there():
    found = networks.load("networks")
    assert [n.name for n in found] == ["lenet_N128", "mnist_N64", "netD_N16", "resnet50_N1"]
    for network in found:
        assert Path(network.path.partition(":")[0]).exists()
        assert network.source
        assert not Path(network.spec).is_absolute()  # what the records say
    assert networks.load("networks:netD_N16")[0].shape == (16, 3, 96, 96)
    with pytest.raises(UsageError, match=r"did you mean netD_N16.*it has lenet_N128"):
        networks.load("networks:netD_N1")
    with pytest.raises(UsageError, match="add --in"):
        networks.load(LENET)


def test_a_line_that_is_no_network_is_not_passed_over(tmp_path, monkeypatch):
    file = tmp_path / "networks.txt"
    file.write_text("# mine\nlenet: lenet.py:LeNet 1x3x32x32\n")
    monkeypatch.setattr(networks, "FILE", file)
    with pytest.raises(UsageError, match="networks, line 2"):
        networks.load("networks")


@pytest.mark.parametrize(("spec", "shape"), [(LENET, "4x3x32x32"), (f"{NETS}:ResNet", "2x3x10x10")])
def test_both_ways_are_judged_and_timed_beside_torch(spec, shape):
    found = rows(spec, shape, replace(OPTIONS, ways=("fprop", "train")))
    assert [(r.way, r.backend) for r in found] == [
        (way, who) for way in ("fprop", "train") for who in ("torch", OURS)
    ]
    for row in found:
        assert (row.status, row.op) == ("ok", "model"), row
        assert row.interval == (1.0, 1.0)
        assert row.label == f"{spec} --in {shape}"
        names = ["output"] if row.way == "fprop" else ["output", "gradients"]
        assert [c.result for c in row.checks] == names
        assert all(0 < c.max_error < 1e-3 for c in row.checks)
    assert found[2].flops > 2 * found[0].flops > 0


def test_fast_that_chooses_what_strict_does_is_measured_once():
    torch_row, strict, fast = rows(options=replace(OPTIONS, accuracies=("strict", "fast")))
    assert (torch_row.accuracy, strict.accuracy, fast.accuracy) == ("", "strict", "fast")
    assert strict.timing == fast.timing


def test_one_wrong_element_in_a_layer_gets_no_time(monkeypatch):
    def fault(out):
        out.flat[7] += 1e-3

    planted(monkeypatch, fault, when=lambda out: out.shape[1] == 16)
    torch_row, ours = rows()
    assert torch_row.timing is not None
    assert (ours.status, ours.timing) == ("wrong", None)
    assert ours.reason.startswith("LeNet.conv2: output on real data: 1 of 3,200 wrong")


def test_of_a_batch_the_last_image_is_judged(monkeypatch):
    """The layer runs on all of them, the reference is of two."""

    def fault(out):
        out[-1].flat[0] += 1e-3

    planted(monkeypatch, fault, when=lambda out: out.shape[1] == 16)
    ours = rows(shape="8x3x32x32")[1]
    assert ours.reason.startswith("LeNet.conv2: output on real data: 1 of 3,200 wrong")


def test_a_wrong_gradient_of_a_layer_gets_no_time(monkeypatch):
    def fault(out):
        out.flat[3] *= 1.01

    planted(monkeypatch, fault, "wgrad", lambda out: out.shape[0] == 16)
    found = rows(options=replace(OPTIONS, ways=("fprop", "train")))
    assert [r.status for r in found] == ["ok", "ok", "ok", "wrong"]
    assert found[3].reason.startswith("LeNet.conv2: grad_weight on real data")
    assert found[3].timing is None


def test_an_element_that_a_timed_layer_forgets_is_found(monkeypatch):
    """It is right while it is judged, and then leaves what it finds, which memory spoilt before
    makes NaN.
    """
    good = conv.fprop

    def lazy(out, *args, **keywords):
        before = out.copy()
        good(out, *args, **keywords)
        if out.dtype == np.float32 and not guard.is_checking():
            out[:, -1] = before[:, -1]

    lazy.__signature__ = inspect.signature(good)
    monkeypatch.setattr(conv, "fprop", lazy)
    _, ours = rows(shape="64x3x32x32")
    assert (ours.status, ours.timing) == ("wrong", None)
    assert "in the timed launch: output: not finite" in ours.reason


def test_what_drifts_in_the_whole_only_is_suspect(monkeypatch):
    """Every layer passes when it is judged alone; then one is off."""
    planted(monkeypatch, lambda out: np.multiply(out, 1.01, out),
            when=lambda out: not guard.is_checking())  # fmt: skip
    _, ours = rows()
    assert ours.status == "suspect"
    assert "times as far from float64 as torch" in ours.reason
    assert bench_report.Report(RUN, [ours], []).exit_code == 1


def test_another_path_and_nothing_to_convert():
    assert "another path than with torch" in rows(f"{NETS}:Forked", "1x3x6x6")[1].reason
    ours = rows(f"{NETS}:Picture", "1x3x6x6")[1]
    assert ours.status == "error"
    assert "nothing to convert" in ours.reason


def test_another_batch_is_another_input():
    [network] = bench.batched(networks.load("networks:lenet_N128"), 2)
    assert network.name == "lenet_N2"
    assert network.label.endswith("--in 2x3x32x32")


def timed(case, ratio, op):
    one, ours = (race.Taken(timing.Samples("fake", 1, (x,) * 6, (True,) * 6), None)
                 for x in (1.0, ratio))  # fmt: skip
    blank = Bench(case=case, label=case, op=op, way="fprop", backend="numba", status="ok")
    return race.timed(blank, ours, one)


RUN = environment.describe("refconv bench")


def test_networks_are_not_mixed_into_the_layers_mean():
    report = bench_report.Report(RUN, [timed("a", 0.5, "conv2d"), timed("n", 2.0, "model")], [])
    assert [line.partition(";")[0] for line in report.means] == [
        "geomean ratio fprop: 0.500 of 1 layer",
        "geomean ratio networks fprop: 2.000 of 1 network",
    ]
    assert "2 timings of 1 layer and 1 network" in report.headline


@pytest.fixture
def _no_ceilings(monkeypatch):
    from refconv.harness import ceilings
    from refconv.harness.records import Ceilings

    peak = Ceilings(copy=5e10, fma=5e11, sgemm=4e11, by="numpy", threads=2)
    monkeypatch.setattr(ceilings, "measure", lambda *a: peak)
    monkeypatch.setattr(environment, "steady_allocator", lambda: "kept")


@pytest.mark.usefixtures("_no_ceilings")
def test_from_the_command_line_to_the_records_and_their_difference(capfd, tmp_path):
    path = tmp_path / "r.jsonl"
    argv = ["bench", LENET, "--in", "2x3x32x32", "--backend", OURS, "--passes", "fprop,train",
            "--budget", "0", "--records", str(path)]  # fmt: skip
    assert cli.main(argv) == 0
    out, _ = capfd.readouterr()
    first, heads, *body = out.splitlines()
    assert first.startswith("✔ 2 timings of 1 network, each verified")
    assert heads.split() == ["network", "torch", "ours", "ratio", "way", "accuracy", "distance"]
    assert any(line.lstrip().startswith("geomean ratio networks train fast") for line in body)
    run, made = benchdiff.load(path)
    assert len(made) == 6
    diff = benchdiff.difference([run, *made], list(read(path))[:1] + made, 0.1)
    assert {c.key[2] for c in diff.changes} == {"fprop", "train"}
    assert {c.verdict for c in diff.changes} == {"~"}


@pytest.mark.usefixtures("_no_ceilings")
@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([LENET, "--in", "1x3x32x32", "--passes", "dgrad"], "is a whole network, it has fprop"),
        ([LENET, "--in", "1x3x32x32", "--all-algorithms"], "give layers"),
        ([LENET], "add --in"),
        (["nothing.py:Net", "--in", "1x3x32x32"], "no file nothing.py"),
    ],
)
def test_a_mistake_is_one_line(capfd, argv, words):
    assert cli.main(["bench", "--no-records", *argv]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert words in err
