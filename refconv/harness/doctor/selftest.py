"""The self-test: the cs231n example, forward and backward, on every backend that runs here.

All numbers are small integers, so every sum is exact in float32, in TF32 even: the results must be
equal to the golden ones, which are not computed here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ... import functional
from ...backends import get, registry, unavailable
from ...learn.demo import CS231N
from .report import Outcome, lines_of

NAMES = ("input", "weight", "bias")
NUMBERS = {"stride": 2, "padding": 1}
#: Of the sum of the outputs, each times its place (1, 2, … 18); those that torch gives in float64.
GRADIENTS: dict[str, Any] = {
    "input": [
        [[11, 24, 13, 28, 15], [-13, -28, -14, -30, -15], [17, 36, 19, 40, 21],
         [-16, -34, -17, -36, -18], [23, 48, 25, 52, 27]],
        [[10, -21, 11, -23, 12], [-18, 14, -18, 15, -18], [13, -27, 14, -29, 15],
         [-18, 17, -18, 18, -18], [16, -33, 17, -35, 18]],
        [[10, 7, 11, 6, 12], [-17, 38, -19, 43, -21], [13, 4, 14, 3, 15],
         [-23, 53, -25, 58, -27], [16, 1, 17, 0, 18]],
    ],
    "weight": [
        [[[30, 30, 26], [44, 75, 36], [18, 15, 14]], [[22, 35, 19], [49, 44, 42], [13, 17, 10]],
         [[26, 9, 22], [16, 60, 13], [14, 6, 10]]],
        [[[66, 75, 62], [116, 192, 108], [54, 60, 50]],
         [[49, 89, 46], [112, 134, 105], [40, 71, 37]],
         [[62, 18, 58], [43, 159, 40], [50, 15, 46]]],
    ],
    "bias": [45, 126],
}  # fmt: skip
SLOW = "it compiles for seconds when it is run first (refconv doctor --all runs it)"


def run(torch: Any, named: Sequence[str] = (), everything: bool = False) -> Iterator[Outcome]:
    """A result for every backend, those that cannot run included, and for torch.

    Args:
        torch: the module, or None: then forward only, on NumPy's arrays.
        named: backends that are run however long they take.
        everything: as if all were named.
    """
    for name in registry():
        device, reason = get(name).device, unavailable(name)
        if reason is None and name == "cuda-on-cpu" and not (everything or name in named):
            reason = SLOW
        if reason is None and device == "cuda" and not (torch and torch.cuda.is_available()):
            reason = "torch, which makes its arrays here, sees no GPU"
        if reason is not None:
            yield Outcome(name, device, "skipped", reason)
        else:
            yield _try(name, device, torch, functional, backend=name)
    if torch is not None:
        for device in ("cpu", *(["cuda"] * torch.cuda.is_available())):
            yield _try("torch", device, torch, torch.nn.functional)


def _try(name: str, device: str, torch: Any, namespace: Any, **extra: Any) -> Outcome:
    start, passes = time.perf_counter(), ("forward", "backward") if torch else ("forward",)
    try:
        found = (_torch if torch else _numpy)(torch, device, namespace, **extra)
    except Exception as error:  # whatever it is, it is what is to be told
        return Outcome(name, device, "failed", lines_of(error), passes)
    wrong = difference(found)
    state = "wrong" if wrong else "equal"
    return Outcome(name, device, state, wrong, passes, time.perf_counter() - start)


def _torch(torch: Any, device: str, namespace: Any, **extra: Any) -> dict[str, Any]:
    """Output and gradients."""
    given = [torch.tensor(CS231N[name], dtype=torch.float32, device=device) for name in NAMES]
    leaves = [x.requires_grad_() for x in given]
    y = namespace.conv2d(*leaves, **NUMBERS, **extra)
    upstream = torch.arange(1.0, 1 + y.numel(), device=device).view_as(y)
    grads = torch.autograd.grad(y, leaves, upstream)
    found = {"output": y, **{f"gradient of {n}": g for n, g in zip(NAMES, grads, strict=True)}}
    return {name: x.detach().cpu().numpy() for name, x in found.items()}


def _numpy(torch: Any, device: str, namespace: Any, **extra: Any) -> dict[str, Any]:
    """The output."""
    given = [np.array(CS231N[name], np.float32) for name in NAMES]
    return {"output": namespace.conv2d(*given, **NUMBERS, **extra)}


def difference(found: dict[str, Any]) -> str:
    """The first number that is not the golden one; empty if all are equal."""
    golden = {"output": CS231N["output"]} | {f"gradient of {n}": g for n, g in GRADIENTS.items()}
    for name, got in found.items():
        want = np.array(golden[name])
        if got.shape != want.shape:
            return f"{name} has shape {got.shape}, not {want.shape}"
        places = np.argwhere(~(got == want))
        if len(places):
            at = tuple(places[0])
            where = ",".join(map(str, at))
            return f"{name}[{where}] is {got[at]:g}, not {want[at]} ({len(places)} differ)"
    return ""


@contextmanager
def compiling(say: Callable[[str], None], has_numba: bool) -> Iterator[list[float]]:
    """Counts what Numba compiles inside this block: the seconds of each function; says so once,
    when the first one begins.
    """
    taken: list[float] = []
    if not has_numba:
        yield taken
        return
    from numba.core import event

    class Listener(event.Listener):
        """Hears when a function's compilation begins and ends."""

        depth, began = 0, 0.0

        def on_start(self, event: Any) -> None:
            """One more; those that it calls are compiled within."""
            if not taken and not self.depth:
                say("Numba compiles its kernels, once: some seconds")
            if not self.depth:
                self.began = time.perf_counter()
            self.depth += 1

        def on_end(self, event: Any) -> None:
            """One less."""
            self.depth -= 1
            if not self.depth:
                taken.append(time.perf_counter() - self.began)

    with event.install_listener("numba:compile", Listener()):
        yield taken
