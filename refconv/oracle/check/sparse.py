"""Sparse inputs: the cells of a case's arrays that are not zero, and the fewest that are needed."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from .case import Case

Cells = tuple[int, ...]

#: What can be written in a line or two, number by number.
FEW = 24
#: In at most so many parts an array is cut while it is larger than FEW.
_PARTS = 64


def cells(case: Case) -> tuple[Cells | None, ...]:
    """Flat positions of what is not zero, array by array, the gradient sent back at the end.

    None for arrays that stay as they are: indices, and a gradient of one number everywhere.
    """
    found: list[Cells | None] = []
    for name, array in zip(case.names, case.numbers(), strict=True):
        flat = array.flatten()
        positions = tuple((flat.view(-1) != 0).nonzero().flatten().tolist())
        found.append(None if name == "indices" else positions)
    if case.grad and not case.refusal:
        total = prod(case.problem().output_shape)
        found.append(None if case.grad == "expanded" else tuple(range(total)))
    return tuple(found)


def fewest(kept: Cells, fails: Callable[[Cells], bool]) -> Cells:
    """The fewest cells with which a call still fails, by delta debugging: halves, then quarters, …,
    alone and left out.

    Source: Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input, 2002.
    """
    if not kept or fails(()):
        return ()
    parts = 2
    while len(kept) > 1:
        size = -(-len(kept) // parts)
        chunks = [kept[i : i + size] for i in range(0, len(kept), size)]
        alone = next((c for c in chunks if fails(c)), None)
        if alone is not None:
            kept, parts = alone, 2
            continue
        rests = (tuple(c for other in chunks if other is not one for c in other) for one in chunks)
        rest = next((r for r in rests if fails(r)), None)
        if rest is not None:
            kept, parts = rest, max(parts - 1, 2)
        elif size == 1 or (parts >= _PARTS and len(kept) > FEW):
            break
        else:
            parts = min(2 * parts, len(kept))
    return kept
