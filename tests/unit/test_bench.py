"""The benchmark: what gets a time and what does not. Clocks are fakes, except in one run."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from refconv import cli, dispatch, guard, settings
from refconv.cli import bench_report
from refconv.harness import (
    bench,
    contestants,
    environment,
    keeping,
    passes,
    peers,
    race,
    timing,
)
from refconv.harness.cases import load
from refconv.harness.contestants import Contestant
from refconv.harness.race import Options, Taken
from refconv.harness.records import BENCH, Bench, Ceilings, Environment, encode, read
from refconv.harness.statistics import chance, median_interval

CASE = "conv2d x[2,3,9,9] w[4,3,3,3] b p1"
POOL = "max_pool2d x[2,3,8,8] k2"
#: A backend that compiles nothing.
OURS = "im2col"
OPTIONS = Options(backends=(OURS,), budget=0, rounds=(6, 6))


@pytest.fixture(autouse=True)
def _still(monkeypatch):
    """No pauses, no neighbours, a clock of a millisecond a look (so calls are not repeated)."""
    monkeypatch.setattr(timing, "rest", lambda *a: None)
    monkeypatch.setattr(timing, "waited", lambda: 0)
    monkeypatch.setattr(timing, "neighbours", lambda: 0)
    monkeypatch.setattr(race, "BLOCK", 0.0)
    ticks = itertools.count(0, 10**6)
    monkeypatch.setitem(race.CLOCKS, "wall", lambda: next(ticks))


def rows(case=CASE, options=OPTIONS):
    return list(bench.bench(load(case)[0], options))


def replaced(monkeypatch, make):
    """``make(call)`` in place of every call of refconv's."""
    real = passes.bind

    def bind(backend, *rest):
        call = real(backend, *rest)
        return call if backend == "torch" else make(call)

    monkeypatch.setattr(passes, "bind", bind)


def test_every_way_is_judged_and_timed_beside_torch():
    for case in (CASE, "conv_transpose2d x[1,4,5,5] w[4,2,3,3] s2", POOL, "avg_pool1d x[1,2,9] k3"):
        options = replace(OPTIONS, ways=passes.WAYS, accuracies=("strict",))
        found = rows(case, options)
        ways = [r.way for r in found if r.backend == "torch"]
        assert [r.way for r in found if r.backend == OURS] == ways
        assert ("indices" in ways) == case.startswith("max")
        assert ("wgrad" in ways) == case.startswith("conv")
        for row in found:
            assert row.status == "ok", row
            assert row.interval == (1.0, 1.0)
            named = tuple(c.result for c in row.checks)
            assert named == tuple(n for n in passes.RESULTS[row.way] if n in named) != ()
        train = next(r for r in found if r.way == "train" and r.backend == OURS)
        assert {c.result for c in train.checks} >= {"output", "grad_input"}


def test_a_wrong_kernel_gets_no_time(monkeypatch):
    replaced(monkeypatch, lambda call: lambda: call() * (1 + 1e-3))
    torch_row, ours, _ = rows()
    assert torch_row.timing is not None
    assert ours.status == "wrong"
    assert ours.timing is None
    assert ours.interval is None
    assert bench_report.Report(RUN, [torch_row, ours], []).exit_code == 1


class Lazy:
    """A kernel that is right until it is timed, and then leaves its output as it finds it."""

    def __init__(self, call):
        self.call, self.left = call, 3

    def __call__(self):
        self.left -= 1
        return self.call() if self.left > 0 else torch.empty(self.call().shape)


def test_the_timed_launch_itself_is_verified(monkeypatch):
    replaced(monkeypatch, Lazy)
    case = "conv2d x[4,8,40,40] w[16,8,3,3] p1"  # large: the allocator gives the last block back
    _, ours, _ = rows(case)
    assert ours.status == "wrong"
    assert "timed launch" in ours.reason
    assert ours.timing is None


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "complex64"])
def test_results_are_poisoned_between_turns(dtype):
    kind = getattr(torch, dtype)
    made = [torch.ones(8, dtype=kind) for _ in range(3)]
    left = iter(made)
    clock = keeping.Keeper("fake", itertools.count().__next__)
    call = lambda: next(left)  # noqa: E731
    clock.time(call, 2)
    assert clock.last(call) is made[1]
    clock.poison(call)
    assert made[0].tolist() == [1] * 8
    for spoilt in made[1:]:
        values = spoilt.to(torch.complex128 if kind.is_complex else torch.float64)
        assert bool(torch.isnan(values).all()) if dtype != "int64" else values[0] < -9e18


