"""One forward pass of a torch model with every function seen, and no numbers: shapes only.

The model runs on torch's ``meta`` device, where tensors have a shape and no data, so that no weight
is needed and nothing is computed. A TorchFunctionMode sees torch's functions however they are
called (layers, ``F.…``, methods, operators); hooks say in which module. The records hold no tensor.

A model that looks at its numbers (``.item()``, ``nonzero``, NumPy) cannot run so: it is run once
more on the CPU, on drawn numbers, and the capture says why.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch.nn.modules import module as hooks
from torch.nn.modules.lazy import LazyModuleMixin
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree

from .capture_shapes import result_shape
from .captured import ALIASES, FACTORIES, Array, Capture, Op

#: Parameters of a model that is run on real numbers, at most.
MOST = 200_000_000


def capture(make: Callable[[str], torch.nn.Module], inputs: Sequence[Array]) -> Capture:
    """Run the model that ``make(device)`` gives on inputs of these shapes and dtypes.

    Whatever the model raises is in the result, not raised; what ``make`` raises is raised.
    """
    found = _run(on_meta(make("meta")), inputs, "meta")
    if found.error is None or not needs_values(found.error):
        return found
    call = found.failed.name if found.failed else type(found.error).__name__
    reason = f"{call} in {found.where}"
    if sum(found.parameters.values()) > MOST:
        found.values = f"{reason}; too large to be run on real numbers"
        return found
    real = _run(make("cpu"), inputs, "cpu")
    real.values = reason
    return real


def on_meta(model: torch.nn.Module) -> torch.nn.Module:
    """The model with parameters and buffers without data: itself, or a copy (nothing is copied)."""
    memo: dict[int, Any] = {}
    lazy = torch.nn.parameter.is_lazy
    tensors = [t for t in (*model.parameters(), *model.buffers()) if not lazy(t)]
    if all(tensor.is_meta for tensor in tensors):
        return model
    for tensor in tensors:
        made: Any = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
        if isinstance(tensor, torch.nn.Parameter):
            made = torch.nn.Parameter(made, requires_grad=tensor.requires_grad)
        memo[id(tensor)] = made
    return copy.deepcopy(model, memo)


def needs_values(error: BaseException) -> bool:
    """Whether a meta tensor was asked for its numbers, or an op has no rule for its shape."""
    text = str(error).lower()
    about = "meta tensor" in text or "meta device" in text or "no data" in text
    return isinstance(error, NotImplementedError) or about


def torch_says(op: Op) -> str:
    """torch's own message for a call that failed, from the CPU; empty if it raises none there."""
    spaces = (torch.nn.functional, torch, torch.Tensor)
    func = next((getattr(space, op.name) for space in spaces if hasattr(space, op.name)), None)
    small = all(array.shape and prod(array.shape) < 1 << 24 for array in op.arrays)
    if func is None or op.opaque or op.name.endswith("_") or not small:
        return ""
    real = lambda leaf: _real(leaf) if isinstance(leaf, Array) else leaf  # noqa: E731
    args, kwargs = _pytree.tree_map(real, (op.args, op.kwargs))
    try:
        with torch.no_grad():
            func(*args, **kwargs)
    except Exception as error:
        return str(error).strip().splitlines()[0] if str(error).strip() else ""
    return ""


def _real(array: Array) -> torch.Tensor:
    return torch.zeros(1, dtype=getattr(torch, array.dtype)).expand(array.shape)


def _run(model: torch.nn.Module, inputs: Sequence[Array], device: str) -> Capture:
    with _seeded(device), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = [_drawn(array, device) for array in inputs]
        recorder = _Recorder(model, given, device)
        found = recorder.found
        try:
            with torch.device(device), _evaluating(model), recorder.watching(), recorder:
                result = model(*given)
        except Exception as error:
            found.error, found.where = error, recorder.place()
            found.failed = recorder.pending
        else:
            found.outputs = tuple(map(recorder.array, _tensors(result)))
        found.parameters = {
            name: 0 if torch.nn.parameter.is_lazy(p) else p.numel()
            for name, p in model.named_parameters()
        }
    return found


