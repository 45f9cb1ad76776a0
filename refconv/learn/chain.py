"""Forwards: which plain chains of convolutions lead from one size to another?"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count, groupby
from typing import Any

from ..errors import UsageError
from .arithmetic import Axis
from .receptive import Field, through
from .shown import Shown


@dataclass(frozen=True)
class Chain:
    """One way from a size to another.

    Args:
        axes: one a layer.
        field: the receptive field behind the last.
    """

    axes: tuple[Axis, ...]
    field: Field

    @property
    def sizes(self) -> tuple[int, ...]:
        """From the input to the last layer."""
        return (self.axes[0].size, *(axis.out for axis in self.axes))

    @property
    def text(self) -> str:
        """The layers, equal ones in a row once: ``k4 s2 p1 (3x), k8``."""
        runs = [(name, len(list(run))) for name, run in groupby(map(_brief, self.axes))]
        return ", ".join(name if n == 1 else f"{name} ({n}x)" for name, n in runs)

    def as_dict(self) -> dict[str, Any]:
        """The chain for JSON."""
        return {
            "layers": [_brief(axis) for axis in self.axes],
            "sizes": list(self.sizes),
            "receptive_field": self.field.as_dict(),
            "axes": [axis.as_dict() for axis in self.axes],
        }


@dataclass(frozen=True, repr=False)
class Chains(Shown):
    """Plain chains between two sizes, plainest first.

    Args:
        transposed: whether they are of transposed convolutions, since the size grows.
    """

    size: int
    out: int
    layers: int
    chains: tuple[Chain, ...]
    transposed: bool

    @property
    def text(self) -> str:
        """A line a chain."""
        kind = "transposed convolution" if self.transposed else "convolution"
        what = f"{self.size} to {self.out} in {self.layers} {kind}{'s' * (self.layers > 1)}"
        if not self.chains:
            return f"{what}: no plain chain does it; solve(…) finds the numbers of a single layer"
        heads = [("layers", "sizes", "receptive field")]
        rows = heads + [
            (c.text, " -> ".join(map(str, c.sizes)), f"{c.field.size}, stride {c.field.stride}")
            for c in self.chains
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([f"{what}: {self.chains[0].text}", *lines])

    def as_dict(self) -> dict[str, Any]:
        """The chains for JSON."""
        chains = [chain.as_dict() for chain in self.chains]
        asked = {"size": self.size, "out": self.out, "layers": self.layers}
        return {**asked, "transposed": self.transposed, "chains": chains}


#: Plain layers, ``(kernel, stride, padding, output_padding)``, and what each costs in plainness.
MENU = {
    (4, 2, 1, 0): 1.0,  # halves an even size exactly
    (3, 1, 1, 0): 1.1,  # keeps the size
    (2, 2, 0, 0): 2.0,
    (3, 2, 1, 0): 2.1,
    (3, 1, 0, 0): 2.2,
    (5, 2, 2, 0): 3.0,
    (5, 1, 0, 0): 3.1,
    (3, 3, 0, 0): 3.2,
    (4, 4, 0, 0): 3.9,
    (8, 4, 2, 0): 4.0,
}
MENU_TRANSPOSED = {
    (4, 2, 1, 0): 1.0,  # doubles
    (3, 1, 1, 0): 1.1,
    (2, 2, 0, 0): 2.0,
    (3, 2, 1, 1): 2.1,
    (5, 2, 2, 1): 3.0,
    (4, 4, 0, 0): 3.9,
    (8, 4, 2, 0): 4.0,
}


def chains(size: int, out: int, layers: int = 4, *, most: int = 8) -> Chains:
    """Plain chains of ``layers`` convolutions from one size to another, plainest first.

    Where the size grows they are transposed convolutions. Plain is: the layers of a GAN or a ResNet
    (kernel 4, stride 2, padding 1 halves; kernel 3, padding 1 keeps), all alike, nothing left over;
    the last layer (of a generator the first) may be one window as large as the image.

    Args:
        most: how many chains at most.

    Raises:
        UsageError: a number that is no size.

    Example:
        >>> chains(64, 1, layers=5, most=1).chains[0].text
        'k4 s2 p1 (4x), k4 s1 p0'
    """
    for name, value in (("size", size), ("out", out), ("layers", layers), ("most", most)):
        if not isinstance(value, int) or value < 1:
            raise UsageError(f"chains: {name} must be an int of at least 1, got {value!r}")
    if layers > 16 or max(size, out) > 1 << 16:
        raise UsageError("chains: at most 16 layers, and sizes to 65536")
    grows = out > size

    @cache
    def steps(here: int, left: int) -> tuple[tuple[float, Axis], ...]:
        """What may come next, if ``left`` layers with it can still reach ``out``."""
        end = left == (layers if grows else 1)
        made = [
            (cost, axis) for cost, axis in _menu(here, out, grows, end) if can(axis.out, left - 1)
        ]
        return tuple(made)

    @cache
    def can(here: int, left: int) -> bool:
        return here == out if left == 0 else bool(steps(here, left))

    found: list[Chain] = []
    order = count()
    queue: list[tuple[float, int, tuple[Axis, ...]]] = [(0.0, next(order), ())]
    seen: set[tuple[str, ...]] = set()
    while queue and len(found) < most:
        cost, _, path = heapq.heappop(queue)
        here, left = path[-1].out if path else size, layers - len(path)
        if left == 0:
            if (names := tuple(map(_brief, path))) not in seen:
                seen.add(names)
                found.append(Chain(path, _field(path)))
            continue
        for more, axis in steps(here, left):
            change = path and _brief(path[-1]) != _brief(axis) and axis.kernel != axis.size
            heapq.heappush(queue, (cost + more + bool(change), next(order), (*path, axis)))
    return Chains(size, out, layers, tuple(found), grows)


def _menu(size: int, out: int, grows: bool, end: bool) -> Iterator[tuple[float, Axis]]:
    """The layers that may follow on a size, and their costs."""
    rule = "transposed" if grows else "conv"
    for (k, s, p, op), cost in (MENU_TRANSPOSED if grows else MENU).items():
        axis = Axis.of(rule, size, kernel=k, stride=s, padding=(p, p), output_padding=op)
        if axis.out >= 1 and (axis.out <= out if grows else axis.out >= out):
            yield cost + 5 * (axis.left_over_inside > 0) + bool(axis.left_over), axis
    if not end:
        return
    if grows:  # one input cell becomes the kernel's stamp
        for k in (4, 8, 7, 6, 5, 3, 2) if size == 1 else ():
            yield 1 + 0.1 * (k != 4), Axis.of(rule, size, kernel=k)
    elif size > out:  # one window over all, or a few
        k = size - out + 1
        yield (1 if out == 1 else 3) + k // 8, Axis.of(rule, size, kernel=k)


def _field(path: Sequence[Axis]) -> Field:
    field = Field()
    for axis in path:
        field = through(field, axis)
    return field


def _brief(axis: Axis) -> str:
    extra = f" op{axis.output_padding}" if axis.output_padding else ""
    return f"k{axis.kernel} s{axis.stride} p{axis.padding[0]}{extra}"
