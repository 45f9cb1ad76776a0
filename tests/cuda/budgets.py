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
    "conv_fprop_mma": Budget(registers=255, shared=68 << 10),
    "conv_dgrad_mma": Budget(registers=255, shared=68 << 10),
    "conv_wgmma": Budget(registers=224, shared=193 << 10),
    "conv_wgrad_mma": Budget(registers=255, shared=64 << 10),
    "conv_wgrad_mma_sum": Budget(registers=64),
    "pack_channels": Budget(registers=40, shared=4352),
    "conv_fprop_direct": Budget(registers=48),
    "conv_fprop_shared": Budget(registers=80, shared=48 << 10),
    "conv_fprop_igemm": Budget(registers=232, shared=24 << 10),
    "conv_fprop_stem": Budget(registers=128, shared=99 << 10),
    "conv_dgrad_igemm": Budget(registers=232, shared=24 << 10),
    "conv_wgrad_igemm": Budget(registers=232, shared=24 << 10),
    "conv_wgrad_igemm_sum": Budget(registers=40),
    "conv_dgrad_direct": Budget(registers=64),
    "conv_wgrad_direct": Budget(registers=48, shared=1024),
    "conv_bgrad_direct": Budget(registers=32, shared=2048),
    "conv_fprop_depthwise": Budget(registers=255, shared=49 << 10),
    "conv_fprop_depthwise_last": Budget(registers=255, shared=32 << 10),
    "conv_dgrad_depthwise": Budget(registers=255, shared=49 << 10),
    "conv_dgrad_depthwise_last": Budget(registers=255, shared=32 << 10),
    "conv_wgrad_depthwise": Budget(registers=255, shared=64 << 10),
    "conv_wgrad_depthwise_sum": Budget(registers=64),
    "conv_wgrad_depthwise_last": Budget(registers=255, shared=8 << 10),
    "conv_wgrad_depthwise_last_sum": Budget(registers=64),
    "max_pool_windows": Budget(registers=64),
    "max_pool_values_windows": Budget(registers=64),
    "avg_pool_windows": Budget(registers=64),
    "avg_pool_backward_windows": Budget(registers=84),
    "max_pool_vector": Budget(registers=128, shared=49 << 10),
    "max_pool_values_vector": Budget(registers=128, shared=49 << 10),
    "avg_pool_vector": Budget(registers=200, shared=49 << 10),
    "max_pool_vector_last": Budget(registers=160),
    "max_pool_values_vector_last": Budget(registers=128),
    "avg_pool_vector_last": Budget(registers=128),
    "gather_direct": Budget(registers=40),
    "scatter_ranges": Budget(registers=64),
    "scatter_add_direct": Budget(registers=64, shared=32 << 10),
    "scatter_direct": Budget(registers=64, shared=32 << 10),
    "unfold_direct": Budget(registers=40),
    "fold_direct": Budget(registers=64),
    "pad_direct": Budget(registers=64),
    "pad_backward_direct": Budget(registers=84),
    "winograd_filters": Budget(registers=64),
    "winograd_input": Budget(registers=100),
    "winograd_product": Budget(registers=248, shared=24 << 10),
    "winograd_output": Budget(registers=112),
}
