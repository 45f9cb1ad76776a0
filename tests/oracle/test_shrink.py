"""Shrinking and scripts: planted faults end at the smallest call that shows them, and the script
of it fails on the faulty function and on no right one, in a process that knows nothing of refconv.
"""

import json
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache
from math import prod
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from refconv import label as labels
from refconv.ops import OPS
from refconv.oracle.check import drawn, literal, script, smaller
from refconv.oracle.check.case import Case, formula
from refconv.oracle.check.directed_conv import conv
from refconv.oracle.check.directed_pool import pool
from refconv.oracle.check.layouts import LAYOUTS, lay_out
from refconv.oracle.check.shrink import failures, shrink
from refconv.oracle.check.trial import Settings, attempt

from . import wrappers

CPU = Settings()


def unequal(op="conv2d", **more):
    """A convolution with everything that a call can have."""
    usual = {
        "stride": (1, 2), "padding": [2, 1], "dilation": (1, 2), "g": 2, "c": 3, "k": 2,
        "size": (7, 11),
    }  # fmt: skip
    return conv(op, "", **usual | more)


#: Wrapper → the call to start from, and what its smallest call is: shapes, cells that are not
#: zero at most, and what else it must have.
ROWS = {
    "dilation_ignored": (unequal(), ((1, 1, 1, 3), (1, 1, 1, 2)), 2, {"dilation"}),
    "last_column_dropped": (unequal(grad="random"), ((1, 1, 1, 1), (1, 1, 1, 1)), 0, set()),
    "first_group_again": (
        unequal(layouts=("sliced", "permuted", "offset")),
        ((1, 2, 1, 1), (2, 1, 1, 1)),
        2,
        {"groups"},
    ),
    "from_channel_17": (
        conv("conv2d", "", c=65, k=5, n=1, size=(4, 5), kernel=(2, 3), grad="random"),
        ((1, 17, 1, 1), (1, 17, 1, 1)),
        2,
        set(),
    ),
    "remainder_in_backward": (
        unequal(grad="random", size=(7, 12)),
        ((1, 1, 1, 2), (1, 1, 1, 1)),
        0,
        {"stride", "gradient of input"},
    ),
    "expanded_gradient": (
        unequal(grad="expanded"), ((1, 1, 1, 1), (1, 1, 1, 1)), 1, {"gradient of input"},
    ),
    "channels_last_only": (
        unequal(layouts=("channels_last",) * 3),
        ((1, 2, 2, 1), (1, 2, 1, 1)),
        2,
        {"channels_last memory"},
    ),
    "nan_passed_over": (
        pool("max_pool2d", "", values="special", padding=(1, 1), kernel_size=(3, 3)),
        ((1, 1, 1, 1),),
        1,
        set(),
    ),
    "output_padding_is_zero": (
        unequal("conv_transpose2d", size=(3, 4), stride=(3, 2), output_padding=(2, 1)),
        ((1, 1, 1, 1), (1, 1, 1, 1), (1,)),
        1,
        {"output_padding", "stride"},
    ),
    "ceil_mode_ignored": (
        pool("avg_pool2d", "", ceil_mode=True, stride=(2, 3), padding=(1, 2), kernel_size=(3, 4),
             size=(10, 9)),
        ((1, 1, 1, 3),),
        0,
        {"ceil_mode"},
    ),
    "index_off": (
        pool("max_pool2d", "", return_indices=True, dilation=(1, 3), stride=(1, 2)),
        ((1, 1, 1, 1),),
        0,
        {"return_indices"},
    ),
    "too_small_accepted": (
        Case("conv2d", ((2, 3, 1, 1), (4, 3, 3, 4), (4,)), ()),
        ((1, 1, 1, 1), (1, 1, 1, 2)),
        0,
        set(),
    ),
    "in_bfloat16": (unequal(), ((1, 1, 1, 1), (1, 1, 1, 1)), 2, set()),
    "writes_to_its_weight": (unequal(), ((1, 1, 1, 1), (1, 1, 1, 1)), 0, set()),
    "three_images_refused": (unequal(n=9), ((3, 1, 1, 1), (1, 1, 1, 1)), 0, set()),
    "other_error_when_narrow": (unequal(), ((1, 1, 1, 3), (1, 1, 1, 1)), 2, set()),
}  # fmt: skip
#: Wrappers whose smallest call is not one certain call.
LOOSE = {
    "weight_kept": replace(unequal(), way="again", earlier=(("padding", (0, 1)),)),
    "padding_kept": replace(unequal(), way="again", earlier=(("padding", (0, 1)),)),
    "many_numbers": conv("conv2d", "", n=1, size=(3, 4), kernel=(2, 2)),
}


