"""Padding as loops: adds one map an axis, from output position to input position or -1, outside.

Constant, reflect, replicate and circular padding, and cropping, differ only in those maps.
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
    Cost: one copy for each element of y.
    """
    O0, O1, O2, O3, O4 = y.shape
    for o0 in range(O0):
        for o1 in range(O1):
            for o2 in range(O2):
                for o3 in range(O3):
                    for o4 in range(O4):
                        i0, i1, i2, i3, i4 = m0[o0], m1[o1], m2[o2], m3[o3], m4[o4]
                        outside = i0 == -1 or i1 == -1 or i2 == -1 or i3 == -1 or i4 == -1
                        y[o0, o1, o2, o3, o4] = value if outside else x[i0, i1, i2, i3, i4]


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
    Cost: one addition for each element of dy.
    """
    O0, O1, O2, O3, O4 = dy.shape
    dx[:] = 0
    for o0 in range(O0):
        for o1 in range(O1):
            for o2 in range(O2):
                for o3 in range(O3):
                    for o4 in range(O4):
                        i0, i1, i2, i3, i4 = m0[o0], m1[o1], m2[o2], m3[o3], m4[o4]
                        outside = i0 == -1 or i1 == -1 or i2 == -1 or i3 == -1 or i4 == -1
                        if not outside:
                            dx[i0, i1, i2, i3, i4] += dy[o0, o1, o2, o3, o4]
