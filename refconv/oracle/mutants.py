"""Convolutions that are legal and convolutions that are wrong, simulated tap by tap: what a
tolerance has to tell apart.

A legal one adds the same products in another order. A faulty one does what a real kernel did when
it was wrong: rounds its inputs, sums in 16 bits, misses a tap, reads the neighbour. Every sum is
made of single additions in the accumulator's dtype, so it rounds exactly as the loop would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice, product
from typing import Any

import torch

from .. import functional
from ..problem import ConvProblem
from . import calls
from .regimes import Setting, filters, quiet_channels


@dataclass(frozen=True)
class Taps:
    r"""A convolution's products, one tap at a time, in the dtype that it is summed in.

    A transposed convolution is the convolution of its input, spread out by the stride, with the
    mirrored filters: the zeros in between add nothing.

    Shapes: x (N, in, \*spread), w (out, in/groups, \*kernel).

    Args:
        low, stride: padding in front and stride of the convolution that is summed.
    """

    x: torch.Tensor
    w: torch.Tensor
    bias: torch.Tensor | None
    low: tuple[int, ...]
    stride: tuple[int, ...]
    problem: ConvProblem

    def products(self, reverse: bool = False) -> Iterator[torch.Tensor]:
        """Every tap's products, of the output's shape: channel by channel, row by row."""
        p, g = self.problem, self.problem.groups
        flat: list[int] = []
        for axis in reversed(range(p.rank)):
            reach = p.dilation[axis] * (p.kernel[axis] - 1) + 1
            reach += self.stride[axis] * (p.out_size[axis] - 1)
            flat += [self.low[axis], reach - self.low[axis] - self.x.shape[2 + axis]]
        x = torch.nn.functional.pad(self.x, flat).unflatten(1, (g, -1))
        w = self.w.unflatten(0, (g, -1))
        taps = list(product(range(self.w.shape[1]), *map(range, p.kernel)))
        for c, *k in reversed(taps) if reverse else taps:
            window = tuple(
                slice(k[a] * p.dilation[a], k[a] * p.dilation[a] + s * (o - 1) + 1, s)
                for a, (s, o) in enumerate(zip(self.stride, p.out_size, strict=True))
            )
            weight = w[(slice(None), slice(None), c, *k)]
            yield (
                x[(slice(None), slice(None), c, *window)].unsqueeze(2)
                * weight.reshape(g, -1, *(1,) * p.rank)
            ).flatten(1, 2)

    def stored(self, total: torch.Tensor) -> torch.Tensor:
        """The result: a sum with the bias, rounded once to the problem's dtype."""
        if self.bias is not None:
            total = total + self.bias.to(total.dtype).reshape(-1, *(1,) * self.problem.rank)
        total = total.to(getattr(torch, self.problem.dtype))
        return total if self.problem.batch is not None else total[0]

    def to(self, dtype: torch.dtype) -> Taps:
        """The same numbers in another dtype."""
        return replace(self, x=self.x.to(dtype), w=self.w.to(dtype))


def taps(setting: Setting) -> Taps:
    """The convolution of ``setting``, ready to be summed in the accumulator that it declares."""
    p, acc = setting.problem, torch.float64 if setting.problem.dtype == "float64" else torch.float32
    x, w = setting.arrays["input"].to(acc), setting.arrays["weight"].to(acc)
    x = x if p.batch is not None else x[None]
    low, stride = tuple(lo for lo, _ in p.padding), p.stride
    w = filters(p, w).reshape(p.out_channels, -1, *p.kernel)
    if p.transposed:
        w = w.flip(tuple(range(2, w.dim())))
        low = tuple(d * (k - 1) - lo for d, k, lo in zip(p.dilation, p.kernel, low, strict=True))
        spread = [(size - 1) * s + 1 for size, s in zip(p.in_size, p.stride, strict=True)]
        wide = x.new_zeros((*x.shape[:2], *spread))
        wide[(..., *(slice(None, None, s) for s in p.stride))] = x
        x, stride = wide, (1,) * p.rank
    return Taps(x, w, setting.arrays.get("bias"), low, stride, p)


def in_order(t: Taps, reverse: bool = False) -> torch.Tensor:
    """One accumulator, tap after tap."""
    return t.stored(_total(t.products(reverse)))


