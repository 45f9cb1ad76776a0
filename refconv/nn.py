"""torch.nn's layers of the convolution family: its names, constructors and state-dict keys, plus
``backend``.

Each class is torch.nn's own, and only what computes is replaced: parameters, initialisation, hooks
and checks are torch's. ``convert`` gives a whole model these layers.

Shapes: as in ``refconv.functional``.

Example:
    >>> import torch, refconv.nn
    >>> layer = refconv.nn.Conv2d(3, 6, 5, backend="im2col")
    >>> layer
    Conv2d(3, 6, kernel_size=(5, 5), stride=(1, 1), backend='im2col')
    >>> layer(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 6, 28, 28])
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils import parametrize

from . import backends, functional
from .errors import ArgumentError
from .usercode import first_line

Tensor = torch.Tensor
Layers = tuple[type[Any], type[Any], type[Any]]


class Layer(torch.nn.Module):
    """What our layers add to torch.nn's: a backend, and one function that computes.

    Args:
        backend: ``auto``, a backend's name or ``name:algorithm``; it may be assigned later.
    """

    backend = "auto"
    compute: Callable[..., Any]
    if TYPE_CHECKING:  # the attributes of torch's layers

        def __getattr__(self, name: str) -> Any: ...

    def extra_repr(self) -> str:
        """torch's words, then the backend unless it is chosen automatically."""
        words = super().extra_repr()
        if self.backend == "auto":
            return words
        return ", ".join([*([words] if words else []), f"backend={self.backend!r}"])


class _Conv(Layer):
    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            pads = self._reversed_padding_repeated_twice
            only = self.backend.partition(":")[0]  # an algorithm is one of the convolution's
            input = functional.pad(input, pads, mode=self.padding_mode, backend=only)
            padding = 0
        steps = (self.stride, padding, self.dilation, self.groups)
        return self.compute(input, weight, bias, *steps, backend=self.backend)


class _ConvTranspose(Layer):
    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        extra = self._output_padding(
            input,
            output_size,
            self.stride,
            self.padding,
            self.kernel_size,
            len(self.kernel_size),
            self.dilation,
        )
        steps = (self.stride, self.padding, extra, self.groups, self.dilation)
        return self.compute(input, self.weight, self.bias, *steps, backend=self.backend)


class _MaxPool(Layer):
    def forward(self, input: Tensor) -> Any:
        window = (self.kernel_size, self.stride, self.padding, self.dilation)
        modes = (self.ceil_mode, self.return_indices)
        return self.compute(input, *window, *modes, backend=self.backend)


class _AvgPool(Layer):
    def forward(self, input: Tensor) -> Tensor:
        window = (self.kernel_size, self.stride, self.padding)
        modes = [self.ceil_mode, self.count_include_pad]
        if hasattr(self, "divisor_override"):  # AvgPool1d has none
            modes.append(self.divisor_override)
        return self.compute(input, *window, *modes, backend=self.backend)


class _LPPool(Layer):
    def forward(self, input: Tensor) -> Tensor:
        window = (float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)
        return self.compute(input, *window, backend=self.backend)


class _AdaptiveAvgPool(Layer):
    def forward(self, input: Tensor) -> Tensor:
        return self.compute(input, self.output_size, backend=self.backend)


class _AdaptiveMaxPool(Layer):
    def forward(self, input: Tensor) -> Any:
        return self.compute(input, self.output_size, self.return_indices, backend=self.backend)


class _MaxUnpool(Layer):
    def forward(
        self, input: Tensor, indices: Tensor, output_size: list[int] | None = None
    ) -> Tensor:
        window = (self.kernel_size, self.stride, self.padding)
        return self.compute(input, indices, *window, output_size, backend=self.backend)


class _Unfold(Layer):
    def forward(self, input: Tensor) -> Tensor:
        window = (self.kernel_size, self.dilation, self.padding, self.stride)
        return self.compute(input, *window, backend=self.backend)


class _Fold(Layer):
    def forward(self, input: Tensor) -> Tensor:
        window = (self.kernel_size, self.dilation, self.padding, self.stride)
        return self.compute(input, self.output_size, *window, backend=self.backend)


class _ConstantPad(Layer):
    def forward(self, input: Tensor) -> Tensor:
        return self.compute(input, self.padding, "constant", self.value, backend=self.backend)


class _Pad(Layer):
    mode: str

    def forward(self, input: Tensor) -> Tensor:
        return self.compute(input, self.padding, self.mode, backend=self.backend)


class _ReflectionPad(_Pad):
    mode = "reflect"


class _ReplicationPad(_Pad):
    mode = "replicate"


class _CircularPad(_Pad):
    mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        return super().forward(input)


#: torch.nn's class → ours.
COUNTERPARTS: dict[type[torch.nn.Module], type[Layer]] = {}


def _layer(name: str, op: str, behaviour: type[Layer], becomes: str = "") -> type[Any]:
    """Our ``torch.nn.<name>``: ``behaviour`` before the same class, and ``backend`` as an argument.

    Args:
        becomes: the class that a lazy layer turns into when it has seen an input.
    """
    base: type[torch.nn.Module] = getattr(torch.nn, name)

    @functools.wraps(base.__init__)
    def construct(self: Any, *args: Any, backend: str = "auto", **kwargs: Any) -> None:
        base.__init__(self, *args, **kwargs)
        self.backend = _known(backend)

    given = inspect.signature(base.__init__)
    keyword = inspect.Parameter("backend", inspect.Parameter.KEYWORD_ONLY, default="auto")
    parameters = [*given.parameters.values(), keyword]
    construct.__signature__ = given.replace(parameters=parameters)  # type: ignore[attr-defined]
    body = {
        "__module__": __name__,
        "__doc__": f"torch.nn.{name}, computed by ``refconv.functional.{op}`` on ``backend``.",
        "__init__": construct,
        "compute": staticmethod(getattr(functional, op)),
    }
    if becomes:
        body["cls_to_become"] = COUNTERPARTS[getattr(torch.nn, becomes)]
    made = type(name, (behaviour, base), body)
    COUNTERPARTS[base] = made
    return made


