"""A scene: a failing call, run again, with everything that is needed to try what went wrong."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
import torch

from .. import reference
from ..reference import Expected, exact
from . import answers
from .case import Case
from .layouts import Guarded
from .trial import Settings, Trial

Named = answers.Named
#: A replay sums in another order, and other terms: so many times its own bound.
SLACK = 4.0
#: A suspect result is explained if this share of its error is left.
LEFT = 0.25
GRADIENT = "grad_output"
#: Arrays above are large: one run of a call must do, and mistakes of counters are tried first.
LARGE = 2**14


def near(a: np.ndarray, b: np.ndarray, tolerance: Any) -> np.ndarray:
    """Equal, both NaN, or apart by no more than ``tolerance``."""
    with np.errstate(all="ignore"):
        close = np.abs(a - b) <= tolerance
    return close | (a == b) | ((a != a) & (b != b))


def tolerated(e: Expected, settings: Settings) -> np.ndarray:
    """How far each element may be off: 0 where results must be equal."""
    bound = e.bound(precision=settings.precision, algorithm=settings.algorithm)
    made = np.zeros(()) if bound.tolerance is None else bound.tolerance
    return np.broadcast_to(made, e.want.shape)


@dataclass
class Scene:
    """A failing call, run again, with everything that a replay may change.

    Args:
        arrays: as the function got them, memory included; ``dy``: the incoming gradient.
        before: arrays of a call that was made before this one; none if there was no such call.
        kept: whether wrong elements change with the calls before; ``changing``: from run to run;
            ``outside``: with the memory round the arrays.
        right, got: results by name, what is due and what came.
        wrong: which elements are wrong, for each result that has any.
        vague: results that are inside the proof, but outside of its noise.
    """

    case: Case
    settings: Settings
    problem: Any
    arrays: Named
    dy: torch.Tensor | None
    before: Named
    right: dict[str, Expected]
    got: dict[str, np.ndarray]
    wrong: dict[str, np.ndarray]
    vague: frozenset[str] = frozenset()
    kept: bool = False
    changing: bool = False
    outside: bool = False
    known: dict[Any, dict[str, Expected]] = field(default_factory=dict)

    @property
    def simple(self) -> bool:
        """Whether results are those of the op and its gradients, not stacks or second ones."""
        return not self.case.way.startswith(("vmap", "double"))

    def due(self, problem: Any = None, **arrays: torch.Tensor) -> dict[str, Expected]:
        """What is right for another problem or other arrays, of the results that are wrong;
        ``grad_output``: what is sent back.
        """
        problem = self.problem if problem is None else problem
        if not arrays and problem in self.known:
            return self.known[problem]
        dy = arrays.pop(GRADIENT, self.dy)
        given = {name: arrays.get(name, array) for name, array in self.arrays.items()}
        made = {e.name: e for e in self._due(problem, given, dy)}
        if not arrays and dy is self.dy:
            self.known[problem] = made
        return made

    def _due(self, problem: Any, given: Named, dy: torch.Tensor | None) -> list[Expected]:
        if not self.simple:
            return answers.due(self.case, problem, given, dy)
        back = {n for n in self.wrong if n.startswith("grad_")}
        made = reference.forward(problem, given) if len(back) < len(self.wrong) else []
        return made + (reference.backward(problem, given, dy) if back else [])

    def axis(self, name: str, which: str) -> int | None:
        """The ``batch`` or ``channel`` axis of an array or result; None if it has none."""
        if name.endswith("bias"):
            return 0 if which == "channel" else None
        if name.endswith("weight"):
            return None
        held = self.dy if name == GRADIENT else self.arrays.get(name)
        shape = self.right[name].want.shape if held is None else held.shape
        at = len(shape) - self.case.rank - (1 if which == "channel" else 2)
        return at if at >= 0 else None

    def floor(self, name: str) -> np.ndarray:
        """What a result holds where no term was added: the bias, or 0."""
        b = self.arrays.get("bias")
        if name != "output" or b is None or not self.simple:
            return np.zeros(())
        return exact(b).reshape(-1, *(1,) * self.case.rank)

    def explained(self, name: str, made: Any) -> float:
        """How well ``made`` explains a wrong result: 1 in every element, 0.5 in the wrong ones."""
        got, wrong, right = self.got[name], self.wrong[name], self.right[name]
        is_sum = isinstance(made, Expected)
        want = made.want if is_sum else np.asarray(made)
        if want.shape != got.shape:
            return 0.0
        if name in self.vague:
            return float(_rms(got - want) <= LEFT * _rms(got - right.want))
        own = tolerated(right, self.settings)
        tolerance = tolerated(made, self.settings) if is_sum else np.max(own, initial=0.0)
        tolerance = np.where(np.isfinite(tolerance), tolerance, 0.0)
        same = near(got, want, SLACK * tolerance)
        if not same[wrong].all():
            return 0.0
        with np.errstate(all="ignore"):
            if _rms((got - want)[wrong]) > _rms((got - right.want)[wrong]) / 2:
                return 0.0  # hardly nearer than what is due
        if same.all():
            return 1.0
        with np.errstate(all="ignore"):
            telling = wrong & np.isfinite(want) & ~near(want, self.floor(name), tolerance)
        enough = 2 if want.dtype.kind == "f" and not right_is_whole(right) else 4
        enough = min(enough, int(np.count_nonzero(wrong)))
        return 0.5 if np.unique(want[telling]).size >= enough else 0.0


def right_is_whole(e: Expected) -> bool:
    """Whether all values are whole numbers, which may agree by chance."""
    with np.errstate(all="ignore"):
        return bool(np.all((e.want == np.rint(e.want)) | ~np.isfinite(e.want)))


def _rms(a: np.ndarray) -> float:
    with np.errstate(all="ignore"):
        return float(np.sqrt(np.mean(np.abs(a) ** 2, dtype=np.float64))) if a.size else 0.0


def scene(
    function: Callable[..., Any],
    case: Case,
    settings: Settings,
    names: frozenset[str],
    vague: frozenset[str],
) -> Scene | None:
    """``case``, run again; None if nothing can be compared.

    A failure that is gone may need an earlier call: one is made, with other numbers.

    Args:
        names: results that were wrong; ``vague``: those that were suspect.
    """
    trial = Trial(case, settings)
    if trial.refusal or not trial.expected:
        return None
    # Copies of their own: the function may have written to those that it got.
    plain = dict(zip(case.names, case.arrays(), strict=True))
    arrays = {name: Guarded(a).tensor for name, a in plain.items()}
    dy = None if trial.dy is None else trial.dy.cpu()
    right = {e.name: e for e in trial.expected}
    first = answers.earlier(case)
    before = dict(zip(first.names, first.arrays(), strict=True))
    again = case.way == "again"

    def run(earlier: bool, trial: Trial = trial) -> Scene | None:
        got = _again(function, trial, first if earlier else None, before)
        wrong = _wrong(got, right, settings, names, vague)
        if not wrong:
            return None
        doubtful = frozenset(n for n in vague if n in wrong and wrong[n].all())
        held = before if earlier else {}
        return Scene(case, settings, trial.problem, arrays, dy, held, right, got, wrong, doubtful)

    if max(map(prod, case.shapes)) > LARGE:
        return run(again)
    runs = [run(again) for _ in range(3)]
    after = run(True)
    found = [r for r in (runs[0], after, *runs[1:]) if r is not None]
    if not found:
        return None
    if not _alike(runs[1], runs[2]):
        return replace(found[0], changing=True)
    if not again and not _alike(runs[2], after):
        return replace(after or found[0], kept=True)
    other = Trial(case, settings)
    for t in other.arrays.values():
        _surround(t)
    return replace(found[0], outside=not _alike(found[0], run(again, other)))


def _surround(t: torch.Tensor) -> None:
    """Put other numbers into all of the memory that ``t`` lies in but is not ``t``."""
    flat = t.as_strided((t.untyped_storage().nbytes() // t.element_size(),), (1,), 0)
    inside = torch.zeros_like(flat, dtype=torch.bool)
    inside.as_strided(t.shape, t.stride(), t.storage_offset()).fill_(True)
    flat[~inside] = flat[~inside] + 1 if t.dtype != torch.bool else ~flat[~inside]


def _again(
    function: Callable[..., Any], trial: Trial, earlier: Case | None, before: Named
) -> dict[str, np.ndarray]:
    """What the function gives, after an earlier call if there is one; nothing if it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if earlier is not None:
                moved = {n: a.to(trial.settings.device) for n, a in before.items()}
                answers.got(function, earlier, moved, None)
            found = trial.call(function)
        except Exception:  # a call that raises is not a matter of values
            return {}
    return {n: exact(t) for n, t in found.items()}


def _wrong(
    got: dict[str, np.ndarray],
    right: dict[str, Expected],
    settings: Settings,
    names: frozenset[str],
    vague: frozenset[str],
) -> dict[str, np.ndarray]:
    """The wrong elements of each result that has any; all of a vague one."""
    wrong = {}
    for name in (names | vague) & got.keys() & right.keys():
        e, value = right[name], got[name]
        if value.shape == e.want.shape:
            cells = ~near(value, e.want, tolerated(e, settings))
            if cells.any():
                wrong[name] = cells
            elif name in vague:
                wrong[name] = np.ones(value.shape, dtype=bool)
    return wrong


def _alike(a: Scene | None, b: Scene | None) -> bool:
    """Whether two runs of one call gave the same wrong elements."""
    if a is None or b is None:
        return a is b
    return a.wrong.keys() == b.wrong.keys() and all(
        bool(near(a.got[n], b.got[n], 0.0)[a.wrong[n] | b.wrong[n]].all()) for n in a.wrong
    )
