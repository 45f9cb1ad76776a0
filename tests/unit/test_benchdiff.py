"""``refconv bench diff``: what counts as a change, on planted series."""

import numpy as np
import pytest
from msgspec.structs import replace

from refconv import cli
from refconv.harness import benchdiff
from refconv.harness.records import BENCH, Bench, Environment, Timing, encode

RUN = Environment(
    command="refconv bench", started="2026", python="3.11",
    versions={"torch": "2", "numpy": "2", "numba": "0.6"}, cpu="x", cores=2,
    threads={"torch": 2, "numba": 2}, precision={"cpu": "fp32"}, allocator="kept", schema=BENCH,
)  # fmt: skip


def row(ns, backend="numba", case="a", clean=None, timer="wall", **values):
    ns = tuple(float(x) for x in ns)
    clean = clean or (True,) * len(ns)
    made = Timing(timer=timer, calls=1, samples_ns=ns, clean=clean, busy=sum(clean) < 6,
                  median_ns=float(np.median(ns)), iqr_ns=0.0)  # fmt: skip
    return Bench(case=case, label="l", op="conv2d", way="fprop", backend=backend, status="ok",
                 accuracy="strict", algorithm="direct", timing=made, **values)  # fmt: skip


def drawn(scale, seed, clock=1.0, rounds=15, spread=0.02):
    """Torch's and our rounds: both follow the clock, which drifts."""
    rng = np.random.default_rng(seed)
    drift = clock * (1 + 0.3 * np.linspace(0, 1, rounds))
    return [row(1e6 * drift * rng.normal(1, spread, rounds), "torch"),
            row(1e6 * scale * drift * rng.normal(1, spread, rounds))]  # fmt: skip


def ours(old, new, limit=0.1):
    made = benchdiff.difference([RUN, *old], [RUN, *new], limit)
    return next(c for c in made.changes if c.key[3] == "numba")


def test_a_planted_regression_is_found_whatever_the_clock_did():
    change = ours(drawn(0.5, 1), drawn(0.6, 2, clock=0.8))
    assert change.verdict == "slower"
    assert change.by == pytest.approx(1.2, rel=0.03)
    assert change.new < change.old  # the time alone says the opposite
    assert change.beyond(0.1)
    assert not change.beyond(0.3)


def test_series_of_one_distribution_are_not_told_apart():
    verdicts = [ours(drawn(0.5, s), drawn(0.5, s + 1000)).verdict for s in range(100)]
    assert verdicts.count("~") >= 97


def test_a_significant_change_within_the_limit_does_not_fail():
    change = ours(drawn(0.5, 1), drawn(0.53, 2))
    assert change.verdict == "slower"
    assert not change.beyond(0.1)


def test_noise_hides_and_says_so():
    assert ours(drawn(0.5, 1, spread=0.3), drawn(0.5, 2, spread=0.3)).verdict == "noise"
    dirty = [row([1] * 8, b, clean=(True,) * 5 + (False,) * 3) for b in ("torch", "numba")]
    slow = [row([1] * 8, "torch"), row([2] * 8)]
    assert ours(dirty, slow).verdict == "noise"


def test_without_torch_the_time_is_compared():
    change = ours([row([10, 11, 12, 13, 14, 15])], [row([20, 21, 22, 23, 24, 25])])
    assert change.plain
    assert change.verdict == "slower"


def test_a_row_that_has_no_time_any_more_is_named():
    wrong = replace(row([1] * 6), status="wrong", reason="output: 3 of 9", timing=None)
    made = benchdiff.difference([RUN, row([1] * 6)], [RUN, wrong, row([1] * 6, case="b")], 0.1)
    assert made.changes == []
    [(key, reason)] = made.lost
    assert key[0] == "a"
    assert reason == "wrong: output: 3 of 9"
    assert [k[0] for k in made.added] == ["b"]


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("cpu", "y", "cpu: x → y"),
        ("threads", {"torch": 1, "numba": 1}, "threads"),
        ("allocator", "default", "allocator: kept → default"),
        ("governor", "powersave", "governor: – → powersave"),
        ("versions", {"torch": "3", "numpy": "2", "numba": "0.6"}, "torch: 2 → 3"),
    ],
)
def test_different_environments_are_refused(capfd, tmp_path, field, value, says):
    other = replace(RUN, **{field: value})
    code, out, err = diff(capfd, tmp_path, drawn(0.5, 1), drawn(0.5, 2), run=other)
    assert (code, out) == (2, "")
    assert says in err
    code, out, _ = diff(capfd, tmp_path, drawn(0.5, 1), drawn(0.5, 2), "--force", run=other)
    assert code == 0
    assert f"differs: {says}" in out


def test_clocks_are_not_mixed():
    made = benchdiff.difference([RUN, row([1] * 6)], [RUN, row([1] * 6, timer="thread")], 0.1)
    assert made.environment == ["clock: wall → thread"]


def diff(capfd, tmp_path, old, new, *options, run=RUN):
    paths = [tmp_path / "old.jsonl", tmp_path / "new.jsonl"]
    for path, records in zip(paths, ([RUN, *old], [run, *new]), strict=True):
        path.write_bytes(b"\n".join([*map(encode, records), b""]))
    code = cli.main(["bench", "diff", *map(str, paths), *options])
    return code, *capfd.readouterr()


@pytest.mark.parametrize(
    ("new", "options", "code", "says"),
    [
        (drawn(0.6, 2), ("--fail-over", "10%"), 1, "✘ 1 row in both: 1 slower, 0 faster, 0 ~"),
        (drawn(0.6, 2), ("--fail-over", "0.3"), 0, "1 slower"),
        (drawn(0.6, 2), (), 0, "1 slower"),
        (drawn(0.5, 2), ("--fail-over", "10%"), 0, "✔ 1 row in both: 0 slower, 0 faster, 1 ~"),
        (drawn(0.5, 2, spread=0.4), ("--fail-over", "10%"), 4, "inconclusive: noise"),
    ],
)
def test_exit_codes(capfd, tmp_path, new, options, code, says):
    old = drawn(0.5, 1, spread=0.4 if code == 4 else 0.02)
    got, out, err = diff(capfd, tmp_path, old, new, *options)
    assert says in out
    assert (got, err) == (code, "")


def test_mistakes_are_one_line(capfd, tmp_path):
    code, _, err = diff(capfd, tmp_path, [], drawn(0.5, 1))
    assert code == 2
    assert "holds no benchmark" in err
    code, _, err = diff(capfd, tmp_path, drawn(0.5, 1), drawn(0.5, 1), "--fail-over", "lots")
    assert code == 2
    assert "must be a share such as 10%" in err
    assert cli.main(["bench", "diff", "one.jsonl"]) == 2
