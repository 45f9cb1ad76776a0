"""The backends: each file here names one, and says which kernel fills which slot and what it cannot
run.

Backends are found by folder and imported when first asked for; their kernels, and the libraries
those need, only when a kernel is called. Nothing here computes: a launch is the kernel with the
arrays and numbers of the contract.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from ..errors import UnavailableError, UsageError

Kernel = Callable[..., None]
#: Runs launches (of _cuda_launch) on arrays by their addresses, on the device of an array.
Execute = Callable[[Sequence[Any], Mapping[str, int], Any], None]

#: Every slot, and the kernel (module:function of the contract) that fills it where nothing better
#: is registered.
SLOTS: dict[str, str] = {
    "conv_fprop": "conv:fprop",
    "conv_dgrad": "conv:dgrad",
    "conv_wgrad": "conv:wgrad",
    "conv_bgrad": "conv:bgrad",
    "max_pool": "pool:max_pool",
    "max_pool_values": "pool:max_pool_values",
    "avg_pool": "pool:avg_pool",
    "avg_pool_backward": "pool:avg_pool_backward",
    "gather": "index:gather",
    "scatter": "index:scatter",
    "scatter_add": "index:scatter_add",
    "unfold": "columns:unfold",
    "fold": "columns:fold",
    "pad": "pad:pad",
    "pad_backward": "pad:pad_backward",
}


def anything(problem: Any) -> str | None:
    """``supports`` of an algorithm without limits."""
    return None


def unknown(problem: Any, slot: str, threads: int) -> float:
    """``cost`` of an algorithm that need not be weighed: the table's order decides."""
    return 0.0


@dataclass(frozen=True)
class Algorithm:
    """One way to fill a slot.

    Args:
        name: what follows the colon in ``backend="numba:direct"``.
        kernel: ``module:function`` inside the backend's kernel package.
        supports: problem → None, or the reason why this algorithm cannot run it.
        accuracy: ``strict``, or ``fast`` if its error may leave the bound of direct sums.
        cost: problem, slot and threads → predicted seconds. Of the algorithms that may run, the
            one with the least is chosen; of equals, the first in the table.
        shortcut: ``module:function`` of what a plan runs instead of ``kernel``, where there is no
            time for arrays of five axes. ``function(dtype, *out_shapes, *in_shapes, *numbers)``
            gives a kernel and the rest of its arguments, for ``kernel(*outputs, *inputs, *rest)``
            where these are flat contiguous arrays, or addresses; or None: take ``kernel``.
    """

    name: str
    kernel: str
    supports: Callable[[Any], str | None] = anything
    accuracy: str = "strict"
    cost: Callable[[Any, str, int], float] = unknown
    shortcut: str = ""


def _never(kernel: Kernel, args: tuple[Any, ...]) -> None:
    """``launch`` of a backend that has ``execute``."""
    raise NotImplementedError("its kernels are plans, which give launches")


@dataclass(frozen=True)
class Backend:
    """A named set of kernels for one kind of device.

    Args:
        kernels: the package its kernels live in.
        device: ``cpu`` or ``cuda``.
        slots: slot → algorithms.
        probe: None, or the reason why the backend cannot be used on this machine.
        launch: runs a kernel on its arrays and numbers.
        execute: where a kernel is a plan function instead: runs the launches that it gives, on
            the user's arrays as they are (``device_call``).
        fuses: whether every convolution can clamp its result at zero as it stores it (``fused``).
    """

    name: str
    about: str
    kernels: str
    device: str
    slots: Mapping[str, Sequence[Algorithm]]
    probe: Callable[[], str | None]
    launch: Callable[[Kernel, tuple[Any, ...]], None] = _never
    execute: Execute | None = None
    fuses: bool = False

    def home(self, name: str) -> tuple[Any, str]:
        """The module (imported now) and the function's name of a kernel ``module:function``."""
        module, _, function = name.partition(":")
        return import_module(f"{self.kernels}.{module}"), function

    def kernel(self, algorithm: Algorithm) -> Kernel:
        """The kernel function of ``algorithm``."""
        return getattr(*self.home(algorithm.kernel))


def every_slot(name: str) -> dict[str, tuple[Algorithm, ...]]:
    """A slot table in which one algorithm, ``name``, fills every slot with its contract kernel."""
    return {slot: (Algorithm(name, kernel),) for slot, kernel in SLOTS.items()}


@cache
def registry() -> dict[str, Backend]:
    """All backends by name, in the folder's order; a new file is found by itself."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    found = [import_module(f"{__name__}.{name}").BACKEND for name in names]
    return {b.name: b for b in found}


@cache
def unavailable(name: str) -> str | None:
    """Why backend ``name`` cannot be used on this machine, or None; probed once a process."""
    return get(name).probe()


def get(name: str) -> Backend:
    """The backend called ``name``.

    Raises:
        UsageError: there is none of that name; the ones there are are listed.
    """
    known = registry()
    if name not in known:
        raise UsageError(f"unknown backend {name!r}; there are: auto, {', '.join(known)}")
    return known[name]


def require(name: str) -> Backend:
    """The backend called ``name``, which must be usable here.

    Raises:
        UnavailableError: it is not; the probe's reason is given.
    """
    backend = get(name)
    reason = unavailable(name)
    if reason is not None:
        raise UnavailableError(f"backend {name} is not available: {reason}")
    return backend
