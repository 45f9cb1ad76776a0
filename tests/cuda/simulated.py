"""Runs the CUDA kernels in Python on Numba's simulator, and judges them: a program of its own,
since the simulator takes the compiler's place for the whole process (NUMBA_ENABLE_CUDASIM=1).

    python -m tests.cuda.simulated [SLOT ALGORITHM]   every listed problem; prints how many of each
    python -m tests.cuda.simulated --bugs < JSON      planted bugs; prints what is said of each

A kernel is run as users run it, by ``dispatch`` on torch's tensors, into poisoned memory between
guard bands; only the device is pretended to be the CPU.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from dataclasses import replace
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

from refconv import backends, dispatch, guard, label
from refconv.backends import _cuda_conv, _numba_cuda_plans, numba_cuda
from refconv.oracle import verdict

from . import moving, running

NAME = "numba-simulated"

#: Tiny, since a thread of the simulator is one of Python: odd sizes, strides, dilations, groups,
#: padding above and below what the kernel needs.
CONVOLUTIONS = """
conv2d x[1,3,5,4] w[2,3,3,3] b s2 p1
conv2d x[2,2,3,6] w[4,1,2,3] b p1 d1,2 g2
conv2d x[1,2,7,5] w[3,2,2,2] s3,1 d2
conv2d x[1,1,3,10] w[9,1,1,3] p0,3
conv2d x[1,4,3,3] w[4,1,3,3] b p2 g4
conv2d x[1,2,2,2] w[2,2,3,3] b p3
conv1d x[1,2,9] w[3,2,3] b s2 p1
conv3d x[1,2,2,3,3] w[2,1,2,2,2] b p1,0,1 g2
conv3d x[1,1,3,3,4] w[2,1,2,2,3] s2,1,2 d1,2,1
conv_transpose2d x[1,2,2,3] w[2,2,4,4] b s2 p1
conv_transpose2d x[1,2,3,2] w[2,1,3,3] s2 p1 op1 g2
conv2d x[0,2,4,4] w[2,2,3,3] b p1
""".strip().splitlines()

#: Weights of a problem whose gradient is computed, at most.
WEIGHTS = 36


class Memory:
    """Memory as NumPy takes it."""

    def __init__(self, interface: dict[str, Any]) -> None:
        self.__array_interface__ = interface


def execute(launches: Any, addresses: Any, like: Any) -> None:
    """As the backend's, on the CPU."""

    def array(view: Any) -> Any:
        interface = numba_cuda.Memory(view, addresses[view.name]).__cuda_array_interface__
        if 0 in view.shape:
            return FakeCUDAArray(np.empty(view.shape, interface["typestr"]))
        return FakeCUDAArray(np.asarray(Memory(interface)))  # as it is, whatever its strides

    for launch in launches:
        numba_cuda.run(launch, 0, array)


def pretend() -> None:
    """Make the backend there is run here; with small blocks, so that there are several."""
    found = backends.registry()
    found[NAME] = replace(
        found["numba-cuda"], name=NAME, device="cpu", probe=lambda: None, execute=execute
    )
    _cuda_conv.shared_tile = _numba_cuda_plans.shared_tile = small_tile
    _numba_cuda_plans.WGRAD_THREADS = _numba_cuda_plans.BGRAD_THREADS = 4
    _numba_cuda_plans.POOL_THREADS = 32


def small_tile(problem: Any) -> tuple[int, int]:
    """In place of ``_cuda_conv.shared_tile``."""
    return (1, 5) if problem.rank == 1 else (2, 4)


def problems(slot: str, name: str, dtype: str) -> list[Any]:
    """The listed problems that the algorithm takes."""
    if moving.handles(slot):
        return [p for p in moving.problems(slot, dtype) if prod(p.input_shape) < 200]
    read = [label.parse(text) for text in CONVOLUTIONS]
    if slot == "conv_bgrad":  # of a transposed convolution it is another pass: y is its input
        read = [p for p in read if not p.transposed]
    if slot == "conv_wgrad":  # a block for every weight
        read = [p for p in read if prod(p.weight_shape) <= WEIGHTS]
    able = next(a for a in backends.get(NAME).slots[slot] if a.name == name).supports
    read = [replace(p, dtype=dtype, bias=p.bias and slot == p.forward_slot) for p in read]
    return [p for p in read if able(p) is None]


