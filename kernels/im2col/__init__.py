"""Column kernels: adds the matrix product, so that BLAS does the arithmetic and NumPy the copying.

Reading order: ``columns`` (windows written out as columns), ``conv`` (one product a tile), ``pool``
(one reduction a tile), ``index``, ``pad``. They fill the slots of ``naive`` with the same meaning.

Where windows are written out, ``workspace`` bounds in bytes what is held at one time besides inputs
and outputs: the work is cut into tiles that fit. One column of one channel is always allowed.
"""

from . import columns, conv, index, pad, pool

__all__ = ["columns", "conv", "index", "pad", "pool"]
