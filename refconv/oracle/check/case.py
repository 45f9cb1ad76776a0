"""A case: one call of one op, as text-sized data without arrays, from which the same arrays can be
made again anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import msgspec
import torch

from ... import notation
from ...errors import RefconvError
from ...ops import FLOATS, OPS
from .. import inputs
from .layouts import lay_out

NAMES = ("input", "weight", "bias", "indices")
UNSIGNED = (torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64)
#: Arguments of functional calls that are not part of the problem.
_NO_NUMBERS = ("return_indices",)

Arguments = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Case:
    """One call of one op.

    Args:
        shapes: of the arrays, in the op's order.
        kwargs: the other arguments, by torch's names.
        layouts: one name of ``layouts.LAYOUTS`` an array.
        limit: of the indices that unpooling takes.
        dtype, values: of the arrays; values are a kind of ``inputs.make``, or ``exact`` (small
            whole numbers, indices given twice), ``negative``, ``special`` (NaN, infinities, ties),
            ``nan``, ``minus infinity``, ``zeros``, ``large``; ``large input``: of that array only;
            ``outside``: indices beyond the output; of ``FORMULAS``: what one line writes again.
        grad: what is sent back: ``random``, ``expanded`` (one number, strides 0, as ``y.sum()``
            gives), ``permuted``; nothing: forward only.
        wrt: the inputs that require a gradient; none named: all that can.
        way: ``plain``; ``shape``: only the shape is looked at, of a large result; ``repeat``:
            several times, the bits must stay; ``again``: once before, with ``earlier`` and other
            numbers; ``vmap:NAME``: over a stack of that array; ``double:NAME``: second derivatives
            through the gradient of that array.
        earlier: arguments that differ in the call made before (``again``).
        nonzero: flat positions of the cells that are kept, one tuple an array and one for the
            gradient sent back; None: all of it, as where there is no tuple.
        why: what this case is for.
    """

    op: str
    shapes: tuple[tuple[int, ...], ...]
    kwargs: Arguments
    layouts: tuple[str, ...] = ()
    seed: int = 0
    limit: int = 0
    dtype: str = "float32"
    values: str = "real"
    grad: str = ""
    wrt: tuple[str, ...] = ()
    way: str = "plain"
    earlier: Arguments = ()
    nonzero: tuple[tuple[int, ...] | None, ...] = ()
    why: str = ""

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return int(self.op[-2]) if self.op[-1] == "d" and self.op[-2].isdigit() else 2

    @property
    def layout(self) -> int:
        """What torch's strides mean here: the rank, or 0 where they are no memory format at all.

        Constant padding that adds nothing is a clone in torch, with whatever strides there were.
        """
        pads = dict(self.kwargs).get("pad", (1,))
        mode = dict(self.kwargs).get("mode", "constant")
        return 0 if self.op == "pad" and mode == "constant" and max(pads) <= 0 else self.rank

    @property
    def kind(self) -> str:
        """The op without its rank."""
        return self.op[:-2] if self.op[-2].isdigit() else self.op

    @property
    def cells(self) -> int:
        """The largest divisor of an average; 1 for other ops."""
        if self.kind == "adaptive_avg_pool":
            return prod(self.shapes[0][-self.rank :])
        if self.kind not in ("avg_pool", "lp_pool"):
            return 1
        kernel = dict(self.kwargs)["kernel_size"]
        return kernel**self.rank if isinstance(kernel, int) else prod(kernel)

    @property
    def names(self) -> tuple[str, ...]:
        """The arrays' names, in the op's order."""
        return ("input", "indices") if self.kind == "max_unpool" else NAMES[: len(self.shapes)]

    def call(self, module: Any, *arrays: Any, **more: Any) -> Any:
        """The op of ``module`` (torch.nn.functional or refconv.functional) on ``arrays``."""
        return getattr(module, self.op)(*arrays, **dict(self.kwargs), **more)

    def problem(self) -> Any:
        """The problem that this call is.

        Raises:
            RefconvError: the call breaks a rule, and torch refuses it too.
        """
        given = dict(self.kwargs)
        for name in _NO_NUMBERS:
            given.pop(name, None)
        shapes = dict(zip(self.names, self.shapes, strict=True))
        return notation.build(self.op, shapes, given, self.dtype)

    @property
    def refusal(self) -> str:
        """Why this call is refused; empty if it is not."""
        if self.values == "outside":
            return f"{self.op}: an index points outside of the output"
        try:
            self.problem()
        except RefconvError as error:
            return str(error)
        return ""

    def arrays(self, dtype: torch.dtype | None = None, values: str = "") -> list[torch.Tensor]:
        """The case's arrays: the same numbers for the same case, dtype and values."""
        layouts = self.layouts or ("contiguous",) * len(self.shapes)
        made = self.numbers(dtype, values)
        return [lay_out(t, layout) for t, layout in zip(made, layouts, strict=True)]

    def numbers(self, dtype: torch.dtype | None = None, values: str = "") -> list[torch.Tensor]:
        """The arrays before they are laid out in memory."""
        values = values or self.values
        if self.way == "shape":
            return [torch.zeros(1).to(getattr(torch, self.dtype)).expand(s) for s in self.shapes]
        wanted = dtype or getattr(torch, self.dtype)
        if values in FORMULAS and not self.refusal:
            made = list(inputs.make(self.problem(), "integer", self.seed).values())
            made = [
                t if name == "indices" else self._formula(t, i, values)
                for i, (name, t) in enumerate(zip(self.names, made, strict=True))
            ]
        elif values in inputs.KINDS and dtype is None and not self.refusal:
            made = list(inputs.make(self.problem(), values, self.seed).values())
        else:
            made = self._free(wanted, "exact" if values == "integer" else values)
        return [self._sparse(t, i) for i, t in enumerate(made)]

    def _formula(self, like: torch.Tensor, i: int, values: str) -> torch.Tensor:
        """Array ``i`` by a formula: other numbers in each, and for each seed."""
        limit = inputs.amplitude(self.problem())
        return formula(tuple(like.shape), like.dtype, values, limit, self.seed + i)

    def _free(self, dtype: torch.dtype, values: str) -> list[torch.Tensor]:
        """Numbers that no problem is needed for."""
        generator = torch.Generator().manual_seed(self.seed)
        made = []
        for i, shape in enumerate(self.shapes):
            if self.kind == "max_unpool" and i == 1:
                made.append(torch.randint(0, max(self.limit, 1), shape, generator=generator))
                continue
            t = numbers(shape, dtype, self._values(values, i), generator)
            signed = not t.is_complex() and t.dtype not in UNSIGNED
            if values != "zeros" and self.kind == "lp_pool" and signed:
                if t.is_floating_point() and dtype.itemsize > 1:  # no power underflows
                    t = torch.where(t < 0, t - 0.25, t + 0.25)
                if dict(self.kwargs)["norm_type"] != 2 and dtype.itemsize > 1:
                    t = t.abs()  # a negative sum has no root
            made.append(t)
        return made

    def _values(self, values: str, i: int) -> str:
        """The kind of values of array ``i``: ``special weight`` says it for one of them."""
        kind, _, alone = values.rpartition(" ")
        if alone not in NAMES:
            return values
        return kind if self.names[i] == alone else "real"

    def _sparse(self, t: torch.Tensor, i: int) -> torch.Tensor:
        positions = self.nonzero[i] if i < len(self.nonzero) else None
        if positions is None or self.names[i : i + 1] == ("indices",):
            return t
        kept = torch.zeros_like(t).flatten()
        at = torch.tensor(positions, dtype=torch.int64)
        kept[at] = t.flatten()[at]
        return kept.view(t.shape)

    def incoming(self, problem: Any) -> torch.Tensor | None:
        """The gradient that is sent back from the output."""
        if not self.grad:
            return None
        kind = self.values if self.values in inputs.KINDS else "real"
        dy = inputs.gradient(problem, kind, self.seed)
        if self.values in FORMULAS:
            dy = self._formula(dy, len(self.shapes), self.values)
        if self.grad == "expanded":
            return dy.flatten()[:1].expand(dy.numel()).as_strided(dy.shape, (0,) * dy.dim())
        dy = self._sparse(dy, len(self.shapes))
        return lay_out(dy, self.grad) if self.grad in ("permuted", "channels_last") else dy

    @property
    def features(self) -> frozenset[str]:
        """What a function has to support for this call, beside the op itself."""
        given, found = dict(self.kwargs), set()
        if self.dtype != "float32":
            found.add(self.dtype)
        if OPS[self.op].rank and len(self.shapes[0]) == self.rank + 1:
            found.add("no batch axis")
        if any(0 in shape for shape in self.shapes):
            found.add("an empty array")
        found |= {f"{layout} memory" for layout in self.layouts if layout != "contiguous"}
        if self.grad:
            way, _, name = self.way.partition(":")
            every = (n for n in self.names if n != "indices")
            wanted = (name,) if way == "double" else self.wrt or every
            found |= {f"gradient of {name}" for name in wanted}
        kind, _, name = self.way.partition(":")
        words = {"vmap": "vmap over ", "double": "second derivatives by "}
        found |= {words[kind] + name} if kind in words else set()
        if isinstance(given.get("padding"), str):
            found.add(f"padding={given['padding']!r}")
        for name, value in given.items():
            found |= _feature(name, value)
        return frozenset(found)

    def __str__(self) -> str:
        arrays = ", ".join(f"{n}{list(s)}" for n, s in zip(self.names, self.shapes, strict=True))
        numbers = ", ".join(f"{n}={v!r}" for n, v in self.kwargs)
        extra = [
            f"{self.dtype} {self.values}",
            *(lay for lay in self.layouts if lay != "contiguous"),
        ]
        extra += [f"grad {self.grad}"] if self.grad else []
        extra += [self.way] if self.way != "plain" else []
        return f"{self.op}({arrays}, {numbers}) {', '.join(extra)}"


