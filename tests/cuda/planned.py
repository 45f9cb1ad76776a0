"""What plans launch, as a compiler sees it: files and sets of macros, from the plans themselves.

Of the listed problems in three layouts, and of what ``refconv gpu`` times, where tiles are large.
What differs in a window's numbers alone is one kind: it has any number of members, and the compile
gate takes the heaviest and some others. Unless REFCONV_TESTS=thorough, one kind stands for several
where their code is nearly the same (``Unit.group``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import takewhile
from math import prod

from refconv.backends import get
from refconv.backends._cuda_launch import Given, Launch
from refconv.backends._cuda_source import Macros
from refconv.harness.gpu import compiling, odd, rows

from . import running
from .running import DTYPES, EACH, THOROUGH, find

#: Macros that follow from a window's numbers and an image's size.
NUMBERS = (
    "TAPS_H", "TAPS_W", "STRIDE_H", "STRIDE_W", "DILATION_H", "DILATION_W", "PHASE_H", "PHASE_W",
    "ROWS", "THREADS_W", "THREADS_H", "THREADS_C", "PLANES", "PARTS",
)  # fmt: skip
#: For each target, the element types that are compiled, and whether of a file and type the heaviest
#: kind stands for the others (of sm_80 unless REFCONV_TESTS=thorough: two minutes of a compiler).
TARGETS = {
    "sm_75": (("float32", "bfloat16"), True),
    "sm_80": (("float32", "bfloat16"), not THOROUGH),
    "sm_90a": (DTYPES, False),
    "sm_90a wide": (("float32", "float64", "bfloat16"), True),
}
#: Slots whose results are asked for in torch's default layout whatever the input's.
FLAT = ("unfold", "fold", "conv_bgrad", "gather", "scatter", "scatter_add")


@dataclass
class Unit:
    """A file with macros: one compilation.

    Args:
        arch: what its step is written for.
        shared: kernel → the most dynamic shared memory that it is launched with.
    """

    source: str
    macros: Macros
    arch: str
    shared: dict[str, int] = field(default_factory=dict)

    @property
    def kind(self) -> tuple[str, Macros]:
        """All but a window's numbers."""
        return self.source, tuple(m for m in self.macros if m[0] not in NUMBERS)

    @property
    def dtype(self) -> str:
        """Of its elements; empty where they are only moved."""
        return dict(self.macros).get("ELEMENT", "")

    @property
    def like(self) -> tuple[str, Macros]:
        """The kind whose code is nearly the same: of bfloat16, which is loaded as float16 is, and
        without the comparison that clamps results.
        """
        source, macros = self.kind
        return source, tuple(
            (name, "bfloat16" if value == "float16" else value)
            for name, value in macros if name != "RELU"
        )  # fmt: skip

    @property
    def group(self) -> object:
        """Of whom the heaviest is compiled."""
        if THOROUGH or self.kind == self.like:
            return self.kind
        return self.dtype, "RELU" in dict(self.macros)

    @property
    def weight(self) -> int:
        """What registers and shared memory grow with, about; channels_last takes more."""
        numbers = ((name, int(value)) for name, value in self.macros if value.isdigit())
        return prod(n + name.endswith("_LAST") for name, n in numbers if n)


@cache
def units(is_wide: bool = False) -> list[Unit]:
    """All of them, in a fixed order.

    Args:
        is_wide: as if arrays reached over 2^31 elements.
    """
    found: dict[tuple[str, Macros], Unit] = {}
    with wide() if is_wide else as_they_are():
        for arch, launch in _launched():
            unit = Unit(launch.source, launch.macros, arch)
            unit = found.setdefault((unit.source, unit.macros), unit)
            unit.arch = min(unit.arch, arch)
            unit.shared[launch.kernel] = max(unit.shared.get(launch.kernel, 0), launch.shared)
    return sorted(found.values(), key=lambda u: (u.source, u.macros))


def _launched() -> Iterator[tuple[str, Launch]]:
    known = {(slot, a.name): a for slot, made in get(compiling.BACKEND).slots.items() for a in made}
    for slot, name in EACH:
        arch = find(slot, name).arch
        for dtype in DTYPES:
            for problem in running.problems(slot, name, dtype):
                for layout in odd.LAYOUTS:
                    last = layout == "channels_last" and slot not in FLAT
                    last = last and len(problem.output_shape) in (4, 5)
                    for launch in compiling.launches(
                        problem, slot, known[slot, name], layout, last
                    ):
                        yield arch, launch
    for row in takewhile(lambda r: ":" not in r.case, rows.every()):  # behind it come networks
        fitting = (s for s in running.TABLE.get(row.slot, ()) if s.supports(row.problem) is None)
        for name in (step.name for step in fitting):
            arch, relu = find(row.slot, name).arch, row.way == "fused"
            for layout in odd.LAYOUTS[:2]:
                for launch in compiling.launches(
                    row.problem, row.slot, known[row.slot, name], layout,
                    layout != "contiguous", relu=relu,
                ):  # fmt: skip
                    yield arch, launch


def chosen(source: str, target: str) -> list[Unit]:
    """What is compiled of a file for a target of ``TARGETS``."""
    arch, _, is_wide = target.partition(" ")
    dtypes, heaviest_only = TARGETS[target]
    mine = [u for u in units(bool(is_wide)) if u.source == source and runs(u.arch, arch)]
    mine = [u for u in mine if u.dtype in ("", *dtypes)]
    if target != "sm_90a":
        mine = [u for u in mine if "RELU" not in dict(u.macros)]
    groups: dict[object, list[Unit]] = {}
    for unit in mine:
        groups.setdefault(unit.dtype if heaviest_only else unit.group, []).append(unit)
    found = []
    for i, (group, members) in enumerate(groups.items()):
        heaviest, *others = sorted(members, key=lambda u: -u.weight)
        found.append(heaviest)
        if target == "sm_90a" and others and group == heaviest.kind and (THOROUGH or i % 2 == 0):
            found.append(others[i % len(others)])  # of each type another
    return found


def runs(written_for: str, arch: str) -> bool:
    """Whether a step written for one GPU is compiled for another."""
    number = int(written_for[3:5])
    return arch == written_for if written_for.endswith("a") else number <= int(arch[3:5])


@contextmanager
def wide() -> Iterator[None]:
    """Plans are made as if arrays reached over 2^31 elements."""
    real = Given.wide
    Given.wide = property(lambda given: True)  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        Given.wide = real  # type: ignore[method-assign]


@contextmanager
def as_they_are() -> Iterator[None]:
    """Plans are made as they are."""
    yield
