"""Who is timed: torch, refconv's backends at an accuracy, single algorithms, other libraries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .. import dispatch, settings
from ..backends import get, require, unavailable
from . import environment, passes, peers

if TYPE_CHECKING:
    from .race import Options


@dataclass(frozen=True)
class Contestant:
    """One candidate.

    Args:
        backend: torch, a peer, or what ``refconv.functional`` is given.
        accuracy: strict or fast, in effect while it runs; empty for others than refconv.
        predicted: nanoseconds, by the cost model, where algorithms are compared.
        chosen: the accuracies at which refconv would take this algorithm.
    """

    backend: str
    accuracy: str = ""
    predicted: float | None = None
    chosen: tuple[str, ...] = ()

    @property
    def ours(self) -> bool:
        """Whether it is refconv."""
        return self.backend != "torch" and self.backend not in peers.PEERS

    def algorithms(self, problem: Any, way: str) -> tuple[str, ...]:
        """What runs, a name for each slot of ``way``; nothing for others, which do not say.

        Raises:
            UnsupportedError: the backend cannot run it.
        """
        if not self.ours:
            return ()
        found = []
        slots = passes.slots(problem, way)
        with self.settings():
            for i, slot in enumerate(slots):
                # A derivative chooses anew, so the algorithm that was named is the forward pass's.
                asked = self.backend if i == 0 else self.backend.partition(":")[0]
                found.append(dispatch.choose(problem, slot, asked).algorithm.name)
        return tuple(found)

    def bind(self, problem: Any, arrays: Any, grad: Any, way: str) -> Callable[[], Any]:
        """The call that is timed."""
        if self.backend in peers.PEERS:
            return peers.bind(self.backend, problem, arrays, way)
        return passes.bind(self.backend, problem, arrays, grad, way)

    def settle(self) -> None:
        """Put the process into this contestant's accuracy, for the calls that follow."""
        settings.set_accuracy(self.accuracy or settings.ACCURACIES[0])

    @contextmanager
    def settings(self) -> Iterator[None]:
        """This contestant's accuracy in a block of code."""
        with unsettled():
            self.settle()
            yield

    def tensor(self, value: Any) -> Any:
        """A result as a tensor, whatever library made it."""
        if value is None or isinstance(value, torch.Tensor):
            return value
        return torch.from_numpy(np.array(value))


@contextmanager
def unsettled() -> Iterator[None]:
    """Give the process its accuracy back behind a block that changes it."""
    before = settings.get_accuracy()
    try:
        yield
    finally:
        settings.set_accuracy(before)


def of(problem: Any, way: str, options: Options) -> list[Contestant]:
    """Everyone who takes part in one way of one case, torch first."""
    found = [Contestant("torch")]
    single = options.all_algorithms and way != "train"
    if single:
        found += every_algorithm(problem, passes.slots(problem, way)[0], options.accuracies)
    else:
        found += [Contestant(b, a) for b in options.backends for a in options.accuracies]
    return found + [Contestant(name) for name in options.peers]


def every_algorithm(
    problem: Any, slot: str, accuracies: tuple[str, ...], backend: str = "numba"
) -> list[Contestant]:
    """Each algorithm of a backend that can fill ``slot`` for this problem, with what it should
    cost.
    """
    chosen: dict[str, tuple[str, ...]] = {}
    for accuracy in accuracies:
        with Contestant(backend, accuracy).settings():
            name = dispatch.choose(problem, slot, backend).algorithm.name
        chosen[name] = (*chosen.get(name, ()), accuracy)
    made = []
    for algorithm in get(backend).slots.get(slot, ()):
        if algorithm.supports(problem) is None and algorithm.accuracy in accuracies:
            cost = algorithm.cost(problem, slot, dispatch.threads()) * 1e9
            taken = chosen.get(algorithm.name, ())
            made.append(
                Contestant(f"{backend}:{algorithm.name}", algorithm.accuracy, cost or None, taken)
            )
    return made


def check(options: Options) -> None:
    """Refuse unknown or unavailable backends and peers before any work.

    Raises:
        UsageError, UnavailableError: with what there is, or why it cannot be used here.
    """
    from ..errors import UnavailableError, UsageError
    from .candidates import candidates

    for text in options.backends:
        if text.partition(":")[0] == "torch":
            raise UsageError("--backend: torch is timed anyway; name one of refconv's backends")
    for candidate in candidates(options.backends, ("cpu",)):
        require(candidate.name)
    for name in options.peers:
        peers.known(name)
        reason = peers.unavailable(name, torch.get_num_threads(), environment.cores())
        if reason:
            raise UnavailableError(f"--peers {name}: {reason}")
    if options.all_algorithms and unavailable("numba"):
        raise UnavailableError(f"--all-algorithms: {unavailable('numba')}")
