"""One step of a ladder in one dtype and layout, judged on all odd problems; and torch itself, by
the same oracle.

In poisoned memory between guard bands, twice: the bits must not change. The first error that stays
in the process ends the item; the worker says where it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from ... import dispatch, guard
from ...backends import get
from ...errors import UnsupportedError
from ...oracle import leniency, verdict
from ...oracle.algorithm_bounds import ALGORITHMS
from ...oracle.bound import Sum
from ...oracle.fingerprint import fingerprint
from ...oracle.reference import Expected
from .. import passes
from . import odd
from .device import Device, set_tf32
from .odd import Odd

Progress = Callable[[str], None]
#: Failures of one item that are told in full.
TOLD = 5
#: Cells without which a result's errors do not say which arithmetic made them.
CELLS = 1000
#: Results of an item whose errors are looked at.
LOOKS = 3
#: Terms that are looked at for the noise of a result.
TERMS = 2**15


def precision(algorithm: str) -> str:
    """What a step declares to round its inputs to.

    Example:
        >>> precision("igemm_tf32"), precision("igemm_tf32x3"), precision("direct")
        ('tf32', 'ieee', 'ieee')
    """
    return "tf32" if algorithm.endswith("_tf32") else "ieee"


def rule(algorithm: str) -> str:
    """The algorithm by whose bound a step is judged."""
    return algorithm if algorithm in ALGORITHMS else "direct"


def items(backends: tuple[str, ...]) -> list[dict[str, Any]]:
    """Every slot, algorithm, dtype and layout of the backends, the usual ones first; then torch."""
    found = [
        {"backend": name, "slot": slot, "algorithm": a.name, "dtype": dtype, "layout": layout}
        for layout in odd.LAYOUTS
        for dtype in odd.DTYPES
        for name in backends
        for slot, algorithms in get(name).slots.items()
        for a in algorithms
    ]
    found += [
        {
            "backend": "torch",
            "slot": slot,
            "algorithm": arithmetic,
            "dtype": dtype,
            "layout": layout,
        }
        for layout in odd.LAYOUTS[:2]
        for dtype in odd.DTYPES
        for arithmetic in (("ieee", "tf32") if dtype == "float32" else ("ieee",))
        for slot in ("conv_fprop", "conv_dgrad", "conv_wgrad", "max_pool", "avg_pool")
    ]
    for item in found:
        item["kind"], item["key"] = "verify", "/".join(["verify", *item.values()])
    return found


class Tally:
    """Results counted, and the first failures in full."""

    def __init__(self) -> None:
        self.cases = self.failed = self.suspect = 0
        self.failures: list[dict[str, str]] = []
        self.arithmetic: Counter[str] = Counter()
        self.worst = 0.0
        self.repeatable = True

    def add(self, where: str, reason: str, suspect: bool = False) -> None:
        """Count one case; a reason says what is wrong."""
        self.cases += 1
        self.failed += bool(reason) and not suspect
        self.suspect += suspect
        if reason and len(self.failures) < TOLD:
            self.failures.append({"case": where, "reason": reason[:400]})

    def look(self, y: torch.Tensor, e: Expected, kind: str) -> None:
        """Say which arithmetic the errors of a few products show."""
        product = isinstance(e.law, Sum) and e.law.product
        if kind == "real" and product and y.numel() > CELLS and self.arithmetic.total() < LOOKS:
            self.arithmetic[fingerprint(y, e).name] += 1

    def record(self) -> dict[str, Any]:
        """What is written down."""
        return {
            "status": "wrong" if self.failed else "ok",
            "cases": self.cases,
            "failed": self.failed,
            "suspect": self.suspect,
            "failures": self.failures,
            "worst": self.worst,
            "repeatable": self.repeatable,
            "arithmetic": dict(self.arithmetic),
        }


def verify(item: dict[str, Any], device: Device, progress: Progress) -> dict[str, Any]:
    """The record of one item.

    Args:
        progress: told of every case before it runs.
    """
    if item["backend"] == "torch":
        return _torch(item, device, progress)
    slot, name, layout = item["slot"], item["algorithm"], item["layout"]
    step = next(a for a in get(item["backend"]).slots[slot] if a.name == name)
    every = odd.problems(slot, item["dtype"], device.rehearsal or item.get("small", False))
    able = [o for o in every if step.supports(o.problem) is None]
    if not able:
        reason = step.supports(every[0].problem) if every else "no problem is listed for it"
        return {"status": "unsupported", "reason": reason}
    tally = Tally()
    for one in able:
        for kind in odd.kinds(slot)[: 2 if layout != "contiguous" else 3]:
            where = f"{one.label}, {layout}, {kind}"
            progress(where)
            _case(tally, one, kind, item, device, where)
    return tally.record()


def _case(
    tally: Tally, one: Odd, kind: str, item: dict[str, Any], device: Device, where: str
) -> None:
    """Run a step twice on one problem, and judge what it gives."""
    slot, layout = item["slot"], item["layout"]
    arrays, expected = odd.answers(one.source, kind)
    given, names = odd.given(one, slot, arrays, expected)
    ready = [odd.laid_out(x if x is None else x.to(device.kind), layout) for x in given]
    last = odd.last(one, slot, layout)
    run = partial(dispatch.run, one.problem, slot, *ready, channels_last=last)
    backend = f"{item['backend']}:{item['algorithm']}"
    try:
        with guard.checked():
            fenced = _several(run(backend=backend))
        device.synchronize()
        first = _several(run(backend=backend))  # bands can keep an output from being aligned
        kept = [y.clone() for y in first]
        spoil(first)
        del first
        again = _several(run(backend=backend))
        device.synchronize()
    except (guard.GuardError, UnsupportedError) as error:
        tally.add(where, f"{type(error).__name__}: {error}")
        return
    except Exception as error:
        if not device.healthy():
            raise
        tally.add(where, f"{type(error).__name__}: {error}")
        return
    same = all(map(_same_bits, kept, again))
    tally.repeatable &= same
    tally.add(where, "" if same else "other bits when it is run again")
    for got, how in ((fenced, "between guard bands"), (again, "as users call it")):
        level, reason = "consistent", ""
        for y, result in zip(got, names, strict=False):
            e = expected[result]
            v = _verdict(y, e, kind, precision(item["algorithm"]), rule(item["algorithm"]))
            if verdict.LEVELS.index(v.level) > verdict.LEVELS.index(level):
                level, reason = v.level, f"{result}: {v.reason}"
            tally.worst = max(tally.worst, _finite(v.ratio))
            tally.look(y, e, kind)
        tally.add(f"{where}, {how}", reason, level == "suspect")


def spoil(results: tuple[torch.Tensor, ...]) -> None:
    """Leave NaN, or for indices an impossible number, where the next results may come to lie."""
    for part in results:
        part.detach().fill_(float("nan") if part.is_floating_point() else -(2**31) + 1)


def _several(results: Any) -> tuple[torch.Tensor, ...]:
    return results if isinstance(results, tuple) else (results,)


def _verdict(y: torch.Tensor, e: Expected, kind: str, narrow: str, law: str) -> verdict.Verdict:
    noise = e.noise(narrow, algorithm=law, look=TERMS) if kind == "real" else None
    return verdict.compare(y, e.want, e.bound(narrow, algorithm=law), None, noise)


def _same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal, NaNs in the same places."""
    return torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(), b.nan_to_num())


