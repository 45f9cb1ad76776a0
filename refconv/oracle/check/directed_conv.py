"""Directed cases of convolution and transposed convolution."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from ...ops import FLOATS
from .case import Case

#: Counts of channels round the widths of vector units and of blocked layouts.
WIDTHS = (1, 3, 7, 8, 15, 16, 17, 24, 31, 32, 33, 63, 64, 65)

#: Of inputs, where a case does not say.
SIZE = (6, 9, 11)


def conv(op: str, why: str, **given: Any) -> Case:
    """A case from sizes of up to three axes, of which the op's rank takes the last.

    Args:
        given: n, c, k (channels in and out, per group), g, size, kernel, bias, and torch's
            stride, padding, dilation, output_padding; what is left out has a small default.
    """
    rank = int(op[-2])
    n, c, k, g = (given.pop(x, d) for x, d in (("n", 2), ("c", 3), ("k", 4), ("g", 1)))
    size, kernel = given.pop("size", SIZE), given.pop("kernel", (2, 3, 4))
    bias, transposed = given.pop("bias", True), "transpose" in op
    extra = {x: given.pop(x) for x in ("values", "way", "earlier", "layouts", "grad") if x in given}
    numbers = {name: last(v, rank) for name, v in given.items()}
    if g > 1:
        numbers["groups"] = g
    w = (g * c, k, *kernel[-rank:]) if transposed else (g * k, c, *kernel[-rank:])
    shapes = [(n, g * c, *size[-rank:]), w, *([(g * k,)] if bias else [])]
    return Case(op, tuple(shapes), tuple(numbers.items()), why=why, **extra)


def last(value: Any, rank: int) -> Any:
    """The numbers of the last ``rank`` axes."""
    return value[-rank:] if isinstance(value, tuple | list) else value


def turned(make: Callable[..., Case], op: str, why: str, **given: Any) -> Iterator[Case]:
    """The case with its numbers on every axis in turn: an axis may be wrong alone, and an op of one
    axis has the last numbers only.
    """
    given = {"size": SIZE, **given}
    made: list[Case] = []
    for turn in range(3):
        case = make(op, why, **{n: _turn(v, turn) for n, v in given.items()})
        if case not in made:
            made.append(case)
            yield case


def _turn(value: Any, turn: int) -> Any:
    many = isinstance(value, tuple | list) and len(value) == 3
    return value[turn:] + value[:turn] if many else value


def calls(op: str) -> Iterator[Case]:
    """One call for each lesson."""
    of = partial(turned, conv, op)
    both = {"c": 3, "k": 2, "g": 2}
    yield from of("no numbers at all")
    yield from of("no bias", bias=False, kernel=(3, 2, 3))
    yield from of("stride", stride=(3, 1, 2))
    yield from of("stride with a remainder on one axis", stride=(1, 2, 3), size=(6, 8, 12))
    yield from of("padding, other on every axis", padding=(0, 2, 1))
    yield from of("dilation, other on every axis", dilation=(1, 3, 2))
    yield from of("everything unequal", stride=(1, 3, 2), padding=(2, 1, 2), dilation=(1, 2, 3))
    yield from of(
        "everything unequal, grouped",
        stride=(2, 1, 3),
        padding=(1, 2, 1),
        dilation=(2, 2, 1),
        **both,
    )
    yield from of("stride beyond the kernel", kernel=(1, 2, 2), stride=(2, 3, 5))
    yield from of("groups", **both, bias=False)
    yield from of("groups, stride, four images", n=4, stride=(1, 1, 2), c=2, k=3, g=3)
    yield from of("depthwise", c=1, k=1, g=6, padding=(1, 1, 1), kernel=(2, 3, 3))
    yield from turned(
        conv,
        op,
        "depthwise, stride and dilation",
        c=1,
        k=1,
        g=4,
        kernel=(2, 3, 2),
        stride=(2, 3, 2),
        dilation=(3, 2, 2),
        padding=(1, 0, 1),
        size=(9, 10, 11),
    )
    yield from of("depthwise, two filters a channel", c=1, k=2, g=3, stride=(1, 2, 2))
    yield from of("kernel of one cell", c=5, k=3, kernel=(1, 1, 1))
    yield from of("kernel of one cell, five images", c=8, k=6, n=5, kernel=(1, 1, 1))
    yield from of("kernel of one cell, stride", c=5, kernel=(1, 1, 1), stride=(2, 3, 2))
    yield from of("kernel of one cell, padding", kernel=(1, 1, 1), padding=(1, 0, 2))
    yield from of("one channel", c=1, k=1, n=1, padding=(1, 1, 1))
    yield from of("one cell", size=(1, 1, 1), kernel=(3, 3, 3), padding=(1, 1, 1), c=4)
    yield from of("even kernel", kernel=(2, 4, 2), padding=(1, 1, 1))
    yield from of("row of one", size=(5, 1, 9), kernel=(1, 1, 3))
    yield from of("column of one", size=(4, 9, 1), kernel=(1, 3, 1))
    yield from of("stride as a list", stride=[2, 1, 2], padding=[1, 0, 1])
    yield from of("one number for all axes", stride=2, padding=1, dilation=1)
    if "transpose" in op:
        yield from _transposed(op)
    else:
        yield from _forward(op)


def counts(op: str) -> Iterator[Case]:
    """Numbers of images, cells and channels round the widths that code is written for."""
    for n in (1, 3, 5, 8, 9, 16, 17, 33):
        yield conv(op, f"{n} images", n=n, c=2, k=3, size=(3, 5, 4), bias=n % 2 == 0)
    for width in (1, 2, 3, 4, 5, 7, 8, 9, 13, 15, 16, 17, 31, 33):
        yield conv(op, f"rows of {width}", n=1, c=2, k=2, size=(2, 3, width), kernel=(1, 3, 3),
                   padding=(0, 1, 1), bias=width % 3 == 0)  # fmt: skip
    for c in WIDTHS:
        yield conv(op, f"{c} channels in", n=1, c=c, k=5, size=(2, 4, 5), kernel=(1, 2, 3))
        yield conv(op, f"{c} channels out", n=2, c=3, k=c, size=(2, 4, 5), kernel=(1, 2, 3))
        yield conv(op, f"depthwise, {c} channels", n=2, c=1, k=1, g=c, size=(2, 5, 6),
                   kernel=(1, 3, 3), padding=(0, 1, 1), bias=False)  # fmt: skip


def _forward(op: str) -> Iterator[Case]:
    of = partial(turned, conv, op)
    yield from of(
        "an output of one cell on one axis", size=(5, 4, 9), kernel=(2, 4, 2), stride=(1, 3, 2)
    )
    yield from of(
        "an output of one column, cells left over",
        size=(6, 7, 9),
        kernel=(2, 3, 5),
        stride=(1, 2, 5),
    )
    yield from of("an output of one cell", size=(3, 3, 4), kernel=(2, 3, 4), stride=(2, 2, 3))
    yield from of("same, unequal", padding="same", kernel=(2, 3, 4), dilation=(3, 1, 2))
    yield from of("same, even kernel", padding="same", kernel=(3, 2, 4), dilation=(1, 2, 1))
    yield from of("valid", padding="valid", stride=(1, 2, 1))
    yield from of("padding wider than the kernel", kernel=(2, 2, 2), padding=(2, 3, 4))


def _transposed(op: str) -> Iterator[Case]:
    of = partial(turned, conv, op)
    small = {"size": (3, 4, 5)}
    yield from of("output padding", stride=(2, 3, 4), output_padding=(1, 2, 3), **small)
    yield from of(
        "output padding on one axis",
        stride=(2, 2, 3),
        output_padding=(1, 0, 2),
        padding=(1, 1, 1),
        **small,
    )
    yield from of(
        "output padding by dilation", dilation=(2, 3, 3), output_padding=(1, 2, 1), **small
    )
    yield from of(
        "output padding with all the others",
        stride=(2, 3, 2),
        g=2,
        c=2,
        k=3,
        padding=(1, 2, 1),
        dilation=(1, 2, 3),
        output_padding=(1, 2, 1),
        **small,
    )
    yield from of("kernel smaller than its stride", kernel=(1, 2, 2), stride=(2, 3, 4), **small)
    yield from of("padding to the kernel's edge", kernel=(3, 3, 4), padding=(2, 2, 3), **small)


def more(op: str, dtypes: tuple[str, ...]) -> Iterator[Case]:
    """Ways of calling, thresholds, special values and refusals."""
    if dtypes[0] in FLOATS:
        yield from (replace(c, dtype=dtypes[0]) for c in _ways(op))
    yield from (replace(c, dtype=dtypes[0]) for c in (*_large(op), *_special(op), *_refused(op)))
    for dtype in dtypes:
        if dtype in FLOATS:  # many terms: where lost precision shows
            deep = conv(op, f"{dtype}, many terms", n=1, c=512, k=3, size=(1, 3, 4),
                        kernel=(1, 3, 3), padding=(0, 1, 1), bias=False)  # fmt: skip
            if "transpose" in op:
                deep = replace(deep, shapes=(deep.shapes[0], (512, 3, *deep.shapes[1][2:])))
            wide = conv(op, f"{dtype}, depthwise, many taps", n=1, c=1, k=1, g=3, size=(3, 9, 20),
                        kernel=(3, 9, 11), bias=False)  # fmt: skip
            many = conv(op, f"{dtype}, many images", n=32, c=4, k=3, size=(1, 4, 9),
                        kernel=(1, 2, 2), bias=False)  # fmt: skip
            cell = conv(op, f"{dtype}, kernel of one cell, nine images", n=9, c=16, k=17,
                        size=(2, 3, 5), kernel=(1, 1, 1))  # fmt: skip
            yield replace(cell, dtype=dtype, grad="random")
            yield replace(cell, dtype=dtype, values="large input")
            loud = conv(op, f"{dtype}, large numbers", size=(3, 6, 7), kernel=(1, 3, 3))
            yield replace(loud, dtype=dtype, values="large input")
            for case in (deep, wide, many):
                for seed in range(3):
                    grad = "random" if seed or case is many else ""
                    yield replace(case, dtype=dtype, grad=grad)
                yield replace(case, dtype=dtype, values="scaled", grad="random")
                yield replace(case, dtype=dtype, values="uniform")


def _ways(op: str) -> Iterator[Case]:
    """vmap, second derivatives, and one argument changed from call to call."""
    some = [
        conv(op, "no numbers", size=(4, 5, 6)),
        conv(op, "groups", c=3, k=2, g=2, size=(4, 5, 6)),
        conv(op, "stride with a remainder", stride=(2, 3, 2), size=(5, 6, 7), padding=(1, 1, 0)),
        conv(op, "stride, groups", stride=(1, 2, 3), size=(5, 6, 8), c=2, k=3, g=3),
        conv(op, "dilation", dilation=(2, 1, 2), size=(5, 6, 9)),
    ]
    if "transpose" in op:
        some.append(conv(op, "output padding", stride=(2, 2, 3), output_padding=(1, 1, 2),
                         size=(3, 4, 3), g=2))  # fmt: skip
    for case in some:
        for name in ("input", "weight", "bias"):
            yield replace(case, way=f"vmap:{name}", why=f"vmap over {name}: {case.why}")
            yield replace(case, way=f"double:{name}", grad="random", why=f"second: {case.why}")
    base = conv(op, "", size=(7, 9, 11), kernel=(2, 3, 3), c=2, k=2, g=2, stride=(1, 2, 2),
                padding=(1, 1, 1), dilation=(1, 1, 2))  # fmt: skip
    rank = base.rank
    changes = {"stride": (2, 1, 3), "padding": (0, 0, 1), "dilation": (2, 2, 1)}
    for name, value in changes.items():
        earlier = ((name, value[-rank:]),)
        yield replace(base, way="again", earlier=earlier, why=f"{name} changed between two calls")
    plain = conv(op, "", size=(5, 6, 7), kernel=(3, 3, 3), padding=(1, 1, 1))
    yield replace(plain, way="again", earlier=(("padding", 0),), why="padding changed")
    yield replace(plain, way="again", earlier=(("dilation", 2),), why="dilation changed")


def _large(op: str) -> Iterator[Case]:
    """Counts at which indices, grids and types end, on arrays that stay small."""
    one = {"size": (1, 1, 1), "kernel": (1, 1, 1)}
    for count in (65535, 65536, 65537):
        yield conv(op, f"{count} channels out", n=1, c=1, k=count, **one)
        yield conv(op, f"{count} images", n=count, c=1, k=2, bias=False, **one)
        yield conv(op, f"rows of {count}", n=1, c=1, k=1, size=(1, 1, count), kernel=(1, 1, 2))
    yield conv(op, "65537 channels in", n=1, c=65537, k=2, values="integer", **one)
    yield conv(op, "65537 groups", n=1, c=1, k=1, g=65537, **one)
    for count in (255, 256, 257, 511, 512, 513):
        yield conv(op, f"{count} channels in", n=1, c=count, k=3, grad="random", **one)
        yield conv(op, f"kernel of {count}", n=1, c=2, k=2, size=(1, 1, count + 2), grad="random",
                   kernel=(1, 1, count), values="integer")  # fmt: skip
        yield conv(op, f"{count} channels out", n=1, c=2, k=count, grad="random", **one)


def _special(op: str) -> Iterator[Case]:
    """NaN and infinities must come out where they are due, and nowhere else."""
    for kind in ("one infinity", "one nan"):
        for name in ("input", "weight"):
            more = {"values": f"{kind} {name}", "size": (4, 5, 6)}
            yield conv(op, f"{kind} in {name}", **more, padding=(1, 1, 1), stride=(1, 2, 3))
            yield conv(op, f"{kind} in {name}", **more, padding=(1, 1, 1))
            yield conv(op, f"{kind} in {name}", **more, c=2, k=2, g=2, bias=False)


def _refused(op: str) -> Iterator[Case]:
    """What torch refuses."""
    rank, transposed = int(op[-2]), "transpose" in op
    good = conv(op, "")
    x, w, b = good.shapes

    def bad(why: str, shapes: Any = good.shapes, **numbers: Any) -> Case:
        return Case(op, tuple(shapes), tuple(numbers.items()), why=f"refused: {why}")

    if not transposed:
        small = (*x[:2], *(1,) * rank)
        yield bad("kernel larger than the input", (small, w, b))
        yield bad("kernel larger than the padded input", (small, (*w[:2], *(6,) * rank), b),
                  padding=1)  # fmt: skip
        yield bad("dilated kernel larger than the input", dilation=12)
        yield bad("same with a stride (an extension)", padding="same", stride=2)
        yield bad("channels differ (an extension)", (x, (w[0], w[1] + 1, *w[2:]), b))
        yield bad(
            "more channels than the weight has (an extension)", ((x[0], x[1] + 1, *x[2:]), w, b)
        )
        yield bad("groups do not divide the channels", groups=2)
    else:
        yield bad("output padding as large as the stride", stride=2, output_padding=2)
        yield bad("output padding without a stride", output_padding=1)
        yield bad("channels differ (an extension)", (x, (w[0] + 1, *w[1:]), b))
    yield bad("stride 0", stride=0)
    yield bad("negative padding (an extension)", padding=-1)
    yield bad("dilation 0", dilation=0)
    yield bad("a bias too long", (x, w, (b[0] + 1,)))
    yield bad("an axis too many", ((*x, 2), w, b))
