"""Which algorithms there are for a problem: what applies, what each is predicted to cost, and which
one runs, and why.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from . import dispatch, settings
from .backends import Backend, get, unavailable


@dataclass(frozen=True)
class Row:
    """One algorithm.

    Args:
        name: ``backend:algorithm``.
        reason: why it does not run of itself; empty if it applies.
        accuracy: ``strict`` or ``fast``.
        microseconds: predicted; None where nothing is.
        chosen: whether it is what ``backend="auto"`` runs.
        why: the reason for the choice, on the row that is chosen.
    """

    name: str
    reason: str
    accuracy: str
    microseconds: float | None
    chosen: bool
    why: str

    @property
    def applies(self) -> bool:
        """Whether it may run here, as things stand."""
        return not self.reason


@dataclass(frozen=True)
class Listing:
    """The algorithms for one slot of a problem; ``str`` is a table.

    Args:
        accuracy: in effect when this was asked.
        gpu: what it is for, if not the CPU.
    """

    problem: str
    slot: str
    accuracy: str
    threads: int
    rows: tuple[Row, ...]
    gpu: str = ""

    def __str__(self) -> str:
        lines = [("", "algorithm", "accuracy", "predicted", "")]
        for r in self.rows:
            cost = "–" if r.microseconds is None else f"{r.microseconds:.3g} µs"
            mark, note = ("→", r.why) if r.chosen else ("", r.reason)
            lines.append((mark, r.name, r.accuracy, cost, note))
        widths = [max(len(line[i]) for line in lines) for i in range(4)]
        table = [
            "  ".join([f"{mark:<{widths[0]}}", f"{name:<{widths[1]}}", f"{accuracy:<{widths[2]}}",
                       f"{cost:>{widths[3]}}", note]).rstrip()
            for mark, name, accuracy, cost, note in lines
        ]  # fmt: skip
        plural = "" if self.threads == 1 else "s"
        where = self.gpu or f"{self.threads} thread{plural}"
        head = f"{self.problem}: {self.slot}, {self.accuracy}, {where}"
        return "\n".join([head, *table])


def problem_of(problem: Any) -> Any:
    """A problem, or the one that a label (or another notation) describes."""
    if not isinstance(problem, str):
        return problem
    from . import label

    return label.read(problem)


def algorithms(
    problem: Any, slot: str | None = None, threads: int | None = None, gpu: str | None = None
) -> Listing:
    """The CPU's algorithms for a problem: which apply (or why not), predicted cost, which one runs;
    or a GPU's, for which none need be here.

    Args:
        problem: a ConvProblem, PoolProblem, …, or its label.
        slot: the pass, such as ``conv_wgrad``; None: the op itself.
        threads: to predict for; None: as many as a call would use now.
        gpu: a compute capability, such as ``sm_90``: the steps of the CUDA C++ ladder there.

    Raises:
        UsageError: the text is no problem, or the problem has no such slot.

    Example:
        >>> print(algorithms("conv2d x[1,3,5,5] w[2,3,3,3] s2 p1", threads=1).rows[0].name)
        numba:tiny
    """
    from . import label

    problem = problem_of(problem)
    slot = problem.forward_slot if slot is None else slot
    has_slot(problem, slot)
    count = dispatch.threads() if threads is None else threads
    accuracy = settings.get_accuracy()
    if gpu is not None:
        found = _on_gpu(gpu)
        choice = dispatch.why_not(problem, slot, found[0][0], "", accuracy, count)
    else:  # where nothing runs, this says why
        found = [(get(name), unavailable(name)) for name in dispatch.PREFERENCE["cpu"]]
        choice = dispatch.choose_for(problem, slot, "auto", "cpu", accuracy, count)
    rows = []
    for backend, missing in found:
        name = backend.name
        for a in backend.slots.get(slot, ()):
            reason = missing or dispatch.reason_against(a, problem, accuracy) or ""
            able = missing is None and a.supports(problem) is None
            cost = a.cost(problem, slot, count) if able else 0.0
            why = ""
            if not isinstance(choice, str) and str(choice) == f"{name}:{a.name}":
                why = choice.why
            rows.append(
                Row(f"{name}:{a.name}", reason, a.accuracy, cost * 1e6 or None, bool(why), why)
            )
    return Listing(label.format(problem), slot, accuracy, count, tuple(rows), gpu or "")


def _on_gpu(gpu: str) -> list[tuple[Backend, str | None]]:
    """The backend of CUDA C++ as it is on this kind of GPU.

    Raises:
        UsageError: it is not named as one.
    """
    from .backends._cuda_slots import slots
    from .errors import UsageError

    if not re.fullmatch(r"sm_\d{2,3}", gpu):
        raise UsageError(f"gpu must be a compute capability such as 'sm_90', got {gpu!r}")
    return [(replace(get("cupy"), slots=slots(lambda: gpu)), None)]


def has_slot(problem: Any, slot: str) -> None:
    """Refuse a slot that is none of the problem's.

    Raises:
        UsageError: the slots that the problem's op is made of are named.
    """
    from .errors import UsageError
    from .ops import OPS

    try:
        problem.call(slot)
    except KeyError:
        raise UsageError(
            f"{problem.op} has no slot {slot!r}; it has {', '.join(OPS[problem.op].slots)}"
        ) from None
