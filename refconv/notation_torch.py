"""torch code → problem: ``nn.Conv2d(6, 16, 5)`` or ``F.conv2d(x[1,3,32,32], w[6,3,5,5], b[6],
stride=2)``.

Read with ``ast``, never evaluated. Arguments go by position or by name, in torch's order. A module
does not say how large its input is: that comes from ``in_shape``, or from calling it,
``nn.Conv2d(6, 16, 5)(x[1,6,14,14])``.
"""

from __future__ import annotations

import ast
import re
from typing import Any

from . import checks
from .errors import UsageError
from .notation import Problem, build, near
from .ops import OPS
from .problem import Size

_POOL = "stride=None padding=0 dilation=1"
_FUNCTIONALS = {
    "conv": "input weight bias=None stride=1 padding=0 dilation=1 groups=1",
    "conv_transpose": (
        "input weight bias=None stride=1 padding=0 output_padding=0 groups=1 dilation=1"
    ),
    "max_pool": f"input kernel_size {_POOL} ceil_mode=False return_indices=False",
    "avg_pool": (
        "input kernel_size stride=None padding=0 ceil_mode=False count_include_pad=True "
        "divisor_override=None"
    ),
    "lp_pool": "input norm_type kernel_size stride=None ceil_mode=False",
    "adaptive_max_pool": "input output_size return_indices=False",
    "adaptive_avg_pool": "input output_size",
    "max_unpool": "input indices kernel_size stride=None padding=0 output_size=None",
    "unfold": "input kernel_size dilation=1 padding=0 stride=1",
    "fold": "input output_size kernel_size dilation=1 padding=0 stride=1",
    "pad": "input pad mode='constant' value=None",
}
_TAIL = "padding_mode='zeros' device=None dtype=None"
_MODULES = {
    "conv": (
        "in_channels out_channels kernel_size stride=1 padding=0 dilation=1 groups=1 bias=True "
        + _TAIL
    ),
    "conv_transpose": (
        "in_channels out_channels kernel_size stride=1 padding=0 output_padding=0 groups=1 "
        f"bias=True dilation=1 {_TAIL}"
    ),
    "max_pool": f"kernel_size {_POOL} return_indices=False ceil_mode=False",
    "max_unpool": "kernel_size stride=None padding=0",
}
_CLASSES = {
    "Conv": "conv",
    "ConvTranspose": "conv_transpose",
    "MaxPool": "max_pool",
    "AvgPool": "avg_pool",
    "LPPool": "lp_pool",
    "AdaptiveMaxPool": "adaptive_max_pool",
    "AdaptiveAvgPool": "adaptive_avg_pool",
    "MaxUnpool": "max_unpool",
}
_PADS = {
    "ConstantPad": "constant",
    "ZeroPad": "constant",
    "ReflectionPad": "reflect",
    "ReplicationPad": "replicate",
    "CircularPad": "circular",
}
MODULES: dict[str, tuple[str, int]] = {
    **{f"{name}{r}d": (f"{op}{r}d", r) for name, op in _CLASSES.items() for r in (1, 2, 3)},
    **{f"{name}{r}d": ("pad", r) for name in _PADS for r in (1, 2, 3)},
    "Unfold": ("unfold", 2),
    "Fold": ("fold", 2),
}
_TENSORS = ("input", "weight", "bias", "indices")
_EXAMPLE = "'nn.Conv2d(6, 16, 5)' or 'F.conv2d(x[1,3,32,32], w[6,3,5,5], stride=2)'"


def parse(text: str, *, in_shape: Size | None = None, dtype: str = "float32") -> Problem:
    """The problem that a call of a torch.nn module or of a torch.nn.functional describes.

    Args:
        in_shape: the input's shape, for a module.
        dtype: where the code has no ``dtype=torch.…``.

    Raises:
        UsageError: this is not such a call.

    Example:
        >>> parse("F.max_pool2d(x[1,6,28,28], 2)").output_shape
        (1, 6, 14, 14)
        >>> parse("nn.Conv1d(16, 33, 3, stride=2)", in_shape=(20, 16, 50)).output_shape
        (20, 33, 24)
    """
    name, call, in_shape = _read(text, in_shape)
    if name in MODULES:
        return _module(text, name, call, in_shape, dtype)
    return _functional(text, name, call, in_shape, dtype)


def arguments(text: str) -> tuple[str, dict[str, Any]]:
    """A call's name, and its arguments with defaults filled in, whether they make a problem or not.

    A module that is called on an array has its shape as ``input``.

    Raises:
        UsageError: this is not a call of the family.

    Example:
        >>> name, given = arguments("nn.Conv2d(64, 64, 4, 2, padding='?')")
        >>> name, given["kernel_size"], given["stride"], given["padding"]
        ('Conv2d', 4, 2, '?')
    """
    name, call, in_shape = _read(text, None)
    given, _ = _bind(text, name, call, "float32")
    return name, given if in_shape is None else {**given, "input": in_shape}


