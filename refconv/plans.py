"""Plans: what a call worked out, kept for the next call like it.

Normalising arguments, choosing an algorithm and preparing arrays cost far more than a small
convolution does. They depend on shapes, dtypes, strides and numbers only, so the first call of a
kind leaves a plan, and later ones check that they are of that kind and run it. Refusals are not
kept: a call that fails goes the long way every time. A call that autograd, a tracer, a mode or
``guard.checked()`` must see goes the long way too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from operator import attrgetter, is_
from typing import Any

import numpy as np

from . import arrays, dispatch
from .guard import is_checking
from .operators import OPERATORS
from .settings import get_accuracy

#: Plans kept; when there are more, all are dropped.
LIMIT = 4096


class Plan:
    """One kind of call.

    Args:
        raw: its arguments besides arrays, as the user wrote them.
        accuracy: in effect when it was made, as the number of ``threads`` was.
        check: arrays → whether they are like those of the first call.
        run: arrays → result.
        no_grad: whether it holds only while no gradients are recorded: an array requires one.
    """

    __slots__ = ("accuracy", "check", "no_grad", "raw", "run", "threads")

    def __init__(
        self,
        raw: Any,
        state: tuple[str, int],
        check: Callable[..., bool],
        run: Callable[..., Any],
        no_grad: bool,
    ) -> None:
        self.raw, self.check, self.run, self.no_grad = raw, check, run, no_grad
        self.accuracy, self.threads = state


_shape = attrgetter("shape")
_plans: dict[Any, Plan] = {}
_recent: dict[Any, Plan] = {}  # by ``raw`` alone: the plan that ran last


# What torch must be asked at every call; bound to torch's own functions once torch is there.


def _nothing() -> int:
    return 0


def _first_look() -> bool:
    """Whether Dynamo is tracing; the first call that sees torch binds what later calls ask."""
    global _is_compiling, _modes, _records, _threads
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    if torch.compiler.is_compiling():
        return True
    _is_compiling, _threads = torch.compiler.is_compiling, torch.get_num_threads
    _modes, _records = torch._C._len_torch_dispatch_stack, torch.is_grad_enabled
    return False


_is_compiling: Callable[[], bool] = _first_look
_modes: Callable[[], int] = _nothing
_records: Callable[[], int] = _nothing
_threads: Callable[[], int] = dispatch.threads


def call(
    operator: str,
    arguments: Callable[..., tuple[Any, ...]],
    names: tuple[str, ...],
    given: tuple[Any, ...],
    raw: tuple[Any, ...],
) -> Any:
    """Operator ``operator`` on arrays, by a plan if there is one.

    Args:
        arguments: ``raw`` → the operator's arguments after its arrays, checked; the backend last.
        names: the arrays' names, for messages; arrays that are left out are None.
        given: the arrays.
        raw: the other arguments as the user wrote them, the op's name first.
    """
    if not _is_compiling() and not is_checking():
        try:
            plan = _recent.get(raw)
            if (
                plan is None
                or plan.accuracy != get_accuracy()
                or plan.threads != _threads()
                or not plan.check(*given)
            ):
                plan = _find(given, raw)
        except (AttributeError, TypeError):  # more arrays, or fewer; lists cannot be looked up
            plan = _find(given, raw)
        # Looking up 1 also finds True and 1.0, which are refused: types are compared as well.
        if (
            plan is not None
            and not _modes()
            and not (plan.no_grad and _records())
            and (all(map(is_, raw, plan.raw)) or _alike(raw, plan.raw))
        ):
            return plan.run(*given)
    args = arguments(*raw)
    all_given = (*given, *(None,) * (len(names) - len(given)))
    op = args[0] if isinstance(args[0], str) else operator
    if arrays.library(op, **dict(zip(names, all_given, strict=True))) == "torch":
        from . import autograd  # imports torch, which the caller has imported already

        if _is_compiling() or autograd.watched(given):
            return autograd.call(operator, *all_given, *args)
    return _first_time(operator, all_given, args, raw)


def run(operator: str, *args: Any) -> Any:
    """Operator ``operator`` on arrays and arguments that its caller has made: inside a custom op,
    and in a derivative that no one watches.
    """
    count = OPERATORS[operator].arrays
    given, rest = args[:count], args[count:]
    raw = (operator, *(tuple(a) if isinstance(a, list) else a for a in rest))
    there = tuple(a for a in given if a is not None)
    if not is_checking() and not _is_compiling() and not _modes():
        plan = _find(there, raw)
        if plan and not (plan.no_grad and _records()) and _alike(raw, plan.raw):
            return plan.run(*there)
    return _first_time(operator, given, rest, raw)


def _first_time(
    operator: str, given: tuple[Any, ...], args: tuple[Any, ...], raw: tuple[Any, ...]
) -> Any:
    """Check everything and run; leave a plan for the next time."""
    prepared, channels_last = OPERATORS[operator].prepare(*given, *args)
    result = prepared.run(given, channels_last)
    if OPERATORS[operator].planned and not is_checking():
        _leave_plan(prepared, channels_last, tuple(a for a in given if a is not None), raw)
    return result


def _key(given: tuple[Any, ...], raw: tuple[Any, ...]) -> Any:
    """What a plan is found by; None where arrays are no arrays, or arguments are lists."""
    try:
        key = raw, get_accuracy(), _threads(), *map(_shape, given)
        hash(key)
    except (AttributeError, TypeError):
        return None
    return key


def _find(given: tuple[Any, ...], raw: tuple[Any, ...]) -> Plan | None:
    """The plan for arrays of these shapes, if there is one and they are alike in all else."""
    key = _key(given, raw)
    plan = _plans.get(key) if key is not None else None
    if plan is None or not plan.check(*given):
        return None
    _recent[raw] = plan
    return plan


def forget() -> None:
    """Choose and plan anew: after what a choice depends on was changed."""
    dispatch.forget()
    _plans.clear()
    _recent.clear()


def _alike(a: Any, b: Any) -> bool:
    """Whether equal arguments are also of equal types."""
    if type(a) is tuple and type(b) is tuple:
        return all(map(_alike, a, b))
    return type(a) is type(b)


def _leave_plan(
    prepared: dispatch.Call, channels_last: bool, given: tuple[Any, ...], raw: tuple[Any, ...]
) -> None:
    key = _key(given, raw)
    plain = all(type(a) is np.ndarray for a in given)
    if key is None or not (plain or all(arrays.is_torch(a) and a.is_cpu for a in given)):
        return
    if plain:
        check = _of_numpy(*given)
    else:
        from . import autograd

        check = autograd.signature(*given)
    if len(_plans) >= LIMIT:
        _plans.clear()
        _recent.clear()
    run = _runner(prepared, given, channels_last)
    no_grad = not plain and any(t.requires_grad for t in given)
    _plans[key] = Plan(raw, (get_accuracy(), _threads()), check, run, no_grad)


def _of_numpy(*given: np.ndarray) -> Callable[..., bool]:
    """Whether arrays are like these: dtype, shape, strides."""
    wanted = [(a.dtype, a.shape, a.strides) for a in given]

    def check(*others: Any) -> bool:
        if len(others) != len(wanted):
            return False
        for a, (dtype, shape, strides) in zip(others, wanted, strict=True):
            if type(a) is not np.ndarray or a.dtype != dtype:
                return False
            if a.shape != shape or a.strides != strides:
                return False
        return True

    return check


def _runner(prepared: dispatch.Call, given: tuple[Any, ...], channels_last: bool) -> Any:
    """The quickest way to run ``prepared`` on arrays like ``given``."""
    missing = (None,) * (len(prepared.in_shapes) - len(given))
    if not all(arrays.is_ready(a, prepared.dtype) for a in given):
        return lambda *others: prepared.run((*others, *missing), channels_last)
    if prepared.choice.algorithm.shortcut and not channels_last:
        return _shortcut(prepared, arrays.is_torch(given[0]))
    return _direct(prepared, arrays.is_torch(given[0]), channels_last)


def _direct(prepared: dispatch.Call, is_torch: bool, channels_last: bool) -> Any:
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


def _shortcut(prepared: dispatch.Call, is_torch: bool) -> Any:
    """The algorithm's shortcut: torch's tensors by their addresses, NumPy's arrays as they are."""
    module, name = prepared.choice.backend.home(prepared.choice.algorithm.shortcut)
    kernel, recipe = getattr(module, name)(
        prepared.out_shapes[0], *prepared.in_shapes, *prepared.numbers
    )
    (shape,), dtype = prepared.user_shapes, prepared.dtype
    nothing = np.empty(0, dtype)
    if not is_torch:

        def of_numpy(x: Any, w: Any, b: Any = nothing) -> Any:
            y = np.empty(shape, dtype)
            kernel(y.ravel(), x.ravel(), w.ravel(), b, recipe, nothing)
            return y

        return of_numpy
    from . import autograd

    empty = autograd.empty_maker(shape, dtype.name)

    def of_torch(x: Any, w: Any, b: Any = None) -> Any:
        y = empty()
        b_at = 0 if b is None else b.data_ptr()
        kernel(y.data_ptr(), x.data_ptr(), w.data_ptr(), b_at, recipe, nothing)
        return y

    return of_torch
