"""Tolerance policies: how others decide that a result is right, as they wrote it, and our own.

Each is named, says where it comes from, and answers one question: which elements of this result
does it reject? All are given the same fair reference, torch's own result on the CPU. Every test is
written so that NaN is rejected, as every one of the originals does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..errors import UsageError
from ..notation import near
from ..usercode import first_line
from . import target, verdict
from .bound import DIGITS, STORED
from .reference import exact
from .regimes import Setting

#: rtol, atol of torch.testing.assert_close.
TORCH = {
    "float16": (1e-3, 1e-5),
    "bfloat16": (1.6e-2, 1e-5),
    "float32": (1.3e-6, 1e-5),
    "float64": (1e-7, 1e-7),
}


@dataclass(frozen=True)
class Policy:
    """A rule that accepts or rejects a result.

    Args:
        name: for ``--policy``, and the head of its column.
        source: what it computes, and whose it is.
        rejects: from a result and its setting to a mask or number of rejected elements, or, where
            the rule is about the whole tensor, one bool.
        ours: whether it is refconv's.
        whole: whether what it rejects on whole numbers counts on all other data as well, because
            both are always run.
    """

    name: str
    source: str
    rejects: Callable[[torch.Tensor, Setting], Any]
    ours: bool = False
    whole: bool = False


def close(got: np.ndarray, want: np.ndarray, rtol: float, atol: float) -> np.ndarray:
    """Where ``|got - want| <= atol + rtol*|want|``: torch's and NumPy's allclose."""
    with np.errstate(all="ignore"):
        return (got == want) | (np.abs(got - want) <= atol + rtol * np.abs(want))


def _torch(got: torch.Tensor, s: Setting) -> np.ndarray:
    return ~close(exact(got), exact(s.reference), *TORCH[s.problem.dtype])


def _kernelbench(got: torch.Tensor, s: Setting) -> np.ndarray:
    """``allclose(reference, result)``: the tolerance is relative to the result under test."""
    tol = 1e-2 if s.problem.dtype in STORED else 1e-4
    return ~close(exact(s.reference), exact(got), tol, tol)


def _percent(got: torch.Tensor, s: Setting) -> np.ndarray:
    return ~close(exact(s.reference), exact(got), 1e-2, 1e-2)


def _cutlass(got: torch.Tensor, s: Setting) -> np.ndarray:
    """5 % of ``|a| + |b|``; of differences below 1/256 only those below 5 % of that, as written."""
    a, b, epsilon, floor = exact(got), exact(s.reference), 0.05, 1 / 256
    with np.errstate(all="ignore"):
        off = np.abs(a - b)
        tiny = (a == 0) | (b == 0) | (off < floor)
        limit = np.where(tiny, epsilon * floor, epsilon * (np.abs(a) + np.abs(b)))
        return ~((a == b) | (off < limit))


def _miopen(got: torch.Tensor, s: Setting) -> bool:
    """The root mean square of the differences, as a share of the largest value."""
    a, b = exact(got), exact(s.reference)
    tolerance = {"float16": 8.2e-3, "bfloat16": 8 * 8.2e-3}.get(s.problem.dtype, 1.5e-6)
    with np.errstate(all="ignore"):
        largest = max(np.abs(a).max(), np.abs(b).max(), np.finfo(np.float64).tiny)
        rms = np.sqrt(np.sum((a - b) ** 2)) / (np.sqrt(a.size) * largest)
    return not rms <= tolerance


def _ck(got: torch.Tensor, s: Setting) -> np.ndarray:
    """``n*u*(max|want| + |want|)``: the right law with the scale of the whole tensor."""
    a, b, dtype = exact(got), exact(s.reference), s.problem.dtype
    u = 2.0 ** -DIGITS["float32" if dtype in STORED else dtype]
    relative = max(s.bound.terms * u, 2.0 ** -DIGITS[dtype])
    largest = np.max(np.abs(b), initial=0, where=np.isfinite(b))
    return ~(close(a, b, relative, relative * largest) & np.isfinite(a) & np.isfinite(b))


def _dynamo(got: torch.Tensor, s: Setting) -> bool:
    """allclose at 1e-4; failing that, an RMS error against float64 of at most twice eager's."""
    a, b, want, tol = exact(got), exact(s.reference), s.expected.want, 1e-4
    if close(b, a, tol, tol).all():
        return False
    with np.errstate(all="ignore"):
        eager, mine = (np.sqrt(np.mean((x - want) ** 2)) for x in (b, a))
    times = 3.0 if s.problem.dtype in STORED else 2.0
    if a.size < 1000 or (b.ndim == 4 and b.shape[-1] == b.shape[-2] == 1):
        times = 3.0
    return not mine <= times * eager + tol / 10