def test_a_candidate_that_fails_does_not_stop_the_others(monkeypatch):
    def make(call):
        def fail():
            raise MemoryError("no room")

        return fail

    replaced(monkeypatch, make)
    torch_row, ours, _ = rows()
    assert torch_row.timing is not None
    assert (ours.status, ours.reason) == ("error", "MemoryError: no room")


def test_nor_does_one_that_fails_only_without_guards(monkeypatch):
    def make(call):
        return lambda: call() if guard._checking.get() else 1 / 0

    replaced(monkeypatch, make)
    torch_row, ours, _ = rows()
    assert torch_row.timing is not None
    assert (ours.status, ours.timing) == ("error", None)


def taken(ns, clean=None):
    ns = tuple(map(float, ns))
    return Taken(timing.Samples("fake", 1, ns, clean or (True,) * len(ns)), None)


ROW = Bench(case="a", label="l", op="conv2d", way="fprop", backend="numba", status="ok")


def test_too_few_quiet_rounds_are_noise():
    ones = taken([1] * 8, (True,) * 5 + (False,) * 3)
    row = race.timed(ROW, ones, ones)
    assert row.status == "noise"
    assert row.timing.busy
    assert row.interval is None
    assert "5 of 8 rounds" in row.reason


@pytest.mark.parametrize(
    ("ours", "status"),
    [
        ([7, 8, 9, 11, 12, 13], "noise"),  # 0.7 … 1.3: anything
        ([9.7, 9.8, 9.9, 10.1, 10.2, 10.3], "ok"),  # about equal, and known to be
        ([5, 6, 7, 8, 9, 9.5], "ok"),  # wide, but surely faster
    ],
)
def test_an_interval_around_one_decides_if_it_is_narrow(ours, status):
    row = race.timed(ROW, taken(ours), taken([10] * 6))
    assert row.status == status
    assert row.interval == (min(ours) / 10, max(ours) / 10)


def test_ratios_are_of_the_same_round_and_dirty_rounds_do_not_count():
    clean = (True,) * 6 + (False,)
    row = race.timed(ROW, taken([10, 20, 30, 40, 50, 60, 1], clean), taken(
        [20, 40, 60, 80, 100, 120, 900], clean))  # fmt: skip
    assert row.timing.vs_torch == 0.5
    assert row.interval == (0.5, 0.5)
    assert row.timing.median_ns == 35
    assert len(row.timing.samples_ns) == 7


def test_rounds_in_which_others_used_the_processor_are_dirty(monkeypatch):
    now = itertools.count(0, 10**8)  # three looks a round: it takes 0.2 s
    monkeypatch.setattr(timing.time, "perf_counter_ns", lambda: next(now))
    used = iter([0, 0, 0, 4.1e7, 0, 3.9e7])  # two ticks of slack and a tenth of the round
    found = timing.interleave(
        {"a": lambda: None}, keeping.Keeper("fake", itertools.count().__next__), budget=0,
        rounds=(3, 3), pause=lambda s: None, lost=lambda: 0, others=lambda: next(used),
    )  # fmt: skip
    assert found["a"].clean == (True, False, True)


def test_a_turn_lasts_its_block_and_counts_its_median():
    marks = iter([0, 5, 0, 5, 0, 5, 0, 100, 0, 300, 0, 100, 0, 100])  # three before the turn
    clock = keeping.Keeper("fake", lambda: next(marks))
    found = timing.interleave(
        {"a": lambda: None}, clock, budget=0, rounds=(1, 1), sample=0, block=5e-7,
        pause=lambda s: None, lost=lambda: 0,
    )  # fmt: skip
    assert found["a"].ns == (100,)


def test_median_intervals_hold_the_median_as_often_as_they_say():
    rng = np.random.default_rng(0)
    for n in (6, 9, 15):
        made = [median_interval(list(x)) for x in rng.exponential(size=(2000, n))]
        held = np.mean([low <= math.log(2) <= high for low, high in made])
        assert 0.94 <= held <= 0.99
    assert median_interval([1.0] * 5) is None


