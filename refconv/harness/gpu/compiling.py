"""The kernels of a run, compiled side by side before anything is run: what is compiled lies in the
cache that all processes share.

Needs no GPU: for a kind of GPU it can be done on another machine, and the cache be carried.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from math import prod
from typing import Any

import torch

from ... import guard, memory
from ...backends import _cuda_supports as able
from ...backends import get
from ...backends._cuda_launch import MULTIPROCESSORS, Launch
from ...backends._cuda_slots import TABLE
from ...device_call import DeviceCall
from ...dispatch import Choice
from . import odd
from .rows import STEPS, Row

#: Where the slot table can be read without a GPU.
BACKEND = "cuda-on-cpu"
#: Bytes to which vectors are aligned.
VECTOR = 16


def items(
    arch: str, rows: Iterable[Row], multiprocessors: int = MULTIPROCESSORS
) -> list[dict[str, Any]]:
    """Every file and set of macros that verification and ``rows`` launch on this kind of GPU."""
    found: dict[str, dict[str, Any]] = {}
    for launch in (*_verified(arch, multiprocessors), *timed(arch, rows, multiprocessors)):
        words = [f"{name}={value}" for name, value in launch.macros]
        key = "/".join(["compile", arch, launch.source, *words])
        found.setdefault(key, {
            "kind": "compile", "key": key, "arch": arch, "source": launch.source,
            "macros": launch.macros,
        })  # fmt: skip
    return list(found.values())


def build(item: dict[str, Any]) -> dict[str, Any]:
    """Compile one of them, unless the cache has it."""
    from ...backends import _cuda_nvrtc as nvrtc

    macros = tuple((name, value) for name, value in item["macros"])
    number = item["arch"].removeprefix("sm_")
    arch = nvrtc.architecture((int(number[:-1]), int(number[-1])))
    cubin, _ = nvrtc.compiled(item["source"], macros, arch)
    return {"status": "ok", "bytes": len(cubin)}


def _verified(arch: str, multiprocessors: int) -> Iterator[Launch]:
    for slot, step in _steps(arch):
        for dtype in odd.DTYPES:
            for one in odd.problems(slot, dtype):
                if step.supports(one.problem) is None:
                    for layout in odd.LAYOUTS:
                        last = odd.last(one, slot, layout)
                        yield from launches(one.problem, slot, step, layout, last, multiprocessors)


def timed(arch: str, rows: Iterable[Row], multiprocessors: int) -> Iterator[Launch]:
    """What is launched for rows."""
    steps = _steps(arch)
    for row in rows:
        problem, slot = row.problem, row.slot
        if not slot:
            continue
        fitting = [s for of, s in steps if of == slot and s.supports(problem) is None]
        fitting.sort(key=lambda s: s.cost(problem, slot, 1))
        for step in fitting if row.ladder else fitting[:STEPS]:
            for layout in odd.LAYOUTS[:2]:
                last, relu = layout != "contiguous", row.way == "fused"
                yield from launches(problem, slot, step, layout, last, multiprocessors, relu)


def _steps(arch: str) -> list[tuple[str, Any]]:
    known = {(slot, step.name): step.arch for slot, steps in TABLE.items() for step in steps}
    return [
        (slot, step)
        for slot, steps in get(BACKEND).slots.items()
        for step in steps
        if able.arch(arch, known[slot, step.name]) is None
    ]


def launches(
    problem: Any,
    slot: str,
    step: Any,
    layout: str,
    last: bool,
    multiprocessors: int = MULTIPROCESSORS,
    relu: bool = False,
) -> Iterator[Launch]:
    """What a step launches for arrays of this layout, aligned and as guard bands leave them."""
    call = DeviceCall(problem, slot, Choice(get(BACKEND), step), relu)
    names = (*call.outputs, *call.inputs)
    shapes = (*call.out_shapes, *call.in_shapes)
    given = _users(problem, slot, call)
    strides: dict[str, tuple[int, ...]] = {}
    for name, shape, of in zip(names, shapes, given, strict=False):
        if of is None:
            continue
        x: Any = torch.empty(of, device="meta")
        outer = name in call.outputs
        if not outer or last:
            x = odd.laid_out(x, "channels_last" if outer else layout)
        strides[name] = memory.ready(x, shape)[1]
    yield from call.launches(strides, frozenset(), multiprocessors)
    width = getattr(torch, problem.dtype).itemsize
    off = {
        n for n, s in zip(call.outputs, call.out_shapes, strict=True) if _band(s) * width % VECTOR
    }
    if off and off <= strides.keys():
        yield from call.launches(strides, frozenset(off), multiprocessors)


def _band(shape: tuple[int, ...]) -> int:
    """Elements of the guard band before an output (``memory.Output``)."""
    return guard.BAND + min(prod(shape), 1 << 20)


def _users(problem: Any, slot: str, call: DeviceCall) -> list[tuple[int, ...] | None]:
    """The shapes of the slot's arrays as the user has them, outputs first; None: there is none."""
    shapes: list[tuple[int, ...] | None] = [tuple(s) for s in call.user_shapes]
    shapes += [None if s == (0,) else tuple(s) for s in call.in_shapes]
    return shapes


def architecture(text: str) -> str:
    """``sm_90`` of ``sm_90``, ``sm_90a`` or ``90``."""
    return f"sm_{text.removeprefix('sm_').removesuffix('a')}"


if __name__ == "__main__":
    print(len(items(architecture(sys.argv[1]), ())))
