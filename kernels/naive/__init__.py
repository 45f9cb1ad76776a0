"""Naive kernels: explicit loops in plain Python. Read first: they define what the others must do.

Reading order: ``conv`` (the four passes), ``pool``, ``columns`` (unfold and fold), ``index``,
``pad``. One line of arithmetic sits at the bottom of each loop nest, and the loops say which
elements meet there. Nothing here is fast, and nothing here needs more than one reading. The names
and the rules are those of the contract in ``kernels/__init__.py``.

Numbers are read one at a time as NumPy scalars, so every multiplication and addition happens in the
dtype of the arrays: float32 rounds after each step and an int32 wraps, exactly as the same loop in
C would.
"""

from . import columns, conv, index, pad, pool

__all__ = ["columns", "conv", "index", "pad", "pool"]