def _f1(got: torch.Tensor, s: Setting) -> int:
    judged = verdict.compare(got, s.expected.want, s.bound)
    return judged.wrong or int(not judged.ok)


def _refconv(got: torch.Tensor, s: Setting) -> int:
    judged = verdict.compare(got, s.expected.want, s.bound, noise=s.noise)
    return judged.wrong or judged.suspect or int(judged.level != "consistent")


NAMED = {
    policy.name: policy
    for policy in (
        Policy(
            "torch",
            "torch.testing.assert_close: |a-b| <= 1e-5 + 1.3e-6 |b| in float32",
            _torch,
        ),
        Policy(
            "kbench",
            "KernelBench's eval.py: allclose at 1e-4 in float32, at 1e-2 in 16 bits",
            _kernelbench,
        ),
        Policy(
            "1e-2",
            "allclose at 1e-2: KernelBench at first; cudnn-frontend's conv fuzzer, on integers",
            _percent,
        ),
        Policy(
            "cutlass",
            "CUTLASS's profiler: |a-b| < 5 % of |a|+|b|; if |a-b| < 1/256, < 5 % of 1/256",
            _cutlass,
        ),
        Policy(
            "miopen",
            "MIOpenDriver conv: RMS of a-b <= 1.5e-6 of the largest value in float32",
            _miopen,
        ),
        Policy(
            "ck",
            "AMD's Composable Kernel, check_err: |a-b| <= n u (max|b| + |b|)",
            _ck,
        ),
        Policy(
            "dynamo",
            "torch._dynamo.utils.same: 1e-4, or RMS from float64 at most twice eager's",
            _dynamo,
        ),
        Policy(
            "f1",
            "refconv's bound: |a-y| <= n u S with each element's own S = sum |x w|",
            _f1,
            ours=True,
        ),
        Policy(
            "refconv",
            "refconv's verdict: f1 and noise, and equality on whole numbers, always run beside",
            _refconv,
            ours=True,
            whole=True,
        ),
    )
}


def find(spec: str) -> Policy:
    """A named policy, ``rtol,atol``, or the user's function ``f(got, want) -> bool``.

    The function, ``file.py:function`` or ``module:function``, gets the result under test and
    torch's, two tensors, and returns whether they are close enough. An AssertionError means no; a
    function that returns nothing, as ``assert_close`` does, means yes unless it raises.

    Raises:
        UsageError: it is none of these, or the function fails otherwise.
    """
    spec = spec.strip()
    if spec in NAMED:
        return NAMED[spec]
    numbers = spec.split(",")
    if len(numbers) == 2 and all(_is_number(n) for n in numbers):
        rtol, atol = map(float, numbers)
        return Policy(
            spec,
            f"|a-b| <= {atol:g} + {rtol:g} |b|",
            lambda got, s: ~close(exact(got), exact(s.reference), rtol, atol),
        )
    if not target.is_target(spec):
        raise UsageError(
            f"--policy: {spec!r} is none of {', '.join(NAMED)}, nor rtol,atol (e.g. 1e-3,1e-5), "
            f"nor a function (tolerances.py:close){near(spec, NAMED)}"
        )
    function = target.attribute(spec, default="close")
    if not callable(function):
        raise UsageError(f"--policy: {spec} is a {type(function).__name__}, not a function")
    return Policy(spec.rpartition(":")[2], f"your function {spec}", _user(spec, function))


def _user(spec: str, function: Callable[..., Any]) -> Callable[[torch.Tensor, Setting], bool]:
    def rejects(got: torch.Tensor, s: Setting) -> bool:
        try:
            answer = function(got.clone(), s.reference.clone())
            return answer is not None and not bool(answer)
        except AssertionError:
            return True
        except Exception as error:
            raise UsageError(f"--policy: {spec}(got, want) failed: {first_line(error)}") from error

    return rejects


def _is_number(text: str) -> bool:
    try:
        return float(text) >= 0
    except ValueError:
        return False