def split(t: Taps, parts: int = 8) -> torch.Tensor:
    """``parts`` accumulators, each for its share of the taps, then added."""
    terms, size = t.products(), -(-t.w[0].numel() // parts)
    shares = (_total(chain([first], islice(terms, size - 1))) for first in terms)
    return t.stored(_total(shares))


def pairwise(t: Taps) -> torch.Tensor:
    """Sums of two, of four, of eight, …: a partial sum waits until it meets one of its own size."""
    waiting: list[tuple[int, torch.Tensor]] = []
    for term in t.products():
        size, total = 1, term
        while waiting and waiting[-1][0] == size:
            total, size = waiting.pop()[1] + total, 2 * size
        waiting.append((size, total))
    return t.stored(_total(total for _, total in reversed(waiting)))


def half_accumulator(t: Taps) -> torch.Tensor:
    """Every partial sum is rounded to float16."""
    total: Any = torch.zeros(())
    for term in t.products():
        total = (total + term).half().to(term.dtype)
    return t.stored(total)


def _total(terms: Iterator[torch.Tensor]) -> torch.Tensor:
    total = next(terms)
    for term in terms:
        total = total + term
    return total


def tf32(a: torch.Tensor) -> torch.Tensor:
    """Rounded to TF32's 11 significant bits, ties away from zero, as tensor cores' inputs are."""
    bits = a.float().contiguous().view(torch.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(torch.float32).to(a.dtype)


@dataclass(frozen=True)
class Candidate:
    """One way to compute a convolution.

    Args:
        legal: whether a test must let it pass.
        run: from the setting and the plain result (one accumulator, tap after tap) to the
            candidate's result; None where the fault cannot happen.
    """

    name: str
    legal: bool
    run: Callable[[Setting, torch.Tensor], torch.Tensor | None]


def _rounded(to: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    def run(s: Setting, plain: torch.Tensor) -> torch.Tensor:
        t = taps(s)
        return in_order(replace(t, x=to(t.x), w=to(t.w)))

    return run


def _bfloat16(a: torch.Tensor) -> torch.Tensor:
    return a.bfloat16().to(a.dtype)


def _without_a_tap(s: Setting, where: Any = slice(None)) -> torch.Tensor:
    """The last channel's middle tap is left out, for the output channels ``where``."""
    t = taps(s)
    w = t.w.clone()
    w[(where, -1, *(k // 2 for k in s.problem.kernel))] = 0
    return in_order(replace(t, w=w))


def _quiet(s: Setting) -> torch.Tensor | None:
    found = quiet_channels(s.problem, s.arrays["weight"])
    return found if bool(found.any()) else None


def _without_a_quiet_tap(s: Setting, plain: torch.Tensor) -> torch.Tensor | None:
    quiet = _quiet(s)
    return None if quiet is None else _without_a_tap(s, quiet)


def _quiet_tf32(s: Setting, plain: torch.Tensor) -> torch.Tensor | None:
    quiet = _quiet(s)
    if quiet is None:
        return None
    narrow = _rounded(tf32)(s, plain)
    return torch.where(quiet.reshape(-1, *(1,) * s.problem.rank), narrow, plain)


def _shifted(s: Setting, plain: torch.Tensor) -> torch.Tensor:
    """Every window reads one column to the right."""
    t = taps(s)
    return in_order(replace(t, low=(*t.low[:-1], t.low[-1] - 1)))


def _wrong_group(s: Setting, plain: torch.Tensor) -> torch.Tensor | None:
    """Every group reads the input channels of the next one."""
    t, g = taps(s), s.problem.groups
    return in_order(replace(t, x=t.x.roll(-t.x.shape[1] // g, 1))) if g > 1 else None


def _no_last_column(s: Setting, plain: torch.Tensor) -> torch.Tensor:
    got = plain.clone()
    got[..., -1] = 0
    return got


def _cancelled(s: Setting, plain: torch.Tensor) -> torch.Tensor | None:
    """The element that cancels most is off by 61 units in its last place."""
    want = torch.from_numpy(s.expected.want).abs()
    kappa = torch.where(want > 0, torch.from_numpy(s.scale) / want, 0).where(plain != 0, 0)
    if not bool((kappa > 0).any()):
        return None
    got = plain.clone()
    size = {8: torch.int64, 4: torch.int32, 2: torch.int16}[got.element_size()]
    got.view(size).view(-1)[kappa.argmax()] += 61
    return got


def _stale(s: Setting, plain: torch.Tensor) -> torch.Tensor | None:
    """One element holds its neighbour's value."""
    got, middle = plain.clone(), plain.numel() // 2
    if middle == 0:
        return None
    got.view(-1)[middle] = plain.view(-1)[middle - 1]
    return got


def _nan(s: Setting, plain: torch.Tensor) -> torch.Tensor:
    got = plain.clone()
    got.view(-1)[plain.numel() // 2] = float("nan")
    return got


def _scaled(s: Setting, plain: torch.Tensor) -> torch.Tensor:
    return plain * (1 + 2.0**-13)


def _blas(s: Setting, plain: torch.Tensor) -> torch.Tensor:
    return calls.results(functional, s.problem, s.arrays, backend="im2col")["output"]


CANDIDATES = (
    Candidate("in order", True, lambda s, plain: plain),
    Candidate("reverse order", True, lambda s, plain: in_order(taps(s), reverse=True)),
    Candidate("split-K 8", True, lambda s, plain: split(taps(s))),
    Candidate("pairwise", True, lambda s, plain: pairwise(taps(s))),
    Candidate("BLAS (im2col)", True, _blas),
    Candidate("float64 sum", True, lambda s, plain: in_order(taps(s).to(torch.float64))),
    Candidate("TF32 silently", False, _rounded(tf32)),
    Candidate("bf16 inputs", False, _rounded(_bfloat16)),
    Candidate("fp16 accumulator", False, lambda s, plain: half_accumulator(taps(s))),
    Candidate("one tap dropped", False, lambda s, plain: _without_a_tap(s)),
    Candidate("quiet tap dropped", False, _without_a_quiet_tap),
    Candidate("quiet filter TF32", False, _quiet_tf32),
    Candidate("scale 1 + 2^-13", False, _scaled),
    Candidate("1 cell + 61 ulp", False, _cancelled),
    Candidate("window shifted", False, _shifted),
    Candidate("last column lost", False, _no_last_column),
    Candidate("wrong group", False, _wrong_group),
    Candidate("1 stale cell", False, _stale),
    Candidate("1 NaN cell", False, _nan),
)


def candidates(setting: Setting) -> Iterator[tuple[Candidate, torch.Tensor]]:
    """Every candidate with its result; without faults that cannot happen here or change no bit."""
    plain = in_order(taps(setting))
    for candidate in CANDIDATES:
        got = candidate.run(setting, plain)
        if got is None or (not candidate.legal and _same_bits(got, plain)):
            continue
        assert got.dtype == plain.dtype
        yield candidate, got


def _same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(a, b)  # a NaN is equal to nothing, so it counts as a change
