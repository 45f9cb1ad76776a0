"""The slot table of CUDA C++, one for both backends that run it: a line a step of the ladder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import Algorithm, anything
from . import _cuda_cost as cost
from . import _cuda_depthwise as depthwise
from . import _cuda_igemm as igemm
from . import _cuda_mma as mma
from . import _cuda_mma_wgrad as mma_wgrad
from . import _cuda_moves as moves
from . import _cuda_pool as pool
from . import _cuda_stem as stem
from . import _cuda_supports as able
from . import _cuda_wgmma as wgmma
from . import _cuda_winograd as winograd

#: The GPU that is planned for where there is none.
USUAL = "sm_90"


@dataclass(frozen=True)
class Step:
    """One way to fill a slot with launches.

    Args:
        name: of the algorithm.
        plan: ``module:function`` in this folder; ``Given`` → launches.
        supports: problem → None, or why not.
        arch: the oldest GPU it runs on, or, with an ``a`` behind, the only kind.
        accuracy: ``strict``, or ``fast`` if its error may leave the bound of direct sums.
    """

    name: str
    plan: str
    supports: Callable[[Any], str | None] = able.real
    arch: str = "sm_70"
    accuracy: str = "strict"


#: Fastest first, as a rule: a convolution's step is chosen by what it is predicted to take
#: (``_cuda_cost``), any other is the first that can run.
TABLE: dict[str, tuple[Step, ...]] = {
    "conv_fprop": (
        Step("depthwise", "_cuda_depthwise:fprop_depthwise", depthwise.fprop),
        Step("stem", "_cuda_stem:fprop_stem", stem.stem, "sm_80"),
        Step("igemm_wgmma", "_cuda_wgmma:fprop", wgmma.supports, "sm_90a"),
        Step("igemm_mma", "_cuda_mma:fprop", mma.supports_small, "sm_80"),
        Step("igemm_tf32", "_cuda_mma:fprop", mma.supports_single, "sm_80", accuracy="fast"),
        Step("igemm_tf32x3", "_cuda_mma:fprop_three", mma.supports_three_fprop, "sm_80"),
        Step("igemm", "_cuda_igemm:fprop_igemm", able.direct),
        Step("winograd_f2", "_cuda_winograd:fprop_f2", winograd.supports),
        Step("winograd_f4", "_cuda_winograd:fprop_f4", winograd.supports, accuracy="fast"),
        Step("shared", "_cuda_conv:fprop_shared", able.shared),
        Step("direct", "_cuda_conv:fprop_direct", able.direct),
    ),
    "conv_dgrad": (
        Step("depthwise", "_cuda_depthwise:dgrad_depthwise", depthwise.dgrad),
        Step("igemm_wgmma", "_cuda_wgmma:dgrad", wgmma.supports_dgrad, "sm_90a"),
        Step("igemm_mma", "_cuda_mma:dgrad", mma.supports_small_dgrad, "sm_80"),
        Step("igemm_tf32", "_cuda_mma:dgrad", mma.supports_single_dgrad, "sm_80", accuracy="fast"),
        Step("igemm_tf32x3", "_cuda_mma:dgrad_three", mma.supports_three_dgrad, "sm_80"),
        Step("igemm", "_cuda_igemm:dgrad_igemm", able.direct),
        Step("winograd_f2", "_cuda_winograd:dgrad_f2", winograd.supports),
        Step("winograd_f4", "_cuda_winograd:dgrad_f4", winograd.supports, accuracy="fast"),
        Step("direct", "_cuda_conv:dgrad_direct", able.direct),
    ),
    "conv_wgrad": (
        Step("depthwise", "_cuda_depthwise:wgrad_depthwise", depthwise.wgrad),
        Step("igemm_mma", "_cuda_mma_wgrad:wgrad", mma_wgrad.small, "sm_80"),
        Step("igemm_tf32", "_cuda_mma_wgrad:wgrad", mma_wgrad.single, "sm_80", accuracy="fast"),
        Step("igemm_tf32x3", "_cuda_mma_wgrad:wgrad_three", mma_wgrad.three, "sm_80"),
        Step("igemm", "_cuda_igemm:wgrad_igemm", igemm.wgrad),
        Step("direct", "_cuda_conv:wgrad_direct", able.direct),
    ),
    "conv_bgrad": (Step("direct", "_cuda_conv:bgrad_direct", able.direct),),
    "max_pool": (
        Step("vector", "_cuda_pool:max_pool_vector", pool.vector),
        Step("windows", "_cuda_pool:max_pool_windows", pool.windows),
    ),
    "max_pool_values": (
        Step("vector", "_cuda_pool:max_pool_values_vector", pool.vector),
        Step("windows", "_cuda_pool:max_pool_values_windows", pool.windows),
    ),
    "avg_pool": (
        Step("vector", "_cuda_pool:avg_pool_vector", pool.vector),
        Step("windows", "_cuda_pool:avg_pool_windows", pool.windows),
    ),
    "avg_pool_backward": (Step("windows", "_cuda_pool:avg_pool_backward_windows", pool.windows),),
    "gather": (Step("direct", "_cuda_moves:gather", moves.indexed),),
    "scatter": (Step("direct", "_cuda_moves:scatter", moves.indexed),),
    "scatter_add": (Step("direct", "_cuda_moves:scatter_add", moves.indexed),),
    "unfold": (Step("direct", "_cuda_moves:unfold", anything),),
    "fold": (Step("direct", "_cuda_moves:fold"),),
    "pad": (Step("direct", "_cuda_moves:pad", moves.moved),),
    "pad_backward": (Step("direct", "_cuda_moves:pad_backward", moves.padded),),
}


def slots(gpu: Callable[[], str] | None = None) -> dict[str, tuple[Algorithm, ...]]:
    """The table as backends have it.

    Args:
        gpu: asks for the kind of GPU, ``sm_90`` or the like; None: every step runs, and is chosen
            as on ``USUAL``.
    """
    return {slot: tuple(_algorithm(step, gpu) for step in steps) for slot, steps in TABLE.items()}


def _algorithm(step: Step, gpu: Callable[[], str] | None) -> Algorithm:
    def supports(problem: Any) -> str | None:
        reason = step.supports(problem)
        return reason if reason or gpu is None else able.arch(gpu(), step.arch)

    def seconds(problem: Any, slot: str, threads: int) -> float:
        known = slot.startswith("conv") and slot != "conv_bgrad"
        return cost.seconds(step.name, problem, slot, gpu() if gpu else USUAL) if known else 0.0

    return Algorithm(step.name, step.plan, supports, step.accuracy, seconds)
