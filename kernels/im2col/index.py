"""Indexed moves by NumPy's indexing: adds fancy indices to ``naive.index``, all planes at once.

The order of repeated indices matters and NumPy leaves it open in general. ``scatter_add`` walks one
flat list of positions, which is added in its order; ``scatter`` removes all but the last writer
first.
"""

import numpy as np


def gather(y: np.ndarray, x: np.ndarray, index: np.ndarray) -> None:
    """Read x where index points: y[p, s] = x[p, index[p, s]]; 0 where index is -1.

    Shapes:
        y, index (P, S)   x (P, T)
    Source: torch.gather along the last axis.
    Cost: one copy for each element of y, and one array of its size.
    """
    y[...] = np.where(index < 0, 0, np.take_along_axis(x, np.maximum(index, 0), axis=1))


def scatter_add(y: np.ndarray, x: np.ndarray, index: np.ndarray) -> None:
    """Add each x to where its index points, in the order of s, or nowhere (-1); y starts at 0.

    Shapes:
        y (P, T)   x, index (P, S)
    Source: torch.scatter_add along the last axis.
    Cost: one addition for each element of x, and one array of the size of index.
    """
    y[...] = 0
    somewhere = index.reshape(index.size) >= 0
    np.add.at(y.reshape(y.size), flat(y, index)[somewhere], x.reshape(x.size)[somewhere])


def scatter(y: np.ndarray, x: np.ndarray, index: np.ndarray) -> None:
    """Write each x to where its index points; the last one written stays, and the rest of y is 0.

    Shapes:
        y (P, T)   x, index (P, S)
    Source: torch.nn.functional.max_unpool3d.
    Cost: one comparison and one copy for each element of x; int64 arrays of the sizes of x and y.
    """
    y[...] = 0
    to = flat(y, index)
    turn = np.arange(to.size)
    last = np.full(y.size, -1)
    np.maximum.at(last, to, turn)  # a maximum is the same in any order
    winners = last[to] == turn
    y.reshape(y.size)[to[winners]] = x.reshape(x.size)[winners]


def flat(y: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Positions within each plane of y as positions in all of y, in one list: (P, S) -> (P*S,)."""
    P, T = y.shape
    return (index + T * np.arange(P)[:, None]).reshape(index.size)