def _finite(x: float | None) -> float:
    return x if x is not None and abs(x) < float("inf") else 0.0


def _torch(item: dict[str, Any], device: Device, progress: Progress) -> dict[str, Any]:
    """Torch on the same problems; a float32 item says whether TF32 is on."""
    tf32 = item["algorithm"] == "tf32"
    set_tf32(tf32)
    torch.backends.cudnn.benchmark = False  # trying all algorithms takes longer than all these runs
    tally = Tally()
    for one in odd.problems(item["slot"], item["dtype"], device.rehearsal):
        for kind in ("integer", "real"):
            where = f"{one.label}, {item['layout']}, {kind}"
            progress(where)
            arrays, expected = odd.answers(one.source, kind)
            way = _way(one.source, item["slot"])
            ready = {n: odd.laid_out(a.to(device.kind), item["layout"]) for n, a in arrays.items()}
            grad = ready.pop("grad")
            try:
                call = passes.bind("torch", one.source, ready, grad, way)
                got = [call(), call()]
                device.synchronize()
            except (RuntimeError, TypeError, ValueError, UnsupportedError) as error:
                if not device.healthy():
                    raise
                progress(f"torch refuses it: {' '.join(str(error).split())[:100]}")
                continue
            first, again = map(_several, got)
            tally.repeatable &= all(map(_same_bits, first, again))
            for y, result in zip(first, passes.RESULTS[way], strict=False):
                e = expected[result]
                v = _peers(y, e, kind, item["algorithm"])
                bad = v.level != "consistent"
                tally.add(where, f"{result}: {v.reason}" if bad else "", v.level == "suspect")
                tally.worst = max(tally.worst, _finite(v.ratio))
                tally.look(y, e, kind)
    return tally.record()


def _peers(y: torch.Tensor, e: Expected, kind: str, narrow: str) -> verdict.Verdict:
    """The verdict on torch, which names no algorithm and promises no float32 sums for 16 bits."""
    tried = [_verdict(y, e, kind, narrow, "direct")]
    if tried[0].level == "wrong" and kind == "real":
        tried += [_verdict(y, e, kind, narrow, law) for law in ("winograd_f4", "fft")]
    best = min(tried, key=lambda v: verdict.LEVELS.index(v.level))
    excused = leniency.excuse(y, e, best.level)
    return best if excused is None else excused[0]


def _way(problem: Any, slot: str) -> str:
    """The way through the op that runs the slot."""
    if slot in ("max_pool", "avg_pool"):
        return "indices" if slot == "max_pool" else "fprop"
    if slot == "conv_wgrad":
        return "wgrad"
    return "fprop" if slot == problem.forward_slot else "dgrad"
