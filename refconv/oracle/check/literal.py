"""Arrays as Python: the shortest lines of torch that make the same numbers in the same memory.

Nothing is believed: every text is run, and taken only if it gives the array, bit for bit and stride
for stride.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import torch

from ..reference import exact
from ..verdict import same_bits
from .case import GOLDEN
from .layouts import FOREIGN

WIDTH = 98
#: So many cells are named one by one.
_NAMED = 3
#: Arrays up to this size are written out.
_WRITTEN = 64
#: Runs of equal numbers this long are written as one.
_RUN = 4
#: Bytes on either side of an array that is laid between others.
_BAND = 64


def lines(name: str, a: torch.Tensor, layout: str = "contiguous", short: bool = False) -> list[str]:
    """Statements that make ``name`` the array ``a``; nothing if it takes more than a few.

    Args:
        layout: of ``layouts.LAYOUTS``, that ``a`` has; or ``one number``, with strides 0.
        short: one statement, at the price of some clarity.
    """
    base = a.contiguous()
    found = []
    if layout == "one number":
        one = f"torch.tensor({number(base.flatten()[0])}{_dtype(a)})"
        views = (f"expand{_args(tuple(a.shape))}", f"as_strided({tuple(a.shape)}, {a.stride()})")
        found = [wrapped(f"{name} = {one}.{view}") for view in views]
    cells = (base != 0).nonzero().tolist() if base.numel() > _WRITTEN // 4 else []
    if 0 < len(cells) <= _NAMED and not short and layout != "expanded":
        for zeros in _laid_out(_filled("zeros", base), a, layout):
            places = ", ".join(f"{name}[{', '.join(map(str, cell))}]" for cell in cells)
            values = ", ".join(number(base[tuple(cell)]) for cell in cells)
            found.append([*wrapped(f"{name} = {zeros}"), *wrapped(f"{places} = {values}")])
    for text in _expressions(base):
        found += [wrapped(f"{name} = {whole}") for whole in _laid_out(text, a, layout)]
    found = [text for text in found if same_array(_made(text, name), a)]
    if not found:
        return []
    return min(found, key=len) if short or len(found[0]) > 2 else found[0]


def guarded(name: str, a: torch.Tensor) -> list[str]:
    """Statements that make ``name`` the array ``a`` inside the larger array ``NAME_room``, with 64
    cells of 99 on either side.
    """
    reach = sum((n - 1) * s for n, s in zip(a.shape, a.stride(), strict=True) if n)
    room = f"torch.full(({reach + 1 + 2 * _BAND},), {number(torch.tensor(FOREIGN).to(a.dtype))}"
    room += f"{_dtype(a)})"
    view = f"{name}_room.as_strided({tuple(a.shape)}, {a.stride()}, {_BAND})"
    for text in _expressions(a.contiguous()):
        found = [*wrapped(f"{name}_room = {room}"), *wrapped(f"{name} = {view}.copy_({text})")]
        if same_array(_made(found, name), a):
            return found
    return []


def wrapped(line: str) -> list[str]:
    """A statement in lines of at most 100 columns, broken inside of its brackets."""
    return textwrap.wrap(
        line, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def number(value: Any) -> str:
    """A number of an array, or Python's, with no more digits than its dtype needs."""
    if isinstance(value, torch.Tensor):
        plain = value.item()
        single = value.dtype.is_floating_point and value.dtype != torch.float64
        return number(float(str(np.float32(plain))) if single and np.isfinite(plain) else plain)
    if isinstance(value, complex):
        return f"complex({number(value.real)}, {number(value.imag)})"
    if isinstance(value, float) and not np.isfinite(value):
        return "torch.nan" if value != value else "torch.inf" if value > 0 else "-torch.inf"
    return repr(value)


def same_array(made: Any, a: torch.Tensor) -> bool:
    """Whether ``made`` is ``a``: numbers, dtype and memory format."""
    if not isinstance(made, torch.Tensor) or made.dtype != a.dtype or made.shape != a.shape:
        return False
    return made.stride() == a.stride() and bool(same_bits(exact(made), exact(a)).all())


def _made(text: list[str], name: str) -> Any:
    """What statements make of ``name``; None if they fail."""
    space = {"torch": torch}
    try:
        exec("\n".join(text), space)
    except Exception:  # a dtype that lacks an operation
        return None
    return space.get(name)


