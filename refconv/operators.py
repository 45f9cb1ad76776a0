"""The operators: what functional calls and autograd registers, one record each, for every library
alike.

An operator has a schema, a problem (built from its arguments by ``normalize``) and a slot. Called
on NumPy arrays it runs at once (``Operator.run``); for torch the same function is the body of a
custom op, and the same problem gives its fake kernel's shapes. The first operators are what users
call; the rest exist because a derivative needs them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import arrays, dispatch, layouts, problems
from .device_call import DeviceCall


@dataclass(frozen=True)
class Operator:
    """One operator.

    Args:
        schema: torch's schema without the name; arrays first, ``str backend`` last.
        arrays: how many of the arguments are arrays.
        problem: the arguments → the problem; every refusal is raised in it.
        slot: problem → the slot that fills it.
        layout: problem and arrays → whether the result is channels_last (torch only).
        check: a look at the arrays' values before they are used (indices); every call takes it.
    """

    schema: str
    arrays: int
    problem: Callable[..., Any]
    slot: Callable[[Any], str]
    layout: Callable[..., bool]
    check: Callable[..., None] | None = None

    def run(self, *args: Any) -> Any:
        """The operator on real arrays."""
        call, channels_last = self.prepare(*args)
        return call.run(args[: self.arrays], channels_last)

    def prepare(self, *args: Any) -> tuple[dispatch.Call | DeviceCall, bool]:
        """What ``run`` runs, and whether its result is channels_last."""
        problem = self.problem(*args)
        given = args[: self.arrays]
        if self.check:
            self.check(problem, *given)
        device = arrays.device_kind(given[0])
        call = dispatch.prepare(problem, self.slot(problem), args[-1], device)
        return call, self._layout(problem, given)

    def fake(self, *args: Any) -> Any:
        """Uninitialised tensors of the shapes, dtypes and strides that ``run`` would return; torch
        only.
        """
        problem = self.problem(*args)
        given = args[: self.arrays]
        shapes = problem.call(self.slot(problem))[2]
        layout = self._layout(problem, given)
        made = [
            arrays.empty(s, d, given[0], layout)
            for s, d in zip(shapes, [problem.dtype, "int64"], strict=False)
        ]
        return made[0] if len(made) == 1 else tuple(made)

    def _layout(self, problem: Any, given: tuple[Any, ...]) -> bool:
        return arrays.is_torch(given[0]) and self.layout(problem, *given)


def _fixed(slot: str) -> Callable[[Any], str]:
    return lambda problem: slot


_GEOMETRY = "SymInt[] stride, SymInt[] padding, SymInt[] dilation, SymInt groups, str backend"
_POOL = (
    "str op, SymInt[] kernel, SymInt[] stride, SymInt[] padding, SymInt[] dilation, "
    "bool ceil_mode, bool count_include_pad, SymInt? divisor, SymInt[] output_size, str backend"
)
_COLUMNS = "SymInt[] kernel, SymInt[] dilation, SymInt[] padding, SymInt[] stride, str backend"

OPERATORS: dict[str, Operator] = {
    "conv": Operator(
        "(Tensor x, Tensor w, Tensor? b, str op, SymInt[] stride, SymInt[] padding, str mode, "
        "SymInt[] dilation, SymInt[] output_padding, SymInt groups, str backend) -> Tensor",
        arrays=3,
        problem=problems.conv,
        slot=lambda problem: problem.forward_slot,
        layout=layouts.of_conv,
    ),
    "conv_fprop": Operator(
        f"(Tensor x, Tensor w, SymInt[] y_size, {_GEOMETRY}) -> Tensor",
        arrays=2,
        problem=problems.conv_fprop,
        slot=_fixed("conv_fprop"),
        layout=layouts.of_conv,
    ),
    "conv_dgrad": Operator(
        f"(Tensor y, Tensor w, SymInt[] x_size, {_GEOMETRY}) -> Tensor",
        arrays=2,
        problem=problems.conv_dgrad,
        slot=_fixed("conv_dgrad"),
        layout=layouts.of_conv,
    ),
    "conv_wgrad": Operator(
        f"(Tensor y, Tensor x, SymInt[] kernel, {_GEOMETRY}) -> Tensor",
        arrays=2,
        problem=problems.conv_wgrad,
        slot=_fixed("conv_wgrad"),
        layout=layouts.of_conv,
    ),
    "conv_bgrad": Operator(
        "(Tensor y, int rank, str backend) -> Tensor",
        arrays=1,
        problem=problems.conv_bgrad,
        slot=_fixed("conv_bgrad"),
        layout=layouts.never,
    ),
    "max_pool": Operator(
        f"(Tensor x, {_POOL}) -> (Tensor, Tensor)",
        arrays=1,
        problem=problems.pool,
        slot=_fixed("max_pool"),
        layout=layouts.of_input,
    ),
    "max_pool_values": Operator(
        f"(Tensor x, {_POOL}) -> Tensor",
        arrays=1,
        problem=problems.pool,
        slot=_fixed("max_pool_values"),
        layout=layouts.of_input,
    ),
    "avg_pool": Operator(
        f"(Tensor x, {_POOL}) -> Tensor",
        arrays=1,
        problem=problems.pool,
        slot=_fixed("avg_pool"),
        layout=layouts.of_input,
    ),
    "avg_pool_backward": Operator(
        f"(Tensor y, SymInt[] x_shape, {_POOL}) -> Tensor",
        arrays=1,
        problem=problems.avg_pool_backward,
        slot=_fixed("avg_pool_backward"),
        layout=layouts.of_input,
    ),
    "max_unpool": Operator(
        "(Tensor x, Tensor index, str op, SymInt[] kernel, SymInt[] stride, SymInt[] padding, "
        "SymInt[]? output_size, str backend) -> Tensor",
        arrays=2,
        problem=problems.max_unpool,
        slot=_fixed("scatter"),
        layout=layouts.of_input,
        check=problems.check_indices,
    ),
    "gather": Operator(
        "(Tensor x, Tensor index, int rank, str backend) -> Tensor",
        arrays=2,
        problem=problems.gather,
        slot=_fixed("gather"),
        layout=layouts.of_input,
    ),
    "scatter_add": Operator(
        "(Tensor y, Tensor index, SymInt[] large, str backend) -> Tensor",
        arrays=2,
        problem=problems.scatter_add,
        slot=_fixed("scatter_add"),
        layout=layouts.of_input,
    ),
    "unfold": Operator(
        f"(Tensor x, {_COLUMNS}) -> Tensor",
        arrays=1,
        problem=problems.unfold,
        slot=_fixed("unfold"),
        layout=layouts.never,
    ),
    "fold": Operator(
        f"(Tensor x, SymInt[] output_size, {_COLUMNS}) -> Tensor",
        arrays=1,
        problem=problems.fold,
        slot=_fixed("fold"),
        layout=layouts.never,
    ),
    "pad": Operator(
        "(Tensor x, SymInt[] pad, str mode, float? value, str backend) -> Tensor",
        arrays=1,
        problem=problems.pad,
        slot=_fixed("pad"),
        layout=layouts.of_pad,
    ),
    "pad_backward": Operator(
        "(Tensor y, SymInt[] x_shape, SymInt[] pad, str mode, str backend) -> Tensor",
        arrays=1,
        problem=problems.pad_backward,
        slot=_fixed("pad_backward"),
        layout=layouts.of_pad,
    ),
}
