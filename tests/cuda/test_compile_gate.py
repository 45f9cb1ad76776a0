"""Every kernel as it ships: compiled for GPUs by the compiler that would do it there, without one.

What plans launch (``planned``) is compiled for the oldest GPU that it is written for and for newer
ones: nothing may spill registers or need a stack, and registers and shared memory stay inside the
table of budgets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec

import pytest

from refconv.backends import _cuda_nvrtc as nvrtc
from refconv.backends import _cuda_source as source

from . import planned
from .budgets import BUDGETS

FILES = sorted(path.name for path in source.folder().glob("*.cu"))


def missing() -> str:
    """Why nothing can be compiled here; empty if it can."""
    if find_spec("cupy") is None:
        return "CuPy, which ships the compiler's interface, is not installed"
    try:
        from cupy.cuda import nvrtc as library

        library.getVersion()
    except Exception as error:
        return f"NVRTC cannot be loaded: {error}"
    return ""


needs_compiler = pytest.mark.skipif(bool(missing()), reason=missing())


@dataclass(frozen=True)
class Cost:
    """What the assembler says of one kernel."""

    stack: int
    spilled: int
    registers: int
    shared: int


def costs(log: str) -> dict[str, Cost]:
    """Kernel → cost, read from the assembler's messages; none is passed over.

    Raises:
        AssertionError: it compiled a kernel of which the cost cannot be read.
    """
    found = {}
    parts = log.split("Compiling entry function '")[1:]
    for part in parts:
        name = part.partition("'")[0]
        frame = re.search(
            r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part
        )
        used = re.search(r"Used (\d+) registers(.*)", part)
        assert frame, f"no stack frame is told of {name}"
        assert used, f"no registers are told of {name}"
        shared = re.search(r"(\d+) bytes smem", used[2])
        found[name] = Cost(
            int(frame[1]), int(frame[2]) + int(frame[3]), int(used[1]),
            int(shared[1]) if shared else 0,
        )  # fmt: skip
    return found


def wide(macros: source.Macros) -> source.Macros:
    """The same with offsets of 64 bits."""
    return tuple((name, "int64" if name == "OFFSET" else value) for name, value in macros)


@needs_compiler
@pytest.mark.parametrize("target", planned.TARGETS)
@pytest.mark.parametrize("file", FILES)
def test_costs_are_inside_the_budget(file: str, target: str) -> None:
    for unit in planned.chosen(file, target):
        _, log = nvrtc.compiled(file, unit.macros, target.partition(" ")[0])
        found = costs(log)
        assert sorted(found) == sorted(source.kernels(source.text(file)))
        assert "serialized" not in log, f"{dict(unit.macros)}: products wait for one another"
        for kernel in found.keys() & unit.shared.keys():
            what = f"{kernel} {dict(unit.macros)} {target}"
            judge(what, kernel, found[kernel], unit.shared[kernel])


def test_no_kernel_is_forgotten() -> None:
    """Every file and every kernel is launched by some plan, and is compiled for all that its step
    is written for; for the newest in every type, and every kind of macros or one like it.
    """
    kernels = {k for file in FILES for k in source.kernels(source.text(file))}
    assert {k for unit in planned.units() for k in unit.shared} == kernels
    for target, oldest in (("sm_75", "sm_70"), ("sm_80", "sm_80"), ("sm_90a", "sm_90a")):
        made = [unit for file in FILES for unit in planned.chosen(file, target)]
        able = [u for u in planned.units() if planned.runs(u.arch, target)]
        assert any(u.arch == oldest for u in made)
        assert {u.source for u in made} == {u.source for u in able}
    every = planned.units()
    assert {u.like for u in made} == {u.like for u in every}
    assert {(u.source, u.group) for u in made} == {(u.source, u.group) for u in every}
    assert {(u.source, u.dtype) for u in made} == {(u.source, u.dtype) for u in every}
    assert all("int64" in dict(u.macros).values() for u in planned.units(True))


def judge(what: str, kernel: str, cost: Cost, dynamic: int) -> None:
    """No stack, no spills, and not more than the table's line says."""
    budget = BUDGETS[kernel]
    assert cost.stack == 0, f"{what}: {cost.stack} bytes of stack"
    assert cost.spilled == 0, f"{what}: {cost.spilled} bytes are spilled"
    assert cost.registers <= budget.registers, f"{what}: {cost.registers} registers"
    used = cost.shared + dynamic
    assert used <= budget.shared, f"{what}: {used} bytes of shared memory"


def test_every_budget_is_of_a_kernel() -> None:
    """And every kernel has one."""
    known = [k for path in source.folder().glob("*.cu") for k in source.kernels(path.read_text())]
    assert sorted(known) == sorted(BUDGETS)


@needs_compiler
def test_a_kernel_that_costs_more_is_noticed(tmp_path) -> None:
    """The gate can fail: a stack, and a file in which nothing is compiled."""
    text = """
    extern "C" __global__ void greedy(float *y, int n) {
      float held[64];
      for (int i = 0; i < 64; i++) held[i] = y[i * n];
      for (int i = 0; i < n; i++) y[i] = held[(i * n) & 63];
    }"""
    (tmp_path / "greedy.cu").write_text(text)
    _, log = nvrtc.compiled(str(tmp_path / "greedy.cu"), (), "sm_90a")
    assert costs(log)["greedy"].stack > 0
    (tmp_path / "wrong.cu").write_text(text.replace("held[i] =", "no_such_function(i) ="))
    with pytest.raises(nvrtc.CompileError, match="no_such_function"):
        nvrtc.compiled(str(tmp_path / "wrong.cu"), (), "sm_90a")
    assert costs("") == {}
    with pytest.raises(AssertionError, match="no registers"):
        costs("Compiling entry function 'f' for 'sm_80'\n 0 bytes stack frame, 0 bytes spill "
              "stores, 0 bytes spill loads")  # fmt: skip