def judge(problem: Any, slot: str, name: str, kind: str, layout: str) -> None:
    """Of integers, and of pools, what naive computes; of other real numbers, inside the bound."""
    if moving.handles(slot):
        judge_pool(problem, slot, name, kind, layout)
        return
    arrays, expected = running.answers(problem, kind)
    given, result = running.inputs_of(problem, slot, arrays)
    laid = [running.as_laid_out(x, layout) for x in given]
    got = run(problem, slot, name, laid)
    what = f"{name} {slot} of {label.format(problem)} {problem.dtype} ({layout})"
    if kind == "integer":
        want = dispatch.run(problem, slot, *given, backend="naive")
        assert torch.equal(got, want), f"{what}: wrong; differs from naive"
    e = expected[result]
    v = verdict.compare(got, e.want, e.bound())
    assert v.level == "consistent", f"{what}: {v.reason}"


def judge_pool(problem: Any, slot: str, name: str, kind: str, layout: str) -> None:
    """Equal to naive, positions too; NaN and infinity are among the real numbers."""
    given = moving.inputs_of(problem, slot, kind)
    want = moving.wanted(problem, slot, given)
    laid = [running.as_laid_out(x, layout) for x in given]
    last = layout == "channels_last" and given[0].dim() in (4, 5)
    made = run(problem, slot, name, laid, last)
    for got, must in zip(made if isinstance(made, tuple) else (made,), want, strict=True):
        what = f"{name} {slot} of {problem} ({kind}, {layout}): wrong"
        torch.testing.assert_close(got, must, rtol=0, atol=0, equal_nan=True, msg=what)


def run(problem: Any, slot: str, name: str, given: list[Any], last: bool = False) -> Any:
    """The pass, into poisoned memory; ``last``: in channels_last."""
    with guard.checked():
        backend = f"{NAME}:{name}"
        return dispatch.run(problem, slot, *given, backend=backend, channels_last=last)


def judge_padding(problem: Any, slot: str, name: str) -> None:
    """An infinite weight meets only elements that are there."""
    arrays, expected = running.answers(problem, "real", float("inf"))
    given, result = running.inputs_of(problem, slot, arrays)
    got, want = run(problem, slot, name, given), torch.as_tensor(expected[result].want)
    assert torch.equal(got.isnan(), want.isnan()), f"{name} {slot}: padding is multiplied"


def every(slot: str, name: str) -> int:
    """Judge the algorithm on all that is listed, in every dtype and layout; how many calls."""
    count = 0
    for dtype in running.DTYPES:
        listed = problems(slot, name, dtype)
        assert listed, f"{name} takes none of the listed problems in {dtype}"
        for i, problem in enumerate(listed if dtype == "float32" else listed[::5]):
            layout = ("behind", "channels_last", "view")[i % 3]
            kinds = ("integer", "real")[i % 2 :] if dtype == "float32" else ("real",)
            for kind in kinds:
                judge(problem, slot, name, kind, layout)
                count += 1
        if slot in ("conv_fprop", "conv_dgrad"):
            judge_padding(listed[0], slot, name)
    return count


def plant(file: str, old: str, new: str, folder: Path) -> None:
    """A copy of the kernels with one change, from now on the ones that run."""
    home = Path(import_module("refconv.kernels.numba_cuda").__path__[0])
    shutil.copytree(home, folder)
    text = (folder / file).read_text()
    assert old in text, f"{file}: the bug is not where it was: {old}"
    (folder / file).write_text(text.replace(old, new))
    numba_cuda.KERNELS = folder.name


def said(bug: dict[str, str], folder: Path) -> str:
    """What is said of a planted bug; nothing, if it is not noticed."""
    plant(bug["file"], bug["old"], bug["new"], folder)
    problem = replace(label.parse(bug["case"]), dtype=bug["dtype"])
    if bug["slot"].startswith("conv"):
        problem = replace(problem, bias=problem.bias and bug["slot"] == problem.forward_slot)
    try:
        judge(problem, bug["slot"], bug["name"], bug["kind"], "contiguous")
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def main() -> None:
    """See above."""
    torch.set_num_threads(1)
    np.seterr(all="ignore")
    pretend()
    if sys.argv[1:] != ["--bugs"]:
        steps = [(slot, a.name) for slot, made in backends.get(NAME).slots.items() for a in made]
        asked = [tuple(sys.argv[1:])] if sys.argv[1:] else steps
        print(json.dumps({" ".join(step): every(*step) for step in asked}))
        return
    with tempfile.TemporaryDirectory() as scratch:
        sys.path.insert(0, scratch)
        bugs = json.load(sys.stdin)
        print(json.dumps([said(b, Path(scratch) / f"planted{i}") for i, b in enumerate(bugs)]))


if __name__ == "__main__":
    main()