@cache
def smallest(name: str) -> Case:
    start = LOOSE.get(name) or ROWS[name][0]
    return shrink(getattr(wrappers, name), start, CPU, seconds=20)


@cache
def written(name: str) -> str:
    return script.script(f"wrappers:{name}", smallest(name), CPU, getattr(wrappers, name))


@pytest.mark.parametrize("name", ROWS)
def test_the_smallest_call_is_found(name):
    start, shapes, most, features = ROWS[name]
    found, function = smallest(name), getattr(wrappers, name)
    sizes = [tuple(sorted(s[:2])) + tuple(sorted(s[2:])) for s in found.shapes]
    assert sizes == [tuple(sorted(s[:2])) + tuple(sorted(s[2:])) for s in shapes], found
    assert found.features == features, found
    assert sum(len(kept) for kept in found.nonzero if kept) <= most, found.nonzero
    assert bool(found.refusal) == bool(start.refusal)
    kinds = failures(attempt(function, found, CPU))
    assert kinds
    assert kinds <= failures(attempt(function, start, CPU))


def test_what_an_earlier_call_left_is_needed():
    found = smallest("weight_kept")
    assert found.way == "again"
    assert not found.earlier
    assert max(map(prod, found.shapes)) <= 4
    found = smallest("padding_kept")
    assert found.way == "again"
    assert dict(found.earlier)["padding"] != dict(found.kwargs).get("padding", 0)


def test_a_call_that_fails_only_after_others_becomes_two_calls():
    kept = {}

    def function(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        padding = kept.setdefault((input.shape, weight.shape), padding)
        return F.conv2d(input, weight, bias, stride, padding, dilation, groups)

    case = unequal()
    function(*case.arrays(), groups=2)
    found = shrink(function, case, CPU)
    assert found.way == "again"
    assert dict(found.earlier)["padding"] != dict(found.kwargs).get("padding", 0)
    assert max(map(prod, found.shapes)) <= 4


def test_many_numbers_become_a_formula():
    found = smallest("many_numbers")
    assert found.values == "ramp"
    assert found.nonzero == (None, ())


@pytest.mark.parametrize("name", [*ROWS, *LOOSE])
def test_a_script_is_short_and_needs_nothing_of_ours(name):
    text = written(name)
    lines = text.splitlines()
    assert 0 < len(lines) < 15
    assert max(map(len, lines)) <= 100
    assert "refconv" not in text
    assert "alone it does not" not in text


_RUN = """
import contextlib, io, json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
found = {}
for path in sorted(folder.glob("*.py")):
    found[path.stem] = []
    for kind in ("faulty", "right"):
        sys.modules.pop("wrappers", None)
        sys.path[0] = str(folder / kind)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(path.read_text(), {"__name__": "__main__"})
            found[path.stem].append("passed")
        except BaseException as error:
            found[path.stem].append(type(error).__name__)
found["refconv"] = "refconv" in sys.modules
print(json.dumps(found))
"""


def _folders(path: Path) -> None:
    """The faulty functions and the right ones, in modules of the same name."""
    (path / "faulty").mkdir()
    (path / "right").mkdir()
    (path / "faulty" / "wrappers.py").write_text(Path(wrappers.__file__).read_text())
    ops = {name: (LOOSE.get(name) or ROWS[name][0]).op for name in [*ROWS, *LOOSE]}
    right = [f"from torch.nn.functional import {op} as {name}\n" for name, op in ops.items()]
    (path / "right" / "wrappers.py").write_text("".join(right))


def test_scripts_fail_on_the_faulty_functions_alone(tmp_path):
    _folders(tmp_path)
    names = [*ROWS, *LOOSE]
    for name in names:
        (tmp_path / f"{name}.py").write_text(written(name))
    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(tmp_path)], capture_output=True, text=True, cwd=tmp_path
    )
    found = json.loads(done.stdout)
    assert found.pop("refconv") is False
    assert found == {key: ["AssertionError", "passed"] for key in names}


