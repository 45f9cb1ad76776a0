"""Who is compared: our backends and torch itself, each on the devices it runs on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from .. import dispatch, functional
from ..backends import get, require, unavailable
from ..errors import UnavailableError, UsageError
from ..oracle import calls

#: The order of rows: as a reader climbs, the peer last.
ORDER = ("naive", "im2col", "numba", "cupy", "numba-cuda", "torch")


@dataclass(frozen=True)
class Candidate:
    """A backend, or torch, on one device.

    Args:
        backend: ``torch``, or what ``refconv.functional`` is given.
        unavailable: why it cannot run on this machine; empty if it can.
    """

    backend: str
    device: str
    unavailable: str = ""

    @property
    def ours(self) -> bool:
        """Whether it is one of refconv's backends."""
        return self.backend != "torch"

    @property
    def name(self) -> str:
        """The backend without its algorithm."""
        return self.backend.partition(":")[0]

    def bind(self, problem: Any, arrays: calls.Arrays) -> Callable[[], Any]:
        """The call that is timed."""
        return self._with(calls.bind)(problem, arrays)

    def results(self, problem: Any, arrays: calls.Arrays) -> dict[str, Any]:
        """Every result of the op, by name."""
        return self._with(calls.results)(problem, arrays)

    def _with(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if self.ours:
            return partial(function, functional, backend=self.backend)
        return partial(function, torch.nn.functional)

    def algorithm(self, problem: Any) -> str:
        """Which algorithm runs the forward pass; empty for torch, which does not say."""
        if not self.ours:
            return ""
        slot = problem.forward_slot
        return dispatch.choose(problem, slot, self.backend, self.device).algorithm.name


def devices(wanted: str = "auto") -> tuple[str, ...]:
    """The devices of ``cpu``, ``cuda``, ``all``, or ``auto`` (all there are).

    Raises:
        UsageError: another word. UnavailableError: cuda is asked for and torch sees no CUDA device.
    """
    if wanted not in ("auto", "cpu", "cuda", "all"):
        raise UsageError(f"--device: must be cpu, cuda or all, got {wanted!r}")
    has_cuda = torch.cuda.is_available()
    if wanted == "cuda" and not has_cuda:
        raise UnavailableError(
            f"--device cuda: torch {torch.__version__} sees no CUDA device here "
            "(refconv doctor says why)"
        )
    if wanted in ("cpu", "cuda"):
        return (wanted,)
    return ("cpu", "cuda") if has_cuda else ("cpu",)


def candidates(named: tuple[str, ...], on: tuple[str, ...]) -> list[Candidate]:
    """The candidates called ``named`` (none: all there are, the unavailable ones with their
    reason).

    Raises:
        UsageError: an unknown backend or algorithm. UnavailableError: a named backend cannot run
            here.
    """
    known = {n: i for i, n in enumerate(ORDER)}
    usual = [name for names in dispatch.PREFERENCE.values() for name in names]  # others: by name
    wanted = named or sorted([*usual, "torch"], key=lambda n: known.get(n, len(known)))
    found: list[Candidate] = []
    for text in dict.fromkeys(wanted):
        name, _, algorithm = text.partition(":")
        if name == "torch":
            if algorithm:
                raise UsageError(f"--backends: torch's algorithms cannot be chosen, got {text!r}")
            found += [Candidate("torch", device) for device in on]
            continue
        device = get(name).device
        if named:
            require(name)
            _check_algorithm(text, name, algorithm)
            if device not in on:
                raise UsageError(f"--backends: {name} runs on {device}, but --device is {on[0]}")
        reason = unavailable(name) or ("" if device in on else f"no {device} device chosen")
        found.append(Candidate(text, device, reason))
    return found


def _check_algorithm(text: str, name: str, algorithm: str) -> None:
    names = sorted({a.name for algorithms in get(name).slots.values() for a in algorithms})
    if algorithm and algorithm not in names:
        raise UsageError(
            f"--backends: {text!r}: {name} has no such algorithm; it has {', '.join(names)}"
        )
