"""Where wrong elements are, and what they hold, in words; ``sizes`` says it of wrong shapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from ...moves import PadProblem
from ..bound import Sum
from ..reference import Expected
from .replays_numbers import AXES
from .scene import Scene, near, right_is_whole, tolerated

#: Errors that are a smaller share of the terms' sum may be roundings.
SMALL = 2.0**-5
#: Inputs that are rounded to a narrower dtype before add to its bound: by no more than so much.
ROUNDED = 4.0
#: Results below this share of the largest are small.
TINY = 1e-3
#: Names of axes: of one cell and of several.
PLURAL = {
    "image": "images", "channel": "channels", "plane": "planes", "depth": "depth slices",
    "height": "rows", "width": "columns", "output channel": "output channels",
    "input channel": "input channels", "kernel depth": "kernel slices",
    "kernel height": "kernel rows", "kernel width": "kernel columns", "block": "blocks",
    "sample": "samples", "column": "cells of a column", "element": "elements",
}  # fmt: skip
ONE = {
    "height": "row", "width": "column", "depth": "depth slice", "kernel height": "kernel row",
    "kernel width": "kernel column", "kernel depth": "kernel slice",
}  # fmt: skip


def axis_names(scene: Scene, name: str) -> list[str]:
    """What the axes of a result are called."""
    shape, rank = scene.right[name].want.shape, scene.case.rank
    if name.endswith("bias"):
        return ["channel"]
    if name.endswith("weight"):
        first = ["output channel", "input channel"]
        if getattr(scene.problem, "transposed", False):
            first.reverse()
        return [*first, *(f"kernel {a}" for a in AXES[rank])]
    if scene.case.kind in ("unfold", "fold") and shape[-2:] != getattr(scene.problem, "size", None):
        names = ["image", "column", "block"]
    else:
        names = ["image", "channel", *AXES[rank]]
    if scene.case.way.startswith("vmap"):
        names = ["sample", *names]
    return names[len(names) - len(shape) :] if len(shape) <= len(names) else _plain(len(shape))


def _plain(axes: int) -> list[str]:
    return [f"axis {a}" for a in range(axes)]


def places(wrong: np.ndarray, names: Sequence[str]) -> list[str]:
    """Everything simple that is true of where ``wrong`` is, the most telling first."""
    if wrong.all():
        return ["all elements"]
    found: list[str] = []
    for axis, name in enumerate(names):
        found += _along(wrong, axis, name)
    found += _tails(wrong, names)
    spatial = [a for a, n in enumerate(names) if n in ("depth", "height", "width")]
    if spatial and _border(wrong, spatial):
        found.append("only the border")
    return found


def _along(wrong: np.ndarray, axis: int, name: str) -> Iterator[str]:
    """One axis: the last place, the first, from one on, every so many."""
    size = wrong.shape[axis]
    at = np.flatnonzero(wrong.any(axis=tuple(a for a in range(wrong.ndim) if a != axis)))
    if size < 2 or len(at) in (0, size):
        return
    one, many = ONE.get(name, name), PLURAL.get(name, f"places of {name}")
    low, high = int(at[0]), int(at[-1])
    if low == size - 1:
        yield f"only the last {one}"
    elif high == 0:
        yield f"only the first {one}"
    if low > 0 and size > 2:
        yield f"only {many} >= {low}"
        if 1 < len(at) == size - low:
            yield f"only the last {len(at)} {many}"
    if high < size - 1 and size > 2:
        yield f"only {many} <= {high}"
    steps = np.unique(np.diff(at))
    if len(at) > 1 and len(steps) == 1 and steps[0] > 1 and size > 3:
        step = int(steps[0])
        yield f"every {'second' if step == 2 else f'{step}th'} {one}, from {low} on"
    if len(at) == 1 and 0 < low < size - 1:
        yield f"only {one} {low}"


def _tails(wrong: np.ndarray, names: Sequence[str]) -> Iterator[str]:
    """The end of memory, of each image, each plane or each row."""
    if np.count_nonzero(wrong) == 1:
        yield "a single element"
        return
    for axis in range(wrong.ndim):
        flat = wrong.reshape(-1, int(np.prod(wrong.shape[axis:])))
        size, at = flat.shape[1], np.flatnonzero(flat.any(axis=0))
        tail = size - int(at[0])
        if tail == len(at) <= size // 2 and not (axis == wrong.ndim - 1 and tail == 1):
            whose = "the array" if axis == 0 else f"each {_whole(names[axis - 1])}"
            yield f"only the last elements of {whose} (its tail)"
            yield f"only the last {tail} elements of {whose}"


def _whole(name: str) -> str:
    """What one place of an axis holds."""
    return {"channel": "plane", "height": "row", "depth": "slice"}.get(name, name)


def _border(wrong: np.ndarray, spatial: Sequence[int]) -> bool:
    inner = wrong[tuple(slice(1, -1) if a in spatial else slice(None) for a in range(wrong.ndim))]
    return inner.size > 0 and not inner.any()


def place_words(scene: Scene, name: str) -> list[str]:
    """``places`` of a result, and whether its windows leave the input."""
    wrong = scene.wrong[name]
    found = places(wrong, axis_names(scene, name))
    if isinstance(scene.problem, PadProblem) and name == "output":
        found = [*_padded(scene.problem, wrong), *found]
    n = getattr(scene.right[name].law, "n", None)
    if n is not None and scene.simple:
        count = np.broadcast_to(n, wrong.shape)
        most = count.max(initial=0)
        if count.min(initial=most) < most and not wrong[count == most].any():
            text = "only where a window reaches into the padding or beyond the input"
            if name != "output":
                text = "only where fewer windows than elsewhere reach"
            found.insert(0, text)
    return found


def _padded(problem: PadProblem, wrong: np.ndarray) -> Iterator[str]:
    """Whether wrong cells are padding, on one axis or on several."""
    count = np.zeros(wrong.shape, dtype=int)
    for axis, (size, (low, _)) in enumerate(zip(problem.shape, problem.pads, strict=True)):
        i = np.arange(wrong.shape[axis]) - low
        count += ((i < 0) | (i >= size)).reshape(-1, *(1,) * (wrong.ndim - axis - 1))
    if (count[wrong] > 1).all():
        yield "only the corners, that are padded on several axes"
    elif (count[wrong] > 0).all():
        yield "only the padding"


def nature_words(scene: Scene, name: str) -> list[str]:
    """Everything simple that is true of what the wrong elements hold."""
    wrong, right = scene.wrong[name], scene.right[name]
    got, want = scene.got[name][wrong], right.want[wrong]
    own = np.broadcast_to(tolerated(right, scene.settings), wrong.shape)[wrong]
    with np.errstate(all="ignore"):
        return list(_held(scene, name, got, want, own))


def _held(
    scene: Scene, name: str, got: np.ndarray, want: np.ndarray, own: np.ndarray
) -> Iterator[str]:
    if not got.size or name in scene.vague:
        return
    if np.isnan(got).all():
        if np.isfinite(want).all():
            yield "they are NaN (unwritten memory, 0/0, or 0 * inf)"
        else:
            yield "they are NaN, where another special value is due (0 * inf, or inf - inf)"
        return
    if np.isinf(got).all():
        yield "they are infinite"
        return
    if not np.isfinite(got).all() and np.isfinite(want).all():
        yield "some of them are NaN or infinite (unwritten memory, or special values)"
    if np.isnan(want).all():
        yield "NaN is due there and is missing"
        return
    if np.isinf(want).all():
        yield "an infinite value is due there and is missing"
    if (got == 0).all():
        if abs(want).max() < TINY * np.nanmax(abs(scene.right[name].want)):
            yield "they are zero where small values are due (underflow, flushed to zero)"
        yield "they are zero (never computed, or cleared)"
        return
    bias = np.broadcast_to(scene.floor(name), scene.wrong[name].shape)[scene.wrong[name]]
    if near(got, bias, 4 * own).all():
        yield "they hold only the bias: nothing was added"
    if got.dtype.kind == "f" and len(got) > 1 and not near(got, want, 4 * own).all():
        ratio = float(np.sum(got * want) / np.sum(want * want))
        if abs(ratio - 1) > 1e-6 and near(got, ratio * want, 4 * own).all():
            yield f"they are {_number(ratio)} times the right value (a scale, or a divisor)"
            yield "they are a constant times the right value (a scale, or a divisor)"
    apart = got - want
    if len(apart) > 1 and (apart == apart[0]).all():
        yield f"each is off by {apart[0]:+g}"
    if len(got) > 1 and not right_is_whole(scene.right[name]) and _elsewhere(scene, name, got):
        yield "they are right values of other elements, in the wrong place"
    yield from _rounded(scene, name)


def _number(value: float) -> str:
    """As a fraction, or as 1 and a power of two, where it is one."""
    for denominator in range(1, 65):
        if abs(value * denominator - round(value * denominator)) < 1e-5 * denominator:
            top = round(value * denominator)
            return str(top) if denominator == 1 else f"{top}/{denominator}"
    power = np.log2(abs(value - 1))
    if abs(power - round(power)) < 0.01:
        return f"1 {'+' if value > 1 else '-'} 2**{round(power)}"
    return f"{value:.7g}"


def _elsewhere(scene: Scene, name: str, got: np.ndarray) -> bool:
    """Whether every wrong value is one that is due in another place."""
    want = np.sort(scene.right[name].want.ravel())
    if want.size < 8 or want.dtype.kind != "f":
        return False
    step = 4 * float(np.max(tolerated(scene.right[name], scene.settings), initial=0.0))
    spread = float(want[-1] - want[0])
    if not want.size * step < 0.01 * spread or np.unique(got).size < 3:
        return False  # they could be near each other by chance
    at = np.searchsorted(want, got).clip(1, want.size - 1)
    return bool((np.minimum(abs(want[at] - got), abs(want[at - 1] - got)) <= step).all())


def tf32(t: torch.Tensor) -> torch.Tensor:
    """float32 rounded to 11 bits, to nearest even; what is not finite stays."""
    raw = t.contiguous().view(torch.int32)
    raw = (raw + 0xFFF + ((raw >> 13) & 1)) & -(2**13)
    return torch.where(t.isfinite(), raw.view(torch.float32), t)


def _rounded(scene: Scene, name: str) -> Iterator[str]:
    """Whether errors are small, and whether all numbers have few bits."""
    e, got = scene.right[name], scene.got[name]
    if got.dtype.kind != "f" or right_is_whole(e) or not np.isfinite(got).all():
        return
    value = torch.from_numpy(got)
    if e.dtype == "float32" and got.size > 3:
        for word, dtype in (("bfloat16", torch.bfloat16), ("float16", torch.float16)):
            if bool((value.to(dtype).double() == value).all()):
                yield f"every element is a {word} number: the result was rounded to {word}"
    law = e.law
    if isinstance(law, Sum):
        share = np.abs(got - e.want) / np.where(law.scale > 0, law.scale, np.inf)
        if 0 < share.max(initial=0.0) < SMALL:
            yield from _arithmetic(e, got, law)
            yield "the errors are small, like roundings: precision is lost"


def _arithmetic(e: Expected, got: np.ndarray, law: Sum) -> Iterator[str]:
    """Every arithmetic that could have made these errors, the least lossy first."""
    wide = e.dtype in ("float32", "float64")
    known = [("float32", "ieee", "float32 arithmetic")] if e.dtype == "float64" else []
    if law.product and wide:
        known += [
            ("float32", p, f"{p} inputs".replace("tf", "TF")) for p in ("tf32", "fp16", "bf16")
        ]
    if wide and law.product:
        known += [("float32", f"{p}_acc", f"a {p} accumulator") for p in ("fp16", "bf16")]
    else:
        text = f"a {e.dtype} accumulator (sums or products rounded to {e.dtype})"
        known += [(e.dtype, "narrow", text)]
    for dtype, precision, text in known:
        limit = e.bound(precision=precision, dtype=dtype).tolerance
        grown = ROUNDED if e.dtype != dtype else 1.0
        if limit is not None and bool((np.abs(got - e.want) <= grown * limit).all()):
            yield f"the errors are what {text} could make: precision is lost"


def common(words: Sequence[Sequence[str]], most: int = 1, part: bool = False) -> str:
    """What is said of every call, the most telling first.

    Args:
        part: if nothing is, what is said of most of them.
    """
    if not any(words):
        return ""
    count = Counter(w for found in words for w in dict.fromkeys(found))
    order = list(dict.fromkeys(w for found in words for w in found))
    shared = [w for w in order if count[w] == len(words)]
    if shared:
        plain = [w for w in shared if w != "all elements"] or shared
        return "; ".join(plain[:most])
    best = max(order, key=lambda w: count[w])
    if not part or count[best] < 2 or 2 * count[best] < len(words):
        return ""
    return f"{best} (in {count[best]} of {len(words)} calls)"