def _expressions(t: torch.Tensor) -> Iterator[str]:
    """Ways to write a dense array, the clearest first."""
    shape, flat = tuple(t.shape), t.flatten()
    view = f".view{_args(shape)}" if t.dim() != 1 else ""
    if not t.numel():
        yield _filled("zeros", t)
        return
    if bool(same_bits(exact(flat), exact(flat[:1])).all()):
        value = number(flat[0])
        usual = {"0.0": "zeros", "0": "zeros", "1.0": "ones", "1": "ones"}.get(value)
        yield _filled(usual, t) if usual else f"torch.full({shape}, {value}{_dtype(t)})"
    if t.numel() <= _WRITTEN:
        yield f"torch.tensor([{', '.join(map(number, flat))}]{_dtype(t)}){view}"
    runs = _runs(flat)
    if runs:
        yield f"torch.tensor({' + '.join(runs)}{_dtype(t)}){view}"
    yield from (f"{text}{view}{_cast(t)}" for text in _formulas(flat))


def _runs(flat: torch.Tensor) -> list[str]:
    """The numbers as lists to be added, one for each long run of equal ones; nothing if many."""
    starts = [0, *((flat[1:] != flat[:-1]).nonzero().flatten() + 1).tolist()]
    if len(starts) > 2 * _WRITTEN:
        return []
    found: list[str] = []
    few: list[str] = []
    for start, end in pairwise([*starts, flat.numel()]):
        text = number(flat[start])
        if end - start < _RUN:
            few += [text] * (end - start)
            continue
        found += [f"[{', '.join(few)}]"] if few else []
        found, few = [*found, f"[{text}] * {end - start}"], []
    return found + ([f"[{', '.join(few)}]"] if few else [])


def _formulas(flat: torch.Tensor) -> Iterator[str]:
    """A ramp that begins again and again, or fractions, if the numbers are such."""
    n, values = flat.numel(), exact(flat)
    if flat.dtype == torch.bool or np.any(np.imag(values)):
        return
    values = np.real(values)
    first, low, high = values[0], values.min(), values.max()
    if np.isfinite(low) and np.isfinite(high) and low == int(low) and high > low:
        start, size = int(first - low), int(high - low) + 1
        yield f"torch.arange({start}, {start + n}).remainder({size}).add({int(low)})"
    for start in range(8):
        if abs((start * GOLDEN) % 1 - 0.5 - first) < 0.01:
            steps = f"torch.arange({start}, {start + n}).double().mul({GOLDEN})"
            yield f"{steps}.remainder(1).sub(0.5)"


def _args(values: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, values))})"


def _filled(how: str, t: torch.Tensor) -> str:
    return f"torch.{how}({', '.join(map(str, t.shape))}{_dtype(t)})"


def _dtype(t: torch.Tensor) -> str:
    return "" if t.dtype == torch.float32 else f", dtype={t.dtype}"


def _cast(t: torch.Tensor) -> str:
    return ".float()" if t.dtype == torch.float32 else f".to({t.dtype})"


def _laid_out(text: str, a: torch.Tensor, layout: str) -> Iterator[str]:
    """``text`` with the memory format of ``a``: see ``layouts.lay_out``."""
    shape, rank = tuple(a.shape), a.dim()
    foreign = number(torch.tensor(FOREIGN).to(a.dtype))
    if layout == "channels_last" and rank > 2:
        names = {4: "channels_last", 5: "channels_last_3d"}
        if rank in names:
            yield f"{text}.to(memory_format=torch.{names[rank]})"
        yield f"{text}.movedim(1, -1).contiguous().movedim(-1, 1)"
    elif layout == "permuted":
        order = _args(tuple(reversed(range(rank))))
        yield f"{text}.permute{order}.contiguous().permute{order}"
    elif layout == "sliced" and rank:
        big = (*(s + 1 for s in shape[:-1]), 2 * shape[-1] + 1)
        cut = ", ".join(["1:"] * (rank - 1) + ["1::2"])
        yield f"torch.full({big}, {foreign}{_dtype(a)})[{cut}].copy_({text})"
    elif layout == "expanded" and 0 not in shape:
        yield f"{text}.narrow({rank // 2}, 0, 1).expand{_args(shape)}"
    elif layout == "odd_strides":
        yield f"{text}.as_strided({shape}, {a.stride()})"
    elif layout == "offset":
        room = f"torch.full(({prod(shape) + 3},), {foreign}{_dtype(a)})"
        yield f"{room}[3:].view{_args(shape)}.copy_({text})"
    elif layout != "one number":
        yield text
