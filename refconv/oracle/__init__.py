"""The oracle: what a result must be, and how far legal arithmetic may take it from there.

``reference`` computes every output and gradient of a problem in float64, ``bound`` proves per
element how far rounding can move it in a given arithmetic, ``verdict`` compares and says so. There
is no tolerance to set.
"""
