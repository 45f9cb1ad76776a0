"""What a script does with its arrays to show a failure: one way for each kind of finding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..bound import Bound
from ..reference import Expected, exact
from .answers import differentiated
from .literal import number, wrapped
from .trial import REPEATS, Finding, Trial

#: What a script calls the arrays.
VARIABLES = {"input": "x", "weight": "w", "bias": "b", "indices": "index"}
#: What is shown of a call that fails in several ways.
_ORDER = (
    "accepted", "error", "memory", "shape", "dtype", "value", "noise", "missing", "alias", "repeat",
)  # fmt: skip
#: Of an error beyond the noise, this share is a fault; of one beyond the proven bound, all.
_NOISE = 0.6


@dataclass(frozen=True)
class Shown:
    """The end of a script.

    Args:
        lines: what follows the arrays; none where nothing can be shown.
        guarded: the array that has to lie between cells that nobody may write to.
    """

    lines: list[str]
    guarded: str = ""


def show(trial: Trial, function: Callable[..., Any], name: str) -> Shown:
    """How ``function``, called ``name``, fails; nothing if it does not."""
    bad = [f for f in trial.judge(function) if f.level != "consistent" and f.kind in _ORDER]
    made = _Showing(trial, name)
    if not bad:
        due, got = trial.formats or ("", "")
        return Shown([] if due == got else made.strides(due))
    finding = min(bad, key=lambda f: _ORDER.index(f.kind))
    if finding.kind in ("value", "noise"):
        return Shown(made.value(finding, trial.call(function).get(finding.result)))
    if finding.kind == "memory":
        variable = VARIABLES[finding.result]
        beside = "beside" in finding.reason
        return Shown(made.memory(variable, beside), variable if beside else "")
    return Shown(getattr(made, finding.kind)(finding))


class _Showing:
    """One call, as statements."""

    def __init__(self, trial: Trial, name: str) -> None:
        self.trial, self.case, self.name = trial, trial.case, name
        self.way, _, self.mapped = trial.case.way.partition(":")
        self.leaves = differentiated(self.case) if self.case.grad and self.way != "vmap" else []
        self.variables = [VARIABLES[n] for n in self.case.names]

    def call(self, arrays: list[str] | None = None, **changed: Any) -> str:
        """The call as an expression."""
        leaves = {VARIABLES[n] for n in self.leaves}
        given = [f"{v}.requires_grad_()" if v in leaves else v for v in self.variables]
        numbers = [f"{n}={v!r}" for n, v in {**dict(self.case.kwargs), **changed}.items()]
        return f"{self.name}({', '.join([*(arrays or given), *numbers])})"

    def result(self, which: str, allow: str = "") -> tuple[list[str], str]:
        """Statements that compute a result, and its name in them."""
        if self.way == "vmap":
            names = ", ".join(self.variables)
            inner = self.call(self.variables)
            dims = tuple(0 if n == self.mapped else None for n in self.case.names)
            return wrapped(f"y = torch.vmap(lambda {names}: {inner}, in_dims={dims})({names})"), "y"
        pair = dict(self.case.kwargs).get("return_indices")
        lines = wrapped(f"{'y, indices' if pair else 'y'} = {self.call()}")
        if which in ("output", "indices"):
            return lines, which.replace("output", "y")
        grad = "torch.autograd.grad"
        if self.way == "double":
            of = VARIABLES[self.mapped]
            lines += wrapped(f"[first] = {grad}(y, [{of}], dy.requires_grad_(), create_graph=True)")
            others = [n for n in self.leaves if n != self.mapped]
            inputs = ["output", *others]
            args = ", ".join(VARIABLES.get(n, "dy") for n in inputs)
            at = inputs.index(which.removeprefix("grad_grad_"))
            return [
                *lines,
                *wrapped(f"g = {grad}(first, [{args}], v, allow_unused=True)[{at}]"),
            ], "g"
        args = ", ".join(VARIABLES[n] for n in self.leaves)
        at = self.leaves.index(which.removeprefix("grad_"))
        return [*lines, *wrapped(f"g = {grad}(y, [{args}], dy{allow})[{at}]")], "g"

    def before(self) -> list[str]:
        """The call before an ``again`` case: other numbers, arguments that differ."""
        if self.way != "again":
            return []
        plus = [v if v == "index" else f"{v} + 1" for v in self.variables]
        return wrapped(self.call(plus, **dict(self.case.earlier)))

    def value(self, finding: Finding, got: torch.Tensor | None) -> list[str]:
        """The worst element, against its exact value and bound."""
        assert got is not None
        [e] = [e for e in self.trial.expected if e.name == finding.result]
        settings = self.trial.settings
        limit = e.bound(settings.precision, algorithm=settings.algorithm)
        at, tolerance = finding.worst or (), 0.0
        if finding.kind == "value" and limit.tolerance is not None:
            tolerance = float(np.broadcast_to(limit.tolerance, e.want.shape)[at])
        elif finding.kind == "noise":
            at, tolerance = _loudest(e, got, limit, settings)
        lines, name = self.result(finding.result)
        want, came = e.want[at].item(), exact(got)[at].item()
        cell = f"{name}[{', '.join(map(str, at))}]" if at else name
        given = wrapped(f"got, want = {cell}.item(), {_plain(want)}")
        return [*self.before(), *lines, *given, *_compared(came, want, tolerance)]

    def shape(self, finding: Finding) -> list[str]:
        """The sizes."""
        if self.way == "shape":
            want = tuple(self.trial.problem.output_shape)
        else:
            [want] = [e.want.shape for e in self.trial.expected if e.name == finding.result]
        lines, name = self.result(finding.result)
        given = wrapped(f"got, want = tuple({name}.shape), {want}")
        return [*self.before(), *lines, *given, *_equal()]

    def dtype(self, finding: Finding) -> list[str]:
        """The dtype."""
        [e] = [e for e in self.trial.expected if e.name == finding.result]
        lines, name = self.result(finding.result)
        return [*lines, f"got, want = {name}.dtype, torch.{e.dtype}", *_equal()]

    def strides(self, due: str) -> list[str]:
        """The memory format."""
        lines, name = self.result("output")
        order = tuple(range(self.case.rank + 2))
        moved = (order[0], *order[2:], 1)
        plain = name if due == "contiguous" else f"{name}.permute{moved}"
        assertion = f'assert {plain}.is_contiguous(), "{due} is due"'
        return [*lines, f'print("strides", {name}.stride(), "of", tuple({name}.shape))', assertion]

    def missing(self, finding: Finding) -> list[str]:
        """A result that is not there."""
        if finding.result == "indices":
            call = wrapped(f"y = {self.call()}")
            return [*call, 'print("got", type(y).__name__)', "assert isinstance(y, tuple)"]
        lines, name = self.result(finding.result, ", allow_unused=True")
        return [*lines, f'print("got", {name})', f"assert {name} is not None"]

    def error(self, finding: Finding) -> list[str]:
        """An exception."""
        which = self.trial.expected[-1].name if self.trial.expected else "output"
        lines, _ = self.result(which)
        text = 'raise AssertionError("a valid call is refused") from error'
        lines = [*self.before(), *lines]
        return ["try:", *_indented(lines), "except Exception as error:", *_indented([text])]

    def accepted(self, finding: Finding) -> list[str]:
        """No exception."""
        call = _indented(wrapped(f"y = {self.call(self.variables)}"))
        text = 'raise AssertionError(f"returned {tuple(y.shape)}, has to refuse")'
        caught = ["except Exception as error:", '    print("refused:", error)']
        return ["try:", *call, *caught, "else:", *_indented([text])]

    def memory(self, variable: str, beside: bool) -> list[str]:
        """What must not be written to: an array, or what lies beside it."""
        watched = f"{variable}_room" if beside else variable
        lines, _ = self.result(self.trial.expected[-1].name)
        kept = f"before = {watched}.clone()"
        text = f'"wrote {"beside" if beside else "to"} {variable}"'
        changed = f"changed = int(({watched} != before).sum())"
        return [kept, *lines, changed, 'print("cells changed:", changed)',
                f"assert changed == 0, {text}"]  # fmt: skip

    def alias(self, finding: Finding) -> list[str]:
        """A result that a later call changes."""
        plus = [v if v == "index" else f"{v} + 1" for v in self.variables]
        first = wrapped(f"y = {self.call(plus, **dict(self.case.earlier))}")
        name = "y"
        if dict(self.case.kwargs).get("return_indices"):
            name = "y[0]"
        return [*first, f"first = {name}.clone()", *wrapped(self.call()),
                f'print("changed cells:", int(({name} != first).sum()))',
                f"assert torch.equal({name}, first)"]  # fmt: skip

    def repeat(self, finding: Finding) -> list[str]:
        """Results that differ from run to run."""
        lines, name = self.result(finding.result)
        return ["def run():", *_indented([*lines, f"return {name}"]),
                "first = run()",
                f"same = [torch.equal(run(), first) for _ in range({2 * REPEATS})]",
                'print("runs:", len(same), "with the bits of the first:", sum(same))',
                "assert all(same)"]  # fmt: skip


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _loudest(
    e: Expected, got: torch.Tensor, limit: Bound, settings: Any
) -> tuple[tuple[int, ...], float]:
    """The cell furthest outside of the noise, and what is certainly no noise there."""
    noise = e.noise(settings.precision, algorithm=settings.algorithm)
    assert noise is not None
    sigma = np.broadcast_to(noise.sigma, e.want.shape)
    with np.errstate(all="ignore"):
        z = np.where(sigma > 0, np.abs(exact(got) - e.want) / sigma, 0.0)
    at = tuple(int(i) for i in np.unravel_index(int(np.nanargmax(z)), z.shape))
    return at, float(min(noise.limit, _NOISE * z[at]) * sigma[at])


def _plain(value: Any) -> str:
    return number(value)


def _equal() -> list[str]:
    return ['print("got", got, "want", want)', "assert got == want"]


def _compared(got: Any, want: Any, tolerance: float) -> list[str]:
    """Shown, and asserted to be within ``tolerance``, written as shortly as it still fails."""
    shown, test = 'print("got", got, "want", want)', "got == want"
    if want != want:
        test = "got != got"
    elif tolerance and np.isfinite(want):
        error = abs(got - want)
        texts = (f"{tolerance:.{digits}g}" for digits in range(2, 18))
        fitting = (t for t in texts if tolerance <= float(t) and not error <= float(t))
        test = f"abs(got - want) <= {next(fitting, repr(tolerance))}"
    elif got == want == 0:  # of the other sign
        test = "str(got) == str(want)"
    return [shown, f"assert {test}"]
