"""How exact a convolution must be: ``strict``, or ``fast``, which allows more algorithms.

``strict`` (the default) allows direct sums, GEMM and Winograd F(2x2), whose error is that of a
direct sum in practice. ``fast`` also allows Winograd F(4x4), whose transforms amplify rounding
(about ten times a direct sum's error). Winograd is judged by a bound of its own. A ``backend`` that
names its algorithm runs it under either.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from types import TracebackType

from .errors import UsageError

#: From the fewest algorithms to the most.
ACCURACIES = ("strict", "fast")

_of_block: ContextVar[str | None] = ContextVar("refconv_accuracy", default=None)
_of_process = ACCURACIES[0]


def _known(name: str) -> str:
    if name not in ACCURACIES:
        raise UsageError(f"accuracy must be one of {', '.join(ACCURACIES)}, got {name!r}")
    return name


class accuracy:  # noqa: N801 - used as a function
    """Set the accuracy for a block of code, in this thread (or task) only.

    A backward pass obeys the setting in effect when it runs, not that of its forward pass.

    Raises:
        UsageError: another word than ``strict`` or ``fast``.

    Example:
        >>> import refconv as rc
        >>> with rc.accuracy("fast"):
        ...     rc.get_accuracy()
        'fast'
        >>> rc.get_accuracy()
        'strict'
    """

    def __init__(self, name: str) -> None:
        self._name = _known(name)
        self._tokens: list[Token[str | None]] = []

    def __enter__(self) -> None:
        self._tokens.append(_of_block.set(self._name))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _of_block.reset(self._tokens.pop())


def set_accuracy(name: str) -> None:
    """Set the accuracy of the process: of every thread, wherever no ``accuracy`` block says other.

    Raises:
        UsageError: another word than ``strict`` or ``fast``.
    """
    global _of_process
    _of_process = _known(name)


def get_accuracy() -> str:
    """The accuracy in effect here: the innermost block's, else the process's."""
    return _of_block.get() or _of_process


def allows(wanted: str, offered: str) -> bool:
    """Whether accuracy ``wanted`` lets an algorithm of accuracy ``offered`` run."""
    return ACCURACIES.index(offered) <= ACCURACIES.index(wanted)
