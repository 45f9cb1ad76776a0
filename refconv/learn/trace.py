"""``trace``: the way from what a user writes to a ``Trace``.

A layer is enough: where nothing else is given, its input is as small as three windows need, and its
numbers are small, whole and seeded, so that the arithmetic can be followed by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .. import checks, label, notation_torch
from ..errors import RefconvError, ShapeError, UsageError
from ..notation import Problem
from ..ops import INTEGERS
from ..problem import ConvProblem, PoolProblem
from .demo import CS231N
from .trace_cells import trace_at
from .trace_data import Trace

#: Windows along each axis of an input that nobody gave; the largest input that is tried for it; and
#: the one that a layer is refused with, which takes none.
WINDOWS, LARGEST, USUAL = 3, 512, 32
NAMES = ("input", "weight", "bias")


def trace(
    spec: str | Problem,
    at: Sequence[int] | None = None,
    *,
    arrays: Mapping[str, Any] | None = None,
    in_shape: str | Sequence[int] | None = None,
    seed: int = 0,
    real: bool = False,
    torch: bool = False,
) -> Trace:
    """Inside one output number of a convolution, a transposed one, a max or average pooling.

    Args:
        spec: ``cs231n`` (the example with its own numbers), a layer or a call in any notation, or a
            problem.
        at: index of the output; None: the first.
        arrays: ``input``, ``weight``, ``bias`` (torch or NumPy); those left out are made.
        in_shape: of the input, for a layer; None: that of ``arrays``, else a small one.
        seed: of the numbers that are made. ``real``: with two decimals, not whole.
        torch: also ask torch, in double precision.

    Raises:
        RefconvError: the spec cannot be understood, the shapes do not fit, no such output.

    Example:
        >>> found = trace("cs231n", (0, 0, 0))
        >>> found.value, found.inside, len(found.cells), found.flipped
        (7.0, 12, 27, 4.0)
    """
    problem, numbers, origin = given(spec, arrays, in_shape, seed, real)
    found = trace_at(problem, numbers, at, origin)
    return replace(found, torch=torch_output(found)[found.at].item()) if torch else found


def given(
    spec: str | Problem,
    arrays: Mapping[str, Any] | None = None,
    in_shape: str | Sequence[int] | None = None,
    seed: int = 0,
    real: bool = False,
) -> tuple[Problem, dict[str, np.ndarray], str]:
    """The problem, its arrays, and where their numbers come from."""
    own = {name: _numpy(name, x) for name, x in (arrays or {}).items()}
    demo = isinstance(spec, str) and spec.strip() in ("cs231n", "classics:cs231n")
    if demo and in_shape is None:
        problem = label.parse(CS231N["label"])
        own = {**{name: np.array(CS231N[name], float) for name in NAMES}, **own}
    elif isinstance(spec, str):
        shape = own["input"].shape if in_shape is None and "input" in own else in_shape
        problem = read(spec, shape)
    else:
        problem = spec
    made = numbers(problem, seed, real)
    _fit(problem, own, made)
    kind = f"{'real numbers' if real else 'small whole numbers'}, seed {seed}"
    origin = "the numbers of the cs231n page" if demo else f"{kind}" if not own else "yours"
    if own and not demo and set(made) - set(own):
        origin = f"your {', '.join(own)}; {', '.join(n for n in made if n not in own)}: {kind}"
    return problem, {**made, **own}, origin


def read(spec: str, in_shape: str | Sequence[int] | None = None) -> Problem:
    """The problem that ``spec`` describes; a layer without an input gets a small one."""
    try:
        return label.read(spec, in_shape=in_shape)
    except UsageError:
        if in_shape is not None or "(" not in spec:
            raise
        name, given = notation_torch.arguments(spec)
        if name not in notation_torch.MODULES or "input" in given:
            raise
    channels = checks.number(name, "in_channels", given.get("in_channels", 1))
    rank = notation_torch.MODULES[name][1]
    outputs = [n for n in np.ravel(given.get("output_size", 0)) if n is not None]
    for size in range(2 * max(outputs, default=1) + 1, LARGEST):  # adaptive: windows that overlap
        try:
            problem = label.read(spec, in_shape=(max(channels, 1), *(size,) * rank))
        except RefconvError:
            continue  # too small, or wrong for every size
        if not isinstance(problem, ConvProblem | PoolProblem):
            return problem  # refused by name, later
        if problem.op.startswith("adaptive") or min(problem.out_size) >= WINDOWS:
            return problem
    return label.read(spec, in_shape=(channels, *(USUAL,) * rank))  # torch's reason against it


def numbers(problem: Any, seed: int = 0, real: bool = False) -> dict[str, np.ndarray]:
    """Seeded numbers for a problem: ``input`` and, of a convolution, ``weight`` and ``bias``. Whole
    and small, or with two decimals; of the problem's dtype if that is an integer, else float64.
    """
    rng = np.random.default_rng(seed)
    whole = problem.dtype in INTEGERS
    kind = problem.dtype if whole else "float64"
    least = 0 if kind.startswith("u") else -9

    def make(shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
        if real and not whole:
            return np.round(rng.uniform(low, high, shape), 2)
        return rng.integers(max(low, least), high + 1, shape).astype(kind)

    if isinstance(problem, PoolProblem):
        return {"input": make(problem.input_shape, -9, 9)}
    if not isinstance(problem, ConvProblem):
        return {}
    made = {"input": make(problem.input_shape, 0, 4), "weight": make(problem.weight_shape, -2, 2)}
    if problem.bias:
        made["bias"] = make((problem.out_channels,), -3, 3)
    return made


def torch_output(found: Trace) -> Any:
    """What torch gives for the whole output, in double precision (or 64-bit integers)."""
    import torch

    from ..oracle.calls import bind

    wide = {"f": "float64", "i": "int64", "u": "int64"}
    arrays = {n: x.astype(wide.get(x.dtype.kind, x.dtype)) for n, x in found.arrays.items()}
    ordered = {name: torch.from_numpy(arrays[name]) for name in NAMES if name in arrays}
    return bind(torch.nn.functional, found.problem, ordered)()


def _numpy(name: str, x: Any) -> np.ndarray:
    if name not in NAMES:
        raise UsageError(f"trace: arrays are {', '.join(NAMES)}, not {name!r}")
    if hasattr(x, "detach"):  # torch's; bfloat16, which NumPy has not, is exact in double
        x = x.detach().cpu()
        x = x.double() if x.is_floating_point() else x
        return x.numpy()
    return np.asarray(x)


def _fit(problem: Any, own: dict[str, np.ndarray], due: dict[str, np.ndarray]) -> None:
    for name, x in own.items():
        if name not in due:
            raise ShapeError(f"trace: {problem.op} here takes no {name}")
        if x.shape != due[name].shape:
            raise ShapeError(
                f"trace: {name} of {label.format(problem)} has shape {due[name].shape}, and this "
                f"one {x.shape}"
            )
