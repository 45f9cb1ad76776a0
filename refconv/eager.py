"""One call for every library: NumPy arrays run the operator at once, torch tensors go through its
custom op.
"""

from __future__ import annotations

from typing import Any

from . import plans


def call(operator: str, named: dict[str, Any], *args: Any) -> Any:
    """Operator ``operator`` on the named arrays, which must be of one library and device.

    Args:
        named: argument name → array, or None where torch allows it; in the operator's order.
        args: the operator's other arguments, the backend last.
    """
    given = tuple(array for array in named.values() if array is not None)
    return plans.call(operator, _checked, tuple(named), given, (operator, *args))


def _checked(operator: str, *args: Any) -> tuple[Any, ...]:
    return args
