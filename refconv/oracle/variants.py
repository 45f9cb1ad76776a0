"""The same call, changed in what must not matter: alone or in a batch, in another layout, on other
threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from ..problem import ConvProblem
from .calls import Arrays

Change = Callable[[Arrays, torch.Tensor | None], tuple[Arrays, torch.Tensor | None]]


@dataclass(frozen=True)
class Variant:
    """A changed call, and where its results stand in the plain call's.

    Args:
        name: what was changed; kind: the same for variants of which only the worst is told.
        change: fresh arrays and gradient → those of the changed call.
        where: result's name → index into the plain call's result; None: not to be compared.
        problem: of the changed call, if it is another.
        around: a context for the call.
    """

    name: str
    change: Change = lambda arrays, grad: (arrays, grad)
    where: Callable[[str], Any] = lambda name: ...
    problem: Any = None
    around: Callable[[], AbstractContextManager[Any]] = nullcontext
    kind: str = ""


def variants(problem: Any, device: str, repeats: int) -> Iterator[tuple[str, str, list[Variant]]]:
    """Every property, what tries it, and the changed calls; or no calls, and why not."""
    yield "run to run", f"{repeats} calls", [Variant("another call")] * repeats
    yield "batch size", *_alone(problem)
    yield "batch place", *_reordered(problem)
    yield "threads", *_threads(device)
    yield "layout", *_layouts(problem)
    yield "alignment", *_listed([Variant("1 element later", _each(_offset))])
    yield "channels", *_halves(problem)


Tried = tuple[str, list[Variant]]


def _listed(found: list[Variant]) -> Tried:
    return ", ".join(v.name for v in found), found


def images(problem: Any) -> int | None:
    """How many images the problem's batch has; None without a batch axis."""
    if isinstance(problem, ConvProblem):
        return problem.batch
    return problem.lead[0] if len(problem.lead) == 2 else None


def with_images(problem: Any, count: int) -> Any:
    """The problem with another batch."""
    if isinstance(problem, ConvProblem):
        return replace(problem, batch=count)
    return replace(problem, lead=(count, *problem.lead[1:]))


def _each(change: Callable[[torch.Tensor], torch.Tensor], only: tuple[str, ...] = ()) -> Change:
    """Change every array, or those named, and leave the gradient as it is."""

    def changed(arrays: Arrays, grad: torch.Tensor | None) -> tuple[Arrays, torch.Tensor | None]:
        return {n: change(a) if not only or n in only else a for n, a in arrays.items()}, grad

    return changed


def _of_images(at: Any) -> tuple[Change, Callable[[str], Any]]:
    """Keep the images ``at``; sums over the batch are not compared."""

    def change(arrays: Arrays, grad: torch.Tensor | None) -> tuple[Arrays, torch.Tensor | None]:
        picked = {n: a[at].clone() if n == "input" else a for n, a in arrays.items()}
        return picked, None if grad is None else grad[at].clone()

    return change, lambda name: at if name in ("output", "indices", "grad_input") else None


def _alone(problem: Any) -> Tried:
    count = images(problem)
    if count is None:
        return "no batch axis", []
    one = with_images(problem, 1)
    return f"{count} images alone", [
        Variant(f"image {i} alone", *_of_images(slice(i, i + 1)), problem=one, kind="alone")
        for i in range(count)
    ]


def _reordered(problem: Any) -> Tried:
    count = images(problem)
    if count is None:
        return "no batch axis", []
    turned = [(i + count // 2 - 1) % count for i in range(count)]
    return "reversed, rotated", [
        Variant("images reversed", *_of_images(list(range(count))[::-1])),
        Variant("images rotated", *_of_images(turned)),
    ]


def _threads(device: str) -> Tried:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if device != "cpu":
        return f"it runs on {device}", []
    if not cores or cores < 2:
        return "there is one core", []

    @contextmanager
    def on(count: int) -> Iterator[None]:
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    return _listed(
        [
            Variant("1 thread", around=partial(on, 1)),
            Variant(f"{cores} threads", around=partial(on, cores)),
        ]
    )


def channels_last(a: torch.Tensor) -> torch.Tensor:
    """The same values with the channels next to each other; arrays without sizes are left alone."""
    return a.movedim(1, -1).contiguous().movedim(-1, 1) if a.dim() > 2 else a


def _swapped(a: torch.Tensor) -> torch.Tensor:
    return a.transpose(-1, -2).contiguous().transpose(-1, -2)


def _sparse(a: torch.Tensor) -> torch.Tensor:
    wide = a.new_full(
        (*a.shape[:-1], 2 * a.shape[-1]), float("nan") if a.is_floating_point() else 1
    )
    view = wide[..., ::2]
    return view.copy_(a)


def _offset(a: torch.Tensor) -> torch.Tensor:
    buffer = a.new_empty(a.numel() + 1)
    return buffer[1:].view(a.shape).copy_(a)


def _layouts(problem: Any) -> Tried:
    x, last = ("input",), []
    if images(problem) is not None:
        last.append(Variant("channels_last x", _each(channels_last, x), kind="channels_last"))
        if isinstance(problem, ConvProblem):
            change = _each(channels_last)
            last.append(Variant("channels_last x, w", change, kind="channels_last"))
    others = [
        Variant("transposed x", _each(_swapped, x)),
        Variant("every 2nd of x", _each(_sparse, x)),
    ]
    return ("channels_last, " if last else "") + "transposed, every 2nd", last + others


def _halves(problem: Any) -> Tried:
    """Half of the output channels, each from what it is made of."""
    axis = 0 if images(problem) is None else 1
    lead = (slice(None),) * axis

    def first(a: Any, count: int) -> Any:
        return a[(*lead, slice(count))]

    if not isinstance(problem, ConvProblem):
        half = problem.lead[-1] // 2
        if not half:
            return "there is one channel", []
        part = replace(problem, lead=(*problem.lead[:-1], half))

        def pooled(arrays: Arrays, grad: Any) -> tuple[Arrays, Any]:
            return {"input": first(arrays["input"], half)}, None if grad is None else first(
                grad, half
            )

        return _listed([Variant("half the channels", pooled, lambda n: (*lead, slice(half)), part)])
    g, k, c = problem.groups, problem.out_channels, problem.in_channels
    kept = g // 2 if g > 1 else 1
    share = (k * kept // g, c * kept // g) if g > 1 else (k // 2, c)
    if not share[0]:
        return "there is one filter", []
    rows: tuple[slice, ...] = (slice(share[1 if problem.transposed else 0]),)
    if problem.transposed and g == 1:
        rows = (slice(None), slice(share[0]))
    part = replace(problem, groups=kept, out_channels=share[0], in_channels=share[1])
    where: dict[str, Any] = {
        "output": (*lead, slice(share[0])),
        "grad_weight": rows,
        "grad_bias": slice(share[0]),
    }
    if g > 1:  # else an input's gradient is a sum over all filters
        where["grad_input"] = (*lead, slice(share[1]))

    def halved(arrays: Arrays, grad: Any) -> tuple[Arrays, Any]:
        made = {"input": first(arrays["input"], share[1]), "weight": arrays["weight"][rows]}
        if "bias" in arrays:
            made["bias"] = arrays["bias"][: share[0]]
        made = {n: a.contiguous() for n, a in made.items()}
        return made, None if grad is None else first(grad, share[0]).contiguous()

    name = "half the groups" if g > 1 else "half the filters"
    return _listed([Variant(name, halved, where.get, part)])
