"""What each kernel may cost: the compile gate's table, one line a kernel."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """Limits of one kernel, in whatever element type and for whatever GPU it is compiled.

    Args:
        registers: of a thread.
        shared: bytes of a block, static and dynamic, in the launches of the tests.
    """

    registers: int
    shared: int = 0


BUDGETS = {
    "conv_fprop_direct": Budget(registers=48),
}
