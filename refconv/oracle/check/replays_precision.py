"""Mistakes of precision: numbers rounded to fewer bits than they have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from .replays import Change, Found, Replay, reading, writing
from .scene import GRADIENT, Scene
from .where import tf32

Tensor = torch.Tensor
WIDE = ("float32", "float64")
HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def _half(dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    return lambda t: t.to(dtype).to(t.dtype)


def _chopped(t: Tensor) -> Tensor:
    """Truncated to TF32's 11 bits."""
    return (t.contiguous().view(torch.int32) & -(2**13)).view(torch.float32)


ROUNDINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "TF32": tf32,
    "TF32 (truncated)": _chopped,
    **{name: _half(dtype) for name, dtype in HALVES.items()},
}


def replays(names: tuple[str, ...]) -> Iterator[Replay]:
    """The finest first.

    Args:
        names: of the op's arrays.
    """
    factors = tuple(n for n in ("input", "weight") if n in names)

    for name, rule in ROUNDINGS.items():
        both = _single(rule)
        yield reading(f"with inputs rounded to {name} (lost precision)", both, *factors, GRADIENT)
        if len(factors) > 1:
            for one in (*factors, GRADIENT):
                yield reading(f"with its {one} rounded to {name} (lost precision)", both, one)
        yield reading(f"with all of its arrays rounded to {name}", both, *names, GRADIENT)
    yield from _special(names)
    yield from _whole()
    for name, dtype in HALVES.items():
        yield Replay(
            f"with its weight gradient accumulated image by image in {name}",
            partial(_images, dtype=dtype),
        )
        yield writing(f"with its result rounded to {name} (lost in a cast)", _cast(dtype))


def _single(rule: Callable[[Tensor], Tensor]) -> Change:
    """A rounding of float32."""
    return lambda scene, name, t: rule(t) if t.dtype == torch.float32 else None


def _cast(dtype: torch.dtype) -> Change:
    def change(scene: Scene, name: str, t: Tensor) -> Tensor | None:
        return t.to(dtype).to(t.dtype) if scene.case.dtype in WIDE else None

    return change


def _floating(rule: Callable[[Tensor], Tensor]) -> Change:
    return lambda scene, name, t: rule(t) if t.is_floating_point() else None


def _complex(rule: Callable[[Tensor], Tensor]) -> Change:
    return lambda scene, name, t: rule(t) if t.is_complex() else None


def _special(names: tuple[str, ...]) -> Iterator[Replay]:
    """NaN, infinities and imaginary parts that are lost."""

    def limit(t: Tensor) -> Tensor:
        most = torch.finfo(t.dtype).max
        return torch.where(t.isinf(), t.sign() * most, t)

    yield writing(
        "with infinite results saturated to the largest number (special values)", _saturated
    )
    for name in names:
        for text, change in (
            ("with NaN in its {} read as 0 (special values)",
             _floating(lambda t: torch.where(t.isnan(), 0, t))),
            ("with infinities in its {} saturated to the largest number (special values)",
             _floating(limit)),
            ("with infinities in its {} read as 0 (special values)",
             _floating(lambda t: torch.where(t.isinf(), 0, t))),
            ("with its {} conjugated (complex numbers)",
             _complex(lambda t: t.conj().resolve_conj())),
            ("with the imaginary part of its {} dropped (complex numbers)",
             _complex(lambda t: t.real.to(t.dtype))),
        ):  # fmt: skip
            yield reading(text.format(name), change, name)


def _saturated(scene: Scene, name: str, t: Tensor) -> Tensor | None:
    dtype = getattr(torch, scene.case.dtype)
    if not (dtype.is_floating_point and t.is_floating_point()):
        return None
    return torch.where(t.isinf(), t.sign() * torch.finfo(dtype).max, t)


def _whole() -> Iterator[Replay]:
    """Integers in an accumulator of another width."""

    def summed(text: str, rule: Callable[[np.ndarray, str], np.ndarray]) -> Replay:
        def run(scene: Scene) -> Iterator[Found]:
            dtype = getattr(scene.problem, "dtype", "")
            if "int" in dtype:
                wide = scene.due(replace(scene.problem, dtype="int64"))
                for name, e in wide.items():
                    yield {name: rule(e.want, dtype).astype(dtype).astype(np.int64)}

        return Replay(text, run)

    yield summed("whose integer sums saturate instead of wrapping (overflow)", _clipped)
    for width in (8, 16, 32):
        text = f"whose integers are summed in {width} bits (an accumulator that wraps, overflow)"
        yield summed(text, partial(_narrow, width=width))
        text = f"whose integer sums saturate in {width} bits (overflow)"
        yield summed(text, partial(_clipped, width=width))


def _narrow(want: np.ndarray, dtype: str, width: int) -> np.ndarray:
    return want.astype(f"int{width}")


def _clipped(want: np.ndarray, dtype: str, width: int = 0) -> np.ndarray:
    info = np.iinfo(f"int{width}" if width else dtype)
    return want.clip(info.min, info.max)


def _images(scene: Scene, dtype: torch.dtype) -> Iterator[Found]:
    """Each image's weight gradient added into a buffer of few bits."""
    batch = getattr(scene.problem, "batch", None)
    if "grad_weight" not in scene.wrong or not scene.simple or not batch or batch > 64:
        return
    x, dy = scene.arrays["input"], scene.dy
    assert dy is not None
    shape = scene.right["grad_weight"].want.shape
    total = torch.zeros(shape, dtype=dtype)
    for i in range(batch):
        one = (torch.arange(batch) == i).view(-1, *(1,) * (x.dim() - 1))
        found = scene.due(input=torch.where(one, x, 0))
        total = (total.double() + torch.from_numpy(found["grad_weight"].want)).to(dtype)
    yield {"grad_weight": total.double().numpy()}
