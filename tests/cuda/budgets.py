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
    "conv_fprop_shared": Budget(registers=80, shared=48 << 10),
    "conv_fprop_igemm": Budget(registers=232, shared=24 << 10),
    "conv_dgrad_direct": Budget(registers=64),
    "conv_wgrad_direct": Budget(registers=48, shared=1024),
    "conv_bgrad_direct": Budget(registers=32, shared=2048),
}
