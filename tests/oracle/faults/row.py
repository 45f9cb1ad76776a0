"""The row of a planted fault, and the decorator that makes rows of a fault's body."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .call import Call, rank_of, signature
from .probes import Case, Probe

Body = Callable[[Call], Any]


@dataclass(frozen=True)
class Fault:
    """One planted fault in one op.

    Args:
        id: of the table of real faults; ``U…`` for those that are not in it.
        op: the name in torch.nn.functional whose signature ``function`` has.
        function: takes and gives torch tensors; right wherever the fault does not bite.
        causes: words of which a good diagnosis has at least one.
        scaled: where the real threshold was made smaller, "real -> planted".
        witness: looks at a function where the fault bites.
        benign: looks at a function where it does not.
        right: what ``function`` is compared with where torch itself has the fault.
    """

    id: str
    op: str
    text: str
    function: Callable[..., Any]
    causes: tuple[str, ...]
    scaled: str = ""
    witness: Probe = field(kw_only=True, repr=False)
    benign: Probe | None = field(default=None, kw_only=True, repr=False)
    right: Callable[..., Any] | None = field(default=None, kw_only=True, repr=False)


ROWS: list[Fault] = []


class Flags(NamedTuple):
    """What a body wants of the call; see :func:`plant`."""

    catches: bool
    unasked: bool
    always: bool
    own_layout: bool


def plant(
    id: str,
    ops: str,
    text: str,
    causes: str,
    witness: Case | Callable[[str], Case],
    *,
    benign: Case | None = None,
    scaled: str = "",
    right: Callable[..., Any] | None = None,
    catches: bool = False,
    unasked: bool = False,
    always: bool = False,
    own_layout: bool = False,
) -> Callable[[Body], Body]:
    """A row for each of ``ops``, from a body that gets the call and gives the planted answer.

    torch is asked first, so that its refusals stay; an input without a batch axis reaches the body
    with one. On the meta device, without elements, and under torch.func's transforms the function
    is torch's.

    Args:
        ops: names, separated by spaces.
        causes: words, separated by commas.
        witness: for every op alike, or made for one.
        catches: torch's refusal reaches the body as ``call.error``.
        unasked: the body asks torch itself, or does not.
        always: the fault shows under a transform, or where there are no elements.
        own_layout: the answer keeps its own memory and strides; otherwise it gets torch's strides.
    """

    def register(body: Body) -> Body:
        module = sys.modules[body.__module__]
        for op in ops.split():
            flags = Flags(catches, unasked, always, own_layout)
            function = _function(op, body, flags)
            # A module's attribute: it can be named in a repro line, and pickled.
            function.__name__ = function.__qualname__ = f"{body.__name__}_{op}"
            function.__module__ = body.__module__
            assert not hasattr(module, function.__name__), function.__name__
            setattr(module, function.__name__, function)
            words = tuple(word.strip() for word in causes.split(","))
            at: dict[str, Any] = {
                "witness": _at(witness, op),
                "benign": _at(benign, op),
                "right": right,
            }
            ROWS.append(Fault(id, op, text, function, words, scaled, **at))
        return body

    return register


def _at(case: Case | Callable[[str], Case] | None, op: str) -> Probe | None:
    if case is None:
        return None
    return (case if isinstance(case, Case) else case(op)).at(rank_of(op))


def _function(op: str, body: Body, flags: Flags) -> Callable[..., Any]:
    torchs = signature(op)

    def function(*args: Any, **kwargs: Any) -> Any:
        bound = torchs.bind(*args, **kwargs)
        bound.apply_defaults()
        call = Call(op, dict(bound.arguments))
        if flags.unasked:
            return body(call)
        call.answer()
        if call.error is not None:
            return _instead_of_refusing(call, body, flags)
        if not flags.always and _nothing_to_see(call.given.values()):
            return call.right
        answer = _batched(call, body)
        return answer if flags.own_layout else _laid_out(answer, call.right)

    function.__signature__ = torchs  # type: ignore[attr-defined]
    return function


def _instead_of_refusing(call: Call, body: Body, flags: Flags) -> Any:
    """What the body answers where torch refuses; torch's refusal if it cannot answer either."""
    assert call.error is not None
    if not flags.catches or _nothing_to_see(call.given.values()):
        raise call.error
    try:
        return _batched(call, body)
    except (RuntimeError, ValueError, IndexError):
        raise call.error from None


def _nothing_to_see(values: Iterable[Any]) -> bool:
    """Whether there is no memory to be wrong in, or a transform of torch.func looks on."""
    if torch._C._functorch.maybe_current_level() is not None:
        return True
    return any(isinstance(v, Tensor) and (v.is_meta or not v.numel()) for v in values)


def _batched(call: Call, body: Body) -> Any:
    """The body's answer; a batch axis is put in front for it where there is none."""
    axes = {"fold": 3, "unfold": 4, "pad": call.x.dim()}.get(call.op, call.rank + 2)
    if call.x.dim() != axes - 1:
        return body(call)
    arrays: dict[str, Any] = {
        n: call.given[n][None] for n in ("input", "indices") if n in call.given
    }
    inner = Call(call.op, {**call.given, **arrays})
    inner.error, inner.unbatched = call.error, True
    if call.right is not None:
        inner.right = _each(call.right, lambda t: t[None])
    return _each(body(inner), lambda t: t[0])


def _each(answer: Any, change: Callable[[Tensor], Tensor]) -> Any:
    return tuple(change(t) for t in answer) if isinstance(answer, tuple) else change(answer)


def _laid_out(answer: Any, right: Any) -> Any:
    """The answer with torch's strides: they are right in every fault that is not about them."""
    y, want = (t[0] if isinstance(t, tuple) else t for t in (answer, right))
    if want is None or y.shape != want.shape or y.stride() == want.stride():
        return answer
    same = torch.empty_strided(want.shape, want.stride(), dtype=y.dtype).copy_(y)
    return (same, *answer[1:]) if isinstance(answer, tuple) else same