def _drawn(array: Array, device: str) -> torch.Tensor:
    dtype = getattr(torch, array.dtype)
    if device == "meta":
        return torch.empty(array.shape, dtype=dtype, device="meta")
    if dtype.is_floating_point or dtype.is_complex:
        return torch.randn(array.shape, dtype=dtype)
    return torch.zeros(array.shape, dtype=dtype)


@contextmanager
def _seeded(device: str) -> Iterator[None]:
    """Numbers are drawn from a seed, if there are any."""
    if device == "meta":
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    """The model in eval mode, and afterwards as it was."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


class _Recorder(TorchFunctionMode):
    """The mode and the hooks: a stack of the modules being called, and where tensors come from."""

    def __init__(self, model: torch.nn.Module, given: Sequence[torch.Tensor], device: str) -> None:
        super().__init__()
        self.names = {module: name for name, module in model.named_modules()}
        self.lazy = {name for m, name in self.names.items() if isinstance(m, LazyModuleMixin)}
        self.model, self.device = model, device
        self.stack: list[tuple[str, bool, int]] = []  # name, whether it is a layer, ops before it
        self.pending: Op | None = None
        self.found = Capture(())
        #: id of a tensor → what it is; the tensor is kept, lest another gets its id.
        self.known: dict[int, tuple[torch.Tensor, Array]] = {}
        #: The memory that was written in place, and the last op that did.
        self.written: dict[int, int] = {}
        self.found.inputs = tuple(self._learn(x, -1 - i) for i, x in enumerate(given))

    @contextmanager
    def watching(self) -> Iterator[None]:
        handles = [
            hooks.register_module_forward_pre_hook(self._enter),
            hooks.register_module_forward_hook(self._leave),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, module: torch.nn.Module, args: Any) -> None:
        self._learn_parameters()
        name = self.names.get(module)
        if name is None:  # made by the forward itself
            name = f"{self._inside()}{type(module).__name__}"
        layer = bool(name) and next(module.children(), None) is None
        self.stack.append((name, layer, len(self.found.ops)))

    def _leave(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        name, _, before = self.stack[-1]
        made = [t for t in _tensors(output) if id(t) not in self.known]
        if made and len(self.found.ops) == before:
            self.pending = self._op(type(module).__name__, args, {}, opaque=True)
            self.pending.where = name or "forward()"
            self._came(self.pending, made)
        self.stack.pop()
        self.pending = None

    def _inside(self) -> str:
        name = self.stack[-1][0] if self.stack else ""
        return f"{name}." if name else ""

    def place(self) -> str:
        """The innermost module: a layer by its name, another by its forward."""
        if not self.stack:
            return "forward()"
        name, layer, _ = self.stack[-1]
        return name if layer else f"{self._inside()}forward()"

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name = _name(func)
        if not self.stack or name.startswith("_") or name in ("grad_fn", "is_leaf"):
            return func(*args, **kwargs)
        if name in ("cpu", "cuda", "to"):  # a move to another device is none
            args, kwargs = _stay(name, args, kwargs)
            if len(args) == 1 and not kwargs:
                return args[0]
        if self.device == "meta":
            args, kwargs = self._all_on_meta(args, kwargs)
        op = self._op(name, args, kwargs)
        self.pending = op
        result = self._shaped(op) if self.device == "meta" else None
        if result is None:
            result = func(*args, **kwargs)
        self.pending = None
        made = args[:1] if name == "setitem" else _tensors(result)
        if not made:
            return result
        if name in ALIASES:
            for tensor in made:
                self._keep(tensor, self.array(args[0]))
        else:
            self._came(op, made)
        return result

    def _op(self, name: str, args: Any, kwargs: Any, opaque: bool = False) -> Op:
        lazy = bool(self.stack) and self.stack[-1][0] in self.lazy
        if lazy:
            self._learn_parameters()
        change = lambda leaf: self.array(leaf) if isinstance(leaf, torch.Tensor) else leaf  # noqa: E731
        args, kwargs = _pytree.tree_map(change, (tuple(args), dict(kwargs)))
        return Op(len(self.found.ops), name, self.place(), args, kwargs, (), lazy, opaque)

    def _shaped(self, op: Op) -> torch.Tensor | None:
        """The result by our own rules; None where there is none."""
        shape = result_shape(op)
        if shape is None:
            return None
        dtype = getattr(torch, op.arrays[0].dtype)
        return torch.empty(shape, dtype=dtype, device="meta")

    def _came(self, op: Op, made: Sequence[torch.Tensor]) -> None:
        """A call's results: of the input, or of weights and constants alone, which is no op."""
        if not op.inputs or op.name in FACTORIES:
            names = tuple(dict.fromkeys(n for array in op.arrays for n in array.names))
            for tensor in made:
                self._learn(tensor, None, names)
            return
        if op.name == "setitem" or op.name.endswith("_"):
            self.written |= {_memory(tensor): op.index for tensor in made}
        op.outputs = tuple(self._learn(tensor, op.index) for tensor in made)
        self.found.ops.append(op)

    def array(self, tensor: torch.Tensor) -> Array:
        """What is known of a tensor."""
        if torch.nn.parameter.is_lazy(tensor):
            return Array((), "lazy")
        _, array = self.known.get(id(tensor), (tensor, None))
        if array is None:
            array = Array(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        if array.source is None and self.written:  # a constant, through a view of which one wrote
            array = replace(array, source=self.written.get(_memory(tensor)))
        return array

    def _learn(
        self, tensor: torch.Tensor, source: int | None, names: tuple[str, ...] = ()
    ) -> Array:
        dtype = str(tensor.dtype).removeprefix("torch.")
        return self._keep(tensor, Array(tuple(tensor.shape), dtype, source, names))

    def _keep(self, tensor: torch.Tensor, array: Array) -> Array:
        dtype = str(tensor.dtype).removeprefix("torch.")
        array = Array(tuple(tensor.shape), dtype, array.source, array.names)
        self.known[id(tensor)] = (tensor, array)
        return array

    def _learn_parameters(self) -> None:
        """Once, and again while there are lazy ones: they get their shape when they are called."""
        if self.stack and not self.lazy:
            return
        for name, parameter in self.model.named_parameters():
            if not torch.nn.parameter.is_lazy(parameter):
                self._learn(parameter, None, (name,))

    def _all_on_meta(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Constants that a model keeps on the CPU, where they meet tensors on meta."""
        tensors = _tensors((args, kwargs))
        if len({t.device.type for t in tensors}) < 2:
            return args, kwargs

        def move(leaf: Any) -> Any:
            if not isinstance(leaf, torch.Tensor) or leaf.device.type == "meta":
                return leaf
            moved = leaf.to("meta")
            self._keep(moved, self.array(leaf))
            return moved

        moved: tuple[Any, Any] = _pytree.tree_map(move, (args, kwargs))
        return moved


def _name(func: Any) -> str:
    """``conv2d``; ``add`` of ``__add__``; of an attribute that is read (``x.T``) its own."""
    name = getattr(func, "__name__", "") or str(func)
    if name in ("__get__", "__set__"):
        return getattr(getattr(func, "__self__", None), "__name__", name)
    if name.startswith("__") and name.endswith("__"):
        short = name.strip("_")
        return short.removeprefix("r") if short in ("radd", "rsub", "rmul", "rdiv") else short
    return name.partition(".")[0]  # an overload of an operator: mul.default


def _stay(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """The arguments of ``to`` without the device."""
    if name != "to":
        return args[:1], {}
    keep = (torch.dtype, torch.Tensor)
    rest = [args[0], *(arg for arg in args[1:] if isinstance(arg, keep))]
    rest = [rest[0], *(a.dtype if isinstance(a, torch.Tensor) else a for a in rest[1:])]
    return tuple(rest), {k: v for k, v in kwargs.items() if k == "dtype"}


def _memory(tensor: torch.Tensor) -> int:
    """What a tensor shares with its views."""
    return tensor.untyped_storage()._cdata


def _tensors(value: Any) -> tuple[torch.Tensor, ...]:
    return tuple(t for t in _pytree.tree_leaves(value) if isinstance(t, torch.Tensor))
