"""Problems → the cases of a pack: keys of the numbers, arguments, the exact output's hash and
bounds.

``verify`` says what the numbers mean, and makes them here too. Whole numbers are so small that all
sums are exact in the dtype; their output is the certified exact one. The real part's values are the
exact ones with float64's digits, and its bounds the oracle's, element by element (oracle.bound);
a sum's bound is the sum of them and of what summing in float64 can lose.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from itertools import product
from math import gcd, isqrt, lcm, prod
from typing import Any

import numpy as np

from ... import label
from ...errors import UnsupportedError
from ...moves import IndexProblem
from ...notation import input_shape
from ...problem import ConvProblem, PoolProblem
from .. import calls, reference
from ..bound import DIGITS, g
from ..exactly import exact
from . import verify

SCHEMA = "refconv.pack/1"
#: Whole numbers are at most this; elements that are looked at, and sums, of a case.
LIMIT, ELEMENTS, SUMS = 7, 24, 16
DTYPES = tuple(verify.NUMPY)


def text(name: str, made: Iterable[dict[str, Any]]) -> str:
    """The pack's text."""
    from ... import __version__

    lines = [json.dumps(case, ensure_ascii=False, separators=(",", ":")) + "\n" for case in made]
    body = "".join(lines)
    head = {
        "record": "pack",
        "schema": SCHEMA,
        "name": name,
        "cases": len(lines),
        "sha256": hashlib.sha256(body.encode()).hexdigest(),
        "by": f"refconv {__version__}",
    }
    return json.dumps(head) + "\n" + body


def case(name: str, problem: Any, seed: int = 0) -> dict[str, Any]:
    """One case.

    Raises:
        UnsupportedError: it cannot be packed; the message says why.
    """
    if problem.dtype not in DTYPES:
        raise UnsupportedError(f"a pack's dtypes are {', '.join(DTYPES)}, not {problem.dtype}")
    written = label.format(problem)
    arguments, pad = _arguments(problem)
    shapes = _arrays(problem)
    made: dict[str, Any] = {
        "record": "case",
        "name": name,
        "label": written,
        "op": problem.op,
        "dtype": problem.dtype,
        "arrays": shapes,
        "arguments": arguments,
        **({"pad": pad} if pad else {}),
        "output": list(problem.output_shape),
    }
    power = _power(problem)
    least = -_limit(problem) if getattr(problem, "norm", None) is None else 0
    for part in ("whole", "real"):
        keys = [_key(seed, written, part, array["name"]) for array in shapes]
        made[part] = {"keys": keys, "least": least}
    made["whole"] |= {"limit": _limit(problem), "power": power, "times": _times(problem)}
    made["real"]["bits"] = min(DIGITS[problem.dtype], 53)
    size = prod(problem.output_shape)
    key = _key(seed, written, "real", "output")
    at = _positions(key, size)
    _whole(made, problem, at)
    _real(made, problem, at, key)
    return made


def _key(seed: int, *words: str) -> int:
    """A key below 2**52, which every reader of JSON keeps."""
    return int(hashlib.sha256(" ".join([str(seed), *words]).encode()).hexdigest()[:13], 16)


def _arguments(problem: Any) -> tuple[dict[str, Any], list[list[int]]]:
    """torch's keyword arguments; and zeros around the input, where a convolution's sides differ."""
    if calls.cut(problem) is not None:
        raise UnsupportedError(f"{label.format(problem)}: torch has no call of this size")
    numbers: dict[str, Any] = calls.numbers(problem)
    pad: list[list[int]] = []
    if isinstance(problem, ConvProblem) and any(lo != hi for lo, hi in problem.padding):
        numbers["padding"] = [0] * problem.rank
        lead = len(problem.input_shape) - problem.rank
        pad = [[0, 0]] * lead + [[lo, hi] for lo, hi in problem.padding]
    return {k: list(v) if isinstance(v, tuple) else v for k, v in numbers.items()}, pad


