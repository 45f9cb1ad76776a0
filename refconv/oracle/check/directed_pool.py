"""Directed cases of pooling: regular, adaptive, by powers, and unpooling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

from ...ops import INTEGERS, OPS
from .case import Case
from .directed_conv import SIZE, last, turned


def pool(op: str, why: str, **given: Any) -> Case:
    """A regular pooling; sizes of up to three axes, of which the op's rank takes the last."""
    rank = int(op[-2])
    lead, size = given.pop("lead", (2, 3)), given.pop("size", SIZE)
    extra = {x: given.pop(x) for x in ("values", "way", "grad", "layouts") if x in given}
    numbers: dict[str, Any] = {"norm_type": given.pop("norm_type", 2)} if "lp" in op else {}
    numbers |= {name: last(v, rank) for name, v in given.items()}
    numbers.setdefault("kernel_size", (2, 3, 4)[-rank:])
    if op.startswith("lp"):
        numbers.pop("padding", None)
        if rank == 1:
            numbers = {n: v[0] if isinstance(v, tuple) else v for n, v in numbers.items()}
    if not op.startswith("max"):
        numbers.pop("dilation", None)
    return Case(op, ((*lead, *size[-rank:]),), tuple(numbers.items()), why=why, **extra)


def calls(op: str) -> Iterator[Case]:
    """One call for each lesson."""
    kind = OPS[op].kind
    if kind.startswith("adaptive"):
        yield from _adaptive(op)
    elif kind == "max_unpool":
        yield from _unpool(op)
    else:
        yield from _regular(op)
        extra = {"max_pool": _max, "avg_pool": _avg, "lp_pool": _lp}
        yield from extra[kind](op)


def _regular(op: str) -> Iterator[Case]:
    of = partial(turned, pool, op)
    yield from of("only a kernel")
    yield from of("one number for all axes", kernel_size=3)
    yield from of("stride", stride=(3, 1, 2))
    yield from of("stride with a remainder", stride=(2, 3, 3), size=(7, 8, 9))
    yield from of("stride beyond the kernel", kernel_size=(2, 1, 2), stride=(3, 4, 5))
    yield from of("padding", padding=(1, 1, 2), kernel_size=(3, 2, 4), stride=(1, 2, 1))
    yield from of("padding and stride", padding=(0, 1, 1), stride=(2, 1, 3))
    yield from of("ceil_mode", ceil_mode=True, stride=(2, 2, 3), size=(7, 8, 9))
    yield from of(
        "ceil_mode and padding",
        ceil_mode=True,
        stride=(2, 3, 3),
        padding=(1, 1, 2),
        kernel_size=(2, 3, 4),
        size=(6, 9, 10),
    )
    yield from of(
        "a last window in the padding is dropped",
        ceil_mode=True,
        kernel_size=(2, 2, 2),
        stride=(2, 2, 2),
        padding=(1, 1, 1),
        size=(5, 5, 7),
    )
    yield from of("the whole input", kernel_size=(4, 5, 7), size=(4, 5, 7))
    yield from of("kernel of one cell", kernel_size=1, stride=(1, 2, 3))
    yield from of("one cell", size=(1, 1, 1), kernel_size=1)
    yield from of("overlapping", kernel_size=(3, 3, 3), stride=1)
    yield from of("large kernel", kernel_size=(3, 7, 9), size=(5, 12, 21), stride=(1, 2, 4))


def counts(op: str) -> Iterator[Case]:
    """Numbers of images, cells and channels round the widths that code is written for."""
    if OPS[op].kind.startswith("adaptive") or OPS[op].kind == "max_unpool":
        return
    for width in (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33):
        yield pool(op, f"rows of {width}", kernel_size=(1, 2, min(3, width)), stride=1,
                   size=(2, 3, width))  # fmt: skip
    for c in (1, 7, 8, 15, 16, 17, 24, 31, 32, 33, 64, 65):
        yield pool(op, f"{c} channels", lead=(2, c), size=(3, 4, 5), kernel_size=(2, 2, 3))
    for n in (1, 4, 5, 9, 17, 33):
        yield pool(op, f"{n} images", lead=(n, 2), size=(2, 4, 5), kernel_size=(1, 2, 3))


