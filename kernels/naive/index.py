"""Indexed moves as loops: adds positions that come from an array instead of a formula.

``index`` holds flat spatial positions, such as those max_pool reports. Moving values to them is
max_unpool; taking values from them is its gradient. Both arrays have P planes, one for each image
and channel.
"""

import numpy as np


def gather(y: np.ndarray, x: np.ndarray, index: np.ndarray) -> None:
    """Read x where index points: y[p, s] = x[p, index[p, s]]; 0 where index is -1.

    Shapes:
        y, index (P, S)   x (P, T)
    Source: torch.gather along the last axis.
    Cost: one copy for each element of y.
    """
    P, S = y.shape
    for p in range(P):
        for s in range(S):
            y[p, s] = x[p, index[p, s]] if index[p, s] >= 0 else 0


def scatter_add(y: np.ndarray, x: np.ndarray, index: np.ndarray) -> None:
    """Add each x to where its index points, in the order of s, or nowhere (-1); y starts at 0.

    Shapes:
        y (P, T)   x, index (P, S)
    Source: torch.scatter_add along the last axis.
    Cost: one addition for each element of x.
    """
    P, S = x.shape
    y[:] = 0
    for p in range(P):
        for s in range(S):
            if index[p, s] >= 0:
                y[p, index[p, s]] += x[p, s]


def scatter(y: np.ndarray, x: np.ndarray, index: np.ndarray) -> None:
    """Write each x to where its index points; the last one written stays, and the rest of y is 0.

    Shapes:
        y (P, T)   x, index (P, S)
    Source: torch.nn.functional.max_unpool3d.
    Cost: one copy for each element of x.
    """
    P, S = x.shape
    y[:] = 0
    for p in range(P):
        for s in range(S):
            y[p, index[p, s]] = x[p, s]
