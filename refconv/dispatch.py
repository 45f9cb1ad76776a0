"""Dispatch: choose backend and algorithm, allocate the outputs, call the kernel.

``backend`` is ``auto``, a backend's name, or ``name:algorithm``. ``auto`` takes the first of
``PREFERENCE`` that is usable for the array's device and supports the problem; a named one runs, or
the call fails and says why: nothing else is run in its place. Of a backend's algorithms that
support the problem and that the accuracy in effect allows, the one that is predicted to be fastest
runs, or, where that is opted in, the one that was measured to be (``tuned``).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from . import arrays, guard, settings, tuned
from .backends import Algorithm, Backend, get, require, unavailable
from .device_call import DeviceCall
from .errors import ArgumentError, UnavailableError, UnsupportedError, UsageError
from .moves import IndexProblem, PadProblem
from .problem import PoolProblem

#: The order in which ``auto`` asks the backends of a device.
PREFERENCE = {"cpu": ("numba", "im2col", "naive"), "cuda": ("cupy", "numba-cuda")}


@dataclass(frozen=True)
class Choice:
    """What runs: a backend and one of its algorithms.

    Args:
        why: the reason for this algorithm among those that could run.
    """

    backend: Backend
    algorithm: Algorithm
    why: str = ""

    def __str__(self) -> str:
        return f"{self.backend.name}:{self.algorithm.name}"


def threads() -> int:
    """How many threads a call may use: torch's number where torch is loaded, else Numba's."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return torch.get_num_threads()
    numba = sys.modules.get("numba")
    return numba.get_num_threads() if numba is not None else 1


def reason_against(algorithm: Algorithm, problem: Any, accuracy: str) -> str | None:
    """Why an algorithm of which the name was not given may not run ``problem``, or None."""
    if not settings.allows(accuracy, algorithm.accuracy):
        return f"accuracy {accuracy!r} does not allow it (refconv.accuracy({algorithm.accuracy!r}))"
    return algorithm.supports(problem)


def why_not(
    problem: Any, slot: str, backend: Backend, algorithm: str, accuracy: str, count: int
) -> str | Choice:
    """The choice among ``backend``'s algorithms for ``slot`` of ``problem``, or the reason why none
    of them runs.

    Args:
        algorithm: insist on this one, whatever the accuracy; empty: choose.
        count: threads.
    """
    known = backend.slots.get(slot, ())
    if not known:
        return f"{backend.name} has no kernel for {slot}"
    if algorithm:
        for candidate in known:
            if candidate.name == algorithm:
                reason = candidate.supports(problem)
                return reason or Choice(backend, candidate, "named")
        names = ", ".join(a.name for a in known)
        return f"{backend.name} has no algorithm {algorithm!r} for {slot}; it has {names}"
    reasons = {a: reason_against(a, problem, accuracy) for a in known}
    able = [a for a, reason in reasons.items() if reason is None]
    if not able:
        return "; ".join(f"{backend.name}:{a.name}: {reason}" for a, reason in reasons.items())
    if len(able) == 1:
        return Choice(backend, able[0], "the only one that applies")
    measured = tuned.fastest(problem, slot, accuracy, count)
    for a in able:
        if measured == f"{backend.name}:{a.name}":
            return Choice(backend, a, "measured to be fastest")
    best = min(able, key=lambda a: a.cost(problem, slot, count))
    return Choice(backend, best, "predicted to be fastest")


def choose(problem: Any, slot: str, backend: str = "auto", device: str = "cpu") -> Choice:
    """Which backend and algorithm run ``slot`` of ``problem`` on ``device``, at the accuracy and
    with the threads in effect.

    Raises:
        UsageError: an unknown backend. UnavailableError: it cannot be used here.
        UnsupportedError: it cannot run this problem. ArgumentError: it is for another device.
    """
    return choose_for(problem, slot, backend, device, settings.get_accuracy(), threads())


