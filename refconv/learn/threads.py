"""Which thread of a CUDA kernel computes an output, and what that thread loads: the very ``.cu``
file, run on the CPU in a build that notes every access, for the block that writes the output.

What it says is what the kernel asks for. How a GPU's caches and memory answer is not emulated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from .. import dispatch, memory
from ..backends import _cuda_access_log as access_log
from ..backends import require
from ..backends._cuda_access_log import NOBODY, WRITE, Log
from ..backends._cuda_emulator import BuildError, EmulatorError
from ..backends._cuda_launch import ARRAYS, Launch
from ..errors import UnsupportedError, UsageError
from ..notation import near
from ..oracle.calls import work
from .threads_data import ThreadTrace
from .threads_uses import tagged, user_shapes, uses
from .trace_data import Trace, flat

BACKEND = "cuda-on-cpu"
#: Steps of the innermost loop that are run here at most.
MOST_WORK = 200_000_000
#: The step that is shown where none is named: the one that is read first.
FIRST = ("direct", "windows")
DTYPES = ("float64", "float32", "float16", "bfloat16")


def threads_of(trace: Trace, kernel: str = "cuda") -> ThreadTrace:
    """The thread that computes the output of ``trace`` in a step of the CUDA ladder.

    Args:
        kernel: ``cuda`` (the plainest step), or ``cuda:`` and the name of an algorithm or a file:
            ``cuda:shared``, ``cuda:conv_2_shared``.

    Raises:
        UnavailableError: no C++ compiler. UnsupportedError: the step cannot run this problem, or
            it is too large to be run thread by thread. UsageError: there is no such step.
    """
    name, _, wanted = kernel.partition(":")
    if name != "cuda":
        raise UsageError(f"--kernel: write cuda or cuda:STEP, got {kernel!r}")
    problem = trace.problem
    if work(problem) > MOST_WORK:
        raise UnsupportedError(
            f"trace --kernel: {work(problem):,} steps are too many to be run thread by thread (at "
            f"most {MOST_WORK:,}); give a smaller input (--in)"
        )
    if problem.dtype not in DTYPES:
        problem = replace(problem, dtype="float32")
    table = require(BACKEND).slots[problem.forward_slot]
    steps = {a.name: a.supports(problem) for a in table}
    arrays = _arrays(problem)
    step = _chosen(steps, wanted, problem, arrays)
    log, launches = _run(problem, step, arrays, trace)
    others = tuple(s for s, reason in steps.items() if s != step and reason is None)
    return _thread(trace, problem, step, others, log, launches, arrays)


def _chosen(
    steps: Mapping[str, str | None], wanted: str, problem: Any, arrays: Mapping[str, Any]
) -> str:
    able = [name for name, reason in steps.items() if reason is None]
    if not wanted:
        if not able:
            raise UnsupportedError(f"trace --kernel: {next(iter(steps.values()))}")
        return next((s for s in FIRST if s in able), able[-1])
    if wanted not in steps:
        files = {
            launch.source.removesuffix(".cu"): step
            for step in able
            for launch in _call(problem, step, arrays)[1]
        }
        if wanted in files:
            return files[wanted]
        known = ", ".join(steps)
        raise UsageError(
            f"--kernel: there is no step {wanted!r} for {problem.forward_slot}"
            f"{near(wanted, [*steps, *files])}; there are {known}"
        )
    if steps[wanted] is not None:
        raise UnsupportedError(f"trace --kernel: cuda:{wanted} cannot run this: {steps[wanted]}")
    return wanted


def _arrays(problem: Any) -> dict[str, np.ndarray]:
    """The slot's arrays by the kernels' names, canonical, of the problem's dtype (of a bfloat16 the
    bits). Inputs are tagged: the addresses are what is asked for, not the sums.
    """
    slot = problem.forward_slot
    call = dispatch.prepare(problem, slot, BACKEND, "cpu")
    made: dict[str, np.ndarray] = {}
    for name, shape in zip(ARRAYS[slot][0], call.out_shapes, strict=True):
        kind = "int64" if name == "index" else problem.dtype
        kind = "uint16" if kind == "bfloat16" else kind
        made[name] = np.full(shape, np.nan if np.dtype(kind).kind == "f" else -1).astype(kind)
    inputs = zip(ARRAYS[slot][1], call.in_shapes, strict=True)
    return made | tagged({n: s for n, s in inputs if prod(s)}, problem.dtype)


def _call(problem: Any, step: str, arrays: Mapping[str, np.ndarray]) -> tuple[Any, list[Launch]]:
    call: Any = dispatch.prepare(problem, problem.forward_slot, f"{BACKEND}:{step}", "cpu")
    return call, call.launches({n: memory.contiguous(a.shape) for n, a in arrays.items()})


def _run(problem: Any, step: str, arrays: dict[str, np.ndarray], trace: Trace) -> tuple[Log, int]:
    """The log of the launch and block that write the output last, and how many launches it has."""
    call, launches = _call(problem, step, arrays)
    addresses = dict.fromkeys((*call.outputs, *call.inputs), 0)
    addresses |= {name: a.ctypes.data for name, a in arrays.items()}
    sizes = {name: a.nbytes for name, a in arrays.items()}
    kept = []
    for name in {a for launch in launches for a in launch.arguments if isinstance(a, str)}:
        if ":" in name:
            sizes[name] = int(name.partition(":")[2])
            kept.append(np.zeros(sizes[name] + 256, np.uint8))
            addresses[name] = -(-kept[-1].ctypes.data // 256) * 256
    result = arrays[call.outputs[0]]
    watched = result.ctypes.data + flat(trace.at, problem.output_shape) * result.itemsize
    last = None
    try:
        for i, launch in enumerate(launches):
            last = access_log.logged(launch, addresses, sizes, watched=watched) or last
            if launches[i + 1 :]:  # those behind need all that this one writes, not some blocks'
                call.choice.backend.execute([launch], addresses, result)
    except (BuildError, EmulatorError) as error:
        raise UnsupportedError(f"trace --kernel: cuda:{step}: {error}") from None
    if last is None:
        raise UnsupportedError(f"trace --kernel: cuda:{step} writes this output unlogged")
    return last, len(launches)


def _thread(
    trace: Trace,
    problem: Any,
    step: str,
    others: tuple[str, ...],
    log: Log,
    launches: int,
    arrays: Mapping[str, np.ndarray],
) -> ThreadTrace:
    output = ARRAYS[problem.forward_slot][0][0]
    target = flat(trace.at, problem.output_shape) * arrays[output].itemsize
    hits = log.of(output, WRITE)
    hits = hits[(hits["offset"] <= target) & (target < hits["offset"] + hits["size"])]
    number = int(hits["thread"][-1])
    width, height, _ = log.launch.block
    shapes, called = user_shapes(problem)
    found = tuple(uses(log, number, arrays, shapes, called))
    lead = trace.at[: len(trace.at) - 1 - problem.rank]
    window = [
        (*lead, *((channel.channel,) if len(trace.at) > problem.rank else ()), *cell.at)
        for channel in trace.channels
        for cell in channel.cells
        if cell.state == "inside"
    ]
    return ThreadTrace(
        at=trace.at, step=step, others=others, launch=log.launch, launches=launches,
        block=log.block, number=number, stores=len(hits),
        thread=(number % width, number // width % height, number // width // height),
        bulk=int((log.accesses["thread"] == NOBODY).sum()),
        window=frozenset(window),
        own=frozenset(e for u in found if u.name == "x" and u.reads for e in u.elements),
        shared=frozenset(e for u in found for name, e in u.holds if name == "x"),
        uses=found, log=log,
    )  # fmt: skip