def test_a_script_of_a_function_in_a_file_runs_by_itself(tmp_path):
    _folders(tmp_path)
    name = "first_group_again"
    where = tmp_path / "faulty" / "wrappers.py"
    text = script.script(f"{where}:{name}", smallest(name), CPU)
    (tmp_path / "repro.py").write_text(text)
    done = subprocess.run([sys.executable, tmp_path / "repro.py"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "AssertionError" in done.stderr
    assert "got 1.0 want 0.0" in done.stdout


def test_the_same_call_every_time():
    start, function = ROWS["dilation_ignored"][0], wrappers.dilation_ignored
    assert shrink(function, start, CPU) == smallest("dilation_ignored")


def test_a_right_call_stays_as_it_is():
    assert shrink(F.conv2d, unequal(), CPU, seconds=1) == unequal()
    assert script.script("torch", unequal(), CPU) == ""


def test_no_call_becomes_too_large():
    """Without its stride this one has 2**124 windows."""
    numbers = (("kernel_size", 2), ("stride", 2**62), ("padding", 2**62))
    found = shrink(lambda *args, **more: torch.zeros(1), Case("unfold", ((2, 3, 5, 6),), numbers),
                   CPU, seconds=1)  # fmt: skip
    assert max(map(prod, found.shapes)) == 1


def test_a_failure_that_comes_and_goes_ends():
    """The last call that was seen to fail is the answer."""
    coin = torch.Generator().manual_seed(0)
    failed = []

    def sometimes(input, *args, **numbers):
        y = F.conv2d(input, *args, **numbers)
        bad = bool(torch.rand((), generator=coin) < 0.5)
        if bad:
            failed.append(tuple(input.shape))
        return y + 1 if bad else y

    began = time.monotonic()
    found = shrink(sometimes, unequal(), CPU, seconds=1)
    assert time.monotonic() - began < 3
    assert found.shapes[0] in failed


@pytest.mark.parametrize("op", [op for op in OPS if OPS[op].rank != 1])
def test_numbers_make_the_case_again_and_smaller_ones_are_right_calls(op):
    for case in drawn.collect(op, 8, 5, ("float32",)):
        case = replace(
            case, layouts=(), grad=case.grad and "random"
        )  # torch refuses some memory formats
        numbers = smaller.read(case)
        assert smaller.rebuilt(case, numbers) == case
        for step in smaller.steps(case)[::4]:
            for variant in list(smaller.variants(case, step))[:2]:
                total = sum(map(prod, variant.shapes))
                assert total <= sum(map(prod, case.shapes)) or case.kind == "fold", variant
                if not variant.refusal:
                    outcome = attempt(getattr(F, op), variant, CPU)
                    assert outcome.status == "consistent", outcome


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.complex64])
def test_arrays_are_written_exactly(layout, dtype):
    one = torch.zeros(2, 3, 5, 2)
    one[1, 0, 0, 1] = 0.1
    special = torch.tensor([torch.nan, -torch.inf, -0.0, 7.0]).view(1, 2, 2, 1)
    ramp = formula((3, 4, 5, 2), torch.float32, "ramp", 15, 4)
    for dense in (one, ramp, special) if dtype.is_floating_point else (10 * one, ramp):
        a = lay_out(dense.to(dtype), layout)
        for short in (False, True):
            lines = literal.lines("x", a, layout, short)
            space = {"torch": torch}
            exec("\n".join(lines), space)
            made = space["x"]
            assert made.dtype == dtype
            assert made.stride() == a.stride()
            assert torch.equal(made.isnan(), a.isnan())
            assert torch.equal(made.nan_to_num(), a.nan_to_num())
            if dtype.is_floating_point:
                assert torch.equal(made.signbit()[~a.isnan()], a.signbit()[~a.isnan()])


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("torch", "from torch.nn.functional import conv2d"),
        ("my.ops:fast", "from my.ops import fast"),
        ("my.ops:Conv.run", "run = Conv.run"),
        ("src/mine.py", "from mine import conv2d"),
        ("src/mine.py:w", "from mine import w as fn"),
        ("a-b.py:fast", "fast = runpy.run_path('a-b.py')['fast']"),
        ("<lambda>", "# your function here: fn = <lambda>"),
    ],
)
def test_every_kind_of_function_is_imported(name, line):
    found = smallest("first_group_again")
    text = script.script(name, found, CPU, wrappers.first_group_again)
    assert line in text.splitlines()
    assert len(text.splitlines()) < 15


def test_functions_are_named():
    assert script.name(F.max_pool2d) == "torch"
    assert script.name(wrappers.index_off) == f"{wrappers.__name__}:index_off"
    assert script.name(lambda x: x).endswith("<lambda>")


def test_a_label_reads_back():
    found = smallest("channels_last_only")
    label, extra = script.label(found).split(", ", 1)
    assert labels.parse(label) == found.problem()
    assert extra == "input channels_last"