def _max(op: str) -> Iterator[Case]:
    of = partial(turned, pool, op)
    yield from of("indices", return_indices=True, stride=(1, 2, 2))
    yield from of(
        "indices, padding, dilation",
        return_indices=True,
        padding=(1, 1, 1),
        dilation=(2, 1, 3),
        kernel_size=(2, 3, 2),
        stride=(2, 1, 2),
    )
    yield from of("dilation", dilation=(1, 2, 3), kernel_size=(2, 3, 3))
    yield from of(
        "dilation and stride", dilation=(2, 3, 2), kernel_size=(2, 2, 3), stride=(2, 1, 3)
    )
    yield from of(
        "dilation and ceil_mode",
        dilation=(1, 2, 2),
        stride=(2, 2, 3),
        ceil_mode=True,
        return_indices=True,
    )
    padded = {"padding": (1, 1, 1), "kernel_size": (3, 3, 3), "stride": (2, 1, 2)}
    yield from of("all negative, padding", values="negative", **padded)
    yield from of(
        "all negative, padding, indices", values="negative", return_indices=True, **padded
    )
    for values in ("special", "exact", "minus infinity", "nan"):
        yield from of(f"{values} values", values=values, return_indices=True, **padded)
        yield from of(f"{values} values", values=values, kernel_size=(1, 2, 2))


def _avg(op: str) -> Iterator[Case]:
    of = partial(turned, pool, op)
    padded = {"padding": (1, 1, 1), "kernel_size": (2, 3, 2), "stride": (2, 1, 3)}
    yield from of("padding does not count", count_include_pad=False, **padded)
    for ceil in (False, True):
        for count in (False, True):
            yield from of(
                f"ceil_mode {ceil}, count_include_pad {count}",
                ceil_mode=ceil,
                count_include_pad=count,
                kernel_size=(3, 2, 4),
                stride=(2, 3, 3),
                padding=(1, 1, 2),
                size=(6, 8, 9),
            )
    if int(op[-2]) > 1:
        for count in (False, True):
            yield from of("divisor_override", divisor_override=3, count_include_pad=count, **padded)
        yield from of(
            "divisor_override, ceil_mode",
            divisor_override=5,
            ceil_mode=True,
            stride=(2, 3, 3),
            size=(6, 8, 9),
        )


def _lp(op: str) -> Iterator[Case]:
    of = partial(turned, pool, op)
    for norm in (1, 2, 3, 1.5):
        yield from of(f"norm {norm}", norm_type=norm, stride=(1, 2, 2), kernel_size=(2, 2, 3))
    yield from of("windows of zeros", values="zeros", kernel_size=(1, 2, 2), size=(3, 4, 6))


def _adaptive(op: str) -> Iterator[Case]:
    rank = int(op[-2])
    shown = {"return_indices": True} if "max" in op else {}
    for why, size, out in (
        ("out divides in", (6, 8, 9), (3, 2, 3)),
        ("out does not divide in", (7, 8, 10), (3, 5, 4)),
        ("larger than the input", (3, 4, 5), (5, 7, 8)),
        ("larger on one axis", (6, 3, 7), (4, 5, 3)),
        ("one cell", (5, 6, 7), (1, 1, 1)),
        ("the same size", (4, 5, 6), (4, 5, 6)),
        ("almost the same size", (5, 6, 9), (4, 5, 8)),
        ("wide", (3, 5, 33), (2, 3, 17)),
        ("ten to seven", (10, 10, 10), (7, 7, 7)),
    ):
        kwargs = {"output_size": out[-rank:]}
        yield Case(op, ((2, 3, *size[-rank:]),), tuple(kwargs.items()), why=why)
        if shown:
            both = tuple((kwargs | shown).items())
            yield Case(op, ((2, 3, *size[-rank:]),), both, why=f"{why}, indices")
    numbers = (("output_size", 3),)
    yield Case(op, ((2, 3, *(7, 8, 10)[-rank:]),), numbers, why="one number")
    if rank > 1:
        kept = (("output_size", (None, *(3, 4)[-(rank - 1) :])),)
        yield Case(op, ((2, 3, *(7, 8, 10)[-rank:]),), kept, why="one axis as it is")
    for c in (1, 7, 8, 16, 17, 33, 64):
        given = (("output_size", (2, 3, 4)[-rank:]),)
        yield Case(op, ((2, c, *(3, 5, 7)[-rank:]),), given, why=f"{c} channels")
    if shown:
        for values in ("special", "exact", "minus infinity", "nan", "negative"):
            both = (("output_size", (2, 3, 4)[-rank:]), ("return_indices", True))
            yield Case(op, ((2, 2, *(3, 5, 7)[-rank:]),), both, values=values, why=values)


