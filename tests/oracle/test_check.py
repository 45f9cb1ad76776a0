"""check_function: what is wrong is flagged, what is legal is not, and the report says why."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F

from refconv.errors import UsageError
from refconv.oracle import check_function

from ..conftest import PROFILE
from .faults import FAULTS
from .legal import LEGAL

#: Faults that only other dtypes than float32 show.
NARROW = {
    "N03": "bfloat16", "N05": "float16", "N07": "float16", "B02": "float16", "D13": "int64",
    "F09": "int8", "E08": "int32",
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


@pytest.mark.parametrize("fault", first_rows(), ids=lambda f: f"{f.id}-{f.op}")
def test_a_listed_fault_is_flagged(fault):
    given = {"dtypes": dtypes(fault), "drawn": 0, "stop": 2, "explain": False, "budget": 120}
    report = check_function(fault.function, fault.op, **given)
    assert report.flagged, f"{fault.id} {fault.text}: {report.ran} calls, all consistent"


LEGAL_HERE = [row for row in LEGAL if row.op == "conv2d" and row.work >= 10**6][::12]


@pytest.mark.parametrize("row", LEGAL_HERE, ids=lambda row: row.name)
def test_a_legal_implementation_is_not_flagged(row):
    given = {"dtypes": row.dtypes[:1], "drawn": 30, "seed": 3, "budget": 120}
    report = check_function(row.fn, row.op, **row.declared, **given)
    assert not report.flagged, (report.reason, report.diagnosis, report.failing[:1])
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
    return check_function(dilated, "conv2d", dtypes=("float32",), drawn=0, seed=1)


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
    given = {"dtypes": ("float32",), "seed": 5, "drawn": 60, "edge": False}
    made = [check_function(dilated, "conv2d", **given) for _ in range(2)]
    first, second = (r.changed(seconds=0, failing=()) for r in made)
    assert first == second


def test_what_is_refused_is_not_wrong():
    def narrow(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        if groups > 1 or isinstance(padding, str) or input.dim() == 3:
            raise NotImplementedError("not yet")
        return F.conv2d(input, weight, bias, stride, padding, dilation)

    report = check_function(narrow, "conv2d", dtypes=("float32",), drawn=0)
    assert not report.flagged, [(o.case, o.findings) for o in report.failing]
    assert {"groups", "padding='same'", "no batch axis"} <= set(report.unsupported)


def test_what_is_refused_only_sometimes_is_wrong():
    def moody(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        if groups > 1 and bias is None:
            raise NotImplementedError("not like this")
        return F.conv2d(input, weight, bias, stride, padding, dilation, groups)

    report = check_function(moody, "conv2d", dtypes=("float32",), drawn=0, explain=False)
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