def _layers(stem: str, op: str, behaviour: type[Layer], becomes: str = "") -> Layers:
    """The layers of one name for 1, 2 and 3 spatial axes; ``{}`` stands for their number."""
    one, two, three = (
        _layer(stem.format(r), op.format(r), behaviour, becomes.format(r)) for r in (1, 2, 3)
    )
    return one, two, three


Conv1d, Conv2d, Conv3d = _layers("Conv{}d", "conv{}d", _Conv)
ConvTranspose1d, ConvTranspose2d, ConvTranspose3d = _layers(
    "ConvTranspose{}d", "conv_transpose{}d", _ConvTranspose
)
LazyConv1d, LazyConv2d, LazyConv3d = _layers("LazyConv{}d", "conv{}d", _Conv, "Conv{}d")
LazyConvTranspose1d, LazyConvTranspose2d, LazyConvTranspose3d = _layers(
    "LazyConvTranspose{}d", "conv_transpose{}d", _ConvTranspose, "ConvTranspose{}d"
)
MaxPool1d, MaxPool2d, MaxPool3d = _layers("MaxPool{}d", "max_pool{}d", _MaxPool)
MaxUnpool1d, MaxUnpool2d, MaxUnpool3d = _layers("MaxUnpool{}d", "max_unpool{}d", _MaxUnpool)
AvgPool1d, AvgPool2d, AvgPool3d = _layers("AvgPool{}d", "avg_pool{}d", _AvgPool)
LPPool1d, LPPool2d, LPPool3d = _layers("LPPool{}d", "lp_pool{}d", _LPPool)
AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d = _layers(
    "AdaptiveAvgPool{}d", "adaptive_avg_pool{}d", _AdaptiveAvgPool
)
AdaptiveMaxPool1d, AdaptiveMaxPool2d, AdaptiveMaxPool3d = _layers(
    "AdaptiveMaxPool{}d", "adaptive_max_pool{}d", _AdaptiveMaxPool
)
ConstantPad1d, ConstantPad2d, ConstantPad3d = _layers("ConstantPad{}d", "pad", _ConstantPad)
ZeroPad1d, ZeroPad2d, ZeroPad3d = _layers("ZeroPad{}d", "pad", _ConstantPad)
ReflectionPad1d, ReflectionPad2d, ReflectionPad3d = _layers(
    "ReflectionPad{}d", "pad", _ReflectionPad
)
ReplicationPad1d, ReplicationPad2d, ReplicationPad3d = _layers(
    "ReplicationPad{}d", "pad", _ReplicationPad
)
CircularPad1d, CircularPad2d, CircularPad3d = _layers("CircularPad{}d", "pad", _CircularPad)
Unfold = _layer("Unfold", "unfold", _Unfold)
Fold = _layer("Fold", "fold", _Fold)

__all__ = ["convert", *(cls.__name__ for cls in COUNTERPARTS)]


def convert(model: torch.nn.Module, backend: str = "auto", inplace: bool = False) -> Any:
    """A copy of ``model`` whose torch.nn layers of the family are ours, with the same weights.

    A layer changes its class and nothing else: parameters, buffers, hooks, names, training flag and
    parametrizations stay, and a layer that is used twice stays one layer. Subclasses of torch.nn's
    layers, and torch.nn.functional calls in a ``forward``, stay torch's. Layers that are ours
    already only change their backend. Returns the model.

    Args:
        inplace: change ``model`` itself, so that optimizers and references to it stay valid.

    Raises:
        ArgumentError: not a module, or torch cannot copy it.
        UsageError: an unknown backend.

    Example:
        >>> import torch, refconv.nn
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 5), torch.nn.ReLU())
        >>> refconv.nn.convert(net, "naive")
        Sequential(
          (0): Conv2d(3, 6, kernel_size=(5, 5), stride=(1, 1), backend='naive')
          (1): ReLU()
        )
    """
    if not isinstance(model, torch.nn.Module):
        raise ArgumentError(f"convert: expected a torch.nn.Module, got {type(model).__name__}")
    _known(backend)
    if not inplace:
        try:
            model = copy.deepcopy(model)
        except Exception as error:
            raise ArgumentError(
                f"convert: torch cannot copy this {type(model).__name__} ({first_line(error)}); "
                "inplace=True converts the model itself"
            ) from error
    for module in model.modules():
        ours = counterpart(module)
        if ours is not None:
            module.__class__ = ours
        if isinstance(module, Layer):
            module.backend = backend
    return model


def counterpart(module: torch.nn.Module) -> type[Any] | None:
    """The class that ``convert`` gives ``module``, or None where it is left alone.

    torch gives a layer with parametrizations a class of its own, derived from the layer's; what
    takes its place is made alike.
    """
    cls = type(module)
    if not parametrize.is_parametrized(module):
        return COUNTERPARTS.get(cls)
    ours = COUNTERPARTS.get(cls.__bases__[0])
    if ours is None:
        return None
    body = {k: v for k, v in vars(cls).items() if k not in ("__dict__", "__weakref__", "__doc__")}
    return type(cls.__name__, (ours,), body)


def _known(backend: str) -> str:
    """``backend`` as given, if there is one of that name; a call shows if it can be used here."""
    if not isinstance(backend, str):
        raise ArgumentError(f"backend must be a string, got {backend!r}")
    name = backend.partition(":")[0]
    if name != "auto":
        backends.get(name)
    return backend