def _unpool(op: str) -> Iterator[Case]:
    rank = int(op[-2])
    for why, size, kernel, stride, more in (
        ("plain", (2, 3, 4), (2, 3, 2), (2, 3, 2), (0, 0, 0)),
        ("unequal", (3, 2, 4), (2, 3, 1), (3, 4, 2), (0, 0, 0)),
        ("a larger output", (2, 3, 4), (2, 2, 3), (2, 3, 3), (1, 2, 1)),
        ("one cell", (1, 1, 1), (2, 3, 4), (2, 3, 4), (0, 0, 0)),
        ("wide", (1, 2, 9), (2, 2, 2), (2, 2, 2), (0, 1, 1)),
    ):
        sizes = zip(size, kernel, stride, more, strict=True)
        out = tuple((i - 1) * s + k + m for i, k, s, m in sizes)[-rank:]
        numbers: dict[str, Any] = {"kernel_size": kernel[-rank:], "stride": stride[-rank:]}
        if any(more[-rank:]):
            numbers["output_size"] = out
        shape = (2, 3, *size[-rank:])
        case = Case(op, (shape, shape), tuple(numbers.items()), limit=prod(out), why=why)
        yield case
        yield replace(case, values="exact", why=f"{why}: indices given twice")


def more(op: str, dtypes: tuple[str, ...]) -> Iterator[Case]:
    """Thresholds, integers, special values and refusals."""
    kind, rank, first = OPS[op].kind, int(op[-2]), dtypes[0]
    if kind == "max_unpool":
        shape = (2, 2, *(2, 3, 4)[-rank:])
        good = Case(op, (shape, shape), (("kernel_size", 2),), dtype=first, values="outside")
        yield replace(good, limit=10**6, why="refused: an index outside of the output")
        return
    if kind.startswith("adaptive"):
        size = (2, 3, *(5, 6, 7)[-rank:])
        yield Case(op, (size,), (("output_size", -1),), dtype=first, why="refused: negative size")
        huge = (1, 65537, *(1, 2, 3)[-rank:])
        numbers = (("output_size", 2 if rank == 1 else (1, 2, 2)[-rank:]),)
        yield Case(op, (huge,), numbers, dtype=first, why="65537 channels")
        return
    for lead in ((65537, 1), (1, 65537)):
        yield pool(op, f"{max(lead)} planes", lead=lead, size=(1, 2, 3), kernel_size=(1, 2, 2))
    yield pool(op, "rows of 65537", lead=(1, 1), size=(1, 2, 65537), kernel_size=(1, 2, 3))
    if kind == "max_pool":
        yield pool(op, "a plane above 65536 cells", lead=(1, 2), size=(1, 260, 259),
                   kernel_size=(1, 2, 3), return_indices=True)  # fmt: skip
        for dtype in (d for d in dtypes if d in INTEGERS):
            for indices in (False, True):
                case = pool(op, f"{dtype}, padding", padding=(1, 1, 1), kernel_size=(2, 3, 3),
                            values="negative", return_indices=indices)  # fmt: skip
                yield replace(case, dtype=dtype)
    yield from _refused(op, kind)
    if kind != "lp_pool":
        for k in (1, 2):
            yield pool(op, f"rows of 2**24 + {k + 1}", lead=(1, 1), size=(1, 1, 2**24 + k + 1),
                       kernel_size=(1, 1, k), way="shape")  # fmt: skip


def _refused(op: str, kind: str) -> Iterator[Case]:
    rank = int(op[-2])
    yield pool(op, "refused: kernel larger than the input", kernel_size=20)
    yield pool(op, "refused: stride 0", stride=0)
    yield pool(op, "refused: kernel 0", kernel_size=0)
    if kind != "lp_pool":
        yield pool(op, "refused: padding above half the kernel", kernel_size=3, padding=2)
        yield pool(op, "refused: negative padding", kernel_size=3, padding=-1)
    if kind == "max_pool":
        yield pool(op, "refused: dilation 0", dilation=0)
        yield pool(op, "refused: dilated kernel larger than the input", dilation=9)
    if kind == "avg_pool" and rank > 1:
        yield pool(op, "refused: a divisor of 0", divisor_override=0)
