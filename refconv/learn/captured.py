"""What was seen of a model's forward pass: its calls, with shapes in place of tensors. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..notation import Problem, build
from ..notation_torch import signature
from ..ops import OPS
from ..problem import Size

_ALIASES = """
clone contiguous cpu cuda data detach double float half bfloat16 requires_grad_ to type type_as
"""
_POINTWISE = """
alpha_dropout celu dropout dropout1d dropout2d dropout3d elu feature_alpha_dropout gelu hardshrink
hardsigmoid hardswish hardtanh leaky_relu log_softmax logsigmoid mish relu relu6 rrelu selu sigmoid
silu softmax softmin softplus softshrink softsign tanh tanhshrink
"""
_FACTORIES = """
empty_like full_like new_empty new_full new_ones new_tensor new_zeros ones_like rand_like randn_like
zeros_like
"""
#: What takes only the shape of its argument: its result does not come from the input.
FACTORIES = frozenset(_FACTORIES.split())
#: What changes neither the shape nor what a reader should know: the result is its argument.
ALIASES = frozenset(_ALIASES.split())
#: Functions of one array that leave its shape as it is: activations and dropout, also in place.
POINTWISE = frozenset(_POINTWISE.split())


@dataclass(frozen=True)
class Array:
    """What an argument or a result was.

    Args:
        source: the index of the op that made it; ``-1 - i`` is input ``i``; None is neither made of
            the input nor one: a weight, or a constant.
        names: the parameters that it is or was made of.
    """

    shape: Size
    dtype: str
    source: int | None = None
    names: tuple[str, ...] = ()


@dataclass
class Op:
    """One call of a torch function, on what the input had become.

    Args:
        name: torch's, e.g. ``conv2d`` or ``add``; an opaque module's class.
        where: the layer's qualified name, or ``block.forward()`` for a call in a forward.
        args: positional and named arguments, arrays in place of tensors.
        opaque: a module in which no function of torch was seen.
    """

    index: int
    name: str
    where: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[Array, ...] = ()
    lazy: bool = False
    opaque: bool = False

    @property
    def arrays(self) -> list[Array]:
        """All the arrays among the arguments."""
        return list(_arrays((self.args, self.kwargs)))

    @property
    def inputs(self) -> list[Array]:
        """Those that come from the model's input."""
        return [array for array in self.arrays if array.source is not None]

    @property
    def family(self) -> str:
        """The op's name in the table of ops, where it is one of them."""
        return self.name.removesuffix("_with_indices")

    @cached_property
    def given(self) -> dict[str, Any]:
        """The arguments of a call of the convolution family by name, defaults included."""
        known = signature(self.family)
        named = dict(zip(known, self.args, strict=False)) | self.kwargs
        return {name: named.get(name, default) for name, default in known.items()}

    def problem(self) -> Problem | None:
        """The problem that this call is; None where it is not of the family.

        Raises:
            RefconvError: such a call is refused.
        """
        if self.family not in OPS or self.opaque:
            return None
        tensors = {n: a.shape for n, a in self.given.items() if isinstance(a, Array)}
        numbers = {
            n: tuple(v) if isinstance(v, list) else v
            for n, v in self.given.items()
            if n not in ("input", "weight", "bias", "indices", "return_indices")
        }
        return build(self.family, tensors, numbers, self.given["input"].dtype)


@dataclass
class Capture:
    """What a forward pass called.

    Args:
        inputs: as the model got them.
        ops: in order.
        outputs: the model's results.
        parameters: the number of elements of each parameter; a lazy one has it after the run.
        failed: the call that raised, without outputs (it is not in ``ops``), if one did.
        error: what the model raised, and ``where`` it was.
        values: the call that needed numbers, for which the run had real ones; else empty.
    """

    inputs: tuple[Array, ...]
    ops: list[Op] = field(default_factory=list)
    outputs: tuple[Array, ...] = ()
    parameters: dict[str, int] = field(default_factory=dict)
    failed: Op | None = None
    error: BaseException | None = None
    where: str = ""
    values: str = ""


def _arrays(value: Any) -> Iterator[Array]:
    """The arrays in nested lists, tuples and dicts."""
    if isinstance(value, Array):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _arrays(each)
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _arrays(each)
