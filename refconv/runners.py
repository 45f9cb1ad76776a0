"""Runners: the quickest way to run a plan on arrays like those it was made for.

Where arrays need a conversion, a plan runs all of ``dispatch.Call``. Where they need none, kernels
get views of them; and an algorithm's shortcut, made for calls of a few microseconds, gets torch's
tensors by their addresses, and NumPy's arrays as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from . import arrays, dispatch
from .device_call import DeviceCall

Runner = Callable[..., Any]


def runner(
    prepared: dispatch.Call | DeviceCall, given: tuple[Any, ...], channels_last: bool
) -> Runner:
    """A function that does what ``prepared`` does, for arrays like ``given``.

    Args:
        channels_last: memory format of its result (torch only).
    """
    missing = (None,) * (len(prepared.in_shapes) - len(given))
    if isinstance(prepared, DeviceCall) or not all(
        arrays.is_ready(a, kind) for a, kind in zip(given, prepared.takes, strict=False)
    ):
        return lambda *others: prepared.run((*others, *missing), channels_last)
    is_torch = arrays.is_torch(given[0])
    if prepared.choice.algorithm.shortcut and not channels_last:
        module, name = prepared.choice.backend.home(prepared.choice.algorithm.shortcut)
        shapes = *prepared.out_shapes, *prepared.in_shapes
        made = getattr(module, name)(prepared.dtype, *shapes, *prepared.numbers)
        if made is not None:
            return (_by_address if is_torch else _as_they_are)(prepared, *made)
    return _by_views(prepared, is_torch, channels_last)


def _by_views(prepared: dispatch.Call, is_torch: bool, channels_last: bool) -> Runner:
    """Arrays that need no conversion: views of them, and views of the outputs."""
    shapes, makes = prepared.in_shapes, list(zip(prepared.out_shapes, prepared.kinds, strict=True))
    user_shapes, launch = prepared.user_shapes, prepared.launch
    nothing = np.empty(0, prepared.dtype)
    from_numpy = sys.modules["torch"].from_numpy if is_torch else None

    def run(*given: Any) -> Any:
        if from_numpy:
            given = tuple(
                [(t.detach() if t.requires_grad else t).numpy() for t in given]  # a view
            )
        ready = [x.reshape(shape) for x, shape in zip(given, shapes, strict=False)]
        ready += [nothing] * (len(shapes) - len(ready))
        outputs = [np.empty(shape, dtype) for shape, dtype in makes]
        launch(outputs, ready)
        results: list[Any] = [
            y.reshape(shape) for y, shape in zip(outputs, user_shapes, strict=True)
        ]
        if from_numpy:
            results = [from_numpy(y) for y in results]
        if channels_last:
            results = [arrays.as_channels_last(y) for y in results]
        return results[0] if len(results) == 1 else tuple(results)

    return run


def _as_they_are(prepared: dispatch.Call, kernel: Any, rest: tuple[Any, ...]) -> Runner:
    """A shortcut on NumPy's arrays."""
    makes = list(zip(prepared.user_shapes, prepared.kinds, strict=True))
    nothing, count = np.empty(0, prepared.dtype), len(prepared.in_shapes)

    def run(*given: Any) -> Any:
        outputs = [np.empty(shape, dtype) for shape, dtype in makes]
        flat = [a.ravel() for a in (*outputs, *given)]  # views: all of them are contiguous
        kernel(*flat, *[nothing] * (count - len(given)), *rest)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    return run


def _by_address(prepared: dispatch.Call, kernel: Any, rest: tuple[Any, ...]) -> Runner:
    """A shortcut on torch's tensors: written out by their number, since a list takes longer."""
    from . import autograd

    makes = zip(prepared.user_shapes, prepared.kinds, strict=True)
    empty, *more = (autograd.empty_maker(shape, dtype.name) for shape, dtype in makes)
    count = len(prepared.out_shapes), len(prepared.in_shapes)

    def one(x: Any) -> Any:
        y = empty()
        kernel(y.data_ptr(), x.data_ptr(), *rest)
        return y

    def pair(x: Any) -> Any:
        y, index = empty(), more[0]()
        kernel(y.data_ptr(), index.data_ptr(), x.data_ptr(), *rest)
        return y, index

    def three(x: Any, w: Any, b: Any = None) -> Any:
        y = empty()
        b_at = 0 if b is None else b.data_ptr()
        kernel(y.data_ptr(), x.data_ptr(), w.data_ptr(), b_at, *rest)
        return y

    written: dict[tuple[int, int], Runner] = {(1, 1): one, (2, 1): pair, (1, 3): three}
    return written[count]
