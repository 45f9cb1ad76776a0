"""Winograd's transforms: m outputs of an r-tap correlation from m + r - 1 products.

    y = AT [ (G g) * (BT d) ]      along one axis; a tile is that along H and W

The construction is Toom and Cook's: both operands as polynomials, multiplied at m + r - 2 points
and at infinity. A point p costs additions with powers of p and loses accuracy with their size; 0
and ±1 are free, and 1/2 with -2 lose two to three times less than ±2 (Barabasz et al.,
arXiv:1803.10986).

    F(2, 3): 4 products for 6     F(4, 3): 6 for 12     F(2, 2): 3 for 4     F(4, 2): 5 for 8

Rows of BT are scaled to integers and G inversely, by powers of 2: that changes no rounding.
"""

from fractions import Fraction
from functools import cache

#: Finite points of F(m, r), by how many there are.
POINTS = {
    2: (0, 1),
    3: (0, 1, -1),
    4: (0, 1, -1, 2),
    5: (0, 1, -1, Fraction(1, 2), -2),
}


@cache
def matrices(m, r):
    """AT (m, a), G (a, r) and BT (a, a) of F(m, r) as rows of exact numbers; a = m + r - 1."""
    points = [Fraction(p) for p in POINTS[m + r - 2]]
    last = [Fraction(0)] * (r - 1) + [Fraction(1)]
    at = [[p**i for p in points] + [Fraction(i == m - 1)] for i in range(m)]
    g, bt = [], []
    for p in points:
        others = [q for q in points if q != p]
        row = [*_polynomial(others), Fraction(0)]
        scale = max(c.denominator for c in row)
        product = Fraction(1)
        for q in others:
            product *= p - q
        bt.append([c * scale for c in row])
        g.append([p**k / product / scale for k in range(r)])
    return at, [*g, last], [*bt, _polynomial(points)]


def _polynomial(roots):
    """Coefficients of the polynomial with these roots, the constant first."""
    made = [Fraction(1)]
    for root in roots:
        shifted, same = [Fraction(0), *made], [*made, Fraction(0)]
        made = [a - root * b for a, b in zip(shifted, same, strict=True)]
    return made
