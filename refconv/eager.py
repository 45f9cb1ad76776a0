"""One call for every library: NumPy arrays run the operator at once, torch tensors go through its
custom op.
"""

from __future__ import annotations

from typing import Any

from . import arrays
from .operators import OPERATORS


def call(operator: str, named: dict[str, Any], *args: Any) -> Any:
    """Operator ``operator`` on the named arrays, which must be of one library and device.

    Args:
        named: argument name → array, or None where torch allows it; in the operator's order.
        args: the operator's other arguments, the backend last.
    """
    if arrays.library(args[0] if isinstance(args[0], str) else operator, **named) == "torch":
        from . import autograd  # imports torch, which the caller has imported already

        return autograd.call(operator, *named.values(), *args)
    return OPERATORS[operator].run(*named.values(), *args)
