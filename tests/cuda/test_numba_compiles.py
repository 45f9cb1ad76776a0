"""The CUDA kernels in Python as they ship: compiled by the NVVM that Numba uses, and assembled by
the linker that it uses, for a GPU that is not here.

The simulator runs Python: it does not see what the compiler refuses, nor what a kernel costs.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest

from refconv import backends, dispatch, label, memory
from refconv.backends import numba_cuda
from refconv.backends._numba_cuda_plans import Launch, View

from .budgets import Budget
from .running import DTYPES
from .test_compile_gate import Cost, costs

CAPABILITY = (9, 0)
#: (slot, algorithm) of every step.
EACH = [(s, a.name) for s, steps in backends.get("numba-cuda").slots.items() for a in steps]

#: One line a kernel. Registers are more than C++'s: integers are 64 bits wide, loops unrolled. A
#: block of 256 threads may have 255 a thread.
BUDGETS = {
    "conv_fprop_direct": Budget(registers=144),
    "conv_fprop_shared": Budget(registers=232, shared=48 << 10),
    "conv_dgrad_direct": Budget(registers=120),
    "conv_wgrad_direct": Budget(registers=96, shared=1024),
    "conv_bgrad_direct": Budget(registers=64, shared=2048),
    "max_pool_windows": Budget(registers=84),
    "max_pool_values_windows": Budget(registers=84),
    "avg_pool_windows": Budget(registers=100),
    "avg_pool_backward_windows": Budget(registers=136),
}

CASES = {
    "conv": "conv2d x[2,6,9,11] w[8,3,3,3] b p1 g2",
    "max": "max_pool2d x[2,3,9,11] k3 s2 p1",
    "avg": "avg_pool2d x[2,3,9,11] k3 s2 p1",
}


def missing() -> str:
    """Why nothing can be compiled here; empty if it can."""
    if find_spec("numba_cuda") is None:
        return "numba-cuda is not installed"
    try:
        from cuda.bindings import nvjitlink
        from numba import cuda

        cuda.cudadrv.nvvm.NVVM()
        nvjitlink.version()
    except Exception as error:
        return f"numba-cuda's compiler or linker cannot be loaded: {error}"
    return ""


needs_compiler = pytest.mark.skipif(bool(missing()), reason=missing())


def launch_of(slot: str, name: str, dtype: str) -> Launch:
    """What the step launches for a small problem, on contiguous arrays."""
    problem = replace(label.parse(CASES[slot.split("_")[0]]), dtype=dtype)
    if slot.startswith("conv"):
        problem = replace(problem, bias=problem.bias and slot == "conv_fprop")
    algorithm = next(a for a in backends.get("numba-cuda").slots[slot] if a.name == name)
    choice = dispatch.Choice(backends.get("numba-cuda"), algorithm)
    call = dispatch.DeviceCall(problem, slot, choice)
    names, shapes = (*call.outputs, *call.inputs), (*call.out_shapes, *call.in_shapes)
    pairs = [p for p in zip(names, shapes, strict=False) if p != ("b", (0,))]
    (launch,) = call.launches({n: memory.contiguous(s) for n, s in pairs})
    return launch


def signature(launch: Launch, layout: str) -> Any:
    """The types of its arguments, as Numba finds them when it is launched."""
    from numba import types
    from numba.np.numpy_support import from_dtype
    from numpy import dtype

    def one(argument: Any) -> Any:
        if isinstance(argument, View):
            element = from_dtype(dtype(numba_cuda.STORAGE[argument.dtype]))
            return types.Array(element, len(argument.shape), layout)
        many = isinstance(argument, tuple)
        return types.UniTuple(types.int64, len(argument)) if many else types.int64

    return types.void(*map(one, launch.arguments))


@cache
def cost(slot: str, name: str, dtype: str, layout: str) -> tuple[str, Cost]:
    """The kernel's name, and what the assembler says of it."""
    launch = launch_of(slot, name, dtype)
    module, _, kernel = launch.source.partition(":")
    made = getattr(import_module(f"{numba_cuda.KERNELS}.{module}"), kernel)(*launch.macros)
    (found,) = costs(assembled(made.py_func, signature(launch, layout))).values()
    return kernel, replace(found, shared=found.shared + launch.shared)


def assembled(kernel: Any, types: Any) -> str:
    """The assembler's messages."""
    from cuda.bindings import nvjitlink
    from numba import cuda
    from numba.cuda import dispatcher

    with pytest.MonkeyPatch.context() as patch:
        # Functions that a kernel calls are compiled for "the current device".
        device = SimpleNamespace(compute_capability=CAPABILITY)
        patch.setattr(dispatcher, "get_current_device", lambda: device)
        ptx, _ = cuda.compile_ptx(kernel, types, cc=CAPABILITY)
    linker = nvjitlink.create(2, ["-arch=sm_90", "-verbose"])
    try:
        code = ptx.encode()
        nvjitlink.add_data(linker, nvjitlink.InputType.PTX, code, len(code), "kernel")
        nvjitlink.complete(linker)
        log = bytearray(nvjitlink.get_info_log_size(linker))
        nvjitlink.get_info_log(linker, log)
    finally:
        nvjitlink.destroy(linker)
    return log.decode()


@needs_compiler
@pytest.mark.parametrize(("slot", "name"), EACH)
@pytest.mark.parametrize("dtype", DTYPES)
def test_costs_are_inside_the_budget(slot: str, name: str, dtype: str) -> None:
    """No stack, no spills. Arrays of any layout; in float32 contiguous ones too."""
    for layout in ("A", "C") if dtype == "float32" else ("A",):
        kernel, found = cost(slot, name, dtype, layout)
        what, budget = f"{kernel} {dtype} {layout}", BUDGETS[kernel]
        assert found.stack == 0, f"{what}: {found.stack} bytes of stack"
        assert found.spilled == 0, f"{what}: {found.spilled} bytes are spilled"
        assert found.registers <= budget.registers, f"{what}: {found.registers} registers"
        assert found.shared <= budget.shared, f"{what}: {found.shared} bytes of shared memory"


def test_every_step_has_a_budget() -> None:
    """And every budget a step."""
    assert {launch_of(*e, "float32").source.partition(":")[2] for e in EACH} == set(BUDGETS)


@needs_compiler
def test_what_the_compiler_refuses_is_noticed() -> None:
    """And what needs a stack."""
    from numba import cuda, types

    def wrong(y):
        y[0] = "a" + y[0]

    def greedy(y, n):
        held = cuda.local.array(64, types.float32)
        for i in range(64):
            held[i] = y[i * n]
        y[0] = held[n & 63]

    array = types.float32[:]
    with pytest.raises(Exception, match="No implementation"):
        assembled(wrong, types.void(array))
    (found,) = costs(assembled(greedy, types.void(array, types.int64))).values()
    assert found.stack > 0
