"""check_function: what is wrong is flagged, what is legal is not, and the report says why."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F

from refconv.errors import UsageError
from refconv.oracle import check_function
from refconv.oracle.check import checking, engine, script
from refconv.oracle.check.journal import Journal

from ..conftest import PROFILE
from .faults import FAULTS
from .legal import LEGAL

#: Faults that only other dtypes than float32 show.
NARROW = {
    "N03": "bfloat16", "N05": "float16", "N07": "float16", "B02": "float16", "D13": "int64",
    "F09": "int8", "E08": "int32",
}  # fmt: skip
#: What the cases say of themselves that show a fault late in a run.
LESSONS = {
    "B04": "second: stride", "D13": "int64: ", "E01": "refused: kernel larger",
    "E03": "refused: negative blocks", "F05": "one infinity in weight", "F07": "windows of zeros",
    "G03": "everything unequal, grouped", "K02": "stride beyond the kernel",
    "K12": "stride beyond the kernel", "L02": "channels_last: thin", "L10": "gradient expanded",
    "N05": "float16: 15 channels", "O04": "65537", "R01": "the same bits every time",
    "S03": "rows of 2**24 + 2",
}  # fmt: skip


def first_rows():
    """One row of every second listed fault; with REFCONV_TESTS=thorough of all."""
    rows = {}
    for fault in FAULTS:
        rows.setdefault(fault.id, fault)
    return list(rows.values())[:: 1 if PROFILE == "thorough" else 2]


def dtypes(fault):
    """As few as show it, so that the suite stays fast; all are tried by default."""
    narrow = NARROW.get(fault.id)
    return ("float32", narrow) if narrow else ("float32",)


class Lesson(engine.Here):
    """The cases that were written for a fault, then every tenth of the others: fewer than
    check_function runs, so what is flagged here is flagged there, and by what is meant to.
    """

    def __init__(self, function, why):
        super().__init__(function)
        self.why = why

    def run(self, job, indices, deadline):
        own = [i for i in indices if self.why in job.cases[i].why]
        assert own, f"no case says {self.why!r}"
        return super().run(job, [*own, *sorted(set(indices[::10]) - set(own))], deadline)


def engine_for(fault):
    why = None if PROFILE == "thorough" else LESSONS.get(fault.id)
    return engine.Here(fault.function) if why is None else Lesson(fault.function, why)


@pytest.mark.parametrize("fault", first_rows(), ids=lambda f: f"{f.id}-{f.op}")
def test_a_listed_fault_is_flagged(fault):
    job = checking.job_of("", fault.op, dtypes=dtypes(fault), drawn=0)
    report = checking.examine(
        job, fault.function, engine_for(fault), Journal(None), 120, fault.id,
        stop=2, explain=False,
    )  # fmt: skip
    assert report.flagged, f"{fault.id} {fault.text}: {report.ran} calls, all consistent"


class Third(engine.Here):
    """Every third case of a job, from ``start`` on; all with REFCONV_TESTS=thorough."""

    def __init__(self, function, start=0):
        super().__init__(function)
        self.part = slice(None) if PROFILE == "thorough" else slice(start, None, 3)

    def run(self, job, indices, deadline):
        return super().run(job, indices[self.part], deadline)


def report_of_a_third(function, start=0, job=None, explain=False):
    """check_function's report, of conv2d if no job is given, on every third case."""
    job = job or checking.job_of("", "conv2d", dtypes=("float32",), drawn=0)
    name = script.name(function)
    here = Third(function, start)
    return checking.examine(job, function, here, Journal(None), 120, name, explain=explain)


LEGAL_HERE = [row for row in LEGAL if row.op == "conv2d" and row.work >= 10**6][::12]


@pytest.mark.parametrize("start", range(len(LEGAL_HERE)), ids=lambda i: LEGAL_HERE[i].name)
def test_a_legal_implementation_is_not_flagged(start):
    """Each on another third of the cases."""
    row = LEGAL_HERE[start]
    job = checking.job_of("", row.op, dtypes=row.dtypes[:1], drawn=30, seed=3, **row.declared)
    report = report_of_a_third(row.fn, start, job)
    assert not report.flagged, (report.reason, report.failing[:1])
    assert report.verdicts["consistent"] > 300


