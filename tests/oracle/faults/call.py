"""One call of a function of torch.nn.functional, read once: what every planted fault is given."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn import functional as F

# torch's signatures: its builtins and its boolean_dispatch do not show theirs to inspect.
_TEMPLATES: dict[str, Callable[..., None]] = {
    "conv": lambda input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1: None,
    "conv_transpose": lambda input, weight, bias=None, stride=1, padding=0, output_padding=0,
    groups=1, dilation=1: None,
    "max_pool": lambda input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False,
    return_indices=False: None,
    "avg_pool1d": lambda input, kernel_size, stride=None, padding=0, ceil_mode=False,
    count_include_pad=True: None,
    "avg_pool": lambda input, kernel_size, stride=None, padding=0, ceil_mode=False,
    count_include_pad=True, divisor_override=None: None,
    "lp_pool": lambda input, norm_type, kernel_size, stride=None, ceil_mode=False: None,
    "adaptive_avg_pool": lambda input, output_size: None,
    "adaptive_max_pool": lambda input, output_size, return_indices=False: None,
    "max_unpool": lambda input, indices, kernel_size, stride=None, padding=0,
    output_size=None: None,
    "unfold": lambda input, kernel_size, dilation=1, padding=0, stride=1: None,
    "fold": lambda input, output_size, kernel_size, dilation=1, padding=0, stride=1: None,
    "pad": lambda input, pad, mode="constant", value=None: None,
}  # fmt: skip


def signature(op: str) -> inspect.Signature:
    """torch's signature of ``op``."""
    return inspect.signature(_TEMPLATES.get(op) or _TEMPLATES[op[:-2]])


def rank_of(op: str) -> int:
    """Spatial axes of ``op``; 0 for pad, which has no fixed number."""
    return int(op[-2]) if op.endswith("d") and op[-2].isdigit() else 0 if op == "pad" else 2


class Call:
    """One call: the arguments as given, torch's own answer, and the numbers as tuples.

    ``call(**changes)`` asks torch with some arguments changed; ``call.right`` is torch's answer to
    the call as it is.
    """

    def __init__(self, op: str, given: dict[str, Any]) -> None:
        self.op, self.given, self.rank = op, given, rank_of(op)
        self.error: Exception | None = None
        self.right: Any = None
        self.unbatched = False

    def __call__(self, **changes: Any) -> Any:
        return getattr(F, self.op)(**{**self.given, **changes})

    def answer(self) -> None:
        """Ask torch; keep its answer or its refusal."""
        try:
            self.right = self()
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            self.error = error

    @property
    def x(self) -> Tensor:
        return self.given["input"]

    @property
    def w(self) -> Tensor:
        return self.given["weight"]

    @property
    def b(self) -> Tensor | None:
        return self.given["bias"]

    @property
    def y(self) -> Tensor:
        """torch's output, without indices."""
        return self.right[0] if isinstance(self.right, tuple) else self.right

    def with_output(self, y: Tensor, indices: Tensor | None = None) -> Any:
        """``y`` in place of torch's output; torch's indices unless others are given."""
        if not isinstance(self.right, tuple):
            return y
        return y, self.right[1] if indices is None else indices

    def sizes(self, name: str) -> tuple[int, ...]:
        """The numbers of one argument, one for each spatial axis."""
        value = self.given[name]
        if name == "stride" and (value is None or value == [] or value == ()):
            value = self.given["kernel_size"]
        if isinstance(value, int):
            return (value,) * self.rank
        return tuple(value) if len(value) == self.rank else tuple(value) * self.rank

    @property
    def k(self) -> tuple[int, ...]:
        return tuple(self.w.shape[2:]) if "weight" in self.given else self.sizes("kernel_size")

    @property
    def s(self) -> tuple[int, ...]:
        return self.sizes("stride")

    @property
    def d(self) -> tuple[int, ...]:
        return self.sizes("dilation") if "dilation" in self.given else (1,) * self.rank

    @property
    def g(self) -> int:
        return self.given["groups"]

    @property
    def extent(self) -> tuple[int, ...]:
        """The dilated kernel's length on each axis."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.k, self.d, strict=True))

    @property
    def p(self) -> tuple[tuple[int, int], ...]:
        """Padding (low, high) of each axis."""
        value = self.given.get("padding", 0)
        if value == "same":
            return tuple(((e - 1) // 2, e - 1 - (e - 1) // 2) for e in self.extent)
        if value == "valid" or "padding" not in self.given:
            return ((0, 0),) * self.rank
        return tuple((p, p) for p in self.sizes("padding"))

    @property
    def left_over(self) -> tuple[int, ...]:
        """Cells of the padded input that no window of a convolution reaches, at the high end."""
        sizes = zip(self.x.shape[2:], self.p, self.extent, self.s, strict=True)
        return tuple((n + lo + hi - e) % s for n, (lo, hi), e, s in sizes)

    def padded(self, more: tuple[int, ...] = (), pads: Any = None) -> dict[str, Any]:
        """Changes that pad the input with zeros beforehand, ``more`` cells more at the high end."""
        more = more or (0,) * self.rank
        sides = [(lo, hi + m) for (lo, hi), m in zip(pads or self.p, more, strict=True)]
        return {"input": zero_pad(self.x, sides), "padding": 0}


def zero_pad(x: Tensor, sides: Any) -> Tensor:
    """``x`` with ``(low, high)`` zeros on each of its last axes; negative ones crop."""
    pads = [n for side in reversed(list(sides)) for n in side]
    # In two steps: F.pad refuses to crop more than there was before padding.
    wide = F.pad(x, [max(n, 0) for n in pads])
    return F.pad(wide, [min(n, 0) for n in pads])


def crop(y: Tensor, shape: Any) -> Tensor:
    """The first ``shape`` cells of every axis."""
    return y[tuple(slice(0, n) for n in shape)]