def _read(text: str, in_shape: Size | None) -> tuple[str, ast.Call, Size | None]:
    """A call of the family: its name, the call itself, and the input's shape if it says one."""
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = getattr(error, "msg", None) or str(error)
        message = f"{text!r} is not a Python expression ({reason}); write {_EXAMPLE}"
        raise UsageError(message) from None
    if not isinstance(call, ast.Call):
        raise UsageError(f"{text!r} is not a call; write {_EXAMPLE}")
    if isinstance(call.func, ast.Call):
        if len(call.args) != 1 or call.keywords:
            raise UsageError(f"a module is called on one array, e.g. (x[1,6,14,14]), got {text!r}")
        called = _tensor(text, "input", call.args[0])
        if in_shape not in (None, called):
            raise UsageError(f"{text!r} says its input's shape, and {in_shape} is another one")
        in_shape, call = called, call.func
    name = _name(text, call.func)
    if name not in MODULES and name not in OPS:
        raise UsageError(
            f"{text!r}: refconv has no {name}{near(name, [*MODULES, *OPS])}; it has the "
            "convolution and pooling family of torch.nn and torch.nn.functional, e.g. "
            f"{_EXAMPLE}"
        )
    return name, call, in_shape


def signature(name: str) -> dict[str, Any]:
    """Parameter names and defaults (``...`` where there is none) of a module or functional, in
    torch's order.

    Example:
        >>> list(signature("AvgPool2d"))[:3], signature("unfold")["stride"]
        (['kernel_size', 'stride', 'padding'], 1)
    """
    if name in OPS:
        words = _FUNCTIONALS[OPS[name].kind]
    elif MODULES[name][0] == "pad":
        words = "padding value" if name.startswith("Constant") else "padding"
    else:
        kind = OPS[MODULES[name][0]].kind
        words = _MODULES.get(kind) or _FUNCTIONALS[kind].removeprefix("input ")
    if name in ("AvgPool1d", "avg_pool1d"):
        words = words.removesuffix(" divisor_override=None")
    parts = [word.partition("=") for word in words.split()]
    return {key: ast.literal_eval(default) if sign else ... for key, sign, default in parts}


def _functional(text: str, op: str, call: ast.Call, in_shape: Size | None, dtype: str) -> Problem:
    arguments, dtype = _bind(text, op, call, dtype)
    tensors = {key: arguments.pop(key) for key in _TENSORS if key in arguments}
    if in_shape not in (None, tensors["input"]):
        raise UsageError(
            f"{text!r} says that the input is {tensors['input']}, and {in_shape} is another "
            f"shape; leave one out"
        )
    arguments.pop("return_indices", None)
    return build(op, tensors, arguments, dtype)


def _module(text: str, name: str, call: ast.Call, in_shape: Size | None, dtype: str) -> Problem:
    op, rank = MODULES[name]
    arguments, dtype = _bind(text, name, call, dtype)
    if in_shape is None:
        sizes = f"1,{arguments.get('in_channels', 3)}" + ",32" * rank
        raise UsageError(
            f"{text!r} does not say how large its input is: give its shape, e.g. "
            f"--in {sizes.replace(',', 'x')}, or write {text.strip()}(x[{sizes}])"
        )
    tensors: dict[str, Size | None] = {"input": in_shape}
    for unused in ("return_indices", "device"):
        arguments.pop(unused, None)
    if OPS[op].kind in ("conv", "conv_transpose"):
        tensors |= _weights(text, op, rank, arguments, in_shape)
    elif op == "pad":
        arguments = _pad_arguments(text, name, rank, arguments)
    return build(op, tensors, arguments, dtype)


