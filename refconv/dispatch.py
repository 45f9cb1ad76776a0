"""Dispatch: choose backend and algorithm, allocate the outputs, call the kernel.

``backend`` is ``auto``, a backend's name, or ``name:algorithm``. ``auto`` takes the first of
``PREFERENCE`` that is usable for the array's device and supports the problem; a named one runs, or
the call fails and says why: nothing else is run in its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from . import arrays, guard
from .backends import Algorithm, Backend, get, require, unavailable
from .errors import ArgumentError, UnavailableError, UnsupportedError, UsageError
from .moves import PadProblem
from .problem import PoolProblem

#: The order in which ``auto`` asks the backends of a device.
PREFERENCE = {"cpu": ("numba", "im2col", "naive"), "cuda": ("cupy", "numba-cuda")}


@dataclass(frozen=True)
class Choice:
    """What runs: a backend and one of its algorithms."""

    backend: Backend
    algorithm: Algorithm

    def __str__(self) -> str:
        return f"{self.backend.name}:{self.algorithm.name}"


def why_not(problem: Any, slot: str, backend: Backend, algorithm: str = "") -> str | Algorithm:
    """The algorithm of ``backend`` that fills ``slot`` for ``problem``, or the reason why none
    does.
    """
    known = backend.slots.get(slot, ())
    if not known:
        return f"{backend.name} has no kernel for {slot}"
    named = [a for a in known if algorithm in ("", a.name)]
    if not named:
        names = ", ".join(a.name for a in known)
        return f"{backend.name} has no algorithm {algorithm!r} for {slot}; it has {names}"
    reasons = []
    for candidate in named:
        reason = candidate.supports(problem)
        if reason is None:
            return candidate
        reasons.append(f"{backend.name}:{candidate.name}: {reason}")
    return "; ".join(reasons)


@lru_cache(maxsize=4096)
def choose(problem: Any, slot: str, backend: str = "auto", device: str = "cpu") -> Choice:
    """Which backend and algorithm run ``slot`` of ``problem`` on ``device``.

    Raises:
        UsageError: an unknown backend. UnavailableError: it cannot be used here.
        UnsupportedError: it cannot run this problem. ArgumentError: it is for another device.
    """
    if not isinstance(backend, str):
        raise ArgumentError(f"{problem.op}: backend must be a string, got {backend!r}")
    name, _, algorithm = backend.partition(":")
    if name != "auto":
        chosen = require(name)
        if chosen.device != device:
            raise ArgumentError(
                f"{problem.op}: backend {name} runs on {chosen.device}, but the input is on "
                f"{device}"
            )
        found = why_not(problem, slot, chosen, algorithm)
        if isinstance(found, str):
            raise UnsupportedError(f"{problem.op}: unsupported by {backend}: {found}")
        return Choice(chosen, found)
    if algorithm:
        raise UsageError(
            f"{problem.op}: backend {backend!r}: name the backend of algorithm {algorithm!r}"
        )
    reasons = []
    for name in PREFERENCE.get(device, ()):
        reason = unavailable(name)
        if reason is None:
            found = why_not(problem, slot, get(name))
            if isinstance(found, Algorithm):
                return Choice(get(name), found)
            reason = found
        reasons.append(f"{name}: {reason}")
    raise UnavailableError(
        f"{problem.op}: no backend can run on device {device}: "
        f"{'; '.join(reasons) or 'none is written for it'}"
    )


@lru_cache(maxsize=512)
def tables(problem: Any, slot: str) -> tuple[np.ndarray, ...]:
    """The int64 tables a kernel takes besides arrays: pooling windows, or padding's axis maps."""
    if isinstance(problem, PoolProblem):
        lead = 3 - problem.rank
        whole = [(0, 1)] if slot == "max_pool" else [(0, 1, 1)]
        made = [np.array(whole, dtype=np.int64)] * lead
        for axis, out in enumerate(problem.out_size):
            made.append(np.stack(problem.window(axis, np.arange(out, dtype=np.int64)), axis=1))
        return tuple(made)
    if isinstance(problem, PadProblem):
        _, outer, _ = problem.five()
        return tuple(
            problem.source(axis, np.arange(size, dtype=np.int64)) for axis, size in enumerate(outer)
        )
    return ()


def numbers(problem: Any, slot: str, dtype: np.dtype) -> tuple[Any, ...]:
    """The numbers of a slot in the contract's order: tables first, then what the problem gives."""
    made = problem.call(slot)[3]
    if slot == "pad":
        made = (dtype.type(made[0]),)
    return (*tables(problem, slot), *made)


def run(
    problem: Any, slot: str, *inputs: Any, backend: str = "auto", channels_last: bool = False
) -> Any:
    """Run ``slot`` of ``problem`` on the user's arrays; returns an array, or a tuple where the slot
    has two outputs.

    Args:
        inputs: torch or NumPy arrays in the slot's order, of the shapes that the problem names;
            None for "no bias".
        channels_last: memory format of the result (torch only).
    """
    like = inputs[0]
    choice = choose(problem, slot, backend, arrays.device_kind(like))
    in_shapes, out_shapes, user_shapes, _ = problem.call(slot)
    dtype = np.dtype(arrays.COMPUTE.get(problem.dtype, problem.dtype))
    inputs += (None,) * (len(in_shapes) - len(inputs))  # the derivatives of conv have no bias
    ready = [
        np.empty(0, dtype) if x is None else arrays.to_kernel(x, shape)
        for x, shape in zip(inputs, in_shapes, strict=True)
    ]
    kinds = [dtype, np.dtype(np.int64)][: len(out_shapes)]
    outputs = [guard.Output(shape, kind) for shape, kind in zip(out_shapes, kinds, strict=True)]
    before = guard.snapshot(ready)
    args = (*(o.array for o in outputs), *ready, *numbers(problem, slot, dtype))
    choice.backend.launch(choice.backend.kernel(choice.algorithm), args)
    for output in outputs:
        output.verify(f"{choice} {slot}")
    guard.verify_unchanged(f"{choice} {slot}", ready, before)
    names = [problem.dtype, "int64"]
    results = tuple(
        arrays.from_kernel(output.array, shape, name, like, channels_last)
        for output, shape, name in zip(outputs, user_shapes, names, strict=False)
    )
    return results[0] if len(results) == 1 else results
