"""An audit: every convolution and pooling of a run, and every derivative of one, is recomputed from
the very arrays that it was given.

A TorchDispatchMode sits below autograd and autocast: it sees the calls that reach aten, with the
dtypes that they really have. Each is judged when it is made, from its own inputs, so an error is
blamed on the layer that made it and not on those behind it. The run itself is not changed: results,
random numbers and the graph are those of a run without an audit.

Not seen: what a circular pad does (slices and copies, no call), kernels of other libraries, and the
code that torch.compile makes, since torch runs a compiled model in eager while a mode is active.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from .. import label
from ..errors import UsageError
from ..problem import ConvProblem
from . import aten, calls, fingerprint, leniency, reference, sampling, verdict
from .aten import Seen
from .audit_log import Finding, Log, Row
from .audit_names import Names
from .bound import Bound, Sum

#: Seconds that the judging of a whole run may take.
BUDGET = 60.0
#: The share of what is left of the budget that one call may take.
SHARE = 1 / 16
#: Seconds that a call may take even when nothing is left.
LEAST = 0.02
#: Terms that the noise model looks at, of each result; more where it finds something.
LOOK = 2**17
#: Seconds of judging in full for a call, a cell, a multiply-accumulate and a pooling's step, and on
#: a sample for a term: measured on one core of a 2020s server, rounded up.
CALL, CELL, MAC, STEP, TERM = 1e-2, 8e-8, 6e-10, 2e-8, 1e-7


@contextmanager
def audit(budget: float = BUDGET, *, seed: int = 0, allow: Collection[str] = ()) -> Iterator[Log]:
    """Inside this block every convolution and pooling, forward and backward, is checked as it runs.

    Args:
        budget: seconds of judging; what would take too large a share of them is judged on a sample
            of its cells, and says so. It is kept approximately.
        seed: of the samples.
        allow: precisions narrower than the dtype that are accepted (``tf32``).

    Example:
        >>> net = torch.nn.Conv2d(2, 3, 3)
        >>> with audit() as log:
        ...     net(torch.ones(1, 2, 5, 5)).sum().backward()
        >>> log
        <audit: ✔ 1 layer consistent (1 forward, 1 backward calls)>
    """
    if set(allow) - {"tf32"}:
        raise UsageError(f"audit: only tf32 can be allowed, got {', '.join(sorted(allow))}")
    mode = _Audit(Log(), _Budget(budget), seed, frozenset(allow))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Using `torch.compile.module.` when there are gl")
        handles = mode.names.attach()
        try:
            with mode:
                yield mode.log
        finally:
            for handle in handles:
                handle.remove()
            if mode.names.compiled:
                mode.log.notes.append(
                    "torch.compile: torch ran the model in eager, as it does while a mode is "
                    "active; the compiled code was not audited"
                )


class _Budget:
    """Seconds that are left, and how wrong the estimates were so far."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds
        self.spent = self.estimated = 0.0

    @property
    def share(self) -> float:
        """Seconds for the next call."""
        return max(self.left * SHARE, LEAST)

    @property
    def slowness(self) -> float:
        """Seconds for an estimated second, once enough is known; estimates are never cut."""
        return max(1.0, self.spent / self.estimated) if self.estimated > 0.5 else 1.0

    def book(self, seconds: float, estimate: float | None) -> None:
        """Take off what a call took; a sample's time says nothing of the estimates."""
        self.left -= seconds
        if estimate is not None:
            self.spent += seconds
            self.estimated += estimate


class _Audit(TorchDispatchMode):
    """The mode of ``audit``."""

    def __init__(self, log: Log, budget: _Budget, seed: int, allow: frozenset[str]) -> None:
        super().__init__()
        self.log, self.budget, self.seed, self.allow = log, budget, seed, allow
        self.names = Names()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not aten.belongs(func):
            return func(*args, **kwargs)
        if not aten.readable(func):
            with self:  # in inference mode torch's own compositions arrive whole
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **kwargs)
        if not any(t.is_meta or "FakeTensor" in type(t).__name__ for t in aten.tensors(args)):
            node, differentiating = torch._C._current_autograd_node(), not torch.is_grad_enabled()
            with _disable_current_modes(), torch._C.DisableTorchFunction():
                self._see(func, args, kwargs, out, node, differentiating)
        return out

    def _see(
        self, func: Any, args: Any, kwargs: dict[str, Any], out: Any, node: Any, plain: bool
    ) -> None:
        """Add a row for the call; whatever goes wrong here is said there and stops no model."""
        started = time.perf_counter()
        before = self.names.before(node)
        try:
            seen = aten.read(func, args, kwargs, out, before)
            if seen is None:
                return
        except Exception as error:
            name = self.names.unknown(func._schema.name)
            note = f"{func._schema.name} was not judged: {_words(error)}"
            row = Row(name=name, op=name, direction="forward", label=func._schema.name, note=note)
            self.log.rows.append(row)
            return
        problem = seen.problem
        back = seen.grad is not None or (node is not None and plain)
        if back:
            name = self.names.backward(node, problem, seen.arrays.get("weight"))
        else:
            name = self.names.forward(problem)
        self.names.remember(name, problem, seen.arrays)
        note, findings = "", []
        try:
            with torch.no_grad():
                findings = self._judge(seen, started)
        except Exception as error:
            note = f"{label.format(problem)} was not judged: {_words(error)}"
        notes = dict.fromkeys(f.excused for f in findings if f.excused)
        self.log.rows.append(
            Row(
                name=name,
                op=before.op if back and before is not None else problem.op,
                direction="backward" if back else "forward",
                label=label.format(problem),
                dtype=problem.dtype,
                device=next(iter(seen.results.values())).device.type,
                results=tuple(findings),
                note="; ".join(notes) or note,
                seconds=time.perf_counter() - started,
            )
        )

    def _judge(self, seen: Seen, started: float) -> list[Finding]:
        estimate: float | None = seconds(seen)
        assert estimate is not None
        share = self.budget.share
        if estimate * self.budget.slowness <= share:
            samples = sampling.whole(seen)
        else:
            estimate = None
            samples = sampling.some(seen, share / len(seen.results) / TERM, self.seed)
        found = [finding(seen, s, self.allow, share / len(samples)) for s in samples]
        if found:
            of = max(range(len(found)), key=lambda i: found[i].rank)
            ran = _fingerprint(seen, samples[of], found[of], self.seed)
            found[of] = msgspec.structs.replace(found[of], fingerprint=ran)
        self.budget.book(time.perf_counter() - started, estimate)
        missing = set(seen.results) - {f.result for f in found}
        return found + [_unjudged(name) for name in sorted(missing)]