def _weights(
    text: str, op: str, rank: int, arguments: dict[str, Any], in_shape: Size
) -> dict[str, Size | None]:
    """Shapes of the weight and bias that a convolution module makes; takes their arguments out."""
    mode = arguments.pop("padding_mode")
    if mode != "zeros":
        if mode not in ("reflect", "replicate", "circular") or "transpose" in op:
            raise UsageError(f"{text!r}: padding_mode must be 'zeros', got {mode!r}")
        padder = next(name for name, known in _PADS.items() if known == mode)
        raise UsageError(
            f"{text!r}: padding_mode={mode!r} is two ops; make two cases of it: "
            f"nn.{padder}{rank}d(…) with this "
            "padding, then the convolution with padding=0"
        )
    channels, filters, groups = (
        checks.number(op, key, arguments[key]) for key in ("in_channels", "out_channels", "groups")
    )
    checks.at_least(op, "in_channels, out_channels", (channels, filters), 0)
    del arguments["in_channels"], arguments["out_channels"]
    kernel = checks.numbers(op, "kernel_size", arguments.pop("kernel_size"), rank)
    first, second = (channels, filters) if "transpose" in op else (filters, channels)
    if groups > 0 and second % groups:
        side = "output" if "transpose" in op else "input"
        raise UsageError(
            f"{op}: groups must divide {side} channels, but {groups} does not divide {second} "
            f"(input {in_shape}, {text.strip()})"
        )
    bias = (filters,) if arguments.pop("bias") else None
    return {"weight": (first, second // max(groups, 1), *kernel), "bias": bias}


def _pad_arguments(text: str, name: str, rank: int, given: dict[str, Any]) -> dict[str, Any]:
    """F.pad's arguments for a padding module: its padding is one int, or 2 an axis."""
    padding = given["padding"]
    if isinstance(padding, int):
        padding = (padding,) * (2 * rank)
    if not isinstance(padding, tuple | list) or len(padding) != 2 * rank:
        raise UsageError(
            f"{text!r}: {name} takes one int or {2 * rank} (low and high, last axis first), got "
            f"{padding!r}"
        )
    mode = _PADS[name[:-2]]
    value = given.get("value", 0) if mode == "constant" else None
    return {"pad": tuple(padding), "mode": mode, "value": value}


def _bind(text: str, name: str, call: ast.Call, dtype: str) -> tuple[dict[str, Any], str]:
    """The call's arguments by name, defaults filled in, and the dtype."""
    known = signature(name)
    given: dict[str, ast.expr] = {}
    if len(call.args) > len(known):
        raise UsageError(
            f"{text!r}: {name} takes {len(known)} arguments ({', '.join(known)}), got "
            f"{len(call.args)}"
        )
    for key, node in [
        *zip(known, call.args, strict=False),
        *((k.arg, k.value) for k in call.keywords),
    ]:
        if key is None or isinstance(node, ast.Starred):
            raise UsageError(f"{text!r}: * and ** cannot be read; write the arguments out")
        if key not in known:
            raise UsageError(
                f"{text!r}: {name} has no {key}{near(key, known)}; it has {', '.join(known)}"
            )
        if key in given:
            raise UsageError(f"{text!r}: {key} is given twice")
        given[key] = node
    missing = [key for key, default in known.items() if default is ... and key not in given]
    if missing:
        raise UsageError(f"{text!r}: {name} needs {', '.join(missing)}; e.g. {_EXAMPLE}")
    if "dtype" in given:
        dtype = _dtype(text, given["dtype"], dtype)
    given.pop("device", None)
    tensors = _TENSORS if name in OPS else ()
    values = {
        key: _tensor(text, key, node) if key in tensors else _literal(text, key, node)
        for key, node in given.items()
        if key != "dtype"
    }
    return {k: values.get(k, default) for k, default in known.items() if k != "dtype"}, dtype


def _name(text: str, node: ast.expr) -> str:
    """``Conv2d`` of ``torch.nn.Conv2d``; only torch's own prefixes are taken."""
    dotted = ast.unparse(node)
    if not re.fullmatch(r"\w+(\.\w+)*", dotted):
        raise UsageError(f"{text!r}: {dotted} is not torch's; write {_EXAMPLE}")
    prefix, _, name = dotted.rpartition(".")
    functional = ("", "F", "functional", "nn.functional", "torch.nn.functional")
    modules = ("", "nn", "torch.nn")
    if prefix in (modules if name[:1].isupper() else functional):
        return name
    right = "nn." if name[:1].isupper() else "F."
    raise UsageError(f"{text!r}: {dotted} is not torch's; write {right}{name}, e.g. {_EXAMPLE}")


def _tensor(text: str, key: str, node: ast.expr) -> Size | None:
    """The shape in ``name[sizes]``; None stays None."""
    if isinstance(node, ast.Constant) and node.value is None and key == "bias":
        return None
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        sizes = _literal(text, key, node.slice)
        sizes = sizes if isinstance(sizes, tuple) else (sizes,)
        if all(type(size) is int and size >= 0 for size in sizes):
            return sizes
    raise UsageError(
        f"{text!r}: {key} is an array, written as a name and its shape, e.g. x[1,3,32,32], got "
        f"{ast.unparse(node)}"
    )


def _literal(text: str, key: str, node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        shown = ast.unparse(node)
        raise UsageError(f"{text!r}: {key} must be written out, e.g. 2, got {shown}") from None


def _dtype(text: str, node: ast.expr, default: str) -> str:
    name = ast.unparse(node)
    if name == "None":
        return default
    aliases = {"float": "float32", "double": "float64", "half": "float16"}
    short = name.removeprefix("torch.").strip("'\"")
    short = aliases.get(short, short)
    if not short.replace("_", "").isalnum():
        raise UsageError(f"{text!r}: dtype must be torch's, e.g. torch.float64, got {name}")
    return short
