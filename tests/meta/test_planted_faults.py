"""The suite's own comparators must go red when a fault that someone once shipped is planted.

Each row names its fault (the ids of the project's list of real faults), changes one kernel of
im2col or one function of refconv, and lets the contract's check draw problems until it fails.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings

from refconv import arrays, guard, window
from refconv.errors import RefconvError
from refconv.oracle.check import drawn
from refconv.oracle.check.case import Case

from ..contract import test_against_torch as against
from ..contract.test_against_torch import FLOAT, compare

Kernel = Callable[..., None]


def after(change: Callable[..., None]) -> Callable[[Kernel], Kernel]:
    """A fault that spoils the outputs."""

    def plant(kernel: Kernel) -> Kernel:
        def faulty(*args: Any, **more: Any) -> None:
            kernel(*args, **more)
            change(*args)

        return faulty

    return plant


def before(change: Callable[..., tuple]) -> Callable[[Kernel], Kernel]:
    """A fault that gives the right kernel the wrong arguments."""
    return lambda kernel: lambda *args, **more: kernel(*change(*args), **more)


def group_zero(y, x, w, b, stride, padding, dilation, groups):
    first = x[:, : x.shape[1] // groups]
    return y, np.tile(first, (1, groups, 1, 1, 1)), w, b, stride, padding, dilation, groups


def steps(**change):
    """fprop, dgrad or wgrad with other stride, padding or dilation."""

    def other(*args):
        *given, stride, padding, dilation, groups = args
        numbers = {"stride": stride, "padding": padding, "dilation": dilation}
        numbers |= {k: f(numbers[k], args) for k, f in change.items()}
        return *given, *numbers.values(), groups

    return before(other)


def last_column(y, *_):
    y[..., -1:] = 0


def tail(y, *_):
    flat = y.reshape(-1)
    flat[flat.size - flat.size % 4 :] = np.nan


def ten_bits(y, x, *rest):
    m, e = np.frexp(x)
    return y, np.ldexp(np.round(m * 2048) / 2048, e), *rest


def first_planes(dx, *_):
    dx[:, 1:] = 0


def bias_of_first(y, x, w, b, *_):
    if b.size:
        y[1:] -= b[:, None, None, None]


def less_batch(dw, dy, x, *rest):
    return dw, dy[: max(len(dy) - 1, 0)], x[: max(len(x) - 1, 0)], *rest


def rolled_groups(dw, *args):
    dw[...] = np.roll(dw, len(dw) // args[-1], axis=0)


def whole_windows(dx, dy, d, h, w):
    return (
        dx,
        dy,
        *(np.stack([t[:, 0], t[:, 1], t[:, 2] * 0 + t[:, 2].max()], 1) for t in (d, h, w)),
    )


def equal_windows(y, x, d, h, w):
    return y, x, d, h, np.stack([w[:, 0], w[:, 0] + w[0, 2], w[:, 2] * 0 + w[0, 2]], 1)


def no_step(y, index, x, d, h, w, step):
    return y, index, x, d, h, w, (1, 1, 1)


def ignore_nan(y, index, x, *rest):
    return y, index, np.where(np.isnan(x), -np.inf, x), *rest


def local_index(y, index, x, d, h, w, step):
    index %= max(x.shape[-1], 1)


def backwards(y, x, index):
    return y, x[:, ::-1], index[:, ::-1]


def repeated_edge(y, x, m0, m1, m2, m3, m4, value):
    return y, x, m0, m1, m2, m3, np.roll(m4, 1), value


def outside(y, *_):
    if isinstance(y.base, np.ndarray):
        y.base[guard.BAND - 1] = 0


def changed_input(y, x, *_):
    x += 1


KERNELS = {
    "S01 last output column dropped": ("conv2d", "conv:fprop", after(last_column)),
    "K06 dilation ignored": ("conv1d", "conv:fprop", steps(dilation=lambda d, _: (1, 1, 1))),
    "P00 padding off by one": (
        "conv2d", "conv:fprop", steps(padding=lambda p, _: (*p[:2], p[2] + 1))),
    "P01 padding of axes swapped": (
        "conv2d", "conv:fprop", steps(padding=lambda p, _: (p[0], p[2], p[1]))),
    "S17 stride of axes swapped": ("conv3d", "conv:fprop", steps(stride=lambda s, _: s[::-1])),
    "G01 every group reads group 0": ("conv2d", "conv:fprop", before(group_zero)),
    "B02 bias for the first image only": ("conv2d", "conv:fprop", after(bias_of_first)),
    "K10 tail of the vector unwritten": ("conv2d", "conv:fprop", after(tail)),
    "N01 inputs rounded to 10 bits": ("conv2d", "conv:fprop", before(ten_bits)),
    "R03 a write before the output": ("conv2d", "conv:fprop", after(outside)),
    "R04 an input changed": ("conv2d", "conv:fprop", after(changed_input)),
    "K12 only the first plane of dgrad": ("conv2d", "conv:dgrad", after(first_planes)),
    "K02 dgrad with stride 1": ("conv2d", "conv:dgrad", steps(stride=lambda s, _: (1, 1, 1))),
    "P08 output_padding's tail zero": ("conv_transpose2d", "conv:dgrad", after(last_column)),
    "K08 wgrad with stride cut to kernel": (
        "conv2d", "conv:wgrad",
        steps(stride=lambda s, a: tuple(map(min, s, a[0].shape[2:])))),
    "G03 wgrad of the wrong group": ("conv2d", "conv:wgrad", after(rolled_groups)),
    "N03 wgrad forgets the last image": ("conv2d", "conv:wgrad", before(less_batch)),
    "B05 bias gradient of the first image": (
        "conv2d", "conv:bgrad", before(lambda db, dy: (db, dy[:1]))),
    "P10 max_pool's dilation ignored": ("max_pool2d", "pool:max_pool", before(no_step)),
    "L07 index in the row, not in the plane": ("max_pool2d", "pool:max_pool", after(local_index)),
    "D02 divisor of whole windows, backward": (
        "avg_pool2d", "pool:avg_pool_backward", before(whole_windows)),
    "D03 divisor of whole windows": ("avg_pool2d", "pool:avg_pool", before(whole_windows)),
    "D06 one kernel for all adaptive windows": (
        "adaptive_avg_pool2d", "pool:avg_pool", before(equal_windows)),
    "D10 the first of double indices wins": ("max_unpool2d", "index:scatter", before(backwards)),
    "D08 max_pool's gradient: the last wins": (
        "max_pool1d", "index:scatter_add",
        lambda _: import_module("refconv.kernels.im2col.index").scatter),
    "K20 unfold's padding on the wrong side": (
        "unfold", "columns:unfold",
        before(lambda c, x, s, p, d: (c, x, s, (p[0], p[1], p[2] + 1), d))),
    "K21 fold's dilation ignored": (
        "fold", "columns:fold", before(lambda x, c, s, p, d: (x, c, s, p, (1, 1, 1)))),
    "P06 padding shifted by one": ("pad", "pad:pad", before(repeated_edge)),
}  # fmt: skip


def goes_red(op: str, check: Callable[[Case], None], examples: int = 300) -> None:
    """``check`` fails on one of the problems that are drawn for ``op``."""

    class SeenError(Exception):
        """Ends the draw: one failure is enough."""

    @settings(
        max_examples=examples, derandomize=True, database=None, deadline=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )  # fmt: skip
    @given(drawn.cases(op, small=True))
    def draw(case: Case) -> None:
        try:
            check(case)
        except (AssertionError, RefconvError) as error:  # a wrong answer, or a refusal
            raise SeenError from error

    with pytest.raises(SeenError):
        draw()


def contract(case: Case) -> None:
    """What test_against_torch asks of a case."""
    compare(case, FLOAT, "real", "im2col")
    compare(case, FLOAT, "exact", "im2col")


def of_same_padding(case: Case) -> None:
    """The contract of those few cases."""
    if dict(case.kwargs)["padding"] == "same":
        contract(case)


@pytest.mark.parametrize("fault", KERNELS)
def test_kernel(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    op, kernel, plant = KERNELS[fault]
    module, _, name = kernel.partition(":")
    home = import_module(f"refconv.kernels.im2col.{module}")
    monkeypatch.setattr(home, name, plant(getattr(home, name)))
    goes_red(op, contract)


def dense(x: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The memory behind ``x`` from its first element on, whatever its strides are."""
    flat = torch.as_strided(
        x.detach(), (x.untyped_storage().nbytes() // x.element_size(),), (1,), 0
    )
    flat = flat.clone()[x.storage_offset() :]
    return np.resize(flat.numpy(), shape)


def out_size_up(size, kernel, stride=1, padding=0, dilation=1, *, ceil_mode=False):
    low, high = window.both_sides(padding)
    return -(-(size + low + high - window.effective_kernel(kernel, dilation)) // stride) + 1


ELSEWHERE = {
    "L02 strides of the input ignored": ("conv2d", arrays, "to_kernel", dense),
    "L08 never channels_last": ("conv2d", arrays, "as_channels_last", lambda y: y.contiguous()),
    "S00 output size rounded up": ("conv2d", window, "out_size", out_size_up),
    "S05 output_padding not in the size": (
        "conv_transpose2d", window, "conv_transpose_out_size",
        lambda i, k, s, p, extra, d: (i - 1) * s - 2 * p + d * (k - 1) + 1),
    "P02 same padding of the wrong side": (
        "conv2d", window, "same_padding",
        lambda n, k, s, d: (-(-d * (k - 1) // 2), d * (k - 1) // 2)),
    "D07 adaptive windows end early": (
        "adaptive_max_pool2d", window, "adaptive_window",
        lambda o, size, out: (o * size // out, o * size // out + max(size // out, 1))),
}  # fmt: skip


@pytest.mark.parametrize("fault", ELSEWHERE)
def test_refconv(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from refconv import dispatch

    op, module, name, faulty = ELSEWHERE[fault]
    dispatch.tables.cache_clear()
    monkeypatch.setattr(module, name, faulty)
    try:
        goes_red(op, of_same_padding if fault.startswith("P02") else contract)
    finally:
        dispatch.tables.cache_clear()


def test_nan_ignored_by_the_maximum(monkeypatch: pytest.MonkeyPatch) -> None:
    """F01."""
    home = import_module("refconv.kernels.im2col.pool")
    monkeypatch.setattr(home, "max_pool", before(ignore_nan)(home.max_pool))
    with pytest.raises(AssertionError):
        against.test_maximum_of_special_values("max_pool2d", "im2col")


@pytest.mark.parametrize("op", ["conv2d", "max_pool2d", "fold"])
def test_without_a_fault_nothing_is_seen(op: str) -> None:
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        goes_red(op, contract, examples=50)
