"""Plainer calls: the same op on arrays of the same size, with one thing less that is unusual."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from .case import Case

#: Arguments that a call cannot do without.
REQUIRED = ("kernel_size", "output_size", "norm_type", "pad")


def ways(case: Case) -> Iterator[Case]:
    """Called once, forward and back."""
    if case.way != "plain":
        yield replace(case, way="plain", earlier=())
    if case.earlier:
        yield replace(case, earlier=())
        for one in case.earlier if len(case.earlier) > 1 else ():
            yield replace(case, earlier=tuple(e for e in case.earlier if e != one))


def gradients(case: Case) -> Iterator[Case]:
    """No gradient, a dense one, and of fewer inputs."""
    if not case.grad or case.way.startswith("double"):
        return
    yield replace(case, grad="", wrt=())
    if case.grad != "random":
        yield replace(case, grad="random")
    names = case.wrt or tuple(n for n in case.names if n != "indices")
    if len(names) > 1:
        yield from (replace(case, wrt=(name,)) for name in names)


def dtypes(case: Case) -> Iterator[Case]:
    """float32."""
    if case.dtype != "float32":
        yield replace(case, dtype="float32")


def layouts(case: Case) -> Iterator[Case]:
    """Dense memory, of all arrays or of one."""
    if not case.layouts:
        return
    yield replace(case, layouts=())
    for i, layout in enumerate(case.layouts):
        if layout != "contiguous":
            now = tuple("contiguous" if i == j else one for j, one in enumerate(case.layouts))
            yield replace(case, layouts=now)


def values(case: Case) -> Iterator[Case]:
    """Small whole numbers, whose sums are exact."""
    if case.values not in ("integer", "outside"):
        yield replace(case, values="integer")


def arguments(case: Case) -> Iterator[Case]:
    """Without an argument; tuples for lists, one number for several equal ones."""
    for i, (name, value) in enumerate(case.kwargs):
        before, after = case.kwargs[:i], case.kwargs[i + 1 :]
        given = name in REQUIRED and (case.kind, name) != ("max_unpool", "output_size")
        if not given and not (name == "groups" and value != 1):
            yield replace(case, kwargs=before + after)
        for plain in _plain(case, name, value):
            yield replace(case, kwargs=(*before, (name, plain), *after))


def _plain(case: Case, name: str, value: Any) -> Iterator[Any]:
    if name == "norm_type" and value != 2:
        yield 2
    if isinstance(value, list):
        yield tuple(value)
    fixed = name == "pad" or (name == "output_size" and case.kind == "max_unpool")
    if isinstance(value, tuple | list) and len(set(value)) == 1 and not fixed:
        yield value[0]
    if value == 0 and isinstance(value, float):
        yield 0


def groups(case: Case) -> Iterator[Case]:
    """One group of as many channels."""
    if case.kind not in ("conv", "conv_transpose") or dict(case.kwargs).get("groups", 1) < 2:
        return
    count = dict(case.kwargs)["groups"]
    x, (outer, inner, *kernel), *rest = case.shapes
    kwargs = tuple((name, value) for name, value in case.kwargs if name != "groups")
    yield replace(case, shapes=(x, (outer, count * inner, *kernel), *rest), kwargs=kwargs)


def bias(case: Case) -> Iterator[Case]:
    """Without a bias."""
    if case.names[2:] != ("bias",) or case.wrt == ("bias",) or case.way.endswith(":bias"):
        return
    wrt = tuple(n for n in case.wrt if n != "bias")
    yield replace(case, shapes=case.shapes[:2], layouts=case.layouts[:2], wrt=wrt)


def batch(case: Case) -> Iterator[Case]:
    """A batch of one where there is none."""
    x, rest = case.shapes[0], case.shapes[1:]
    axes = 1 if case.kind == "fold" else case.rank
    if case.kind == "pad":
        return
    if len(x) == axes + 1:
        x = (1, *x)
    elif x[0] == 0:
        x = (1, *x[1:])
    else:
        return
    yield replace(case, shapes=(x, x) if case.kind == "max_unpool" else (x, *rest))


STEPS: tuple[Callable[[Case], Iterator[Case]], ...] = (
    ways, gradients, values, dtypes, layouts, arguments, groups, bias, batch,
)  # fmt: skip