@pytest.mark.parametrize(
    ("old", "new", "p"),
    [  # of scipy.stats.mannwhitneyu
        ([1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12], 0.0021645),
        ([1, 3, 5, 7, 9, 11], [2, 4, 6, 8, 10, 12], 0.6991342),
        ([1, 2, 2, 3, 3, 3, 4], [2, 3, 3, 4, 4, 5, 5], 0.0860363),
        ([5] * 6, [5] * 6, 1.0),
    ],
)
def test_the_u_test_is_right(old, new, p):
    assert chance(old, new) == pytest.approx(p, abs=1e-6)
    assert chance(new, old) == pytest.approx(p, abs=1e-6)


def test_threads_stay_equal_when_numba_starts(monkeypatch):
    import numba

    before = torch.get_num_threads()
    # As starting the OpenMP layer does.
    monkeypatch.setattr(numba, "set_num_threads", lambda n: torch.set_num_threads(before + 1))
    assert environment.equal_threads()["torch"] == torch.get_num_threads() == before


def test_a_candidate_that_changes_the_threads_gets_no_time(monkeypatch):
    before = torch.get_num_threads()

    def make(call):
        return lambda: (torch.set_num_threads(before + 1), call())[1]

    replaced(monkeypatch, make)
    try:
        assert {r.status for r in rows()} == {"error"}
        assert torch.get_num_threads() == before
    finally:
        torch.set_num_threads(before)


def test_the_accuracy_is_in_effect_and_given_back():
    who = Contestant("numba", "fast")
    with who.settings():
        assert settings.get_accuracy() == "fast"
    assert settings.get_accuracy() == "strict"
    found = rows()
    assert settings.get_accuracy() == "strict"
    strict, fast = found[1:]
    assert (strict.accuracy, fast.accuracy) == ("strict", "fast")


def test_every_algorithm_that_applies_is_there_and_the_choice_is_marked():
    problem = load(CASE)[0].problem
    found = contestants.every_algorithm(problem, "conv_fprop", ("strict", "fast"))
    names = [c.backend for c in found]
    assert len(set(names)) == len(names) > 1
    chosen = dispatch.choose(problem, "conv_fprop", "numba")
    assert [c.backend for c in found if "strict" in c.chosen] == [str(chosen)]
    strict = contestants.every_algorithm(problem, "conv_fprop", ("strict",))
    assert {c.accuracy for c in strict} == {"strict"}


def test_another_batch_is_another_case():
    conv, pool = bench.batched([load(CASE)[0], load(POOL)[0]], 16)
    assert conv.problem.batch == 16
    assert conv.problem.output_shape[0] == 16
    assert conv.name.endswith("_N16")
    assert pool.problem.output_shape == (16, 3, 4, 4)
    two = [case for case in load("cpu") if case.name.startswith("rn_64_k3_56_N")]
    assert [case.name for case in two] == ["rn_64_k3_56_N1", "rn_64_k3_56_N16"]
    assert [case.name for case in bench.batched(two, 4)] == ["rn_64_k3_56_N4"]


def test_a_peer_that_is_not_here_says_so(monkeypatch):
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    assert "onnxruntime, onnx not installed" in peers.unavailable("onnxruntime", 2, 2)
    monkeypatch.setattr(peers, "find_spec", lambda name: name)
    assert not peers.unavailable("onnxruntime", 1, 2)
    assert "not a comparison" in peers.unavailable("jax", 1, 2)


RUN = Environment(
    command="refconv bench", started="2026", python="3.11", versions={"torch": "2"}, cpu="x",
    cores=2, threads={"torch": 2, "numba": 2}, precision={"cpu": "fp32"}, allocator="kept",
    schema=BENCH,
)  # fmt: skip
PEAK = Ceilings(copy=5e10, fma=5e11, sgemm=4e11, by="numpy", threads=2)


