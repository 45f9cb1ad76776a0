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
from functools import partial
from operator import attrgetter, is_
from types import NoneType
from typing import Any

import numpy as np

from . import arrays, dispatch
from .device_call import DeviceCall
from .guard import is_checking
from .operators import OPERATORS
from .runners import runner
from .settings import get_accuracy

#: Plans kept; when there are more, all are dropped.
LIMIT = 4096
#: What is equal only to what is written alike, if it is of the same type.
EXACT = (int, str, NoneType)


class Plan:
    """One kind of call.

    Args:
        raw: its arguments besides arrays, as the user wrote them.
        accuracy: in effect when it was made, as the number of ``threads`` was.
        check: arrays → whether they are like those of the first call.
        run: arrays → result.
        node: the same for autograd, which takes it while gradients are recorded; None where no
            array requires one.
    """

    __slots__ = ("accuracy", "check", "node", "raw", "run", "threads")

    def __init__(
        self,
        raw: Any,
        state: tuple[str, int],
        check: Callable[..., bool],
        run: Callable[..., Any],
        node: Callable[..., Any] | None,
    ) -> None:
        self.raw, self.check, self.run, self.node = raw, check, run, node
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
    plan = _planned(given, raw)
    if plan is not None:
        return plan.run(*given) if plan.node is None or not _records() else plan.node(*given)
    args = arguments(*raw)
    all_given = (*given, *(None,) * (len(names) - len(given)))
    op = args[0] if isinstance(args[0], str) else operator
    if arrays.library(op, **dict(zip(names, all_given, strict=True))) == "torch":
        from . import autograd  # imports torch, which the caller has imported already

        if _is_compiling() or autograd.observed(given):
            return autograd.call(operator, *all_given, *args)
        if autograd.differentiated(given):
            result = autograd.call(operator, *all_given, *args)
            if not is_checking():
                _leave_plan(operator, all_given, args, raw)
            return result
    return _first_time(operator, all_given, args, raw)


def run(operator: str, *args: Any) -> Any:
    """Operator ``operator`` on arrays and arguments that its caller has made: inside a custom op,
    and in a derivative that no one watches.
    """
    count = OPERATORS[operator].arrays
    given, rest = args[:count], args[count:]
    raw = (operator, *_without_lists(rest))
    there = tuple([a for a in given if a is not None])
    plan = _planned(there, raw)
    if plan is not None and (plan.node is None or not _records()):
        return plan.run(*there)
    return _first_time(operator, given, rest, raw)


def _planned(given: tuple[Any, ...], raw: tuple[Any, ...]) -> Plan | None:
    """The plan for a call, if there is one and no one but autograd must see the call."""
    if _is_compiling() or is_checking():
        return None
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
        raw = _without_lists(raw)
        plan = _find(given, raw)
    if plan is None or _modes():
        return None
    if not all(map(is_, raw, plan.raw)):
        # Looking up 1 also finds True and 1.0, which are refused: types are compared as well.
        if not _alike(raw, plan.raw):
            return None
        plan.raw = raw  # whoever keeps its arguments is known again by these
    return plan


def _first_time(
    operator: str, given: tuple[Any, ...], args: tuple[Any, ...], raw: tuple[Any, ...]
) -> Any:
    """Check everything and run; leave a plan for the next time."""
    prepared, channels_last = OPERATORS[operator].prepare(*given, *args)
    result = prepared.run(given, channels_last)
    if not is_checking():
        _keep(operator, prepared, channels_last, given, args, raw)
    return result


def _key(given: tuple[Any, ...], raw: tuple[Any, ...]) -> Any:
    """What a plan is found by; None where arrays are no arrays, or arguments are lists."""
    try:
        key = raw, get_accuracy(), _threads(), *map(_shape, given)
        hash(key)
    except (AttributeError, TypeError):
        return None
    return key


def _without_lists(raw: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple([tuple(a) if type(a) is list else a for a in raw])


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
    """Whether equal arguments are also of equal types, and zeros of equal signs."""
    if type(a) is tuple and type(b) is tuple:
        return all(map(_alike, a, b))
    return type(a) is type(b) and (isinstance(a, EXACT) or repr(a) == repr(b))


def _lasting(a: Any) -> bool:
    """Whether an argument stays what it is, and equals itself: no tensor of one element, no NaN."""
    if isinstance(a, tuple):
        return all(map(_lasting, a))
    return isinstance(a, (*EXACT, float, np.generic)) and bool(a == a)


def _leave_plan(operator: str, given: tuple[Any, ...], args: tuple[Any, ...], raw: Any) -> None:
    """A plan for a call that went another way."""
    prepared, channels_last = OPERATORS[operator].prepare(*given, *args)
    _keep(operator, prepared, channels_last, given, args, raw)


def _keep(
    operator: str,
    prepared: dispatch.Call | DeviceCall,
    channels_last: bool,
    all_given: tuple[Any, ...],
    args: tuple[Any, ...],
    raw: tuple[Any, ...],
) -> None:
    given, raw = tuple(a for a in all_given if a is not None), _without_lists(raw)
    key = _key(given, raw)
    if key is None or not _lasting(raw):
        return
    plain = all(type(a) is np.ndarray for a in given)
    here = isinstance(prepared, DeviceCall) or all(arrays.device_kind(a) == "cpu" for a in given)
    if not (plain or (here and all(map(arrays.is_torch, given)))):
        return
    run, node = runner(prepared, given, channels_last), None
    look = OPERATORS[operator].check
    if look:
        run = _looking(partial(look, prepared.problem), run)
    if plain:
        check = _of_numpy(*given)
    else:
        from . import autograd

        check = autograd.signature(*given)
        if any(t.requires_grad for t in given):
            rest = (*(None,) * (len(all_given) - len(given)), *args)
            node = autograd.node(operator, run, given, rest)
    if len(_plans) >= LIMIT:
        _plans.clear()
        _recent.clear()
    _plans[key] = Plan(raw, (get_accuracy(), _threads()), check, run, node)


def _looking(look: Callable[..., None], run: Callable[..., Any]) -> Callable[..., Any]:
    """``run`` behind a look at the arrays' values."""

    def checked(*given: Any) -> Any:
        look(*given)
        return run(*given)

    return checked


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
