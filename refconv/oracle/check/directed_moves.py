"""Directed cases of unfold, fold and padding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .case import Case


def calls(op: str) -> Iterator[Case]:
    """One call for each lesson."""
    yield from _pads() if op == "pad" else _columns(op)


def counts(op: str) -> Iterator[Case]:
    """Numbers of cells and channels round the widths that code is written for."""
    if op == "pad":
        return
    for width in (3, 4, 7, 8, 9, 15, 16, 17, 33):
        yield columns(op, f"rows of {width}", size=(3, width), kernel_size=(2, 3))
    for c in (1, 7, 8, 16, 17, 33):
        yield columns(op, f"{c} channels", c=c, size=(3, 5))


def columns(op: str, why: str, **given: Any) -> Case:
    """An unfold, or the fold of as many blocks."""
    n, c, size = given.pop("n", 2), given.pop("c", 3), given.pop("size", (7, 9))
    kernel = given.setdefault("kernel_size", (2, 3))
    if op == "unfold":
        return Case(op, ((n, c, *size),), tuple(given.items()), why=why)
    blocks = 1
    for a in (0, 1):
        k, d, p, s = (
            v if isinstance(v, int) else v[a]
            for v in (kernel, *(given.get(x, i) for x, i in _DEFAULTS))
        )
        blocks *= max(0, (size[a] + 2 * p - d * (k - 1) - 1) // s + 1) if s > 0 else 1
    taps = kernel**2 if isinstance(kernel, int) else kernel[0] * kernel[1]
    numbers = {"output_size": size, **given}
    return Case(op, ((n, c * taps, blocks),), tuple(numbers.items()), why=why)


_DEFAULTS = (("dilation", 1), ("padding", 0), ("stride", 1))


def _columns(op: str) -> Iterator[Case]:
    yield columns(op, "only a kernel")
    yield columns(op, "one number", kernel_size=3, padding=1)
    yield columns(op, "stride", stride=(2, 3))
    yield columns(op, "stride with a remainder", stride=(3, 2), size=(7, 8))
    yield columns(op, "stride beyond the kernel", kernel_size=(1, 2), stride=(3, 4))
    yield columns(op, "padding", padding=(1, 2))
    yield columns(op, "dilation", dilation=(2, 3))
    yield columns(op, "everything", stride=(2, 1), padding=(1, 2), dilation=(1, 2))
    yield columns(op, "kernel of one cell", kernel_size=1, stride=(1, 2))
    yield columns(op, "one block", size=(2, 3))
    yield columns(op, "one channel, one image", n=1, c=1, padding=1)


def pad(why: str, shape: tuple[int, ...], pads: tuple[int, ...], **given: Any) -> Case:
    """A padding."""
    return Case("pad", (shape,), (("pad", pads), *given.items()), why=why)


def _pads() -> Iterator[Case]:
    shapes = ((2, 3, 7), (2, 3, 6, 7), (2, 3, 4, 5, 6))
    for mode in ("constant", "reflect", "replicate", "circular"):
        for rank, shape in enumerate(shapes, 1):
            more = {"mode": mode}
            yield pad(f"{mode}, unequal", shape, (1, 2, 3, 0, 2, 1)[: 2 * rank], **more)
            yield pad(f"{mode}, only before", shape, (2, 0) * rank, **more)
            yield pad(f"{mode}, only behind", shape, (0, 2) * rank, **more)
            yield pad(f"{mode}, one each", shape, (1, 1) * rank, **more)
        yield pad(f"{mode}, one axis", (2, 3, 5, 6), (2, 1, 0, 0), mode=mode)
        yield pad(f"{mode}, as far as it goes", (2, 3, 4, 5), (4, 4, 3, 3), mode=mode)
    for shape, pads in (((2, 3, 6, 7), (-1, 2, 1, -2)), ((2, 3, 7), (-2, -1)), ((3, 4), (1, 2))):
        yield pad("crop", shape, pads, mode="constant", value=2.0)
    yield pad("every axis", (2, 3, 4, 5), (1, 0, 0, 2, 1, 1, 0, 1), mode="constant", value=-1.0)
    yield pad("reflect, crop", (2, 3, 6, 7), (-1, 2, 1, -2), mode="reflect")
    yield pad("replicate, crop", (2, 3, 6, 7), (3, -2, -1, 2), mode="replicate")


def more(op: str, dtypes: tuple[str, ...]) -> Iterator[Case]:
    """Refusals and large counts."""
    first = dtypes[0]
    if op == "pad":
        for mode, pads in (("reflect", (7, 0)), ("circular", (8, 0)), ("constant", (-4, -4))):
            yield pad(f"refused: {mode} {pads}", (2, 3, 7), pads, mode=mode)
        yield pad("refused: an odd number of pads", (2, 3, 7), (1, 2, 3), mode="constant")
        yield pad("65537 planes", (65537, 1, 3), (1, 2), mode="reflect")
        return
    yield columns(op, "refused: stride 0", stride=0)
    yield columns(op, "refused: kernel 0", kernel_size=0)
    yield columns(op, "65537 images", n=65537, c=1, size=(2, 3), kernel_size=2)
    yield columns(op, "channels of 65537", n=1, c=65537, size=(2, 3), kernel_size=(1, 2))
    if op == "unfold":
        yield columns(op, "refused: kernel larger than the input", kernel_size=12)
        huge = (("kernel_size", 2), ("padding", 2**62), ("stride", 2**62))
        yield Case(op, ((2, 3, 5, 6),), huge, dtype=first, why="refused: padding of 2**62")
        return
    good = columns(op, "")
    n, cells, blocks = good.shapes[0]
    for why, shape in (("a block too many", (n, cells, blocks + 1)),
                       ("channels that no kernel divides", (n, cells + 1, blocks))):  # fmt: skip
        yield Case(op, (shape,), good.kwargs, dtype=first, why=f"refused: {why}")
    # Both axes have no room: two negative counts make a positive number of blocks.
    for size, dilation in (((2, 2), (4, 4)), ((3, 4), (9, 9))):
        room = [s - d * 2 for s, d in zip(size, dilation, strict=True)]
        numbers = (("output_size", size), ("kernel_size", 3), ("dilation", dilation))
        shape = (2, 27, room[0] * room[1])
        yield Case(op, (shape,), numbers, dtype=first, why="refused: negative blocks, twice")
    wide = (("output_size", (4, 5)), ("kernel_size", 2), ("padding", 2**62), ("stride", 2**62))
    yield Case(op, ((2, 12, 4),), wide, dtype=first, why="refused: padding of 2**62")