@lru_cache(maxsize=4096)
def choose_for(
    problem: Any, slot: str, backend: str, device: str, accuracy: str, count: int
) -> Choice:
    """``choose`` at this accuracy and with this number of threads."""
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
        found = why_not(problem, slot, chosen, algorithm, accuracy, count)
        if isinstance(found, str):
            raise UnsupportedError(f"{problem.op}: unsupported by {backend}: {found}")
        return found
    if algorithm:
        raise UsageError(
            f"{problem.op}: backend {backend!r}: name the backend of algorithm {algorithm!r}"
        )
    reasons = []
    for name in PREFERENCE.get(device, ()):
        reason = unavailable(name)
        if reason is None:
            found = why_not(problem, slot, get(name), "", accuracy, count)
            if isinstance(found, Choice):
                return found
            reason = found
        reasons.append(f"{name}: {reason}")
    raise UnavailableError(
        f"{problem.op}: no backend can run on device {device}: "
        f"{'; '.join(reasons) or 'none is written for it'} (refconv doctor says more)"
    )


@lru_cache(maxsize=512)
def tables(problem: Any, slot: str) -> tuple[np.ndarray, ...]:
    """The int64 tables a kernel takes besides arrays: pooling windows, or padding's axis maps."""
    if isinstance(problem, PoolProblem):
        lead = 3 - problem.rank
        whole = [(0, 1)] if slot.startswith("max_pool") else [(0, 1, 1)]
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


class Call:
    """A slot of a problem made ready to run: what runs, the kernel, shapes, dtypes and numbers.

    Everything but the arrays, so that a plan may keep it and run it again.
    """

    def __init__(self, problem: Any, slot: str, choice: Choice) -> None:
        self.problem, self.slot, self.choice = problem, slot, choice
        self.in_shapes, self.out_shapes, self.user_shapes, _ = problem.call(slot)
        self.dtype = np.dtype(arrays.COMPUTE.get(problem.dtype, problem.dtype))
        self.kinds = [self.dtype, np.dtype(np.int64)][: len(self.out_shapes)]
        self.names = [problem.dtype, "int64"]
        indexed = isinstance(problem, IndexProblem)
        self.takes = [self.dtype, np.dtype(np.int64) if indexed else self.dtype, self.dtype]
        self.numbers = numbers(problem, slot, self.dtype)
        # By name: a kernel that is replaced in its module (by a test) is replaced here too.
        self.home, self.name = self.choice.backend.home(self.choice.algorithm.kernel)

    def run(self, inputs: tuple[Any, ...], channels_last: bool) -> Any:
        """The result for these arrays of the user: an array, or a tuple of two."""
        inputs += (None,) * (len(self.in_shapes) - len(inputs))  # conv's derivatives have no bias
        ready = [
            np.empty(0, self.dtype) if x is None else arrays.to_kernel(x, shape)
            for x, shape in zip(inputs, self.in_shapes, strict=True)
        ]
        outputs = [guard.Output(*made) for made in zip(self.out_shapes, self.kinds, strict=True)]
        before = guard.snapshot(ready)
        self.launch([o.array for o in outputs], ready)
        what = f"{self.choice} {self.slot}"
        for output in outputs:
            output.verify(what)
        guard.verify_unchanged(what, ready, before)
        results = tuple(
            arrays.from_kernel(output.array, shape, name, inputs[0], channels_last)
            for output, shape, name in zip(outputs, self.user_shapes, self.names, strict=False)
        )
        return results[0] if len(results) == 1 else results

    def launch(self, outputs: list[np.ndarray], ready: list[np.ndarray]) -> None:
        """The kernel on arrays as the contract wants them."""
        kernel = getattr(self.home, self.name)
        self.choice.backend.launch(kernel, (*outputs, *ready, *self.numbers))


def prepare(problem: Any, slot: str, backend: str, device: str) -> Call | DeviceCall:
    """The call of ``slot``: choose what runs, and work out all that needs no array."""
    choice = choose(problem, slot, backend, device)
    make = Call if choice.backend.execute is None else DeviceCall
    return make(problem, slot, choice)


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
    call = prepare(problem, slot, backend, arrays.device_kind(inputs[0]))
    return call.run(inputs, channels_last)


def forget() -> None:
    """Choose anew from now on: after what a choice depends on was changed."""
    choose_for.cache_clear()
    tables.cache_clear()