def dilated(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    if groups > 1:  # dilation is forgotten, the output has the right size
        y = F.conv2d(input, weight, bias, stride, padding, dilation, groups)
        return F.pad(F.conv2d(input, weight, bias, stride, padding, 1, groups), (0, 9, 0, 9))[
            ..., : y.shape[-2], : y.shape[-1]
        ]
    return F.conv2d(input, weight, bias, stride, padding, dilation, groups)


@pytest.fixture(scope="module")
def report():
    return report_of_a_third(dilated, explain=True)


def test_the_report_names_the_cause(report):
    assert report.flagged
    assert report.verdict == "wrong"
    assert "dilation" in report.diagnosis
    assert "groups" in report.diagnosis
    assert report.verdicts["consistent"] > report.verdicts["wrong"] > 0


def test_the_repro_needs_no_refconv(report):
    lines = report.repro.strip().splitlines()
    assert len(lines) < 15
    assert "refconv" not in report.repro.partition("\n")[2].replace("tests.oracle", "")
    with pytest.raises(AssertionError):
        exec(report.repro.replace("from tests.oracle.test_check import dilated", ""),
             {"dilated": dilated})  # fmt: skip


def test_the_report_is_printed_and_saved(report):
    from rich.console import Console

    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(report)
    text = console.export_text()
    assert text.splitlines()[0].startswith(
        "✘ tests.oracle.test_check:dilated as conv2d: PROVEN WRONG in"
    )
    assert max(map(len, text.splitlines())) <= 100
    assert "<pre>" in report._repr_html_()
    document = json.loads(report.to_json())
    assert document["schema"] == "refconv.check/1"
    assert document["faults"] == report.faults


def test_the_same_seed_gives_the_same_report():
    given = {"dtypes": ("float32",), "seed": 5, "drawn": 40, "edge": False}
    made = [check_function(dilated, "conv2d", **given) for _ in range(2)]
    assert made[0].flagged
    first, second = (r.changed(seconds=0, failing=()) for r in made)
    assert first == second


def test_what_is_refused_is_not_wrong():
    def narrow(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        if groups > 1 or isinstance(padding, str) or input.dim() == 3:
            raise NotImplementedError("not yet")
        return F.conv2d(input, weight, bias, stride, padding, dilation)

    report = report_of_a_third(narrow)
    assert not report.flagged, [(o.case, o.findings) for o in report.failing]
    assert {"groups", "padding='same'", "no batch axis"} <= set(report.unsupported)


def test_what_is_refused_only_sometimes_is_wrong():
    def moody(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        if groups > 1 and bias is None:
            raise NotImplementedError("not like this")
        return F.conv2d(input, weight, bias, stride, padding, dilation, groups)

    report = report_of_a_third(moody)
    assert report.flagged
    assert all(f.kind == "error" for o in report.failing for f in o.findings)


def test_a_function_that_never_runs_is_flagged():
    report = check_function(lambda *args, **more: 1 / 0, "unfold", drawn=0, dtypes=("float32",))
    assert report.flagged


def test_usage_errors():
    with pytest.raises(UsageError, match="there is no op 'conv4d'"):
        check_function(F.conv2d, "conv4d")
    with pytest.raises(UsageError, match="not defined for float7"):
        check_function(F.conv2d, "conv2d", dtypes=("float7",))


def test_memory_and_aliases_are_watched():
    kept = torch.empty(0)

    def shares(input, kernel_size, dilation=1, padding=0, stride=1):
        nonlocal kept
        y = F.unfold(input, kernel_size, dilation, padding, stride)
        if kept.shape == y.shape and kept.dtype == y.dtype and not y.requires_grad:
            return kept.copy_(y)
        kept = y.detach()
        return y

    def scribbles(input, kernel_size, dilation=1, padding=0, stride=1):
        y = F.unfold(input, kernel_size, dilation, padding, stride)
        if input.is_contiguous() and input.numel():
            input.detach().as_strided((1,), (1,), input.storage_offset() + input.numel()).fill_(7)
        return y

    for function, kind in ((shares, "alias"), (scribbles, "memory")):
        report = check_function(function, "unfold", dtypes=("float32",), drawn=0, explain=False)
        assert any(f.kind == kind for o in report.failing for f in o.findings), kind
