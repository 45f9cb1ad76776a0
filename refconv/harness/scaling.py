"""Does cost grow as the work grows: one 3×3 layer with N, C and H over two decades each."""

from __future__ import annotations

from .. import label
from .cases import Case

#: Axis → its values; the other two stay at ``BASE``.
AXES = {
    "N": (1, 2, 4, 8, 16, 32, 64, 128),
    "C": (4, 8, 16, 32, 64, 128, 256, 512),
    "H": (4, 7, 14, 28, 56, 112, 224, 448),
}
BASE = {"N": 1, "C": 32, "H": 28}
NAME = "scaling"


def cases() -> list[Case]:
    """One case a value of each axis, named ``scaling/N/16``.

    Example:
        >>> cases()[4].text
        'conv2d x[16,32,28,28] w[32,32,3,3] p1'
    """
    made = []
    for axis, values in AXES.items():
        for value in values:
            at = BASE | {axis: value}
            n, c, h = at["N"], at["C"], at["H"]
            text = f"conv2d x[{n},{c},{h},{h}] w[{c},{c},3,3] p1"
            made.append(Case(f"{NAME}/{axis}/{value}", label.read(text), "", text))
    return made
