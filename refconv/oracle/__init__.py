"""The oracle: what a result must be, and how far legal arithmetic may take it from there.

``reference`` computes every output and gradient of a problem in float64, ``bound`` proves per
element how far rounding can move it in a given arithmetic, ``verdict`` compares and says so. There
is no tolerance to set. ``exact`` is the correctly rounded result, the same bits on every machine.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["check"],
    submod_attrs={
        "auditing": ["audit"],
        "check.checking": ["check_function"],
        "exactly": ["Exact", "exact"],
    },
)
