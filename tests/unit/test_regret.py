"""What a benchmark of all algorithms comes to, and bounds that are computed once."""

import pytest

from refconv.cli import bench_tables
from refconv.harness import bench, judging, race, regret, remembering, timing
from refconv.harness.cases import load
from refconv.harness.compare import make_trials
from refconv.harness.records import Bench

CASE = "conv2d x[2,3,9,9] w[4,3,3,3] b p1"
ROW = Bench(case="a", label="l", op="conv2d", way="fprop", backend="numba", status="ok")


def taken(ns, clean):
    ns = tuple(map(float, ns))
    return race.Taken(timing.Samples("fake", 1, ns, clean), None)


def algorithm(name, ns, accuracy="strict", chosen=(), clean=(True,) * 6):
    made = race.timed(ROW, taken(ns, clean), taken([1] * 6, clean))
    return bench.changed(made, algorithm=name, accuracy=accuracy, chosen=chosen)


def test_regret_is_of_the_same_rounds_and_of_what_the_accuracy_allows():
    drift = [1, 2, 3, 4, 5, 6]
    rows = [
        algorithm("direct", [1.3 * x for x in drift], chosen=("strict",)),
        algorithm("rows", drift),
        algorithm("winograd_f4", [0.5 * x for x in drift], "fast", chosen=("fast",)),
    ]
    [strict], hidden = regret.regrets([("a", rows)], "strict")
    assert (strict.chosen, strict.fastest, hidden) == ("direct", "rows", [])
    assert strict.times == pytest.approx(1.3)
    [fast], _ = regret.regrets([("a", rows)], "fast")
    assert (fast.chosen, fast.fastest, fast.times) == ("winograd_f4", "winograd_f4", 1)


def test_the_summary_counts_and_names_the_worst_layers():
    def layer(case, cost):
        made = [algorithm("direct", [cost] * 6, chosen=("strict",)), algorithm("rows", [1] * 6)]
        return [bench.changed(r, case=case, label=case) for r in made]

    noisy = algorithm("direct", [9] * 6, chosen=("strict",), clean=(True,) * 5 + (False,))
    rows = [*layer("good", 1.01), *layer("bad", 1.5), *layer("worse", 2), noisy]
    head, *worst = bench_tables.regret_lines(rows)
    assert head.startswith("strict: the choice is the fastest, within 2 %, in 1 of 3 layers")
    assert "regret geomean 1.447, most 2.00" in head
    assert head.endswith("1 not counted: noise")
    assert worst == [
        "  2.00 worse: direct was chosen, rows is faster",
        "  1.50 bad: direct was chosen, rows is faster",
    ]


def test_a_bound_is_computed_once(monkeypatch):
    problem = load(CASE)[0].problem
    [e] = make_trials(problem, judging.Options())[0].expected
    kept = remembering.remembered(e)
    first = kept.bound(algorithm="winograd_f2")
    assert kept.bound(algorithm="winograd_f2") is first
    assert kept.bound() is not first
    assert kept.noise() is kept.noise()
    monkeypatch.setattr(remembering, "MOST", 8)
    assert remembering.remembered(e) is e
