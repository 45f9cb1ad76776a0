"""Directed cases: what real faults needed to show, written down once and applied to every op.

Each op's family says which calls are worth making (``directed_conv``, ``directed_pool``,
``directed_moves``); here are the variations that every family shares: dtypes, layouts, each
gradient alone, special values, repeated calls, calls that must be refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import prod

from ...ops import FLOATS, OPS
from .. import inputs
from . import directed_conv, directed_moves, directed_pool
from .case import Case, differentiable
from .layouts import LAYOUTS

_FAMILIES = {
    "conv": directed_conv,
    "conv_transpose": directed_conv,
    "unfold": directed_moves,
    "fold": directed_moves,
    "pad": directed_moves,
}


def directed(op: str, dtypes: tuple[str, ...], seed: int = 0) -> list[Case]:
    """The directed cases of ``op``, the cheap and the telling first."""
    family = _FAMILIES.get(OPS[op].kind, directed_pool)
    lessons = [replace(c, dtype=dtypes[0]) for c in family.calls(op)]
    counts = [replace(c, dtype=dtypes[0]) for c in family.counts(op)]
    found = [*lessons, *counts, *_variations(lessons, counts, dtypes), *family.more(op, dtypes)]
    kept = []
    for i, case in enumerate(found):
        case = replace(case, seed=seed * 1009 + i)
        if case.dtype not in dtypes:
            continue
        if case.refusal and not case.why.startswith("refused"):
            continue  # this dtype does not take that argument
        kept.append(case)
    return kept


def _variations(lessons: list[Case], counts: list[Case], dtypes: tuple[str, ...]) -> Iterator[Case]:
    yield from _gradients(lessons)
    yield from (replace(c, grad="random") for c in counts if differentiable(c))
    yield from _layouts(lessons)
    yield from _dtypes([*lessons, *counts], dtypes)
    yield from _values([*lessons, *counts])
    yield from _calls(lessons)


def _gradients(base: list[Case]) -> Iterator[Case]:
    """Every gradient alone and all together; random, expanded and strided incoming gradients."""
    kinds = ("random", "expanded", "permuted", "channels_last")
    for i, case in enumerate(c for c in base if differentiable(c)):
        names = [n for n in case.names if n != "indices"]
        if len(names) > 1:
            for name in names:
                yield replace(case, grad="random", wrt=(name,), why=f"{case.why}: {name} alone")
        for kind in ("random", kinds[1 + i % 3]):
            yield replace(case, grad=kind, why=f"{case.why}: gradient {kind}")


def _layouts(base: list[Case]) -> Iterator[Case]:
    """Each layout on every array, and on each one alone; forward and backward."""
    # Where an axis is one long, several layouts look alike.
    for case in (c for c in base if any(_thin(shape) for shape in c.shapes)):
        for alone in range(len(case.shapes)):
            layouts = tuple(
                "channels_last" if a == alone else "contiguous" for a in range(len(case.shapes))
            )
            yield replace(case, layouts=layouts, why=f"{case.names[alone]} channels_last: thin")
    for case in (c for c in base if c.values not in inputs.KINDS):
        grad = "random" if differentiable(case) else ""
        layouts = ("channels_last",) * len(case.shapes)
        yield replace(case, layouts=layouts, grad=grad, why=f"{case.why}, channels_last")
    for i, case in enumerate(_spread(base, 12)):
        for j, layout in enumerate(LAYOUTS[1:]):
            arrays = len(case.shapes)
            grad = "random" if (i + j) % 2 and differentiable(case) else ""
            yield replace(case, layouts=(layout,) * arrays, grad=grad, why=f"{layout} memory")
            alone = (i + j) % arrays
            layouts = tuple(layout if a == alone else "contiguous" for a in range(arrays))
            yield replace(case, layouts=layouts, grad=grad, why=f"{case.names[alone]} {layout}")


def _thin(shape: tuple[int, ...]) -> bool:
    """One channel, or one cell."""
    return len(shape) > 2 and (shape[1] == 1 or set(shape[2:]) == {1})


def _dtypes(base: list[Case], dtypes: tuple[str, ...]) -> Iterator[Case]:
    """Every other dtype: forward, and all gradients."""
    for i, dtype in enumerate(dtypes[1:]):
        many = 40 if dtype in FLOATS else 10
        for case in _spread(base[i:], many):  # not the same ones for every dtype
            other = replace(case, dtype=dtype, why=f"{dtype}: {case.why}")
            yield other
            if differentiable(other):
                yield replace(other, grad="random")
        for case in _spread(base, 4):
            yield replace(case, dtype=dtype, values="integer", why=f"{dtype}, whole numbers")


def _values(base: list[Case]) -> Iterator[Case]:
    """Other numbers: whole ones, whose results must be equal, and badly scaled ones."""
    for i, case in enumerate(base):
        if case.values == "real" and case.kind != "lp_pool":
            yield replace(case, values="integer", grad=case.grad or _sometimes(case, i))
    for kind in ("scaled", "image", "uniform"):
        for i, case in enumerate(_spread([c for c in base if c.kind != "lp_pool"], 6)):
            yield replace(case, values=kind, grad=_sometimes(case, i), why=f"{kind} numbers")


def _calls(base: list[Case]) -> Iterator[Case]:
    """The same call again and again; unbatched and empty batches; empty results."""
    for case in _spread(base, 3):
        grad = "random" if differentiable(case) else ""
        yield replace(case, way="repeat", grad=grad, why="the same bits every time")
        yield replace(case, way="again", why="other numbers, same shapes, called before")
    for case in _spread([c for c in base if c.kind not in ("pad", "unfold", "fold")], 3):
        lead, rest = case.shapes[0], case.shapes[1:]
        both = case.kind == "max_unpool"
        single = (lead[1:], *([lead[1:]] if both else rest))
        none = ((0, *lead[1:]), *([(0, *lead[1:])] if both else rest))
        grad = "random" if differentiable(case) else ""
        yield replace(case, shapes=single, grad=grad, why="no batch axis")
        yield replace(case, shapes=none, why="an empty batch")


def _sometimes(case: Case, i: int) -> str:
    return "random" if i % 2 and differentiable(case) else ""


def _spread(cases: Iterable[Case], count: int) -> list[Case]:
    """At most ``count`` of the small ones, evenly spaced."""
    found = [c for c in cases if c.way == "plain" and max(map(prod, c.shapes)) < 20_000]
    step = max(1, -(-len(found) // count))
    return found[::step]


def dtypes_of(op: str) -> tuple[str, ...]:
    """The dtypes that ``check`` tries: float32 first, then all that torch's CPU takes."""
    rest = [d for d in (*FLOATS, *OPS[op].extra_dtypes) if d != "float32"]
    return ("float32", *rest)
