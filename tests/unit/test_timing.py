"""Timing: the order of calls and the arithmetic; nothing here measures anything."""

import pytest

from refconv.harness import environment, timing
from refconv.harness.candidates import Candidate
from refconv.harness.timing import Samples, interleave, ratio


class FakeTimer:
    """Runs the call as often as asked and reports the seconds that it claims to take."""

    name = "fake"

    def __init__(self, seconds):
        self.seconds = seconds

    def time(self, call, calls):
        names = [call() for _ in range(calls)]
        return self.seconds[names[0]] * 1e9


def run(seconds, **options):
    log = []
    calls = {name: (lambda n=name: log.append(n) or n) for name in seconds}
    options = {"pause": lambda s: log.append("pause"), "lost": lambda: 0} | options
    return interleave(calls, FakeTimer(seconds), **options), log


def test_candidates_take_turns_with_a_pause_and_an_untimed_call_before_each():
    samples, log = run({"a": 1.0, "b": 2.0}, budget=0, rounds=(2, 2))
    warm_up, rounds = log[:8], log[8:]
    assert warm_up == ["a"] * 4 + ["b"] * 4
    assert rounds == ["pause", "a", "a", "pause", "b", "b"] * 2
    assert samples["a"].ns == (1e9, 1e9)


def test_short_calls_are_repeated_until_a_sample_is_long_enough():
    samples, _ = run({"short": 1e-5, "long": 1.0}, budget=0, sample=1e-3)
    assert (samples["short"].calls, samples["long"].calls) == (100, 1)


def test_the_budget_decides_between_the_least_and_the_most_rounds():
    for budget, expected in ((0, 5), (0.05, 22), (100, 31)):
        samples, _ = run({"a": 1e-3}, budget=budget, gap=2e-4, sample=0)
        assert len(samples["a"].ns) == pytest.approx(expected, abs=1)


def test_rounds_in_which_the_processor_was_lost_are_kept_but_not_counted():
    lost = iter([0, 0, 0, 2e8, 2e8, 2e8, 2e8, 2e8, 2e8, 2e8])  # 0.2 of the second of round 2
    samples, _ = run({"a": 1.0}, budget=0, rounds=(5, 5), lost=lambda: next(lost))
    assert samples["a"].clean == (True, False, True, True, True)
    assert len(samples["a"].counted) == 4
    assert not samples["a"].busy


def test_more_rounds_are_made_for_disturbed_ones_within_the_budget():
    count = iter(range(0, 10**12, 10**9))
    samples, _ = run({"a": 1e-6}, budget=60, rounds=(3, 4), lost=lambda: next(count))
    assert len(samples["a"].ns) == 12  # three times the plan, then it gives up
    assert samples["a"].busy
    assert len(samples["a"].counted) == 12


def make(*ns, clean=None):
    return Samples("fake", 1, tuple(map(float, ns)), clean or (True,) * len(ns))


def test_the_ratio_is_the_median_of_ratios_within_rounds():
    ours, theirs = make(10, 30, 90), make(10, 20, 30)
    assert ratio(ours, theirs) == 1.5  # of 1, 1.5, 3; the ratio of medians is 1.5 too …
    assert ratio(make(10, 90, 30), theirs) == 1.0  # … of 1, 4.5, 1: here it would be 1.5


def test_median_and_quartiles():
    samples = make(1, 2, 3, 4, 100)
    assert samples.median == 3
    assert samples.iqr == 2
    assert make(7).iqr == 0


def measured(seconds, **options):
    calls = {Candidate(name, "cpu"): (lambda n=name: n) for name in seconds}
    options = {"budget": 0, "rounds": (1, 1), "clock": FakeTimer(seconds)} | options
    return {c.backend: t for c, t in timing.measure(calls, "cpu", **options).items()}


def test_candidates_are_timed_beside_torch_and_naive_once(monkeypatch):
    monkeypatch.setattr(timing, "rest", lambda gap: None)
    monkeypatch.setattr(timing, "waited", lambda: 0)
    found = measured({"naive": 6.0, "numba:direct": 1.0, "torch": 2.0}, rounds=(3, 3))
    assert {name: t.vs_torch for name, t in found.items()} == {
        "naive": 3.0, "numba:direct": 0.5, "torch": 1.0,
    }  # fmt: skip
    assert [len(found[name].samples_ns) for name in ("naive", "torch")] == [1, 3]
    assert found["torch"].median_ns == 2e9
    assert not any(t.busy for t in found.values())
    assert measured({"naive": 6.0})["naive"].vs_torch is None
    assert measured({}) == {}


def test_a_ratio_to_disturbed_times_of_torch_is_not_to_be_trusted():
    calm, disturbed = make(10), make(10, 20, 30, clean=(False,) * 3)
    assert timing._record(calm, disturbed, alone=True).busy
    assert not timing._record(calm, calm, alone=True).busy
    assert not timing._record(calm, None, alone=False).busy


def test_threads_are_equal_and_the_allocator_is_named():
    threads = environment.equal_threads()
    assert len(set(threads.values())) == 1
    assert environment.steady_allocator()


def test_there_is_a_clock_for_each_device():
    assert timing.timer("cpu").name == "perf_counter"
    assert timing.timer("cuda").name == "cuda_events"
