"""Padding by open meshes: adds ``np.ix_`` to ``naive.pad``, five maps joined to one index.

Positions that no map sends outside form a box, so they are copied together.
"""

import numpy as np


def pad(
    y: np.ndarray,
    x: np.ndarray,
    m0: np.ndarray,
    m1: np.ndarray,
    m2: np.ndarray,
    m3: np.ndarray,
    m4: np.ndarray,
    value: np.generic,
) -> None:
    """Copy each y from where the five maps point in x; where any of them says -1, write value.

    Shapes:
        y (O0, O1, O2, O3, O4)   x (I0, I1, I2, I3, I4)   m0 (O0,)   m1 (O1,)   ...   m4 (O4,)
    Source: torch.nn.functional.pad.
    Cost: one gather and one copy for each element of y, one image at a time.
    """
    y[...] = value
    to, source = meshes(m1, m2, m3, m4)
    for o0, i0 in enumerate(m0):
        if i0 != -1:
            y[o0][to] = x[i0][source]


def pad_backward(
    dx: np.ndarray,
    dy: np.ndarray,
    m0: np.ndarray,
    m1: np.ndarray,
    m2: np.ndarray,
    m3: np.ndarray,
    m4: np.ndarray,
) -> None:
    """Add each dy to the place in dx it was copied from; what came from value goes nowhere.

    Shapes:
        dx (I0, I1, I2, I3, I4)   dy (O0, O1, O2, O3, O4)   m0 (O0,)   m1 (O1,)   ...   m4 (O4,)
    Source: the gradient of torch.nn.functional.pad.
    Cost: one gather and one addition for each element of dy, one image at a time.
    """
    dx[...] = 0
    to, source = meshes(m1, m2, m3, m4)
    for o0, i0 in enumerate(m0):
        if i0 != -1:
            # add.at, not +=: reflect, replicate and circular copy one input to several outputs.
            np.add.at(dx[i0], source, dy[o0][to])


def meshes(*maps: np.ndarray) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """The output positions that are inside on every axis, and their input positions, as meshes."""
    inside = [np.flatnonzero(m != -1) for m in maps]
    return np.ix_(*inside), np.ix_(*(m[o] for m, o in zip(maps, inside, strict=True)))