def test_the_means_leave_out_what_they_say_and_count_noise_out():
    def row(case, ratio, op="conv2d", **values):
        made = race.timed(ROW, taken([ratio] * 6), taken([1] * 6))
        return bench.changed(made, case=case, op=op, **values)

    lost = race.timed(ROW, taken([9] * 5), taken([1] * 5))
    report = bench_report.Report(
        RUN,
        [row("a", 0.5), row("b", 2.0), row("p", 0.01, "max_pool2d"), row("dw31_x", 0.04), lost],
        [PEAK],
    )
    [line] = report.means
    assert "geomean ratio fprop: 1.000 of 2 layers" in line
    assert "(0.141 of 4 with pooling and dw31)" in line
    assert "most 2.00 b" in line
    assert "1 not counted: noise" in line


@pytest.fixture
def _no_ceilings(monkeypatch):
    from refconv.harness import ceilings

    monkeypatch.setattr(ceilings, "measure", lambda *a: PEAK)


@pytest.mark.usefixtures("_no_ceilings")
def test_a_run_from_the_command_line_to_the_table(capfd, tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "steady_allocator", lambda: "kept")
    path = tmp_path / "r.jsonl"
    argv = ["bench", CASE, "--backend", OURS, "--batch", "1,2", "--passes", "fprop,dgrad",
            "--budget", "0", "--records", str(path)]  # fmt: skip
    assert cli.main(argv) == 0
    out, err = capfd.readouterr()
    first, heads, *body = out.splitlines()
    assert first.startswith("✔ 4 timings of 2 layers, each verified")
    assert heads.split() == ["layer", "torch", "ours", "ratio", "way", "accuracy", "algorithm",
                             "rate", "%", "noise"]  # fmt: skip
    assert any(line.lstrip().startswith("geomean ratio dgrad fast") for line in body)
    found = list(read(path))
    assert isinstance(found[0], Environment)
    assert [isinstance(r, Ceilings) for r in (found[1], found[-1])] == [True, True]
    assert f"records: {len(found) - 3} appended" in err


@pytest.mark.usefixtures("_no_ceilings")
def test_an_interruption_keeps_the_records_and_shows_them(capfd, tmp_path, monkeypatch):
    real = bench.bench

    def stopped(case, options):
        if case.problem.batch == 2:
            raise KeyboardInterrupt
        return real(case, options)

    monkeypatch.setattr(bench, "bench", stopped)
    path = tmp_path / "r.jsonl"
    argv = ["bench", CASE, "--batch", "1,2", "--budget", "0", "--backend", OURS]
    code = cli.main([*argv, "--records", str(path)])
    out, err = capfd.readouterr()
    assert code == 130
    assert "geomean ratio" in out
    assert "interrupted after 3 records are kept in" in err
    assert sum(isinstance(r, Bench) for r in read(path)) == 3
    assert path.read_bytes().endswith(b"\n")


@pytest.mark.parametrize(
    ("argv", "words", "code"),
    [
        (["--accuracy", "fine"], "--accuracy: must be strict or fast or both", 2),
        (["--passes", "forward"], "--passes: must be among fprop", 2),
        (["--clock", "thread"], "add --threads 1", 2),
        (["--only", "nothing_like_it"], "--only nothing_like_it: fits none", 2),
        (["--batch", "0"], "--batch: must be whole numbers above 0", 2),
        (["--backend", "torch"], "torch is timed anyway", 2),
        (["--backend", "nmba"], "unknown backend 'nmba'", 2),
        (["--backend", "cupy"], "cupy", 3),
        (["--peers", "mkl"], "--peers: must be among onnxruntime, jax", 2),
        (["--allocator", "jemalloc"], "--allocator: must be steady or default", 2),
        (["--save", "x", "--no-records"], "exclude each other", 2),
        (["no_such_set"], "no set of cases 'no_such_set'", 2),
    ],
)
def test_a_mistake_is_one_line(capfd, monkeypatch, argv, words, code):
    monkeypatch.setattr(environment, "steady_allocator", lambda: "kept")
    assert cli.main(["bench", "--no-records", *argv]) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert words in err
    assert err.count("\n") == 1


def test_records_of_a_benchmark_are_read_back(tmp_path):
    made = race.timed(ROW, taken([1] * 6), taken([2] * 6))
    path = tmp_path / "r.jsonl"
    path.write_bytes(b"".join(encode(r) + b"\n" for r in (RUN, PEAK, made)))
    assert list(read(path)) == [RUN, PEAK, made]
