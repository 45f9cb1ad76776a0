"""patience: what counts as time for an explanation."""

import time

from refconv.oracle.check.patience import Patience


def test_waiting_counts_for_a_quarter_and_work_in_full(monkeypatch):
    clock = {"thread": 10.0, "wall": 100.0}
    monkeypatch.setattr(time, "thread_time", lambda: clock["thread"])
    monkeypatch.setattr(time, "monotonic", lambda: clock["wall"])
    patience = Patience(5)
    clock["wall"] += 19  # a busy machine: hardly any time of ours
    assert not patience.spent()
    assert patience.spent(1 / 2)
    clock["wall"] += 2
    assert patience.spent()
    patience = Patience(5)
    clock["thread"] += 4
    assert not patience.spent()
    clock["thread"] += 2
    assert patience.spent()
