"""Mistakes of precision: numbers rounded to fewer bits than they have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from .replays import GRADIENT, Found, Replay, Scene, reading, writing
from .where import tf32

Tensor = torch.Tensor
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

    def rounded(rule: Callable[[Tensor], Tensor]) -> Any:
        def change(scene: Scene, name: str, t: Tensor) -> Tensor | None:
            return rule(t) if t.dtype == torch.float32 else None

        return change

    for name, rule in ROUNDINGS.items():
        both = rounded(rule)
        yield reading(
            f"with inputs rounded to {name} (lost precision)", both, *factors, GRADIENT
        )
        if len(factors) > 1:
            for one in (*factors, GRADIENT):
                yield reading(f"with its {one} rounded to {name} (lost precision)", both, one)
        yield reading(f"with all of its arrays rounded to {name}", both, *names, GRADIENT)
    for name, dtype in HALVES.items():
        yield Replay(
            f"with its weight gradient accumulated image by image in {name}",
            lambda scene, dtype=dtype: _images(scene, dtype),
        )
        yield writing(
            f"with its result rounded to {name} (precision lost in a cast)",
            lambda s, n, t, dtype=dtype: t.to(dtype).to(t.dtype),
        )


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