def _arrays(problem: Any) -> list[dict[str, Any]]:
    """Name and shape of each array; of indices, the rule as well."""
    shapes = {"input": input_shape(problem)}
    if isinstance(problem, ConvProblem):
        shapes |= {"weight": problem.weight_shape, "bias": (problem.out_channels,)}
    elif isinstance(problem, IndexProblem):
        shapes["indices"] = shapes["input"]
    made: list[dict[str, Any]] = [
        {"name": n, "shape": list(shapes[n])} for n in calls.names(problem)
    ]
    if isinstance(problem, IndexProblem):  # a step without a common factor meets no place twice
        size = prod(problem.large)
        step = next(s for s in range(max(size // 2, 1), 2 * size + 2) if gcd(s, size) == 1)
        made[-1] |= {"plane": prod(problem.small), "size": size, "step": step}
    return made


def _limit(problem: Any) -> int:
    """The largest whole number: ``terms * A * A + A`` fits the dtype.

    Raises:
        UnsupportedError: not even 1 does.
    """
    terms = 1
    if isinstance(problem, ConvProblem):
        terms = prod(problem.kernel) * problem.in_channels // problem.groups
    elif not isinstance(problem, PoolProblem):
        terms = prod(getattr(problem, "kernel", ()))  # fold adds them up
    room = 2 ** DIGITS[problem.dtype] - LIMIT
    limit = min(LIMIT, isqrt(max(room, 0) // max(terms, 1)))
    if limit < 1:
        raise UnsupportedError(f"{terms} terms of whole numbers do not fit {problem.dtype}")
    return limit


def _power(problem: Any) -> int:
    """Of lp_pool, the exponent whose root it takes; else 1."""
    norm = getattr(problem, "norm", None)
    if norm is None:
        return 1
    if norm != int(norm) or not 1 <= norm <= 4:
        raise UnsupportedError(f"lp_pool with norm {norm:g}: a pack's are 1 to 4, whole")
    return int(norm)


def _times(problem: Any) -> int:
    """What makes every average a whole number: a common multiple of the windows' divisors.

    lp_pool's sum of powers is an average too, times its kernel's cells. A rounded result must stay
    nearer to its whole number than 1/4: at most 16 roundings a power.
    """
    if not isinstance(problem, PoolProblem) or problem.forward_slot == "max_pool":
        return 1
    axes = [
        {int(problem.window(a, o)[2]) for o in range(out)} for a, out in enumerate(problem.out_size)
    ]
    times = lcm(*(prod(divisors) for divisors in product(*axes)))
    most, power = LIMIT, 1
    if problem.norm is not None:
        power = _power(problem)
        most, times = prod(problem.kernel) * LIMIT**power, max(times, 2)  # 2: always rounded
    if most * times * 16 * power * 2.0 ** -DIGITS[problem.dtype] > 0.25:
        raise UnsupportedError(f"averages in {times}ths do not fit {problem.dtype}")
    return times


def _positions(key: int, size: int) -> np.ndarray:
    """The elements that are looked at: first, last and drawn ones; of a small output all."""
    if size <= ELEMENTS:
        return np.arange(size)
    drawn = verify.words(key, 4 * ELEMENTS) % np.uint64(size)
    return np.unique([0, size - 1, *drawn[: ELEMENTS - 2].astype(np.int64)])


def _inputs(made: dict[str, Any], problem: Any, part: str) -> dict[str, Any]:
    """A part's arrays by name, without the zeros around them."""
    bare = {k: v for k, v in made.items() if k != "pad"}
    return dict(zip(calls.names(problem), verify.arrays(bare, part), strict=True))


def _whole(made: dict[str, Any], problem: Any, at: np.ndarray) -> None:
    """The hash of the output, and the elements that are looked at."""
    arrays, how = _inputs(made, problem, "whole"), made["whole"]
    power = how["power"]
    if getattr(problem, "norm", None) is None:
        y = exact(problem, arrays).results["output"].astype(np.float64)
    else:  # the root of a sum of powers, which is whole
        sums = reference.forward(problem, arrays)[0].want ** power * how["times"]
        y = (np.rint(sums) / how["times"]) ** (1 / power)
    how["at"] = at.tolist()
    how["value"] = [_short(v) for v in y.flat[at]]
    rounded = 0.0 if (power, how["times"]) == (1, 1) else 8 * 2.0 ** -DIGITS[problem.dtype]
    how["within"] = [_up(rounded * abs(v)) for v in y.flat[at]]
    how["sha256"] = verify.digest(y, power, how["times"])


def _real(made: dict[str, Any], problem: Any, at: np.ndarray, key: int) -> None:
    """Elements and signed sums, with their bounds."""
    arrays, how = _inputs(made, problem, "real"), made["real"]
    expected = reference.forward(problem, arrays)[0]
    found = expected.bound().tolerance
    value, error = expected.want, np.zeros(())
    if getattr(problem, "norm", None) is None:
        done = exact(problem, arrays)
        value = done.results["output"].astype(np.float64)
        if "output" in done.wide:
            wide = done.wide["output"]
            value, error = wide.hi, np.abs(wide.lo) + wide.error
    tolerance = np.broadcast_to(0.0 if found is None else found, value.shape) + error
    how["at"], how["value"] = at.tolist(), [_short(v) for v in value.flat[at]]
    how["within"] = [_up(t) for t in tolerance.flat[at]]
    size, count = value.size, min(SUMS, value.size // 64)
    how |= {"key": key, "sums": [], "sums_within": []}
    if count:
        signs = verify.words(key, size)
        bucket = (signs % np.uint64(count)).astype(np.int64)
        sums = verify.signed_sums(value, key, count)
        most = np.bincount(bucket, np.abs(value).ravel() + tolerance.ravel(), minlength=count)
        slack = 2 * g(np.bincount(bucket, minlength=count) + 2, 2.0**-53) * most
        off = np.bincount(bucket, tolerance.ravel(), minlength=count) + slack
        how |= {"sums": [_short(s) for s in sums], "sums_within": [_up(t) for t in off]}


def _short(value: float) -> float | int:
    """A whole number without its decimal point."""
    return int(value) if value == int(value) and abs(value) < 2**53 else float(value)


def _up(tolerance: float) -> float:
    """A bound in four digits, not below it."""
    return float(f"{float(tolerance) * 1.001:.3e}") if tolerance else 0