def seconds(seen: Seen) -> float:
    """What judging all cells of a call takes, roughly."""
    problem, backward = seen.problem, seen.grad is not None
    cells = sum(t.numel() for t in (*seen.arrays.values(), *seen.results.values()))
    step = MAC * (1 + backward) if isinstance(problem, ConvProblem) else STEP
    return CALL + calls.work(problem) * step + cells * CELL


def finding(
    seen: Seen, sample: sampling.Sample, allow: Collection[str] = (), patience: float = 1.0
) -> Finding:
    """The verdict on one result of a call.

    Args:
        patience: seconds; where a look at the noise would take longer, there is none.
    """
    e, got = sample.expected, seen.results[sample.expected.name]
    if tuple(got.shape) != sample.shape:
        reason = verdict.shape_reason(tuple(got.shape), sample.shape, seen.problem)
        return Finding(result=e.name, level="wrong", kind="shape", reason=reason, wrong=1)
    part = sample.take(got)
    limit, excused = e.bound(), ""
    usual = e.noise(look=LOOK) if _noise_takes(e) <= patience else None
    v = verdict.compare(part, e.want, limit, None, usual)
    if v.level == "suspect" and usual is not None:  # a closer look
        v = verdict.compare(part, e.want, limit, None, e.noise())
    if v.level != "consistent" and v.kind in ("ok", "value"):
        better = leniency.excuse(part, e, v.level, LOOK)
        if better is None and "tf32" in allow:
            better = _by_tf32(part, e)
        if better is not None:
            v, limit, excused = better
    worst = None if v.worst is None else sample.at(v.worst)
    reason = v.reason
    if v.worst is not None and worst is not None:
        reason = reason.replace(verdict.show(v.worst), verdict.show(worst))
    return Finding(
        result=e.name,
        level="unjudged" if v.kind == "unjudged" else v.level,
        kind=v.kind,
        reason=reason,
        rule=limit.rule,
        ratio=_finite(v.ratio),
        noise=_finite(v.z_max if v.z_rms is None else v.z_rms),
        max_error=_finite(v.error),
        worst=worst,
        wrong=v.wrong,
        cells=part.numel(),
        of=got.numel(),
        excused=excused,
    )


def _noise_takes(e: reference.Expected) -> float:
    """Seconds for writing out the terms of 64 cells, the fewest that the noise model looks at."""
    return 64 * float(np.max(e.law.n, initial=0)) * TERM if isinstance(e.law, Sum) else 0.0


def _by_tf32(
    part: torch.Tensor, e: reference.Expected
) -> tuple[verdict.Verdict, Bound, str] | None:
    """The verdict by TF32's bound and noise, if it is not wrong by these."""
    if e.dtype != "float32":
        return None
    limit = e.bound("tf32")
    v = verdict.compare(part, e.want, limit, None, e.noise("tf32", look=LOOK))
    return (v, limit, "inside the bound of TF32, which was allowed") if v.ok else None


def _fingerprint(seen: Seen, sample: sampling.Sample, found: Finding, seed: int) -> str:
    """The arithmetic that a convolution's errors look like; nothing where they do not tell.

    Some cells mostly tell; all are asked where something is wrong that they do not explain.
    """
    if not isinstance(seen.problem, ConvProblem) or found.kind not in ("ok", "value"):
        return ""
    got, full = seen.results[found.result], sample.chosen is None
    part = sampling.cells(seen, found.result, LOOK, seed) if full else sample
    ran = fingerprint.fingerprint(part.take(got), part.expected)
    if ran.name == "undecided" and full and found.level != "consistent":
        ran = fingerprint.fingerprint(got, sample.expected)
    return "" if ran.name == "undecided" else ran.name


def _unjudged(name: str) -> Finding:
    return Finding(result=name, level="unjudged", kind="unjudged", reason="no reference for it")


def _finite(x: float | None) -> float | None:
    return None if x is None or x != x or abs(x) == float("inf") else float(x)


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