def _feature(name: str, value: Any) -> set[str]:
    """The feature that an argument asks for; none at torch's default."""
    if name in ("groups", "dilation", "stride", "output_padding", "padding"):
        usual = 0 if "padding" in name else 1
        found = {f"{name} as a list"} if isinstance(value, list) else set()
        many = value if isinstance(value, tuple | list) else (value,)
        return found | ({name} if any(v not in (usual, None) for v in many) else set())
    if name in ("ceil_mode", "divisor_override", "return_indices", "output_size", "norm_type"):
        return {name} if value not in (None, False) else set()
    if name == "count_include_pad":
        return set() if value else {name}
    return {f"mode={value!r}"} if name == "mode" else set()


def plain(case: Case) -> Case:
    """The same case with contiguous arrays and no empty batch (there torch asks for no dtype)."""
    shapes = tuple(tuple(n or 1 for n in shape) for shape in case.shapes)
    return replace(case, shapes=shapes, layouts=("contiguous",) * len(shapes))


def numbers(
    shape: tuple[int, ...], dtype: torch.dtype, values: str, generator: torch.Generator
) -> torch.Tensor:
    """Random numbers of a kind."""
    if dtype is torch.bool:
        return torch.randint(0, 2, shape, generator=generator).bool()
    if values == "exact" or not (dtype.is_floating_point or dtype.is_complex):
        low = 0 if dtype in UNSIGNED else -4
        t = torch.randint(low, 0 if values == "negative" and low else 5, shape, generator=generator)
        if dtype.is_complex:
            imaginary = torch.randint(-4, 5, shape, generator=generator)
            return torch.complex(t.double(), imaginary.double()).to(dtype)
        return t.to(dtype)
    wide = torch.complex128 if dtype.is_complex else torch.float64
    t = torch.randn(shape, dtype=wide, generator=generator)
    if values == "negative":
        t = -1 - t.abs()
    if values == "large":
        t = 800 * t
    if values in _ONE and t.numel():
        at = torch.randint(0, t.numel(), (1,), generator=generator)
        t.view(-1)[at] = _ONE[values]
    few = _FEW.get(values)
    if few:
        t = torch.tensor(few)[torch.randint(0, len(few), shape, generator=generator)]
    return t.to(dtype)


