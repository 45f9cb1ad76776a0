"""Where cases run changes nothing: here, in a pool, on Ray; with dead workers; after a stop."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache

import msgspec
import pytest

from refconv.errors import UsageError
from refconv.oracle import target
from refconv.oracle.check import checking, engine, ray_engine
from refconv.oracle.check.journal import Journal

FUNCTIONS = "tests.oracle.engine_functions"


def job(name: str):
    made = checking.job_of(f"{FUNCTIONS}:{name}", "unfold", dtypes=("float32",), drawn=20)
    return replace(made, seed=1)


def outcomes(job, workers, journal=None, budget=300.0):
    """What a run gives, without the times."""
    journal = journal or Journal(None)
    known = journal.begin(job)
    seen = {o.index for o in known}
    left = [i for i in range(len(job.cases)) if i not in seen]
    found = list(known)
    for outcome in workers.run(job, left, time.monotonic() + budget):
        journal.write(outcome)
        found.append(outcome)
    return [msgspec.structs.replace(o, seconds=0.0) for o in sorted(found, key=lambda o: o.index)]


@cache
def here(name: str):
    """What a run in this process gives of ``name``, or of torch: the cases are the same."""
    made = job("wrong")
    return outcomes(replace(made, target="torch") if name == "torch" else made, engine.Here())


@pytest.fixture(scope="module")
def pool():
    made = engine.Pool(2)
    yield made
    made.close()


@pytest.fixture(scope="module")
def ray():
    made = ray_engine.Ray(workers=2)
    yield made
    made.close()


@pytest.fixture(params=["pool", "ray"])
def workers(request):
    return request.getfixturevalue(request.param)


def test_the_same_outcomes_everywhere(workers):
    assert {"wrong", "consistent"} <= {o.status for o in here("wrong")}
    assert outcomes(job("wrong"), workers) == here("wrong")


DIES_ONCE = """
import os, signal
from pathlib import Path
import torch.nn.functional as F

def unfold(input, kernel_size, dilation=1, padding=0, stride=1):
    mark = Path(__file__).with_name("mark")
    if kernel_size == (1, 2) and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return F.unfold(input, kernel_size, dilation, padding, stride)
"""


def test_a_killed_worker_loses_nothing(workers, tmp_path):
    (tmp_path / "dies_once.py").write_text(DIES_ONCE)
    deadly = replace(job("wrong"), target=f"{tmp_path}/dies_once.py:unfold")
    assert outcomes(deadly, workers) == here("torch")
    assert (tmp_path / "mark").exists()


def test_the_call_that_kills_is_named():
    workers = engine.Pool(2)
    found = outcomes(job("dies"), workers)
    workers.close()
    deadly = [o for o in found if o.findings and o.findings[0].kind == "crash"]
    assert len(found) == len(job("dies").cases)
    assert deadly
    assert all("stride=(3, 4)" in o.case for o in deadly)
    assert [o for o in found if o not in deadly] == [
        o for o in here("torch") if o.index not in {d.index for d in deadly}
    ]


def test_a_stopped_run_goes_on_where_it_was(tmp_path):
    path = tmp_path / "records.jsonl"
    whole = here("wrong")
    first = Journal(path)
    began = job("wrong")
    first.begin(began)
    for outcome in engine.Here().run(began, range(30), time.monotonic() + 60):
        first.write(outcome)
    first.close()
    with path.open("ab") as file:
        file.write(b'{"type": "outcome", "ind')  # the line that was being written
    ran: list[int] = []

    class Counting(engine.Here):
        def run(self, job, indices, deadline):
            ran.extend(indices)
            return super().run(job, indices, deadline)

    assert outcomes(job("wrong"), Counting(), Journal(path, resume=True)) == whole
    assert ran == list(range(30, len(whole)))
    other = Journal(path, resume=True)  # another seed is another job: nothing is known of it
    assert other.begin(replace(job("wrong"), seed=2)) == []


def test_a_file_that_is_no_journal_is_refused(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text('{"type": "shopping", "milk": 2}\n')
    with pytest.raises(UsageError, match="line 1: no record"):
        Journal(path, resume=True)


def test_the_budget_ends_a_run_and_the_report_says_so():
    loaded = target.load(f"{FUNCTIONS}:wrong", "unfold")
    report = checking.examine(
        job("wrong"), loaded.function, engine.Here(), Journal(None), 0.02, "wrong"
    )
    assert report.ran < report.planned