#: Kinds of values that follow from the cell's position: ones, small whole numbers, fractions.
FORMULAS = ("ones", "ramp", "fractions")
#: Its multiples, modulo 1, are spread evenly.
GOLDEN = 0.618034


def formula(
    shape: tuple[int, ...], dtype: torch.dtype, values: str, limit: int, start: int
) -> torch.Tensor:
    """Numbers of one of ``FORMULAS``.

    Args:
        limit: the largest whole number.
        start: the number that the first cell counts as.
    """
    if values == "ones":
        return torch.ones(shape, dtype=dtype)
    if values == "ramp":
        t = torch.from_numpy(inputs.positions(shape, limit, start))
    else:
        at = torch.arange(start, start + prod(shape), dtype=torch.float64)
        t = at.mul(GOLDEN).remainder(1).sub(0.5).view(shape)
    return (t - t.min() if dtype in UNSIGNED and t.numel() else t).to(dtype)


#: Kinds of values with one among them that is not finite.
_ONE = {"one infinity": torch.inf, "one nan": torch.nan}
#: Kinds of values that are drawn from a few.
_FEW = {
    "special": (0.0, -0.0, 1.0, torch.nan, torch.inf, -torch.inf, -torch.inf, -2.0),
    "minus infinity": (-torch.inf, -torch.inf, -torch.inf, -torch.inf, -1.0),
    "nan": (1.0, 2.0, 3.0, torch.nan),
    "zeros": (0.0, 0.0, 0.0, 0.0, 1.0),
}


def differentiable(case: Case) -> bool:
    """Whether the op has gradients in the case's dtype."""
    return case.dtype in FLOATS or case.dtype in ("complex64", "complex128")


def encode(case: Case) -> bytes:
    """The case as JSON."""
    return msgspec.json.encode(case)
